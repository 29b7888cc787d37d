/* SPDX-License-Identifier: Apache-2.0 */
/* docs/openapi.yaml as a whole: every operation in it is there, needs the scope that it says, and
 * is whole itself. That replies are as documented is checked at every call of the API's tests. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/scopes.h"
#include "base/cleanup.h"
#include "http_client.h"
#include "openapi.h"
#include "schema.h"

static const char *double_path;
static struct daemon daemon_;

static int setup(void **state)
{
    daemon_start(&daemon_, double_path, NULL);
    return 0;
}

static int teardown(void **state)
{
    daemon_stop(&daemon_);
    return 0;
}

typedef void operation_visitor(const char *method, const char *path, const json_t *operation);

/* Calls it for every operation of the document; returns how many there are. */
static unsigned each_operation(operation_visitor *visit)
{
    const char *path, *name;
    json_t *item, *operation;
    unsigned count = 0;
    json_object_foreach(json_object_get(openapi_document(), "paths"), path, item)
    {
        json_object_foreach(item, name, operation)
        {
            char method[16] = "";
            if (strcmp(name, "parameters") == 0)
                continue;
            for (size_t i = 0; name[i] && i + 1 < sizeof(method); i++)
                method[i] = (char)toupper((unsigned char)name[i]);
            visit(method, path, operation);
            count++;
        }
    }
    return count;
}

/* "/instances/{id}/stop" with "none" in the place of what is variable. */
static void fill(const char *form, char *path, size_t size)
{
    size_t length = 0;
    while (*form && length + 8 < size) {
        if (*form != '{') {
            path[length++] = *form++;
            continue;
        }
        length += (size_t)snprintf(path + length, size - length, "none");
        form += strcspn(form, "}") + 1;
    }
    path[length] = '\0';
}

static void visit_route(const char *method, const char *form, const json_t *operation)
{
    char path[256];
    fill(form, path, sizeof(path));
    struct http_reply reply = http_call(&daemon_, method, path, NULL);
    if (reply.status == 0 || reply.status == 405 ||
        strcmp(text_of(reply.json, "code"), "Not Found") == 0)
        fail_msg("%s %s is documented, but there is no such route", method, form);
    http_release(&reply);
}

static void test_routes(void **state)
{
    assert_true(each_operation(visit_route) >= 15);
}

static const json_t *documented_scope(const json_t *operation)
{
    const json_t *ways = json_object_get(operation, "security");
    const json_t *roles = json_object_get(json_array_get(ways, 1), "bearer");
    return json_array_get(roles, 0);
}

static void visit_scope(const char *method, const char *form, const json_t *operation)
{
    char text[256], *rest = text + 1;
    const char *segments[8], *documented = json_string_value(documented_scope(operation));
    size_t count = 0;
    fill(form, text, sizeof(text));
    for (char *segment; (segment = strsep(&rest, "/"));)
        segments[count++] = segment;
    const char *needed = scope_needed(method, segments, count);
    if (strcmp(needed ? needed : "none", documented ? documented : "none") != 0)
        fail_msg("%s %s needs %s, not %s", method, form, needed ? needed : "no scope",
                 documented ? documented : "none");
}

static void test_scopes(void **state)
{
    each_operation(visit_scope);
}

/* Every reference leads somewhere. */
static void references_check(const json_t *value)
{
    const char *name;
    json_t *item;
    size_t i;
    if (json_object_get(value, "$ref") && !schema_resolve(openapi_document(), value))
        fail_msg("%s leads nowhere", text_of(value, "$ref"));
    json_object_foreach((json_t *)value, name, item) references_check(item);
    json_array_foreach(value, i, item) references_check(item);
}

static void test_references(void **state)
{
    references_check(openapi_document());
}

static void visit_words(const char *method, const char *form, const json_t *operation)
{
    if (!json_object_get(operation, "summary") || !json_object_get(operation, "operationId") ||
        json_object_size(json_object_get(operation, "responses")) == 0)
        fail_msg("%s %s lacks a summary, an operationId or responses", method, form);
}

static void test_words(void **state)
{
    each_operation(visit_words);
}

