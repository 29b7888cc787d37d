/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/session.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/guest/control.h"
#include "agent/guest/copy.h"
#include "agent/guest/exec_session.h"
#include "agent/guest/program.h"
#include "agent/guest/root.h"
#include "agent/protocol.h"
#include "agent/stream.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define REQUEST_MS 30000u /* for the request to arrive */
#define LINGER_MS  30000u

void session_linger(int fd)
{
    uint64_t deadline = time_after_ms(LINGER_MS);
    char dropped[512];
    size_t done = sizeof(dropped);
    while (done == sizeof(dropped) &&
           stream_read(fd, dropped, sizeof(dropped), deadline, &done) == 0) {
    }
}

struct request_kind {
    uint8_t type;
    bool inside; /* in the image's root, if there is one; a command enters it by itself */
    /* Serves the request, answers included. */
    void (*serve)(int fd, const struct agent_frame *request, bool machine);
};

static const struct request_kind request_kinds[] = {
    {AGENT_HELLO, false, control_hello},
    {AGENT_EXEC, false, exec_session_run},
    {AGENT_SYNC, false, control_sync},
    {AGENT_RESTORED, false, control_restored},
    {AGENT_POWEROFF, false, control_poweroff},
    {AGENT_STAT, true, copy_stat},
    {AGENT_PUT, true, copy_put},
    {AGENT_GET, true, copy_get},
};

/* Those that concern the main program. */
static const struct program_kind {
    uint8_t type;
    void (*serve)(struct program *program, int fd, const struct agent_frame *request, bool machine);
} program_kinds[] = {
    {AGENT_PROGRAM, program_serve_start},
    {AGENT_WATCH, program_serve_watch},
};

/* True if the request was one of those. */
static bool program_serve(int fd, const struct agent_frame *request, bool machine,
                          struct program *program)
{
    for (size_t i = 0; i < ARRAY_SIZE(program_kinds); i++) {
        if (program_kinds[i].type != request->type)
            continue;
        if (program)
            program_kinds[i].serve(program, fd, request, machine);
        else
            control_fail(fd, ENOMEM, "there was no memory to keep a program's state");
        return true;
    }
    return false;
}

static void request_serve(const struct request_kind *kind, int fd,
                          const struct agent_frame *request, bool machine)
{
    int r = machine && kind->inside ? root_enter() : 0;
    if (r < 0)
        control_fail(fd, -r, "enter the image's root: %s", strerror(-r));
    else
        kind->serve(fd, request, machine);
}

void session_run(int fd, bool machine, struct program *program)
{
    uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame request;
    int r = agent_frame_read_until(fd, buffer, &request, time_after_ms(REQUEST_MS), NULL);
    if (r == -EPROTO)
        control_fail(fd, EPROTO, "not a frame of the agent protocol");
    if (r <= 0)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(request_kinds); i++) {
        if (request_kinds[i].type == request.type) {
            request_serve(&request_kinds[i], fd, &request, machine);
            return;
        }
    }
    if (!program_serve(fd, &request, machine, program))
        control_fail(fd, EOPNOTSUPP, "request type %u is unknown to this agent", request.type);
}

void session_report_ready(int fd)
{
    control_send_hello(fd);
}
