/* SPDX-License-Identifier: Apache-2.0 */
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../hypervisor/pattern.h"
#include "agent/protocol.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "stack/disk_stack.h"
#include "stack/layer_stack.h"
#include "stack/packed_image.h"

#define SETTLE_MS    20000
#define RAW_IMAGE    "snapshot/memory"
#define PACKED_IMAGE "snapshot/memory.zst"

/* What a guest printed. */
static int answer_read(int fd, char *answer, size_t size, struct error *err)
{
    _cleanup_(free) uint8_t *buffer = malloc(AGENT_FRAME_LIMIT);
    struct agent_frame frame;
    int r = 0;
    *answer = '\0';
    while ((r = agent_frame_read(fd, buffer, &frame, err)) > 0 && frame.type != AGENT_EXIT) {
        if (frame.type == AGENT_STDOUT)
            snprintf(answer, size, "%.*s", (int)frame.length, (const char *)frame.payload);
    }
    answer[strcspn(answer, "\n")] = '\0';
    return r <= 0 ? error_set(err, ERROR_STATE, ECONNRESET, "the guest ended") : 0;
}

int guest_pattern(struct host *host, const char *name, const char *command, uint64_t first,
                  uint64_t second, struct error *err)
{
    char texts[2][24], answer[512];
    snprintf(texts[0], sizeof(texts[0]), "%llu", (unsigned long long)first);
    snprintf(texts[1], sizeof(texts[1]), "%llu", (unsigned long long)second);
    const char *const argv[] = {command, texts[0], texts[1], NULL};
    const struct agent_exec exec = {.argv = argv};
    _cleanup_(close) int fd = instance_exec(host, name, &exec, err);
    if (fd < 0)
        return fd;
    int r = answer_read(fd, answer, sizeof(answer), err);
    if (r == 0 && strcmp(answer, "ok") != 0)
        r = error_set(err, ERROR_CORRUPT, EUCLEAN, "%s", answer);
    return r;
}

static bool pages_hold(const char *path, uint64_t token, unsigned first, unsigned end,
                       char why[256])
{
    uint8_t page[PATTERN_PAGE];
    _cleanup_(close) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    for (unsigned i = first; fd >= 0 && i < end; i++) {
        if (pread(fd, page, sizeof(page), (off_t)i * PATTERN_PAGE) == (ssize_t)sizeof(page) &&
            pattern_holds(token, i, page))
            continue;
        snprintf(why, 256, "page %u of ...%.120s is not of %llu", i,
                 path + (strlen(path) > 60 ? strlen(path) - 60 : 0), (unsigned long long)token);
        return false;
    }
    if (fd < 0)
        snprintf(why, 256, "%.200s: %s", path, strerror(errno));
    return fd >= 0;
}

/* Through all layers, as a VM would have it. */
static bool memory_holds(int directory, const char *path, uint64_t token, char why[256])
{
    uint8_t page[PATTERN_PAGE];
    struct error err = {0};
    const struct stack_file base = {directory, RAW_IMAGE, path};
    _cleanup_(layer_stack) struct layer_stack *stack = layer_stack_open(&base, &err);
    if (!stack)
        snprintf(why, 256, "%.250s", err.message);
    for (unsigned i = PATTERN_MEMORY_FIRST; stack && i < PATTERN_MEMORY_END; i++) {
        const struct layer_extent extent = layer_stack_find(stack, i);
        memset(page, 0, sizeof(page));
        if ((extent.zero ||
             pread(extent.fd, page, sizeof(page), (off_t)extent.offset) == (ssize_t)sizeof(page)) &&
            pattern_holds(token, i, page))
            continue;
        snprintf(why, 256, "page %u of %.120s, in file %u, is not of %llu", i, path, extent.layer,
                 (unsigned long long)token);
        return false;
    }
    return stack && layer_stack_verify(stack, NULL) == 0;
}

/* The rest of guest memory was never touched: it is zeros. There are holes, but for what a pager
 * has read: a mapping that reads a hole of tmpfs fills it. */
