/* SPDX-License-Identifier: Apache-2.0 */
/* /memory/populate: what a VM, and templates and children of it, will need first is there when they
 * do. An extension of our own. */
#include <errno.h>

#include "base/cleanup.h"
#include "http/json_fields.h"
#include "vmm/api/api_private.h"

struct populate_body {
    const json_t *runs; /* borrowed */
};

static const struct json_field fields[] = {
    {"runs", FIELD_ARRAY, true, .offset = offsetof(struct populate_body, runs)},
};

static bool page_number(const json_t *value, uint64_t *number)
{
    const json_int_t integer = json_integer_value(value);
    *number = (uint64_t)integer;
    return json_is_integer(value) && integer >= 0;
}

static int populate(struct vmm *vmm, const json_t *run, struct error *err)
{
    uint64_t page, count;
    if (json_array_size(run) != 2 || !page_number(json_array_get(run, 0), &page) ||
        !page_number(json_array_get(run, 1), &count))
        return error_set(err, ERROR_INVALID, EINVAL,
                         "memory/populate: runs: each is two numbers, of a page and of pages");
    int r = vmm_memory_populate(vmm, page, count, err);
    return r < 0 ? error_wrap(err, "memory/populate") : 0;
}

int put_memory_populate(struct api_call *call, struct error *err)
{
    struct populate_body body;
    size_t i;
    json_t *run;
    int r = json_fields_read(call->body, "memory/populate", fields, ARRAY_SIZE(fields), &body, err);
    if (r < 0)
        return r;
    json_array_foreach((json_t *)body.runs, i, run)
    {
        r = populate(call->vmm, run, err);
        if (r < 0)
            return r;
    }
    return 0;
}
