/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/exec_session.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "agent/guest/exec_child.h"
#include "agent/guest/exec_request.h"
#include "agent/guest/exec_stream.h"
#include "agent/guest/session.h"
#include "agent/stream.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define NOT_STARTED    127
#define TERMINAL_DRAIN (256u << 10) /* above what a terminal can hold of a dead command */

/* One output of the command. */
struct source {
    int fd;
    uint8_t type;
    size_t budget; /* bytes still to take: no end while the command runs */
};

struct exec_session {
    int socket, signals;
    bool tty;
    struct exec_child child;
    bool running; /* not waited for yet, so its group is still its own */
    bool timed_out, lost;
    int status; /* of wait(2), once it is no longer running */
    uint64_t deadline_ns;
    struct source sources[2];
    unsigned next_source; /* who may speak first: neither output starves the other */
    struct frame_input input;
    struct frame_output output;
    struct input_queue queue;
};

enum poll_slot { SLOT_HOST, SLOT_SIGNALS, SLOT_STDIN, SLOT_OUT, SLOT_ERR, SLOTS };

static void source_close(struct source *source)
{
    if (source->fd >= 0)
        close(TAKE_FD(source->fd));
}

static void stdin_close(struct exec_session *session)
{
    if (session->child.in >= 0)
        close(TAKE_FD(session->child.in));
    session->queue.length = 0;
}

static void group_kill(const struct exec_session *session, int number)
{
    if (session->running)
        kill(-session->child.pid, number);
}

/* --- frames from the host ------------------------------------------------------------------- */

static int on_stdin(struct exec_session *session, const struct agent_frame *frame)
{
    if (session->child.in >= 0)
        input_queue_add(&session->queue, frame->payload, frame->length);
    return 0;
}

/* The end of a terminal's input is a character, that of a pipe is its being closed. */
static int on_stdin_eof(struct exec_session *session, const struct agent_frame *frame)
{
    struct termios modes;
    if (session->tty && session->child.in >= 0 && tcgetattr(session->child.in, &modes) == 0)
        input_queue_add(&session->queue, &modes.c_cc[VEOF], 1);
    else
        session->queue.ended = true;
    return 0;
}

static int on_signal(struct exec_session *session, const struct agent_frame *frame)
{
    uint32_t number;
    if (agent_value_u32(frame->payload, frame->length, &number) < 0 || number < 1 ||
        number > AGENT_SIGNAL_MAX)
        return -EPROTO;
    group_kill(session, (int)number);
    return 0;
}

static int on_resize(struct exec_session *session, const struct agent_frame *frame)
{
    uint16_t size[2];
    if (frame->length != sizeof(size))
        return -EPROTO;
    memcpy(size, frame->payload, sizeof(size));
    if (session->tty && session->child.in >= 0)
        exec_child_resize(&session->child, le16toh(size[0]), le16toh(size[1]));
    return 0;
}

static const struct {
    uint8_t type;
    int (*handle)(struct exec_session *session, const struct agent_frame *frame);
} handlers[] = {
    {AGENT_STDIN, on_stdin},
    {AGENT_STDIN_EOF, on_stdin_eof},
    {AGENT_SIGNAL, on_signal},
    {AGENT_RESIZE, on_resize},
};

static int handle_frame(struct exec_session *session, const struct agent_frame *frame)
{
    for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
        if (handlers[i].type == frame->type)
            return handlers[i].handle(session, frame);
    }
    return -EPROTO;
}

static void serve_host(struct exec_session *session)
{
    while (!session->lost && input_queue_has_room(&session->queue)) {
        struct agent_frame frame;
        int r = frame_input_read(&session->input, session->socket, &frame);
        if (r == 0)
            return;
        if (r < 0 || handle_frame(session, &frame) < 0)
            session->lost = true;
    }
}

/* --- the command ----------------------------------------------------------------------------- */

