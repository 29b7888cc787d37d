/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: what is accepted, what is refused and why; scopes of routes; the secret's file. */
#include <errno.h>
#include <fcntl.h>
#include <jwt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/json_text.h"
#include "api/scopes.h"
#include "api/token.h"
#include "base/cleanup.h"
#include "base/file.h"

#define NOW 1800000000

static unsigned char secret_bytes[] = "0123456789abcdef0123456789abcdef";
static struct token_secret secret = {secret_bytes, sizeof(secret_bytes) - 1};

static enum token_verdict check(const char *token, int64_t now)
{
    struct token_claims claims = {0};
    const char *reason = NULL;
    enum token_verdict verdict = token_check(&secret, token, now, &claims, &reason);
    assert_non_null(reason);
    if (verdict != TOKEN_GOOD)
        assert_null(claims.permissions);
    token_claims_release(&claims);
    return verdict;
}

/* A token with these claims (JSON), signed with that algorithm and key. Owner: caller. */
static char *sign(const char *claims, jwt_alg_t algorithm, const unsigned char *key, size_t length)
{
    jwt_t *jwt = NULL;
    assert_int_equal(jwt_new(&jwt), 0);
    assert_int_equal(jwt_add_grants_json(jwt, claims), 0);
    assert_int_equal(jwt_set_alg(jwt, algorithm, key, (int)length), 0);
    char *token = jwt_encode_str(jwt);
    assert_non_null(token);
    jwt_free(jwt);
    return token;
}

static enum token_verdict check_claims(const char *claims, jwt_alg_t algorithm)
{
    _cleanup_(free) char *token = sign(claims, algorithm, secret.bytes, secret.length);
    return check(token, NOW);
}

/* RFC 7515, appendix A.1: a token that another implementation made. */
static void test_foreign_token(void **state)
{
    unsigned char key[] = {0x03, 0x23, 0x35, 0x4b, 0x2b, 0x0f, 0xa5, 0xbc, 0x83, 0x7e, 0x06,
                           0x65, 0x77, 0x7b, 0xa6, 0x8f, 0x5a, 0xb3, 0x28, 0xe6, 0xf0, 0x54,
                           0xc9, 0x28, 0xa9, 0x0f, 0x84, 0xb2, 0xd2, 0x50, 0x2e, 0xbf, 0xd3,
                           0xfb, 0x5a, 0x92, 0xd2, 0x06, 0x47, 0xef, 0x96, 0x8a, 0xb4, 0xc3,
                           0x77, 0x62, 0x3d, 0x22, 0x3d, 0x2e, 0x21, 0x72, 0x05, 0x2e, 0x4f,
                           0x08, 0xc0, 0xcd, 0x9a, 0xf5, 0x67, 0xd0, 0x80, 0xa3};
    static const char token[] =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog"
        "Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_"
        "wW1gFWFOEjXk";
    struct token_secret foreign = {key, sizeof(key)};
    struct token_claims claims = {0};
    const char *reason;
    assert_int_equal(token_check(&foreign, token, 1300819379, &claims, &reason), TOKEN_GOOD);
    assert_string_equal(claims.user, "");
    assert_null(claims.permissions);
    assert_int_equal(token_check(&foreign, token, 1300819380, &claims, &reason), TOKEN_INVALID);
    assert_int_equal(token_check(&secret, token, 1300819379, &claims, &reason), TOKEN_INVALID);
}

static void test_round_trip(void **state)
{
    _cleanup_(json) json_t *permissions = json_pack("[s, s]", "instance:read", "image:read");
    struct token_request request = {
        .user = "anna", .now = NOW, .expires = NOW + 60, .permissions = permissions};
    _cleanup_(free) char *token = token_make(&secret, &request);
    struct token_claims claims = {0};
    const char *reason;
    assert_int_equal(strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789-_."),
                     strlen(token));
    assert_int_equal(token_check(&secret, token, NOW, &claims, &reason), TOKEN_GOOD);
    assert_string_equal(claims.user, "anna");
    assert_true(json_equal(claims.permissions, permissions));
    token_claims_release(&claims);
    assert_int_equal(check(token, NOW + 59), TOKEN_GOOD);
    assert_int_equal(check(token, NOW + 60), TOKEN_INVALID);
}

