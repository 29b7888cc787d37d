/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc_stat.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define TEXT_SIZE 2048 /* 52 fields */

int proc_stat_parse(const char *text, const char *name, struct proc_stat *stat, struct error *err)
{
    /* The command in field 2 may hold spaces and parentheses: fields count from the last ')'. */
    const char *rest = strrchr(text, ')');
    struct proc_stat found = {0};
    uint64_t user, kernel;
    int64_t pages;
    if (!rest || sscanf(rest + 1,
                        " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
                        " %*d %*d %*d %*d %" SCNu32 " %*d %" SCNu64 " %" SCNu64 " %" SCNd64,
                        &found.state, &found.parent, &user, &kernel, &found.threads,
                        &found.start_ticks, &found.vms_bytes, &pages) != 8)
        return error_set(err, ERROR_SYSTEM, EPROTO, "%s is not as proc(5) says", name);
    found.cpu_seconds = ((double)user + (double)kernel) / (double)sysconf(_SC_CLK_TCK);
    found.rss_bytes = pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    *stat = found;
    return 0;
}

/* Not file_read_all(): a file of /proc says that its size is 0. */
int proc_stat(pid_t pid, struct proc_stat *stat, struct error *err)
{
    char path[32], text[TEXT_SIZE];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    _cleanup_(fclose) FILE *file = fopen(path, "re");
    if (!file)
        return error_errno(err, errno, path, "open %s", path);
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    if (ferror(file))
        return error_errno(err, errno, path, "read %s", path);
    text[length] = '\0';
    return proc_stat_parse(text, path, stat, err);
}
