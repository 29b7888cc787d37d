/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"

#include <errno.h>

void cleanup_close(const int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd); /* nothing to do about a failing close of what is given up */
        errno = saved;
    }
}

void cleanup_fclose(FILE **stream)
{
    if (*stream)
        fclose(*stream);
}

void cleanup_closedir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

void cleanup_unlink(char **path)
{
    if (!*path)
        return;
    int saved = errno;
    unlink(*path);
    errno = saved;
    free(*path);
}
