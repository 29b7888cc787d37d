/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest/arrivals.h"
#include "agent/guest/console.h"
#include "agent/guest/listener.h"
#include "agent/guest/machine.h"
#include "agent/guest/oracle.h"
#include "agent/guest/program.h"
#include "agent/guest/session.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define LISTEN_AGAIN_MS      5000
#define ACCEPT_PAUSE_MS      20 /* after a failure: one that stays must not become a busy loop */
#define ACCEPT_FAILURE_LIMIT 50 /* in a row: then the listener is made anew */
#define KEEPER_AGAIN_MS      1000

struct server {
    const struct server_options *options;
    pid_t pid;
    int listener, signals;
    struct arrivals arrivals;
    unsigned accept_failures;
    bool complained; /* about not being able to listen */
    bool stopping;
    struct program *program; /* NULL: no memory for one */
    pid_t keeper;
    uint64_t keeper_started_ns;
};

/* In a child: what the parent's role brought along is given up. */
static void child_begin(struct server *server, const char *name)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    cleanup_close(&server->listener);
    cleanup_close(&server->signals);
    arrivals_drop(&server->arrivals);
    prctl(PR_SET_NAME, name);
    if (server->options->machine)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* a server that can die takes its children along */
    if (getppid() != server->pid)     /* it was quicker */
        _exit(1);
}

static void keeper_start(struct server *server)
{
    server->keeper_started_ns = time_monotonic_ns();
    server->keeper = fork();
    if (server->keeper == 0) {
        child_begin(server, "tine-oracle");
        _exit(oracle_keep(server->options->oracle_path));
    }
    if (server->keeper < 0)
        console_say("oracle: fork: %s", strerror(errno));
}

/* A keeper that dies at once is not restarted in a loop. */
static void keeper_check(struct server *server)
{
    if (!server->options->keeper || server->keeper > 0)
        return;
    if (server->keeper_started_ns == 0 ||
        time_monotonic_ns() - server->keeper_started_ns > KEEPER_AGAIN_MS * 1000000ull)
        keeper_start(server);
}

static void listener_check(struct server *server)
{
    if (server->listener >= 0)
        return;
    struct error err = {0};
    server->listener = listener_open(server->options->unix_path, &err);
    if (server->listener < 0 && !server->complained)
        console_say("not reachable: %s", err.message);
    server->complained = server->listener < 0;
}

/* In a process of its own: the host may be slow to answer, or not listen at all. */
static void report_ready(struct server *server)
{
    if (server->listener < 0 || fork() != 0)
        return;
    child_begin(server, "tine-ready");
    struct error err = {0};
    int fd = listener_connect_host(&err);
    if (fd >= 0)
        session_report_ready(fd);
    else
        console_say("nobody waits for us: %s", err.message);
    _exit(0);
}

static void accept_failed(struct server *server, int errnum)
{
    if (errnum == EAGAIN || errnum == EINTR)
        return;
    server->accept_failures++;
    if (server->accept_failures == 1)
        console_say("accept: %s", strerror(errnum));
    if (server->accept_failures >= ACCEPT_FAILURE_LIMIT && server->options->machine) {
        close(TAKE_FD(server->listener));
        server->accept_failures = 0;
    }
    time_sleep_ms(ACCEPT_PAUSE_MS);
}

/* Takes `fd` over. */
static void session_start(struct server *server, int fd)
{
    pid_t pid = fork();
    if (pid == 0) {
        child_begin(server, "tine-session");
        session_run(fd, server->options->machine, server->program);
        _exit(0);
    }
    if (pid < 0)
        console_say("fork: %s", strerror(errno));
    close(fd);
}

static void serve_listener(struct server *server)
{
    int fd = listener_accept(server->listener);
    if (fd < 0) {
        accept_failed(server, -fd);
        return;
    }
    server->accept_failures = 0;
    if (!arrivals_add(&server->arrivals, fd))
        session_start(server, fd);
}

/* What init's signals mean: the kernel sends SIGINT for Ctrl-Alt-Del, busybox's poweroff, halt and
 * reboot send the others. */
static void machine_signal(struct server *server, uint32_t number)
{
    static const struct {
        uint32_t number;
        int command;
    } meanings[] = {
        {SIGINT, RB_AUTOBOOT},
        {SIGTERM, RB_AUTOBOOT},
        {SIGUSR1, RB_POWER_OFF},
        {SIGUSR2, RB_POWER_OFF},
    };
    for (size_t i = 0; i < ARRAY_SIZE(meanings); i++) {
        if (meanings[i].number != number || fork() != 0)
            continue;
        child_begin(server, "tine-end");
        machine_end(meanings[i].command);
        _exit(0);
    }
}

static void reap(struct server *server)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        if (pid == server->keeper) {
            server->keeper = 0;
            if (!server->stopping)
                console_say("oracle: the keeper ended, what it kept is lost");
        }
    }
}

static void serve_signals(struct server *server)
{
    struct signalfd_siginfo info;
    while (read(server->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        if (server->options->machine)
            machine_signal(server, info.ssi_signo);
        else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            server->stopping = true;
    }
    reap(server);
}

static int signals_open(void)
{
    static const int numbers[] = {SIGCHLD, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    sigset_t wanted;
    sigemptyset(&wanted);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        sigaddset(&wanted, numbers[i]);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an errno */
    return signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
}

enum { SLOT_SIGNALS, SLOT_LISTENER, SLOT_ARRIVALS, SLOTS = SLOT_ARRIVALS + ARRIVALS_LIMIT };

static int poll_timeout(const struct server *server, int arrivals_ms)
{
    bool incomplete = server->listener < 0 || (server->options->keeper && server->keeper <= 0);
    if (!incomplete || (arrivals_ms >= 0 && arrivals_ms < LISTEN_AGAIN_MS))
        return arrivals_ms;
    return LISTEN_AGAIN_MS;
}

static void server_step(struct server *server)
{
    keeper_check(server);
    listener_check(server);
    struct pollfd fds[SLOTS] = {
        [SLOT_SIGNALS] = {.fd = server->signals, .events = POLLIN},
        [SLOT_LISTENER] = {.fd = server->listener, .events = POLLIN},
    };
    int timeout = poll_timeout(server, arrivals_poll(&server->arrivals, &fds[SLOT_ARRIVALS]));
    if (poll(fds, SLOT_ARRIVALS + server->arrivals.count, timeout) < 0) {
        if (errno != EINTR)
            time_sleep_ms(ACCEPT_PAUSE_MS);
        return;
    }
    if (fds[SLOT_SIGNALS].revents)
        serve_signals(server);
    int fd;
    while ((fd = arrivals_serve(&server->arrivals, &fds[SLOT_ARRIVALS],
                                server->options->machine)) >= 0)
        session_start(server, fd);
    if (fds[SLOT_LISTENER].revents)
        serve_listener(server);
}

int server_run(const struct server_options *options)
{
    struct server server = {.options = options,
                            .pid = getpid(),
                            .listener = -1,
                            .signals = signals_open(),
                            .program = program_new()};
    keeper_check(&server);
    listener_check(&server);
    if (!options->machine && (server.listener < 0 || server.signals < 0))
        return 1;
    console_ready();
    if (options->machine)
        report_ready(&server);
    while (!server.stopping)
        server_step(&server);
    return 0;
}
