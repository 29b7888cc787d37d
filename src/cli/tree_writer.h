/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a tree that somebody else describes, entry by entry, below one directory. Whatever the
 * entries say, nothing outside is touched: names are checked, links are made and never followed,
 * set-id bits are dropped. A file takes its name when it is complete. */
#ifndef TINE_CLI_TREE_WRITER_H
#define TINE_CLI_TREE_WRITER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct tree_entry {
    const char *path; /* below the writer's directory; "": the directory itself, which is there */
    const char *link_target; /* of a symbolic link, else NULL */
    bool directory;
    uint32_t mode; /* permissions */
    int64_t mtime;
    uint32_t uid, gid;
};

/* A directory that is not finished: its mode and times come last, or its content could not be
 * written, or would change them. */
struct tree_directory {
    char *path;
    struct tree_entry entry;
    struct tree_directory *next;
};

struct tree_writer {
    int fd;       /* the directory; owned */
    bool archive; /* keep owner (as root), times, and the mode without the umask */
    mode_t umask;
    int parent; /* of the entry being written, -1: none */
    int file;
    char *temporary;
    char name[NAME_MAX + 1];
    struct tree_entry entry;
    struct tree_directory *open_directories; /* innermost first */
};

/* Opens the directory, which must be there. */
int tree_writer_open(struct tree_writer *writer, const char *directory, bool archive,
                     struct error *err);
int tree_writer_begin(struct tree_writer *writer, const struct tree_entry *entry,
                      struct error *err);
int tree_writer_data(struct tree_writer *writer, const void *data, size_t length,
                     struct error *err);
int tree_writer_end(struct tree_writer *writer, struct error *err);
/* Gives the last directories their modes. Before the close, if all went well. */
int tree_writer_finish(struct tree_writer *writer, struct error *err);
/* Removes a file that is not complete. */
void tree_writer_close(struct tree_writer *writer);

#endif
