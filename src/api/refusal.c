/* SPDX-License-Identifier: Apache-2.0 */
#include "api/refusal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

typedef enum MHD_Result queue_function(struct MHD_Connection *, unsigned, struct MHD_Response *);

/* From 0.9.75 to 1.0.1; another status of its own is told by its class. */
static const struct {
    unsigned status;
    const char *code, *message;
} refusals[] = {
    {MHD_HTTP_CONTENT_TOO_LARGE, "Content Too Large", "the body is larger than 1 MiB"},
    {MHD_HTTP_URI_TOO_LONG, "URI Too Long", "the request line is larger than 32 KiB"},
    {MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large",
     "request line and headers are larger than 32 KiB"},
    {MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED, "HTTP Version Not Supported",
     "the version of HTTP is not 1.0 or 1.1"},
    {MHD_HTTP_BAD_REQUEST, "Bad Request", "the request is not well-formed HTTP"},
    {MHD_HTTP_INTERNAL_SERVER_ERROR, "internal_error", "the request could not be served"},
};

static size_t refusal_of(unsigned status)
{
    unsigned class = status < 500 ? MHD_HTTP_BAD_REQUEST : MHD_HTTP_INTERNAL_SERVER_ERROR;
    size_t found = 0;
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        if (refusals[i].status == status)
            return i;
        if (refusals[i].status == class)
            found = i;
    }
    return found;
}

static struct MHD_Response *refusal_make(unsigned status)
{
    size_t i = refusal_of(status);
    char *text = NULL;
    int length = asprintf(&text, "{\"code\":\"%s\",\"message\":\"%s\"}", refusals[i].code,
                          refusals[i].message);
    if (length < 0)
        return NULL;
    struct MHD_Response *response =
        MHD_create_response_from_buffer((size_t)length, text, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(text);
        return NULL;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    if (status >= 500)
        MHD_add_response_header(response, "x-should-retry", "false");
    return response;
}

enum MHD_Result response_queue(struct MHD_Connection *connection, unsigned status,
                               struct MHD_Response *response)
{
    queue_function *queue = NULL;
    *(void **)&queue = dlsym(RTLD_NEXT, "MHD_queue_response");
    return queue ? queue(connection, status, response) : MHD_NO;
}

/* In the place of the library's function of that name, by the rule that a program's symbols go
 * before those of the shared libraries it uses: the library's own calls come here too, and ours are
 * response_queue(). A library that is built so that its calls stay inside goes on answering HTML.
 */
enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned status,
                                   struct MHD_Response *response)
{
    struct MHD_Response *refusal = status >= 400 ? refusal_make(status) : NULL;
    if (!refusal)
        return response_queue(connection, status, response);
    enum MHD_Result r = response_queue(connection, status, refusal);
    MHD_destroy_response(refusal);
    return r;
}
