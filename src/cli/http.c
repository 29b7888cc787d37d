/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/progress.h"

#define REPLY_LIMIT       (64u << 20)
#define CONNECTIONS_LIMIT 512L /* more calls than this wait for their turn */
#define POLL_MS           100

/* One transfer on the way. */
struct transfer {
    const struct cli *cli;
    struct http_call *call;
    CURL *easy;
    struct curl_slist *headers;
    char *request_text;
    char *text; /* the reply */
    size_t length, capacity;
    uint64_t started_ns;
};

char *uri_escape(const char *text)
{
    char *escaped = malloc(3 * strlen(text) + 1), *out = escaped;
    if (!escaped)
        return NULL;
    for (const char *in = text; *in; in++) {
        if (isalnum((unsigned char)*in) || strchr("-_.~", *in))
            *out++ = *in;
        else
            out += sprintf(out, "%%%02X", (unsigned char)*in);
    }
    *out = '\0';
    return escaped;
}

static char *resource_path(const char *collection, const char *reference, const char *rest)
{
    _cleanup_(free) char *escaped = uri_escape(reference);
    char *path;
    if (!escaped)
        return NULL;
    return asprintf(&path, "/%s/%s%s", collection, escaped, rest) < 0 ? NULL : path;
}

char *instance_path(const char *reference, const char *rest)
{
    return resource_path("instances", reference, rest);
}

char *image_path(const char *name)
{
    return resource_path("images", name, "");
}

char *snapshot_path(const char *id, const char *rest)
{
    return resource_path("snapshots", id, rest);
}

int failure_unreachable(struct failure *failure, const struct cli *cli, const char *cause)
{
    const char *hint = strcmp(cause, strerror(EACCES)) == 0 ? "only its owner and root may use it"
                                                            : "is it running?";
    return failure_set(failure, CLI_UNREACHABLE, "unreachable",
                       "tined does not answer on %s: %s; %s", cli_where(cli), cause, hint);
}

void failure_from_reply(struct failure *failure, long status, const char *body, size_t length)
{
    _cleanup_(json) json_t *json = length > 0 ? json_loadb(body, length, 0, NULL) : NULL;
    const char *code = json_string_value(json_object_get(json, "code"));
    const char *message = json_string_value(json_object_get(json, "message"));
    if (code && message)
        failure_set(failure, CLI_FAILED, code, "%s", message);
    else
        failure_set(failure, CLI_FAILED, "failed", "tined answered with HTTP status %ld", status);
}

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
    struct transfer *transfer = user;
    size_t bytes = size * count;
    if (transfer->length + bytes > REPLY_LIMIT)
        return 0;
    if (transfer->length + bytes > transfer->capacity) {
        size_t capacity = 2 * (transfer->length + bytes);
        char *grown = realloc(transfer->text, capacity);
        if (!grown)
            return 0;
        transfer->text = grown;
        transfer->capacity = capacity;
    }
    memcpy(transfer->text + transfer->length, data, bytes);
    transfer->length += bytes;
    return bytes;
}

static CURL *easy_new(const struct cli *cli, const char *path)
{
    CURL *easy = curl_easy_init();
    char *url = NULL;
    if (!easy || asprintf(&url, "http://%s%s", cli->host ? cli->host : "tined", path) < 0) {
        curl_easy_cleanup(easy);
        return NULL;
    }
    curl_easy_setopt(easy, CURLOPT_URL, url);
    if (!cli->host)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, cli->socket);
    if (cli->host && cli->token) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, cli->token);
    }
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    free(url);
    return easy;
}

static size_t on_read(char *buffer, size_t size, size_t count, void *user)
{
    struct transfer *transfer = user;
    ssize_t n = transfer->call->read(transfer->call->read_data, buffer, size * count);
    return n < 0 ? CURL_READFUNC_ABORT : (size_t)n;
}

/* With "Expect": what is refused at once is not sent. */
static int upload_begin(struct transfer *transfer)
{
    transfer->headers = curl_slist_append(transfer->headers, "Content-Type: application/x-tar");
    transfer->headers = curl_slist_append(transfer->headers, "Transfer-Encoding: chunked");
    transfer->headers = curl_slist_append(transfer->headers, "Expect: 100-continue");
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(transfer->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(transfer->easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(transfer->easy, CURLOPT_READDATA, transfer);
    return transfer->headers ? 0 : -ENOMEM;
}

static int transfer_begin(struct transfer *transfer)
{
    struct http_call *call = transfer->call;
    transfer->started_ns = time_monotonic_ns();
    transfer->easy = easy_new(transfer->cli, call->path);
    if (!transfer->easy)
        return -ENOMEM;
    curl_easy_setopt(transfer->easy, CURLOPT_CUSTOMREQUEST, call->method);
    curl_easy_setopt(transfer->easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(transfer->easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer);
    if (strcmp(call->method, "POST") != 0 && !call->body)
        return 0;
    if (call->read)
        return upload_begin(transfer);
    transfer->request_text = call->body ? json_dumps(call->body, JSON_COMPACT) : strdup("");
    /* No "Expect": it would cost a round trip. */
    transfer->headers = curl_slist_append(transfer->headers, "Content-Type: application/json");
    transfer->headers = curl_slist_append(transfer->headers, "Expect:");
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, transfer->request_text);
    return transfer->request_text ? 0 : -ENOMEM;
}

static void transfer_failure(struct failure *failure, const struct cli *cli, CURL *easy,
                             CURLcode result)
{
    long os_errno = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
    if (result == CURLE_COULDNT_CONNECT)
        failure_unreachable(failure, cli, os_errno ? strerror((int)os_errno) : "cannot connect");
    else if (result == CURLE_COULDNT_RESOLVE_HOST && !cli->host)
        failure_unreachable(failure, cli, "the socket's path is too long");
    else
        failure_unreachable(failure, cli, curl_easy_strerror(result));
}

static void transfer_finish(struct transfer *transfer, CURLcode result)
{
    struct http_call *call = transfer->call;
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    call->elapsed_ms = (double)(time_monotonic_ns() - transfer->started_ns) / 1e6;
    if (result != CURLE_OK) {
        transfer_failure(&call->failure, transfer->cli, transfer->easy, result);
    } else if (status < 200 || status > 299) {
        failure_from_reply(&call->failure, status, transfer->text, transfer->length);
    } else if (transfer->length > 0) {
        call->reply = json_loadb(transfer->text, transfer->length, 0, NULL);
        if (!call->reply)
            failure_set(&call->failure, CLI_FAILED, "failed", "tined's answer is not JSON");
    }
}

static void transfer_release(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    free(transfer->request_text);
    free(transfer->text);
}

/* Hands on what is done. */
static void collect(CURLM *multi, struct progress *progress, http_done *done, void *data)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(multi, &left));) {
        if (message->msg != CURLMSG_DONE)
            continue;
        struct transfer *transfer = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        transfer_finish(transfer, message->data.result);
        progress->done++;
        progress_clear(progress);
        if (done)
            done(transfer->call, data);
    }
}

