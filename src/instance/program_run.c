/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/program_run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "image/program.h"
#include "instance/patience.h"

static int no_answer(const struct operation *op, struct vm_process *process, int r,
                     struct error *err)
{
    if (!vm_process_alive(process))
        return error_set(err, ERROR_SYSTEM, ECONNRESET,
                         "the VMM of %s ended while its program was started", op->record.name);
    error_wrap(err, "start the program of %s", op->record.name);
    return r;
}

/* Asking an agent twice does no harm. */
static int ask(const struct operation *op, struct vm_process *process, const char *vsock,
               const struct agent_exec *exec, unsigned timeout_ms, struct agent_exit *outcome,
               struct error *err)
{
    struct patience patience = patience_start(timeout_ms);
    for (;;) {
        unsigned try_ms = patience_next(&patience);
        error_clear(err);
        int r = agent_program_start(vsock, try_ms, exec, outcome, err);
        if (r == 0)
            return 0;
        if (r != -ETIMEDOUT || patience.last || !vm_process_alive(process))
            return no_answer(op, process, r, err);
    }
}

int program_start(const struct operation *op, struct vm_process *process, unsigned timeout_ms,
                  struct agent_exit *outcome, struct error *err)
{
    const struct instance_record *record = &op->record;
    _cleanup_(program_vectors) struct program_vectors vectors = {NULL, NULL};
    *outcome = (struct agent_exit){.code = -1};
    if (record->skip_guest_agent || !program_given(&record->program))
        return 0;
    _cleanup_(free) char *vsock = operation_path(op, GUEST_VSOCK_SOCKET);
    if (!vsock)
        return error_errno(err, ENOMEM, op->guest_dir, "start the program of %s", record->name);
    int r = program_vectors(&record->program, &vectors, err);
    if (r < 0)
        return r;
    const char *cwd = record->program.working_dir;
    const struct agent_exec exec = {.argv = (const char *const *)vectors.argv,
                                    .env = (const char *const *)vectors.env,
                                    .cwd = *cwd ? cwd : NULL};
    return ask(op, process, vsock, &exec, timeout_ms, outcome, err);
}

static void describe(const struct agent_exit *outcome, char *text, size_t size)
{
    const char *name = outcome->signal > 0 ? sigabbrev_np(outcome->signal) : NULL;
    if (outcome->message[0])
        snprintf(text, size, "the program could not be started: %s", outcome->message);
    else if (outcome->signal > 0)
        snprintf(text, size, "the program was killed by signal %d (SIG%s)", outcome->signal,
                 name ? name : "?");
    else
        snprintf(text, size, "the program exited with status %d", outcome->code);
}

void program_over(struct instance_record *record, const struct agent_exit *outcome)
{
    char text[AGENT_MESSAGE_SIZE + 64];
    describe(outcome, text, sizeof(text));
    record->has_exit_code = true;
    record->exit_code = (unsigned)outcome->code;
    snprintf(record->exit_message, sizeof(record->exit_message), "%.*s",
             (int)sizeof(record->exit_message) - 1, text);
}

void program_forget_end(struct instance_record *record)
{
    record->exit_message[0] = '\0';
    record->has_exit_code = false;
    record->exit_code = 0;
}
