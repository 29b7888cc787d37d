/* SPDX-License-Identifier: Apache-2.0 */
/* Who owns the bytes of an image: linking, reflinking, sparse copying, unsharing and publishing of
 * immutable files under the rules R1-R6 (docs/architecture.md). This room knows nothing of VMs.
 *
 * All functions take a directory descriptor and a name in it, for source and destination alike, so
 * that a renamed or replaced parent directory can't redirect them. No function ever follows a
 * symbolic link in the last component, and only regular files are accepted. Directory descriptors
 * are opened for reading (dir_open(), not O_PATH), so that they can be synced. One caller at a time
 * works on one destination name: its half-made files of an earlier attempt are swept. */
#ifndef TINE_STACK_STACK_H
#define TINE_STACK_STACK_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* How an image came to its new owner. */
enum stack_method {
    STACK_LINK,        /* a hard link: no bytes moved, one inode, one page cache */
    STACK_REFLINK,     /* FICLONE: no bytes moved, blocks shared, own page cache */
    STACK_SPARSE_COPY, /* SEEK_DATA / SEEK_HOLE: data extents copied, holes kept */
};

const char *stack_method_name(enum stack_method method); /* "link", "reflink", "copy" */

struct stack_result {
    enum stack_method method;
    uint64_t bytes_copied; /* data bytes written; 0 for a reflink, and for a link but for the one
                              that had to make the spread copy */
    uint64_t link_count;   /* of the destination's inode afterwards; 0: it does not exist */
    int fallback_errno;    /* why link(2) to the source itself was not possible; else 0 */
};

/* A file in a directory. `label` is how messages name it ("guests/a/snapshot/memory"). */
struct stack_file {
    int dirfd;
    const char *name;
    const char *label;
};

/* Gives `to` its own name for the immutable image `from`: link(2); if that fails with EXDEV,
 * EMLINK, EPERM or EOPNOTSUPP, a reflink; else a sparse copy; with one warning in the log that
 * names both files and the errno. Any other errno stops with an error. EMLINK first makes one fresh
 * copy beside the source, under "<name>.spread-<n>", that this and later calls link to (the result
 * is then STACK_LINK with fallback_errno EMLINK). The destination must not exist (-EEXIST). A copy
 * is published whole: temporary name, fsync, rename, fsync of the directory. A link needs none of
 * that and moves no byte: its name is durable once the directory is synced, which
 * stack_publish_directory() does. After a failure nothing is left at the destination. */
int stack_share(const struct stack_file *from, const struct stack_file *to,
                struct stack_result *result, struct error *err);

/* Gives `to` a private copy of a mutable image (a writable disk): reflink, else sparse copy. The
 * destination must not exist; published whole. The source must not be written meanwhile (-EBUSY
 * when that is seen). */
int stack_copy(const struct stack_file *from, const struct stack_file *to,
               struct stack_result *result, struct error *err);

/* Makes the caller the only owner of the inode behind `file`: when the link count is one, nothing
 * happens and `result->method` is STACK_LINK with bytes_copied 0; when the file does not exist, the
 * same (a no-op); else a private copy (reflink, else sparse copy) replaces this name by rename, and
 * the other owners' inode is not touched. Sweeps this file's temporaries of an earlier, interrupted
 * attempt and its spread copies first. The caller holds the instance's lock for writing (R5). */
int stack_unshare(const struct stack_file *file, struct stack_result *result, struct error *err);
/* The same where it costs no copy: a file that can't be reflinked stays shared, and
 * `result->link_count` tells. */
int stack_unshare_by_reflink(const struct stack_file *file, struct stack_result *result,
                             struct error *err);

/* Opens an image for writing in place: only if its link count is one (R2), else -EMLINK naming the
 * count. The file is readied for that, whoever writes it then: its holes can be trusted afterwards.
 * Returns the descriptor (owner: caller). */
int stack_open_writable(const struct stack_file *file, struct error *err);

/* Makes holes of the blocks that hold nothing but zeros; what is read stays the same. The file must
 * have one name (-EMLINK). Where the file system makes no holes nothing happens. Not synced. */
int stack_drop_zeros(const struct stack_file *file, struct error *err);

/* Checks that an image is there, regular, and exactly `size` bytes; ERROR_CORRUPT with both sizes
 * otherwise. */
int stack_check_size(const struct stack_file *file, uint64_t size, struct error *err);

/* Link count, apparent size and allocated bytes of an image. -ENOENT only when it is not there
 * (R6). */
struct stack_stat {
    uint64_t link_count, size, allocated;
    ino_t inode;
    dev_t device;
};
int stack_stat(const struct stack_file *file, struct stack_stat *stat, struct error *err);

/* Makes a finished directory appear under its final name: every regular file in it and below it and
 * the directories themselves are synced, then it is renamed (the final name must not exist, or be
 * an empty directory: else -ENOTEMPTY, -EEXIST or -ENOTDIR) and the parent is synced. Both names
 * are in `parent`. After a failure the temporary directory is still there, for the caller to sweep.
 */
int stack_publish_directory(int parent, const char *temporary, const char *final,
                            struct error *err);

/* The same in two parts, for who has time for the first: everything is synced; then it appears. */
int stack_sync_directory(int parent, const char *name, struct error *err);
int stack_publish_synced_directory(int parent, const char *temporary, const char *final,
                                   struct error *err);

/* The same where `final` is a directory that is to be replaced: the two change places by one
 * rename(2) (RENAME_EXCHANGE), so that `final` is always one of them, whole; `temporary` is the old
 * one afterwards. ERROR_UNSUPPORTED where the file system can't. After a failure they are where
 * they were. */
int stack_exchange_directories(int parent, const char *temporary, const char *final,
                               struct error *err);

/* Removes every entry of the directory whose name marks it as half-made (is_temporary_name()).
 * Returns how many were removed. */
int stack_sweep(int dirfd, const char *label, struct error *err);

/* How often sharing fell back from link(2), by errno, since the process started: for metrics. */
uint64_t stack_fallback_count(int errnum);

#endif