static void serve_stdin(struct exec_session *session)
{
    if (session->child.in < 0)
        return;
    int r = input_queue_flush(&session->queue, session->child.in);
    if (r < 0 || (session->queue.ended && session->queue.length == 0))
        stdin_close(session);
}

/* After the command's end its outputs hold what is still to be sent and no more: a background
 * process that inherited them may write for ever. */
static void sources_limit(struct exec_session *session)
{
    for (size_t i = 0; i < ARRAY_SIZE(session->sources); i++) {
        struct source *source = &session->sources[i];
        int waiting = 0;
        if (source->fd < 0)
            continue;
        if (session->tty)
            source->budget = TERMINAL_DRAIN;
        else if (ioctl(source->fd, FIONREAD, &waiting) == 0)
            source->budget = (size_t)waiting;
        else
            source->budget = 0;
    }
}

static void serve_signals(struct exec_session *session)
{
    struct signalfd_siginfo info;
    while (read(session->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM)
            session->lost = true;
    }
    if (session->running && waitpid(session->child.pid, &session->status, WNOHANG) > 0) {
        session->running = false;
        sources_limit(session);
    }
}

static void serve_source(struct exec_session *session, struct source *source)
{
    if (source->fd < 0)
        return;
    ssize_t n = 0;
    if (source->budget > 0)
        n = frame_output_take(&session->output, source->type, source->fd, source->budget);
    if (n > 0 && !session->running)
        source->budget -= (size_t)n;
    bool dry = n == -EAGAIN && !session->running;
    if (n == 0 || dry)
        source_close(source);
}

static void serve_sources(struct exec_session *session, const struct pollfd *fds)
{
    for (unsigned i = 0; i < 2 && !frame_output_pending(&session->output); i++) {
        unsigned which = (session->next_source + i) % 2;
        if (fds[SLOT_OUT + which].revents == 0 && session->running)
            continue;
        serve_source(session, &session->sources[which]);
        if (frame_output_pending(&session->output))
            session->next_source = (which + 1) % 2;
    }
}

/* --- the loop -------------------------------------------------------------------------------- */

static void poll_prepare(const struct exec_session *session, struct pollfd *fds)
{
    bool sending = frame_output_pending(&session->output);
    bool reading = input_queue_has_room(&session->queue);
    short host = (short)(POLLRDHUP | (reading ? POLLIN : 0) | (sending ? POLLOUT : 0));
    fds[SLOT_HOST] = (struct pollfd){.fd = session->socket, .events = host};
    fds[SLOT_SIGNALS] = (struct pollfd){.fd = session->signals, .events = POLLIN};
    /* Left out while nothing is wanted of them, or their hang-up would wake us for ever. */
    int in = session->queue.length > 0 ? session->child.in : -1;
    fds[SLOT_STDIN] = (struct pollfd){.fd = in, .events = POLLOUT};
    for (unsigned i = 0; i < 2; i++)
        fds[SLOT_OUT + i] =
            (struct pollfd){.fd = sending ? -1 : session->sources[i].fd, .events = POLLIN};
}

static int poll_timeout(const struct exec_session *session)
{
    if (session->deadline_ns == 0 || session->timed_out || !session->running)
        return -1;
    return time_left_ms(session->deadline_ns);
}

static void check_timeout(struct exec_session *session)
{
    if (session->deadline_ns == 0 || session->timed_out || !session->running ||
        time_monotonic_ns() < session->deadline_ns)
        return;
    session->timed_out = true;
    group_kill(session, SIGKILL);
}

static void exec_session_step(struct exec_session *session)
{
    struct pollfd fds[SLOTS];
    poll_prepare(session, fds);
    bool drained_now = !session->running && !frame_output_pending(&session->output);
    if (poll(fds, SLOTS, drained_now ? 0 : poll_timeout(session)) < 0)
        return; /* EINTR; the signals we want come by descriptor */
    check_timeout(session);
    if (fds[SLOT_SIGNALS].revents)
        serve_signals(session);
    if (fds[SLOT_HOST].revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL))
        session->lost = true;
    else if (fds[SLOT_HOST].revents & POLLIN)
        serve_host(session);
    serve_stdin(session);
    serve_sources(session, fds);
    if (frame_output_flush(&session->output, session->socket) < 0)
        session->lost = true;
}