/* The checker itself: each of these must not pass. */
static void test_checker(void **state)
{
    static const struct {
        const char *schema, *value, *fault; /* NULL: none */
        bool is_request;
    } cases[] = {
        {"{'type':'string'}", "'x'", NULL, false},
        {"{'type':'string'}", "1", "x: 1 has the wrong type", false},
        {"{'type':['string','null']}", "null", NULL, false},
        {"{'type':'integer'}", "1.5", "wrong type", false},
        {"{'type':'number'}", "1", NULL, false},
        {"{'enum':['a',null]}", "null", NULL, false},
        {"{'enum':['a']}", "'b'", "none of the enum", false},
        {"{'required':['a']}", "{}", "x.a is missing", false},
        {"{'properties':{'a':{}}}", "{'b':1}", "x.b is not documented", false},
        {"{'properties':{'a':{}}}", "{'b':1}", NULL, true},
        {"{'properties':{'a':{'type':'string'}}}", "{'a':1}", "x.a: 1 has", false},
        {"{'properties':{'a':{'type':'string'}}}", "{'a':null}", NULL, true},
        {"{'additionalProperties':{'type':'string'}}", "{'b':1}", "x.b: 1 has", false},
        {"{'additionalProperties':true}", "{'b':1}", NULL, false},
        {"{'items':{'type':'string'}}", "['a',1]", "x[1]: 1 has", false},
        {"{'pattern':'^a+$'}", "'ab'", "does not match", false},
        {"{'minimum':1,'maximum':2}", "0", "out of range", false},
        {"{'minimum':1,'maximum':2}", "3", "out of range", false},
        {"{'maxLength':2}", "'abc'", "too long", false},
        {"{'maxItems':1}", "[1,2]", "too long", false},
        {"{'maxProperties':1}", "{'a':1,'b':2}", "too long", false},
        {"{'oneOf':[]}", "1", "keyword oneOf is not known", false},
        {"{'$ref':'#/components/schemas/State'}", "'Running'", NULL, false},
        {"{'$ref':'#/components/schemas/State'}", "'running'", "enum", false},
        {"{'$ref':'#/nowhere'}", "1", "schema is not there", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct schema_check check = {.document = openapi_document(),
                                     .is_request = cases[i].is_request};
        char schema_text[128], value_text[64];
        snprintf(schema_text, sizeof(schema_text), "%s", cases[i].schema);
        snprintf(value_text, sizeof(value_text), "%s", cases[i].value);
        for (char *at = schema_text; (at = strchr(at, '\''));)
            *at = '"';
        for (char *at = value_text; (at = strchr(at, '\''));)
            *at = '"';
        json_t *schema = json_loads(schema_text, 0, NULL);
        json_t *value = json_loads(value_text, JSON_DECODE_ANY, NULL);
        bool holds = schema_check(&check, schema, value, "x");
        if (holds != !cases[i].fault || (!holds && !strstr(check.fault, cases[i].fault)))
            fail_msg("%s, %s: \"%s\"", cases[i].schema, cases[i].value, check.fault);
        json_decref(schema);
        json_decref(value);
    }
}

static void test_paths(void **state)
{
    static const struct {
        const char *path, *form;
    } cases[] = {
        {"/instances", "/instances"},
        {"/instances/", "/instances"},
        {"/instances?state=Running", "/instances"},
        {"/instances/a%2Fb", "/instances/{id}"},
        {"/instances/a/stop?x", "/instances/{id}/stop"},
        {"/images/a/b:c?x", "/images/{name}"},
        {"/images/", "/images"},
        {"/instances//stop", NULL},
        {"/instances/a/b", NULL},
        {"/instance", NULL},
        {"/", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *form = openapi_path(openapi_document(), cases[i].path);
        assert_string_equal(form ? form : "none", cases[i].form ? cases[i].form : "none");
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),     cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_references), cmocka_unit_test(test_words),
        cmocka_unit_test(test_checker),    cmocka_unit_test(test_paths),
    };
    if (argc != 2 || !openapi_document())
        return 2;
    double_path = argv[1];
    return cmocka_run_group_tests(tests, setup, teardown);
}
