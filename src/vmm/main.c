/* SPDX-License-Identifier: Apache-2.0 */
/* tine-vmm: the process around one VM. Exit codes are Firecracker's. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/api/api.h"
#include "vmm/describe.h"
#include "vmm/options.h"
#include "vmm/state.h"
#include "vmm/vmm.h"

#define EXIT_GENERIC  1
#define EXIT_ARGUMENT 153
#define FIRST_FD_ROOM 256

/* Signals that end the process, and with which status. SIGTERM and SIGINT have handlers because the
 * first process of a pid namespace gets no default action. */
static const struct {
    int number;
    int status;
    const char *message;
} ends[] = {
    {SIGSYS, 148, "tine-vmm: bad system call\n"},
    {SIGBUS, 149, "tine-vmm: bus error: was a mapped file truncated, or can't it be read?\n"},
    {SIGILL, 157, "tine-vmm: illegal instruction\n"},
    {SIGXCPU, 154, "tine-vmm: CPU time limit reached\n"},
    {SIGHUP, 156, "tine-vmm: hangup\n"},
    {SIGTERM, 128 + SIGTERM, ""},
    {SIGINT, 128 + SIGINT, ""},
#if !defined(__SANITIZE_ADDRESS__)
    {SIGSEGV, 150, "tine-vmm: segmentation fault\n"},
#endif
};

static void end_by_signal(int number)
{
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        if (ends[i].number != number)
            continue;
        ssize_t written = write(STDERR_FILENO, ends[i].message, strlen(ends[i].message));
        (void)written; /* nobody left to tell */
        _exit(ends[i].status);
    }
    _exit(EXIT_GENERIC);
}

static int signals_set(struct error *err)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction end = {.sa_handler = end_by_signal};
    /* A closed socket and a file size limit are errors of the call (EPIPE, EFBIG), not the end.
     * Templates are children that nobody waits for. */
    if (sigaction(SIGPIPE, &ignore, NULL) < 0 || sigaction(SIGXFSZ, &ignore, NULL) < 0 ||
        sigaction(SIGCHLD, &ignore, NULL) < 0)
        return error_errno(err, errno, NULL, "set signal handlers");
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        if (sigaction(ends[i].number, &end, NULL) < 0)
            return error_errno(err, errno, NULL, "set signal handlers");
    }
    return 0;
}

/* Growing the descriptor table of a process with threads waits for an RCU grace period, tens of
 * milliseconds in the middle of a restore; with one thread it costs nothing. */
static void descriptors_make_room(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, FIRST_FD_ROOM - 1);
    cleanup_close(&fd);
}

static int log_open(const struct options *options, struct error *err)
{
    log_configure("tine-vmm", options->level, STDERR_FILENO);
    if (!options->log_path)
        return 0;
    int fd = open(options->log_path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, options->log_path, "open the log %s", options->log_path);
    log_set_fd(fd);
    return 0;
}

static int serve(const struct options *options, struct error *err)
{
    int r = log_open(options, err);
    if (r == 0)
        r = signals_set(err);
    if (r < 0)
        return r;
    struct loop *loop = loop_create(err);
    struct vmm *vmm = loop ? vmm_create(options->id, loop, err) : NULL;
    struct api *api =
        vmm ? api_create(options->api_socket, options->body_limit, loop, vmm, err) : NULL;
    if (!api)
        return -EIO;
    log_info("%s: listening on %s", options->id, options->api_socket);
    /* But for the disks nothing is torn down: the kernel does it faster, and a vCPU thread that
     * hangs in a page fault must not keep the process. */
    int status = loop_run(loop);
    vmm_end(vmm);
    _exit(status);
}

static int describe(const char *path, struct error *err)
{
    int r = snapshot_describe(path, stdout, err);
    if (r == 0 && fflush(stdout) != 0)
        r = error_errno(err, errno, NULL, "write to standard output");
    return r;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    struct options options;
    mallopt(M_ARENA_MAX, 1); /* a second arena would cost each VM its own pages */
    if (options_read(&options, argc, argv, &err) < 0) {
        fprintf(stderr, "tine-vmm: %s\n", err.message);
        return EXIT_ARGUMENT;
    }
    int r = 0;
    if (options.help) {
        fputs(options_help, stdout);
    } else if (options.version) {
        puts("tine-vmm " TINE_VERSION);
    } else if (options.snapshot_version) {
        printf("%u\n", STATE_FORMAT_VERSION);
    } else if (options.describe_snapshot) {
        r = describe(options.describe_snapshot, &err);
    } else {
        descriptors_make_room();
        r = serve(&options, &err);
    }
    if (r < 0)
        fprintf(stderr, "tine-vmm: %s\n", err.message);
    return r < 0 ? EXIT_GENERIC : 0;
}
