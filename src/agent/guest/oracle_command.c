/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/guest/oracle.h"
#include "agent/stream.h"
#include "base/cleanup.h"

/* `poke` is left out on purpose: it is for the oracle's own tests. */
static const char usage[] = "usage: oracle [--socket PATH] fill MIB SEED\n"
                            "       oracle [--socket PATH] check SEED\n";

static const struct {
    const char *name;
    enum oracle_operation operation;
    int numbers;
} commands[] = {
    {"fill", ORACLE_FILL, 2},
    {"check", ORACLE_CHECK, 1},
    {"poke", ORACLE_POKE, 1},
};

static int number_parse(const char *text, uint64_t *number)
{
    char *end = NULL;
    errno = 0;
    *number = strtoull(text, &end, 0);
    /* strtoull would take a sign, and leading blanks. */
    return isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0 ? 0 : -EINVAL;
}

static int request_parse(struct oracle_request *request, int argc, char **argv)
{
    for (size_t i = 0; argc > 0 && i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i].name, argv[0]) != 0 || argc != 1 + commands[i].numbers)
            continue;
        request->operation = commands[i].operation;
        for (int n = 0; n < commands[i].numbers; n++) {
            if (number_parse(argv[1 + n], &request->numbers[n]) < 0)
                return -EINVAL;
        }
        return 0;
    }
    return -EINVAL;
}

static int keeper_ask(const char *path, struct oracle_request *request,
                      struct oracle_answer *answer, struct error *err)
{
    _cleanup_(close) int fd = oracle_connect(path, err);
    if (fd < 0)
        return fd;
    struct iovec parts[2] = {{.iov_base = request, .iov_len = sizeof(*request)}};
    size_t done = 0;
    int r = stream_write(fd, parts, 0);
    if (r == 0)
        r = stream_read(fd, answer, sizeof(*answer), 0, &done);
    if (r == 0 && done != sizeof(*answer))
        r = -EPIPE;
    if (r < 0)
        return error_errno(err, -r, NULL, "no answer from the oracle's keeper");
    answer->text[sizeof(answer->text) - 1] = '\0';
    return 0;
}

int oracle_command(int argc, char **argv)
{
    const char *path = NULL;
    struct oracle_request request = {0};
    struct oracle_answer answer = {0};
    struct error err = {0};
    if (argc >= 2 && strcmp(argv[0], "--socket") == 0) {
        path = argv[1];
        argc -= 2;
        argv += 2;
    }
    if (request_parse(&request, argc, argv) < 0) {
        fputs(usage, stderr);
        return ORACLE_FAILED;
    }
    if (keeper_ask(path, &request, &answer, &err) < 0) {
        fprintf(stderr, "oracle: %s\n", err.message);
        return ORACLE_FAILED;
    }
    if (answer.status == ORACLE_FAILED)
        fprintf(stderr, "oracle: %s\n", answer.text);
    else
        puts(answer.text);
    /* An answer that nobody gets to see is no answer. */
    if (fflush(stdout) != 0 || answer.status > ORACLE_FAILED)
        return ORACLE_FAILED;
    return (int)answer.status;
}
