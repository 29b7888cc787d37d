/* SPDX-License-Identifier: Apache-2.0 */
/* Bearer tokens: JSON Web Tokens (RFC 7519) signed by HMAC with one secret of this host. */
#ifndef TINE_API_TOKEN_H
#define TINE_API_TOKEN_H

#include <jansson.h>
#include <stdint.h>

#include "api/token_secret.h"
#include "base/error.h"

struct token_claims {
    char user[64];       /* for logs, cut if longer; may be empty */
    json_t *permissions; /* array of strings; NULL: everything. Owned */
};

enum token_verdict {
    TOKEN_GOOD,
    TOKEN_INVALID,    /* malformed, wrong signature or algorithm, expired, not valid yet */
    TOKEN_WRONG_TYPE, /* right, but made for something else than this API */
};

/* Checks a token: HS256, HS384 or HS512 over the secret, then `exp` and `nbf`, where present, at
 * `now` (seconds since 1970). Only a good one fills `claims`, for token_claims_release(). `reason`
 * is a static text for the log; it holds nothing of the token. */
enum token_verdict token_check(const struct token_secret *secret, const char *token, int64_t now,
                               struct token_claims *claims, const char **reason);
/* The second half of it: what the claims of a rightly signed token say. */
enum token_verdict token_claims_check(const json_t *json, int64_t now, struct token_claims *claims,
                                      const char **reason);
void token_claims_release(struct token_claims *claims);

struct token_request {
    const char *user;          /* NULL: none */
    int64_t now, expires;      /* seconds since 1970; expires 0: never */
    const json_t *permissions; /* array of strings; NULL: everything */
};

/* Makes a token, signed with HS256. Owner: caller, free(); NULL: out of memory. */
char *token_make(const struct token_secret *secret, const struct token_request *request);

#endif
