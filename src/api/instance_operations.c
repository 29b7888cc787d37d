/* SPDX-License-Identifier: Apache-2.0 */
/* POST /instances/{id}/{start,stop,standby,restore}: one shape, four operations. */
#include <stdlib.h>

#include "api/compression.h"
#include "api/instance_json.h"
#include "api/program_fields.h"
#include "api/routes.h"
#include "base/cleanup.h"

static enum MHD_Result reply_outcome(struct request *request, int result,
                                     const struct instance_record *record, const struct error *err)
{
    if (result < 0)
        return reply_error(request, err);
    return reply_json(request, MHD_HTTP_OK, instance_json(record, NULL));
}

enum MHD_Result instance_start_one(struct request *request)
{
    struct problem problem = {0};
    _cleanup_(json) json_t *body = request_body(request, &problem);
    struct fields fields = {body, "", &problem};
    _cleanup_(program_fields) struct program_fields program = {.env = NULL};
    program_fields_read_start(&fields, &program);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct instance_record record;
    struct error err = {0};
    int r = instance_start_with(request->server->host, request->reference, &program.request,
                                &record, &err);
    return reply_outcome(request, r, &record, &err);
}

enum MHD_Result instance_stop_one(struct request *request)
{
    struct problem problem = {0};
    int64_t grace_ms = 0;
    _cleanup_(json) json_t *body = request_body(request, &problem);
    struct fields fields = {body, "", &problem};
    struct fields tine = fields_object(&fields, "tine", "tine.");
    fields_integer(&tine, "grace_ms", 1, 600000, &grace_ms);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct instance_record record;
    struct error err = {0};
    int r =
        instance_stop(request->server->host, request->reference, (unsigned)grace_ms, &record, &err);
    return reply_outcome(request, r, &record, &err);
}

enum MHD_Result instance_standby_one(struct request *request)
{
    struct problem problem = {0};
    _cleanup_(json) json_t *body = request_body(request, &problem);
    struct fields fields = {body, "", &problem};
    struct stack_compression how;
    struct standby_options options = {.has_compression = false};
    options.has_compression = compression_read(&fields, true, &how, &options.compression);
    options.has_delay = compression_delay_read(&fields, &options.compression_delay_ns);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct instance_record record;
    struct error err = {0};
    struct host *host = request->server->host;
    int r = options.has_compression || options.has_delay
                ? instance_standby_with(host, request->reference, &options, &record, &err)
                : instance_standby(host, request->reference, &record, &err);
    return reply_outcome(request, r, &record, &err);
}

enum MHD_Result instance_restore_one(struct request *request)
{
    struct instance_record record;
    struct error err = {0};
    int r = instance_restore(request->server->host, request->reference, &record, &err);
    return reply_outcome(request, r, &record, &err);
}
