/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image_tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <string.h>

#include "base/cleanup.h"

#define BLOCK (64u << 10)

struct image_tar {
    char *path;
    size_t path_length; /* without a slash at its end: 0 for "/" */
    int read_fd, write_fd;
    pthread_t thread;
    struct archive *disk, *out; /* the thread's, as what follows */
    struct archive_entry_linkresolver *links;
    struct failure failure;
    uint64_t skipped;
    char zeros[BLOCK];
};

static void tar_free(struct image_tar *tar)
{
    archive_read_free(tar->disk);
    archive_write_free(tar->out);
    if (tar->links)
        archive_entry_linkresolver_free(tar->links);
    cleanup_close(&tar->read_fd);
    cleanup_close(&tar->write_fd);
    free(tar->path);
    free(tar);
}

static int fail(struct image_tar *tar, struct archive *archive, const char *name)
{
    const char *words = archive_error_string(archive);
    return failure_set(&tar->failure, CLI_FAILED, "failed", "%s: %s", name,
                       words ? words : "it can't be read");
}

static int write_all(struct image_tar *tar, const void *data, size_t length, const char *name)
{
    la_ssize_t n = archive_write_data(tar->out, data, length);
    return n < 0 ? fail(tar, tar->out, name) : 0;
}

/* What a hole is on disk, a tar's reader gets as zeros, or as a hole: libarchive leaves out what it
 * has found to be one. */
static int content_write(struct image_tar *tar, const char *name)
{
    const void *block;
    size_t size;
    la_int64_t offset, written = 0;
    int r;
    while ((r = archive_read_data_block(tar->disk, &block, &size, &offset)) == ARCHIVE_OK) {
        while (written < offset) {
            la_int64_t gap = offset - written < BLOCK ? offset - written : BLOCK;
            if (write_all(tar, tar->zeros, (size_t)gap, name) != 0)
                return tar->failure.exit_status;
            written += gap;
        }
        if (write_all(tar, block, size, name) != 0)
            return tar->failure.exit_status;
        written += (la_int64_t)size;
    }
    return r == ARCHIVE_EOF ? 0 : fail(tar, tar->disk, name);
}

static int entry_write(struct image_tar *tar, struct archive_entry *entry, const char *name)
{
    int r = archive_write_header(tar->out, entry);
    if (r == ARCHIVE_FATAL || r == ARCHIVE_FAILED)
        return fail(tar, tar->out, name);
    return archive_entry_size(entry) > 0 ? content_write(tar, name) : 0;
}

/* Its name in the archive is what follows the tree's own. */
static int entry_take(struct image_tar *tar, struct archive_entry *entry)
{
    struct archive_entry *later = NULL;
    _cleanup_(free) char *name = NULL;
    const char *path = archive_entry_pathname(entry);
    if (!path || asprintf(&name, ".%s", path + tar->path_length) < 0) {
        name = NULL;
        return failure_set(&tar->failure, CLI_FAILED, "failed", "%s: a name in it can't be read",
                           tar->path);
    }
    if (archive_entry_filetype(entry) == AE_IFSOCK) {
        tar->skipped++;
        return 0;
    }
    archive_entry_set_pathname(entry, name);
    archive_entry_linkify(tar->links, &entry, &later);
    return entry ? entry_write(tar, entry, name) : 0;
}

static int tree_write(struct image_tar *tar)
{
    for (;;) {
        struct archive_entry *entry = archive_entry_new();
        int r = entry ? archive_read_next_header2(tar->disk, entry) : ARCHIVE_FATAL;
        if (r == ARCHIVE_EOF) {
            archive_entry_free(entry);
            return archive_write_close(tar->out) == ARCHIVE_OK ? 0 : fail(tar, tar->out, tar->path);
        }
        int status = r == ARCHIVE_OK ? entry_take(tar, entry) : fail(tar, tar->disk, tar->path);
        archive_entry_free(entry);
        if (status != 0)
            return status;
        archive_read_disk_descend(tar->disk);
    }
}

static int archives_open(struct image_tar *tar)
{
    tar->disk = archive_read_disk_new();
    tar->out = archive_write_new();
    tar->links = archive_entry_linkresolver_new();
    if (!tar->disk || !tar->out || !tar->links)
        return failure_set(&tar->failure, CLI_FAILED, "failed", "out of memory");
    archive_write_set_format_pax_restricted(tar->out);
    archive_write_set_bytes_per_block(tar->out, BLOCK);
    archive_entry_linkresolver_set_strategy(tar->links, archive_format(tar->out));
    archive_read_disk_set_symlink_physical(tar->disk);
    archive_read_disk_set_behavior(tar->disk, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS);
    if (archive_read_disk_open(tar->disk, tar->path) != ARCHIVE_OK)
        return fail(tar, tar->disk, tar->path);
    return archive_write_open_fd(tar->out, tar->write_fd) == ARCHIVE_OK
               ? 0
               : fail(tar, tar->out, tar->path);
}

/* The locale decides how names are read, and only in UTF-8 are they what they are. */
static void *tar_thread(void *data)
{
    struct image_tar *tar = data;
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
    if (utf8)
        uselocale(utf8);
    if (archives_open(tar) == 0)
        tree_write(tar);
    close(TAKE_FD(tar->write_fd));
    uselocale(LC_GLOBAL_LOCALE);
    if (utf8)
        freelocale(utf8);
    return NULL;
}

struct image_tar *image_tar_begin(const char *path, struct failure *failure)
{
    int ends[2];
    struct image_tar *tar = calloc(1, sizeof(*tar));
    if (!tar) {
        failure_set(failure, CLI_FAILED, "failed", "out of memory");
        return NULL;
    }
    tar->read_fd = tar->write_fd = -1;
    tar->path = realpath(path, NULL);
    tar->path_length = tar->path && strcmp(tar->path, "/") != 0 ? strlen(tar->path) : 0;
    int r = tar->path && pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
    if (r == 0) {
        tar->read_fd = ends[0];
        tar->write_fd = ends[1];
        r = pthread_create(&tar->thread, NULL, tar_thread, tar);
    }
    if (r == 0)
        return tar;
    failure_set(failure, CLI_FAILED, "failed", "%s: %s", path, strerror(r));
    tar_free(tar);
    return NULL;
}

int image_tar_fd(const struct image_tar *tar)
{
    return tar->read_fd;
}

int image_tar_end(struct image_tar *tar, uint64_t *skipped, struct failure *failure)
{
    close(TAKE_FD(tar->read_fd));
    pthread_join(tar->thread, NULL);
    int status = tar->failure.exit_status;
    if (status != 0 && failure->exit_status == 0)
        *failure = tar->failure;
    *skipped = tar->skipped;
    tar_free(tar);
    return status;
}
