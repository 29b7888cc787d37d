/* SPDX-License-Identifier: Apache-2.0 */
/* Compression, in this order: the compressed image under a temporary name, synced; its name, made
 * durable; only then the raw image's name is removed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "stack/codec.h"
#include "stack/copy.h"
#include "stack/image.h"
#include "stack/packed_format.h"
#include "stack/spread.h"
#include "stack/sweep.h"

/* One compression on its way. */
struct pack {
    const struct stack_file *raw;
    const struct stack_file *packed;
    const struct codec *codec;
    void *encoder;
    uint8_t *buffer; /* a chunk */
    uint8_t *frame;  /* PACKED_CHUNK_LIMIT bytes */
    struct packed_entry *entries;
    struct stack_task *task;
    int in, out;
    uint64_t size, written;
    uint64_t data, hole; /* the next extent of data, as far as it was looked up */
};

static void cleanup_pack(struct pack *pack)
{
    if (pack->encoder)
        pack->codec->encoder_free(pack->encoder);
    free(pack->buffer);
    free(pack->frame);
    free(pack->entries);
    if (pack->in >= 0)
        close(pack->in);
    if (pack->out >= 0)
        close(pack->out);
}

static int append(struct pack *pack, const void *bytes, size_t length, struct error *err)
{
    int r = file_write_exact(pack->out, bytes, length, image_label(pack->packed), err);
    pack->written += length;
    return r;
}

static int check_alone(const struct stack_file *raw, const struct stat *st, struct error *err)
{
    if (st->st_nlink == 1)
        return 0;
    return error_set(err, ERROR_STATE, EMLINK,
                     "%s has %" PRIu64 " names: to compress a shared image gains nothing",
                     image_label(raw), (uint64_t)st->st_nlink);
}

/* Looks up the extent of data at or behind `offset`; the end of the file where there is none. */
static int find_data(struct pack *pack, uint64_t offset, struct error *err)
{
    off_t data = lseek(pack->in, (off_t)offset, SEEK_DATA);
    off_t hole = data < 0 ? -1 : lseek(pack->in, data, SEEK_HOLE);
    pack->data = pack->hole = pack->size;
    if (data < 0 && errno == ENXIO) /* lseek(2): nothing but a hole up to the end */
        return 0;
    if (data < 0 || hole < 0)
        return error_errno(err, errno, image_label(pack->raw), "find data in %s",
                           image_label(pack->raw));
    pack->data = (uint64_t)data;
    pack->hole = (uint64_t)hole;
    return 0;
}

/* Reads what lies at `offset` into the buffer, which begins with the image's byte `first`; holes
 * are not read, so that they take no page cache. Moves on behind it. */
static int fill_some(struct pack *pack, uint64_t first, uint64_t end, uint64_t *offset,
                     struct error *err)
{
    int r = *offset >= pack->hole ? find_data(pack, *offset, err) : 0;
    if (r < 0)
        return r;
    bool zero = *offset < pack->data;
    uint64_t until = zero ? pack->data : pack->hole;
    size_t length = (size_t)((until < end ? until : end) - *offset);
    uint8_t *to = pack->buffer + (*offset - first);
    *offset += length;
    if (!zero)
        return file_pread_exact(pack->in, to, length, *offset - length, image_label(pack->raw),
                                err);
    memset(to, 0, length);
    return 0;
}

static int fill(struct pack *pack, uint64_t first, size_t length, struct error *err)
{
    int r = 0;
    for (uint64_t offset = first; r == 0 && offset < first + length;)
        r = fill_some(pack, first, first + length, &offset, err);
    return r;
}

static int check_cancelled(const struct pack *pack, struct error *err)
{
    if (!atomic_load(&pack->task->cancelled))
        return 0;
    return error_set(err, ERROR_STATE, ECANCELED, "the compression of %s was cancelled",
                     image_label(pack->raw));
}

static int one_chunk(struct pack *pack, uint64_t chunk, struct error *err)
{
    size_t length = packed_chunk_length(pack->size, chunk), made = 0;
    int r = check_cancelled(pack, err);
    if (r == 0 && (r = failpoint("stack-pack-data")) < 0)
        return error_errno(err, -r, image_label(pack->packed), "write %s",
                           image_label(pack->packed));
    if (r == 0)
        r = fill(pack, chunk * PACKED_CHUNK_SIZE, length, err);
    if (r == 0)
        r = pack->codec->encode(pack->encoder, pack->buffer, length, pack->frame, &made, err);
    if (r < 0)
        return r;
    pack->entries[chunk] = packed_entry_of(pack->buffer, length, made);
    atomic_store(&pack->task->done, chunk * PACKED_CHUNK_SIZE + length);
    return append(pack, pack->frame, made, err);
}

static int write_index(struct pack *pack, struct error *err)
{
    struct packed_head head;
    struct packed_foot foot;
    packed_seal(pack->entries, pack->size, &head, &foot);
    int r = append(pack, &head, sizeof(head), err);
    if (r == 0)
        r = append(pack, pack->entries, packed_chunks(pack->size) * sizeof(*pack->entries), err);
    return r < 0 ? r : append(pack, &foot, sizeof(foot), err);
}

