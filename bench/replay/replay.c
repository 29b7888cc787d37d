/* SPDX-License-Identifier: Apache-2.0 */
/* bench-replay RECORD MIB SCENARIO: what a record of first touches asks of the pager's cache of
 * decoded chunks, replayed with each policy at several sizes; a line of JSON for each. "one" VM;
 * "siblings": eight of one image, one after the other begun; "images": 200 VMs of 32 images, some
 * far more often than others, four at once, each as far as half of the record or more. A chunk is
 * used as the cache would have it: who takes it again, nobody else having taken another, does not
 * use it again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "pager/cache_policy.h"
#include "pager/touch_record.h"
#include "stack/packed_image.h"

#define SIBLINGS 8u
#define IMAGES   32u
#define VMS      200u
#define AT_ONCE  4u

struct trace {
    uint64_t *chunks;
    size_t count, capacity;
};

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "bench-replay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void trace_add(struct trace *trace, uint64_t chunk)
{
    if (trace->count == trace->capacity) {
        trace->capacity = trace->capacity ? 2 * trace->capacity : 1024;
        trace->chunks = reallocarray(trace->chunks, trace->capacity, sizeof(*trace->chunks));
        if (!trace->chunks)
            die("trace");
    }
    trace->chunks[trace->count++] = chunk;
}

/* ---- traces ---- */

struct vm {
    uint64_t first; /* chunk of its image */
    size_t step, end;
};

/* What one VM asks for: the chunks of each run. */
static void steps_of(const struct touch_record *record, struct trace *steps)
{
    for (uint32_t i = 0; i < record->count; i++) {
        const struct touch_run *run = &record->runs[i];
        for (uint64_t chunk = run->page / PACKED_CHUNK_PAGES;
             chunk <= (run->page + run->count - 1) / PACKED_CHUNK_PAGES; chunk++)
            trace_add(steps, chunk);
    }
}

/* False: the VM has come to its end. */
static bool advance(struct vm *vm, const struct trace *steps, struct trace *trace)
{
    if (vm->step >= vm->end)
        return false;
    trace_add(trace, vm->first + steps->chunks[vm->step++]);
    return true;
}

static void one(struct trace *trace, const struct trace *steps, uint64_t chunks)
{
    struct vm vm = {.end = steps->count};
    while (advance(&vm, steps, trace))
        ;
}

static void siblings(struct trace *trace, const struct trace *steps, uint64_t chunks)
{
    struct vm vms[SIBLINGS];
    size_t later = steps->count / SIBLINGS;
    for (unsigned i = 0; i < SIBLINGS; i++)
        vms[i] = (struct vm){.end = steps->count};
    for (size_t turn = 0; turn < steps->count + SIBLINGS * later; turn++) {
        for (unsigned i = 0; i < SIBLINGS && i * later <= turn; i++)
            (void)advance(&vms[i], steps, trace);
    }
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 33;
}

/* The n-th image is begun n times as seldom as the first. */
static unsigned draw_image(uint64_t *seed)
{
    double all = 0, left;
    for (unsigned i = 1; i <= IMAGES; i++)
        all += 1.0 / i;
    left = all * (double)(next_random(seed) % 1000000) / 1e6;
    for (unsigned i = 1; i < IMAGES; i++) {
        left -= 1.0 / i;
        if (left < 0)
            return i - 1;
    }
    return IMAGES - 1;
}

static void images(struct trace *trace, const struct trace *steps, uint64_t chunks)
{
    struct vm vms[AT_ONCE] = {{.first = 0}};
    uint64_t seed = 5;
    for (unsigned begun = 0, running = 1; running > 0;) {
        running = 0;
        for (unsigned i = 0; i < AT_ONCE; i++) {
            if (vms[i].step >= vms[i].end && begun < VMS) {
                size_t half = steps->count / 2;
                begun++;
                vms[i] = (struct vm){.first = draw_image(&seed) * chunks};
                vms[i].end = half + next_random(&seed) % (half + 1);
            }
            running += advance(&vms[i], steps, trace);
        }
    }
}

