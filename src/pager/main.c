/* SPDX-License-Identifier: Apache-2.0 */
/* tine-pager: the process. SIGTERM drains, a second one ends; so does SIGINT. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "pager/api.h"
#include "pager/guard.h"
#include "pager/options.h"
#include "pager/pager.h"
#include "pager/run_directory.h"

#define MAX_CONNECTIONS 32

/* The pager of the tests that knows other ones is built with these defined. */
#ifndef STATE_NEWEST
#    define STATE_OLDEST SESSION_BLOCK_OLDEST
#    define STATE_NEWEST SESSION_BLOCK_VERSION
#endif

struct process {
    struct loop *loop;
    struct loop_source signals;
    struct pager *pager;
};

static void on_signal(struct loop_source *source, uint32_t events)
{
    struct process *process = CONTAINER_OF(source, struct process, signals);
    struct signalfd_siginfo info;
    if (read(source->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGTERM && !pager_draining(process->pager))
        pager_drain(process->pager);
    else
        loop_stop(process->loop, 0);
}

/* Before the first thread, which inherits the mask. */
static int signals_begin(struct process *process, struct error *err)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    process->signals.ready = on_signal;
    process->signals.fd = -1;
    if (sigprocmask(SIG_BLOCK, &wanted, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return error_errno(err, errno, NULL, "set signal handlers");
    process->signals.fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (process->signals.fd < 0)
        return error_errno(err, errno, NULL, "wait for signals");
    int r = guard_install(err);
    return r < 0 ? r : loop_add(process->loop, &process->signals, EPOLLIN, err);
}

static int serve_on(struct process *process, const char *socket, struct error *err)
{
    const struct http_server_config config = {
        .path = socket,
        .name = "tine-pager",
        .body_limit = API_BODY_LIMIT,
        .max_connections = MAX_CONNECTIONS,
        .descriptors = true,
        .handle = api_handle,
        .context = process->pager,
    };
    struct http_server *server = http_server_create(&config, process->loop, err);
    if (!server)
        return -err->errnum;
    log_info("version %s, %u threads, listening on %s", pager_version(process->pager),
             pager_threads(process->pager), socket);
    int status = loop_run(process->loop);
    http_server_destroy(server);
    log_info("ended");
    return status;
}

static int serve(const struct options *options, struct error *err)
{
    struct process process = {0};
    struct run_directory directory;
    int r = run_directory_open(&directory, options->run_dir, TINE_VERSION, err);
    if (r < 0)
        return r;
    process.loop = loop_create(err);
    r = process.loop ? signals_begin(&process, err) : -err->errnum;
    if (r == 0) {
        const struct pager_config config = {.version = TINE_VERSION,
                                            .versions = {STATE_OLDEST, STATE_NEWEST},
                                            .threads = options->threads,
                                            .cache_bytes = options->cache_bytes,
                                            .loop = process.loop};
        process.pager = pager_create(&config, err);
        r = process.pager ? serve_on(&process, directory.socket, err) : -err->errnum;
    }
    pager_destroy(process.pager);
    loop_destroy(process.loop);
    cleanup_close(&process.signals.fd);
    run_directory_close(&directory);
    return r;
}

int main(int argc, char **argv)
{
    struct options options;
    struct error err = {0};
    umask(0077);
    if (options_read(&options, argc, argv, &err) < 0) {
        fprintf(stderr, "tine-pager: %s\n", err.message);
        return 2;
    }
    if (options.help || options.version) {
        fputs(options.help ? options_help : "tine-pager " TINE_VERSION "\n", stdout);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    log_configure("tine-pager", options.level, STDERR_FILENO);
    log_set_format(options.format);
    int r = serve(&options, &err);
    if (r < 0)
        fprintf(stderr, "tine-pager: %s\n", err.message);
    return r == 0 ? 0 : 1;
}
