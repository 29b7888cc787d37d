/* SPDX-License-Identifier: Apache-2.0 */
/* The fake guest's agent, behind Firecracker's vsock socket protocol. It writes its frames itself
 * and does not use the code under test. Commands: true, false, exit N, echo ..., cat, sleep
 * SECONDS, hostname, boot-id, remember TEXT, recall, fill TOKEN, check MEMORY-TOKEN DISK-TOKEN
 * (pattern.h), environment, program, end-program N; anything else is not found (127). As the main
 * program: exit N ends at once, no-such is not found, anything else runs until end-program. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/protocol.h"
#include "fake_frames.h"
#include "fake_vmm.h"

#define MAX_ARGUMENTS 16

struct session {
    struct fake *fake;
    int fd;
};

static void describe(struct fake *fake, struct fake_fields *fields)
{
    const uint64_t uptime = 1000;
    fake_put_text(fields, AGENT_TAG_VERSION, "fake");
    fake_put_text(fields, AGENT_TAG_KERNEL, "0.0-fake");
    fake_put_text(fields, AGENT_TAG_HOSTNAME, fake->hostname);
    fake_put_text(fields, AGENT_TAG_BOOT_ID, fake->boot_id);
    fake_put(fields, AGENT_TAG_UPTIME_MS, &uptime, sizeof(uptime));
}

static int command_exit(struct session *session, int argc, char **argv)
{
    if (strcmp(argv[0], "exit") == 0)
        return argc > 1 ? (int)strtol(argv[1], NULL, 10) & 0xff : 0;
    return strcmp(argv[0], "true") == 0 ? 0 : 1;
}

static int command_echo(struct session *session, int argc, char **argv)
{
    char line[4096];
    size_t used = 0;
    for (int i = 1; i < argc; i++)
        used +=
            (size_t)snprintf(line + used, sizeof(line) - used, "%s%s", i > 1 ? " " : "", argv[i]);
    line[used++] = '\n';
    return fake_send_frame(session->fd, AGENT_STDOUT, line, used) < 0;
}

static int print(struct session *session, const char *text)
{
    char line[2048];
    int length = snprintf(line, sizeof(line), "%s\n", text);
    return fake_send_frame(session->fd, AGENT_STDOUT, line, (size_t)length) < 0;
}

static int command_tell(struct session *session, int argc, char **argv)
{
    struct fake *fake = session->fake;
    char text[FAKE_NOTE_LIMIT];
    pthread_mutex_lock(&fake->lock);
    const char *value = strcmp(argv[0], "hostname") == 0 ? fake->hostname
                        : strcmp(argv[0], "boot-id") == 0
                            ? fake->boot_id
                            : (const char *)fake->memory + FAKE_NOTE_OFFSET;
    snprintf(text, sizeof(text), "%s", value);
    pthread_mutex_unlock(&fake->lock);
    return print(session, text);
}

static int command_remember(struct session *session, int argc, char **argv)
{
    struct fake *fake = session->fake;
    pthread_mutex_lock(&fake->lock);
    snprintf((char *)fake->memory + FAKE_NOTE_OFFSET, FAKE_NOTE_LIMIT, "%s",
             argc > 1 ? argv[1] : "");
    pthread_mutex_unlock(&fake->lock);
    return 0;
}

static uint64_t token_of(int argc, char **argv, int i)
{
    return argc > i ? strtoull(argv[i], NULL, 10) : 0;
}

static int command_pattern(struct session *session, int argc, char **argv)
{
    char answer[512] = "ok";
    int r = strcmp(argv[0], "fill") == 0
                ? fake_fill(session->fake, token_of(argc, argv, 1), answer, sizeof(answer))
                : fake_check(session->fake, token_of(argc, argv, 1), token_of(argc, argv, 2),
                             answer, sizeof(answer));
    print(session, answer);
    return r < 0;
}

static struct fake_program *program_of(struct fake *fake)
{
    return (struct fake_program *)(void *)(fake->memory + FAKE_PROGRAM_OFFSET);
}

/* "argv|environment|working directory" of a request. */
static void describe_command(const uint8_t *payload, uint32_t length, char *text, size_t size)
{
    static const uint16_t tags[] = {AGENT_TAG_ARG, AGENT_TAG_ENV, AGENT_TAG_CWD};
    size_t used = 0;
    text[0] = '\0';
    for (int t = 0; t < 3; t++) {
        char *texts[MAX_ARGUMENTS] = {0};
        int count = fake_texts_of(payload, length, tags[t], texts, MAX_ARGUMENTS);
        used += (size_t)snprintf(text + used, size - used, "%s", t > 0 ? "|" : "");
        for (int i = 0; i < count; i++) {
            used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? " " : "", texts[i]);
            free(texts[i]);
            if (used >= size)
                abort();
        }
    }
}

static int command_program(struct session *session, int argc, char **argv)
{
    struct fake *fake = session->fake;
    char text[sizeof(program_of(fake)->text)];
    pthread_mutex_lock(&fake->lock);
    snprintf(text, sizeof(text), "%s", program_of(fake)->text);
    pthread_mutex_unlock(&fake->lock);
    return print(session, text);
}