static void perform(CURLM *multi, struct progress *progress, http_done *done, void *data)
{
    int running = 1;
    while (running > 0) {
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            break;
        collect(multi, progress, done, data);
        if (running > 0 && curl_multi_poll(multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
            break;
        progress_tick(progress);
    }
    progress_clear(progress);
}

static int first_failure(const struct http_call *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (calls[i].failure.exit_status != 0)
            return calls[i].failure.exit_status;
    }
    return CLI_OK;
}

int http_run(const struct cli *cli, const char *label, struct http_call *calls, size_t count,
             http_done *done, void *data)
{
    CURLM *multi = curl_multi_init();
    _cleanup_(free) struct transfer *transfers = calloc(count + 1, sizeof(*transfers));
    struct progress progress;
    if (!multi || !transfers) {
        curl_multi_cleanup(multi);
        return CLI_FAILED;
    }
    curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNECTIONS_LIMIT);
    progress_begin(&progress, label, count);
    for (size_t i = 0; i < count; i++) {
        transfers[i] = (struct transfer){.cli = cli, .call = &calls[i]};
        if (transfer_begin(&transfers[i]) == 0)
            curl_multi_add_handle(multi, transfers[i].easy);
        else
            failure_set(&calls[i].failure, CLI_FAILED, "failed", "out of memory");
    }
    perform(multi, &progress, done, data);
    for (size_t i = 0; i < count; i++) {
        if (transfers[i].easy)
            curl_multi_remove_handle(multi, transfers[i].easy);
        transfer_release(&transfers[i]);
    }
    curl_multi_cleanup(multi);
    return first_failure(calls, count);
}

void http_calls_release(struct http_call *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(calls[i].path);
        json_decref(calls[i].body);
        json_decref(calls[i].reply);
    }
}

/* One call alone; takes `body`. */
static json_t *call_once(const struct cli *cli, const char *label, const char *method,
                         const char *path, json_t *body, struct failure *failure)
{
    struct http_call call = {.method = method, .path = path ? strdup(path) : NULL, .body = body};
    json_t *reply = NULL;
    if (!call.path)
        failure_set(failure, CLI_FAILED, "failed", "out of memory");
    else if (http_run(cli, label, &call, 1, NULL, NULL) == CLI_OK)
        reply = TAKE_PTR(call.reply);
    else
        *failure = call.failure;
    if (call.path && !reply && failure->exit_status == 0)
        failure_set(failure, CLI_FAILED, "failed", "tined's answer is empty");
    if (reply && strcmp(method, "POST") == 0)
        json_object_set_new(reply, "elapsed_ms", json_real(call.elapsed_ms));
    http_calls_release(&call, 1);
    return reply;
}

json_t *http_get(const struct cli *cli, const char *label, const char *path,
                 struct failure *failure)
{
    return call_once(cli, label, "GET", path, NULL, failure);
}

json_t *http_post(const struct cli *cli, const char *label, const char *path, json_t *body,
                  struct failure *failure)
{
    return call_once(cli, label, "POST", path, body, failure);
}

struct stream {
    struct transfer transfer; /* collects the body of an error */
    http_receiver *receive;
    void *data;
    bool ended;
};

static size_t on_stream_data(char *data, size_t size, size_t count, void *user)
{
    struct stream *stream = user;
    long status = 0;
    curl_easy_getinfo(stream->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return on_data(data, size, count, &stream->transfer);
    stream->ended = !stream->receive(stream->data, data, size * count);
    return stream->ended ? 0 : size * count;
}

int http_stream(const struct cli *cli, const char *path, http_receiver *receive, void *data,
                struct failure *failure)
{
    struct stream stream = {.receive = receive, .data = data};
    long status = 0;
    stream.transfer.easy = easy_new(cli, path);
    if (!stream.transfer.easy)
        return failure_set(failure, CLI_FAILED, "failed", "out of memory");
    curl_easy_setopt(stream.transfer.easy, CURLOPT_WRITEFUNCTION, on_stream_data);
    curl_easy_setopt(stream.transfer.easy, CURLOPT_WRITEDATA, &stream);
    CURLcode result = curl_easy_perform(stream.transfer.easy);
    curl_easy_getinfo(stream.transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK && !stream.ended)
        transfer_failure(failure, cli, stream.transfer.easy, result);
    else if (status != 200)
        failure_from_reply(failure, status, stream.transfer.text, stream.transfer.length);
    transfer_release(&stream.transfer);
    return failure->exit_status;
}
