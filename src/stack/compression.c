/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/compression.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "stack/codec.h"
#include "stack/image.h"

static const struct codec *const codecs[] = {[STACK_ZSTD] = &codec_zstd, [STACK_LZ4] = &codec_lz4};

const struct codec *codec_of(enum stack_algorithm algorithm)
{
    return codecs[algorithm];
}

const char *stack_algorithm_name(enum stack_algorithm algorithm)
{
    return codecs[algorithm]->name;
}

int stack_algorithm_parse(const char *name, enum stack_algorithm *algorithm, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(codecs); i++) {
        if (strcmp(name, codecs[i]->name) == 0) {
            *algorithm = (enum stack_algorithm)i;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, EINVAL, "'%.32s' is no algorithm: zstd or lz4", name);
}

int stack_default_level(enum stack_algorithm algorithm)
{
    return codecs[algorithm]->normal;
}

int stack_compression_check(const struct stack_compression *how, struct error *err)
{
    const struct codec *codec = codecs[how->algorithm];
    if (how->level >= codec->lowest && how->level <= codec->highest)
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL, "%s has levels %d to %d, not %d", codec->name,
                     codec->lowest, codec->highest, how->level);
}

void stack_compression_format(const struct stack_compression *how,
                              char text[STACK_COMPRESSION_TEXT])
{
    snprintf(text, STACK_COMPRESSION_TEXT, "%s:%d", codecs[how->algorithm]->name, how->level);
}

int stack_compression_parse(const char *text, struct stack_compression *how, struct error *err)
{
    const char *colon = strchr(text, ':');
    char name[33];
    snprintf(name, sizeof(name), "%.*s", (int)(colon ? colon - text : 32), text);
    int r = stack_algorithm_parse(name, &how->algorithm, err);
    if (r < 0)
        return r;
    how->level = stack_default_level(how->algorithm);
    if (!colon)
        return 0;
    char *end = NULL;
    errno = 0;
    long level = strtol(colon + 1, &end, 10);
    if (end == colon + 1 || *end || strchr("+- \t\n", colon[1]) || errno || level > 1000)
        return error_set(err, ERROR_INVALID, EINVAL, "'%.32s' is no level", colon + 1);
    how->level = (int)level;
    return stack_compression_check(how, err);
}

void stack_packed_name(const char *raw, enum stack_algorithm algorithm,
                       char name[STACK_PACKED_NAME])
{
    snprintf(name, STACK_PACKED_NAME, "%s%s", raw, codecs[algorithm]->suffix);
}

bool stack_packed_name_is(const char *name, const char *raw, enum stack_algorithm *algorithm)
{
    for (size_t i = 0; i < ARRAY_SIZE(codecs); i++) {
        char packed[STACK_PACKED_NAME];
        stack_packed_name(raw, (enum stack_algorithm)i, packed);
        *algorithm = (enum stack_algorithm)i;
        if (strcmp(name, packed) == 0)
            return true;
    }
    return false;
}

void packed_file_of(const struct stack_file *raw, enum stack_algorithm algorithm,
                    struct packed_file *packed)
{
    const char *suffix = codecs[algorithm]->suffix;
    stack_packed_name(raw->name, algorithm, packed->name);
    snprintf(packed->label, sizeof(packed->label), "%s%s", image_label(raw), suffix);
    packed->file = (struct stack_file){raw->dirfd, packed->name, packed->label};
}
