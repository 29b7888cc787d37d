/* SPDX-License-Identifier: Apache-2.0 */
/* Real file systems for tests: ext4, XFS and btrfs on loop devices, tmpfs and ramfs, all mounted in
 * a private mount namespace of the test process. Image files are unlinked once attached and loop
 * devices clear themselves, so that nothing is left however the test ends. */
#ifndef TINE_TESTS_STACK_FIXTURE_H
#define TINE_TESTS_STACK_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "stack/stack.h"

#define SCRATCH_LIMIT 8

/* One mounted file system. */
struct scratch {
    const char *type;
    char path[64];
    bool reflinks; /* FICLONE works on it */
    int backing;   /* the loop device's image file; -1: none */
};

/* Makes a private namespace and mounts "ext4", "xfs", "btrfs", "tmpfs", "ramfs", in this order. */
int fixture_start(void **state);
int fixture_stop(void **state);
struct scratch *fixture_scratch(const char *type);

/* Two fresh directories, "a" on one file system and "b" on the same or another. */
struct pair {
    struct scratch *from, *to;
    char from_path[96], to_path[96];
    int a, b;
};
struct pair pair_make(struct scratch *from, struct scratch *to);
void pair_remove(struct pair *pair);

/* A run of data in an image; the rest is holes. */
struct extent {
    uint64_t start, length;
};
/* Makes an image whose data is a function of the offset and `seed`. */
void image_make(int dirfd, const char *name, uint64_t size, const struct extent *extents,
                size_t count, unsigned seed);
/* Asserts that the image has exactly this content: of a large one, all data and what is next to it.
 */
void image_assert(int dirfd, const char *name, uint64_t size, const struct extent *extents,
                  size_t count, unsigned seed);
/* Asserts that no more than that is allocated for it. */
void image_assert_sparse(int dirfd, const char *name, uint64_t at_most);

struct stack_file in_dir(int dirfd, const char *name);
uint64_t link_count_of(int dirfd, const char *name);
ino_t inode_of(int dirfd, const char *name);
unsigned entries_of(int dirfd); /* how many names, "." and ".." aside */
bool is_there(int dirfd, const char *name);

/* Sets or clears a failpoint list in this process. */
void failpoints(const char *list);
/* Runs `body` in a forked child and returns its wait status: 0 when it returns. cmocka's assertions
 * must not be used in it: child_check() instead, which ends the child with status 99. */
int in_child(void (*body)(void *context), void *context);
void child_check(bool holds, const char *what);
bool was_killed(int status);

/* One test case, run on several file systems: `*state` is the type of file system. */
struct fs_case {
    const char *name;
    void (*run)(void **state);
};
/* Runs every case on each of ext4, XFS, btrfs and tmpfs, named "ext4: ...", then the `others` once
 * each. Returns the number of failures. */
int run_on_each(const char *group, const struct fs_case *cases, size_t count,
                const struct fs_case *others, size_t other_count);

/* Everything written to the log while `fixture_log_start()`..`fixture_log_take()`. */
void fixture_log_start(void);
unsigned fixture_log_take(char *text, size_t size); /* returns the number of lines */

#endif