/* ---- a cache ---- */

struct item {
    struct policy_entry entry;
    bool in;
};

static bool any(const struct policy_entry *entry, void *context)
{
    return true;
}

static double hit_rate(const struct cache_policy_ops *ops, const struct trace *trace,
                       struct item *items, uint64_t chunks, uint32_t capacity)
{
    struct cache_policy *policy = ops->create(capacity);
    const struct item *last = NULL;
    uint64_t hits = 0, used = 0;
    if (!policy)
        die(ops->name);
    for (uint64_t i = 0; i < chunks; i++)
        items[i] = (struct item){.entry = {.name = (i + 1) * 0x9e3779b97f4a7c15ull}};
    for (size_t i = 0; i < trace->count; i++) {
        struct item *item = &items[trace->chunks[i]];
        hits += item->in;
        if (item->in && item != last)
            ops->used(policy, &item->entry);
        last = item;
        if (item->in)
            continue;
        if (used == capacity)
            CONTAINER_OF(ops->evict(policy, any, NULL), struct item, entry)->in = false;
        else
            used++;
        ops->insert(policy, &item->entry);
        item->in = true;
    }
    ops->destroy(policy);
    return (double)hits / (double)trace->count;
}

static uint32_t distinct(const struct trace *trace, struct item *items)
{
    uint32_t count = 0;
    for (size_t i = 0; i < trace->count; i++) {
        count += !items[trace->chunks[i]].in;
        items[trace->chunks[i]].in = true;
    }
    return count;
}

static void replay(const struct trace *trace, uint64_t chunks)
{
    static const struct cache_policy_ops *const policies[] = {&policy_lru, &policy_clock,
                                                              &policy_s3_fifo};
    _cleanup_(free) struct item *items = calloc(chunks, sizeof(*items));
    if (!items)
        die("replay");
    uint32_t all = distinct(trace, items);
    for (uint32_t part = 16; part >= 2; part /= 2) {
        uint32_t capacity = all / part ? all / part : 1;
        printf("{\"part\": %u, \"chunks\": %u, \"accesses\": %zu", part, capacity, trace->count);
        for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
            printf(", \"%s\": %.5f", policies[i]->name,
                   hit_rate(policies[i], trace, items, chunks, capacity));
        printf("}\n");
    }
}

static void record_read(const char *path, uint64_t pages, struct touch_record *record)
{
    struct error err = {0};
    _cleanup_(free) char *data = NULL;
    size_t length = 0;
    if (file_read_all(AT_FDCWD, path, TOUCH_RECORD_MAX_FILE, &data, &length, &err) < 0 ||
        touch_record_decode(record, (const uint8_t *)data, length, "bench", pages, &err) < 0) {
        fprintf(stderr, "bench-replay: %s\n", err.message);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*make)(struct trace *trace, const struct trace *steps, uint64_t chunks);
        unsigned images;
    } scenarios[] = {{"one", one, 1}, {"siblings", siblings, 1}, {"images", images, IMAGES}};
    if (argc != 4) {
        fputs("bench-replay RECORD MIB one|siblings|images\n", stderr);
        return 2;
    }
    uint64_t pages = strtoull(argv[2], NULL, 10) << 8, chunks = pages / PACKED_CHUNK_PAGES;
    struct touch_record record = {0};
    struct trace steps = {0}, trace = {0};
    record_read(argv[1], pages, &record);
    steps_of(&record, &steps);
    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
        if (strcmp(scenarios[i].name, argv[3]) != 0)
            continue;
        scenarios[i].make(&trace, &steps, chunks);
        replay(&trace, scenarios[i].images * chunks);
        return 0;
    }
    errno = EINVAL;
    die(argv[3]);
}
