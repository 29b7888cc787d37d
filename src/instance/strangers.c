/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/strangers.h"

#include <dirent.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

static bool is_known(const struct known_rows *known, const char *name)
{
    const char *row = known->rows;
    for (size_t i = 0; i < known->count; i++, row += known->size) {
        if (strcmp(row + known->id, name) == 0)
            return true;
    }
    return false;
}

int strangers_warn(int dirfd, const char *path, const char *thing, const struct known_rows *known,
                   struct error *err)
{
    _cleanup_(closedir) DIR *dir = NULL;
    const char *name;
    int r = dir_stream(dirfd, path, &dir, err);
    if (r < 0)
        return r;
    while ((r = dir_next(dir, path, &name, err)) > 0) {
        if (name[0] != '.' && !is_known(known, name))
            log_warning("%s/%s belongs to no %s; it is left alone", path, name, thing);
    }
    return r;
}
