/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tree_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/relative_path.h"

#define PERMISSIONS 0777u
#define TEMPORARY   "cp"

int tree_writer_open(struct tree_writer *writer, const char *directory, bool archive,
                     struct error *err)
{
    *writer = (struct tree_writer){.parent = -1, .file = -1, .archive = archive};
    writer->umask = umask(0);
    umask(writer->umask);
    writer->fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return writer->fd < 0 ? error_errno(err, errno, directory, "open directory %s", directory) : 0;
}

/* Opens the directory that holds the path's last name, component by component and through no link;
 * the name goes to `name`. */
static int parent_open(const struct tree_writer *writer, const char *path, char name[NAME_MAX + 1],
                       struct error *err)
{
    if (!relative_path_valid(path))
        return error_set(err, ERROR_CORRUPT, EPROTO,
                         "the guest sends \"%s\", which is not below the destination", path);
    _cleanup_(close) int fd = fcntl(writer->fd, F_DUPFD_CLOEXEC, 3);
    while (fd >= 0) {
        size_t length = strcspn(path, "/");
        memcpy(name, path, length);
        name[length] = '\0';
        if (path[length] == '\0')
            return TAKE_FD(fd);
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int errnum = errno;
        close(fd);
        fd = next;
        errno = errnum;
        path += length + 1;
    }
    return error_errno(err, errno, name, "open directory %s of the destination", name);
}

static mode_t mode_of(const struct tree_writer *writer, const struct tree_entry *entry)
{
    return (entry->mode & PERMISSIONS) & ~(writer->archive ? 0 : writer->umask);
}

/* What an archive keeps: of `name` in `dirfd`, which may be a link. */
static int attributes_set(const struct tree_writer *writer, const struct tree_entry *entry,
                          int dirfd, const char *name, struct error *err)
{
    if (!writer->archive)
        return 0;
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = entry->mtime}};
    if (geteuid() == 0 && fchownat(dirfd, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, name, "change the owner of %s", name);
    if (utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, name, "set the time of %s", name);
    return 0;
}

/* --- directories ----------------------------------------------------------------------------- */

static int directory_finish(struct tree_writer *writer, struct error *err)
{
    char name[NAME_MAX + 1];
    struct tree_directory *directory = writer->open_directories;
    writer->open_directories = directory->next;
    _cleanup_(close) int parent = parent_open(writer, directory->path, name, err);
    int r = parent < 0 ? parent : 0;
    _cleanup_(close) int fd =
        r < 0 ? -1 : openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (r == 0 && fd < 0)
        r = error_errno(err, errno, directory->path, "open directory %s", directory->path);
    if (r == 0)
        r = attributes_set(writer, &directory->entry, parent, name, err);
    if (r == 0 && fchmod(fd, mode_of(writer, &directory->entry)) < 0)
        r = error_errno(err, errno, name, "change the mode of %s", directory->path);
    free(directory->path);
    free(directory);
    return r;
}

