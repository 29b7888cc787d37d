/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/packed_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

static int load(struct packed_file *packed, int fd, const struct stat *st, const char *label,
                enum stack_algorithm algorithm, struct error *err)
{
    int r = image_file_open(&packed->file, fd, st, label, err);
    if (r < 0)
        return r;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return error_errno(err, errno, label, "open %s", label);
    packed->image = packed_image_open_fd(own, label, algorithm, err);
    return packed->image ? 0 : -err->errnum;
}

struct packed_file *packed_file_open(int fd, const struct stat *st, const char *label,
                                     enum stack_algorithm algorithm, struct error *err)
{
    struct packed_file *packed = calloc(1, sizeof(*packed));
    if (!packed) {
        error_errno(err, ENOMEM, label, "open %s", label);
        return NULL;
    }
    atomic_init(&packed->references, 1);
    if (load(packed, fd, st, label, algorithm, err) == 0)
        return packed;
    packed_file_release(packed);
    return NULL;
}

struct packed_file *packed_file_hold(struct packed_file *file)
{
    atomic_fetch_add(&file->references, 1);
    return file;
}

void packed_file_release(struct packed_file *file)
{
    if (!file || atomic_fetch_sub(&file->references, 1) > 1)
        return;
    packed_image_close(file->image);
    image_file_close(&file->file);
    free(file);
}

/* Looked at afterwards too: what was read of a file that was written meanwhile may pass for right
 * only by its checksum, and its change is the better reason where it does not. */
int packed_file_decode(const struct packed_file *file, struct packed_decoder *decoder,
                       uint64_t chunk, uint8_t *out, struct error *err)
{
    struct error change = {0};
    int r = packed_image_decode(file->image, decoder, chunk, out, err);
    if (image_file_check(&file->file, &change) == 0)
        return r;
    if (err)
        *err = change;
    return -change.errnum;
}
