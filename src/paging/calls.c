/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "paging/control.h"
#include "paging/paging_private.h"
#include "stack/layer_stack.h"

static int no_memory(const char *id, struct error *err)
{
    return error_errno(err, ENOMEM, NULL, "session %s", id);
}

static int call(const struct control_request *request, struct error *err)
{
    _cleanup_(control_reply) struct control_reply reply;
    return control_call(request, &reply, err);
}

static void session_path(char path[128], const char *id, const char *rest)
{
    snprintf(path, 128, "/sessions/%.64s%s", id, rest);
}

/* The names of the image's files, lowest first. */
static json_t *layers_json(unsigned layers, const struct paging_format *format)
{
    json_t *names = json_array();
    for (unsigned i = 0; i <= layers; i++) {
        char name[STACK_PACKED_NAME];
        layer_stack_format(name, sizeof(name), IMAGE, i);
        if (i == 0 && format->packed)
            stack_packed_name(IMAGE, format->algorithm, name);
        json_array_append_new(names, json_string(name));
    }
    return names;
}

/* NULL, which no field is made of: raw. */
static const char *compression_of(const struct paging_format *format)
{
    return format->packed ? stack_algorithm_name(format->algorithm) : NULL;
}

int call_make(const char *socket, const struct paging_request *request, int keeper,
              struct error *err)
{
    _cleanup_(free) char *directory = NULL;
    _cleanup_(free) char *handshake = NULL;
    if (asprintf(&directory, "%s/%s", request->guest_dir, request->directory) < 0 ||
        asprintf(&handshake, "%s/%s", request->guest_dir, request->socket) < 0)
        return no_memory(request->id, err);
    json_t *body = json_pack(
        "{s:s, s:s, s:o, s:s*, s:s, s:s, s:I, s:s}", "id", request->id, "directory", directory,
        "layers", layers_json(request->layers, &request->format), "compression",
        compression_of(&request->format), "cache_key", request->cache_key, "handshake_socket",
        handshake, "peer_uid", (json_int_t)request->peer_uid, "record", PAGING_RECORD);
    const struct control_request make = {.socket = socket,
                                         .method = "POST",
                                         .path = "/sessions",
                                         .body = body,
                                         .has_body = true,
                                         .fds = &keeper,
                                         .fd_count = 1};
    return call(&make, err);
}

int call_take_over(const char *socket, const struct takeover *takeover, struct error *err)
{
    const int fds[] = {takeover->uffd, takeover->block};
    json_t *body = json_pack(
        "{s:s, s:s, s:o, s:s*, s:s, s:b}", "id", takeover->id, "directory", takeover->directory,
        "layers", layers_json(takeover->layers, &takeover->format), "compression",
        compression_of(&takeover->format), "cache_key", takeover->cache_key, "take_over", 1);
    const struct control_request request = {.socket = socket,
                                            .method = "POST",
                                            .path = "/sessions",
                                            .body = body,
                                            .has_body = true,
                                            .fds = fds,
                                            .fd_count = ARRAY_SIZE(fds)};
    return call(&request, err);
}

int call_complete(const char *socket, const char *id, unsigned bandwidth_mib, struct error *err)
{
    char path[128];
    session_path(path, id, "/complete");
    json_t *body = bandwidth_mib > 0
                       ? json_pack("{s:I}", "bandwidth_mib", (json_int_t)bandwidth_mib)
                       : json_object();
    const struct control_request request = {
        .socket = socket, .method = "POST", .path = path, .body = body, .has_body = true};
    return call(&request, err);
}

int call_delete(const char *socket, const char *id, bool detach, struct error *err)
{
    char path[128];
    session_path(path, id, "");
    const struct control_request request = {.socket = socket,
                                            .method = "DELETE",
                                            .path = path,
                                            .body = json_pack("{s:b}", "detach", detach),
                                            .has_body = true};
    return call(&request, err);
}

int call_drain(const char *socket, struct error *err)
{
    const struct control_request request = {.socket = socket, .method = "POST", .path = "/drain"};
    return call(&request, err);
}

int call_descriptors(const char *socket, const char *id, int *uffd, int *block, struct error *err)
{
    char path[128];
    session_path(path, id, "/descriptors");
    const struct control_request request = {.socket = socket, .method = "GET", .path = path};
    _cleanup_(control_reply) struct control_reply reply;
    int r = control_call(&request, &reply, err);
    if (r == 0 && reply.fd_count != 2)
        r = error_set(err, ERROR_SYSTEM, EPROTO, "pager: %zu descriptors of session %s came",
                      reply.fd_count, id);
    if (r < 0)
        return r;
    *uffd = reply.fds[0];
    *block = reply.fds[1];
    reply.fd_count = 0;
    return 0;
}

static const struct {
    const char *name;
    enum paging_state state;
    bool ended;
} states[] = {
    {"waiting", PAGING_WAITING, false},       {"serving", PAGING_SERVING, false},
    {"completing", PAGING_COMPLETING, false}, {"completed", PAGING_COMPLETED, false},
    {"failed", PAGING_LOST, false},           {"ended", PAGING_NONE, true},
};

static bool facts_read(json_t *session, struct session_facts *facts)
{
    const char *state = NULL;
    json_int_t pages = 0, present = 0, faults = 0;
    int state_version = 1, recorded = 0;
    *facts = (struct session_facts){.reason = NULL};
    if (json_unpack(session, "{s:s, s:s, s:s, s:s, s?s, s?i, s?b, s:I, s:I, s:{s:I}}", "id",
                    &facts->id, "state", &state, "image", &facts->image, "cache_key",
                    &facts->cache_key, "reason", &facts->reason, "state_version", &state_version,
                    "recorded", &recorded, "pages", &pages, "present", &present, "counters",
                    "faults", &faults) < 0)
        return false;
    facts->state_version = (unsigned)state_version;
    facts->recorded = recorded;
    facts->pages = (uint64_t)pages;
    facts->present = (uint64_t)present;
    facts->faults = (uint64_t)faults;
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        if (strcmp(states[i].name, state) == 0) {
            facts->state = states[i].state;
            facts->ended = states[i].ended;
            return true;
        }
    }
    return false;
}

/* Of a pager that knows none of them all are 0. */
static void cache_read(const json_t *cache, struct paging_cache *counts)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
#define OF_CACHE(name) {#name, offsetof(struct paging_cache, name)}
        OF_CACHE(limit_bytes), OF_CACHE(bytes),     OF_CACHE(hits),     OF_CACHE(misses),
        OF_CACHE(ahead),       OF_CACHE(evictions), OF_CACHE(failures),
#undef OF_CACHE
    };
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        json_int_t value = json_integer_value(json_object_get(cache, fields[i].name));
        *(uint64_t *)(void *)((char *)counts + fields[i].offset) = value > 0 ? (uint64_t)value : 0;
    }
}

int call_stats(const char *socket, void (*each)(const struct session_facts *facts, void *data),
               void *data, struct paging_cache *cache, struct error *err)
{
    const struct control_request request = {.socket = socket, .method = "GET", .path = "/stats"};
    _cleanup_(control_reply) struct control_reply reply;
    size_t i;
    json_t *session;
    int r = control_call(&request, &reply, err);
    if (r < 0)
        return r;
    json_array_foreach(json_object_get(reply.body, "sessions"), i, session)
    {
        struct session_facts facts;
        if (!facts_read(session, &facts))
            return error_set(err, ERROR_SYSTEM, EPROTO, "pager %s: its statistics make no sense",
                             socket);
        each(&facts, data);
    }
    if (cache)
        cache_read(json_object_get(reply.body, "cache"), cache);
    return 0;
}
