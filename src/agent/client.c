/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/client_request.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define ENTROPY_LIMIT 4096u

static int request_simple(const char *vsock_path, const char *name, uint8_t type,
                          const struct agent_fields *fields, unsigned timeout_ms, struct error *err)
{
    _cleanup_(free) struct agent_reply *reply = calloc(1, sizeof(*reply));
    if (!reply)
        return error_errno(err, ENOMEM, vsock_path, "%s", name);
    struct agent_request request = {
        .vsock_path = vsock_path,
        .name = name,
        .type = type,
        .deadline_ns = time_after_ms(timeout_ms),
    };
    if (fields)
        request.fields = *fields;
    return agent_request_run(&request, reply, err);
}

static int info_take(void *context, uint16_t tag, const uint8_t *value, uint32_t length)
{
    struct agent_info *info = context;
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
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (texts[i].tag == tag)
            agent_value_text(value, length, texts[i].text, texts[i].size);
    }
    return tag == AGENT_TAG_UPTIME_MS ? agent_value_u64(value, length, &info->uptime_ms) : 0;
}

int agent_hello(const char *vsock_path, unsigned timeout_ms, struct agent_info *info,
                struct error *err)
{
    memset(info, 0, sizeof(*info));
    _cleanup_(free) struct agent_reply *reply = calloc(1, sizeof(*reply));
    if (!reply)
        return error_errno(err, ENOMEM, vsock_path, "say hello to the agent");
    struct agent_request request = {
        .vsock_path = vsock_path,
        .name = "say hello to the agent",
        .type = AGENT_HELLO,
        .deadline_ns = time_after_ms(timeout_ms),
    };
    int r = agent_request_run(&request, reply, err);
    if (r < 0)
        return r;
    if (agent_fields_each(&reply->frame, info_take, info) < 0)
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
