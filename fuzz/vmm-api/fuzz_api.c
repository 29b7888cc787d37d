/* SPDX-License-Identifier: Apache-2.0 */
/* The API from its bytes on: the input is fed to the HTTP parser in two different cuts, which must
 * give the same requests, and every request goes through the routes to a vmm that only remembers.
 * The state of that vmm is the first byte's, so that both phases are reached. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/vmm/api/fake_vmm.h"
#include "base/log.h"
#include "vmm/api/api_private.h"
#include "vmm/api/host_file.h"

#define BODY_LIMIT 4096u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0)
        abort();
    log_configure("fuzz", LOG_LEVEL_ERROR, null);
    return 0;
}

/* Stand in for host_file.c, so that no input can open or make a file of this machine. */
static int check(const char *path, const char *what, struct error *err)
{
    return path[0] == '!' ? error_errno(err, ENOENT, path, "%s: open %s", what, path) : 0;
}

int host_file_check(const char *path, const char *what, struct error *err)
{
    return check(path, what, err);
}

int host_drive_check(const char *path, const char *what, bool writable, struct error *err)
{
    return check(path, what, err);
}

int host_output_open(const char *path, const char *what, struct error *err)
{
    int r = check(path, what, err);
    return r < 0 ? r : open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static void require(int condition)
{
    if (!condition)
        abort();
}

struct outcome {
    unsigned requests;
    uint64_t digest; /* of methods, paths and bodies */
    enum http_event last;
};

static void digest(struct outcome *outcome, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        outcome->digest = (outcome->digest ^ (uint8_t)bytes[i]) * 1099511628211ull;
}

static void serve(struct api *api, const struct http_request *request)
{
    struct http_answer answer;
    struct http_descriptors none = {.count = 0};
    api_dispatch(api, request, &none, &answer);
    require(answer.status == HTTP_OK || answer.status == HTTP_BAD_REQUEST ||
            answer.status == HTTP_NO_CONTENT);
    require((answer.body == NULL) == (answer.status == HTTP_NO_CONTENT));
    free(answer.body);
}

static struct outcome run(struct api *api, const char *text, size_t size, size_t piece)
{
    struct http_parser parser;
    struct outcome outcome = {.last = HTTP_MORE};
    http_parser_init(&parser, BODY_LIMIT);
    while (size > 0 && outcome.last != HTTP_BAD) {
        size_t now = size < piece ? size : piece, consumed = 0;
        outcome.last = http_parser_feed(&parser, text, now, &consumed);
        require(consumed <= now && (consumed > 0 || outcome.last != HTTP_MORE));
        text += consumed;
        size -= consumed;
        if (outcome.last != HTTP_REQUEST)
            continue;
        const struct http_request *request = &parser.request;
        require(request->path[0] == '/' && request->body_length <= BODY_LIMIT);
        require((request->body == NULL) == (request->body_length == 0));
        digest(&outcome, request->method, strlen(request->method));
        digest(&outcome, request->path, strlen(request->path));
        digest(&outcome, request->body, request->body_length);
        outcome.requests++;
        if (api)
            serve(api, request);
        http_parser_next(&parser);
    }
    http_parser_free(&parser);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct api api = {.vmm = vmm_create("fuzz", NULL, NULL)};
    struct error err;
    if (data[0] & 1)
        require(vmm_start(api.vmm, &err) == 0);
    if (data[0] & 2)
        require(vmm_pause(api.vmm, &err) == 0);
    const char *text = (const char *)data + 2;
    struct outcome whole = run(&api, text, size - 2, size);
    struct outcome pieces = run(NULL, text, size - 2, 1u + data[1] % 64);
    require(whole.requests == pieces.requests && whole.digest == pieces.digest);
    require((whole.last == HTTP_BAD) == (pieces.last == HTTP_BAD));
    vmm_destroy(api.vmm);
    free(api.metrics_path);
    return 0;
}
