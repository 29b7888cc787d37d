/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/link.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "stack/image.h"

bool link_failure_is_curable(int errnum)
{
    static const int curable[] = {EXDEV, EMLINK, EPERM, EOPNOTSUPP};
    for (size_t i = 0; i < ARRAY_SIZE(curable); i++) {
        if (errnum == curable[i])
            return true;
    }
    return false;
}

/* linkat() takes a name, so what it linked is compared with what was looked at. */
static int check_linked(const struct stack_file *from, const struct stat *source,
                        const struct stack_file *to, struct stack_result *result, struct error *err)
{
    struct stat st;
    int r = image_stat(to, &st, err);
    if (r == 0 && (st.st_ino != source->st_ino || st.st_dev != source->st_dev))
        r = error_set(err, ERROR_STATE, ESTALE, "link %s -> %s: the source was replaced meanwhile",
                      image_label(from), image_label(to));
    if (r < 0)
        unlinkat(to->dirfd, to->name, 0); /* the first error is the one to tell */
    else
        result->link_count = st.st_nlink;
    return r;
}

int link_image(const struct stack_file *from, const struct stack_file *to, const char *failpoint_,
               struct stack_result *result, struct error *err)
{
    struct stat st;
    int r = image_stat(from, &st, err);
    if (r < 0)
        return r;
    r = failpoint(failpoint_);
    if (r == 0 && linkat(from->dirfd, from->name, to->dirfd, to->name, 0) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, -r, image_label(to), "link %s -> %s", image_label(from),
                           image_label(to));
    result->method = STACK_LINK;
    return check_linked(from, &st, to, result, err);
}
