/* SPDX-License-Identifier: Apache-2.0 */
/* /sessions */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "http/json_fields.h"
#include "pager/api_private.h"
#include "pager/handshake.h"

#define NAME_LIMIT      255u
#define PATH_LIMIT      4095u
#define RECORD_MS       10000u /* default */
#define RECORD_MS_MAX   3600000u
#define TIMEOUT_MS_MAX  600000u
#define BANDWIDTH_LIMIT 1048576u /* MiB per second */

static int invalid(struct error *err, const char *why)
{
    return error_set(err, ERROR_INVALID, EINVAL, "sessions: %s", why);
}

struct session_body {
    struct pager_session_request request;
    const json_t *layers, *overlays;
    bool take_over;
};

/* clang-format off */ /* its versions differ on braces in macros */
#define STRING(name, needed, limit)                                                               \
    {#name, FIELD_STRING, needed, .offset = offsetof(struct session_body, request.name), .min = 1, \
     .max = (limit)}
#define NUMBER(name, low, high)                                                                   \
    {#name, FIELD_U32, .offset = offsetof(struct session_body, request.name), .min = (low),       \
     .max = (high)}
/* clang-format on */

static const struct json_field session_fields[] = {
    STRING(id, true, SESSION_ID_MAX),
    STRING(directory, true, PATH_LIMIT),
    STRING(cache_key, true, SESSION_KEY_SIZE - 1),
    STRING(handshake_socket, false, PATH_LIMIT),
    STRING(record, false, NAME_LIMIT),
    STRING(compression, false, NAME_LIMIT),
    NUMBER(peer_uid, 0, UINT32_MAX - 1),
    NUMBER(handshake_timeout_ms, 1, TIMEOUT_MS_MAX),
    NUMBER(record_ms, 0, RECORD_MS_MAX),
    {"layers", FIELD_ARRAY, true, .offset = offsetof(struct session_body, layers)},
    {"overlays", FIELD_ARRAY, .offset = offsetof(struct session_body, overlays)},
    {"take_over", FIELD_BOOL, .offset = offsetof(struct session_body, take_over)},
};

static const struct json_field overlay_fields[] = {
    {"file", FIELD_STRING, true, .offset = offsetof(struct pager_overlay, file), .min = 1,
     .max = NAME_LIMIT},
    {"page", FIELD_U64, true, .offset = offsetof(struct pager_overlay, page), .max = INT64_MAX},
};

/* Names of files in the session's directory: nothing leads out of it. */
static int name_check(const char *name, const char *field, struct error *err)
{
    if (!strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL, "sessions: %s '%.64s' is not a plain file name",
                     field, name);
}

static int layers_read(struct session_body *body, struct error *err)
{
    struct pager_session_request *request = &body->request;
    size_t count = json_array_size(body->layers);
    if (count == 0)
        return invalid(err, "layers must hold a file name");
    if (count > STACK_SOURCE_FILES)
        return error_set(err, ERROR_INVALID, EINVAL, "sessions: %zu layers, at most %u", count,
                         STACK_SOURCE_FILES);
    for (size_t i = 0; i < count; i++) {
        const json_t *layer = json_array_get(body->layers, i);
        if (!json_is_string(layer) || json_string_length(layer) == 0 ||
            json_string_length(layer) > NAME_LIMIT)
            return invalid(err, "layers must hold file names");
        int r = name_check(json_string_value(layer), "layer", err);
        if (r < 0)
            return r;
        request->layers[i] = strdup(json_string_value(layer));
        if (!request->layers[i])
            return error_errno(err, ENOMEM, NULL, "sessions");
        request->layer_count++;
    }
    return 0;
}

