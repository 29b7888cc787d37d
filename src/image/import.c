/* SPDX-License-Identifier: Apache-2.0 */
/* An import, in this order: a directory under a temporary name; the archive unpacked below it, by a
 * thread of its own, as it comes; a disk image of the tree; its digest; a row, which takes the
 * name; the disk under its own name. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/id.h"
#include "base/log.h"
#include "image/digest.h"
#include "image/ext4.h"
#include "image/image_store.h"
#include "image/unpack.h"

#define TREE "tree"
#define DISK "disk.img"

struct image_import {
    struct image_store *images;
    struct image image;
    char *temporary;      /* the name of the directory, in images/ */
    int directory, tree;  /* it, and what is unpacked, below it */
    int feed;             /* our end of the stream */
    atomic_bool complete; /* the stream ends where it should */
    struct unpack unpack; /* the thread's, while it runs */
    struct error err;     /* the same */
    int result;           /* the same */
    pthread_t thread;
    bool running;
};

static int tags_take(struct image *image, const char *tags, struct error *err)
{
    if (tags && strlen(tags) >= sizeof(image->tags))
        return error_set(err, ERROR_INVALID, E2BIG, "tags: more than %zu bytes in all",
                         sizeof(image->tags) - 1);
    snprintf(image->tags, sizeof(image->tags), "%s", tags ? tags : "");
    return 0;
}

/* The name is looked at before anything is sent; who takes it in the end is decided by its row. */
static int name_check(struct image_import *import, const char *name, struct error *err)
{
    struct image *other = calloc(1, sizeof(*other));
    int r = other ? image_name_new(name, import->image.name, err)
                  : error_errno(err, ENOMEM, NULL, "import %s", name);
    if (r == 0) {
        r = store_image_get(import->images->store, import->image.name, other, err);
        if (r == 0)
            r = error_set(err, ERROR_NAME, EEXIST, "there is an image %s already",
                          import->image.name);
        else if (r == -ENOENT)
            r = 0;
    }
    free(other);
    if (r == 0)
        error_clear(err);
    return r;
}

static int directories_make(struct image_import *import, struct error *err)
{
    int images = import->images->directory;
    import->temporary = temporary_name(import->image.id);
    if (!import->temporary)
        return error_errno(err, ENOMEM, NULL, "import %s", import->image.name);
    if (mkdirat(images, import->temporary, 0700) < 0)
        return error_errno(err, errno, import->temporary, "make images/%s", import->temporary);
    import->directory = dir_open(images, import->temporary, err);
    if (import->directory < 0)
        return import->directory;
    if (mkdirat(import->directory, TREE, 0755) < 0)
        return error_errno(err, errno, TREE, "make images/%s/" TREE, import->temporary);
    import->tree = dir_open(import->directory, TREE, err);
    return import->tree < 0 ? import->tree : 0;
}

/* --- the thread ------------------------------------------------------------------------------ */

/* tar pads what it writes: whoever sends it must not be told that it is unwelcome. */
static void drain(int fd)
{
    char padding[4096];
    ssize_t n;
    do {
        n = read(fd, padding, sizeof(padding));
    } while (n > 0 || (n < 0 && errno == EINTR));
}

static void *import_thread(void *data)
{
    struct image_import *import = data;
    import->result = tree_unpack(&import->unpack, &import->err);
    if (import->result == 0)
        drain(import->unpack.source);
    close(import->unpack.source);
    return NULL;
}

static int thread_start(struct image_import *import, struct error *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_errno(err, errno, NULL, "import %s", import->image.name);
    import->feed = ends[0];
    import->unpack.source = ends[1];
    import->unpack.directory = import->tree;
    import->unpack.complete = &import->complete;
    int r = pthread_create(&import->thread, NULL, import_thread, import);
    if (r != 0) {
        close(ends[1]);
        return error_errno(err, r, NULL, "import %s: start a thread", import->image.name);
    }
    import->running = true;
    return 0;
}

/* Ends the stream and waits for what becomes of it. */
static void thread_end(struct image_import *import, bool complete)
{
    atomic_store(&import->complete, complete);
    if (import->feed >= 0)
        close(TAKE_FD(import->feed));
    if (import->running)
        pthread_join(import->thread, NULL);
    import->running = false;
}

/* --- its life -------------------------------------------------------------------------------- */

