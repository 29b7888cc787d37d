/* SPDX-License-Identifier: Apache-2.0 */
/* Which files a disk's stack is made of. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/disk_private.h"
#include "stack/image.h"
#include "stack/sweep.h"

/* ---- names ---- */

char *disk_stack_name(const char *base, unsigned number)
{
    char *name = NULL;
    int r = number == DISK_TOP ? asprintf(&name, "%s.top", base)
                               : asprintf(&name, "%s.%u", base, number);
    return r < 0 ? NULL : name;
}

void cleanup_disk_file(struct disk_file *file)
{
    free(file->name);
    free(file->label);
}

int disk_file_of(const struct stack_file *base, unsigned number, struct disk_file *file,
                 struct error *err)
{
    file->name = disk_stack_name(base->name, number);
    file->label = disk_stack_name(image_label(base), number);
    if (!file->name || !file->label)
        return error_errno(err, ENOMEM, image_label(base), "open the layers of %s",
                           image_label(base));
    file->file = (struct stack_file){base->dirfd, file->name, file->label};
    return 0;
}

/* ---- the chain ---- */

/* The number behind "<base>."; 0: it is no layer's name. */
static unsigned long number_of(const char *name, const char *base)
{
    size_t length = strlen(base);
    if (strncmp(name, base, length) != 0 || name[length] != '.')
        return 0;
    const char *digits = name + length + 1;
    size_t count = strspn(digits, "0123456789");
    return count > 0 && count < 10 && digits[count] == '\0' ? strtoul(digits, NULL, 10) : 0;
}

bool disk_is_other(const char *name, const void *context)
{
    const struct disk_others *others = context;
    unsigned long number = number_of(name, others->base);
    if (number == 0 || number > others->chain->layers[0].number)
        return false;
    for (unsigned i = 0; i < others->chain->count; i++) {
        if (others->chain->layers[i].number == number)
            return false;
    }
    return true;
}

/* Whoever took the base for all of the disk would lose what the layers hold. */
static int check_no_layers(const struct stack_file *base, struct error *err)
{
    _cleanup_(closedir) DIR *dir = NULL;
    const char *name;
    int r = dir_stream(base->dirfd, image_label(base), &dir, err);
    if (r < 0)
        return r;
    while ((r = dir_next(dir, image_label(base), &name, err)) > 0) {
        if (number_of(name, base->name) > 0)
            return error_set(err, ERROR_CORRUPT, ENOENT, "%s.top is missing, and %s is there",
                             image_label(base), name);
    }
    return r;
}

static int layer_peek(const struct stack_file *base, unsigned number, uint64_t image_size,
                      struct disk_header *header, struct error *err)
{
    _cleanup_(disk_file) struct disk_file file = DISK_FILE_NONE;
    int r = disk_file_of(base, number, &file, err);
    return r < 0 ? r : disk_layer_peek(&file.file, image_size, header, err);
}

/* The layer below `over`, if it is the one that is meant. */
static int step_down(const struct stack_file *base, struct disk_chain *chain,
                     struct disk_header *over, struct error *err)
{
    struct disk_header header;
    unsigned number = over->below;
    if (chain->count == DISK_STACK_LIMIT)
        return error_set(err, ERROR_CORRUPT, E2BIG, "%s has more than %u layers", image_label(base),
                         DISK_STACK_LIMIT);
    int r = layer_peek(base, number, chain->image_size, &header, err);
    if (r == -ENOENT)
        return error_set(err, ERROR_CORRUPT, ENOENT, "%s.%u is missing", image_label(base), number);
    if (r < 0)
        return r;
    if (header.id != over->below_id || !header.sealed || header.below >= number)
        return error_set(err, ERROR_CORRUPT, ESTALE,
                         "%s.%u is another layer than the one that belongs there",
                         image_label(base), number);
    chain->layers[chain->count++] =
        (struct disk_chain_layer){number, header.id, header.data_blocks, header.zero_blocks};
    *over = header;
    return 0;
}

static int walk(const struct stack_file *base, struct disk_chain *chain,
                const struct disk_header *top, struct error *err)
{
    struct disk_header over = *top;
    int r = 0;
    while (r == 0 && over.below != 0)
        r = step_down(base, chain, &over, err);
    return r;
}

int disk_chain_find(const struct stack_file *base, struct disk_chain *chain, struct error *err)
{
    struct stat st;
    struct disk_header top;
    struct error cause = {0};
    *chain = (struct disk_chain){.count = 0};
    int r = image_stat(base, &st, err);
    if (r < 0)
        return r;
    chain->image_size = (uint64_t)st.st_size;
    r = layer_peek(base, DISK_TOP, chain->image_size, &top, &cause);
    if (r == -ENOENT)
        return check_no_layers(base, err);
    if (r < 0) {
        if (err)
            *err = cause;
        return r;
    }
    chain->stack = true;
    chain->frozen = !top.sealed && disk_header_empty(&top);
    return walk(base, chain, &top, err);
}

/* ---- opening what lies below a top ---- */

static int layer_lay(struct disk_below *below, const struct stack_file *base,
                     const struct disk_chain_layer *which, uint64_t image_size, struct error *err)
{
    _cleanup_(disk_file) struct disk_file file = DISK_FILE_NONE;
    _cleanup_(disk_layer) struct disk_layer layer = DISK_LAYER_NONE;
    int r = disk_file_of(base, which->number, &file, err);
    if (r == 0)
        r = disk_layer_open(&layer, &file.file, O_RDONLY, image_size, err);
    if (r == 0 && (layer.header->id != which->id || !layer.header->sealed))
        r = error_set(err, ERROR_CORRUPT, ESTALE, "%s was replaced meanwhile", file.label);
    return r < 0 ? r : disk_below_add(below, &layer, err);
}

int disk_below_open(struct disk_below *below, const struct stack_file *base, int base_fd,
                    const struct disk_header *over, struct error *err)
{
    struct disk_chain chain = {.image_size = over->image_size};
    int r = disk_below_init(below, base_fd, disk_layout(over->image_size).blocks, err);
    if (r == 0)
        r = walk(base, &chain, over, err);
    for (unsigned i = chain.count; r == 0 && i > 0; i--)
        r = layer_lay(below, base, &chain.layers[i - 1], chain.image_size, err);
    return r;
}

int disk_layer_begin(const struct stack_file *file, mode_t mode, const struct disk_header *like,
                     struct temporary *temporary, struct disk_layer *layer, struct error *err)
{
    int r = sweep_temporaries_of(file, err);
    if (r < 0)
        return r;
    _cleanup_(close) int empty = temporary_create(file, mode, temporary, err);
    if (empty < 0)
        return empty;
    int fd = openat(file->dirfd, temporary->name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, image_label(file), "open the next %s", image_label(file));
    return disk_layer_create(layer, fd, image_label(file), like, err);
}

int disk_top_create(const struct stack_file *base, const struct disk_header *like,
                    struct error *err)
{
    static const struct copy_publication how = {.before_rename = "disk-top-before-rename",
                                                .after_rename = "disk-top-after-rename"};
    _cleanup_(disk_file) struct disk_file file = DISK_FILE_NONE;
    _cleanup_(disk_layer) struct disk_layer layer = DISK_LAYER_NONE;
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    struct stat st;
    int r = image_stat(base, &st, err);
    if (r == 0)
        r = disk_file_of(base, DISK_TOP, &file, err);
    if (r == 0)
        r = disk_layer_begin(&file.file, st.st_mode, like, &temporary, &layer, err);
    return r < 0 ? r : copy_publish(&file.file, &temporary, &how, err);
}