static void test_algorithms(void **state)
{
    assert_int_equal(check_claims("{}", JWT_ALG_HS256), TOKEN_GOOD);
    assert_int_equal(check_claims("{}", JWT_ALG_HS384), TOKEN_GOOD);
    assert_int_equal(check_claims("{}", JWT_ALG_HS512), TOKEN_GOOD);
    _cleanup_(free) char *none = sign("{}", JWT_ALG_NONE, NULL, 0);
    assert_int_equal(check(none, NOW), TOKEN_INVALID);
    /* "alg" none in other spellings, with and without a signature; RS256. */
    static const char *const heads[] = {
        "eyJhbGciOiJub25lIn0",                 /* none */
        "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0", /* None */
        "eyJhbGciOiJSUzI1NiJ9",                /* RS256 */
        "eyJ0eXAiOiJKV1QifQ",                  /* no alg at all */
        "e30",                                 /* {} */
    };
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        char token[512];
        snprintf(token, sizeof(token), "%s.e30.", heads[i]);
        assert_int_equal(check(token, NOW), TOKEN_INVALID);
        snprintf(token, sizeof(token), "%s.e30.c2lnbmF0dXJl", heads[i]);
        assert_int_equal(check(token, NOW), TOKEN_INVALID);
    }
    struct token_secret empty = {0};
    struct token_claims claims = {0};
    const char *reason;
    assert_int_equal(token_check(&empty, none, NOW, &claims, &reason), TOKEN_INVALID);
}

static void test_wrong_secret(void **state)
{
    static const unsigned char other[] = "0123456789abcdef0123456789abcdeF";
    _cleanup_(free) char *token = sign("{\"sub\":\"x\"}", JWT_ALG_HS256, other, 32);
    assert_int_equal(check(token, NOW), TOKEN_INVALID);
}

/* No bit of a token can be changed and no part left out. */
static void test_tampered(void **state)
{
    _cleanup_(free) char *token =
        sign("{\"sub\":\"x\",\"exp\":1900000000}", JWT_ALG_HS256, secret.bytes, secret.length);
    size_t length = strlen(token);
    assert_int_equal(check(token, NOW), TOKEN_GOOD);
    for (size_t i = 0; i < length; i++) {
        char kept = token[i];
        token[i] = kept == 'A' ? 'B' : 'A';
        assert_int_equal(check(token, NOW), TOKEN_INVALID);
        token[i] = kept;
    }
    for (size_t i = 0; i < length; i++) {
        _cleanup_(free) char *cut = strndup(token, i);
        assert_int_equal(check(cut, NOW), TOKEN_INVALID);
    }
    char longer[1024];
    static const char *const tails[] = {"A", "=", ".", ".A", " ", "\n"};
    for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
        snprintf(longer, sizeof(longer), "%s%s", token, tails[i]);
        assert_int_equal(check(longer, NOW), TOKEN_INVALID);
    }
}

static void test_garbage(void **state)
{
    static const char *const garbage[] = {
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "e30.e30.",
        "!!!.???.###",
        "\xff\xfe.\x01.\x02",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJIUzI1NiJ9.",
        "eyJhbGciOiJIUzI1NiJ9..",
        "eyJhbGciOiJIUzI1NiJ9.W10.x", /* claims: [] */
    };
    for (size_t i = 0; i < ARRAY_SIZE(garbage); i++)
        assert_int_equal(check(garbage[i], NOW), TOKEN_INVALID);
    unsigned seed = 11;
    for (int round = 0; round < 2000; round++) {
        char text[80];
        for (size_t i = 0; i < sizeof(text); i++)
            text[i] = "eyJhbGciOiJIUzI1NiJ9.e30-_=\x80"[rand_r(&seed) % 28];
        text[rand_r(&seed) % sizeof(text)] = '\0';
        text[sizeof(text) - 1] = '\0';
        assert_int_equal(check(text, NOW), TOKEN_INVALID);
    }
}

