/* SPDX-License-Identifier: Apache-2.0 */
/* Archives for the tests of imports, good and hostile ones. */
#ifndef TINE_TESTS_IMAGE_TAR_H
#define TINE_TESTS_IMAGE_TAR_H

#include <stddef.h>
#include <sys/types.h>

struct tar;

/* `filter`: "none", "gzip", "xz" or "zstd". */
struct tar *tar_begin(const char *filter);

struct tar_entry {
    const char *path;
    mode_t mode; /* with the type; 0: a file 0644 */
    const char *content;
    size_t size; /* 0: that of the text; more is zeros */
    const char *symlink, *hardlink;
    unsigned uid, gid, major, minor;
    const char *attribute, *value;
};
void tar_add(struct tar *tar, const struct tar_entry *entry);
/* The archive; owner: caller. */
char *tar_end(struct tar *tar, size_t *length);

#endif
