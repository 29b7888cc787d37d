/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/spread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "stack/copy.h"
#include "stack/image.h"
#include "stack/link.h"
#include "stack/sweep.h"

#define SPREAD_MARK  ".spread-"
#define SPREAD_LIMIT 10000u /* copies of one image; tens of thousands of links each */

/* One spread copy by number; owns its strings. */
struct spread {
    struct stack_file file;
    char *name, *label;
};

static void cleanup_spread(struct spread *spread)
{
    free(spread->name);
    free(spread->label);
}

static int spread_name(const struct stack_file *from, unsigned number, struct spread *spread,
                       struct error *err)
{
    if (asprintf(&spread->name, "%s" SPREAD_MARK "%u", from->name, number) < 0)
        spread->name = NULL;
    if (asprintf(&spread->label, "%s" SPREAD_MARK "%u", image_label(from), number) < 0)
        spread->label = NULL;
    if (!spread->name || !spread->label)
        return error_errno(err, ENOMEM, image_label(from), "spread %s", image_label(from));
    spread->file = (struct stack_file){from->dirfd, spread->name, spread->label};
    return 0;
}

/* 1 if a copy of the source as it is now is there, 0 if none is; a stale one is removed. */
static int spread_usable(const struct spread *spread, const struct stat *source, struct error *err)
{
    struct error cause = {0};
    struct stat st;
    int r = image_stat(&spread->file, &st, &cause);
    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        if (err)
            *err = cause;
        return r;
    }
    if (st.st_size == source->st_size && st.st_mtim.tv_sec == source->st_mtim.tv_sec &&
        st.st_mtim.tv_nsec == source->st_mtim.tv_nsec)
        return 1;
    if (unlinkat(spread->file.dirfd, spread->name, 0) < 0 && errno != ENOENT)
        return error_errno(err, errno, spread->label, "remove the stale %s", spread->label);
    return 0;
}

static int spread_make(const struct stack_file *from, const struct spread *spread,
                       struct stack_result *result, struct error *err)
{
    static const struct copy_publication how = {.before_rename = "stack-spread-before-rename",
                                                .after_rename = "stack-spread-after-rename"};
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    int r = copy_make(from, &spread->file, COPY_ANY, &temporary, result, err);
    return r < 0 ? r : copy_publish(&spread->file, &temporary, &how, err);
}

/* Links to the first spread copy that has room. */
static int link_to_first(const struct stack_file *from, const struct stat *source,
                         const struct stack_file *to, struct stack_result *result,
                         struct error *err)
{
    for (unsigned number = 1; number <= SPREAD_LIMIT; number++) {
        _cleanup_(spread) struct spread spread = {.name = NULL};
        int r = spread_name(from, number, &spread, err);
        if (r == 0)
            r = spread_usable(&spread, source, err);
        if (r == 0)
            r = spread_make(from, &spread, result, err);
        if (r < 0)
            return r;
        r = link_image(&spread.file, to, "stack-spread-link", result, err);
        if (r != -EMLINK)
            return r;
    }
    return -EMLINK;
}

int spread_link(const struct stack_file *from, const struct stack_file *to,
                struct stack_result *result, struct error *err)
{
    struct stat st;
    _cleanup_(close) int fd = image_open(from, O_RDONLY, &st, err);
    if (fd < 0)
        return fd;
    /* Forks of one source run at once, each holding it for reading (R5): this lock makes one of
     * them the maker of the copy. It goes with the descriptor. */
    while (flock(fd, LOCK_EX) < 0) {
        if (errno != EINTR)
            return error_errno(err, errno, image_label(from), "lock %s", image_label(from));
    }
    return link_to_first(from, &st, to, result, err);
}

/* True for "<prefix>.spread-..." */
static bool is_spread_of(const char *name, const void *context)
{
    const char *prefix = context;
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 &&
           strncmp(name + length, SPREAD_MARK, strlen(SPREAD_MARK)) == 0;
}

int spread_remove_all(const struct stack_file *file, struct error *err)
{
    int r = sweep_directory(file->dirfd, image_label(file), is_spread_of, file->name, err);
    return r < 0 ? r : 0;
}
