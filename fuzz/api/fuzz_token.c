/* SPDX-License-Identifier: Apache-2.0 */
/* A bearer token: any bytes as a token, and as the claims of a rightly signed one. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/json_text.h"
#include "api/token.h"
#include "base/cleanup.h"

#define NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char secret_bytes[] = "0123456789abcdef0123456789abcdef";
    static const struct token_secret secret = {secret_bytes, sizeof(secret_bytes) - 1};
    struct token_claims claims = {0};
    const char *reason = NULL;
    _cleanup_(free) char *text = strndup((const char *)data, size);
    /* Nobody signs by chance. */
    if (token_check(&secret, text, NOW, &claims, &reason) == TOKEN_GOOD || !reason)
        abort();
    _cleanup_(json) json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    enum token_verdict verdict = token_claims_check(json, NOW, &claims, &reason);
    if (verdict == TOKEN_GOOD && !json_is_object(json))
        abort();
    if (verdict != TOKEN_GOOD && claims.permissions)
        abort();
    token_claims_release(&claims);
    return 0;
}
