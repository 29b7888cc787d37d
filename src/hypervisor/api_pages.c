/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that a VM needed, and pages that one will need. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "hypervisor/api_driver.h"

#define TOUCHED_MS 5000 /* whoever asks has others to see to */

int api_populate(const struct hypervisor *self, const struct vm_spec *spec,
                 const struct vm_populate *pages, struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    json_t *list = json_array();
    for (size_t i = 0; i < pages->count; i++)
        json_array_append_new(list, json_pack("[I, I]", (json_int_t)pages->runs[i].page,
                                              (json_int_t)pages->runs[i].count));
    json_t *body = json_pack("{s:o}", "runs", list);
    if (pages->write)
        json_object_set_new(body, "write", json_true());
    if (pages->kvm)
        json_object_set_new(body, "kvm", json_true());
    int r = call_init(&call, spec, self->snapshot_ms, err);
    if (r == 0)
        return vmm_api_put(&call.api, "/memory/populate", body, err);
    json_decref(body);
    return r;
}

void vm_touched_free(struct vm_touched *touched)
{
    free(touched->read);
    free(touched->written);
    *touched = (struct vm_touched){.read = NULL};
}

static bool read_run(const json_t *run, struct vm_pages *pages)
{
    const json_t *page = json_array_get(run, 0), *count = json_array_get(run, 1);
    pages->page = (uint64_t)json_integer_value(page);
    pages->count = (uint64_t)json_integer_value(count);
    return json_is_integer(page) && json_is_integer(count) && json_integer_value(page) >= 0 &&
           json_integer_value(count) > 0;
}

/* A VMM that is the guest's by now may say anything: whoever uses it has it checked by another. */
static int read_runs(const json_t *list, struct vm_pages **runs, size_t *count)
{
    const size_t all = json_array_size(list);
    *runs = calloc(all + 1, sizeof(**runs));
    if (!*runs)
        return -ENOMEM;
    for (*count = 0; *count < all; (*count)++) {
        if (!read_run(json_array_get(list, *count), &(*runs)[*count]))
            return -EPROTO;
    }
    return json_is_array(list) ? 0 : -EPROTO;
}

int api_touched(const struct hypervisor *self, const struct vm_spec *spec,
                struct vm_touched *touched, struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    _cleanup_(json) json_t *answer = NULL;
    *touched = (struct vm_touched){.read = NULL};
    int r = call_init(&call, spec, TOUCHED_MS, err);
    if (r == 0)
        r = vmm_api_get(&call.api, "/memory/touched", &answer, err);
    if (r < 0)
        return r;
    r = read_runs(json_object_get(answer, "read"), &touched->read, &touched->read_count);
    if (r == 0)
        r = read_runs(json_object_get(answer, "written"), &touched->written,
                      &touched->written_count);
    if (r == 0)
        return 0;
    vm_touched_free(touched);
    return error_errno(err, -r, spec->id, "what VMM of %s tells of its memory", spec->id);
}
