/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define QUIET_NS 1000000000u

void progress_begin(struct progress *progress, const char *label, size_t total)
{
    *progress = (struct progress){
        .label = label,
        .total = total,
        .started_ns = time_monotonic_ns(),
        .terminal = label && isatty(STDERR_FILENO),
    };
}

void progress_tick(struct progress *progress)
{
    uint64_t elapsed_ns = time_monotonic_ns() - progress->started_ns;
    if (!progress->terminal || elapsed_ns < QUIET_NS)
        return;
    progress->shown = true;
    fprintf(stderr, "\r\033[K%c %s", "|/-\\"[progress->frame++ % 4], progress -> label);
    if (progress->total > 1)
        fprintf(stderr, ": %zu of %zu", progress->done, progress->total);
    fprintf(stderr, " (%llu s)", (unsigned long long)(elapsed_ns / 1000000000u));
    fflush(stderr);
}

void progress_clear(struct progress *progress)
{
    if (!progress->shown)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->shown = false;
}
