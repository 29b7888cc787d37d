/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/firecracker_api.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"

#define ANSWER_LIMIT (1u << 20) /* bytes of a body; a VMM that sends more is broken */

/* One request on its way. */
struct request {
    const struct vmm_api *api;
    const char *method, *path;
    char *body;        /* JSON text, or NULL */
    int directory_fd;  /* of the socket */
    char address[108]; /* of the socket, as short as sun_path */
    char *answer;      /* what came back; NUL behind the last byte */
    size_t answer_length;
    char words[CURL_ERROR_SIZE];
};

static void cleanup_request(struct request *request)
{
    if (request->directory_fd >= 0)
        close(request->directory_fd);
    free(request->body);
    free(request->answer);
}

static void cleanup_curl(CURL **curl)
{
    curl_easy_cleanup(*curl);
}

static void cleanup_headers(struct curl_slist **headers)
{
    curl_slist_free_all(*headers);
}

static void curl_start(void)
{
    curl_global_init(CURL_GLOBAL_NOTHING);
}

static size_t take_answer(char *data, size_t size, size_t count, void *context)
{
    struct request *request = context;
    size_t length = size * count;
    if (request->answer_length + length > ANSWER_LIMIT)
        return 0;
    char *grown = realloc(request->answer, request->answer_length + length + 1);
    if (!grown)
        return 0;
    memcpy(grown + request->answer_length, data, length);
    request->answer = grown;
    request->answer_length += length;
    grown[request->answer_length] = '\0';
    return length;
}

/* sun_path is short, paths are not: the socket is named through a descriptor of its directory. */
static int request_address(struct request *request, struct error *err)
{
    const char *path = request->api->socket_path;
    const char *slash = strrchr(path, '/');
    char directory[PATH_MAX];
    int cut = slash ? snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path) + 1, path)
                    : snprintf(directory, sizeof(directory), ".");
    if (cut < 0 || (size_t)cut >= sizeof(directory))
        return error_errno(err, ENAMETOOLONG, path, "connect to %s", path);
    request->directory_fd = dir_open(AT_FDCWD, directory, err);
    if (request->directory_fd < 0) {
        error_wrap(err, "connect to %s", path);
        return request->directory_fd;
    }
    int length = snprintf(request->address, sizeof(request->address), "/proc/self/fd/%d/%s",
                          request->directory_fd, slash ? slash + 1 : path);
    if (length < 0 || (size_t)length >= sizeof(request->address))
        return error_errno(err, ENAMETOOLONG, path, "connect to %s", path);
    return 0;
}

/* The text of a fault, safe for one log line. */
static void fault_text(const json_t *json, char *text, size_t size)
{
    const char *fault = json_string_value(json_object_get(json, "fault_message"));
    if (!fault)
        fault = json_string_value(json_object_get(json, "error"));
    snprintf(text, size, "%s", fault ? fault : "no message");
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    }
}

/* tine-vmm names the errno behind a fault; Firecracker, which does not, and faults that are the
 * request's own stay EREMOTEIO, so that no other errno is taken for that of a missing VMM. */
static int fault_errno(const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "errno"));
    int errnum = name ? errno_number(name) : 0;
    bool host_failed = errnum == EIO || error_code_of_errno(errnum) == ERROR_RESOURCES;
    return host_failed ? errnum : EREMOTEIO;
}

static int refused(const struct request *request, long status, const json_t *json,
                   struct error *err)
{
    char text[768];
    fault_text(json, text, sizeof(text));
    int errnum = fault_errno(json);
    enum error_code code = status == 400 ? ERROR_INVALID : ERROR_SYSTEM;
    if (errnum != EREMOTEIO)
        code = error_code_of_errno(errnum);
    return error_set(err, code, errnum, "VMM refuses %s %s (status %ld): %s", request->method,
                     request->path, status, text);
}

static json_t *answer_read(const struct request *request)
{
    return request->answer ? json_loadb(request->answer, request->answer_length, 0, NULL) : NULL;
}

static int check_status(const struct request *request, long status, json_t **answer,
                        struct error *err)
{
    if (status < 200 || status > 299) {
        _cleanup_(json) json_t *json = answer_read(request);
        return refused(request, status, json, err);
    }
    if (!answer)
        return 0;
    *answer = answer_read(request);
    if (!*answer)
        return error_set(err, ERROR_SYSTEM, EPROTO, "VMM answers %s %s with what is not JSON",
                         request->method, request->path);
    return 0;
}

