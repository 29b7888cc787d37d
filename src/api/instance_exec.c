/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/exec. */
#include "api/exec_session.h"
#include "api/routes.h"

enum MHD_Result instance_exec_upgrade(struct request *request)
{
    static const struct websocket_protocol protocol = {exec_session_run};
    return websocket_upgrade(request, &protocol);
}
