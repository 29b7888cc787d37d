/* SPDX-License-Identifier: Apache-2.0 */
/* bench-saved image FILE MIB: makes a memory file, all of it data.
 * bench-saved HOW DEVICE BASE OUT MIB SEED: is a VM that was restored from BASE, a file in the
 * working directory that others share, and changes so much of its memory, in runs of 1 to 31 pages
 * all over it; saves it as tine-vmm and tined do, HOW being layer, merge or full, into OUT; and
 * prints a line of JSON: milliseconds that the guest would stand still, those of the whole, bytes
 * that the device wrote. What was saved is compared with memory, page by page. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "stack/layer_stack.h"
#include "vmm/memory.h"

#define MIB     (1ull << 20)
#define RUN_MAX 31u

static void die(const char *what, const struct error *err)
{
    fprintf(stderr, "bench-saved: %s: %s\n", what, err ? err->message : strerror(errno));
    exit(1);
}

static void image_make(const char *path, uint64_t mib)
{
    static uint8_t block[MIB];
    _cleanup_(close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path, NULL);
    for (uint64_t i = 0; i < mib; i++) {
        if (getrandom(block, sizeof(block), 0) < 0 ||
            pwrite(fd, block, sizeof(block), (off_t)(i * MIB)) != (ssize_t)sizeof(block))
            die(path, NULL);
    }
    if (fsync(fd) < 0)
        die(path, NULL);
}

/* Sectors written, the seventh field of the device's statistics. */
static uint64_t device_written(const char *device)
{
    char path[128];
    uint64_t sectors = 0;
    snprintf(path, sizeof(path), "/sys/class/block/%s/stat", device);
    _cleanup_(fclose) FILE *file = fopen(path, "re");
    if (!file || fscanf(file, "%*u %*u %*u %*u %*u %*u %" SCNu64, &sectors) != 1)
        die(path, NULL);
    return sectors * 512;
}

static void change(struct guest_memory *memory, uint64_t bytes, unsigned seed)
{
    const uint64_t pages = memory->size / GUEST_PAGE_SIZE;
    for (uint64_t left = bytes / GUEST_PAGE_SIZE; left > 0;) {
        uint64_t count = 1 + (uint64_t)rand_r(&seed) % RUN_MAX;
        uint64_t page = ((uint64_t)rand_r(&seed) << 16 ^ (uint64_t)rand_r(&seed)) % pages;
        count = count < left ? count : left;
        count = count < pages - page ? count : pages - page;
        uint8_t *at = guest_pointer(memory, page * GUEST_PAGE_SIZE, count * GUEST_PAGE_SIZE);
        for (uint64_t i = 0; at && i < count; i++)
            memset(at + i * GUEST_PAGE_SIZE, (int)(seed >> 3 | 1), GUEST_PAGE_SIZE / 2);
        left -= count;
    }
}

struct run {
    struct guest_memory memory;
    const char *base, *out;
    uint64_t pause_ns; /* since when the guest stands still */
};

static int create(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path, NULL);
    return fd;
}

static void save_layer(struct run *run)
{
    struct error err = {0};
    run->pause_ns = time_monotonic_ns();
    _cleanup_(close) int fd = create(run->out);
    if (guest_memory_layer(&run->memory, fd, run->out, NULL, &err) < 0)
        die("layer", &err);
}

static void save_full(struct run *run)
{
    struct error err = {0};
    run->pause_ns = time_monotonic_ns();
    _cleanup_(close) int fd = create(run->out);
    if (guest_memory_save(&run->memory, fd, run->out, NULL, &err) < 0 || fsync(fd) < 0)
        die("full", err.errnum ? &err : NULL);
}

/* The guest still runs while its base is unshared. */
static void save_merge(struct run *run)
{
    struct error err = {0};
    struct stack_result result;
    const struct stack_file file = {AT_FDCWD, run->out, run->out};
    if (link(run->base, run->out) < 0 || stack_unshare(&file, &result, &err) < 0)
        die("unshare", err.errnum ? &err : NULL);
    int fd = stack_open_writable(&file, &err);
    if (fd < 0)
        die("merge", &err);
    close(fd);
    run->pause_ns = time_monotonic_ns();
    fd = open(run->out, O_RDWR | O_CLOEXEC);
    if (fd < 0 || guest_memory_diff(&run->memory, fd, run->out, true, NULL, &err) < 0 ||
        fsync(fd) < 0)
        die("merge", err.errnum ? &err : NULL);
    close(fd);
}

static const struct {
    const char *name;
    void (*save)(struct run *run);
} ways[] = {{"layer", save_layer}, {"merge", save_merge}, {"full", save_full}};

static void compare(const struct run *run, bool layer)
{
    struct error err = {0};
    struct guest_memory saved;
    char name[64];
    snprintf(name, sizeof(name), "%s.1", run->base);
    if (layer && rename(run->out, name) < 0)
        die(name, NULL);
    const char *path = layer ? run->base : run->out;
    const struct stack_file base = {AT_FDCWD, path, path};
    _cleanup_(layer_stack) struct layer_stack *stack = layer_stack_open(&base, &err);
    if (!stack || guest_memory_map_stack(&saved, run->memory.size, stack, &err) < 0)
        die("map what was saved", &err);
    if (memcmp(saved.regions[0].host, run->memory.regions[0].host, saved.size) != 0) {
        fprintf(stderr, "bench-saved: %s has bad pages\n", path);
        exit(1);
    }
    guest_memory_release(&saved);
    if (unlink(layer ? name : run->out) < 0)
        die(run->out, NULL);
}

int main(int argc, char **argv)
{
    struct error err = {0};
    struct stat st;
    if (argc == 4 && strcmp(argv[1], "image") == 0) {
        image_make(argv[2], strtoull(argv[3], NULL, 10));
        return 0;
    }
    unsigned way = 0;
    while (argc == 7 && way < ARRAY_SIZE(ways) && strcmp(ways[way].name, argv[1]) != 0)
        way++;
    if (argc != 7 || way == ARRAY_SIZE(ways)) {
        fputs("usage: bench-saved image FILE MIB | layer|merge|full DEVICE BASE OUT MIB SEED\n",
              stderr);
        return 2;
    }
    struct run run = {.base = argv[3], .out = argv[4]};
    _cleanup_(close) int fd = open(run.base, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 ||
        guest_memory_map(&run.memory, (uint64_t)st.st_size, fd, run.base, &err) < 0)
        die(run.base, err.errnum ? &err : NULL);
    change(&run.memory, strtoull(argv[5], NULL, 10) * MIB, (unsigned)strtoul(argv[6], NULL, 10));
    sync();
    uint64_t written = device_written(argv[2]), begin = time_monotonic_ns();
    ways[way].save(&run);
    uint64_t end = time_monotonic_ns();
    printf("{\"way\":\"%s\",\"pause_ms\":%.2f,\"total_ms\":%.2f,\"bytes\":%" PRIu64 "}\n",
           ways[way].name, (double)(end - run.pause_ns) / 1e6, (double)(end - begin) / 1e6,
           device_written(argv[2]) - written);
    compare(&run, way == 0);
    return 0;
}