static bool memory_ends(const char *path, char why[256])
{
    static const uint8_t zeros[PATTERN_PAGE];
    uint8_t page[PATTERN_PAGE];
    _cleanup_(close) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size != (off_t)FIXTURE_MEMORY) {
        snprintf(why, 256, "%.200s is not of the size of memory", path);
        return false;
    }
    off_t at = lseek(fd, PATTERN_MEMORY_END * PATTERN_PAGE, SEEK_DATA);
    for (; at >= 0; at = lseek(fd, at + PATTERN_PAGE, SEEK_DATA)) {
        if (pread(fd, page, sizeof(page), at) == (ssize_t)sizeof(page) &&
            memcmp(page, zeros, sizeof(page)) == 0)
            continue;
        snprintf(why, 256, "%.200s has data at %lld", path, (long long)at);
        return false;
    }
    return errno == ENXIO;
}

static bool chunk_holds(uint64_t chunk, const uint8_t *data, uint64_t token)
{
    static const uint8_t zeros[PATTERN_PAGE];
    for (unsigned i = 0; i < PACKED_CHUNK_PAGES; i++) {
        const uint64_t page = chunk * PACKED_CHUNK_PAGES + i;
        const uint8_t *bytes = data + (size_t)i * PATTERN_PAGE;
        if (page >= PATTERN_MEMORY_END
                ? memcmp(bytes, zeros, PATTERN_PAGE) != 0
                : page >= PATTERN_MEMORY_FIRST && !pattern_holds(token, page, bytes))
            return false;
    }
    return true;
}

/* A compressed image, all of it. */
static bool packed_holds(int fd, const char *path, uint64_t token, char why[256])
{
    struct error err = {0};
    _cleanup_(free) uint8_t *data = malloc(PACKED_CHUNK_SIZE);
    _cleanup_(packed_decoder) struct packed_decoder *decoder = packed_decoder_new();
    _cleanup_(packed_image) struct packed_image *image =
        packed_image_open_fd(fd, path, STACK_ZSTD, &err);
    int r = image && packed_image_size(image) == FIXTURE_MEMORY ? 0 : -EUCLEAN;
    for (uint64_t i = 0; r == 0 && i < FIXTURE_MEMORY / PACKED_CHUNK_SIZE; i++) {
        r = packed_image_decode(image, decoder, i, data, &err);
        if (r == 0 && !chunk_holds(i, data, token))
            r = error_set(&err, ERROR_CORRUPT, EUCLEAN, "chunk %u is not of %llu", (unsigned)i,
                          (unsigned long long)token);
    }
    snprintf(why, 256, "compressed, ...%.60s: %.160s",
             path + (strlen(path) > 60 ? strlen(path) - 60 : 0), err.message);
    return r == 0;
}

static bool image_holds(int directory, const char *path, uint64_t token, char why[256])
{
    int packed = openat(directory, PACKED_IMAGE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (packed >= 0)
        return packed_holds(packed, path, token, why);
    return memory_ends(path, why) && memory_holds(directory, path, token, why);
}

/* Of a disk that sleeps, a stack or one file. */
static bool disk_holds(const char *directory, uint64_t token, char why[256])
{
    uint8_t page[PATTERN_PAGE];
    struct error err = {0};
    char path[512];
    snprintf(path, sizeof(path), "%s/disks", directory);
    _cleanup_(close) int fd = dir_open(AT_FDCWD, path, &err);
    if (faccessat(fd, "0.img.top", F_OK, 0) < 0) {
        snprintf(path, sizeof(path), "%s/disks/0.img", directory);
        return pages_hold(path, token, PATTERN_DISK_FIRST, PATTERN_DISK_END, why);
    }
    const struct stack_file base = {fd, "0.img", path};
    _cleanup_(disk_stack) struct disk_stack *stack = disk_stack_open(&base, false, &err);
    for (unsigned i = PATTERN_DISK_FIRST; stack && i < PATTERN_DISK_END; i++) {
        struct iovec buffer = {page, sizeof(page)};
        uint64_t done = 0;
        if (disk_stack_read(stack, &buffer, 1, (uint64_t)i * PATTERN_PAGE, &done) == 0 &&
            pattern_holds(token, i, page))
            continue;
        snprintf(why, 256, "page %u of ...%.120s is not of %llu", i,
                 path + (strlen(path) > 60 ? strlen(path) - 60 : 0), (unsigned long long)token);
        return false;
    }
    if (!stack)
        snprintf(why, 256, "%.250s", err.message);
    return stack != NULL;
}

bool files_hold(const char *directory, const struct fact *fact, bool diskless, char why[256])
{
    char memory[512];
    snprintf(memory, sizeof(memory), "%s/" RAW_IMAGE, directory);
    _cleanup_(close) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fact->place == PLACE_STANDBY && !image_holds(fd, memory, fact->memory, why))
        return false;
    return diskless || disk_holds(directory, fact->disk, why);
}