static int overlays_read(struct session_body *body, struct error *err)
{
    struct pager_session_request *request = &body->request;
    size_t count = json_array_size(body->overlays);
    if (count > SESSION_MAX_OVERLAYS)
        return error_set(err, ERROR_INVALID, EINVAL, "sessions: %zu overlays, at most %u", count,
                         SESSION_MAX_OVERLAYS);
    for (size_t i = 0; i < count; i++) {
        struct pager_overlay *overlay = &request->overlays[i];
        request->overlay_count++;
        int r = json_fields_read(json_array_get(body->overlays, i), "sessions: overlay",
                                 overlay_fields, ARRAY_SIZE(overlay_fields), overlay, err);
        if (r == 0)
            r = name_check(overlay->file, "overlay", err);
        for (size_t k = 0; r == 0 && k < i; k++) {
            if (request->overlays[k].page == overlay->page)
                r = invalid(err, "two overlays are of one page");
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int request_check(const struct session_body *body, struct error *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const struct pager_session_request *request = &body->request;
    if (strspn(request->id, allowed) != strlen(request->id))
        return invalid(err, "id: only letters, digits, '-', '_' and '.' are allowed");
    if (request->directory[0] != '/')
        return invalid(err, "directory must be an absolute path");
    if (body->take_over && (request->handshake_socket || request->overlay_count > 0))
        return invalid(err, "a session that is taken over has its VM and overlays already");
    if (!body->take_over && !request->handshake_socket)
        return invalid(err, "field 'handshake_socket' is missing");
    return request->record ? name_check(request->record, "record", err) : 0;
}

/* With a take-over the userfaultfd and the state come with the request, else at most a socket. */
static int descriptors_take(struct session_body *body, struct http_descriptors *descriptors,
                            struct error *err)
{
    if (body->take_over && descriptors->count != 2)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "sessions: a take-over needs two descriptors, %zu came",
                         descriptors->count);
    if (!body->take_over && descriptors->count > 1)
        return error_set(err, ERROR_INVALID, EINVAL, "sessions: %zu descriptors came, at most one",
                         descriptors->count);
    if (body->take_over) {
        body->request.uffd = TAKE_FD(descriptors->fds[0]);
        body->request.state_fd = TAKE_FD(descriptors->fds[1]);
    } else if (descriptors->count == 1) {
        body->request.keeper_fd = TAKE_FD(descriptors->fds[0]);
    }
    return 0;
}

static int body_read(struct api_call *call, struct session_body *body, struct error *err)
{
    int r = json_fields_read(call->body, "sessions", session_fields, ARRAY_SIZE(session_fields),
                             body, err);
    if (r == 0)
        r = layers_read(body, err);
    if (r == 0)
        r = overlays_read(body, err);
    if (r == 0)
        r = request_check(body, err);
    return r < 0 ? r : descriptors_take(body, call->descriptors, err);
}

static void body_free(struct session_body *body)
{
    struct pager_session_request *request = &body->request;
    for (uint32_t i = 0; i < request->overlay_count; i++)
        free(request->overlays[i].file);
    cleanup_close(&request->keeper_fd);
    cleanup_close(&request->uffd);
    cleanup_close(&request->state_fd);
    free(request->id);
    free(request->directory);
    for (unsigned i = 0; i < request->layer_count; i++)
        free(request->layers[i]);
    free(request->cache_key);
    free(request->handshake_socket);
    free(request->record);
    free(request->compression);
}

static void to_json(struct session *session, void *data)
{
    *(json_t **)data = session_json(session);
}

int get_session(struct api_call *call, struct error *err)
{
    pager_session_visit(call->session, to_json, &call->result);
    return call->result ? 0 : error_errno(err, ENOMEM, NULL, "build the answer");
}

int post_sessions(struct api_call *call, struct error *err)
{
    struct session_body body = {.request = {.peer_uid = geteuid(),
                                            .handshake_timeout_ms = HANDSHAKE_TIMEOUT_MS,
                                            .record_ms = RECORD_MS,
                                            .keeper_fd = -1,
                                            .uffd = -1,
                                            .state_fd = -1}};
    int r = body_read(call, &body, err);
    if (r == 0)
        r = pager_session_create(call->pager, &body.request, err);
    if (r == 0) {
        call->session = pager_session_find(call->pager, body.request.id, err);
        r = call->session ? get_session(call, err) : -ENOENT;
    }
    body_free(&body);
    return r;
}

int get_descriptors(struct api_call *call, struct error *err)
{
    int r = pager_session_descriptors(call->session, call->answer->descriptors, err);
    if (r < 0)
        return r;
    call->answer->descriptor_count = 2;
    return get_session(call, err);
}

int delete_session(struct api_call *call, struct error *err)
{
    bool detach = false;
    static const struct json_field fields[] = {{"detach", FIELD_BOOL}};
    int r = call->body ? json_fields_read(call->body, "sessions", fields, 1, &detach, err) : 0;
    return r < 0 ? r : pager_session_delete(call->pager, call->session, detach, err);
}

int post_complete(struct api_call *call, struct error *err)
{
    uint64_t bandwidth = 0;
    static const struct json_field fields[] = {
        {"bandwidth_mib", FIELD_U64, .min = 1, .max = BANDWIDTH_LIMIT}};
    int r = call->body ? json_fields_read(call->body, "complete", fields, 1, &bandwidth, err) : 0;
    return r < 0 ? r : pager_session_complete(call->session, bandwidth << 20, err);
}
