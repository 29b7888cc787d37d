/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "faults.h"

void image_make(const char *path, uint64_t pages)
{
    uint8_t data[PAGE];
    struct stat st;
    if (stat(path, &st) == 0 && (uint64_t)st.st_size == pages * PAGE)
        return;
    _cleanup_(close) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)(pages * PAGE)) < 0)
        die(path);
    for (uint64_t page = 0; page < pages; page++) {
        if (page % 256 >= 224)
            continue;
        if (getrandom(data, sizeof(data), 0) != (ssize_t)sizeof(data) ||
            pwrite(fd, data, sizeof(data), (off_t)(page * PAGE)) != (ssize_t)sizeof(data))
            die(path);
    }
}