static int transport_error(const struct request *request, CURL *curl, CURLcode code,
                           struct error *err)
{
    if (code == CURLE_COULDNT_CONNECT) {
        long errnum = 0;
        curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &errnum);
        if (errnum == 0 || errnum == EAGAIN)
            return error_set(err, ERROR_TIMEOUT, ETIMEDOUT,
                             "connect to %s: it accepts nobody for %u ms",
                             request->api->socket_path, request->api->connect_ms);
        return error_errno(err, (int)errnum, request->api->socket_path, "connect to %s",
                           request->api->socket_path);
    }
    if (code == CURLE_OPERATION_TIMEDOUT)
        return error_set(err, ERROR_TIMEOUT, ETIMEDOUT, "VMM does not answer %s %s within %u ms",
                         request->method, request->path, request->api->request_ms);
    const char *words = request->words[0] ? request->words : curl_easy_strerror(code);
    return error_set(err, ERROR_SYSTEM, ECONNRESET, "VMM does not answer %s %s: %s",
                     request->method, request->path, words);
}

/* Returns whether all options were taken. The URL's host is not looked up. */
static bool request_options(CURL *curl, struct request *request, struct curl_slist *headers)
{
    char url[256];
    int length = snprintf(url, sizeof(url), "http://localhost%s", request->path);
    if (length < 0 || (size_t)length >= sizeof(url))
        return false;
    bool ok = curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, request->address) == CURLE_OK &&
              curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK;
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->api->request_ms);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)request->api->connect_ms);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, request);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, request->words);
    if (ok && request->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(request->body));
        ok = curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body) == CURLE_OK;
    }
    return ok;
}

/* A VMM whose queue of connections is full refuses for the moment: tried again, ever less often. */
static CURLcode perform(struct request *request, CURL *curl)
{
    uint64_t deadline = time_after_ms(request->api->connect_ms);
    unsigned pause_ms = 1;
    for (;;) {
        long errnum = 0;
        CURLcode code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &errnum);
        /* curl sees EAGAIN as a connection in progress, then finds no error to report. */
        bool busy = code == CURLE_COULDNT_CONNECT && (errnum == 0 || errnum == EAGAIN);
        if (!busy || time_monotonic_ns() >= deadline)
            return code;
        time_sleep_ms(pause_ms);
        pause_ms = pause_ms < 50 ? pause_ms * 2 : 50;
    }
}

static int request_send(struct request *request, json_t **answer, struct error *err)
{
    static pthread_once_t started = PTHREAD_ONCE_INIT;
    pthread_once(&started, curl_start);
    int r = request_address(request, err);
    if (r < 0)
        return r;
    _cleanup_(curl) CURL *curl = curl_easy_init();
    _cleanup_(headers) struct curl_slist *headers =
        curl_slist_append(NULL, "Content-Type: application/json");
    if (!curl || !headers || !request_options(curl, request, headers))
        return error_errno(err, ENOMEM, NULL, "prepare %s %s", request->method, request->path);
    CURLcode code = perform(request, curl);
    if (code != CURLE_OK)
        return transport_error(request, curl, code, err);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return check_status(request, status, answer, err);
}

/* Takes the reference to `body`. */
static int send_body(const struct vmm_api *api, const char *method, const char *path, json_t *body,
                     struct error *err)
{
    _cleanup_(json) json_t *owned = body;
    _cleanup_(request) struct request request = {
        .api = api, .method = method, .path = path, .directory_fd = -1};
    request.body = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
    if (!request.body)
        return error_errno(err, ENOMEM, NULL, "prepare %s %s", method, path);
    return request_send(&request, NULL, err);
}

int vmm_api_get(const struct vmm_api *api, const char *path, json_t **answer, struct error *err)
{
    _cleanup_(request) struct request request = {
        .api = api, .method = "GET", .path = path, .directory_fd = -1};
    return request_send(&request, answer, err);
}

int vmm_api_put(const struct vmm_api *api, const char *path, json_t *body, struct error *err)
{
    return send_body(api, "PUT", path, body, err);
}

int vmm_api_patch(const struct vmm_api *api, const char *path, json_t *body, struct error *err)
{
    return send_body(api, "PATCH", path, body, err);
}
