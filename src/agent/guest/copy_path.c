/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/copy_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define PARENT_MODE 0755

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* The last component of a path that does not end in a slash. */
static int last_name(const char *path, char name[NAME_MAX + 1], struct error *err)
{
    const char *base = strrchr(path, '/') + 1;
    if (strlen(base) > NAME_MAX)
        return error_errno(err, ENAMETOOLONG, path, "%s", path);
    memcpy(name, base, strlen(base) + 1);
    return 0;
}

int copy_base_name(const char *path, char name[NAME_MAX + 1], struct error *err)
{
    _cleanup_(free) char *plain = strdup(path);
    if (!plain)
        return error_errno(err, ENOMEM, path, "%s", path);
    for (size_t n = strlen(plain); n > 1 && plain[n - 1] == '/'; n--)
        plain[n - 1] = '\0';
    int r = last_name(plain, name, err);
    if (r < 0)
        return r;
    if (is_dots(name)) {
        _cleanup_(free) char *real = realpath(path, NULL);
        if (!real)
            return error_errno(err, errno, path, "%s", path);
        r = last_name(real, name, err);
    }
    if (name[0] == '\0')
        memcpy(name, ".", sizeof("."));
    return r;
}

int copy_parents_make(const char *path, struct error *err)
{
    _cleanup_(free) char *copy = strdup(path);
    if (!copy)
        return error_errno(err, ENOMEM, path, "make the directories of %s", path);
    for (char *p = copy + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        if (mkdir(copy, PARENT_MODE) < 0 && errno != EEXIST)
            return error_errno(err, errno, copy, "make directory %s", copy);
        *p = '/';
    }
    return 0;
}

int copy_parent_open(const char *path, char name[NAME_MAX + 1], struct error *err)
{
    int r = last_name(path, name, err);
    if (r < 0)
        return r;
    if (name[0] == '\0' || is_dots(name))
        return error_errno(err, EISDIR, path, "%s names a directory", path);
    _cleanup_(free) char *parent = strndup(path, (size_t)(strrchr(path, '/') + 1 - path));
    if (!parent)
        return error_errno(err, ENOMEM, path, "%s", path);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, parent, "open directory %s", parent);
    return fd;
}
