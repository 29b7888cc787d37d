/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* xterm's control sequences, which terminals have in common: alternate screen, cursor, wrapping of
 * long lines. */
#define TAKE "\033[?1049h\033[?25l\033[?7l"
#define GIVE "\033[?7h\033[?25h\033[?1049l"
#define HOME "\033[H\033[J"

/* Signal handlers have to give the terminal back, and nothing can be handed to them. */
static struct {
    volatile sig_atomic_t taken, resized;
    bool keys;       /* standard input is a terminal, too */
    bool keys_ended; /* and nothing comes from it any more */
    struct termios before, during;
    sigset_t waiting; /* signals let in only while we wait, so that none is missed */
} screen;

/* What is called below from handlers is async-signal-safe (signal-safety(7)). */
static void put(const char *text, size_t length)
{
    /* A terminal that is gone needs nothing. */
    if (write(STDOUT_FILENO, text, length) < 0)
        return;
}

static void take(void)
{
    if (screen.keys)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &screen.during);
    put(TAKE, strlen(TAKE));
    screen.taken = 1;
}

static void give(void)
{
    if (!screen.taken)
        return;
    screen.taken = 0;
    put(GIVE, strlen(GIVE));
    if (screen.keys)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &screen.before);
}

static void on_end(int number)
{
    give();
    /* The handler was reset as it was called: this time it ends the program. */
    raise(number);
}

static void on_stop(int number)
{
    int saved = errno;
    give();
    raise(SIGSTOP);
    take();
    screen.resized = 1;
    errno = saved;
}

static void on_resize(int number)
{
    screen.resized = 1;
}

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static bool is_capable(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

bool screen_begin(void)
{
    static const int ends[] = {SIGINT,  SIGTERM, SIGHUP, SIGQUIT, SIGPIPE,
                               SIGABRT, SIGSEGV, SIGBUS, SIGFPE,  SIGILL};
    if (!is_capable())
        return false;
    screen.keys = tcgetattr(STDIN_FILENO, &screen.before) == 0;
    screen.during = screen.before;
    screen.during.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    screen.during.c_cc[VMIN] = 1;
    screen.during.c_cc[VTIME] = 0;
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
        handle(ends[i], on_end, (int)(SA_RESETHAND | SA_NODEFER));
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGTSTP);
    sigaddset(&held, SIGWINCH);
    sigprocmask(SIG_BLOCK, &held, &screen.waiting);
    handle(SIGTSTP, on_stop, 0);
    handle(SIGWINCH, on_resize, 0);
    setvbuf(stdout, NULL, _IOFBF, BUFSIZ); /* a picture appears at once */
    take();
    return true;
}

void screen_end(void)
{
    fflush(stdout);
    give();
}

void screen_draw_begin(void)
{
    screen.resized = 0;
    fputs(HOME, stdout);
}

void screen_draw_end(void)
{
    fflush(stdout);
}

int screen_wait_key(int timeout_ms)
{
    uint64_t deadline = time_after_ms((unsigned)timeout_ms);
    while (!screen.resized) {
        uint64_t now = time_monotonic_ns();
        uint64_t left = now < deadline ? deadline - now : 0;
        const struct timespec timeout = {.tv_sec = (time_t)(left / 1000000000u),
                                         .tv_nsec = (long)(left % 1000000000u)};
        bool listen = screen.keys && !screen.keys_ended;
        struct pollfd input = {.fd = listen ? STDIN_FILENO : -1, .events = POLLIN};
        unsigned char key;
        int r = ppoll(&input, 1, &timeout, &screen.waiting);
        if (r == 0)
            return 0;
        if (r > 0 && read(STDIN_FILENO, &key, 1) == 1)
            return key;
        if (r > 0)
            screen.keys_ended = true;
    }
    return -1;
}
