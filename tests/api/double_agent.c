/* SPDX-License-Identifier: Apache-2.0 */
#include "double_agent.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/protocol.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"

#define ARGS_MAX  32
#define JOIN_STEP 10

struct agent {
    int fd;
    char *argv[ARGS_MAX + 1], *env[ARGS_MAX + 1];
    char cwd[256], data_dir[4096];
    bool tty;
    unsigned rows, cols;
    uint8_t buffer[AGENT_FRAME_LIMIT];
};

/* How many threads there are, for double_agents_join(). */
static unsigned agents_running;

static void say(struct agent *agent, uint8_t type, const char *text)
{
    agent_frame_write(agent->fd, type, text, strlen(text), NULL);
}

struct ending {
    int code, signal;
    bool timed_out;
    const char *message;
};

static size_t ending_encode(const struct ending *ending, uint8_t *payload, size_t size)
{
    struct agent_fields fields = {.data = payload, .capacity = size};
    uint32_t code = htole32((uint32_t)ending->code), number = htole32((uint32_t)ending->signal);
    agent_field_put(&fields, AGENT_TAG_EXIT_CODE, &code, sizeof(code));
    if (ending->signal)
        agent_field_put(&fields, AGENT_TAG_SIGNAL, &number, sizeof(number));
    if (ending->timed_out)
        agent_field_put(&fields, AGENT_TAG_TIMED_OUT, NULL, 0);
    if (ending->message)
        agent_field_put_text(&fields, AGENT_TAG_MESSAGE, ending->message);
    return fields.length;
}

static void finish(struct agent *agent, struct ending ending)
{
    uint8_t payload[256];
    size_t length = ending_encode(&ending, payload, sizeof(payload));
    agent_frame_write(agent->fd, AGENT_EXIT, payload, length, NULL);
}

static void do_words(struct agent *agent, uint8_t type)
{
    char text[4096] = "";
    for (int i = 1; agent->argv[i]; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%s%s", i > 1 ? " " : "", agent->argv[i]);
    }
    size_t used = strlen(text);
    snprintf(text + used, sizeof(text) - used, "\n");
    say(agent, type, text);
    finish(agent, (struct ending){0});
}

static void do_echo(struct agent *agent)
{
    do_words(agent, AGENT_STDOUT);
}

static void do_err(struct agent *agent)
{
    do_words(agent, AGENT_STDERR);
}

static void do_exit(struct agent *agent)
{
    finish(agent,
           (struct ending){.code = agent->argv[1] ? (int)strtol(agent->argv[1], NULL, 10) : 0});
}

static void do_cat(struct agent *agent)
{
    struct agent_frame frame;
    while (agent_frame_read(agent->fd, agent->buffer, &frame, NULL) > 0) {
        if (frame.type == AGENT_STDIN)
            agent_frame_write(agent->fd, AGENT_STDOUT, frame.payload, frame.length, NULL);
        if (frame.type == AGENT_STDIN_EOF) {
            finish(agent, (struct ending){0});
            return;
        }
    }
}

static void do_sink(struct agent *agent)
{
    struct agent_frame frame;
    size_t total = 0;
    time_sleep_ms(300); /* long enough for every queue on the way to fill up */
    while (agent_frame_read(agent->fd, agent->buffer, &frame, NULL) > 0) {
        if (frame.type == AGENT_STDIN)
            total += frame.length;
        if (frame.type == AGENT_STDIN_EOF) {
            char text[32];
            snprintf(text, sizeof(text), "%zu\n", total);
            say(agent, AGENT_STDOUT, text);
            finish(agent, (struct ending){0});
            return;
        }
    }
}

static void do_deaf(struct agent *agent)
{
    say(agent, AGENT_STDOUT, "ready\n");
    finish(agent, (struct ending){.code = 3});
}

static void do_env(struct agent *agent)
{
    for (int i = 0; agent->env[i]; i++) {
        say(agent, AGENT_STDOUT, agent->env[i]);
        say(agent, AGENT_STDOUT, "\n");
    }
    finish(agent, (struct ending){0});
}

static void do_cwd(struct agent *agent)
{
    say(agent, AGENT_STDOUT, agent->cwd);
    finish(agent, (struct ending){0});
}

static void do_tty(struct agent *agent)
{
    struct agent_frame frame;
    char text[64];
    snprintf(text, sizeof(text), "%s %ux%u\r\n", agent->tty ? "tty" : "no tty", agent->rows,
             agent->cols);
    say(agent, AGENT_STDOUT, text);
    while (agent_frame_read(agent->fd, agent->buffer, &frame, NULL) > 0) {
        uint16_t size[2];
        if (frame.type != AGENT_RESIZE || frame.length != sizeof(size))
            continue;
        memcpy(size, frame.payload, sizeof(size));
        snprintf(text, sizeof(text), "resize %ux%u\r\n", le16toh(size[0]), le16toh(size[1]));
        say(agent, AGENT_STDOUT, text);
        finish(agent, (struct ending){0});
        return;
    }
}

