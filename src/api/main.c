/* SPDX-License-Identifier: Apache-2.0 */
/* tined: the daemon. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "api/doors.h"
#include "api/locate.h"
#include "api/options.h"
#include "api/service.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "instance/instance.h"

#define EXIT_USAGE     2
#define STOP_POLL_MS   20
#define SWEEP_MS       1000
#define STREAM_GRACE_S 5

/* Every VM and every client costs descriptors. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning("open file limit stays as it is: %s", strerror(errno));
}

/* SIGTERM and SIGINT come through a descriptor. Called before any thread exists, so that none of
 * them takes the signals. */
static int signals_open(struct error *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    return fd < 0 ? error_errno(err, errno, NULL, "signalfd") : fd;
}

static bool signal_wait(int signal_fd, int timeout_ms)
{
    struct pollfd fd = {.fd = signal_fd, .events = POLLIN};
    struct signalfd_siginfo info;
    return poll(&fd, 1, timeout_ms) > 0 && read(signal_fd, &info, sizeof(info)) > 0;
}

/* The next start puts right what was half done, as it would after a crash. */
static _Noreturn void cut_off(const char *why)
{
    log_warning("%s: operations are cut off", why);
    _exit(EXIT_FAILURE);
}

/* Operations under way are finished, unless they take too long or a second signal comes. */
static void stop_gracefully(struct server *server, const struct listen_claim *claim, int signal_fd,
                            unsigned timeout_ms)
{
    log_info("stopping: operations under way are finished first, VMs go on");
    listen_release(claim);
    server_refuse(server);
    uint64_t deadline = time_after_ms(timeout_ms);
    uint64_t streams_end = time_after_ms(STREAM_GRACE_S * 1000);
    while (host_quiesce(server->host) || atomic_load(&server->active) > 0 ||
           (atomic_load(&server->streams) > 0 && time_monotonic_ns() < streams_end)) {
        if (signal_wait(signal_fd, STOP_POLL_MS))
            cut_off("second signal");
        if (time_monotonic_ns() >= deadline)
            cut_off("the time to stop is over");
    }
    server_stop(server);
}

static int serve(const struct tined_options *options, struct host *host, int signal_fd,
                 struct error *err)
{
    struct listen_claim claim;
    struct server server = {
        .host = host,
        .data_dir = options->data_dir,
        .images = host_images(host),
        .request_timeout_s = options->request_timeout_s,
        .max_connections = options->max_connections,
        .token_secret = &options->token_secret,
    };
    int r = doors_open(&claim, &server, options, err);
    if (r < 0)
        return r;
    service_notify("READY=1");
    while (!signal_wait(signal_fd, SWEEP_MS))
        server_sweep(&server);
    service_notify("STOPPING=1");
    stop_gracefully(&server, &claim, signal_fd, options->stop_timeout_ms);
    return 0;
}

static int run(const struct tined_options *options, struct error *err)
{
    _cleanup_(free) char *vmm = options->vmm ? strdup(options->vmm) : locate_vmm();
    _cleanup_(free) char *pager =
        options->pager.binary ? strdup(options->pager.binary) : locate_pager();
    _cleanup_(free) char *kit = options->kit ? strdup(options->kit) : locate_kit();
    if (!kit)
        log_warning("no guest kit found (--kit): instances need a kernel of their own");
    raise_descriptor_limit();
    _cleanup_(close) int signal_fd = signals_open(err);
    if (signal_fd < 0)
        return signal_fd;
    struct host_options host_options = {
        .data_dir = options->data_dir,
        .vmm_binary = vmm,
        .kit_dir = kit,
        .agent_timeout_ms = options->agent_timeout_ms,
        .firecracker = {.binary = options->firecracker,
                        .jailer = options->firecracker_jailer,
                        .uid = options->firecracker_user.uid,
                        .gid = options->firecracker_user.gid},
        .compression = options->compression.given ? &options->compression.how : NULL,
        .pager = options->pager,
        .standby_memory = options->standby_memory,
        .compaction = options->compaction,
        .warm = options->warm,
    };
    host_options.pager.binary = pager;
    struct host *host = host_open(&host_options, err);
    if (!host)
        return -err->errnum;
    int r = serve(options, host, signal_fd, err);
    host_close(host);
    return r;
}

static int start(struct tined_options *options, int argc, char **argv)
{
    struct error err = {0};
    if (tined_options_parse(options, argc, argv, &err) < 0) {
        fprintf(stderr, "tined: %s; see tined --help\n", err.message);
        return EXIT_USAGE;
    }
    if (options->help || options->version) {
        if (options->help)
            tined_options_help();
        else
            printf("tined %s\n", TINE_VERSION);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    log_configure("tined", options->log_level, STDERR_FILENO);
    log_set_format(options->log_format);
    if (run(options, &err) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "tined: %s\n", err.message);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct tined_options options;
    int status = start(&options, argc, argv);
    tined_options_release(&options);
    return status;
}
