/* SPDX-License-Identifier: Apache-2.0 */
/* tine exec: run a command in a guest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/exec_client.h"
#include "cli/program.h"
#include "cli/terminal.h"
#include "cli/upgrade.h"

#define CAPTURE_LIMIT (16u << 20)

struct exec_options {
    bool interactive, tty, no_tty;
    struct option_list env;
    const char *cwd;
    int64_t timeout_ns;
};

/* Output kept for --json. */
struct capture {
    char *bytes[2];
    size_t length[2];
    bool truncated;
};

static void output_capture(void *data, bool is_stderr, const char *bytes, size_t length)
{
    struct capture *capture = data;
    size_t used = capture->length[is_stderr];
    char *grown =
        used + length <= CAPTURE_LIMIT ? realloc(capture->bytes[is_stderr], used + length) : NULL;
    if (!grown) {
        capture->truncated = true;
        return;
    }
    memcpy(grown + used, bytes, length);
    capture->bytes[is_stderr] = grown;
    capture->length[is_stderr] = used + length;
}

static void output_pass(void *data, bool is_stderr, const char *bytes, size_t length)
{
    /* Nobody reads it any more: SIGPIPE ends us then, and the command with us. */
    (void)!file_write_exact(is_stderr ? STDERR_FILENO : STDOUT_FILENO, bytes, length, "output",
                            NULL);
}

static json_t *request_json(const struct cli *cli, const struct exec_options *options, bool tty,
                            char **command, unsigned count)
{
    json_t *argv = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(argv, json_string(command[i]));
    json_t *request = json_pack("{s:o, s:b, s:o, s:I, s:{s:b}}", "command", argv, "tty", tty, "env",
                                env_json(&options->env), "timeout",
                                (json_int_t)((options->timeout_ns + 999999999) / 1000000000),
                                "tine", "streams", 1);
    unsigned rows, cols;
    if (options->cwd)
        json_object_set_new(request, "cwd", json_string(options->cwd));
    if (tty && terminal_size(&rows, &cols)) {
        json_object_set_new(request, "rows", json_integer(rows));
        json_object_set_new(request, "cols", json_integer(cols));
    }
    return request;
}

static void print_capture(struct capture *capture, int status)
{
    cli_print_json(json_pack(
        "{s:i, s:o, s:o, s:b}", "exit_code", status, "stdout",
        json_text(capture->bytes[0] ? capture->bytes[0] : "", capture->length[0]), "stderr",
        json_text(capture->bytes[1] ? capture->bytes[1] : "", capture->length[1]), "truncated",
        capture->truncated));
}

static int exec_over(const struct cli *cli, const struct exec_options *options, int fd, bool tty,
                     char **operands, unsigned count, struct failure *failure)
{
    struct capture capture = {0};
    struct terminal terminal = {0};
    _cleanup_(json) json_t *request = request_json(cli, options, tty, operands + 1, count - 1);
    struct exec_client_options client = {
        .fd = fd,
        .request = request,
        .stdin_open = options->interactive || tty,
        .tty = tty,
        .output = cli->json ? output_capture : output_pass,
        .data = &capture,
    };
    if (tty)
        terminal_raw(&terminal);
    int status = exec_client_run(&client, failure);
    terminal_restore(&terminal);
    if (status >= 0 && cli->json)
        print_capture(&capture, status);
    free(capture.bytes[0]);
    free(capture.bytes[1]);
    return status;
}

static int exec_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct exec_options *options = data;
    bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !cli->json;
    bool tty = !options->no_tty && (options->tty || terminal);
    struct failure failure = {0};
    if (count > 1 && strcmp(operands[1], "--") == 0) {
        operands[1] = operands[0];
        operands++;
        count--;
    }
    _cleanup_(free) char *path = instance_path(operands[0], "/exec");
    _cleanup_(close) int fd = path ? websocket_connect(cli, path, &failure) : -1;
    int status = fd < 0 ? -1 : exec_over(cli, options, fd, tty, operands, count, &failure);
    return status >= 0 ? status : cli_fail(cli, operands[0], &failure);
}

#define OPTION(member) offsetof(struct exec_options, member)

static const struct command_option exec_options[] = {
    {"interactive", 'i', OPTION_FLAG, OPTION(interactive), NULL,
     "hand standard input on (always with a terminal)"},
    {"tty", 't', OPTION_FLAG, OPTION(tty), NULL,
     "give the command a terminal (default: if ours is one)"},
    {"no-tty", 'T', OPTION_FLAG, OPTION(no_tty), NULL, "give it none"},
    {"env", 'e', OPTION_LIST, OPTION(env), "NAME[=VALUE]", "set a variable; may be repeated"},
    {"workdir", 'w', OPTION_TEXT, OPTION(cwd), "DIR", "run it there (default /)"},
    {"timeout", 0, OPTION_DURATION, OPTION(timeout_ns), "TIME", "kill it after that long"},
};

const struct command exec_command = {
    .name = "exec",
    .operands = "NAME [COMMAND [ARGUMENT...]]",
    .summary = "Run a command in a guest",
    .details =
        "Without a command: /bin/sh. Ends with the command's exit status: 128 + N if signal\n"
        "N killed it, 124 if its time was over, 127 if it could not be started. SIGINT,\n"
        "SIGTERM and the like are handed on to it; the third ends tine exec itself.\n"
        "Options stand in front of NAME. With --json the output is collected into an\n"
        "object: exit_code, stdout, stderr.\n",
    .examples = "  tine exec web uname -a\n"
                "  tine exec web\n"
                "  tar c . | tine exec -i web tar x -C /srv\n"
                "  tine exec -e LANG=C -w /tmp --timeout 10s web sh -c 'ls; date'\n",
    .options = exec_options,
    .option_count = ARRAY_SIZE(exec_options),
    .options_size = sizeof(struct exec_options),
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .options_end = true,
    .run = exec_run,
};
