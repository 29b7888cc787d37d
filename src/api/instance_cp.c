/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/cp. */
#include "api/cp_session.h"
#include "api/routes.h"

enum MHD_Result instance_cp_upgrade(struct request *request)
{
    static const struct websocket_protocol protocol = {cp_session_run};
    return websocket_upgrade(request, &protocol);
}