static int encode_all(struct pack *pack, struct error *err)
{
    int r = 0;
    for (uint64_t chunk = 0; r == 0 && chunk < packed_chunks(pack->size); chunk++)
        r = one_chunk(pack, chunk, err);
    if (r == 0)
        r = write_index(pack, err);
    if (r == 0)
        r = check_cancelled(pack, err);
    if (r == 0 && (r = failpoint("stack-pack-sync")) < 0)
        return error_errno(err, -r, image_label(pack->packed), "sync %s",
                           image_label(pack->packed));
    if (r == 0 && fsync(pack->out) < 0)
        return error_errno(err, errno, image_label(pack->packed), "sync %s",
                           image_label(pack->packed));
    return r;
}

static int open_both(struct pack *pack, struct stack_packing *packing, struct error *err)
{
    struct stat st;
    struct temporary temporary = {.dirfd = -1};
    pack->in = image_open(pack->raw, O_RDONLY, &st, err);
    int r = pack->in < 0 ? pack->in : check_alone(pack->raw, &st, err);
    if (r < 0)
        return r;
    pack->out = temporary_create(pack->packed, st.st_mode, &temporary, err);
    packing->temporary = temporary.name;
    packing->dirfd = pack->raw->dirfd;
    packing->device = st.st_dev;
    packing->inode = st.st_ino;
    pack->size = packing->raw_bytes = (uint64_t)st.st_size;
    return pack->out < 0 ? pack->out : 0;
}

static int prepare(struct pack *pack, const struct stack_compression *how,
                   struct stack_packing *packing, struct error *err)
{
    int r = open_both(pack, packing, err);
    if (r < 0)
        return r;
    if (pack->size > PACKED_SIZE_LIMIT) {
        error_set(err, ERROR_UNSUPPORTED, EFBIG, "%s is too large to be compressed",
                  image_label(pack->raw));
        return -EFBIG;
    }
    pack->encoder = pack->codec->encoder_new(how->level);
    pack->buffer = malloc(PACKED_CHUNK_SIZE);
    pack->frame = malloc(PACKED_CHUNK_LIMIT);
    pack->entries = calloc(packed_chunks(pack->size) + 1, sizeof(*pack->entries));
    if (pack->encoder && pack->buffer && pack->frame && pack->entries)
        return 0;
    error_errno(err, ENOMEM, image_label(pack->raw), "compress %s", image_label(pack->raw));
    return -ENOMEM;
}

int stack_pack(const struct stack_file *raw, const struct stack_compression *how,
               struct stack_task *task, struct stack_packing *packing, struct error *err)
{
    struct packed_file packed;
    packed_file_of(raw, how->algorithm, &packed);
    _cleanup_(pack) struct pack pack = {.raw = raw,
                                        .packed = &packed.file,
                                        .codec = codec_of(how->algorithm),
                                        .task = task,
                                        .in = -1,
                                        .out = -1};
    *packing = (struct stack_packing){.dirfd = -1, .how = *how};
    int r = stack_compression_check(how, err);
    if (r == 0)
        r = sweep_temporaries_of(&packed.file, err);
    if (r == 0)
        r = prepare(&pack, how, packing, err);
    if (r == 0)
        r = encode_all(&pack, err);
    packing->packed_bytes = pack.written;
    if (r < 0)
        cleanup_stack_packing(packing);
    return r;
}

void cleanup_stack_packing(struct stack_packing *packing)
{
    if (packing->temporary)
        unlinkat(packing->dirfd, packing->temporary, 0); /* else it is swept */
    free(TAKE_PTR(packing->temporary));
}

static int check_same(const struct stack_file *raw, const struct stack_packing *packing,
                      struct error *err)
{
    struct stat st;
    int r = image_stat(raw, &st, err);
    if (r < 0)
        return r;
    if (st.st_dev != packing->device || st.st_ino != packing->inode)
        return error_set(err, ERROR_STATE, ESTALE, "%s was replaced while it was compressed",
                         image_label(raw));
    return check_alone(raw, &st, err);
}

/* The compressed image is there, durably: the raw one goes. */
static int remove_raw(const struct stack_file *raw, struct error *err)
{
    int r = failpoint("stack-pack-before-unlink");
    if (r == 0 && unlinkat(raw->dirfd, raw->name, 0) < 0)
        r = -errno;
    return r < 0 ? error_errno(err, -r, image_label(raw), "remove %s", image_label(raw)) : 0;
}

static int sync_removal(const struct stack_file *raw, struct error *err)
{
    int r = failpoint("stack-pack-after-unlink");
    return r < 0 ? error_errno(err, -r, image_label(raw), "sync the directory of %s",
                               image_label(raw))
                 : dir_sync(raw->dirfd, image_label(raw), err);
}

int stack_pack_publish(const struct stack_file *raw, struct stack_packing *packing,
                       struct error *err)
{
    static const struct copy_publication how = {.before_rename = "stack-pack-before-rename",
                                                .after_rename = "stack-pack-after-rename"};
    struct packed_file packed;
    packed_file_of(raw, packing->how.algorithm, &packed);
    struct temporary temporary = {packing->dirfd, packing->temporary};
    int r = check_same(raw, packing, err);
    if (r == 0)
        r = spread_remove_all(raw, err); /* what links to them keeps them */
    if (r == 0)
        r = copy_publish(&packed.file, &temporary, &how, err);
    packing->temporary = temporary.name;
    if (r < 0)
        return r;
    r = remove_raw(raw, err);
    if (r == 0)
        return sync_removal(raw, err);
    unlinkat(raw->dirfd, packed.name, 0); /* else it is removed later: the raw one counts */
    return r;
}
