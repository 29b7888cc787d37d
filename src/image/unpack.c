/* SPDX-License-Identifier: Apache-2.0 */
#include "image/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/relative_path.h"

#define TAR_RECORD 512
#define KEEP                                                                                       \
    (ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_XATTR | \
     ARCHIVE_EXTRACT_ACL | ARCHIVE_EXTRACT_SECURE_SYMLINKS | ARCHIVE_EXTRACT_SECURE_NODOTDOT |     \
     ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS)

struct unpacker {
    struct unpack *unpack;
    struct archive *in, *out;
    locale_t locale;
    char *previous; /* the path of the entry before */
    uint8_t block[64u << 10];
};

static void cleanup_unpacker(struct unpacker **pointer)
{
    struct unpacker *unpacker = *pointer;
    if (!unpacker)
        return;
    archive_read_free(unpacker->in);
    archive_write_free(unpacker->out);
    if (unpacker->locale)
        freelocale(unpacker->locale);
    free(unpacker->previous);
    free(unpacker);
}

/* --- what libarchive says ------------------------------------------------------------------- */

/* The archive is wrong, unless the source could not be read. */
static int input_error(const struct unpacker *unpacker, struct error *err)
{
    const char *words = archive_error_string(unpacker->in);
    int errnum = archive_errno(unpacker->in);
    if (errnum == ENOMEM || errnum == ECANCELED)
        return error_errno(err, errnum, NULL, "read the archive");
    return error_set(err, ERROR_INVALID, EINVAL, "the archive is no good tar: %s",
                     words ? words : "unknown");
}

/* "name: words": the entry can't be made. What the disk refuses is not the archive's fault. */
static int output_error(const struct unpacker *unpacker, const char *path, struct error *err)
{
    const char *words = archive_error_string(unpacker->out);
    int errnum = archive_errno(unpacker->out);
    bool refused = errnum <= 0 || errnum == EILSEQ || errnum == EINVAL || errnum == ELOOP ||
                   errnum == ENOENT || errnum == ENOTDIR || errnum == ENOTEMPTY;
    if (!refused)
        return error_errno(err, errnum, path, "unpack \"%.200s\": %s", path, words);
    return error_set(err, ERROR_INVALID, EINVAL, "the archive's entry \"%.200s\": %s", path,
                     words ? words : "it can't be made");
}

static ssize_t source_read(struct archive *in, void *data, const void **buffer)
{
    struct unpacker *unpacker = data;
    ssize_t n;
    do {
        n = read(unpacker->unpack->source, unpacker->block, sizeof(unpacker->block));
    } while (n < 0 && errno == EINTR);
    *buffer = unpacker->block;
    if (n < 0)
        archive_set_error(in, errno, "read: %s", strerror(errno));
    if (n == 0 && !atomic_load(unpacker->unpack->complete)) {
        archive_set_error(in, ECANCELED, "it was given up");
        return -1;
    }
    return n;
}

/* --- one entry ------------------------------------------------------------------------------- */

/* A name within the tree as it is checked and counted: "." for the root of the tree, which tar
 * calls "./". NULL and the error if it is none. */
static const char *name_check(const char *name, char *plain, size_t size, struct error *err)
{
    if (!name || strlen(name) >= size) {
        error_set(err, ERROR_INVALID, EINVAL, "the archive's entry \"%.200s\": %s",
                  name ? name : "?", name ? "its name is too long" : "its name is no text");
        return NULL;
    }
    const char *begin = name;
    while (begin[0] == '.' && begin[1] == '/')
        begin += 2 + strspn(begin + 2, "/");
    size_t length = strlen(begin);
    while (length > 1 && begin[length - 1] == '/')
        length--;
    memcpy(plain, begin, length);
    plain[length] = '\0';
    if (length == 0 && begin != name)
        return memcpy(plain, ".", 2);
    if (strcmp(plain, ".") == 0 || relative_path_valid(plain))
        return plain;
    error_set(err, ERROR_INVALID, EINVAL,
              "the archive's entry \"%.200s\": its name leads out of the archive, or is none",
              name);
    return NULL;
}

/* How many of the path's components the entry before did not have: so many inodes may be made for
 * it, and never more. */
static uint64_t components_new(const char *path, const char *previous)
{
    uint64_t count = 1;
    size_t same = 0;
    for (size_t i = 0; path[i] && path[i] == previous[i]; i++) {
        if (path[i] == '/')
            same = i + 1;
    }
    for (const char *slash = strchr(path + same, '/'); slash; slash = strchr(slash + 1, '/'))
        count++;
    return count;
}

static int count_entry(struct unpacker *unpacker, struct archive_entry *entry, const char *path,
                       struct error *err)
{
    const struct unpack_limits *limits = &unpacker->unpack->limits;
    struct unpack_totals *totals = &unpacker->unpack->totals;
    uint64_t size = (uint64_t)archive_entry_size(entry); /* 0 for what has no content */
    uint64_t inodes = components_new(path, unpacker->previous ? unpacker->previous : "");
    totals->inodes += inodes;
    /* Names, an extended attribute, a directory's first block, and the content. */
    totals->blocks += inodes + 1 + size / UNPACK_BLOCK;
    if (size > limits->bytes - totals->bytes)
        return error_set(err, ERROR_INVALID, EFBIG,
                         "the archive holds more than the limit of %" PRIu64
                         " bytes (at \"%.200s\")",
                         limits->bytes, path);
    totals->bytes += size;
    if (totals->inodes > limits->inodes)
        return error_set(err, ERROR_INVALID, EFBIG,
                         "the archive holds more than the limit of %" PRIu64
                         " files and directories (at \"%.200s\")",
                         limits->inodes, path);
    free(unpacker->previous);
    unpacker->previous = strdup(path);
    return unpacker->previous ? 0 : error_errno(err, ENOMEM, path, "unpack");
}

