/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/api/api.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/api/api_private.h"

#define API_MAX_CONNECTIONS 10

static void handle(void *context, const struct http_request *request,
                   struct http_descriptors *descriptors, struct http_answer *answer)
{
    api_dispatch(context, request, descriptors, answer);
}

struct api *api_create(const char *socket_path, size_t body_limit, struct loop *loop,
                       struct vmm *vmm, struct error *err)
{
    struct api *api = calloc(1, sizeof(*api));
    if (!api) {
        error_errno(err, ENOMEM, socket_path, "API socket %s", socket_path);
        return NULL;
    }
    const struct http_server_config config = {.path = socket_path,
                                              .name = "Firecracker API",
                                              .body_limit = body_limit,
                                              .max_connections = API_MAX_CONNECTIONS,
                                              .descriptors = true,
                                              .handle = handle,
                                              .context = api};
    api->vmm = vmm;
    api->server = http_server_create(&config, loop, err);
    if (!api->server) {
        api_destroy(api);
        return NULL;
    }
    return api;
}

void api_destroy(struct api *api)
{
    if (!api)
        return;
    http_server_destroy(api->server);
    free(api->metrics_path);
    free(api);
}