static void test_claims(void **state)
{
    static const struct {
        const char *claims;
        enum token_verdict verdict;
    } cases[] = {
        {"{\"exp\":1800000001}", TOKEN_GOOD},
        {"{\"exp\":1800000000}", TOKEN_INVALID},
        {"{\"exp\":1800000000.5}", TOKEN_GOOD},
        {"{\"exp\":1799999999.5}", TOKEN_INVALID},
        {"{\"exp\":0}", TOKEN_INVALID},
        {"{\"exp\":-1}", TOKEN_INVALID},
        {"{\"exp\":\"1900000000\"}", TOKEN_INVALID},
        {"{\"exp\":null}", TOKEN_INVALID},
        {"{\"exp\":[1900000000]}", TOKEN_INVALID},
        {"{\"nbf\":1800000000}", TOKEN_GOOD},
        {"{\"nbf\":1800000001}", TOKEN_INVALID},
        {"{\"nbf\":\"1\"}", TOKEN_INVALID},
        {"{\"iat\":1900000000,\"iss\":\"x\",\"aud\":[\"y\"]}", TOKEN_GOOD},
        {"{\"repos\":[]}", TOKEN_WRONG_TYPE},
        {"{\"scope\":\"\"}", TOKEN_WRONG_TYPE},
        {"{\"build_id\":\"b\",\"sub\":\"x\"}", TOKEN_WRONG_TYPE},
        {"{\"sub\":\"builder-1\"}", TOKEN_WRONG_TYPE},
        {"{\"sub\":\"a-builder-1\"}", TOKEN_GOOD},
        {"{\"scope\":\"x\",\"exp\":1}", TOKEN_INVALID},
        {"{\"permissions\":[]}", TOKEN_GOOD},
        {"{\"permissions\":[\"unknown:scope\"]}", TOKEN_GOOD},
        {"{\"permissions\":\"*\"}", TOKEN_INVALID},
        {"{\"permissions\":null}", TOKEN_INVALID},
        {"{\"permissions\":{}}", TOKEN_INVALID},
        {"{\"permissions\":[1]}", TOKEN_INVALID},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (check_claims(cases[i].claims, JWT_ALG_HS256) != cases[i].verdict)
            fail_msg("%s", cases[i].claims);
    }
}

static void expect_scope(const char *method, const char *path, const char *scope)
{
    char text[128], *rest = text;
    const char *segments[8];
    size_t count = 0;
    snprintf(text, sizeof(text), "%s", path);
    for (char *segment; (segment = strsep(&rest, "/"));)
        segments[count++] = segment;
    const char *needed = scope_needed(method, segments, count);
    if (!scope || !needed) {
        if (scope != needed)
            fail_msg("%s %s: %s", method, path, needed ? needed : "open");
        return;
    }
    assert_string_equal(needed, scope);
    assert_true(scope_is_known(needed));
}

