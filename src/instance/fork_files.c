/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/fork_files.h"

#include <errno.h>
#include <stdio.h>

#include "base/file.h"
#include "stack/stack.h"

/* A directory of the guest directory in both places. */
struct pair {
    const struct operation *source, *fork;
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

static int pair_open(struct pair *pair, const struct draft *draft, struct error *err)
{
    pair->from = dir_open(pair->source->guest_fd, pair->directory, err);
    if (pair->from < 0)
        return error_wrap(err, "source %s", pair->source->record.name);
    pair->to = draft_subdirectory(draft, pair->directory, err);
    return pair->to < 0 ? pair->to : 0;
}

static int give(const struct pair *pair, const char *name, bool share, struct stack_result *result,
                struct error *err)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/%s", pair->directory, name);
    const struct label from_label = operation_label(pair->source, path);
    const struct label to_label = operation_label(pair->fork, path);
    const struct stack_file from = {pair->from, name, from_label.text};
    const struct stack_file to = {pair->to, name, to_label.text};
    *result = (struct stack_result){.bytes_copied = 0};
    return share ? stack_share(&from, &to, result, err) : stack_copy(&from, &to, result, err);
}

static int give_boot(const struct operation *source, struct operation *op,
                     const struct draft *draft, struct error *err)
{
    _cleanup_(pair) struct pair pair = {source, op, "boot", -1, -1};
    struct stack_result result;
    int r = pair_open(&pair, draft, err);
    if (r == 0)
        r = give(&pair, "kernel", true, &result, err);
    if (r == 0 && op->record.has_initrd)
        r = give(&pair, "initrd", true, &result, err);
    return r;
}

static int give_disks(const struct operation *source, struct operation *op,
                      const struct draft *draft, struct error *err)
{
    _cleanup_(pair) struct pair pair = {source, op, GUEST_DISKS, -1, -1};
    int r = pair_open(&pair, draft, err);
    for (unsigned i = 0; r == 0 && i < op->record.disk_count; i++) {
        struct stack_result result;
        char name[16];
        snprintf(name, sizeof(name), "%u.img", i);
        r = give(&pair, name, op->record.disks[i].read_only, &result, err);
        op->record.disk_bytes_copied += r == 0 ? result.bytes_copied : 0;
    }
    return r;
}

static int give_memory(const struct operation *source, struct operation *op,
                       const struct draft *draft, struct error *err)
{
    _cleanup_(pair) struct pair pair = {source, op, GUEST_SNAPSHOT, -1, -1};
    struct stack_result memory = {0}, state = {0};
    int r = pair_open(&pair, draft, err);
    if (r == 0)
        r = give(&pair, SNAPSHOT_STATE, true, &state, err);
    if (r == 0)
        r = give(&pair, SNAPSHOT_MEMORY, true, &memory, err);
    if (r < 0)
        return r;
    op->record.memory_bytes_copied = memory.bytes_copied;
    snprintf(op->record.memory_method, sizeof(op->record.memory_method), "%s",
             stack_method_name(memory.method));
    return 0;
}

int fork_files(const struct operation *source, struct operation *op, bool memory,
               struct draft *draft, struct error *err)
{
    int r = give_boot(source, op, draft, err);
    if (r == 0)
        r = give_disks(source, op, draft, err);
    if (r == 0 && memory)
        r = give_memory(source, op, draft, err);
    return r < 0 ? r : step("fork-linked", err);
}
