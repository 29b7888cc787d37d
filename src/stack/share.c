/* SPDX-License-Identifier: Apache-2.0 */
/* Sharing an immutable image with a new owner: the one place where a fall-back is allowed. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "stack/copy.h"
#include "stack/image.h"
#include "stack/link.h"
#include "stack/spread.h"

#define ERRNO_LIMIT 134

/* Process-wide, because it is a metric of the process. */
static _Atomic uint64_t fallbacks[ERRNO_LIMIT];

uint64_t stack_fallback_count(int errnum)
{
    return errnum > 0 && errnum < ERRNO_LIMIT ? atomic_load(&fallbacks[errnum]) : 0;
}

const char *stack_method_name(enum stack_method method)
{
    static const char *const names[] = {"link", "reflink", "copy"};
    return (size_t)method < ARRAY_SIZE(names) ? names[method] : "unknown";
}

static void note_fallback(const struct stack_file *from, const struct stack_file *to, int errnum)
{
    if (errnum > 0 && errnum < ERRNO_LIMIT)
        atomic_fetch_add(&fallbacks[errnum], 1);
    log_warning("link %s -> %s: %s (%s); sharing by copy instead", image_label(from),
                image_label(to), strerrordesc_np(errnum), errno_name(errnum));
}

static int share_by_copy(const struct stack_file *from, const struct stack_file *to,
                         struct stack_result *result, struct error *err)
{
    static const struct copy_publication how = {.before_rename = "stack-share-before-rename",
                                                .after_rename = "stack-share-after-rename"};
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    int r = copy_make(from, to, COPY_ANY, &temporary, result, err);
    if (r == 0)
        r = copy_publish(to, &temporary, &how, err);
    if (r == 0)
        result->link_count = 1;
    return r;
}

/* True if the failure may be cured by a copy, given which way was tried. */
static bool curable(int r)
{
    return r < 0 && link_failure_is_curable(-r);
}

int stack_share(const struct stack_file *from, const struct stack_file *to,
                struct stack_result *result, struct error *err)
{
    *result = (struct stack_result){.method = STACK_LINK};
    int r = image_absent(to, err);
    if (r < 0)
        return r;
    r = link_image(from, to, "stack-share-link", result, err);
    if (!curable(r))
        return r;
    result->fallback_errno = -r;
    note_fallback(from, to, -r);
    error_clear(err);
    if (r == -EMLINK) {
        r = spread_link(from, to, result, err);
        if (!curable(r))
            return r;
        error_clear(err);
    }
    return share_by_copy(from, to, result, err);
}
