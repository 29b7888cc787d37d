/* SPDX-License-Identifier: Apache-2.0 */
#include "api/websocket_upgrade.h"

#include <string.h>
#include <strings.h>

#include "api/websocket.h"

static const char *header(const struct request *request, const char *name)
{
    const char *value = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
    return value ? value : "";
}

static void handshake_check(const struct request *request, struct problem *problem)
{
    /* "Connection" may list several options. */
    if (strcasecmp(header(request, MHD_HTTP_HEADER_UPGRADE), "websocket") != 0 ||
        !strcasestr(header(request, MHD_HTTP_HEADER_CONNECTION), "upgrade"))
        problem_set(problem, 400, PROBLEM_BAD_REQUEST, "this route needs a WebSocket upgrade");
    if (strcmp(header(request, "Sec-WebSocket-Version"), "13") != 0)
        problem_set(problem, MHD_HTTP_UPGRADE_REQUIRED, "Upgrade Required",
                    "Sec-WebSocket-Version must be 13");
    if (strlen(header(request, "Sec-WebSocket-Key")) != 24)
        problem_set(problem, 400, PROBLEM_BAD_REQUEST, "Sec-WebSocket-Key is missing or malformed");
}

/* Runs in the connection's own thread, so it may block. */
static void on_upgrade(void *data, struct MHD_Connection *connection, void *context,
                       const char *early, size_t early_length, MHD_socket fd,
                       struct MHD_UpgradeResponseHandle *handle)
{
    const struct request *request = context;
    const struct websocket_protocol *protocol = data;
    struct websocket_session session = {
        .server = request->server,
        .instance_id = request->id,
        .fd = fd,
        .early = early,
        .early_length = early_length,
    };
    protocol->run(&session);
    MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}

static enum MHD_Result upgrade(struct request *request, const struct websocket_protocol *protocol)
{
    char accept[WEBSOCKET_ACCEPT_SIZE];
    websocket_accept(header(request, "Sec-WebSocket-Key"), accept);
    struct MHD_Response *response =
        MHD_create_response_for_upgrade(on_upgrade, (void *)(uintptr_t)protocol);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE, "websocket");
    MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
    request_becomes_stream(request);
    enum MHD_Result r = reply_response(request, MHD_HTTP_SWITCHING_PROTOCOLS, response);
    MHD_destroy_response(response);
    return r;
}

enum MHD_Result websocket_upgrade(struct request *request,
                                  const struct websocket_protocol *protocol)
{
    struct problem problem = {0};
    struct instance_record record;
    struct error err = {0};
    if (instance_get(request->server->host, request->reference, &record, &err) < 0)
        return reply_error(request, &err);
    if (record.state != INSTANCE_RUNNING)
        problem_set(&problem, 409, "invalid_state", "instance must be running (current state: %s)",
                    instance_state_name(record.state));
    handshake_check(request, &problem);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    memcpy(request->id, record.id, sizeof(request->id));
    return upgrade(request, protocol);
}
