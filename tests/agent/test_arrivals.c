/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that the agent's server holds itself. The agent is the first argument. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/client.h"
#include "agent/guest/arrivals.h"
#include "agent/stream.h"
#include "base/clock.h"
#include "base/unix_socket.h"

static int connect_agent(const struct fixture *fixture)
{
    int fd = unix_connect(fixture->agent, 0, NULL);
    assert_true(fd >= 0);
    return fd;
}

/* Those are processes of the agent: one that keeps the oracle, and one for each session. */
static size_t children_count(const struct fixture *fixture)
{
    char path[64], text[4096] = "";
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", fixture->agent_pid,
             fixture->agent_pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof(text), file);
    fclose(file);
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += text[i] == ' ';
    return count;
}

static void await_children(const struct fixture *fixture, size_t count)
{
    uint64_t deadline = time_after_ms(TIMEOUT_MS);
    while (children_count(fixture) != count) {
        assert_true(time_monotonic_ns() < deadline);
        time_sleep_ms(1);
    }
}

static uint8_t answer_type(int fd)
{
    static uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
    assert_int_equal(agent_frame_read_until(fd, buffer, &frame, time_after_ms(TIMEOUT_MS), NULL),
                     1);
    return frame.type;
}

static void ask_hello(const struct fixture *fixture)
{
    int fd = connect_agent(fixture);
    send_frame(fd, AGENT_HELLO, NULL, 0);
    assert_int_equal(answer_type(fd), AGENT_OK);
    close(fd);
}

/* An agent that is up, and its oracle's keeper too. */
static int setup(void **state)
{
    struct agent_info info;
    if (agent_setup(state) < 0)
        return -1;
    assert_int_equal(agent_hello(((struct fixture *)*state)->vsock, TIMEOUT_MS, &info, NULL), 0);
    await_children(*state, 1);
    return 0;
}
#define with_agent_up(test) cmocka_unit_test_setup_teardown(test, setup, agent_teardown)

/* The connections stay open, so whoever serves them is still there. */
static void short_requests_make_no_process(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        uint8_t type, answer;
        uint8_t payload[3];
        size_t length;
    } requests[] = {
        {AGENT_HELLO, AGENT_OK, {0}, 0},
        {AGENT_RESTORED, AGENT_OK, {0}, 0},
        {AGENT_RESTORED, AGENT_FAILED, {1, 2, 3}, 3}, /* malformed */
    };
    int fds[3];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = connect_agent(fixture);
        send_frame(fds[i], requests[i].type, requests[i].payload, requests[i].length);
        assert_int_equal(answer_type(fds[i]), requests[i].answer);
    }
    assert_int_equal(children_count(fixture), 1);
    int other = connect_agent(fixture);
    send_frame(other, AGENT_SYNC, NULL, 0);
    assert_int_equal(answer_type(other), AGENT_OK);
    assert_int_equal(children_count(fixture), 2); /* so the count can tell */
    close(other);
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
}

/* More than are held, of whom nobody says anything. */
static void silent_ones_hold_up_nobody(void **state)
{
    struct fixture *fixture = *state;
    int fds[2 * ARRIVALS_LIMIT];
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        fds[i] = connect_agent(fixture);
    ask_hello(fixture);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        send_frame(fds[i], AGENT_HELLO, NULL, 0);
        assert_int_equal(answer_type(fds[i]), AGENT_OK);
    }
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        close(fds[i]);
    await_children(fixture, 1);
}

/* What was answered and closed makes room. */
static void the_closed_make_room(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 4 * ARRIVALS_LIMIT; i++)
        ask_hello(fixture);
    for (int i = 0; i < 4 * ARRIVALS_LIMIT; i++)
        close(connect_agent(fixture)); /* without a word */
    int fd = connect_agent(fixture);
    send_frame(fd, AGENT_HELLO, NULL, 0);
    assert_int_equal(answer_type(fd), AGENT_OK);
    await_children(fixture, 1);
    close(fd);
}

static void a_request_in_two_pieces(void **state)
{
    struct fixture *fixture = *state;
    uint8_t frame[AGENT_FRAME_HEADER + 64], payload[64];
    struct agent_fields fields = {.data = payload, .capacity = sizeof(payload)};
    agent_field_put_text(&fields, AGENT_TAG_HOSTNAME, "no good");
    size_t length = frame_build(frame, AGENT_RESTORED, payload, fields.length);
    for (size_t first = 1; first < length; first += 4) {
        int fd = connect_agent(fixture);
        assert_int_equal(write(fd, frame, first), (ssize_t)first);
        ask_hello(fixture); /* by when the first piece was seen */
        assert_int_equal(write(fd, frame + first, length - first), (ssize_t)(length - first));
        assert_int_equal(answer_type(fd), AGENT_FAILED);
        close(fd);
    }
}

/* Those whom another process serves are told of a close at once, whatever the server holds. */
static void held_ones_are_not_inherited(void **state)
{
    struct fixture *fixture = *state;
    int held = connect_agent(fixture);
    send_frame(held, AGENT_HELLO, NULL, 0);
    assert_int_equal(answer_type(held), AGENT_OK);
    int session = shell_start(fixture, "echo ready; exec sleep 1000", false);
    struct outcome outcome = {0};
    outcome_await(session, &outcome, "ready");
    shutdown(held, SHUT_WR);
    uint8_t byte;
    assert_int_equal(stream_wait(held, POLLIN, time_after_ms(TIMEOUT_MS)), 0);
    assert_int_equal(read(held, &byte, 1), 0); /* the only one who held it let it go */
    close(held);
    close(session);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        with_agent_up(short_requests_make_no_process), with_agent_up(silent_ones_hold_up_nobody),
        with_agent_up(the_closed_make_room),           with_agent_up(a_request_in_two_pieces),
        with_agent_up(held_ones_are_not_inherited),
    };
    if (argc != 2)
        return 2;
    agent_program_set(argv[1]);
    return cmocka_run_group_tests_name("agent arrivals", tests, NULL, NULL);
}
