/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/fork_files.h"

#include <errno.h>
#include <stdio.h>

#include "base/file.h"
#include "base/log.h"
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

static int pair_open(struct pair *pair, struct error *err)
{
    const struct owner *from = pair->handover->from;
    pair->from = dir_open(from->fd, pair->directory, err);
    if (pair->from < 0)
        return error_wrap(err, "%s %s", from->thing, from->id);
    pair->to = draft_subdirectory(pair->handover->draft, pair->directory, err);
    return pair->to < 0 ? pair->to : 0;
}

static int give(const struct pair *pair, const char *name, bool share, struct stack_result *result,
                struct error *err)
{
    char path[64];
    struct stack_stat stat;
    snprintf(path, sizeof(path), "%s/%s", pair->directory, name);
    const struct label from_label = owner_label(pair->handover->from, path);
    const struct label to_label = owner_label(pair->handover->to, path);
    const struct stack_file from = {pair->from, name, from_label.text};
    const struct stack_file to = {pair->to, name, to_label.text};
    *result = (struct stack_result){.bytes_copied = 0};
    int r = share ? stack_share(&from, &to, result, err) : stack_copy(&from, &to, result, err);
    if (r == 0)
        r = stack_stat(&to, &stat, err);
    if (r == 0)
        pair->handover->size_bytes += stat.size;
    return r;
}

static int give_boot(struct handover *handover, struct error *err)
{
    _cleanup_(pair) struct pair pair = {handover, "boot", -1, -1};
    struct stack_result result;
    int r = pair_open(&pair, err);
    if (r == 0)
        r = give(&pair, "kernel", true, &result, err);
    if (r == 0 && handover->record->has_initrd)
        r = give(&pair, "initrd", true, &result, err);
    return r;
}

static int give_disks(struct handover *handover, struct error *err)
{
    _cleanup_(pair) struct pair pair = {handover, GUEST_DISKS, -1, -1};
    struct instance_record *record = handover->record;
    int r = pair_open(&pair, err);
    for (unsigned i = 0; r == 0 && i < record->disk_count; i++) {
        struct stack_result result;
        char name[16];
        snprintf(name, sizeof(name), "%u.img", i);
        r = give(&pair, name, record->disks[i].read_only, &result, err);
        record->disk_bytes_copied += r == 0 ? result.bytes_copied : 0;
    }
    return r;
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

static int give_memory(struct handover *handover, struct error *err)
{
    _cleanup_(pair) struct pair pair = {handover, GUEST_SNAPSHOT, -1, -1};
    struct instance_record *record = handover->record;
    struct stack_result result = {0};
    int r = pair_open(&pair, err);
    if (r == 0)
        r = give(&pair, SNAPSHOT_STATE, true, &result, err);
    record->memory_bytes_copied = 0;
    for (unsigned i = 0; r == 0 && i <= record->memory_layers; i++) {
        char name[STACK_PACKED_NAME];
        r = memory_file(&pair, i, name, err);
        if (r == 0)
            r = give(&pair, name, true, &result, err);
        record->memory_bytes_copied += r == 0 ? result.bytes_copied : 0;
        if (r == 0 && i == 0)
            snprintf(record->memory_method, sizeof(record->memory_method), "%s",
                     stack_method_name(result.method));
    }
    return r;
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
        r = give(&pair, PAGING_RECORD, true, &result, &cause);
    if (r < 0)
        log_warning("%s %s: %s", handover->to->thing, handover->to->id, cause.message);
}

int fork_files(struct handover *handover, struct error *err)
{
    int r = give_boot(handover, err);
    if (r == 0)
        r = give_disks(handover, err);
    if (!handover->memory)
        handover->record->compression[0] = '\0';
    if (r == 0 && handover->memory)
        r = give_memory(handover, err);
    if (r == 0 && handover->memory)
        give_record(handover);
    return r;
}
