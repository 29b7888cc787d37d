/* SPDX-License-Identifier: Apache-2.0 */
#include "api/access.h"

#include <string.h>
#include <strings.h>

#include "api/scopes.h"
#include "api/token.h"
#include "base/clock.h"
#include "base/log.h"

#define SCHEME "Bearer "

static void unauthorized(struct problem *problem, const char *message)
{
    problem_set(problem, MHD_HTTP_UNAUTHORIZED, "Unauthorized", "%s", message);
}

/* The token in the header, or NULL and a problem. */
static const char *bearer(const struct request *request, struct problem *problem)
{
    const char *header = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                     MHD_HTTP_HEADER_AUTHORIZATION);
    if (!header || !*header) {
        unauthorized(problem, "authorization header required");
        return NULL;
    }
    if (strncasecmp(header, SCHEME, strlen(SCHEME)) != 0) {
        unauthorized(problem, "invalid authorization header format");
        return NULL;
    }
    header += strlen(SCHEME);
    return header + strspn(header, " ");
}

static bool permits(const json_t *permissions, const char *scope)
{
    size_t i;
    json_t *item;
    if (!permissions)
        return true;
    json_array_foreach(permissions, i, item)
    {
        const char *name = json_string_value(item);
        if (strcmp(name, SCOPE_ALL) == 0 || strcmp(name, scope) == 0)
            return true;
    }
    return false;
}

void access_check(struct request *request, struct problem *problem)
{
    const char *scope =
        scope_needed(request->method, request->uri.segments, request->uri.segment_count);
    if (!scope)
        return;
    const char *token = bearer(request, problem), *reason = "";
    if (!token)
        return;
    struct token_claims claims = {0};
    int64_t now = (int64_t)(time_realtime_ns() / 1000000000u);
    enum token_verdict verdict =
        token_check(request->server->token_secret, token, now, &claims, &reason);
    if (verdict != TOKEN_GOOD) {
        log_debug("token refused: %s", reason);
        unauthorized(problem, verdict == TOKEN_INVALID ? "invalid token" : "invalid token type");
        return;
    }
    if (!permits(claims.permissions, scope))
        request->missing_scope = scope;
    token_claims_release(&claims);
}

void access_check_scope(const struct request *request, struct problem *problem)
{
    if (request->missing_scope)
        problem_set(problem, MHD_HTTP_FORBIDDEN, "Forbidden", "missing required scope: %s",
                    request->missing_scope);
}
