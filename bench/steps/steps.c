/* SPDX-License-Identifier: Apache-2.0 */
/* bench-steps SOCKET FIRST COUNT STEP...: COUNT clients of tined at once, numbered from FIRST on;
 * each goes through the steps, one after the other:
 *
 *   "POST PATH [BODY]"      a request; BODY is JSON without blanks
 *   "EXEC NAME WORD..."     a command in a guest, which must end with 0
 *
 * A "%" in a step is the client's number. Each prints a line of JSON at its end: "number"; "at_ms",
 * for each step when it was done, since the first began; "said", the last command's output;
 * "error", null if all went well. They are processes that wait for each other before they begin,
 * and each has made a request by then: unlike `tine`, no program has to be started within what is
 * measured, and no library begins its work. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/exec_client.h"
#include "cli/http.h"
#include "cli/upgrade.h"

#define CLIENTS_MAX 10000
#define SAID_MAX    256

struct client {
    struct cli cli;
    unsigned number;
    char said[SAID_MAX];
    struct failure failure;
};

static void die(const char *what)
{
    fprintf(stderr, "bench-steps: %s: %s\n", what, strerror(errno));
    exit(1);
}

static char *with_number(const char *step, unsigned number)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        die("a step");
    for (const char *at = step; *at; at++) {
        if (*at == '%')
            fprintf(stream, "%u", number);
        else
            fputc(*at, stream);
    }
    fclose(stream);
    return text;
}

static int post(struct client *client, char *words)
{
    char *rest = NULL;
    const char *path = strtok_r(words, " ", &rest);
    const char *text = strtok_r(NULL, " ", &rest);
    json_t *body = text ? json_loads(text, 0, NULL) : NULL;
    if (!path || (text && !body))
        return failure_set(&client->failure, CLI_USAGE, "usage", "a POST has a path, then JSON");
    _cleanup_(json) json_t *reply = http_post(&client->cli, NULL, path, body, &client->failure);
    return reply ? 0 : client->failure.exit_status;
}

static void keep(void *data, bool is_stderr, const char *bytes, size_t length)
{
    struct client *client = data;
    size_t used = strlen(client->said);
    (void)is_stderr;
    if (length < sizeof(client->said) - used)
        memcpy(client->said + used, bytes, length);
}

static int exec(struct client *client, char *words)
{
    char *rest = NULL;
    _cleanup_(json) json_t *argv = json_array();
    const char *name = strtok_r(words, " ", &rest);
    const char *word;
    while ((word = strtok_r(NULL, " ", &rest)))
        json_array_append_new(argv, json_string(word));
    _cleanup_(json) json_t *request =
        json_pack("{s:O, s:b, s:{s:b}}", "command", argv, "tty", 0, "tine", "streams", 1);
    _cleanup_(free) char *path = name ? instance_path(name, "/exec") : NULL;
    _cleanup_(close) int fd = path ? websocket_connect(&client->cli, path, &client->failure) : -1;
    if (fd < 0)
        return -1;
    memset(client->said, 0, sizeof(client->said));
    const struct exec_client_options options = {
        .fd = fd, .request = request, .output = keep, .data = client};
    int status = exec_client_run(&options, &client->failure);
    return status <= 0 ? status
                       : failure_set(&client->failure, status, "failed", "ended with %d: %.200s",
                                     status, client->said);
}

static const struct {
    const char *word;
    int (*run)(struct client *client, char *words);
} kinds[] = {{"POST ", post}, {"EXEC ", exec}};

static int step_run(struct client *client, const char *step)
{
    _cleanup_(free) char *text = with_number(step, client->number);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        size_t length = strlen(kinds[i].word);
        if (strncmp(text, kinds[i].word, length) == 0)
            return kinds[i].run(client, text + length);
    }
    return failure_set(&client->failure, CLI_USAGE, "usage", "no step '%.80s'", text);
}

/* In one write, since the others print too. */
static void print(const json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(7));
    char *ended = NULL;
    if (!text || asprintf(&ended, "%s\n", text) < 0 ||
        write(STDOUT_FILENO, ended, strlen(ended)) != (ssize_t)strlen(ended))
        die("print");
    free(ended);
    free(text);
}

static int client_run(struct client *client, char *const *steps, unsigned count)
{
    _cleanup_(json) json_t *at = json_array();
    const uint64_t begin = time_monotonic_ns();
    int r = 0;
    for (unsigned i = 0; i < count && r == 0; i++) {
        r = step_run(client, steps[i]);
        if (r == 0)
            json_array_append_new(at, json_real((double)(time_monotonic_ns() - begin) / 1e6));
    }
    _cleanup_(json) json_t *line = json_pack(
        "{s:i, s:O, s:s%, s:s?}", "number", (int)client->number, "at_ms", at, "said", client->said,
        strcspn(client->said, "\n"), "error", r == 0 ? NULL : client->failure.message);
    print(line);
    return r == 0 ? 0 : 1;
}

/* A child that may begin when the other end of `gate` is closed. */
static void client_start(const char *socket, unsigned number, const int gate[2], char *const *steps,
                         unsigned count)
{
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid > 0)
        return;
    struct client client = {.cli = {.socket = socket}, .number = number};
    char byte;
    close(gate[1]);
    json_decref(http_get(&client.cli, NULL, "/health", &client.failure));
    client.failure = (struct failure){0};
    if (read(gate[0], &byte, 1) < 0)
        die("wait for the others");
    _exit(client_run(&client, steps, count));
}

int main(int argc, char **argv)
{
    unsigned count = argc > 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    int gate[2], status, failed = 0;
    if (count < 1 || count > CLIENTS_MAX) {
        fputs("usage: bench-steps SOCKET FIRST COUNT STEP...\n", stderr);
        return 2;
    }
    if (pipe(gate) < 0)
        die("pipe");
    unsigned first = (unsigned)strtoul(argv[2], NULL, 10);
    for (unsigned i = 0; i < count; i++)
        client_start(argv[1], first + i, gate, argv + 4, (unsigned)argc - 4);
    close(gate[1]);
    while (wait(&status) > 0)
        failed += status != 0;
    return failed > 0;
}
