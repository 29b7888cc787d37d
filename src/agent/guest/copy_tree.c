/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/copy_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

const char *copy_tree_name(const struct copy_tree *tree)
{
    return tree->depth == 0 ? tree->root : tree->path;
}

struct names {
    char **items;
    size_t count, capacity;
};

static void cleanup_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free((void *)names->items);
}

static int names_add(struct names *names, const char *name)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 64;
        char **grown = realloc((void *)names->items, capacity * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        names->items = grown;
        names->capacity = capacity;
    }
    char *copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    names->items[names->count++] = copy;
    return 0;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Takes over `fd`'s position, not `fd`. */
static int names_read(struct names *names, int fd)
{
    _cleanup_(closedir) DIR *dir = NULL;
    const char *name;
    int r = dir_stream(fd, "", &dir, NULL);
    while (r == 0 && (r = dir_next(dir, "", &name, NULL)) > 0)
        r = names_add(names, name);
    if (r == 0 && names->count > 0)
        qsort((void *)names->items, names->count, sizeof(*names->items), by_bytes);
    return r;
}

/* File systems whose files are made up by the kernel: endless, or not what their size says. */
static bool is_kernels_own(int fd)
{
    static const unsigned long magics[] = {
        PROC_SUPER_MAGIC,   SYSFS_MAGIC,      DEBUGFS_MAGIC,       TRACEFS_MAGIC,
        CGROUP_SUPER_MAGIC, SECURITYFS_MAGIC, CGROUP2_SUPER_MAGIC, BPF_FS_MAGIC,
    };
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
        if ((unsigned long)fs.f_type == magics[i])
            return true;
    }
    return false;
}

/* A link that leads to a directory it is in would be followed for ever. */
static int enter(struct copy_tree *tree, const struct stat *st, struct error *err)
{
    for (unsigned i = 0; i < tree->depth; i++) {
        if (tree->above[i].device == st->st_dev && tree->above[i].inode == st->st_ino)
            return error_errno(err, ELOOP, tree->path, "%s leads to a directory it is in",
                               tree->path);
    }
    if (tree->depth == COPY_TREE_DEPTH)
        return error_errno(err, ENAMETOOLONG, tree->path, "%s: more than %u directories deep",
                           tree->path, COPY_TREE_DEPTH);
    tree->above[tree->depth].device = st->st_dev;
    tree->above[tree->depth].inode = st->st_ino;
    tree->depth++;
    return 0;
}

static int entry_walk(struct copy_tree *tree, int dirfd, const char *name, struct error *err);

static int child_walk(struct copy_tree *tree, int fd, const char *name, struct error *err)
{
    size_t length = strlen(tree->path), more = strlen(name);
    bool bare = strcmp(tree->path, ".") == 0; /* the root has no name: children begin anew */
    if (length + more + 2 > sizeof(tree->path))
        return error_errno(err, ENAMETOOLONG, tree->path, "%s/%s", tree->path, name);
    char *at = tree->path + (bare ? 0 : length);
    if (!bare)
        *at++ = '/';
    memcpy(at, name, more + 1);
    int r = entry_walk(tree, fd, name, err);
    tree->path[length] = '\0';
    if (bare)
        memcpy(tree->path, ".", sizeof("."));
    return r;
}

static int children_walk(struct copy_tree *tree, int dirfd, const char *name, const struct stat *st,
                         struct error *err)
{
    _cleanup_(names) struct names names = {0};
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (tree->follow ? 0 : O_NOFOLLOW);
    _cleanup_(close) int fd = openat(dirfd, name, flags);
    if (fd < 0)
        return error_errno(err, errno, tree->path, "open directory %s", copy_tree_name(tree));
    bool mounted = tree->depth > 0 && tree->above[tree->depth - 1].device != st->st_dev;
    if (mounted && is_kernels_own(fd))
        return 0;
    int r = enter(tree, st, err);
    if (r < 0)
        return r;
    r = names_read(&names, fd);
    if (r < 0)
        r = error_errno(err, -r, tree->path, "read directory %s", tree->path);
    for (size_t i = 0; r == 0 && i < names.count; i++)
        r = child_walk(tree, fd, names.items[i], err);
    tree->depth--;
    return r;
}

/* True if the name went while its directory was walked. */
static bool has_gone(const struct copy_tree *tree, int dirfd, const char *name)
{
    struct stat st;
    return tree->depth > 0 && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static int entry_walk(struct copy_tree *tree, int dirfd, const char *name, struct error *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, tree->follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0) {
        int errnum = errno;
        return errnum == ENOENT && has_gone(tree, dirfd, name)
                   ? 0
                   : error_errno(err, errnum, tree->path, "%s", copy_tree_name(tree));
    }
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)) {
        if (tree->depth == 0)
            return error_set(err, ERROR_INVALID, EINVAL,
                             "%s is a device, pipe or socket, which can't be copied",
                             copy_tree_name(tree));
        tree->skipped++;
        return 0;
    }
    int r = tree->visit(tree, dirfd, name, &st, err);
    return r == 0 && S_ISDIR(st.st_mode) ? children_walk(tree, dirfd, name, &st, err) : r;
}

int copy_tree_walk(struct copy_tree *tree, const char *root, const char *name, struct error *err)
{
    tree->root = root;
    strncpy(tree->path, name, sizeof(tree->path) - 1);
    return entry_walk(tree, AT_FDCWD, root, err);
}
