/* SPDX-License-Identifier: Apache-2.0 */
/* The fake guest as an oracle: it fills its memory and its writable disks with a pattern, through
 * the very mapping that it was restored with, and tells later whether they still hold it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake_vmm.h"
#include "pattern.h"

/* Of a file left to the host to sync, as the writes of a guest that does not flush. */
static int disk_fill(const char *path, uint64_t token, char *answer, size_t size)
{
    uint8_t page[PATTERN_PAGE];
    struct fake_disk disk;
    int r = fake_disk_open(&disk, path, true, answer, size);
    for (unsigned i = PATTERN_DISK_FIRST; r == 0 && i < PATTERN_DISK_END; i++) {
        pattern_make(token, i, page);
        r = fake_disk_write(&disk, page, sizeof(page), (uint64_t)i * PATTERN_PAGE);
        if (r < 0)
            snprintf(answer, size, "write %s: %s", path, strerror(errno));
    }
    fake_disk_close(&disk);
    return r;
}

static int disk_check(const char *path, uint64_t token, char *answer, size_t size)
{
    uint8_t page[PATTERN_PAGE];
    struct fake_disk disk;
    int r = fake_disk_open(&disk, path, false, answer, size);
    for (unsigned i = PATTERN_DISK_FIRST; r == 0 && i < PATTERN_DISK_END; i++) {
        if (fake_disk_read(&disk, page, sizeof(page), (uint64_t)i * PATTERN_PAGE) < 0 ||
            !pattern_holds(token, i, page))
            r = -1;
        if (r < 0)
            snprintf(answer, size, "page %u of %s is not of %llu", i, path,
                     (unsigned long long)token);
    }
    fake_disk_close(&disk);
    return r;
}

/* A guest that is paused does nothing. */
static void lock_running(struct fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    while (fake->state != FAKE_RUNNING)
        pthread_cond_wait(&fake->changed, &fake->lock);
}

int fake_fill(struct fake *fake, uint64_t token, char *answer, size_t size)
{
    lock_running(fake);
    for (unsigned i = PATTERN_MEMORY_FIRST; i < PATTERN_MEMORY_END; i++)
        pattern_make(token, i, fake->memory + (size_t)i * PATTERN_PAGE);
    int r = fake_for_writable_disks(fake, disk_fill, token, answer, size);
    pthread_mutex_unlock(&fake->lock);
    return r;
}

int fake_check(struct fake *fake, uint64_t memory, uint64_t disk, char *answer, size_t size)
{
    int r = 0;
    lock_running(fake);
    for (unsigned i = PATTERN_MEMORY_FIRST; r == 0 && i < PATTERN_MEMORY_END; i++) {
        if (pattern_holds(memory, i, fake->memory + (size_t)i * PATTERN_PAGE))
            continue;
        snprintf(answer, size, "page %u of memory is not of %llu", i, (unsigned long long)memory);
        r = -1;
    }
    if (r == 0)
        r = fake_for_writable_disks(fake, disk_check, disk, answer, size);
    pthread_mutex_unlock(&fake->lock);
    return r;
}
