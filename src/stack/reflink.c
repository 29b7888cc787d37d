/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/fs.h>
#include <stddef.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "stack/copy.h"
#include "stack/image.h"

/* What FICLONE answers when these two files can't share blocks (ioctl_ficlone(2)), which a copy
 * cures. EINVAL: the file system can't for this pair, say one of them without copy-on-write. */
static int reflink_is_curable(int errnum)
{
    static const int curable[] = {EXDEV, EOPNOTSUPP, ENOTTY, EINVAL, EPERM};
    for (size_t i = 0; i < ARRAY_SIZE(curable); i++) {
        if (errnum == curable[i])
            return 1;
    }
    return 0;
}

int reflink(int in, int out, const struct stack_file *from, const struct stack_file *to,
            struct error *err)
{
    int r = failpoint("stack-share-reflink");
    if (r == 0 && ioctl(out, FICLONE, in) < 0)
        r = -errno;
    if (r == 0)
        return 1;
    if (reflink_is_curable(-r))
        return 0;
    return error_errno(err, -r, image_label(to), "reflink %s -> %s", image_label(from),
                       image_label(to));
}
