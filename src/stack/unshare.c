/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdatomic.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "stack/copy.h"
#include "stack/image.h"
#include "stack/spread.h"
#include "stack/sweep.h"

/* Process-wide, because it is a metric of the process. */
static struct {
    _Atomic uint64_t count, bytes_copied, duration_ns;
} totals;

struct stack_unshare_totals stack_unshare_totals(void)
{
    return (struct stack_unshare_totals){atomic_load(&totals.count),
                                         atomic_load(&totals.bytes_copied),
                                         atomic_load(&totals.duration_ns)};
}

/* Replaces this name by a private copy; the inode it had stays with its other owners. */
static int replace_by_copy(const struct stack_file *file, struct stack_result *result,
                           struct error *err)
{
    static const struct copy_publication how = {.replace = true,
                                                .before_rename = "stack-unshare-before-rename",
                                                .after_rename = "stack-unshare-after-rename"};
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    uint64_t begin = time_monotonic_ns();
    int r = copy_make(file, file, &temporary, result, err);
    if (r == 0)
        r = copy_publish(file, &temporary, &how, err);
    if (r < 0)
        return r;
    atomic_fetch_add(&totals.count, 1);
    atomic_fetch_add(&totals.bytes_copied, result->bytes_copied);
    atomic_fetch_add(&totals.duration_ns, time_monotonic_ns() - begin);
    return 0;
}

int stack_unshare(const struct stack_file *file, struct stack_result *result, struct error *err)
{
    *result = (struct stack_result){.method = STACK_LINK};
    int r = sweep_temporaries_of(file, err);
    /* The image is going to change: its spread copies would be of an older one. */
    if (r == 0)
        r = spread_remove_all(file, err);
    if (r < 0)
        return r;
    struct error cause = {0};
    struct stat st;
    r = image_stat(file, &st, &cause);
    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        if (err)
            *err = cause;
        return r;
    }
    result->link_count = 1;
    return st.st_nlink == 1 ? 0 : replace_by_copy(file, result, err);
}