int image_import_begin(struct image_store *images, const struct image_import_request *request,
                       struct image_import **import, struct error *err)
{
    struct image_import *made = calloc(1, sizeof(*made));
    if (!made)
        return error_errno(err, ENOMEM, NULL, "import an image");
    made->images = images;
    made->directory = made->tree = made->feed = -1;
    made->unpack.limits.bytes = request->bytes_limit ? request->bytes_limit : IMAGE_BYTES_LIMIT;
    made->unpack.limits.inodes = request->inodes_limit ? request->inodes_limit : IMAGE_INODES_LIMIT;
    int r = name_check(made, request->name, err);
    if (r == 0)
        r = program_set(&made->image.program, &request->program, err);
    if (r == 0)
        r = tags_take(&made->image, request->tags, err);
    if (r == 0)
        r = id_make(made->image.id, err);
    if (r == 0)
        r = directories_make(made, err);
    if (r == 0)
        r = thread_start(made, err);
    if (r < 0) {
        image_import_cancel(made);
        return r;
    }
    *import = made;
    return 0;
}

bool image_import_feed(struct image_import *import, const void *data, size_t length)
{
    const char *next = data;
    while (length > 0 && import->feed >= 0) {
        ssize_t n = send(import->feed, next, length, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            close(TAKE_FD(import->feed)); /* the thread has ended, and knows why */
            break;
        }
        next += n;
        length -= (size_t)n;
    }
    return import->feed >= 0;
}

static int step(const char *name, struct error *err)
{
    int r = failpoint(name);
    return r < 0 ? error_errno(err, -r, NULL, "failpoint %s", name) : 0;
}

static int disk_sync(const struct image_import *import, struct error *err)
{
    _cleanup_(close) int fd = openat(import->directory, DISK, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0400) < 0 || fsync(fd) < 0)
        return error_errno(err, errno, DISK, "sync images/%s/" DISK, import->temporary);
    return 0;
}

static int disk_make(struct image_import *import, struct error *err)
{
    const struct ext4_content content = {import->tree, import->unpack.totals.blocks,
                                         import->unpack.totals.inodes};
    char hex[DIGEST_HEX_SIZE];
    struct stat st;
    int r = ext4_make_image(import->directory, DISK, &content, err);
    if (r == 0)
        r = digest_file(import->directory, DISK, hex, err);
    if (r == 0)
        r = disk_sync(import, err);
    if (r < 0)
        return r;
    if (fstatat(import->directory, DISK, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, DISK, "stat images/%s/" DISK, import->temporary);
    snprintf(import->image.digest, sizeof(import->image.digest), DIGEST_PREFIX "%s", hex);
    import->image.size_bytes = (uint64_t)st.st_size;
    import->image.created_at_ns = time_realtime_ns();
    return step("import-disk", err);
}

/* The row first: it takes the name, and one without its disk is forgotten. */
static int publish(struct image_import *import, struct error *err)
{
    const struct image_file file = image_file(&import->image);
    int images = import->images->directory;
    int r = store_image_insert(import->images->store, &import->image, err);
    if (r < 0)
        return r;
    r = step("import-inserted", err);
    if (r == 0 && renameat(import->directory, DISK, images, file.name) < 0)
        r = error_errno(err, errno, file.name, "rename to images/%s", file.name);
    if (r == 0)
        r = dir_sync(images, "images", err);
    if (r == 0)
        return 0;
    struct error cause = {0};
    if (unlinkat(images, file.name, 0) < 0 && errno != ENOENT)
        log_error("image %s: roll back its import: %s", import->image.name, strerror(errno));
    if (store_image_delete(import->images->store, import->image.id, &cause) < 0)
        log_error("image %s: roll back its import: %s", import->image.name, cause.message);
    return r;
}

int image_import_finish(struct image_import *import, struct image *image, struct error *err)
{
    thread_end(import, true);
    int r = import->result;
    if (r < 0 && err)
        *err = import->err;
    if (r == 0)
        r = step("import-unpacked", err);
    if (r == 0)
        r = disk_make(import, err);
    if (r == 0)
        r = publish(import, err);
    if (r < 0 && err)
        error_wrap(err, "import %s", import->image.name);
    if (r == 0) {
        *image = import->image;
        log_info("image %s: imported, %" PRIu64 " files, %" PRIu64 " bytes, %" PRIu64
                 " devices left out",
                 image->name, import->unpack.totals.inodes, import->unpack.totals.bytes,
                 import->unpack.totals.devices_skipped);
    }
    image_import_cancel(import);
    return r;
}

void image_import_cancel(struct image_import *import)
{
    if (!import)
        return;
    struct error err = {0};
    thread_end(import, false);
    cleanup_close(&import->tree);
    cleanup_close(&import->directory);
    if (import->temporary && tree_remove(import->images->directory, import->temporary, &err) < 0)
        log_warning("what an import has left goes at the next start: %s", err.message);
    free(import->temporary);
    free(import);
}