/* ABSENT, STOPPED, STANDBY or RUNNING; -1 on the way to one. */
static int place_of(struct world *world, const struct thing *thing, struct instance_record *record)
{
    struct error err = {0};
    if (instance_get(world->fixture->host, thing->name, record, &err) < 0) {
        if (err.code != ERROR_NOT_FOUND)
            fail_msg("%s: %s", thing->name, err.message);
        return PLACE_ABSENT;
    }
    if (record->state == INSTANCE_UNKNOWN)
        fail_msg("%s is Unknown: %s", thing->name, record->state_error);
    return record->state == INSTANCE_STOPPED   ? PLACE_STOPPED
           : record->state == INSTANCE_STANDBY ? PLACE_STANDBY
           : record->state == INSTANCE_RUNNING ? PLACE_RUNNING
                                               : -1;
}

static bool instance_holds(struct world *world, const struct thing *thing, const struct fact *fact,
                           const char *id, char why[256])
{
    struct error err = {0};
    if (fact->place == PLACE_ABSENT)
        return true;
    if (fact->place != PLACE_RUNNING) {
        struct path path = guest_path(world->fixture, id, "");
        return files_hold(path.text, fact, thing->diskless, why);
    }
    if (guest_pattern(world->fixture->host, thing->name, "check", fact->memory, fact->disk, &err) ==
        0)
        return true;
    snprintf(why, 256, "%.250s", err.message);
    return false;
}

static bool tagged(const char *tags, const struct fact *fact, char why[256])
{
    if (strcmp(tags, tags_of(fact->tag).text) == 0)
        return true;
    snprintf(why, 256, "its tags are %.200s", tags);
    return false;
}

static bool take(struct thing *thing, const struct fact *fact, const char *id)
{
    thing->fact = *fact;
    if (fact->place != PLACE_ABSENT)
        snprintf(thing->id, sizeof(thing->id), "%s", id);
    return true;
}

static bool match_instance(struct world *world, struct thing *thing, int *place, char why[256])
{
    struct instance_record record = {.id = ""};
    *place = place_of(world, thing, &record);
    snprintf(why, 256, "that is not allowed");
    for (unsigned i = 0; i < thing->allowed_count; i++) {
        if ((int)thing->allowed[i].place == *place &&
            tagged(record.tags, &thing->allowed[i], why) &&
            instance_holds(world, thing, &thing->allowed[i], record.id, why))
            return take(thing, &thing->allowed[i], record.id);
    }
    return false;
}

static void fail_thing(const struct thing *thing, int place, const char *why)
{
    print_error("%s is at place %d: %s; allowed:\n", thing->name, place, why);
    for (unsigned i = 0; i < thing->allowed_count; i++)
        print_error("  place %u memory %llu disk %llu tag %llu\n",
                    (unsigned)thing->allowed[i].place, (unsigned long long)thing->allowed[i].memory,
                    (unsigned long long)thing->allowed[i].disk,
                    (unsigned long long)thing->allowed[i].tag);
    fail_msg("%s is not as it must be", thing->name);
}

