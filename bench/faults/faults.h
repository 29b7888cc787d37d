/* SPDX-License-Identifier: Apache-2.0 */
/* One measurement: some VMs that do nothing but touch memory in a pattern, served by tine-pager or
 * by a plain handler. */
#ifndef TINE_BENCH_FAULTS_H
#define TINE_BENCH_FAULTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE          4096u
#define MAX_VMS       64
#define MAX_WAITS     (1u << 20)
#define WAIT_LEAST_NS 2000u /* a touch that took longer had to wait for its page */

/* The order of touches: page numbers. */
struct pattern {
    uint32_t *pages;
    uint32_t count;
};

/* "sequential": all of them; "random": a quarter, once each; "boot": runs of pages, three streams
 * at a time, a quarter in all; "zipf": an eighth, places near the first ones far more often. Exits
 * on a name that is unknown. */
void pattern_make(struct pattern *pattern, const char *name, uint64_t pages);

/* Makes the file of so many pages unless it is there: random data, an eighth of it holes
 * of 32 pages. */
void image_make(const char *path, uint64_t pages);

/* A handler process with a socket for every VM, "<directory>/<n>.sock". */
struct handler {
    pid_t pid;
    const char *directory; /* also the image's: "memory" */
    const char *pager;     /* the program; NULL: the plain handler */
    bool records;          /* what is touched first, in "record" in the directory */
};
void handler_start(struct handler *handler, unsigned vms);
/* Makes the sessions [first, first + vms); they share a cache key. */
void handler_expect(const struct handler *handler, unsigned first, unsigned vms);
/* Forgets a session whose VM has ended, so that its record serves the next. */
void handler_forget(const struct handler *handler, unsigned vm);
/* Ends it; seconds of CPU time that it used. */
double handler_stop(struct handler *handler);

/* The plain handler itself: a thread per VM, and for each fault one read and one copy of one page.
 */
int plain_serve(const char *directory, unsigned vms);

/* What one VM measured; in memory that the processes share. */
struct touched {
    uint64_t elapsed_ns; /* from the handshake to the last touch */
    uint32_t waits;      /* touches that had to wait */
    uint32_t wait_ns[MAX_WAITS];
};
/* Runs VMs at once to their end, each in a process of its own. Seconds of CPU time in `cpu`. */
void touch_run(const char *directory, unsigned first, unsigned vms, const struct pattern *pattern,
               uint64_t pages, struct touched *results, double *cpu);

/* Says what failed, with errno, and ends. */
__attribute__((noreturn)) void die(const char *what);

#endif
