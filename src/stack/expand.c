/* SPDX-License-Identifier: Apache-2.0 */
/* Expansion, the reverse of pack.c: the raw image under a temporary name, synced; its name, made
 * durable; only then the compressed image's name is removed. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "stack/codec.h"
#include "stack/copy.h"
#include "stack/image.h"
#include "stack/spread.h"
#include "stack/sweep.h"

#define ALGORITHMS 2

/* Only "does not exist" is "not there" (R6). */
static int look(const struct stack_file *file, struct stat *st, struct error *err)
{
    struct error cause = {0};
    int r = image_stat(file, st, &cause);
    if (r == -ENOENT)
        return 0;
    if (r < 0 && err)
        *err = cause;
    return r < 0 ? r : 1;
}

static int find_compressed(const struct stack_file *raw, struct stack_packed *packed,
                           struct error *err)
{
    for (int i = 0; i < ALGORITHMS; i++) {
        struct packed_file file;
        struct stat st;
        packed_file_of(raw, (enum stack_algorithm)i, &file);
        int r = look(&file.file, &st, err);
        if (r > 0)
            *packed = (struct stack_packed){(enum stack_algorithm)i, (uint64_t)st.st_size};
        if (r != 0)
            return r;
    }
    return 0;
}

int stack_find_packed(const struct stack_file *raw, struct stack_packed *packed, struct error *err)
{
    struct stat st;
    int r = look(raw, &st, err);
    return r != 0 ? (r > 0 ? 0 : r) : find_compressed(raw, packed, err);
}

int stack_packed_check(const struct stack_file *raw, const struct stack_packed *packed,
                       uint64_t size, struct error *err)
{
    struct stat st;
    struct error cause = {0};
    struct packed_file file;
    packed_file_of(raw, packed->algorithm, &file);
    int fd = image_open(&file.file, O_RDONLY, &st, err);
    if (fd < 0)
        return fd;
    _cleanup_(packed_image) struct packed_image *image =
        packed_image_open_fd(fd, file.label, packed->algorithm, &cause);
    if (!image && cause.code == ERROR_UNSUPPORTED)
        return 0;
    if (!image && err)
        *err = cause;
    if (!image)
        return -cause.errnum;
    return packed_image_size(image) == size ? 1 : packed_wrong_size(image, file.label, size, err);
}

/* Removes the compressed images beside a raw one, with what was made of it where it had too many
 * links; each removal is durable. */
static int remove_packed(const struct stack_file *raw, struct error *err)
{
    struct stack_packed packed;
    int r;
    while ((r = find_compressed(raw, &packed, err)) > 0) {
        struct packed_file file;
        packed_file_of(raw, packed.algorithm, &file);
        r = failpoint("stack-expand-before-unlink");
        if (r == 0 && unlinkat(raw->dirfd, file.name, 0) < 0)
            r = -errno;
        if (r < 0)
            return error_errno(err, -r, file.label, "remove %s", file.label);
        r = spread_remove_all(&file.file, err);
        if (r < 0)
            return r;
        r = dir_sync(raw->dirfd, image_label(raw), err);
        if (r < 0)
            return r;
    }
    return r;
}

int stack_settle_packed(const struct stack_file *raw, struct error *err)
{
    struct stat st;
    int r = sweep_temporaries_of(raw, err);
    for (int i = 0; r == 0 && i < ALGORITHMS; i++) {
        struct packed_file file;
        packed_file_of(raw, (enum stack_algorithm)i, &file);
        r = sweep_temporaries_of(&file.file, err);
    }
    if (r == 0)
        r = look(raw, &st, err);
    return r > 0 ? remove_packed(raw, err) : r;
}

/* By the index; a file of before there was one, frame by frame. */
static int decode_into(int in, const struct stack_file *from, enum stack_algorithm algorithm,
                       int out, const struct stack_file *raw, uint64_t size, struct error *err)
{
    struct error cause = {0};
    int fd = fcntl(in, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return error_errno(err, errno, image_label(from), "open %s", image_label(from));
    _cleanup_(packed_image) struct packed_image *image =
        packed_image_open_fd(fd, image_label(from), algorithm, &cause);
    if (image)
        return unpack_chunks(image, image_label(from), out, image_label(raw), size, err);
    if (cause.code == ERROR_UNSUPPORTED)
        return unpack(codec_of(algorithm), in, image_label(from), out, image_label(raw), size, err);
    if (err)
        *err = cause;
    return -cause.errnum;
}

static int decode(const struct stack_file *from, enum stack_algorithm algorithm,
                  const struct stack_file *raw, uint64_t size, struct temporary *temporary,
                  struct error *err)
{
    struct stat st;
    _cleanup_(close) int in = image_open(from, O_RDONLY, &st, err);
    if (in < 0)
        return in;
    _cleanup_(close) int out = temporary_create(raw, st.st_mode, temporary, err);
    if (out < 0)
        return out;
    int r = decode_into(in, from, algorithm, out, raw, size, err);
    if (r < 0)
        return r;
    r = failpoint("stack-expand-sync");
    if (r == 0 && fsync(out) < 0)
        r = -errno;
    return r < 0 ? error_errno(err, -r, image_label(raw), "sync %s", image_label(raw)) : 0;
}

static int replace_packed(const struct stack_file *raw, uint64_t size, struct stack_packed *packed,
                          struct error *err)
{
    static const struct copy_publication how = {.before_rename = "stack-expand-before-rename",
                                                .after_rename = "stack-expand-after-rename"};
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    struct packed_file from;
    packed_file_of(raw, packed->algorithm, &from);
    int r = decode(&from.file, packed->algorithm, raw, size, &temporary, err);
    if (r == 0)
        r = copy_publish(raw, &temporary, &how, err);
    return r < 0 ? r : remove_packed(raw, err);
}

int stack_expand(const struct stack_file *raw, uint64_t size, struct stack_packed *packed,
                 struct error *err)
{
    *packed = (struct stack_packed){.bytes = 0};
    int r = stack_settle_packed(raw, err);
    if (r == 0)
        r = stack_find_packed(raw, packed, err);
    if (r < 0)
        return r;
    if (r > 0) {
        r = replace_packed(raw, size, packed, err);
        return r < 0 ? r : 1;
    }
    struct stat st;
    return image_stat(raw, &st, err);
}