static bool is_device(struct archive_entry *entry)
{
    return archive_entry_filetype(entry) == AE_IFBLK || archive_entry_filetype(entry) == AE_IFCHR;
}

static int content_copy(struct unpacker *unpacker, const char *path, struct error *err)
{
    const void *block;
    size_t size;
    la_int64_t offset;
    for (;;) {
        int r = archive_read_data_block(unpacker->in, &block, &size, &offset);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r != ARCHIVE_OK)
            return input_error(unpacker, err);
        if (archive_write_data_block(unpacker->out, block, size, offset) != ARCHIVE_OK)
            return output_error(unpacker, path, err);
    }
}

static int entry_make(struct unpacker *unpacker, struct archive_entry *entry, const char *path,
                      struct error *err)
{
    if (archive_write_header(unpacker->out, entry) != ARCHIVE_OK) {
        if (is_device(entry) && archive_errno(unpacker->out) == EPERM) {
            unpacker->unpack->totals.devices_skipped++;
            return 0;
        }
        return output_error(unpacker, path, err);
    }
    int r = archive_entry_size(entry) > 0 ? content_copy(unpacker, path, err) : 0;
    if (r == 0 && archive_write_finish_entry(unpacker->out) != ARCHIVE_OK)
        r = output_error(unpacker, path, err);
    return r;
}

static int entry_take(struct unpacker *unpacker, struct archive_entry *entry, struct error *err)
{
    char plain[4096], target[4096];
    const char *path = name_check(archive_entry_pathname(entry), plain, sizeof(plain), err);
    if (!path)
        return -EINVAL;
    if (archive_entry_hardlink(entry)) {
        if (!name_check(archive_entry_hardlink(entry), target, sizeof(target), err))
            return -EINVAL;
        archive_entry_set_hardlink(entry, target);
    }
    int r = count_entry(unpacker, entry, path, err);
    if (r < 0)
        return r;
    archive_entry_set_pathname(entry, path);
    return entry_make(unpacker, entry, path, err);
}

/* --- the archive ----------------------------------------------------------------------------- */

/* Everything a path can do is done in the tree. Threads share these unless they part. libarchive
 * converts names by the locale: in that of C it would refuse all but ASCII. */
static int thread_confine(struct unpacker *unpacker, struct error *err)
{
    unpacker->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL); /* a file: before the chroot */
    if (!unpacker->locale)
        return error_errno(err, errno, NULL, "unpack: the locale C.UTF-8");
    uselocale(unpacker->locale);
    if (unshare(CLONE_FS) < 0 || fchdir(unpacker->unpack->directory) < 0)
        return error_errno(err, errno, NULL, "unpack: enter the directory for it");
    if (chroot(".") < 0 && errno != EPERM)
        return error_errno(err, errno, NULL, "unpack: make its directory the root");
    umask(0);
    return 0;
}

static int archive_begin(struct unpacker *unpacker, struct error *err)
{
    unpacker->in = archive_read_new();
    unpacker->out = archive_write_disk_new();
    if (!unpacker->in || !unpacker->out)
        return error_errno(err, ENOMEM, NULL, "unpack");
    archive_read_support_format_tar(unpacker->in);
    archive_read_support_filter_gzip(unpacker->in);
    archive_read_support_filter_xz(unpacker->in);
    archive_read_support_filter_zstd(unpacker->in);
    archive_write_disk_set_options(unpacker->out, KEEP);
    return archive_read_open(unpacker->in, unpacker, NULL, source_read, NULL) == ARCHIVE_OK
               ? 0
               : input_error(unpacker, err);
}

/* tar ends with records of zeros, where libarchive also takes a bare end of the stream: that may be
 * half an archive. */
static int end_check(const struct unpacker *unpacker, la_int64_t content_end, struct error *err)
{
    la_int64_t end = archive_filter_bytes(unpacker->in, 0);
    la_int64_t padded = (content_end + TAR_RECORD - 1) / TAR_RECORD * TAR_RECORD;
    if (unpacker->unpack->totals.inodes == 0)
        return error_set(err, ERROR_INVALID, EINVAL, "the archive is empty");
    if (end < padded + TAR_RECORD)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "the archive is no good tar: it is cut off, its end mark is missing");
    if (archive_write_close(unpacker->out) != ARCHIVE_OK)
        return output_error(unpacker, ".", err);
    return 0;
}

static int entries_take(struct unpacker *unpacker, struct error *err)
{
    for (;;) {
        struct archive_entry *entry;
        la_int64_t content_end = archive_filter_bytes(unpacker->in, 0);
        int r = archive_read_next_header(unpacker->in, &entry);
        if (r == ARCHIVE_EOF)
            return end_check(unpacker, content_end, err);
        if (r != ARCHIVE_OK)
            return input_error(unpacker, err);
        r = entry_take(unpacker, entry, err);
        if (r < 0)
            return r;
    }
}

int tree_unpack(struct unpack *unpack, struct error *err)
{
    _cleanup_(unpacker) struct unpacker *unpacker = calloc(1, sizeof(*unpacker));
    if (!unpacker)
        return error_errno(err, ENOMEM, NULL, "unpack");
    unpacker->unpack = unpack;
    unpack->totals = (struct unpack_totals){0};
    int r = thread_confine(unpacker, err);
    if (r == 0)
        r = archive_begin(unpacker, err);
    if (r == 0)
        r = entries_take(unpacker, err);
    uselocale(LC_GLOBAL_LOCALE);
    return r;
}
