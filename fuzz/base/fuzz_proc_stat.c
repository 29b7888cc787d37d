/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/<pid>/stat: a process chooses its own name in it, and fields count from behind that. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/proc_stat.h"

#define REST ") S 1 2 3 4 5 6 7 8 9 10 100 200 13 14 15 16 17 18 4711 65536 23 24\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proc_stat stat;
    _cleanup_(free) char *text = strndup((const char *)data, size);
    proc_stat_parse(text, "text", &stat, NULL);

    _cleanup_(free) char *named = NULL;
    if (asprintf(&named, "17 (%s" REST, text) < 0)
        abort();
    if (proc_stat_parse(named, "named", &stat, NULL) < 0 || stat.state != 'S' ||
        stat.threads != 17 || stat.start_ticks != 4711 || stat.vms_bytes != 65536)
        abort();
    return 0;
}
