/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/answer.h"
#include "agent/client.h"
#include "agent/client_request.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define GRACE_MS 1000u /* what the agent may take at least to report a command it has timed out */

int agent_exec_encode(const struct agent_exec *exec, struct agent_fields *fields, struct error *err)
{
    if (!exec->argv || !exec->argv[0])
        return error_set(err, ERROR_INVALID, EINVAL, "exec: no command given");
    for (const char *const *arg = exec->argv; *arg; arg++)
        agent_field_put_text(fields, AGENT_TAG_ARG, *arg);
    for (const char *const *env = exec->env; env && *env; env++) {
        if (!strchr(*env, '=') || **env == '=')
            return error_set(err, ERROR_INVALID, EINVAL, "exec: environment \"%s\" has no name",
                             *env);
        agent_field_put_text(fields, AGENT_TAG_ENV, *env);
    }
    if (exec->cwd)
        agent_field_put_text(fields, AGENT_TAG_CWD, exec->cwd);
    if (exec->tty) {
        uint16_t size[2] = {htole16(exec->rows), htole16(exec->cols)};
        agent_field_put(fields, AGENT_TAG_TTY, size, sizeof(size));
    }
    if (exec->timeout_ms != 0)
        agent_field_put_u32(fields, AGENT_TAG_TIMEOUT_MS, exec->timeout_ms);
    if (fields->overflow)
        return error_set(err, ERROR_INVALID, E2BIG,
                         "exec: command line and environment are over %u bytes", AGENT_FRAME_LIMIT);
    return 0;
}

int agent_exec_start(const char *vsock_path, unsigned timeout_ms, const struct agent_exec *exec,
                     struct error *err)
{
    _cleanup_(free) uint8_t *data = malloc(AGENT_FRAME_LIMIT);
    if (!data)
        return error_errno(err, ENOMEM, vsock_path, "exec");
    struct agent_fields fields = {.data = data, .capacity = AGENT_FRAME_LIMIT};
    int r = agent_exec_encode(exec, &fields, err);
    if (r < 0)
        return r;
    return agent_stream_open(vsock_path, timeout_ms, AGENT_EXEC, &fields, err);
}

/* One output stream being collected, always with a NUL behind it. */
struct collector {
    char *data;
    size_t length, capacity, limit;
};

/* Makes room for `wanted` bytes and the NUL. */
static int collector_reserve(struct collector *collector, size_t wanted)
{
    if (wanted < collector->capacity)
        return 0;
    size_t capacity = wanted + 1 > 2 * collector->capacity ? wanted + 1 : 2 * collector->capacity;
    char *grown = realloc(collector->data, capacity);
    if (!grown)
        return -ENOMEM;
    collector->data = grown;
    collector->capacity = capacity;
    return 0;
}

/* Keeps what is below the limit, drops the rest. */
static int collector_add(struct collector *collector, const void *data, size_t length)
{
    size_t room = collector->limit - collector->length;
    size_t kept = length < room ? length : room;
    if (collector_reserve(collector, collector->length + kept) < 0)
        return -ENOMEM;
    if (kept > 0)
        memcpy(collector->data + collector->length, data, kept);
    collector->length += kept;
    collector->data[collector->length] = '\0';
    return 0;
}

/* Takes the command's end. Why it was not started goes where a shell would tell it. */
static int exit_take(const struct agent_frame *frame, struct agent_result *result,
                     struct collector *err_out)
{
    struct agent_exit outcome;
    int r = agent_exit_parse(&outcome, frame);
    if (r < 0)
        return r;
    result->exit_code = outcome.code;
    result->timed_out = outcome.timed_out;
    return collector_add(err_out, outcome.message, strlen(outcome.message));
}

struct run {
    int fd;
    uint64_t deadline_ns;
    struct collector out, err_out;
    uint8_t buffer[AGENT_FRAME_LIMIT];
};

/* Takes one frame: 1 if more are to come, 0 after the last. */
static int run_step(struct run *run, struct agent_result *result, struct error *err)
{
    struct agent_frame frame;
    int r = agent_frame_read_until(run->fd, run->buffer, &frame, run->deadline_ns, err);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(err, ERROR_SYSTEM, ECONNRESET,
                         "exec: the agent closed before the command's end");
    switch (frame.type) {
    case AGENT_STDOUT:
        r = collector_add(&run->out, frame.payload, frame.length);
        break;
    case AGENT_STDERR:
        r = collector_add(&run->err_out, frame.payload, frame.length);
        break;
    case AGENT_EXIT:
        r = exit_take(&frame, result, &run->err_out);
        if (r == 0)
            return 0;
        break;
    default:
        r = -EPROTO;
    }
    if (r == -ENOMEM)
        return error_errno(err, ENOMEM, NULL, "exec: collect the output");
    if (r < 0)
        return error_set(err, ERROR_CORRUPT, EPROTO,
                         "exec: the agent's frame of type %u makes no "
                         "sense",
                         frame.type);
    return 1;
}

/* The command has no input: its end is told at once. The agent may already be at the command's end
 * and gone, with EXIT on its way, so a failure to write says nothing yet. */
static void send_eof(struct run *run)
{
    agent_frame_write_until(run->fd, AGENT_STDIN_EOF, NULL, 0, run->deadline_ns, NULL);
}

/* When to give up on the agent: it should itself have killed a command that has a timeout. */
static uint64_t run_deadline(unsigned timeout_ms, const struct agent_exec *exec)
{
    if (exec->timeout_ms == 0)
        return 0;
    return time_after_ms(exec->timeout_ms) +
           (timeout_ms > GRACE_MS ? timeout_ms : GRACE_MS) * 1000000ull;
}

static void cleanup_run(struct run **run)
{
    if (!*run)
        return;
    cleanup_close(&(*run)->fd);
    free((*run)->out.data);
    free((*run)->err_out.data);
    free(*run);
}

int agent_exec_run(const char *vsock_path, unsigned timeout_ms, const struct agent_exec *exec,
                   size_t limit, struct agent_result *result, struct error *err)
{
    memset(result, 0, sizeof(*result));
    _cleanup_(run) struct run *run = calloc(1, sizeof(*run));
    if (!run)
        return error_errno(err, ENOMEM, vsock_path, "exec");
    run->out.limit = run->err_out.limit = limit;
    run->fd = agent_exec_start(vsock_path, timeout_ms, exec, err);
    if (run->fd < 0)
        return run->fd;
    if (collector_add(&run->out, NULL, 0) < 0 || collector_add(&run->err_out, NULL, 0) < 0)
        return error_errno(err, ENOMEM, vsock_path, "exec");
    run->deadline_ns = run_deadline(timeout_ms, exec);
    send_eof(run);
    int r;
    while ((r = run_step(run, result, err)) > 0) {
    }
    if (r < 0) {
        memset(result, 0, sizeof(*result));
        return r;
    }
    result->out_length = run->out.length;
    result->err_length = run->err_out.length;
    result->out = TAKE_PTR(run->out.data);
    result->err_out = TAKE_PTR(run->err_out.data);
    return 0;
}
