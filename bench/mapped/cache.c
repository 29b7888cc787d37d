/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "mapped.h"

#define DROP_ATTEMPTS 100 /* pages that another CPU has just put aside stay at first */

static int file_open(const char *path, struct stat *st)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, st) < 0)
        die(path);
    return fd;
}

static uint64_t resident(int fd, const struct stat *st, const char *path)
{
    size_t pages = (size_t)st->st_size / PAGE, found = 0;
    unsigned char *map = malloc(pages);
    void *memory = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (!map || memory == MAP_FAILED || mincore(memory, (size_t)st->st_size, map) < 0)
        die(path);
    for (size_t i = 0; i < pages; i++)
        found += map[i] & 1;
    munmap(memory, (size_t)st->st_size);
    free(map);
    return found * PAGE;
}

static void drop(const char *path)
{
    struct stat st;
    _cleanup_(close) int fd = file_open(path, &st);
    if (fsync(fd) < 0)
        die(path);
    for (unsigned attempt = 0; attempt < DROP_ATTEMPTS; attempt++) {
        if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
            die(path);
        if (resident(fd, &st, path) == 0)
            return;
    }
    die("pages stay in the page cache");
}

void cache_drop(char *const *files, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        drop(files[i]);
}

uint64_t cache_used(char *const *files, unsigned count)
{
    uint64_t used = 0;
    ino_t seen[MAX_VMS];
    for (unsigned i = 0; i < count; i++) {
        struct stat st;
        _cleanup_(close) int fd = file_open(files[i], &st);
        unsigned known = 0;
        while (known < i && seen[known] != st.st_ino)
            known++;
        seen[i] = st.st_ino;
        used += known < i ? 0 : resident(fd, &st, files[i]);
    }
    return used;
}

uint64_t device_read(const char *device)
{
    char path[128];
    unsigned long long sectors = 0; /* of 512 bytes: Documentation/block/stat */
    snprintf(path, sizeof(path), "/sys/class/block/%s/stat", device);
    _cleanup_(fclose) FILE *file = fopen(path, "re");
    if (!file || fscanf(file, "%*u %*u %llu", &sectors) != 1)
        die(path);
    return sectors * 512;
}
