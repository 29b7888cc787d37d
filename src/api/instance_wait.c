/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/wait: answers when the instance is in the state, can't get there, or the time
 * is over. */
#include <string.h>

#include "api/json_text.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/duration.h"
#include "base/log.h"

#define TIMEOUT_DEFAULT_NS 60000000000ll
#define TIMEOUT_MAX_NS     300000000000ll
#define POLL_MS            50

static void parameters_read(const struct request *request, enum instance_state *state,
                            int64_t *timeout_ns, struct problem *problem)
{
    const char *wanted = uri_query(&request->uri, "state");
    const char *timeout = uri_query(&request->uri, "timeout");
    struct error err = {0};
    if (!wanted)
        problem_set(problem, 400, PROBLEM_BAD_REQUEST, "state: is required");
    else if (instance_state_parse(wanted, state) < 0 || *state == INSTANCE_UNKNOWN)
        problem_set(problem, 400, "invalid_state", "state: \"%.64s\" can't be waited for", wanted);
    if (!timeout)
        return;
    if (duration_parse(timeout, timeout_ns, &err) < 0)
        problem_set(problem, 400, "invalid_timeout", "timeout: %s", err.message);
    else if (*timeout_ns <= 0)
        problem_set(problem, 400, "invalid_timeout", "timeout: must be above zero");
    if (*timeout_ns > TIMEOUT_MAX_NS)
        *timeout_ns = TIMEOUT_MAX_NS;
}

/* True if the state won't change by itself, so waiting for another is no use. */
static bool is_final(const struct instance_record *record)
{
    bool stopped = record->state == INSTANCE_STOPPED && record->restart_next_ns == 0;
    return stopped || record->state == INSTANCE_STANDBY || record->state == INSTANCE_UNKNOWN;
}

static json_t *state_error_json(const struct instance_record *record)
{
    const char *text = record->state_error;
    return *text ? json_text(text, strlen(text)) : json_null();
}

enum MHD_Result instance_wait_one(struct request *request)
{
    struct problem problem = {0};
    enum instance_state wanted = INSTANCE_UNKNOWN;
    int64_t timeout_ns = TIMEOUT_DEFAULT_NS;
    parameters_read(request, &wanted, &timeout_ns, &problem);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    uint64_t deadline = time_monotonic_ns() + (uint64_t)timeout_ns;
    struct instance_record record;
    struct error err = {0};
    bool timed_out = false;
    if (instance_get(request->server->host, request->reference, &record, &err) < 0)
        return reply_error(request, &err);
    log_debug("wait: %s is %s", record.name, instance_state_name(record.state));
    for (;;) {
        /* By its id: what the reference means may change meanwhile. */
        char id[sizeof(record.id)];
        memcpy(id, record.id, sizeof(id));
        if (instance_get(request->server->host, id, &record, &err) < 0)
            return reply_error(request, &err);
        if (record.state == wanted || is_final(&record))
            break;
        timed_out = time_monotonic_ns() >= deadline || request_wait(request, POLL_MS);
        if (timed_out)
            break;
    }
    return reply_json(request, MHD_HTTP_OK,
                      json_pack("{s:s, s:b, s:o}", "state", instance_state_name(record.state),
                                "timed_out", timed_out, "state_error", state_error_json(&record)));
}
