/* SPDX-License-Identifier: Apache-2.0 */
/* What a hostile peer may send: frames by both readers (the host's and the guest's, which must
 * agree), every payload as fields, as text, as a request and as an answer; all frames together as a
 * copy out of the guest; and all bytes as what the watcher of a main program hears. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/entry.h"
#include "agent/guest/copy_request.h"
#include "agent/guest/exec_request.h"
#include "agent/guest/exec_stream.h"
#include "agent/protocol.h"
#include "agent/watch.h"
#include "base/relative_path.h"

#define INPUT_LIMIT (128u << 10) /* what a socket takes without a reader */

static void check(int holds)
{
    if (!holds)
        abort();
}

static void walk_fields(const uint8_t *data, size_t length)
{
    size_t offset = 0, before = 0;
    uint16_t tag;
    const uint8_t *value;
    uint32_t value_length, number;
    uint64_t large;
    char text[64];
    while (agent_field_next(data, length, &offset, &tag, &value, &value_length) > 0) {
        check(offset > before && offset <= length);
        check(value + value_length == data + offset);
        before = offset;
        agent_value_u32(value, value_length, &number);
        agent_value_u64(value, value_length, &large);
        agent_value_text(value, value_length, text, sizeof(text));
        check(strlen(text) < sizeof(text));
    }
}

static void parse_exec(const uint8_t *data, size_t length)
{
    struct exec_request request;
    if (exec_request_parse(&request, data, length, NULL) == 0)
        check(request.argv[0] && request.cwd && request.env[0]);
    exec_request_release(&request);
}

static void parse_answers(const uint8_t *data, size_t length)
{
    struct agent_exit outcome;
    struct agent_failure failure;
    struct agent_frame frame = {0, (uint32_t)length, (uint8_t *)(uintptr_t)data};
    if (agent_exit_parse(&outcome, &frame) == 0)
        check(outcome.code >= 0 && outcome.code <= 255 && outcome.signal >= 0);
    if (agent_outcome_parse(&outcome, &frame) == 0)
        check(outcome.code >= -1 && outcome.code <= 255);
    if (agent_failure_parse(&failure, &frame) == 0)
        check(failure.errnum > 0 && strlen(failure.message) < sizeof(failure.message));
}

/* As an entry, the answer to a stat, and what a host may ask of the guest's files. */
static void parse_files(const uint8_t *data, size_t length)
{
    static struct agent_entry entry;
    static struct agent_stat info;
    static struct copy_request request;
    struct agent_frame frame = {0, (uint32_t)length, (uint8_t *)(uintptr_t)data};
    if (agent_entry_parse(&entry, &frame) == 0) {
        check(strcmp(entry.path, ".") == 0 || relative_path_valid(entry.path));
        check(entry.path[0] != '/' && !strstr(entry.path, "/../"));
        check(S_ISREG(entry.mode) || entry.size == 0);
        check(S_ISLNK(entry.mode) == (entry.link_target[0] != '\0'));
    }
    if (agent_stat_parse(&info, &frame) == 0)
        check(info.errnum >= 0 && strlen(info.message) < sizeof(info.message));
    if (copy_request_parse(&request, &frame, NULL) == 0)
        check(request.path[0] == '/' && request.mode <= 07777);
}

/* A get, frame by frame: whatever is taken stays in its tree and keeps to its sizes. */
static void follow_tree(struct agent_tree *tree, const struct agent_frame *frame)
{
    uint64_t left = tree->left;
    bool inside = tree->inside;
    switch (agent_tree_take(tree, frame)) {
    case AGENT_TREE_ENTRY:
        check(!inside && tree->left == tree->entry.size);
        check(strncmp(tree->entry.path, tree->root, strlen(tree->root)) == 0 ||
              strcmp(tree->root, ".") == 0);
        break;
    case AGENT_TREE_DATA:
        check(inside && frame->length <= left);
        break;
    case AGENT_TREE_END:
        check(inside && left == 0);
        break;
    case AGENT_TREE_OVER:
        check(!inside && tree->begun);
        break;
    default:
        break;
    }
}

/* A socket that holds the input and then ends. */
static int source_open(const uint8_t *data, size_t size)
{
    int ends[2], room = 4 * INPUT_LIMIT;
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    check(send(ends[1], data, size, MSG_DONTWAIT) == (ssize_t)size || size == 0);
    close(ends[1]);
    return ends[0];
}

static unsigned read_as_host(const uint8_t *data, size_t size)
{
    static uint8_t buffer[AGENT_FRAME_LIMIT];
    static struct agent_tree tree;
    struct agent_frame frame;
    unsigned count = 0;
    int fd = source_open(data, size);
    memset(&tree, 0, sizeof(tree));
    while (agent_frame_read(fd, buffer, &frame, NULL) == 1) {
        check(frame.length <= AGENT_FRAME_LIMIT && frame.payload == buffer);
        walk_fields(frame.payload, frame.length);
        parse_exec(frame.payload, frame.length);
        parse_answers(frame.payload, frame.length);
        parse_files(frame.payload, frame.length);
        follow_tree(&tree, &frame);
        count++;
    }
    close(fd);
    return count;
}

static unsigned read_as_guest(const uint8_t *data, size_t size)
{
    static struct frame_input input;
    struct agent_frame frame;
    unsigned count = 0;
    int fd = source_open(data, size);
    input.length = 0;
    while (frame_input_read(&input, fd, &frame) == 1)
        count++;
    close(fd);
    return count;
}

/* From the VMM's consent on, or behind it. Nothing of it may block. */
static void hear_as_watcher(const uint8_t *data, size_t size, enum agent_watch_stage stage)
{
    int ends[2], room = 4 * INPUT_LIMIT;
    struct agent_exit outcome;
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    check(send(ends[1], data, size, MSG_DONTWAIT) == (ssize_t)size || size == 0);
    struct agent_watch watch = {.fd = ends[0], .stage = stage};
    if (agent_watch_take(&watch, &outcome, NULL) > 0) {
        check(outcome.code >= 0 && outcome.code <= 255);
        check(agent_watch_taken(&watch, NULL) == 0);
    }
    agent_watch_close(&watch);
    close(ends[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_LIMIT)
        return -1;
    walk_fields(data, size);
    parse_exec(data, size);
    parse_answers(data, size);
    parse_files(data, size);
    hear_as_watcher(data, size, AGENT_WATCH_LINE);
    hear_as_watcher(data, size, AGENT_WATCH_HEADER);
    check(read_as_host(data, size) == read_as_guest(data, size));
    return 0;
}