/* Finishes those that the path is not in. */
static int directories_leave(struct tree_writer *writer, const char *path, struct error *err)
{
    while (writer->open_directories) {
        const char *open = writer->open_directories->path;
        size_t length = strlen(open);
        if (strncmp(open, path, length) == 0 && path[length] == '/')
            return 0;
        int r = directory_finish(writer, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int directory_remember(struct tree_writer *writer, const struct tree_entry *entry)
{
    struct tree_directory *directory = calloc(1, sizeof(*directory));
    if (!directory)
        return -ENOMEM;
    directory->entry = *entry;
    directory->entry.path = directory->entry.link_target = NULL; /* borrowed until the next one */
    directory->path = strdup(entry->path);
    directory->next = writer->open_directories;
    writer->open_directories = directory;
    return directory->path ? 0 : -ENOMEM;
}

/* One that is there already stays as it is. */
static int directory_make(struct tree_writer *writer, const struct tree_entry *entry,
                          struct error *err)
{
    struct stat st;
    if (mkdirat(writer->parent, writer->name, 0700) == 0)
        return directory_remember(writer, entry) < 0
                   ? error_errno(err, ENOMEM, entry->path, "make directory %s", entry->path)
                   : 0;
    if (errno != EEXIST)
        return error_errno(err, errno, entry->path, "make directory %s", entry->path);
    if (fstatat(writer->parent, writer->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, entry->path, "stat %s", entry->path);
    if (!S_ISDIR(st.st_mode))
        return error_errno(err, ENOTDIR, entry->path, "%s is there already", entry->path);
    return 0;
}

/* --- files and links ------------------------------------------------------------------------- */

static int target_check(const struct tree_writer *writer, const char *path, struct error *err)
{
    struct stat st;
    if (fstatat(writer->parent, writer->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, path, "stat %s", path);
    if (S_ISDIR(st.st_mode))
        return error_errno(err, EISDIR, path, "%s is there already", path);
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return error_set(err, ERROR_INVALID, EINVAL,
                         "%s is a device, pipe or socket, not to be overwritten", path);
    return 0;
}

static int temporary_make(struct tree_writer *writer, const struct tree_entry *entry,
                          struct error *err)
{
    char *name = temporary_name(TEMPORARY);
    if (!name)
        return error_errno(err, ENOMEM, entry->path, "create %s", entry->path);
    int r = 0;
    if (entry->link_target)
        r = symlinkat(entry->link_target, writer->parent, name);
    else
        r = writer->file = openat(writer->parent, name,
                                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (r < 0) {
        error_errno(err, errno, entry->path, "create %s", entry->path);
        free(name);
        return -EIO;
    }
    writer->temporary = name;
    return 0;
}

int tree_writer_begin(struct tree_writer *writer, const struct tree_entry *entry, struct error *err)
{
    int r = directories_leave(writer, entry->path, err);
    if (r < 0 || entry->path[0] == '\0')
        return r;
    writer->parent = parent_open(writer, entry->path, writer->name, err);
    if (writer->parent < 0)
        return writer->parent;
    writer->entry = *entry;
    writer->entry.path = writer->entry.link_target = NULL; /* borrowed */
    if (entry->directory)
        return directory_make(writer, entry, err);
    r = target_check(writer, entry->path, err);
    return r == 0 ? temporary_make(writer, entry, err) : r;
}

int tree_writer_data(struct tree_writer *writer, const void *data, size_t length, struct error *err)
{
    if (writer->file < 0)
        return error_set(err, ERROR_CORRUPT, EPROTO, "the guest sends content of no file");
    return file_write_exact(writer->file, data, length, writer->name, err);
}

static void entry_drop(struct tree_writer *writer)
{
    if (writer->temporary)
        unlinkat(writer->parent, writer->temporary, 0);
    free(TAKE_PTR(writer->temporary));
    cleanup_close(&writer->file);
    cleanup_close(&writer->parent);
    writer->file = writer->parent = -1;
}

int tree_writer_end(struct tree_writer *writer, struct error *err)
{
    int r = 0;
    if (writer->temporary) {
        r = attributes_set(writer, &writer->entry, writer->parent, writer->temporary, err);
        if (r == 0 && writer->file >= 0 &&
            fchmod(writer->file, mode_of(writer, &writer->entry)) < 0)
            r = error_errno(err, errno, writer->name, "change the mode of %s", writer->name);
        if (r == 0 && renameat(writer->parent, writer->temporary, writer->parent, writer->name) < 0)
            r = error_errno(err, errno, writer->name, "rename to %s", writer->name);
        if (r == 0)
            free(TAKE_PTR(writer->temporary));
    }
    entry_drop(writer);
    return r;
}

int tree_writer_finish(struct tree_writer *writer, struct error *err)
{
    return directories_leave(writer, "", err);
}

void tree_writer_close(struct tree_writer *writer)
{
    entry_drop(writer);
    while (writer->open_directories)
        (void)directory_finish(writer, NULL); /* the failure that brought us here is told */
    cleanup_close(&writer->fd);
}
