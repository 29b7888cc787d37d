/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/process_mark.h"

#include <unistd.h>

#include "base/proc_stat.h"

static uint64_t mark_of(int pid, const struct proc_stat *process)
{
    return (uint64_t)pid << 32 | (uint32_t)process->start_ticks;
}

uint64_t process_mark(void)
{
    struct proc_stat process = {0};
    (void)proc_stat(getpid(), &process, NULL); /* without it the pid alone has to do */
    return mark_of(getpid(), &process);
}

bool process_lives(uint64_t mark)
{
    struct proc_stat process;
    int pid = process_mark_pid(mark);
    if (proc_stat(pid, &process, NULL) < 0 || mark_of(pid, &process) != mark)
        return false;
    /* A process that has ended but was not waited for is its first thread alone. */
    return (process.state != 'Z' && process.state != 'X') || process.threads > 1;
}