static int command_end_program(struct session *session, int argc, char **argv)
{
    struct fake *fake = session->fake;
    pthread_mutex_lock(&fake->lock);
    program_of(fake)->code = (uint32_t)token_of(argc, argv, 1);
    program_of(fake)->over = 1;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->lock);
    return 0;
}

static int command_cat(struct session *session, int argc, char **argv)
{
    uint8_t *payload = malloc(AGENT_FRAME_LIMIT);
    uint32_t length;
    int type;
    while ((type = fake_read_frame(session->fd, payload, &length)) == AGENT_STDIN)
        fake_send_frame(session->fd, AGENT_STDOUT, payload, length);
    free(payload);
    return type == AGENT_STDIN_EOF ? 0 : 128 + SIGHUP;
}

static const struct {
    const char *name;
    int (*run)(struct session *session, int argc, char **argv);
} commands[] = {
    {"true", command_exit},
    {"false", command_exit},
    {"exit", command_exit},
    {"echo", command_echo},
    {"hostname", command_tell},
    {"boot-id", command_tell},
    {"recall", command_tell},
    {"remember", command_remember},
    {"cat", command_cat},
    {"fill", command_pattern},
    {"check", command_pattern},
    {"program", command_program},
    {"end-program", command_end_program},
};

/* Sleeps until its time, its time limit, a signal from the host or the end of the connection. */
static void run_sleep(struct session *session, const char *seconds, uint32_t limit_ms)
{
    struct fake_fields fields = {.length = 0};
    int sleep_ms = (int)(strtod(seconds, NULL) * 1000);
    int limited = limit_ms > 0 && limit_ms < (uint32_t)sleep_ms;
    struct pollfd host = {.fd = session->fd, .events = POLLIN};
    if (poll(&host, 1, limited ? (int)limit_ms : sleep_ms) > 0) {
        fake_put_exit(&fields, 128 + SIGTERM);
    } else {
        fake_put_exit(&fields, limited ? 128 + SIGKILL : 0);
        if (limited)
            fake_put(&fields, AGENT_TAG_TIMED_OUT, "", 0);
    }
    fake_send_fields(session->fd, AGENT_EXIT, &fields);
}

static void run_command(struct session *session, int argc, char **argv, uint32_t limit_ms)
{
    struct fake_fields fields = {.length = 0};
    if (argc > 1 && strcmp(argv[0], "sleep") == 0) {
        run_sleep(session, argv[1], limit_ms);
        return;
    }
    for (size_t i = 0; argc > 0 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        fake_put_exit(&fields, commands[i].run(session, argc, argv));
        fake_send_fields(session->fd, AGENT_EXIT, &fields);
        return;
    }
    fake_put_exit(&fields, 127);
    fake_put_text(&fields, AGENT_TAG_MESSAGE, "command not found");
    fake_send_fields(session->fd, AGENT_EXIT, &fields);
}

static void serve_exec(struct session *session, const uint8_t *payload, uint32_t length)
{
    char *argv[MAX_ARGUMENTS] = {0};
    int argc = fake_texts_of(payload, length, AGENT_TAG_ARG, argv, MAX_ARGUMENTS);
    if (argc > 0 && strcmp(argv[0], "environment") == 0) {
        char text[1024];
        struct fake_fields fields = {.length = 0};
        describe_command(payload, length, text, sizeof(text));
        fake_put_exit(&fields, print(session, text));
        fake_send_fields(session->fd, AGENT_EXIT, &fields);
    } else {
        run_command(session, argc, argv, fake_timeout_of(payload, length));
    }
    for (int i = 0; i < argc; i++)
        free(argv[i]);
}

static void serve_restored(struct session *session, const uint8_t *payload, uint32_t length)
{
    struct fake_fields none = {.length = 0};
    char *hostname = NULL;
    if (fake_texts_of(payload, length, AGENT_TAG_HOSTNAME, &hostname, 1) == 1) {
        pthread_mutex_lock(&session->fake->lock);
        snprintf(session->fake->hostname, sizeof(session->fake->hostname), "%s", hostname);
        pthread_mutex_unlock(&session->fake->lock);
        free(hostname);
    }
    fake_send_fields(session->fd, AGENT_OK, &none);
}

/* Whatever is asked for is a directory. */
static void serve_stat(struct session *session)
{
    struct fake_fields fields = {.length = 0};
    const uint32_t mode = 040755;
    fake_put(&fields, AGENT_TAG_MODE, &mode, sizeof(mode));
    fake_send_fields(session->fd, AGENT_OK, &fields);
}

static void put_outcome(struct fake_fields *fields, const struct fake_program *program)
{
    fake_put_exit(fields, (int32_t)program->code);
    if (program->code == 127)
        fake_put_text(fields, AGENT_TAG_MESSAGE, "no-such: not found");
}

