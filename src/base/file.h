/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories: whole reads and writes, atomic publishing, trees. Directory descriptors
 * may be AT_FDCWD; names are then paths. Every failure names the path and the errno. */
#ifndef TINE_BASE_FILE_H
#define TINE_BASE_FILE_H

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Reads or writes exactly `length` bytes, whatever the kernel splits or interrupts. A short read at
 * the end of the file is -EIO "file ends at ...". `what` names the file in messages. */
int file_read_exact(int fd, void *buffer, size_t length, const char *what, struct error *err);
int file_pread_exact(int fd, void *buffer, size_t length, uint64_t offset, const char *what,
                     struct error *err);
int file_write_exact(int fd, const void *buffer, size_t length, const char *what,
                     struct error *err);
int file_pwrite_exact(int fd, const void *buffer, size_t length, uint64_t offset, const char *what,
                      struct error *err);

/* Reads a whole regular file of at most `limit` bytes into a fresh buffer (owner: caller) that has
 * a NUL behind the last byte. -EFBIG if it is larger, -ENOENT if it is not there. */
int file_read_all(int dirfd, const char *name, size_t limit, char **buffer, size_t *length,
                  struct error *err);

/* Publishes a small file whole (R3): a temporary name in the same directory, fsync, rename, fsync
 * of the directory. After a failure the old content is untouched and nothing is left. */
int file_publish(int dirfd, const char *name, const void *data, size_t length, mode_t mode,
                 struct error *err);

/* fsync of a directory, so that names made or removed in it survive a power cut. */
int dir_sync(int dirfd, const char *path, struct error *err);
/* Opens a directory (O_PATH is not used: the descriptor can be synced). Returns it or -errno. */
int dir_open(int dirfd, const char *path, struct error *err);
/* A stream over an open directory, with a descriptor of its own: reading it does not move the
 * caller's. `label` is for messages. Owner of `*dir`: caller; NULL after a failure. */
int dir_stream(int dirfd, const char *label, DIR **dir, struct error *err);
/* The next name in it but "." and "..": 1; 0 at the end. `*name` is good until the next call. */
int dir_next(DIR *dir, const char *label, const char **name, struct error *err);
/* Makes a directory and its missing parents, mode 0700 for each one made. */
int dir_make_all(const char *path, struct error *err);
/* Removes a file or a whole directory tree without following symbolic links or crossing into
 * another file system. Nothing there is success. Not atomic: rename it away first where a half
 * removed tree could be mistaken for a whole one. */
int tree_remove(int dirfd, const char *name, struct error *err);

/* True (1) if the name exists, 0 if it does not (ENOENT only), negative errno otherwise (R6). */
int file_exists(int dirfd, const char *name, struct error *err);

/* A file name that marks half-made things: "<name>.tine-tmp-<16 hex digits>". Owner: caller. */
char *temporary_name(const char *name);
/* True if the name is one that temporary_name() makes: a sweep may remove it. */
int is_temporary_name(const char *name);

#endif
