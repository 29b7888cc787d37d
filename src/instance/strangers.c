/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/strangers.h"

#include <dirent.h>
#include <errno.h>
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
    int r = dir_stream(dirfd, path, &dir, err);
    if (r < 0)
        return r;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return errno == 0 ? 0 : error_errno(err, errno, path, "read %s", path);
        if (entry->d_name[0] != '.' && !is_known(known, entry->d_name))
            log_warning("%s/%s belongs to no %s; it is left alone", path, entry->d_name, thing);
    }
}
