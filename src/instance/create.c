/* SPDX-License-Identifier: Apache-2.0 */
/* Create, in this order: check the request; a row in state Created, which reserves the name; the
 * guest directory, published whole; boot. A row in state Created is an instance in the making:
 * after a crash everything of it is removed. */
#include <errno.h>

#include "base/log.h"
#include "instance/create_files.h"
#include "instance/create_request.h"
#include "instance/directory.h"
#include "instance/due.h"
#include "instance/host.h"
#include "instance/trace.h"

#define NAME_TRIES 8

static int make_directory(struct operation *op, const struct create_plan *plan, struct error *err)
{
    _cleanup_(draft) struct draft draft = {.fd = -1};
    int r = draft_make(op, &draft, err);
    if (r == 0)
        r = create_files(op, plan, &draft, err);
    if (r == 0)
        r = draft_publish(op, &draft, err);
    return r < 0 ? r : step("create-published", err);
}

static int build(struct operation *op, const struct create_plan *plan, struct error *err)
{
    int r = step("create-reserved", err);
    if (r == 0)
        r = make_directory(op, plan, err);
    return r < 0 ? r : boot_locked(op, err);
}

static int create_named(struct host *host, const struct instance_create_request *request,
                        struct instance_record *result, struct error *err)
{
    _cleanup_(create_plan) struct create_plan plan = {.kernel = NULL};
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = operation_begin_new(host, &op, err);
    if (r == 0)
        r = create_check(host, request, &op.record, &plan, err);
    if (r == 0)
        r = store_insert(host->store, &op.record, err);
    if (r < 0)
        return r;
    struct trace trace;
    trace_begin(&trace, &op, "create");
    trace_phase(&op, "files");
    r = build(&op, &plan, err);
    if (r < 0) {
        struct error cause = {0};
        error_wrap(err, "create %s", op.record.name);
        if (remove_locked(&op, &cause) < 0)
            log_error("instance %s: roll back its creation: %s", op.record.id, cause.message);
        return trace_end(&trace, r, err);
    }
    if (op.record.expires_at_ns > 0)
        due_poke(host->expiry);
    operation_result(&op, result);
    return trace_end(&trace, 0, err);
}

int instance_create(struct host *host, const struct instance_create_request *request,
                    struct instance_record *record, struct error *err)
{
    int r = create_named(host, request, record, err);
    for (int i = 1; i < NAME_TRIES && r == -EEXIST && !request->name; i++) {
        error_clear(err);
        r = create_named(host, request, record, err);
    }
    return r;
}
