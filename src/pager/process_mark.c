/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/process_mark.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

struct process {
    char state;
    int threads;
    unsigned long long start; /* clock ticks since the boot */
};

/* proc(5): the command is in brackets and may hold anything; state is the third field, the number
 * of threads the 20th, the start the 22nd. */
static bool process_read(int pid, struct process *process)
{
    char path[64], line[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    _cleanup_(fclose) FILE *file = fopen(path, "re");
    if (!file || !fgets(line, sizeof(line), file))
        return false;
    const char *rest = strrchr(line, ')');
    return rest && sscanf(rest + 1,
                          " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d "
                          "%*s %llu",
                          &process->state, &process->threads, &process->start) == 3;
}

static uint64_t mark_of(int pid, const struct process *process)
{
    return (uint64_t)pid << 32 | (uint32_t)process->start;
}

uint64_t process_mark(void)
{
    struct process process = {0};
    (void)process_read(getpid(), &process); /* without it the pid alone has to do */
    return mark_of(getpid(), &process);
}

bool process_lives(uint64_t mark)
{
    struct process process;
    int pid = process_mark_pid(mark);
    if (!process_read(pid, &process) || mark_of(pid, &process) != mark)
        return false;
    /* A process that has ended but was not waited for is its first thread alone. */
    return (process.state != 'Z' && process.state != 'X') || process.threads > 1;
}