static void do_wait(struct agent *agent)
{
    struct agent_frame frame;
    uint32_t number;
    say(agent, AGENT_STDOUT, "waiting\n");
    while (agent_frame_read(agent->fd, agent->buffer, &frame, NULL) > 0) {
        if (frame.type != AGENT_SIGNAL || frame.length != sizeof(number))
            continue;
        char text[32];
        memcpy(&number, frame.payload, sizeof(number));
        number = le32toh(number);
        snprintf(text, sizeof(text), "signal %u\n", number);
        say(agent, AGENT_STDOUT, text);
        finish(agent, (struct ending){.code = 128 + (int)number, .signal = (int)number});
        return;
    }
    char path[4200];
    snprintf(path, sizeof(path), "%s/killed", agent->data_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cleanup_close(&fd);
}

static void do_flood(struct agent *agent)
{
    long kib = agent->argv[1] ? strtol(agent->argv[1], NULL, 10) : 1;
    memset(agent->buffer, 'x', 1024);
    for (long i = 0; i < kib; i++) {
        if (agent_frame_write(agent->fd, AGENT_STDOUT, agent->buffer, 1024, NULL) < 0)
            return;
    }
    finish(agent, (struct ending){0});
}

static void do_missing(struct agent *agent)
{
    finish(agent, (struct ending){.code = 127, .message = "missing: No such file or directory"});
}

static void do_timeout(struct agent *agent)
{
    finish(agent, (struct ending){.code = 137, .signal = 9, .timed_out = true});
}

static void do_garble(struct agent *agent)
{
    static const uint8_t header[AGENT_FRAME_HEADER] = {0xff, 0xff, 0xff, 0xff, AGENT_STDOUT};
    file_write_exact(agent->fd, header, sizeof(header), "garble", NULL);
    struct agent_frame frame;
    while (agent_frame_read(agent->fd, agent->buffer, &frame, NULL) > 0)
        ;
}

static void do_hangup(struct agent *agent)
{
    say(agent, AGENT_STDOUT, "before\n");
}

static void do_drip(struct agent *agent)
{
    uint8_t payload[64], header[AGENT_FRAME_HEADER];
    size_t length = ending_encode(&(struct ending){.code = 5}, payload, sizeof(payload));
    agent_header_encode(header, AGENT_EXIT, (uint32_t)length);
    for (size_t i = 0; i < sizeof(header) + length; i++) {
        const uint8_t *at = i < sizeof(header) ? header + i : payload + i - sizeof(header);
        file_write_exact(agent->fd, at, 1, "drip", NULL);
        time_sleep_ms(1);
    }
}

static const struct {
    const char *name;
    void (*run)(struct agent *agent);
} scripts[] = {
    {"echo", do_echo},       {"err", do_err},       {"exit", do_exit},     {"cat", do_cat},
    {"sink", do_sink},       {"deaf", do_deaf},     {"env", do_env},       {"cwd", do_cwd},
    {"tty", do_tty},         {"wait", do_wait},     {"flood", do_flood},   {"missing", do_missing},
    {"timeout", do_timeout}, {"garble", do_garble}, {"hangup", do_hangup}, {"drip", do_drip},
    {"/bin/sh", do_cat},
};

static void agent_free(struct agent *agent)
{
    close(agent->fd);
    for (int i = 0; i < ARGS_MAX; i++) {
        free(agent->argv[i]);
        free(agent->env[i]);
    }
    free(agent);
}

static void *agent_main(void *data)
{
    struct agent *agent = data;
    size_t i = 0;
    while (i < ARRAY_SIZE(scripts) && strcmp(scripts[i].name, agent->argv[0]) != 0)
        i++;
    if (i < ARRAY_SIZE(scripts))
        scripts[i].run(agent);
    else
        do_missing(agent);
    agent_free(agent);
    __atomic_sub_fetch(&agents_running, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void copy_strings(char **to, const char *const *from)
{
    for (int i = 0; from && from[i] && i < ARGS_MAX; i++)
        to[i] = strdup(from[i]);
}

int double_agent_start(const struct agent_exec *exec, const char *data_dir, struct error *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_errno(err, errno, NULL, "socketpair");
    struct agent *agent = calloc(1, sizeof(*agent));
    if (!agent)
        abort();
    agent->fd = ends[1];
    agent->tty = exec->tty;
    agent->rows = exec->rows;
    agent->cols = exec->cols;
    copy_strings(agent->argv, exec->argv);
    copy_strings(agent->env, exec->env);
    snprintf(agent->cwd, sizeof(agent->cwd), "%s", exec->cwd ? exec->cwd : "/");
    snprintf(agent->data_dir, sizeof(agent->data_dir), "%s", data_dir);
    pthread_t thread;
    __atomic_add_fetch(&agents_running, 1, __ATOMIC_SEQ_CST);
    pthread_create(&thread, NULL, agent_main, agent);
    pthread_detach(thread);
    return ends[0];
}

void double_agents_join(void)
{
    while (__atomic_load_n(&agents_running, __ATOMIC_SEQ_CST) > 0)
        time_sleep_ms(JOIN_STEP);
}
