/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics: for Prometheus and what understands its format. */
#include <stdlib.h>

#include "api/routes.h"
#include "metrics/metrics.h"

enum MHD_Result metrics_get(struct request *request)
{
    struct error err = {0};
    size_t length = 0;
    char *text = host_metrics(request->server->host, &length, &err);
    if (!text)
        return reply_error(request, &err);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, METRICS_CONTENT_TYPE);
    enum MHD_Result r = reply_response(request, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return r;
}
