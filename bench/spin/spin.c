/* SPDX-License-Identifier: Apache-2.0 */
/* bench-spin RATE MIB READY RESULT, in a guest with two vCPUs: on the first a loop that reads the
 * clock and keeps the longest time between two readings, which is how long the guest stood still;
 * on the second, if RATE is not 0, a process that writes into the pages of MIB MiB of memory, one
 * word each, RATE MiB of pages a second. Makes the file READY when both are under way, and at
 * SIGTERM RESULT, a line of JSON: "gap_ms", and "write_mib_s" as it came to be.
 *
 * Both end by themselves, without a result, when they find themselves in a fork: that has another
 * host name. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE        4096u
#define MIB_PAGES   256u
#define SLICE_NS    5000000u /* of the writer: it catches up this often */
#define IDENTITY_NS 5000000u /* how often the host name is looked at */

struct shared {
    volatile uint64_t pages_written;
};

static volatile sig_atomic_t ended;

static void on_term(int number)
{
    (void)number;
    ended = 1;
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void run_on(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        die("bench-spin: sched_setaffinity");
}

static void file_make(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) < 0)
        die(path);
}

static bool is_fork(const struct utsname *born)
{
    struct utsname name;
    return uname(&name) == 0 && strcmp(name.nodename, born->nodename) != 0;
}

/* What is due by now and not written yet, but not what a stop of the guest has made overdue. */
static uint64_t due(uint64_t rate, uint64_t elapsed_ns)
{
    uint64_t limit = 4u * SLICE_NS;
    return rate * MIB_PAGES * (elapsed_ns < limit ? elapsed_ns : limit) / 1000000000u;
}

static void write_pages(uint64_t rate, uint64_t mib, struct shared *shared,
                        const struct utsname *born)
{
    const uint64_t pages = mib * MIB_PAGES;
    uint8_t *memory =
        mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("bench-spin: mmap");
    uint64_t at = 0, then = now_ns();
    while (!is_fork(born)) {
        const struct timespec slice = {.tv_nsec = SLICE_NS};
        nanosleep(&slice, NULL);
        uint64_t now = now_ns(), count = due(rate, now - then);
        then = now;
        for (uint64_t i = 0; i < count; i++, at = (at + 1) % pages)
            *(volatile uint64_t *)(memory + at * PAGE) += 1;
        shared->pages_written += count;
    }
    _exit(0);
}

/* Returns the longest gap. */
static uint64_t spin(const struct utsname *born)
{
    uint64_t longest = 0, then = now_ns(), looked = then;
    while (!ended) {
        uint64_t now = now_ns();
        if (now - then > longest)
            longest = now - then;
        then = now;
        if (now - looked < IDENTITY_NS)
            continue;
        looked = now;
        if (is_fork(born))
            _exit(0);
    }
    return longest;
}

static pid_t writer_start(uint64_t rate, uint64_t mib, struct shared *shared,
                          const struct utsname *born)
{
    pid_t pid = rate > 0 ? fork() : -1;
    if (rate > 0 && pid < 0)
        die("bench-spin: fork");
    if (pid == 0) {
        run_on(1);
        write_pages(rate, mib, shared, born);
    }
    /* Not before all its memory is there: what comes to be written later is written anew. */
    while (pid > 0 && shared->pages_written < mib * MIB_PAGES)
        usleep(1000);
    return pid;
}

int main(int argc, char **argv)
{
    struct utsname born;
    if (argc != 5 || uname(&born) < 0) {
        fputs("usage: bench-spin RATE MIB READY RESULT\n", stderr);
        return 2;
    }
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        die("bench-spin: mmap");
    signal(SIGTERM, on_term);
    pid_t writer =
        writer_start(strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10), shared, &born);
    run_on(0);
    (void)setpriority(PRIO_PROCESS, 0, -20);
    file_make(argv[3], "ready\n");
    uint64_t begin = now_ns(), before = shared->pages_written;
    uint64_t longest = spin(&born);
    double seconds = (double)(now_ns() - begin) / 1e9;
    double mib = (double)(shared->pages_written - before) / MIB_PAGES;
    if (writer > 0)
        kill(writer, SIGKILL);
    char text[128];
    snprintf(text, sizeof(text), "{\"gap_ms\": %.3f, \"write_mib_s\": %.1f}\n",
             (double)longest / 1e6, mib / seconds);
    file_make(argv[4], text);
    return 0;
}