static void serve_program(struct session *session, const uint8_t *payload, uint32_t length)
{
    struct fake *fake = session->fake;
    struct fake_fields fields = {.length = 0};
    pthread_mutex_lock(&fake->lock);
    struct fake_program *program = program_of(fake);
    int first = !program->started;
    if (first) {
        program->started = 1;
        describe_command(payload, length, program->text, sizeof(program->text));
        if (strncmp(program->text, "no-such", 7) == 0)
            *program = (struct fake_program){.started = 1, .over = 1, .code = 127};
        else if (strncmp(program->text, "exit ", 5) == 0) {
            program->over = 1;
            program->code = (uint32_t)strtoul(program->text + 5, NULL, 10);
        }
    }
    if (program->over && (!first || program->code == 127))
        put_outcome(&fields, program);
    pthread_mutex_unlock(&fake->lock);
    fake_send_fields(session->fd, AGENT_OK, &fields);
}

/* A paused VM tells nobody. */
static void serve_watch(struct session *session)
{
    struct fake *fake = session->fake;
    struct fake_fields fields = {.length = 0};
    uint8_t taken[64];
    uint32_t length = 0;
    pthread_mutex_lock(&fake->lock);
    while (!program_of(fake)->over || fake->state != FAKE_RUNNING)
        pthread_cond_wait(&fake->changed, &fake->lock);
    put_outcome(&fields, program_of(fake));
    pthread_mutex_unlock(&fake->lock);
    fake_send_fields(session->fd, AGENT_EXIT, &fields);
    int type = fake_read_frame(session->fd, taken, &length);
    char *stays = fake_order("stays", NULL);
    if (type == AGENT_TAKEN && !stays)
        _exit(0);
    free(stays);
}

static void serve_request(struct session *session)
{
    struct fake_fields fields = {.length = 0};
    uint32_t length = 0;
    uint8_t *payload = malloc(AGENT_FRAME_LIMIT);
    int type = fake_read_frame(session->fd, payload, &length);
    if (type == AGENT_HELLO)
        describe(session->fake, &fields);
    if (type == AGENT_HELLO || type == AGENT_SYNC || type == AGENT_POWEROFF)
        fake_send_fields(session->fd, AGENT_OK, &fields);
    if (type == AGENT_POWEROFF)
        _exit(0);
    if (type == AGENT_STAT)
        serve_stat(session);
    if (type == AGENT_EXEC)
        serve_exec(session, payload, length);
    if (type == AGENT_RESTORED)
        serve_restored(session, payload, length);
    if (type == AGENT_PROGRAM)
        serve_program(session, payload, length);
    if (type == AGENT_WATCH)
        serve_watch(session);
    free(payload);
}

/* A paused VM answers nobody. */
static void wait_running(struct fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    while (fake->state != FAKE_RUNNING)
        pthread_cond_wait(&fake->changed, &fake->lock);
    pthread_mutex_unlock(&fake->lock);
}

static void *session_run(void *context)
{
    struct session *session = context;
    char line[33] = "";
    size_t length = 0;
    while (length < sizeof(line) - 1 && read(session->fd, line + length, 1) == 1 &&
           line[length] != '\n')
        length++;
    char *silent = fake_order("no-agent", NULL);
    unsigned long port = strncmp(line, "CONNECT ", 8) == 0 ? strtoul(line + 8, NULL, 10) : 0;
    if (!silent && port == FAKE_AGENT_PORT) {
        wait_running(session->fake);
        if (fake_print(session->fd, "OK 1073741824\n") > 0)
            serve_request(session);
    }
    free(silent);
    close(session->fd);
    free(session);
    return NULL;
}

static void *accept_run(void *context)
{
    struct fake *fake = context;
    for (;;) {
        int fd = accept(fake->vsock_fd, NULL, NULL);
        struct session *session = fd < 0 ? NULL : malloc(sizeof(*session));
        if (!session)
            return NULL;
        *session = (struct session){.fake = fake, .fd = fd};
        fake_thread(session_run, session);
    }
}

int fake_vsock_listen(struct fake *fake, const char *path, char *fault, size_t size)
{
    fake->vsock_fd = path ? fake_unix_socket(path, 1) : -1;
    if (fake->vsock_fd < 0) {
        snprintf(fault, size, "bind vsock socket %s: %s", path ? path : "nothing", strerror(errno));
        return -1;
    }
    fake_thread(accept_run, fake);
    return 0;
}

/* As the guest's agent does once it listens: tells the host, if the host listens. */
static void *ready_run(void *context)
{
    struct fake *fake = context;
    struct fake_fields fields = {.length = 0};
    char path[128];
    pthread_mutex_lock(&fake->lock);
    json_t *vsock = json_object_get(fake->config, "/vsock");
    const char *uds = json_string_value(json_object_get(vsock, "uds_path"));
    snprintf(path, sizeof(path), "%s_%u", uds ? uds : "", FAKE_READY_PORT);
    describe(fake, &fields);
    pthread_mutex_unlock(&fake->lock);
    int fd = fake_unix_socket(path, 0);
    if (fd < 0)
        return NULL;
    fake_send_fields(fd, AGENT_OK, &fields);
    close(fd);
    return NULL;
}

void fake_agent_ready(struct fake *fake)
{
    char *silent = fake_order("no-agent", NULL);
    if (!silent)
        fake_thread(ready_run, fake);
    free(silent);
}
