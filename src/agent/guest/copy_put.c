/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest/control.h"
#include "agent/guest/copy.h"
#include "agent/guest/copy_path.h"
#include "agent/guest/copy_request.h"
#include "base/cleanup.h"
#include "base/file.h"

#define TEMPORARY                                                                   \
    "put" /* not the file's own name: with the mark behind it, it could be too long \
           */

struct put {
    int socket;
    const struct copy_request *request;
    uint64_t written;
    bool lost; /* the host went away, or made no sense: nobody is left to tell */
    char name[NAME_MAX + 1];
    int parent;
    uint8_t buffer[AGENT_FRAME_LIMIT];
};

/* Takes one frame: 1 content, 0 the end. */
static int frame_take(struct put *put, struct agent_frame *frame, struct error *err)
{
    int r = agent_frame_read(put->socket, put->buffer, frame, err);
    if (r > 0 && frame->type == AGENT_DATA)
        return 1;
    if (r > 0 && frame->type == AGENT_END)
        return 0;
    put->lost = r <= 0;
    return r > 0 ? error_set(err, ERROR_INVALID, EPROTO, "frame type %u while writing %s",
                             frame->type, put->request->path)
                 : -ECONNRESET;
}

/* Nothing is done for a host that goes away before it has said all. */
static int end_await(struct put *put, struct error *err)
{
    struct agent_frame frame;
    int r = frame_take(put, &frame, err);
    if (r > 0)
        return error_set(err, ERROR_INVALID, EPROTO, "%s is no file: it takes no content",
                         put->request->path);
    return r;
}

static int owner_set(const struct copy_request *request, int dirfd, const char *name,
                     struct error *err)
{
    if ((request->uid | request->gid) == 0)
        return 0;
    if (fchownat(dirfd, name, request->uid, request->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, request->path, "change the owner of %s", request->path);
    return 0;
}

/* --- a directory ----------------------------------------------------------------------------- */

static int directory_put(struct put *put, struct error *err)
{
    const struct copy_request *request = put->request;
    struct stat st;
    int r = end_await(put, err);
    if (r == 0)
        r = copy_parents_make(request->path, err);
    if (r < 0)
        return r;
    if (mkdir(request->path, 0700) == 0) {
        r = owner_set(request, AT_FDCWD, request->path, err);
        if (r == 0 && chmod(request->path, request->mode) < 0)
            r = error_errno(err, errno, request->path, "change the mode of %s", request->path);
        return r;
    }
    if (errno != EEXIST)
        return error_errno(err, errno, request->path, "make directory %s", request->path);
    if (stat(request->path, &st) < 0)
        return error_errno(err, errno, request->path, "stat %s", request->path);
    return S_ISDIR(st.st_mode)
               ? 0
               : error_errno(err, ENOTDIR, request->path, "%s is there already", request->path);
}

/* --- files and links: made under a temporary name -------------------------------------------- */

static int content_write(struct put *put, int fd, struct error *err)
{
    struct agent_frame frame;
    int r;
    while ((r = frame_take(put, &frame, err)) > 0) {
        r = file_write_exact(fd, frame.payload, frame.length, put->request->path, err);
        if (r < 0)
            return r;
        put->written += frame.length;
    }
    return r;
}

static int file_make(struct put *put, const char *name, struct error *err)
{
    const struct copy_request *request = put->request;
    _cleanup_(close) int fd =
        openat(put->parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, request->path, "create %s", request->path);
    int r = content_write(put, fd, err);
    if (r == 0)
        r = owner_set(request, put->parent, name, err);
    /* Behind the owner, whose change drops set-id bits. */
    if (r == 0 && fchmod(fd, request->mode) < 0)
        r = error_errno(err, errno, request->path, "change the mode of %s", request->path);
    return r;
}

static int link_make(struct put *put, const char *name, struct error *err)
{
    const struct copy_request *request = put->request;
    int r = end_await(put, err);
    if (r < 0)
        return r;
    if (symlinkat(request->link_target, put->parent, name) < 0)
        return error_errno(err, errno, request->path, "make link %s", request->path);
    return owner_set(request, put->parent, name, err);
}

/* What must not be replaced: a directory, a device somebody may need. */
static int target_check(const struct put *put, struct error *err)
{
    struct stat st;
    if (fstatat(put->parent, put->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT
                   ? 0
                   : error_errno(err, errno, put->request->path, "stat %s", put->request->path);
    if (S_ISDIR(st.st_mode))
        return error_errno(err, EISDIR, put->request->path, "%s is there already",
                           put->request->path);
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return error_set(err, ERROR_INVALID, EINVAL,
                         "%s is a device, pipe or socket, not to be overwritten",
                         put->request->path);
    return 0;
}

/* Finds the directory and the name. A file that is written through a link lands behind it. */
static int target_open(struct put *put, struct error *err)
{
    struct stat st;
    const char *path = put->request->path;
    _cleanup_(free) char *real = NULL;
    int r = copy_parents_make(path, err);
    if (r < 0)
        return r;
    if (put->request->link_target[0] == '\0' && lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
        real = realpath(path, NULL);
        if (!real)
            return error_errno(err, errno, path, "follow the link %s", path);
    }
    put->parent = copy_parent_open(real ? real : path, put->name, err);
    return put->parent < 0 ? put->parent : target_check(put, err);
}

static int entry_put(struct put *put, int (*make)(struct put *, const char *, struct error *),
                     struct error *err)
{
    int r = target_open(put, err);
    if (r < 0)
        return r;
    _cleanup_(free) char *name = temporary_name(TEMPORARY);
    if (!name)
        return error_errno(err, ENOMEM, put->request->path, "write %s", put->request->path);
    r = make(put, name, err);
    if (r == 0 && renameat(put->parent, name, put->parent, put->name) < 0)
        r = error_errno(err, errno, put->request->path, "rename to %s", put->request->path);
    if (r < 0)
        unlinkat(put->parent, name, 0);
    return r;
}

static int put_any(struct put *put, struct error *err)
{
    if (put->request->directory)
        return directory_put(put, err);
    return entry_put(put, put->request->link_target[0] ? link_make : file_make, err);
}

void copy_put(int fd, const struct agent_frame *frame, bool machine)
{
    struct copy_request request;
    struct error err = {0};
    _cleanup_(free) struct put *put = calloc(1, sizeof(*put));
    if (!put)
        return; /* the host sees the connection end without an answer */
    put->socket = fd;
    put->request = &request;
    put->parent = -1;
    int r = copy_request_parse(&request, frame, &err);
    if (r == 0)
        r = put_any(put, &err);
    if (put->parent >= 0)
        close(put->parent);
    if (put->lost)
        return;
    uint8_t data[32];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u64(&fields, AGENT_TAG_SIZE, put->written);
    if (r == 0)
        control_answer(fd, &fields);
    else
        control_fail(fd, err.errnum, "%s", err.message);
}
