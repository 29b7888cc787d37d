/* SPDX-License-Identifier: Apache-2.0 */
/* Are the other parts of the installation there? */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/locate.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/doctor.h"
#include "cli/http.h"
#include "cli/instance_view.h"

#define VERSION_MS   5000
#define VERSION_SIZE 128

/* The first line that the program prints, up to the limit or the end of the time. */
static void output_read(int fd, char *text, size_t size)
{
    uint64_t deadline = time_monotonic_ns() + VERSION_MS * 1000000ull;
    size_t length = 0;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    text[0] = '\0';
    while (length + 1 < size && !strchr(text, '\n') && time_monotonic_ns() < deadline &&
           poll(&poll_fd, 1, 100) >= 0) {
        if (!poll_fd.revents)
            continue;
        ssize_t n = read(fd, text + length, size - 1 - length);
        if (n <= 0)
            break;
        length += (size_t)n;
        text[length] = '\0';
    }
    text[strcspn(text, "\n")] = '\0';
}

/* The first line of `path --version`; 0, or negative if the program does not run. */
static int program_version(const char *path, char *text, size_t size)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    _cleanup_(close) int output = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    pid_t pid;
    char *argv[] = {(char *)path, (char *)"--version", NULL};
    int r = posix_spawn(&pid, path, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (r != 0)
        return -r;
    output_read(output, text, size);
    kill(pid, SIGKILL); /* it has said what it had to say, or never will */
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return *text ? 0 : -ENODATA;
}

static void check_program(const char *name, const char *path, enum finding_level level,
                          const char *consequence, struct findings *findings)
{
    char version[VERSION_SIZE];
    int r = program_version(path, version, sizeof(version));
    if (r == 0)
        finding_add(findings, name, FINDING_OK, "%s: %s", path, version);
    else
        finding_add(findings, name, level, "%s: %s%s", path,
                    r == -ENODATA ? "does not tell its version" : strerror(-r), consequence);
}

void check_vmm(const struct cli *cli, const struct doctor_options *options,
               struct findings *findings)
{
    _cleanup_(free) char *path = options->vmm ? strdup(options->vmm) : locate_vmm();
    if (path)
        check_program("tine-vmm", path, FINDING_FAIL, "", findings);
}

void check_pager(const struct cli *cli, const struct doctor_options *options,
                 struct findings *findings)
{
    _cleanup_(free) char *path = options->pager ? strdup(options->pager) : locate_pager();
    if (path)
        check_program("tine-pager", path, FINDING_WARN, ": no restore through a pager", findings);
}

void check_kit(const struct cli *cli, const struct doctor_options *options,
               struct findings *findings)
{
    static const char *const files[] = {"vmlinux", "initrd.img"};
    _cleanup_(free) char *kit = options->kit ? strdup(options->kit) : locate_kit();
    if (!kit) {
        finding_add(findings, "guest kit", FINDING_WARN,
                    "not found: instances need a kernel of their own");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_(free) char *path = NULL;
        struct stat st;
        if (asprintf(&path, "%s/%s", kit, files[i]) < 0)
            path = NULL;
        if (path && stat(path, &st) == 0 && st.st_size > 0)
            continue;
        finding_add(findings, "guest kit", FINDING_WARN, "%s/%s: %s", kit, files[i],
                    path ? strerror(errno) : "out of memory");
        return;
    }
    finding_add(findings, "guest kit", FINDING_OK, "%s", kit);
}

void check_tined(const struct cli *cli, const struct doctor_options *options,
                 struct findings *findings)
{
    struct failure failure = {0};
    _cleanup_(json) json_t *health = http_get(cli, NULL, "/health", &failure);
    const char *version = json_string_value(view_inner(health, "tine", "version"));
    if (health)
        finding_add(findings, "tined", FINDING_OK, "version %s answers on %s",
                    version ? version : "unknown", cli_where(cli));
    else
        finding_add(findings, "tined", FINDING_WARN, "%s", failure.message);
}
