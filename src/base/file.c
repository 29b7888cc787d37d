/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define TEMPORARY_MARK ".tine-tmp-"
#define TEMPORARY_HEX  16

int file_read_exact(int fd, void *buffer, size_t length, const char *what, struct error *err)
{
    size_t done = 0;
    while (done < length) {
        ssize_t n = read(fd, (char *)buffer + done, length - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, what, "read %s", what);
        if (n == 0)
            return error_set(err, ERROR_CORRUPT, EIO, "read %s: it ends after %zu of %zu bytes",
                             what, done, length);
        done += (size_t)n;
    }
    return 0;
}

int file_pread_exact(int fd, void *buffer, size_t length, uint64_t offset, const char *what,
                     struct error *err)
{
    size_t done = 0;
    while (done < length) {
        ssize_t n = pread(fd, (char *)buffer + done, length - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, what, "read %s at %llu", what,
                               (unsigned long long)offset + done);
        if (n == 0)
            return error_set(err, ERROR_CORRUPT, EIO, "read %s: it ends at %llu, %zu bytes short",
                             what, (unsigned long long)offset + done, length - done);
        done += (size_t)n;
    }
    return 0;
}

int file_write_exact(int fd, const void *buffer, size_t length, const char *what, struct error *err)
{
    size_t done = 0;
    while (done < length) {
        ssize_t n = write(fd, (const char *)buffer + done, length - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, what, "write %s", what);
        done += (size_t)n;
    }
    return 0;
}

int file_pwrite_exact(int fd, const void *buffer, size_t length, uint64_t offset, const char *what,
                      struct error *err)
{
    size_t done = 0;
    while (done < length) {
        ssize_t n = pwrite(fd, (const char *)buffer + done, length - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, what, "write %s at %llu", what,
                               (unsigned long long)offset + done);
        done += (size_t)n;
    }
    return 0;
}

int file_read_all(int dirfd, const char *name, size_t limit, char **buffer, size_t *length,
                  struct error *err)
{
    _cleanup_(close) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(err, errno, name, "open %s", name);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, name, "stat %s", name);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERROR_INVALID, EINVAL, "read %s: not a regular file", name);
    if ((uint64_t)st.st_size > limit)
        return error_set(err, ERROR_INVALID, EFBIG, "read %s: %lld bytes, the limit is %zu", name,
                         (long long)st.st_size, limit);
    _cleanup_(free) char *data = malloc((size_t)st.st_size + 1);
    if (!data)
        return error_errno(err, ENOMEM, name, "read %s", name);
    int r = file_read_exact(fd, data, (size_t)st.st_size, name, err);
    if (r < 0)
        return r;
    data[st.st_size] = '\0';
    *buffer = TAKE_PTR(data);
    *length = (size_t)st.st_size;
    return 0;
}

int dir_sync(int dirfd, const char *path, struct error *err)
{
    if (dirfd == AT_FDCWD) {
        _cleanup_(close) int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
            return error_errno(err, errno, path, "sync directory %s", path);
        return 0;
    }
    if (fsync(dirfd) < 0)
        return error_errno(err, errno, path, "sync directory %s", path);
    return 0;
}

static int parent_sync(int dirfd, const char *name, struct error *err)
{
    const char *slash = strrchr(name, '/');
    if (!slash)
        return dir_sync(dirfd, name, err);
    _cleanup_(free) char *parent =
        slash == name ? strdup("/") : strndup(name, (size_t)(slash - name));
    if (!parent)
        return error_errno(err, ENOMEM, name, "sync parent of %s", name);
    _cleanup_(close) int fd = dir_open(dirfd, parent, err);
    if (fd < 0)
        return fd;
    return dir_sync(fd, parent, err);
}

int file_publish(int dirfd, const char *name, const void *data, size_t length, mode_t mode,
                 struct error *err)
{
    _cleanup_(free) char *temporary = temporary_name(name);
    if (!temporary)
        return error_errno(err, ENOMEM, name, "publish %s", name);
    _cleanup_(close) int fd =
        openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return error_errno(err, errno, temporary, "create %s", temporary);
    int r = file_write_exact(fd, data, length, temporary, err);
    if (r == 0 && fsync(fd) < 0)
        r = error_errno(err, errno, temporary, "sync %s", temporary);
    if (r == 0 && renameat(dirfd, temporary, dirfd, name) < 0)
        r = error_errno(err, errno, name, "rename %s to %s", temporary, name);
    if (r < 0) {
        unlinkat(dirfd, temporary, 0); /* the first error is the one to tell */
        return r;
    }
    return parent_sync(dirfd, name, err);
}

int dir_open(int dirfd, const char *path, struct error *err)
{
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, path, "open directory %s", path);
    return fd;
}

int dir_make_all(const char *path, struct error *err)
{
    _cleanup_(free) char *copy = strdup(path);
    if (!copy)
        return error_errno(err, ENOMEM, path, "make directory %s", path);
    for (char *p = copy + 1; *copy; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char end = *p;
        *p = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
            return error_errno(err, errno, copy, "make directory %s", copy);
        *p = end;
        if (end == '\0')
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return error_errno(err, errno, path, "stat %s", path);
    if (!S_ISDIR(st.st_mode))
        return error_errno(err, ENOTDIR, path, "make directory %s", path);
    return 0;
}

int dir_stream(int dirfd, const char *label, DIR **dir, struct error *err)
{
    _cleanup_(close) int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!*dir)
        return error_errno(err, errno, label, "open directory %s", label);
    TAKE_FD(fd); /* the stream owns it */
    return 0;
}

int dir_next(DIR *dir, const char *label, const char **name, struct error *err)
{
    const struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(dir);
        if (!entry)
            return errno == 0 ? 0 : error_errno(err, errno, label, "read directory %s", label);
    } while (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    *name = entry->d_name;
    return 1;
}

int file_exists(int dirfd, const char *name, struct error *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    if (errno == ENOENT)
        return 0;
    return error_errno(err, errno, name, "stat %s", name);
}

char *temporary_name(const char *name)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return NULL;
    char *made = NULL;
    if (asprintf(&made, "%s" TEMPORARY_MARK "%016llx", name, (unsigned long long)random) < 0)
        return NULL;
    return made;
}

int is_temporary_name(const char *name)
{
    size_t length = strlen(name);
    size_t tail = strlen(TEMPORARY_MARK) + TEMPORARY_HEX;
    if (length < tail || strncmp(name + length - tail, TEMPORARY_MARK, strlen(TEMPORARY_MARK)) != 0)
        return 0;
    return strspn(name + length - TEMPORARY_HEX, "0123456789abcdef") == TEMPORARY_HEX;
}
