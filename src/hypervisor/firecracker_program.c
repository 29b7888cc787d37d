/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/firecracker_program.h"

#include <errno.h>
#include <string.h>

#include "base/program_line.h"

#define ANSWER_MS 5000

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int file_look(const char *path, struct stat *st, struct error *err)
{
    if (stat(path, st) == 0)
        return 0;
    int r = error_errno(err, errno, path, "Firecracker %s", path);
    if (err && (r == -ENOENT || r == -ENOTDIR))
        err->code = ERROR_NOT_FOUND;
    return r;
}

static int ask(const char *path, struct firecracker_version *version, struct error *err)
{
    char line[128];
    int r = program_line(path, "--version", ANSWER_MS, line, sizeof(line), err);
    if (r < 0) {
        error_wrap(err, "Firecracker");
        if (err)
            err->code = ERROR_UNSUPPORTED;
        return r;
    }
    r = firecracker_version_of_program(path, line, version, err);
    if (r < 0)
        return r;
    r = firecracker_version_check(version, err);
    if (r < 0)
        error_wrap(err, "%s", path);
    return r;
}

int firecracker_program_version(struct firecracker_program *program,
                                struct firecracker_version *version, struct error *err)
{
    struct stat now;
    int r = file_look(program->path, &now, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&program->lock);
    if (!is_same(&now, &program->seen)) {
        memset(&program->seen, 0, sizeof(program->seen));
        r = ask(program->path, &program->version, err);
        if (r == 0)
            program->seen = now;
    }
    *version = program->version;
    pthread_mutex_unlock(&program->lock);
    return r;
}
