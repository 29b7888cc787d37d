/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exec_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "api/websocket.h"
#include "base/cleanup.h"
#include "cli/terminal.h"

#define STDIN_BLOCK       (32u << 10)
#define QUEUE_LIMIT       (256u << 10)
#define INTERRUPTS_TO_END 3 /* a command that ignores the signal must not hold the user */

enum { POLL_SOCKET, POLL_SIGNAL, POLL_STDIN, POLL_COUNT };

struct exec_client {
    const struct exec_client_options *options;
    struct websocket *socket;
    bool stdin_open, exited;
    int exit_code;
    unsigned interrupts;
    int ended_by; /* the signal that ended us, or 0 */
};

/* Those a command should hear of; SIGWINCH becomes a resize. */
static const int forwarded[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT,
                                SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH};

static void send_json(struct exec_client *client, json_t *json)
{
    _cleanup_(free) char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text)
        websocket_send(client->socket, true, text, strlen(text));
}

static void on_message(void *data, bool text, const char *payload, size_t length)
{
    struct exec_client *client = data;
    if (!text) {
        /* The first byte says which stream it is. */
        if (length > 1)
            client->options->output(client->options->data, payload[0] == 2, payload + 1,
                                    length - 1);
        return;
    }
    _cleanup_(json) json_t *json = json_loadb(payload, length, 0, NULL);
    const json_t *code = json_object_get(json, "exitCode");
    const char *error = json_string_value(json_object_get(json, "error"));
    if (error)
        fprintf(stderr, "tine: exec: %s\n", error);
    if (!json_is_integer(code))
        return;
    client->exited = true;
    client->exit_code = (int)(json_integer_value(code) & 0xff);
}

static void forward_signal(struct exec_client *client, int signal_fd)
{
    struct signalfd_siginfo info;
    unsigned rows, cols;
    if (read(signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    int number = (int)info.ssi_signo;
    if (number == SIGWINCH) {
        if (client->options->tty && terminal_size(&rows, &cols))
            send_json(client,
                      json_pack("{s:{s:i, s:i}}", "resize", "rows", (int)rows, "cols", (int)cols));
        return;
    }
    send_json(client, json_pack("{s:i}", "signal", number));
    if ((number == SIGINT || number == SIGTERM) && ++client->interrupts == INTERRUPTS_TO_END)
        client->ended_by = number;
}

static void forward_stdin(struct exec_client *client)
{
    char block[STDIN_BLOCK];
    ssize_t n = read(STDIN_FILENO, block, sizeof(block));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0) {
        websocket_send(client->socket, false, block, (size_t)n);
        return;
    }
    client->stdin_open = false;
    send_json(client, json_pack("{s:b}", "eof", 1));
}

/* Serves the connection; 0, or negative once it is lost. */
static int serve_socket(struct exec_client *client, short revents, struct error *err)
{
    if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        int r = websocket_receive(client->socket, err);
        if (r < 0 || client->exited)
            return r;
    }
    return websocket_flush(client->socket, err);
}

static int pump(struct exec_client *client, int signal_fd, struct error *err)
{
    int r = 0;
    while (!client->exited && client->ended_by == 0 && r == 0) {
        bool room = websocket_queued(client->socket) < QUEUE_LIMIT;
        struct pollfd fds[POLL_COUNT] = {
            [POLL_SOCKET] = {client->options->fd, websocket_events(client->socket), 0},
            [POLL_SIGNAL] = {signal_fd, POLLIN, 0},
            [POLL_STDIN] = {client->stdin_open && room ? STDIN_FILENO : -1, POLLIN, 0},
        };
        if (poll(fds, POLL_COUNT, -1) < 0)
            continue;
        if (fds[POLL_SIGNAL].revents)
            forward_signal(client, signal_fd);
        if (fds[POLL_STDIN].revents)
            forward_stdin(client);
        /* Also writes what was just queued. */
        r = serve_socket(client, fds[POLL_SOCKET].revents, err);
    }
    return r;
}

static int signals_open(sigset_t *old)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
        sigaddset(&set, forwarded[i]);
    sigprocmask(SIG_BLOCK, &set, old);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static int outcome(const struct exec_client *client, const struct error *err,
                   struct failure *failure)
{
    if (client->exited)
        return client->exit_code;
    if (client->ended_by != 0)
        return 128 + client->ended_by;
    failure_set(failure, CLI_FAILED, "connection_lost",
                "the connection was lost before the command ended: %s", err->message);
    return -1;
}

int exec_client_run(const struct exec_client_options *options, struct failure *failure)
{
    struct exec_client client = {.options = options, .stdin_open = options->stdin_open};
    struct error err = {0};
    sigset_t old;
    _cleanup_(close) int signal_fd = signals_open(&old);
    client.socket = websocket_new(
        &(struct websocket_options){.fd = options->fd, .message = on_message, .data = &client},
        &err);
    if (!client.socket || signal_fd < 0) {
        websocket_free(client.socket);
        failure_set(failure, CLI_FAILED, "failed", "exec: %s", strerror(ENOMEM));
        return -1;
    }
    send_json(&client, json_incref((json_t *)options->request));
    if (!options->stdin_open)
        send_json(&client, json_pack("{s:b}", "eof", 1));
    pump(&client, signal_fd, &err);
    websocket_close(client.socket, WEBSOCKET_NORMAL);
    websocket_flush(client.socket, NULL);
    websocket_free(client.socket);
    sigprocmask(SIG_SETMASK, &old, NULL);
    return outcome(&client, &err, failure);
}
