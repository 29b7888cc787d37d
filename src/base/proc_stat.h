/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of a process in /proc/<pid>/stat (proc(5)). */
#ifndef TINE_BASE_PROC_STAT_H
#define TINE_BASE_PROC_STAT_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct proc_stat {
    char state;           /* field 3: 'R', 'S', ...; 'Z' is dead but not reaped, 'X' is dead */
    pid_t parent;         /* 4 */
    double cpu_seconds;   /* 14 and 15, of all its threads */
    uint32_t threads;     /* 20 */
    uint64_t start_ticks; /* 22, since the boot: with the pid it names a process of this boot */
    uint64_t vms_bytes;   /* 23 */
    uint64_t rss_bytes;   /* 24 */
};

/* The process of that pid; a zombie has one too. -ENOENT or -ESRCH when there is none. */
int proc_stat(pid_t pid, struct proc_stat *stat, struct error *err);

/* The text of such a file; `name` is for messages. -EPROTO if it is not one. */
int proc_stat_parse(const char *text, const char *name, struct proc_stat *stat, struct error *err);

#endif