static bool is_over(const struct exec_session *session)
{
    return session->lost || (!session->running && session->sources[0].fd < 0 &&
                             session->sources[1].fd < 0 && !frame_output_pending(&session->output));
}

/* --- its end --------------------------------------------------------------------------------- */

static void send_frame(struct exec_session *session, uint8_t type,
                       const struct agent_fields *fields)
{
    frame_output_put(&session->output, type, fields);
    while (frame_output_pending(&session->output)) {
        if (frame_output_flush(&session->output, session->socket) < 0 ||
            stream_wait(session->socket, POLLOUT, 0) < 0)
            return; /* the host is gone, and with it whoever wanted to know */
    }
    session_linger(session->socket);
}

static void send_not_started(struct exec_session *session, const struct error *err)
{
    uint8_t data[sizeof(err->message) + 64];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u32(&fields, AGENT_TAG_EXIT_CODE, NOT_STARTED);
    agent_field_put_u32(&fields, AGENT_TAG_ERRNO, (uint32_t)err->errnum);
    agent_field_put_text(&fields, AGENT_TAG_MESSAGE, err->message);
    send_frame(session, AGENT_EXIT, &fields);
}

static void send_exit(struct exec_session *session)
{
    uint8_t data[64];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    if (WIFSIGNALED(session->status)) {
        agent_field_put_u32(&fields, AGENT_TAG_EXIT_CODE,
                            128u + (uint32_t)WTERMSIG(session->status));
        agent_field_put_u32(&fields, AGENT_TAG_SIGNAL, (uint32_t)WTERMSIG(session->status));
    } else {
        agent_field_put_u32(&fields, AGENT_TAG_EXIT_CODE, (uint32_t)WEXITSTATUS(session->status));
    }
    if (session->timed_out)
        agent_field_put(&fields, AGENT_TAG_TIMED_OUT, NULL, 0);
    send_frame(session, AGENT_EXIT, &fields);
}

static int exec_session_start(struct exec_session *session, const struct agent_frame *frame,
                              bool machine, struct error *err)
{
    struct exec_request request;
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGTERM);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    session->signals = signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
    if (session->signals < 0)
        return error_errno(err, errno, NULL, "exec: signalfd");
    int r = exec_request_parse(&request, frame->payload, frame->length, err);
    if (r == 0)
        r = exec_child_start(&session->child, &request, machine, err);
    if (r == 0) {
        session->tty = request.tty;
        session->running = true;
        if (request.timeout_ms != 0)
            session->deadline_ns = time_after_ms(request.timeout_ms);
        session->sources[0] = (struct source){session->child.out, AGENT_STDOUT, SIZE_MAX};
        session->sources[1] = (struct source){session->child.err, AGENT_STDERR, SIZE_MAX};
    }
    exec_request_release(&request);
    return r;
}

static void exec_session_release(struct exec_session *session)
{
    stdin_close(session);
    source_close(&session->sources[0]);
    source_close(&session->sources[1]);
    if (session->signals >= 0)
        close(session->signals);
    free(session);
}

void exec_session_run(int socket, const struct agent_frame *frame, bool machine)
{
    struct exec_session *session = calloc(1, sizeof(*session));
    struct error err = {0};
    if (!session)
        return; /* the host sees the connection end without EXIT */
    session->socket = socket;
    session->signals = session->child.in = session->sources[0].fd = session->sources[1].fd = -1;
    if (exec_session_start(session, frame, machine, &err) < 0) {
        send_not_started(session, &err);
    } else {
        while (!is_over(session))
            exec_session_step(session);
        if (session->lost)
            group_kill(session, SIGKILL);
        else
            send_exit(session);
    }
    exec_session_release(session);
}