/* True if no image is being compressed, nor about to be. */
static bool is_at_rest(struct world *world)
{
    const struct snapshot_filter all = {.name = NULL};
    _cleanup_(free) struct instance_record *instances = NULL;
    _cleanup_(free) struct snapshot_record *snapshots = NULL;
    struct error err = {0};
    size_t count = 0, working = 0;
    assert_ok(instance_list(world->fixture->host, &instances, &count, &err), &err);
    for (size_t i = 0; i < count; i++)
        working += instances[i].compression_status.state == COMPRESSION_RUNNING;
    assert_ok(snapshot_list(world->fixture->host, &all, &snapshots, &count, &err), &err);
    for (size_t i = 0; i < count; i++)
        working += snapshots[i].compression_status.state == COMPRESSION_RUNNING;
    return working == 0;
}

static void await_rest(struct world *world)
{
    uint64_t deadline = time_monotonic_ns() + SETTLE_MS * 1000000ull;
    while (world->packed && !is_at_rest(world)) {
        if (time_monotonic_ns() > deadline)
            fail_msg("an image is still being compressed");
        time_sleep_ms(2);
    }
}

/* The watcher may have something to finish: a VMM that died, a guest that has yet to answer. */
static void observe_instance(struct world *world, struct thing *thing)
{
    uint64_t deadline = time_monotonic_ns() + SETTLE_MS * 1000000ull;
    char why[256];
    int place;
    while (!match_instance(world, thing, &place, why)) {
        if ((place >= 0 && place != PLACE_RUNNING) || time_monotonic_ns() > deadline)
            fail_thing(thing, place, why);
        time_sleep_ms(2);
    }
}

static void observe_snapshot(struct world *world, struct thing *thing,
                             const struct snapshot_record *records, size_t count)
{
    const struct snapshot_record *record = NULL;
    char why[256] = "that is not allowed";
    for (size_t i = 0; i < count; i++) {
        if (strcmp(records[i].name, thing->name) == 0)
            record = &records[i];
    }
    enum place place = !record                            ? PLACE_ABSENT
                       : record->kind == INSTANCE_STANDBY ? PLACE_STANDBY
                                                          : PLACE_STOPPED;
    struct path path = snapshot_path(world->fixture, record ? record->id : "", "");
    for (unsigned i = 0; i < thing->allowed_count; i++) {
        if (thing->allowed[i].place == place &&
            (!record || (tagged(record->source.tags, &thing->allowed[i], why) &&
                         files_hold(path.text, &thing->allowed[i], thing->diskless, why)))) {
            take(thing, &thing->allowed[i], record ? record->id : "");
            return;
        }
    }
    fail_thing(thing, place, why);
}

static size_t present(const struct thing *things, unsigned count)
{
    size_t found = 0;
    for (unsigned i = 0; i < count; i++)
        found += things[i].fact.place != PLACE_ABSENT;
    return found;
}

void world_observe(struct world *world)
{
    const struct snapshot_filter all = {.name = NULL};
    _cleanup_(free) struct instance_record *instances = NULL;
    _cleanup_(free) struct snapshot_record *snapshots = NULL;
    struct error err = {0};
    size_t count = 0;
    await_rest(world);
    for (unsigned i = 0; i < SPACE_INSTANCES; i++)
        observe_instance(world, &world->instances[i]);
    await_rest(world); /* what the watcher put right may have left an image with one owner */
    assert_ok(instance_list(world->fixture->host, &instances, &count, &err), &err);
    assert_int_equal(count, present(world->instances, SPACE_INSTANCES));
    assert_ok(snapshot_list(world->fixture->host, &all, &snapshots, &count, &err), &err);
    for (unsigned i = 0; i < SPACE_SNAPSHOTS; i++)
        observe_snapshot(world, &world->snapshots[i], snapshots, count);
    assert_int_equal(count, present(world->snapshots, SPACE_SNAPSHOTS));
}
