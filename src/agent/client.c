/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/answer.h"
#include "agent/connect.h"
#include "agent/protocol.h"
#include "agent/stream.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define ENTROPY_LIMIT 4096u

/* One request that is answered by one frame; what is asked for may be done twice. */
struct request {
    const char *vsock_path;
    const char *name; /* in messages */
    uint8_t type;
    struct agent_fields fields;
    uint64_t deadline_ns;
};

struct reply {
    uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
};

/* Turns AGENT_FAILED into an error with the guest's own words. */
static int reply_failed(const struct request *request, const struct agent_frame *frame,
                        struct error *err)
{
    struct agent_failure failure;
    if (agent_failure_parse(&failure, frame) < 0)
        return error_set(err, ERROR_CORRUPT, EPROTO, "%s: the agent's answer is malformed",
                         request->name);
    return error_set(err, ERROR_SYSTEM, failure.errnum, "%s: the agent says: %s", request->name,
                     failure.message);
}

/* Sends the request on `fd` and reads its answer, whatever that is. -ECONNRESET or -EPIPE if the
 * connection is lost before. */
static int exchange(int fd, const struct request *request, struct reply *reply, struct error *err)
{
    int r = agent_frame_write_until(fd, request->type, request->fields.data, request->fields.length,
                                    request->deadline_ns, err);
    if (r == 0)
        r = agent_frame_read_until(fd, reply->buffer, &reply->frame, request->deadline_ns, err);
    if (r == 0)
        return error_set(err, ERROR_SYSTEM, ECONNRESET, "the agent closed without an answer");
    return r < 0 ? r : 0;
}

static int reply_check(const struct request *request, const struct reply *reply, struct error *err)
{
    if (reply->frame.type == AGENT_FAILED)
        return reply_failed(request, &reply->frame, err);
    if (reply->frame.type != AGENT_OK)
        return error_set(err, ERROR_CORRUPT, EPROTO, "%s: the agent answers with frame type %u",
                         request->name, reply->frame.type);
    return 0;
}

/* A restored guest resets its vsock connections once it runs, so also one that we made a moment too
 * early: a connection lost before the answer is worth another try. */
static int request_run(const struct request *request, struct reply *reply, struct error *err)
{
    struct backoff backoff = {0};
    for (;;) {
        _cleanup_(close) int fd =
            vsock_connect_until(request->vsock_path, AGENT_PORT, request->deadline_ns, err);
        if (fd < 0) {
            error_wrap(err, "%s", request->name);
            return fd;
        }
        int r = exchange(fd, request, reply, err);
        if (r == 0)
            return reply_check(request, reply, err);
        if (r != -ECONNRESET && r != -EPIPE)
            return r;
        if (time_monotonic_ns() >= request->deadline_ns)
            return error_set(err, ERROR_TIMEOUT, ETIMEDOUT,
                             "%s: connections to the agent keep being lost", request->name);
        backoff_sleep(&backoff, request->deadline_ns);
    }
}

static int request_simple(const char *vsock_path, const char *name, uint8_t type,
                          const struct agent_fields *fields, unsigned timeout_ms, struct error *err)
{
    _cleanup_(free) struct reply *reply = calloc(1, sizeof(*reply));
    if (!reply)
        return error_errno(err, ENOMEM, vsock_path, "%s", name);
    struct request request = {
        .vsock_path = vsock_path,
        .name = name,
        .type = type,
        .deadline_ns = stream_deadline(timeout_ms),
    };
    if (fields)
        request.fields = *fields;
    return request_run(&request, reply, err);
}

static int info_parse(struct agent_info *info, const struct agent_frame *frame)
{
    const struct {
        uint16_t tag;
        char *text;
        size_t size;
    } texts[] = {
        {AGENT_TAG_VERSION, info->version, sizeof(info->version)},
        {AGENT_TAG_KERNEL, info->kernel, sizeof(info->kernel)},
        {AGENT_TAG_HOSTNAME, info->hostname, sizeof(info->hostname)},
        {AGENT_TAG_BOOT_ID, info->boot_id, sizeof(info->boot_id)},
    };
    size_t offset = 0;
    uint16_t tag;
    const uint8_t *value;
    uint32_t length;
    int r;
    while ((r = agent_field_next(frame->payload, frame->length, &offset, &tag, &value, &length)) >
           0) {
        if (tag == AGENT_TAG_UPTIME_MS && agent_value_u64(value, length, &info->uptime_ms) < 0)
            return -EPROTO;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
            if (texts[i].tag == tag)
                agent_value_text(value, length, texts[i].text, texts[i].size);
        }
    }
    return r;
}

int agent_hello(const char *vsock_path, unsigned timeout_ms, struct agent_info *info,
                struct error *err)
{
    memset(info, 0, sizeof(*info));
    _cleanup_(free) struct reply *reply = calloc(1, sizeof(*reply));
    if (!reply)
        return error_errno(err, ENOMEM, vsock_path, "say hello to the agent");
    struct request request = {
        .vsock_path = vsock_path,
        .name = "say hello to the agent",
        .type = AGENT_HELLO,
        .deadline_ns = stream_deadline(timeout_ms),
    };
    int r = request_run(&request, reply, err);
    if (r < 0)
        return r;
    if (info_parse(info, &reply->frame) < 0)
        return error_set(err, ERROR_CORRUPT, EPROTO, "%s: the agent's answer is malformed",
                         request.name);
    return 0;
}

int agent_restored(const char *vsock_path, unsigned timeout_ms, const char *hostname,
                   const void *entropy, size_t entropy_length, struct error *err)
{
    uint8_t data[ENTROPY_LIMIT + 512];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u64(&fields, AGENT_TAG_WALL_CLOCK_NS, time_realtime_ns());
    if (entropy_length > ENTROPY_LIMIT)
        entropy_length = ENTROPY_LIMIT; /* far more than the guest's pool holds */
    if (entropy_length > 0)
        agent_field_put(&fields, AGENT_TAG_ENTROPY, entropy, entropy_length);
    if (hostname)
        agent_field_put_text(&fields, AGENT_TAG_HOSTNAME, hostname);
    int r;
    if (fields.overflow)
        r = error_set(err, ERROR_INVALID, EINVAL, "the hostname is too long");
    else
        r = request_simple(vsock_path, "tell the agent of the restore", AGENT_RESTORED, &fields,
                           timeout_ms, err);
    explicit_bzero(data, sizeof(data)); /* the guest's random numbers hang on it */
    return r;
}

int agent_poweroff(const char *vsock_path, unsigned timeout_ms, struct error *err)
{
    return request_simple(vsock_path, "ask the agent to power off", AGENT_POWEROFF, NULL,
                          timeout_ms, err);
}

int agent_sync(const char *vsock_path, unsigned timeout_ms, struct error *err)
{
    return request_simple(vsock_path, "ask the agent to sync", AGENT_SYNC, NULL, timeout_ms, err);
}
