/* SPDX-License-Identifier: Apache-2.0 */
#include "base/relative_path.h"

#include <limits.h>
#include <string.h>

static bool component_valid(const char *name, size_t length)
{
    bool dots = (length == 1 && name[0] == '.') || (length == 2 && memcmp(name, "..", 2) == 0);
    return length > 0 && length <= NAME_MAX && !dots;
}

bool relative_path_valid(const char *path)
{
    if (strlen(path) >= PATH_MAX)
        return false;
    for (;;) {
        size_t length = strcspn(path, "/");
        if (!component_valid(path, length))
            return false;
        if (path[length] == '\0')
            return true;
        path += length + 1;
    }
}
