/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/fork_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "instance/disks.h"
#include "instance/memory_stack.h"
#include "paging/paging.h"
#include "stack/compression.h"

/* A directory of an owner in both places. */
struct pair {
    struct handover *handover;
    const char *directory;
    int from, to;
};

static void cleanup_pair(struct pair *pair)
{
    if (pair->from >= 0)
        close(pair->from);
    if (pair->to >= 0)
        close(pair->to);
}

static int pair_open_of(struct pair *pair, const struct owner *from, struct error *err)
{
    pair->from = dir_open(from->fd, pair->directory, err);
    if (pair->from < 0)
        return error_wrap(err, "%s %s", from->thing, from->id);
    pair->to = draft_subdirectory(pair->handover->draft, pair->directory, err);
    return pair->to < 0 ? pair->to : 0;
}

static int pair_open(struct pair *pair, struct error *err)
{
    return pair_open_of(pair, pair->handover->from, err);
}

typedef int give_file(const struct pair *pair, const struct stack_file *from,
                      const struct stack_file *to, struct stack_result *result, struct error *err);

static int give(const struct pair *pair, const char *name, give_file *how,
                struct stack_result *result, struct error *err)
{
    char path[64];
    struct stack_stat stat;
    snprintf(path, sizeof(path), "%s/%s", pair->directory, name);
    const struct label from_label = owner_label(pair->handover->from, path);
    const struct label to_label = owner_label(pair->handover->to, path);
    const struct stack_file from = {pair->from, name, from_label.text};
    const struct stack_file to = {pair->to, name, to_label.text};
    *result = (struct stack_result){.bytes_copied = 0};
    int r = how(pair, &from, &to, result, err);
    if (r == 0)
        r = stack_stat(&to, &stat, err);
    if (r == 0)
        pair->handover->size_bytes += stat.size;
    return r;
}

static int link_file(const struct pair *pair, const struct stack_file *from,
                     const struct stack_file *to, struct stack_result *result, struct error *err)
{
    return stack_share(from, to, result, err);
}

/* What a snapshot or a template has is never written. */
static int give_writable_disk(const struct pair *pair, const struct stack_file *from,
                              const struct stack_file *to, struct stack_result *result,
                              struct error *err)
{
    const struct handover *handover = pair->handover;
    const struct disk_gift gift = {.from = from,
                                   .to = to,
                                   .stacks = handover->stacks,
                                   .immutable = handover->disks ||
                                                strcmp(handover->from->thing, "snapshot") == 0};
    return disk_give(&gift, result, err);
}

static int give_boot(struct handover *handover, struct error *err)
{
    _cleanup_(pair) struct pair pair = {handover, "boot", -1, -1};
    struct stack_result result;
    int r = pair_open(&pair, err);
    if (r == 0)
        r = give(&pair, "kernel", link_file, &result, err);
    if (r == 0 && handover->record->has_initrd)
        r = give(&pair, "initrd", link_file, &result, err);
    return r;
}

/* Those that are writable, or those that are not. */
static int give_disks(struct handover *handover, bool writable, struct error *err)
{
    _cleanup_(pair) struct pair pair = {handover, GUEST_DISKS, -1, -1};
    struct instance_record *record = handover->record;
    const bool elsewhere = writable && handover->disks;
    int r = pair_open_of(&pair, elsewhere ? handover->disks : handover->from, err);
    for (unsigned i = 0; r == 0 && i < record->disk_count; i++) {
        struct stack_result result;
        char name[16];
        if (record->disks[i].read_only == writable)
            continue;
        snprintf(name, sizeof(name), "%u.img", i);
        r = give(&pair, name, writable ? give_writable_disk : link_file, &result, err);
        record->disk_bytes_copied += r == 0 ? result.bytes_copied : 0;
    }
    return r;
}

int fork_writable_disks(struct handover *handover, struct error *err)
{
    return record_has_writable_disk(handover->record) ? give_disks(handover, true, err) : 0;
}

/* The name of one of the image's files: the lowest may be compressed. */
static int memory_file(const struct pair *pair, unsigned number, char name[STACK_PACKED_NAME],
                       struct error *err)
{
    char path[64];
    struct stack_packed packed;
    snprintf(name, STACK_PACKED_NAME, "%s", memory_name(number).text);
    if (number > 0)
        return 0;
    snprintf(path, sizeof(path), "%s/" SNAPSHOT_MEMORY, pair->directory);
    const struct label label = owner_label(pair->handover->from, path);
    const struct stack_file raw = {pair->from, SNAPSHOT_MEMORY, label.text};
    int r = stack_find_packed(&raw, &packed, err);
    if (r > 0)
        stack_packed_name(SNAPSHOT_MEMORY, packed.algorithm, name);
    else
        pair->handover->record->compression[0] = '\0';
    return r < 0 ? r : 0;
}

/* A memory image with the layers over it. */
static int give_image(struct handover *handover, struct pair *pair, struct error *err)
{
    struct instance_record *record = handover->record;
    int r = 0;
    record->memory_bytes_copied = 0;
    for (unsigned i = 0; r == 0 && i <= record->memory_layers; i++) {
        struct stack_result result = {0};
        char name[STACK_PACKED_NAME];
        r = memory_file(pair, i, name, err);
        if (r == 0)
            r = give(pair, name, link_file, &result, err);
        record->memory_bytes_copied += r == 0 ? result.bytes_copied : 0;
        if (r == 0 && i == 0)
            snprintf(record->memory_method, sizeof(record->memory_method), "%s",
                     stack_method_name(result.method));
    }
    return r;
}

static int give_snapshot(struct handover *handover, struct error *err)
{
    _cleanup_(pair) struct pair pair = {handover, GUEST_SNAPSHOT, -1, -1};
    struct stack_result result;
    int r = pair_open(&pair, err);
    if (r == 0)
        r = give(&pair, SNAPSHOT_STATE, link_file, &result, err);
    return r < 0 ? r : give_image(handover, &pair, err);
}

/* A VM that was booted has none. */
int fork_base(struct handover *handover, struct error *err)
{
    _cleanup_(pair) struct pair pair = {handover, GUEST_BASE, -1, -1};
    int r = file_exists(handover->from->fd, GUEST_BASE "/" SNAPSHOT_MEMORY, err);
    if (r <= 0)
        return r;
    r = pair_open(&pair, err);
    return r < 0 ? r : give_image(handover, &pair, err);
}

/* Without it, or with one that can't be used, a fork is only slower. */
static void give_record(struct handover *handover)
{
    _cleanup_(pair) struct pair pair = {handover, GUEST_SNAPSHOT, -1, -1};
    struct stack_result result;
    struct error cause = {0};
    int r = pair_open(&pair, &cause);
    if (r == 0)
        r = file_exists(pair.from, PAGING_RECORD, &cause);
    if (r > 0)
        r = give(&pair, PAGING_RECORD, link_file, &result, &cause);
    if (r < 0)
        log_warning("%s %s: %s", handover->to->thing, handover->to->id, cause.message);
}

int fork_memory(struct handover *handover, struct error *err)
{
    int r = give_snapshot(handover, err);
    if (r == 0)
        give_record(handover);
    return r;
}

int fork_files(struct handover *handover, struct error *err)
{
    int r = give_boot(handover, err);
    if (r == 0)
        r = give_disks(handover, false, err);
    if (r == 0)
        r = fork_writable_disks(handover, err);
    if (!handover->memory)
        handover->record->compression[0] = '\0';
    if (r == 0 && handover->base)
        r = fork_base(handover, err);
    return r == 0 && handover->memory ? fork_memory(handover, err) : r;
}
