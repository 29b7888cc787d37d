/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rate.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/size.h"

#define RATE_MAX 64 /* characters */

/* A copy in lower case that can be cut. */
struct text {
    char at[RATE_MAX];
};

static bool cut(struct text *text, const char *suffix)
{
    size_t length = strlen(text->at), end = strlen(suffix);
    if (length < end || strcasecmp(text->at + length - end, suffix) != 0)
        return false;
    text->at[length - end] = '\0';
    return true;
}

static int not_a_rate(const char *text, const char *cause, struct error *err)
{
    return error_set(err, ERROR_INVALID, EINVAL, "\"%.64s\" is not a rate: %s", text, cause);
}

static int text_take(const char *given, struct text *text, struct error *err)
{
    if (snprintf(text->at, sizeof(text->at), "%s", given) >= (int)sizeof(text->at))
        return not_a_rate(given, "too long", err);
    return 0;
}

static int size_read(const char *given, struct text *text, uint64_t *bytes, struct error *err)
{
    if (!cut(text, "/s"))
        cut(text, "ps");
    return size_parse(text->at, bytes, NULL) < 0
               ? not_a_rate(given, "a size and /s are wanted, as in 100MB/s", err)
               : 0;
}

int rate_parse_disk(const char *text, uint64_t *bytes, struct error *err)
{
    struct text copy;
    int r = text_take(text, &copy, err);
    return r < 0 ? r : size_read(text, &copy, bytes, err);
}

static int bits_read(const char *given, struct text *text, uint64_t *bytes, struct error *err)
{
    uint64_t unit = cut(text, "g") ? 1000000000 : cut(text, "m") ? 1000000 : 1, bits = 0;
    if (unit == 1 && cut(text, "k"))
        unit = 1000;
    const char *at = text->at;
    bool good = *at != '\0';
    for (; good && *at; at++)
        good = isdigit((unsigned char)*at) && !__builtin_mul_overflow(bits, 10, &bits) &&
               !__builtin_add_overflow(bits, (uint64_t)(*at - '0'), &bits);
    if (!good || __builtin_mul_overflow(bits, unit, &bits))
        return not_a_rate(given, "digits and k, m or g are wanted before bps, as in 100Mbps", err);
    *bytes = bits / 8;
    return 0;
}

int rate_parse_network(const char *text, uint64_t *bytes, struct error *err)
{
    struct text copy;
    while (isspace((unsigned char)*text))
        text++;
    int r = text_take(text, &copy, err);
    if (r < 0)
        return r;
    for (size_t length = strlen(copy.at);
         length > 0 && isspace((unsigned char)copy.at[length - 1]);)
        copy.at[--length] = '\0';
    return cut(&copy, "bps") ? bits_read(text, &copy, bytes, err)
                             : size_read(text, &copy, bytes, err);
}