static void test_scopes(void **state)
{
    expect_scope("GET", "health", NULL);
    expect_scope("POST", "health", "*");
    expect_scope("GET", "resources", "resource:read");
    expect_scope("GET", "instances", "instance:read");
    expect_scope("POST", "instances", "instance:write");
    expect_scope("GET", "instances/x", "instance:read");
    expect_scope("PATCH", "instances/x", "instance:write");
    expect_scope("DELETE", "instances/x", "instance:delete");
    static const char *const reads[] = {"stats", "stat", "wait", "logs"};
    static const char *const writes[] = {"start", "stop", "standby", "restore", "fork"};
    char path[64];
    for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
        snprintf(path, sizeof(path), "instances/x/%s", reads[i]);
        expect_scope("GET", path, "instance:read");
    }
    for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
        snprintf(path, sizeof(path), "instances/x/%s", writes[i]);
        expect_scope("POST", path, "instance:write");
    }
    expect_scope("GET", "instances/x/exec", "instance:write");
    expect_scope("GET", "instances/x/cp", "instance:write");
    /* An instance that is called so. */
    expect_scope("GET", "instances/exec", "instance:read");
    expect_scope("POST", "instances/x/snapshots", "snapshot:write");
    expect_scope("POST", "instances/x/snapshots/s/restore", "snapshot:write");
    expect_scope("GET", "snapshots", "snapshot:read");
    expect_scope("GET", "snapshots/s", "snapshot:read");
    expect_scope("POST", "snapshots/s/fork", "snapshot:write");
    expect_scope("DELETE", "snapshots/s", "snapshot:delete");
    expect_scope("GET", "warm", "instance:read");
    expect_scope("GET", "instances/x/warm", "instance:read");
    expect_scope("PUT", "instances/x/warm", "instance:write");
    expect_scope("DELETE", "instances/x/warm", "instance:write");
    expect_scope("GET", "snapshots/s/warm", "snapshot:read");
    expect_scope("PUT", "snapshots/s/warm", "snapshot:write");
    expect_scope("DELETE", "snapshots/s/warm", "snapshot:write");
    expect_scope("GET", "images/a/b", "image:read");
    expect_scope("POST", "images", "image:write");
    expect_scope("DELETE", "images/a", "image:delete");
    /* What nobody has thought of is for those who may do everything. */
    expect_scope("GET", "volumes", "*");
    expect_scope("PUT", "instances/x", "*");
    expect_scope("get", "instances", "*");
    assert_false(scope_is_known("instance:all"));
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    assert_int_equal(file_publish(AT_FDCWD, path, text, strlen(text), mode, NULL), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void expect_secret(const char *path, int errnum, const char *part)
{
    struct token_secret read = {0};
    struct error err = {0};
    assert_int_equal(token_secret_read(&read, path, &err), -errnum);
    assert_null(read.bytes);
    if (!strstr(err.message, part))
        fail_msg("\"%s\" is not in \"%s\"", part, err.message);
}

static void test_secret_file(void **state)
{
    char directory[] = "/tmp/tine-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/secret", directory);
    expect_secret(path, ENOENT, path);
    expect_secret(directory, EINVAL, "not a regular file");
    write_file(path, "too short\n", 0600);
    expect_secret(path, EINVAL, "secret: the token secret has 9 bytes, not 32 to 4096");
    static const mode_t open_modes[] = {0640, 0604, 0660, 0601, 0620, 0644};
    for (size_t i = 0; i < ARRAY_SIZE(open_modes); i++) {
        write_file(path, "0123456789abcdef0123456789abcdef\n", open_modes[i]);
        expect_secret(path, EPERM, "open to others");
    }
    write_file(path, "0123456789abcdef0123456789abcdef\n", 0400);
    struct token_secret read = {0};
    assert_int_equal(token_secret_read(&read, path, NULL), 0);
    assert_int_equal(read.length, 32); /* without the newline */
    assert_memory_equal(read.bytes, secret.bytes, 32);
    token_secret_release(&read);
    _cleanup_(free) char *big = calloc(1, TOKEN_SECRET_MAX + 100);
    memset(big, 'x', TOKEN_SECRET_MAX + 1);
    write_file(path, big, 0600);
    expect_secret(path, EINVAL, "not 32 to 4096");
    if (geteuid() == 0) {
        write_file(path, "0123456789abcdef0123456789abcdef\n", 0600);
        assert_int_equal(chown(path, 65534, 65534), 0);
        expect_secret(path, EPERM, "belongs to user 65534");
    }
    assert_int_equal(tree_remove(AT_FDCWD, directory, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_foreign_token), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_algorithms),    cmocka_unit_test(test_wrong_secret),
        cmocka_unit_test(test_tampered),      cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_claims),        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_secret_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
