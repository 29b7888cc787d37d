/* SPDX-License-Identifier: Apache-2.0 */
#include "api/token.h"

#include <errno.h>
#include <jwt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json_text.h"
#include "base/cleanup.h"

#define BUILDER_PREFIX "builder-"

static void cleanup_jwt(jwt_t **jwt)
{
    jwt_free(*jwt);
}

static enum token_verdict verdict(enum token_verdict verdict, const char *text, const char **reason)
{
    *reason = text;
    return verdict;
}

static bool is_hmac(jwt_alg_t algorithm)
{
    return algorithm == JWT_ALG_HS256 || algorithm == JWT_ALG_HS384 || algorithm == JWT_ALG_HS512;
}

/* A NumericDate (RFC 7519, section 2), which may have a fraction. */
static bool date_valid(const json_t *date)
{
    return !date || json_is_number(date);
}

static bool permissions_valid(const json_t *permissions)
{
    size_t i;
    json_t *item;
    if (permissions && !json_is_array(permissions))
        return false;
    json_array_foreach(permissions, i, item)
    {
        if (!json_is_string(item))
            return false;
    }
    return true;
}

/* Tokens of an image registry or of a builder may be signed with the same secret. */
static bool is_foreign(const json_t *json, const char *user)
{
    static const char *const marks[] = {"repos", "scope", "build_id"};
    for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
        if (json_object_get(json, marks[i]))
            return true;
    }
    return strncmp(user, BUILDER_PREFIX, strlen(BUILDER_PREFIX)) == 0;
}

enum token_verdict token_claims_check(const json_t *json, int64_t now, struct token_claims *claims,
                                      const char **reason)
{
    const json_t *expires = json_object_get(json, "exp"), *begins = json_object_get(json, "nbf");
    const char *subject = json_string_value(json_object_get(json, "sub"));
    json_t *permissions = json_object_get(json, "permissions");
    if (!json_is_object(json))
        return verdict(TOKEN_INVALID, "its claims are not an object", reason);
    if (!date_valid(expires) || !date_valid(begins))
        return verdict(TOKEN_INVALID, "exp or nbf is not a number", reason);
    if (expires && json_number_value(expires) <= (double)now)
        return verdict(TOKEN_INVALID, "it expired", reason);
    if (begins && json_number_value(begins) > (double)now)
        return verdict(TOKEN_INVALID, "it is not valid yet", reason);
    if (is_foreign(json, subject ? subject : ""))
        return verdict(TOKEN_WRONG_TYPE, "it is a registry's or a builder's", reason);
    if (!permissions_valid(permissions))
        return verdict(TOKEN_INVALID, "permissions is not a list of strings", reason);
    snprintf(claims->user, sizeof(claims->user), "%s", subject ? subject : "");
    claims->permissions = json_incref(permissions);
    return verdict(TOKEN_GOOD, "good", reason);
}

enum token_verdict token_check(const struct token_secret *secret, const char *token, int64_t now,
                               struct token_claims *claims, const char **reason)
{
    _cleanup_(jwt) jwt_t *jwt = NULL;
    /* Without a key the library checks no signature at all. */
    if (secret->length == 0)
        return verdict(TOKEN_INVALID, "there is no secret", reason);
    if (jwt_decode(&jwt, token, secret->bytes, (int)secret->length) != 0)
        return verdict(TOKEN_INVALID, "malformed, or the signature is wrong", reason);
    if (!is_hmac(jwt_get_alg(jwt)))
        return verdict(TOKEN_INVALID, "its algorithm is not HS256, HS384 or HS512", reason);
    _cleanup_(free) char *text = jwt_get_grants_json(jwt, NULL);
    _cleanup_(json) json_t *json = text ? json_loads(text, 0, NULL) : NULL;
    return token_claims_check(json, now, claims, reason);
}

void token_claims_release(struct token_claims *claims)
{
    json_decref(claims->permissions);
    *claims = (struct token_claims){0};
}

static int permissions_add(jwt_t *jwt, const json_t *permissions)
{
    _cleanup_(json) json_t *object = json_pack("{s:O}", "permissions", permissions);
    _cleanup_(free) char *text = json_dumps(object, JSON_COMPACT);
    return text ? jwt_add_grants_json(jwt, text) : ENOMEM;
}

char *token_make(const struct token_secret *secret, const struct token_request *request)
{
    _cleanup_(jwt) jwt_t *jwt = NULL;
    if (jwt_new(&jwt) != 0)
        return NULL;
    int failed = request->user ? jwt_add_grant(jwt, "sub", request->user) : 0;
    failed |= jwt_add_grant_int(jwt, "iat", request->now);
    if (request->expires != 0)
        failed |= jwt_add_grant_int(jwt, "exp", request->expires);
    if (request->permissions)
        failed |= permissions_add(jwt, request->permissions);
    failed |= jwt_set_alg(jwt, JWT_ALG_HS256, secret->bytes, (int)secret->length);
    return failed ? NULL : jwt_encode_str(jwt);
}
