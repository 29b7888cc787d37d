/* SPDX-License-Identifier: Apache-2.0 */
#include "api/routes.h"

enum MHD_Result health_get(struct request *request)
{
    return reply_json(request, MHD_HTTP_OK,
                      json_pack("{s:s, s:{s:s}}", "status", "ok", "tine", "version", TINE_VERSION));
}
