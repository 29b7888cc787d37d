/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/cleanup.h"
#include "stack/copy.h"
#include "stack/image.h"
#include "stack/spread.h"
#include "stack/sweep.h"

/* Replaces this name by a private copy; the inode it had stays with its other owners. */
static int replace_by_copy(const struct stack_file *file, enum copy_means means,
                           struct stack_result *result, struct error *err)
{
    static const struct copy_publication how = {.replace = true,
                                                .before_rename = "stack-unshare-before-rename",
                                                .after_rename = "stack-unshare-after-rename"};
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    int r = copy_make(file, file, means, &temporary, result, err);
    return r < 0 ? r : copy_publish(file, &temporary, &how, err);
}

static int unshare(const struct stack_file *file, enum copy_means means,
                   struct stack_result *result, struct error *err)
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
    if (r == 0 && st.st_nlink > 1)
        r = replace_by_copy(file, means, result, &cause);
    result->link_count = 1;
    if (r < 0 && means == COPY_REFLINK && cause.code == ERROR_UNSUPPORTED) {
        result->link_count = st.st_nlink;
        return 0;
    }
    if (r < 0 && err)
        *err = cause;
    return r;
}

int stack_unshare(const struct stack_file *file, struct stack_result *result, struct error *err)
{
    return unshare(file, COPY_ANY, result, err);
}

int stack_unshare_by_reflink(const struct stack_file *file, struct stack_result *result,
                             struct error *err)
{
    return unshare(file, COPY_REFLINK, result, err);
}
