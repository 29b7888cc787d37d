/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc_stat.h"

struct agent_result command_run(struct fixture *fixture, const struct agent_exec *exec)
{
    struct agent_result result;
    struct error err = {0};
    int r = agent_exec_run(fixture->vsock, TIMEOUT_MS, exec, 64u << 20, &result, &err);
    if (r < 0)
        fail_msg("%s", err.message);
    return result;
}

struct agent_result shell_run(struct fixture *fixture, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    return command_run(fixture, &(struct agent_exec){.argv = argv});
}

void result_free(struct agent_result *result)
{
    free(result->out);
    free(result->err_out);
}

int shell_start(struct fixture *fixture, const char *script, bool tty)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct error err = {0};
    int fd = agent_exec_start(fixture->vsock, TIMEOUT_MS,
                              &(struct agent_exec){.argv = argv, .tty = tty}, &err);
    if (fd < 0)
        fail_msg("%s", err.message);
    return fd;
}

void send_frame(int fd, uint8_t type, const void *payload, size_t length)
{
    assert_int_equal(agent_frame_write(fd, type, payload, length, NULL), 0);
}

/* Takes one frame; 0 after EXIT. */
static int outcome_step(int fd, struct outcome *outcome)
{
    static uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
    assert_int_equal(agent_frame_read_until(fd, buffer, &frame, time_after_ms(TIMEOUT_MS), NULL),
                     1);
    size_t offset = 0;
    uint16_t tag;
    const uint8_t *value;
    uint32_t length, number;
    if (frame.type != AGENT_EXIT) {
        for (size_t i = 0; i < frame.length && outcome->length < sizeof(outcome->text) - 1; i++)
            outcome->text[outcome->length++] = (char)frame.payload[i];
        outcome->total += frame.length;
        return 1;
    }
    while (agent_field_next(frame.payload, frame.length, &offset, &tag, &value, &length) > 0) {
        if (agent_value_u32(value, length, &number) < 0)
            continue;
        if (tag == AGENT_TAG_EXIT_CODE)
            outcome->code = (int)number;
        if (tag == AGENT_TAG_SIGNAL)
            outcome->signal = (int)number;
    }
    return 0;
}

void outcome_finish(int fd, struct outcome *outcome)
{
    while (outcome_step(fd, outcome)) {
    }
    close(fd);
}

void outcome_await(int fd, struct outcome *outcome, const char *text)
{
    while (!strstr(outcome->text, text))
        assert_int_equal(outcome_step(fd, outcome), 1);
}

void assert_process_goes(pid_t pid)
{
    uint64_t deadline = time_after_ms(TIMEOUT_MS);
    struct proc_stat stat;
    /* Orphans of a killed group are zombies until whoever adopted them looks. */
    while (proc_stat(pid, &stat, NULL) == 0 && stat.state != 'Z') {
        assert_true(time_monotonic_ns() < deadline);
        time_sleep_ms(5);
    }
}
