/* SPDX-License-Identifier: Apache-2.0 */
/* Into the guest: one connection for each file, directory and link, parents first. */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "cli/cp_wire.h"
#include "cli/http.h"
#include "cli/instance_view.h"

#define BLOCK 32768u /* as much as other clients send at a time */

struct cp_in {
    struct cp *cp;
    struct failure *failure;
    char *source;          /* what is copied, without slashes at its end */
    char target[PATH_MAX]; /* what it becomes in the guest */
    char block[BLOCK];
};

static int fail_errno(struct cp_in *in, int errnum, const char *path)
{
    return failure_set(in->failure, CLI_FAILED, "failed", "%s: %s", path, strerror(errnum));
}

/* --- one entry ------------------------------------------------------------------------------- */

static void on_text(void *data, const json_t *message)
{
    struct cp_wire *wire = data;
    const char *error = view_text(message, "error");
    wire->over = json_is_true(json_object_get(message, "success"));
    if (!wire->over)
        failure_set(&wire->failure, CLI_FAILED, "failed", "%s",
                    *error ? error : view_text(message, "message"));
}

static json_t *request_json(const struct cp_in *in, const char *path, const struct stat *st)
{
    bool directory = S_ISDIR(st->st_mode);
    json_t *request = json_pack("{s:s, s:s, s:b, s:I}", "direction", "to", "guest_path", path,
                                "is_dir", directory, "mode",
                                (json_int_t)(st->st_mode & (in->cp->archive ? 07777u : 0777u)));
    if (in->cp->archive) {
        json_object_set_new(request, "uid", json_integer(st->st_uid));
        json_object_set_new(request, "gid", json_integer(st->st_gid));
    }
    return request;
}

static int content_send(struct cp_in *in, struct cp_wire *wire, int fd, const char *path)
{
    for (;;) {
        ssize_t n = read(fd, in->block, sizeof(in->block));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(in, errno, path);
        if (n == 0)
            return 0;
        if (cp_wire_send(wire, in->block, (size_t)n) != 0)
            return wire->failure.exit_status;
        cp_progress(in->cp, path, (uint64_t)n);
    }
}

/* Sends one entry; `fd` is a file's content, else -1. */
static int entry_send(struct cp_in *in, json_t *request, int fd, const char *path)
{
    struct cp_wire wire = {.cp = in->cp, .fd = -1, .text = on_text};
    wire.data = &wire;
    int r = request ? cp_wire_open(&wire, request) : fail_errno(in, EILSEQ, path);
    if (r == 0 && fd >= 0)
        r = content_send(in, &wire, fd, path);
    if (r == 0)
        r = cp_wire_send_json(&wire, json_pack("{s:s}", "type", "end"));
    if (r == 0)
        r = cp_wire_run(&wire);
    cp_wire_close(&wire);
    if (wire.failure.exit_status != 0)
        *in->failure = wire.failure;
    return r;
}

