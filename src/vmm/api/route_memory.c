/* SPDX-License-Identifier: Apache-2.0 */
/* /memory/populate: what a VM, and templates and children of it, will need first is there when they
 * do; /memory/touched: what one has needed. Extensions of our own. */
#include <errno.h>

#include "base/cleanup.h"
#include "http/json_fields.h"
#include "vmm/api/api_private.h"

#define TOUCHED_MAX 8192u /* runs of each kind: their answer has to be read, too */

struct populate_body {
    const json_t *runs; /* borrowed */
    struct vmm_populate how;
};

#define AT(name) .offset = offsetof(struct populate_body, name)

static const struct json_field fields[] = {
    {"runs", FIELD_ARRAY, true, AT(runs)},
    {"write", FIELD_BOOL, AT(how.write)},
    {"kvm", FIELD_BOOL, AT(how.kvm)},
};

static bool page_number(const json_t *value, uint64_t *number)
{
    const json_int_t integer = json_integer_value(value);
    *number = (uint64_t)integer;
    return json_is_integer(value) && integer >= 0;
}

static int populate(struct vmm *vmm, const json_t *run, const struct vmm_populate *how,
                    struct error *err)
{
    struct guest_pages pages;
    if (json_array_size(run) != 2 || !page_number(json_array_get(run, 0), &pages.page) ||
        !page_number(json_array_get(run, 1), &pages.count))
        return error_set(err, ERROR_INVALID, EINVAL,
                         "memory/populate: runs: each is two numbers, of a page and of pages");
    int r = vmm_memory_populate(vmm, &pages, how, err);
    return r < 0 ? error_wrap(err, "memory/populate") : 0;
}

int put_memory_populate(struct api_call *call, struct error *err)
{
    struct populate_body body = {.runs = NULL};
    size_t i;
    json_t *run;
    int r = json_fields_read(call->body, "memory/populate", fields, ARRAY_SIZE(fields), &body, err);
    if (r < 0)
        return r;
    json_array_foreach((json_t *)body.runs, i, run)
    {
        r = populate(call->vmm, run, &body.how, err);
        if (r < 0)
            return r;
    }
    return 0;
}

struct touched {
    json_t *read, *written; /* owned */
};

static void cleanup_touched(struct touched *touched)
{
    json_decref(touched->read);
    json_decref(touched->written);
}

static int add(void *context, const struct guest_pages *pages, bool own, struct error *err)
{
    const struct touched *touched = context;
    json_t *list = own ? touched->written : touched->read;
    if (json_array_size(list) == TOUCHED_MAX)
        return error_set(err, ERROR_RESOURCES, E2BIG, "memory/touched: more than %u runs of pages",
                         TOUCHED_MAX);
    json_t *run = json_pack("[I, I]", (json_int_t)pages->page, (json_int_t)pages->count);
    return json_array_append_new(list, run) < 0 ? error_errno(err, ENOMEM, NULL, "build the answer")
                                                : 0;
}

int get_memory_touched(struct api_call *call, struct error *err)
{
    _cleanup_(touched) struct touched touched = {json_array(), json_array()};
    if (!touched.read || !touched.written)
        return error_errno(err, ENOMEM, NULL, "build the answer");
    int r = vmm_memory_touched(call->vmm, add, &touched, err);
    if (r < 0)
        return r;
    call->answer = json_pack("{s:O, s:O}", "read", touched.read, "written", touched.written);
    return call->answer ? 0 : error_errno(err, ENOMEM, NULL, "build the answer");
}
