/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/program.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest/console.h"
#include "agent/guest/control.h"
#include "agent/guest/exec_child.h"
#include "agent/guest/exec_request.h"
#include "agent/guest/session.h"
#include "base/clock.h"

#define NOT_STARTED   127
#define MESSAGE_LIMIT 400u
#define ANSWER_LIMIT  (MESSAGE_LIMIT + 64u)
#define ANSWER_MS     30000u

enum program_state { PROGRAM_NONE, PROGRAM_STARTING, PROGRAM_RUNS, PROGRAM_OVER };

/* Whoever moves the state from NONE to STARTING starts the program, and alone writes the rest,
 * before the state says OVER. */
struct program {
    _Atomic int state;
    int over_fd; /* readable, for all who wait, once it is over: nobody reads it */
    uint32_t code, signal;
    char message[MESSAGE_LIMIT]; /* why it could not be started */
};

struct program *program_new(void)
{
    struct program *program =
        mmap(NULL, sizeof(*program), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (program == MAP_FAILED)
        return NULL;
    program->over_fd = eventfd(0, EFD_CLOEXEC);
    return program->over_fd < 0 ? NULL : program;
}

static void program_over(struct program *program)
{
    const uint64_t one = 1;
    atomic_store(&program->state, PROGRAM_OVER);
    if (write(program->over_fd, &one, sizeof(one)) < 0)
        console_say("tell of the program's end failed");
}

/* --- PROGRAM --------------------------------------------------------------------------------- */

static void outcome_put(const struct program *program, struct agent_fields *fields)
{
    agent_field_put_u32(fields, AGENT_TAG_EXIT_CODE, program->code);
    if (program->signal != 0)
        agent_field_put_u32(fields, AGENT_TAG_SIGNAL, program->signal);
    if (program->message[0])
        agent_field_put_text(fields, AGENT_TAG_MESSAGE, program->message);
}

static void answer(const struct program *program, int fd, bool over)
{
    uint8_t data[ANSWER_LIMIT];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    if (over)
        outcome_put(program, &fields);
    control_answer(fd, &fields);
}

/* In a process of its own: the host may be slow, and the program may end meanwhile. `over`: it
 * could not be started; whoever starts one that ends at once is told that it runs, as always. */
static void answer_apart(const struct program *program, int fd, bool over)
{
    pid_t pid = fork();
    if (pid < 0)
        console_say("program: fork: the host gets no answer");
    if (pid == 0) {
        answer(program, fd, over);
        _exit(0);
    }
    close(fd);
}

static void supervise(struct program *program, pid_t child, bool machine)
{
    int status = 0;
    pid_t ended;
    do {
        ended = waitpid(-1, &status, 0); /* also the one that answers */
    } while (ended != child && (ended > 0 || errno == EINTR));
    if (WIFSIGNALED(status)) {
        program->signal = (uint32_t)WTERMSIG(status);
        program->code = 128 + program->signal;
        console_say("the program was killed by signal %u", program->signal);
    } else {
        program->code = (uint32_t)WEXITSTATUS(status);
        console_say("the program exited with status %u", program->code);
    }
    if (machine)
        sync(); /* what it wrote is safe before anybody hears of its end */
    program_over(program);
}

static void not_started(struct program *program, const struct error *err)
{
    program->code = NOT_STARTED;
    snprintf(program->message, sizeof(program->message), "%.*s", (int)MESSAGE_LIMIT - 1,
             err->message);
    console_say("the program could not be started: %s", program->message);
    program_over(program);
}

static void program_start(struct program *program, int fd, struct exec_request *request,
                          bool machine)
{
    struct exec_child child;
    struct error err = {0};
    request->console = true;
    request->tty = false;
    int r = exec_child_start(&child, request, machine, &err);
    if (r < 0)
        not_started(program, &err);
    else
        atomic_store(&program->state, PROGRAM_RUNS);
    answer_apart(program, fd, r < 0);
    if (r == 0)
        supervise(program, child.pid, machine);
}

void program_serve_start(struct program *program, int fd, const struct agent_frame *frame,
                         bool machine)
{
    struct exec_request request;
    struct error err = {0};
    int state = PROGRAM_NONE;
    if (exec_request_parse(&request, frame->payload, frame->length, &err) < 0)
        control_fail(fd, err.errnum, "%s", err.message);
    else if (atomic_compare_exchange_strong(&program->state, &state, PROGRAM_STARTING))
        program_start(program, fd, &request, machine);
    else if (state == PROGRAM_STARTING)
        control_fail(fd, EBUSY, "the program is being started");
    else
        answer(program, fd, state == PROGRAM_OVER);
    exec_request_release(&request);
}

/* --- WATCH ----------------------------------------------------------------------------------- */

/* False if the host is gone before the end. */
static bool wait_over(const struct program *program, int fd)
{
    struct pollfd fds[] = {
        {.fd = program->over_fd, .events = POLLIN},
        {.fd = fd, .events = POLLRDHUP},
    };
    while (!fds[0].revents && !fds[1].revents) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return false;
    }
    return !fds[1].revents;
}

void program_serve_watch(struct program *program, int fd, const struct agent_frame *frame,
                         bool machine)
{
    if (atomic_load(&program->state) == PROGRAM_NONE) {
        control_fail(fd, ENOENT, "no program was started");
        return;
    }
    if (!wait_over(program, fd))
        return;
    uint8_t data[ANSWER_LIMIT], buffer[AGENT_FRAME_LIMIT];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    struct agent_frame taken;
    outcome_put(program, &fields);
    if (agent_frame_write_until(fd, AGENT_EXIT, data, fields.length, time_after_ms(ANSWER_MS),
                                NULL) == 0 &&
        agent_frame_read(fd, buffer, &taken, NULL) > 0 && taken.type == AGENT_TAKEN)
        control_power_off(machine);
}
