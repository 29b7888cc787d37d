/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/log.h"
#include "image/program.h"
#include "instance/restart.h"
#include "instance/trace.h"
#include "instance/transition.h"

static bool replaces(const struct program_request *program)
{
    return program->entrypoint || program->cmd || program->env || program->working_dir;
}

/* The boot writes the row, so a failure has to put the old program back. */
static int start_replaced(struct operation *op, const struct program_request *program,
                          struct error *err)
{
    const struct program before = op->record.program;
    struct error cause = {0};
    int r = program_set(&op->record.program, program, err);
    if (r < 0)
        return r;
    operation_show(op, INSTANCE_CREATED);
    r = traced(op, "start", boot_locked, err);
    if (r == 0 || !replaces(program))
        return r;
    op->record.program = before;
    if (store_update(op->host->store, &op->record, &cause) < 0)
        log_error("instance %s: roll back its program: %s", op->record.id, cause.message);
    return r;
}

static int check_replaceable(const struct operation *op, const struct program_request *program,
                             struct error *err)
{
    if (!replaces(program))
        return 0;
    if (op->record.state != INSTANCE_STOPPED)
        return error_set(err, ERROR_STATE, EBUSY,
                         "cannot start %s with another program: its state is %s", op->record.name,
                         instance_state_name(op->record.state));
    if (op->record.skip_guest_agent)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "cannot start %s with a program: it was created without the guest agent",
                         op->record.name);
    return 0;
}

int instance_start_with(struct host *host, const char *reference,
                        const struct program_request *program, struct instance_record *record,
                        struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = operation_begin(host, reference, LOCK_EXCLUSIVE, &op, err);
    if (r == 0)
        r = check_replaceable(&op, program, err);
    if (r == 0)
        r = transition_check(OPERATION_START, &op.record, err);
    if (r > 0) {
        restart_reset(&op.record);
        r = start_replaced(&op, program, err);
    }
    if (r < 0)
        return r;
    operation_result(&op, record);
    return 0;
}

int instance_start(struct host *host, const char *reference, struct instance_record *record,
                   struct error *err)
{
    const struct program_request as_it_is = {.cmd = NULL};
    return instance_start_with(host, reference, &as_it_is, record, err);
}