static int file_send(struct cp_in *in, const FTSENT *entry, const char *target)
{
    struct stat st;
    _cleanup_(close) int fd = open(entry->fts_accpath, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail_errno(in, errno, entry->fts_path);
    if (!S_ISREG(st.st_mode))
        return fail_errno(in, EINVAL, entry->fts_path);
    in->cp->files++;
    return entry_send(in, request_json(in, target, &st), fd, entry->fts_path);
}

static int link_send(struct cp_in *in, const FTSENT *entry, const char *target)
{
    char to[PATH_MAX];
    ssize_t n = readlink(entry->fts_accpath, to, sizeof(to) - 1);
    if (n < 0)
        return fail_errno(in, errno, entry->fts_path);
    to[n] = '\0';
    json_t *request = request_json(in, target, entry->fts_statp);
    if (request)
        json_object_set_new(request, "tine", json_pack("{s:s}", "link_target", to));
    in->cp->links++;
    return entry_send(in, request, -1, entry->fts_path);
}

static int directory_send(struct cp_in *in, const FTSENT *entry, const char *target)
{
    in->cp->directories++;
    return entry_send(in, request_json(in, target, entry->fts_statp), -1, entry->fts_path);
}

static int special_skip(struct cp_in *in, const FTSENT *entry, const char *target)
{
    in->cp->skipped++;
    if (entry->fts_level > FTS_ROOTLEVEL)
        return 0;
    return failure_set(in->failure, CLI_FAILED, "failed",
                       "%s is a device, pipe or socket, which can't be copied", entry->fts_path);
}

static int nothing_send(struct cp_in *in, const FTSENT *entry, const char *target)
{
    return 0;
}

static int loop_refuse(struct cp_in *in, const FTSENT *entry, const char *target)
{
    return fail_errno(in, ELOOP, entry->fts_path);
}

static int dangling_refuse(struct cp_in *in, const FTSENT *entry, const char *target)
{
    return fail_errno(in, ENOENT, entry->fts_path);
}

static int error_refuse(struct cp_in *in, const FTSENT *entry, const char *target)
{
    return fail_errno(in, entry->fts_errno, entry->fts_path);
}

/* What fts(3) finds, without and with links followed. */
static const struct {
    int info;
    bool following;
    int (*send)(struct cp_in *in, const FTSENT *entry, const char *target);
} senders[] = {
    {FTS_F, false, file_send},           {FTS_F, true, file_send},
    {FTS_D, false, directory_send},      {FTS_D, true, directory_send},
    {FTS_DP, false, nothing_send},       {FTS_DP, true, nothing_send},
    {FTS_SL, false, link_send},          {FTS_SLNONE, false, link_send},
    {FTS_SLNONE, true, dangling_refuse}, {FTS_DC, true, loop_refuse},
    {FTS_DEFAULT, false, special_skip},  {FTS_DEFAULT, true, special_skip},
};

static int entry_visit(struct cp_in *in, const FTSENT *entry)
{
    char target[PATH_MAX];
    const char *below = entry->fts_path + strlen(in->source);
    const char *between = *below && *below != '/' ? "/" : "";
    int n = snprintf(target, sizeof(target), "%s%s%s", in->target, between, below);
    if (n >= (int)sizeof(target))
        return fail_errno(in, ENAMETOOLONG, entry->fts_path);
    for (size_t i = 0; i < ARRAY_SIZE(senders); i++) {
        if (senders[i].info == entry->fts_info && senders[i].following == in->cp->follow)
            return senders[i].send(in, entry, target);
    }
    return error_refuse(in, entry, target);
}

/* --- where it goes --------------------------------------------------------------------------- */

static int name_of_source(struct cp_in *in, char name[NAME_MAX + 1])
{
    _cleanup_(free) char *real = NULL;
    const char *slash = strrchr(in->source, '/');
    const char *base = slash ? slash + 1 : in->source;
    if (strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
        real = realpath(in->source, NULL);
        if (!real)
            return fail_errno(in, errno, in->source);
        base = strrchr(real, '/') + 1;
    }
    snprintf(name, NAME_MAX + 1, "%s", base);
    return 0;
}

static json_t *guest_stat(struct cp_in *in)
{
    _cleanup_(free) char *escaped = uri_escape(in->cp->guest_path);
    _cleanup_(free) char *rest = NULL;
    if (!escaped || asprintf(&rest, "/stat?follow_links=true&path=%s", escaped) < 0) {
        failure_set(in->failure, CLI_FAILED, "failed", "out of memory");
        return NULL;
    }
    _cleanup_(free) char *path = instance_path(in->cp->instance, rest);
    return http_get(in->cp->cli, NULL, path, in->failure);
}

/* As docker cp: into a directory that is there, onto a file that is there, else under that name. */
static int target_choose(struct cp_in *in, bool directory)
{
    char name[NAME_MAX + 1] = "";
    const char *path = in->cp->guest_path;
    _cleanup_(json) json_t *info = guest_stat(in);
    if (!info)
        return in->failure->exit_status;
    bool exists = json_is_true(json_object_get(info, "exists"));
    bool into = exists && json_is_true(json_object_get(info, "is_dir"));
    const char *error = view_text(info, "error");
    if (*error)
        return failure_set(in->failure, CLI_FAILED, "failed", "%s: %s", path, error);
    if (exists && !into && directory)
        return failure_set(in->failure, CLI_FAILED, "failed", "%s in the guest is not a directory",
                           path);
    if (!exists && !directory && path[strlen(path) - 1] == '/')
        return failure_set(in->failure, CLI_FAILED, "failed",
                           "there is no directory %s in the guest", path);
    if (into && !(directory && cp_means_content(in->cp->local_path)) &&
        name_of_source(in, name) != 0)
        return in->failure->exit_status;
    bool slash = name[0] && path[strlen(path) - 1] != '/';
    int n = snprintf(in->target, sizeof(in->target), "%s%s%s", path, slash ? "/" : "", name);
    return n < (int)sizeof(in->target) ? 0 : fail_errno(in, ENAMETOOLONG, path);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int tree_send(struct cp_in *in, bool through)
{
    char *const roots[] = {in->source, NULL};
    int options =
        FTS_NOCHDIR | (in->cp->follow ? FTS_LOGICAL : FTS_PHYSICAL) | (through ? FTS_COMFOLLOW : 0);
    FTS *fts = fts_open(roots, options, by_name);
    if (!fts)
        return fail_errno(in, errno, in->source);
    int r = 0;
    FTSENT *entry;
    errno = 0;
    while (r == 0 && (entry = fts_read(fts))) {
        r = entry_visit(in, entry);
        errno = 0;
    }
    if (r == 0 && errno != 0)
        r = fail_errno(in, errno, in->source);
    fts_close(fts);
    return r;
}

int cp_in(struct cp *cp, struct failure *failure)
{
    struct stat st;
    _cleanup_(free) struct cp_in *in = calloc(1, sizeof(*in));
    _cleanup_(free) char *source = strdup(cp->local_path);
    if (!in || !source)
        return failure_set(failure, CLI_FAILED, "failed", "out of memory");
    *in = (struct cp_in){.cp = cp, .failure = failure, .source = source};
    size_t length = strlen(source);
    bool slash = length > 1 && source[length - 1] == '/'; /* a link to a directory means that */
    while (length > 1 && source[length - 1] == '/')
        source[--length] = '\0';
    if ((cp->follow || slash ? stat(source, &st) : lstat(source, &st)) < 0)
        return fail_errno(in, errno, cp->local_path);
    if (slash && !S_ISDIR(st.st_mode))
        return fail_errno(in, ENOTDIR, cp->local_path);
    int r = target_choose(in, S_ISDIR(st.st_mode));
    return r == 0 ? tree_send(in, slash) : r;
}
