/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/first_touches.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "instance/memory_image.h"
#include "instance/snapshot_operation.h"
#include "paging/paging.h"

/* The fork's. */
struct record_file {
    int dir;
    struct stat st;
};

static void cleanup_record_file(struct record_file *file)
{
    if (file->dir >= 0)
        close(file->dir);
}

/* 1: there is one. */
static int find(const struct operation *op, struct record_file *file, struct error *err)
{
    char path[INSTANCE_ID_LENGTH + sizeof("/" GUEST_BASE)];
    snprintf(path, sizeof(path), "%s/" GUEST_BASE, op->record.id);
    file->dir = dir_open(op->host->guests_fd, path, err);
    if (file->dir < 0)
        return file->dir == -ENOENT ? 0 : file->dir;
    if (fstatat(file->dir, PAGING_RECORD, &file->st, AT_SYMLINK_NOFOLLOW) == 0)
        return S_ISREG(file->st.st_mode);
    return errno == ENOENT ? 0 : error_errno(err, errno, path, "stat %s/" PAGING_RECORD, path);
}

/* In place of one that is there: that is of no use, or the fork would not have made its own. Nobody
 * looks in between, and a crash there only costs the record. */
static int give(const struct record_file *file, int parent, const char *id, struct error *err)
{
    struct stat st;
    _cleanup_(close) int dir = memory_directory(parent, id, err);
    if (dir < 0)
        return dir;
    if (fstatat(dir, PAGING_RECORD, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_dev == file->st.st_dev && st.st_ino == file->st.st_ino)
        return 0;
    if (unlinkat(dir, PAGING_RECORD, 0) < 0 && errno != ENOENT)
        return error_errno(err, errno, id, "remove " PAGING_RECORD " of %s", id);
    if (linkat(file->dir, PAGING_RECORD, dir, PAGING_RECORD, 0) < 0)
        return error_errno(err, errno, id, "link " PAGING_RECORD " to %s", id);
    return 0;
}

/* Other instances are only ever tried: whoever waits for two could wait for ever (lock.h). */
static int give_instance(struct operation *op, const struct record_file *file, const char *key,
                         struct error *err)
{
    _cleanup_(operation) struct operation source = OPERATION_NONE;
    int r = operation_begin_raw(op->host, op->record.parent_id, LOCK_TRY_EXCLUSIVE, &source, err);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    bool same =
        source.record.state == INSTANCE_STANDBY && strcmp(source.record.cache_key, key) == 0;
    return same ? give(file, op->host->guests_fd, source.record.id, err) : 0;
}

static int give_snapshot(struct operation *op, const struct record_file *file, const char *id,
                         struct error *err)
{
    _cleanup_(snapshot_operation) struct snapshot_operation snapshot = SNAPSHOT_OPERATION_NONE;
    int r = snapshot_begin(op->host, id, LOCK_TRY_EXCLUSIVE, &snapshot, err);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    const struct owner owner = snapshot_owner(&snapshot);
    return give(file, owner.parent, id, err);
}

static int give_snapshots(struct operation *op, const struct record_file *file, const char *key,
                          struct error *err)
{
    const struct snapshot_filter all = {.name = NULL};
    _cleanup_(free) struct snapshot_record *records = NULL;
    size_t count = 0;
    int result = 0, r = store_snapshot_list(op->host->store, &all, &records, &count, err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (records[i].kind != INSTANCE_STANDBY || strcmp(records[i].source.cache_key, key) != 0)
            continue;
        int one = give_snapshot(op, file, records[i].id, err);
        result = one < 0 ? one : result;
    }
    return r < 0 ? r : result;
}

void first_touches_share(struct operation *op, const char *cache_key)
{
    _cleanup_(record_file) struct record_file file = {.dir = -1};
    struct error cause = {0}, other = {0};
    int r = op->record.parent_id[0] ? find(op, &file, &cause) : 0;
    int instance = r > 0 ? give_instance(op, &file, cache_key, &cause) : r;
    int snapshots = r > 0 ? give_snapshots(op, &file, cache_key, &other) : 0;
    if (instance < 0 && instance != -EBUSY)
        log_warning("instance %s: its first touches: %s", op->record.id, cause.message);
    if (snapshots < 0 && snapshots != -EBUSY)
        log_warning("instance %s: its first touches: %s", op->record.id, other.message);
}
