/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/entry.h"
#include "agent/guest/control.h"
#include "agent/guest/copy.h"
#include "agent/guest/copy_path.h"
#include "agent/guest/copy_request.h"
#include "agent/guest/copy_tree.h"
#include "base/cleanup.h"

struct get {
    struct copy_tree tree;
    int socket;
    struct agent_entry entry;
    uint8_t fields[AGENT_ENTRY_SIZE];
    uint8_t block[AGENT_FRAME_LIMIT];
};

static int entry_send(struct get *get, const struct stat *st, struct error *err)
{
    struct agent_fields fields = {.data = get->fields, .capacity = sizeof(get->fields)};
    struct agent_entry *entry = &get->entry;
    memcpy(entry->path, get->tree.path, strlen(get->tree.path) + 1);
    entry->mode = st->st_mode;
    entry->mtime = st->st_mtime;
    entry->uid = st->st_uid;
    entry->gid = st->st_gid;
    agent_entry_put(&fields, entry);
    return agent_frame_write(get->socket, AGENT_ENTRY, fields.data, fields.length, err);
}

static int end_send(struct get *get, struct error *err)
{
    return agent_frame_write(get->socket, AGENT_END, NULL, 0, err);
}

/* Fills the block as far as the file goes; how many bytes. */
static ssize_t block_read(struct get *get, int fd, size_t wanted)
{
    size_t done = 0;
    while (done < wanted) {
        ssize_t n = read(fd, get->block + done, wanted - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* Sends what the first block did not hold. */
static int rest_send(struct get *get, int fd, uint64_t left, struct error *err)
{
    while (left > 0) {
        size_t wanted = left < sizeof(get->block) ? (size_t)left : sizeof(get->block);
        ssize_t n = block_read(get, fd, wanted);
        if (n < 0)
            return error_errno(err, (int)-n, get->tree.path, "read %s", copy_tree_name(&get->tree));
        if ((size_t)n < wanted)
            return error_set(err, ERROR_SYSTEM, ESTALE, "%s got shorter while it was read",
                             copy_tree_name(&get->tree));
        int r = agent_frame_write(get->socket, AGENT_DATA, get->block, wanted, err);
        if (r < 0)
            return r;
        left -= wanted;
    }
    return 0;
}

/* A file that fits the block is as large as it reads, whatever its size is said to be: it may be
 * changing, or one of the kernel's. */
static int content_send(struct get *get, int fd, const struct stat *st, struct error *err)
{
    ssize_t n = block_read(get, fd, sizeof(get->block));
    if (n < 0)
        return error_errno(err, (int)-n, get->tree.path, "read %s", copy_tree_name(&get->tree));
    bool whole = (size_t)n < sizeof(get->block);
    get->entry.size = whole ? (uint64_t)n : (uint64_t)st->st_size;
    if (get->entry.size < (uint64_t)n)
        return error_set(err, ERROR_SYSTEM, ESTALE, "%s has more content than its size says",
                         copy_tree_name(&get->tree));
    int r = entry_send(get, st, err);
    if (r == 0 && n > 0)
        r = agent_frame_write(get->socket, AGENT_DATA, get->block, (size_t)n, err);
    return r == 0 ? rest_send(get, fd, get->entry.size - (uint64_t)n, err) : r;
}

static int file_send(struct get *get, int dirfd, const char *name, struct error *err)
{
    /* What is a file now may be a pipe by then: opening must not wait for its other end. */
    int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (get->tree.follow ? 0 : O_NOFOLLOW);
    struct stat st;
    _cleanup_(close) int fd = openat(dirfd, name, flags);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, get->tree.path, "open %s", copy_tree_name(&get->tree));
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERROR_SYSTEM, ESTALE, "%s is no longer a file",
                         copy_tree_name(&get->tree));
    return content_send(get, fd, &st, err);
}

static int link_send(struct get *get, int dirfd, const char *name, const struct stat *st,
                     struct error *err)
{
    ssize_t n = readlinkat(dirfd, name, get->entry.link_target, sizeof(get->entry.link_target) - 1);
    if (n < 0)
        return error_errno(err, errno, get->tree.path, "read link %s", copy_tree_name(&get->tree));
    get->entry.link_target[n] = '\0';
    return entry_send(get, st, err);
}

static int visit(struct copy_tree *tree, int dirfd, const char *name, const struct stat *st,
                 struct error *err)
{
    struct get *get = CONTAINER_OF(tree, struct get, tree);
    int r;
    get->entry.size = 0;
    get->entry.link_target[0] = '\0';
    if (S_ISREG(st->st_mode))
        r = file_send(get, dirfd, name, err);
    else if (S_ISLNK(st->st_mode))
        r = link_send(get, dirfd, name, st, err);
    else
        r = entry_send(get, st, err);
    return r == 0 ? end_send(get, err) : r;
}

void copy_get(int fd, const struct agent_frame *frame, bool machine)
{
    struct copy_request request;
    char name[NAME_MAX + 1];
    struct error err = {0};
    _cleanup_(free) struct get *get = calloc(1, sizeof(*get));
    if (!get)
        return; /* the host sees the connection end without an answer */
    int r = copy_request_parse(&request, frame, &err);
    if (r == 0)
        r = copy_base_name(request.path, name, &err);
    if (r == 0) {
        get->socket = fd;
        get->tree.follow = request.follow;
        get->tree.visit = visit;
        r = copy_tree_walk(&get->tree, request.path, name, &err);
    }
    if (r < 0) {
        control_fail(fd, err.errnum, "%s", err.message);
        return;
    }
    uint8_t data[32];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    if (get->tree.skipped > 0)
        agent_field_put_u32(&fields, AGENT_TAG_SKIPPED, get->tree.skipped);
    control_answer(fd, &fields);
}
