/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/entry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/relative_path.h"

void agent_entry_put(struct agent_fields *fields, const struct agent_entry *entry)
{
    if (entry->path[0])
        agent_field_put_text(fields, AGENT_TAG_PATH, entry->path);
    if (entry->link_target[0])
        agent_field_put_text(fields, AGENT_TAG_LINK_TARGET, entry->link_target);
    agent_field_put_u32(fields, AGENT_TAG_MODE, entry->mode);
    agent_field_put_u64(fields, AGENT_TAG_SIZE, entry->size);
    agent_field_put_u64(fields, AGENT_TAG_MTIME, (uint64_t)entry->mtime);
    agent_field_put_u32(fields, AGENT_TAG_UID, entry->uid);
    agent_field_put_u32(fields, AGENT_TAG_GID, entry->gid);
}

static int take_path(char path[PATH_MAX], const uint8_t *value, uint32_t length)
{
    if (length >= PATH_MAX || memchr(value, '\0', length))
        return -EPROTO;
    memcpy(path, value, length);
    path[length] = '\0';
    return 0;
}

static int entry_take(void *context, uint16_t tag, const uint8_t *value, uint32_t length)
{
    struct agent_entry *entry = context;
    uint64_t mtime;
    switch (tag) {
    case AGENT_TAG_PATH:
        return take_path(entry->path, value, length);
    case AGENT_TAG_LINK_TARGET:
        return take_path(entry->link_target, value, length);
    case AGENT_TAG_MODE:
        return agent_value_u32(value, length, &entry->mode);
    case AGENT_TAG_SIZE:
        return agent_value_u64(value, length, &entry->size);
    case AGENT_TAG_UID:
        return agent_value_u32(value, length, &entry->uid);
    case AGENT_TAG_GID:
        return agent_value_u32(value, length, &entry->gid);
    case AGENT_TAG_MTIME:
        if (agent_value_u64(value, length, &mtime) < 0)
            return -EPROTO;
        entry->mtime = (int64_t)mtime;
        return 0;
    default:
        return 0;
    }
}

static int entry_read(struct agent_entry *entry, const struct agent_frame *frame)
{
    *entry = (struct agent_entry){0};
    int r = agent_fields_each(frame, entry_take, entry);
    if (r < 0 || entry->size > INT64_MAX || S_ISLNK(entry->mode) != (entry->link_target[0] != '\0'))
        return -EPROTO;
    if (!S_ISREG(entry->mode)) /* whatever its file system calls the size of a directory */
        entry->size = 0;
    return 0;
}

int agent_entry_parse(struct agent_entry *entry, const struct agent_frame *frame)
{
    if (entry_read(entry, frame) < 0)
        return -EPROTO;
    if (!S_ISREG(entry->mode) && !S_ISDIR(entry->mode) && !S_ISLNK(entry->mode))
        return -EPROTO;
    return strcmp(entry->path, ".") == 0 || relative_path_valid(entry->path) ? 0 : -EPROTO;
}

static bool has_field(const struct agent_frame *frame, uint16_t wanted)
{
    size_t offset = 0;
    uint16_t tag;
    const uint8_t *value;
    uint32_t length;
    while (agent_field_next(frame->payload, frame->length, &offset, &tag, &value, &length) > 0) {
        if (tag == wanted)
            return true;
    }
    return false;
}

int agent_stat_parse(struct agent_stat *info, const struct agent_frame *frame)
{
    *info = (struct agent_stat){0};
    if (!has_field(frame, AGENT_TAG_ERRNO))
        return entry_read(&info->entry, frame);
    struct agent_failure failure;
    if (agent_failure_parse(&failure, frame) < 0)
        return -EPROTO;
    info->errnum = failure.errnum;
    snprintf(info->message, sizeof(info->message), "%s", failure.message);
    return 0;
}

/* The first entry is one name; the others are below it, and it is a directory. */
static bool place_valid(struct agent_tree *tree)
{
    const char *path = tree->entry.path;
    if (!tree->begun) {
        tree->begun = true;
        tree->root_directory = S_ISDIR(tree->entry.mode);
        size_t length = strlen(path);
        if (length >= sizeof(tree->root) || strchr(path, '/'))
            return false;
        memcpy(tree->root, path, length + 1);
        return true;
    }
    if (!tree->root_directory)
        return false;
    if (strcmp(tree->root, ".") == 0)
        return strcmp(path, ".") != 0;
    size_t length = strlen(tree->root);
    return strncmp(path, tree->root, length) == 0 && path[length] == '/';
}

static int on_entry(struct agent_tree *tree, const struct agent_frame *frame)
{
    if (tree->inside || agent_entry_parse(&tree->entry, frame) < 0 || !place_valid(tree))
        return -EPROTO;
    tree->inside = true;
    tree->left = tree->entry.size;
    return AGENT_TREE_ENTRY;
}

static int on_data(struct agent_tree *tree, const struct agent_frame *frame)
{
    if (!tree->inside || frame->length > tree->left)
        return -EPROTO;
    tree->left -= frame->length;
    return AGENT_TREE_DATA;
}

static int on_end(struct agent_tree *tree, const struct agent_frame *frame)
{
    if (!tree->inside || tree->left > 0)
        return -EPROTO;
    tree->inside = false;
    return AGENT_TREE_END;
}

static int over_take(void *context, uint16_t tag, const uint8_t *value, uint32_t length)
{
    struct agent_tree *tree = context;
    return tag == AGENT_TAG_SKIPPED ? agent_value_u32(value, length, &tree->skipped) : 0;
}

static int on_over(struct agent_tree *tree, const struct agent_frame *frame)
{
    int r = agent_fields_each(frame, over_take, tree);
    return r < 0 || tree->inside || !tree->begun ? -EPROTO : AGENT_TREE_OVER;
}

static int on_failed(struct agent_tree *tree, const struct agent_frame *frame)
{
    int r = agent_failure_parse(&tree->failure, frame);
    return r < 0 ? r : AGENT_TREE_FAILED;
}

int agent_tree_take(struct agent_tree *tree, const struct agent_frame *frame)
{
    static const struct {
        uint8_t type;
        int (*take)(struct agent_tree *tree, const struct agent_frame *frame);
    } takers[] = {
        {AGENT_ENTRY, on_entry}, {AGENT_DATA, on_data},     {AGENT_END, on_end},
        {AGENT_OK, on_over},     {AGENT_FAILED, on_failed},
    };
    for (size_t i = 0; i < ARRAY_SIZE(takers); i++) {
        if (takers[i].type == frame->type)
            return takers[i].take(tree, frame);
    }
    return -EPROTO;
}
