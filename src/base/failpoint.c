/* SPDX-License-Identifier: Apache-2.0 */
#include "base/failpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static int errno_of_name(const char *name, size_t length)
{
    for (int candidate = 1; candidate < 134; candidate++) {
        const char *known = strerrorname_np(candidate);
        if (known && strlen(known) == length && strncmp(known, name, length) == 0)
            return candidate;
    }
    return EIO;
}

int failpoint(const char *name)
{
    const char *list = getenv("TINE_FAILPOINT");
    if (!list || !*list)
        return 0;
    size_t wanted = strlen(name);
    while (*list) {
        size_t length = strcspn(list, ",");
        if (length >= wanted && strncmp(list, name, wanted) == 0) {
            if (length == wanted)
                raise(SIGKILL);
            if (list[wanted] == '=')
                return -errno_of_name(list + wanted + 1, length - wanted - 1);
        }
        list += length;
        list += *list == ',';
    }
    return 0;
}
