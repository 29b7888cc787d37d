/* SPDX-License-Identifier: Apache-2.0 */
#include "openapi.h"

#include <ctype.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/json_text.h"
#include "base/cleanup.h"
#include "schema.h"

static json_t *loaded; /* for the life of the test; threads make calls at the same time */

static void document_load(void)
{
    const char *path = getenv("TINE_OPENAPI");
    if (path && !(loaded = json_load_file(path, 0, NULL)))
        fprintf(stderr, "TINE_OPENAPI: %s can't be read\n", path);
    if (path && !loaded)
        exit(2);
}

const json_t *openapi_document(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, document_load);
    return loaded;
}

/* True if the request's path, up to its query, is of this form; "{id}" stands for a segment,
 * "{name}" for all that are left. */
static bool path_matches(const char *form, const char *path)
{
    while (*form == '/' && *path == '/') {
        size_t form_length = strcspn(++form, "/"), length = strcspn(++path, "/?");
        if (strcmp(form, "{name}") == 0)
            return length > 0;
        bool any = *form == '{' && length > 0;
        if (!any && (form_length != length || strncmp(form, path, length) != 0))
            return false;
        form += form_length;
        path += length;
    }
    if (*path == '/' && (path[1] == '\0' || path[1] == '?'))
        path++;
    return *form == '\0' && (*path == '\0' || *path == '?');
}

const char *openapi_path(const json_t *whole, const char *path)
{
    const char *form;
    json_t *item;
    json_object_foreach(json_object_get(whole, "paths"), form, item)
    {
        if (path_matches(form, path))
            return form;
    }
    return NULL;
}

static const json_t *operation_find(const json_t *document, const char *method, const char *path)
{
    char lower[16];
    size_t i = 0;
    for (; method[i] && i + 1 < sizeof(lower); i++)
        lower[i] = (char)tolower((unsigned char)method[i]);
    lower[i] = '\0';
    const char *form = openapi_path(document, path);
    return form ? json_object_get(json_object_get(json_object_get(document, "paths"), form), lower)
                : NULL;
}

static void content_check(const json_t *document, const char *what, const json_t *content,
                          const struct http_reply *reply)
{
    const char *header = http_header(reply, "Content-Type");
    char type[64] = ""; /* without parameters */
    struct schema_check check = {.document = document};
    if (json_object_size(content) == 0) {
        if (reply->body_length > 0)
            fail_msg("%s: a body that is not documented", what);
        return;
    }
    if (header)
        snprintf(type, sizeof(type), "%.*s", (int)strcspn(header, "; "), header);
    const json_t *media = json_object_get(content, type);
    if (!media)
        fail_msg("%s: the type \"%s\" is not documented", what, type);
    if (strcmp(type, "application/json") != 0)
        return;
    if (!reply->json ||
        !schema_check(&check, json_object_get(media, "schema"), reply->json, "reply"))
        fail_msg("%s: %s", what, reply->json ? check.fault : "the body is not JSON");
}

static void request_check(const json_t *document, const char *what, const json_t *operation,
                          const char *body)
{
    struct schema_check check = {.document = document, .is_request = true};
    const json_t *media = json_object_get(
        json_object_get(json_object_get(operation, "requestBody"), "content"), "application/json");
    _cleanup_(json) json_t *json = body && *body ? json_loads(body, 0, NULL) : NULL;
    if (!json)
        return;
    if (!media)
        fail_msg("%s: that it takes a body is not documented", what);
    else if (!schema_check(&check, json_object_get(media, "schema"), json, "request"))
        fail_msg("%s: %s", what, check.fault);
}

void openapi_check(const char *method, const char *path, const char *body,
                   const struct http_reply *reply)
{
    char what[256], status[8];
    const json_t *document = openapi_document();
    if (!document || reply->status == 0)
        return;
    snprintf(what, sizeof(what), "openapi.yaml: %s %.150s: %d", method, path, reply->status);
    const json_t *operation = operation_find(document, method, path);
    if (!operation) {
        /* A path that can't be decoded has no route, and strangers learn nothing about others. */
        if (reply->status < 400 || reply->status > 405)
            fail_msg("%s: the route is not documented", what);
        return;
    }
    snprintf(status, sizeof(status), "%d", reply->status);
    const json_t *response =
        schema_resolve(document, json_object_get(json_object_get(operation, "responses"), status));
    if (!response)
        fail_msg("%s: the status is not documented", what);
    content_check(document, what, json_object_get(response, "content"), reply);
    if (reply->status < 300)
        request_check(document, what, operation, body);
}

void openapi_check_value(const char *schema, const json_t *value)
{
    const json_t *document = openapi_document();
    struct schema_check check = {.document = document};
    const json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
    if (document && !schema_check(&check, json_object_get(schemas, schema), value, schema))
        fail_msg("openapi.yaml: %s", check.fault);
}
