/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/api/template_api.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "http/json_fields.h"
#include "vmm/api/api_private.h"

#define MAX_CONNECTIONS 32 /* clients that make many children at once */
#define ROLLUP          "/proc/self/smaps_rollup"

struct server {
    struct template *template;
    const struct template_body *body;
    struct loop *loop;
    struct http_server *http;
    struct loop_source idle, reaper; /* a timerfd and a signalfd; -1: none */
    unsigned children;               /* that live */
};

/* ---- its life ---- */

static void idle_over(struct loop_source *source, uint32_t events)
{
    struct server *server = CONTAINER_OF(source, struct server, idle);
    (void)events;
    log_info("template: nobody asked for anything for %u s", server->body->idle_seconds);
    loop_stop(server->loop, 0);
}

/* From now on. */
static int idle_begin(const struct server *server, struct error *err)
{
    const struct itimerspec when = {.it_value.tv_sec = server->body->idle_seconds};
    if (server->idle.fd < 0 || timerfd_settime(server->idle.fd, 0, &when, NULL) == 0)
        return 0;
    return error_errno(err, errno, NULL, "template: set its timer");
}

static int idle_open(struct server *server, struct error *err)
{
    server->idle = (struct loop_source){.fd = -1, .ready = idle_over};
    if (server->body->idle_seconds == 0)
        return 0;
    server->idle.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (server->idle.fd < 0)
        return error_errno(err, errno, NULL, "template: make its timer");
    int r = idle_begin(server, err);
    return r < 0 ? r : loop_add(server->loop, &server->idle, EPOLLIN, err);
}

static void reap(struct loop_source *source, uint32_t events)
{
    struct server *server = CONTAINER_OF(source, struct server, reaper);
    struct signalfd_siginfo info;
    (void)events;
    ssize_t n = read(source->fd, &info, sizeof(info));
    (void)n; /* whatever it says, those that have ended are looked for */
    while (waitpid(-1, NULL, WNOHANG) > 0)
        server->children--;
}

static int reaper_open(struct server *server, struct error *err)
{
    const struct sigaction none = {.sa_handler = SIG_DFL};
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    server->reaper = (struct loop_source){.fd = -1, .ready = reap};
    if (sigaction(SIGCHLD, &none, NULL) < 0 || sigprocmask(SIG_BLOCK, &ended, NULL) < 0)
        return error_errno(err, errno, NULL, "template: wait for its children");
    server->reaper.fd = signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server->reaper.fd < 0)
        return error_errno(err, errno, NULL, "template: wait for its children");
    return loop_add(server->loop, &server->reaper, EPOLLIN, err);
}

/* ---- its API ---- */

struct call {
    struct server *server;
    const json_t *body;
    struct http_descriptors *descriptors;
    json_t *answer;
};

/* Memory that nobody else has: it would be free if the template ended. */
static int pinned_kib(unsigned long *kib, struct error *err)
{
    char line[256];
    _cleanup_(fclose) FILE *file = fopen(ROLLUP, "re");
    if (!file)
        return error_errno(err, errno, ROLLUP, "open " ROLLUP);
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "Private_Dirty: %lu kB", kib) == 1)
            return 0;
    }
    return error_set(err, ERROR_SYSTEM, EPROTO, ROLLUP " does not tell Private_Dirty");
}

static int get_status(struct call *call, struct error *err)
{
    unsigned long kib = 0;
    int r = pinned_kib(&kib, err);
    if (r < 0)
        return r;
    call->answer =
        json_pack("{s:s, s:s, s:i, s:I, s:I}", "state", "Template", "app_name", "tine-vmm",
                  "children", (int)call->server->children, "pinned_bytes", (json_int_t)kib << 10,
                  "memory_bytes", (json_int_t)template_memory_bytes(call->server->template));
    return call->answer ? 0 : error_errno(err, ENOMEM, NULL, "build the answer");
}

static void cleanup_child_body(struct child_body *body)
{
    child_body_free(body);
}

static int put_child(struct call *call, struct error *err)
{
    _cleanup_(child_body) struct child_body body = {.process.mount_fd = -1};
    int r = child_body_read(call->body, call->descriptors, &body, err);
    if (r == 0 && (r = failpoint("vmm-child-fork")) < 0)
        error_errno(err, -r, NULL, "children: fork");
    if (r < 0)
        return r;
    const pid_t self = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return error_errno(err, errno, NULL, "children: fork");
    if (pid == 0)
        child_serve(call->server->template, self, &body);
    call->server->children++;
    if ((r = failpoint("vmm-child-forked")) < 0)
        return error_errno(err, -r, NULL, "children");
    call->answer = json_pack("{s:i}", "pid", (int)pid);
    return call->answer ? 0 : error_errno(err, ENOMEM, NULL, "build the answer");
}

static int put_action(struct call *call, struct error *err)
{
    static const char *const types[] = {"End", NULL};
    static const struct json_field fields[] = {
        {"action_type", FIELD_FIXED, true, .choices = types}};
    char nothing; /* no field is stored */
    return json_fields_read(call->body, "actions", fields, ARRAY_SIZE(fields), &nothing, err);
}

static const struct {
    const char *method, *path;
    bool last;
    int (*handle)(struct call *call, struct error *err);
} routes[] = {
    {"GET", "/", false, get_status},
    {"PUT", "/children", false, put_child},
    {"PUT", "/actions", true, put_action},
};

static int dispatch(struct call *call, const struct http_request *request, bool *last,
                    struct error *err)
{
    json_t *body = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        if (strcmp(routes[i].path, request->path) != 0 ||
            strcmp(routes[i].method, request->method) != 0)
            continue;
        int r = api_body_read(request, &body, err);
        call->body = body;
        if (r == 0)
            r = routes[i].handle(call, err);
        json_decref(body);
        *last = r == 0 && routes[i].last;
        return r;
    }
    return error_set(err, ERROR_NOT_FOUND, EINVAL, "a template has no %s %s", request->method,
                     request->path);
}

static void handle(void *context, const struct http_request *request,
                   struct http_descriptors *descriptors, struct http_answer *answer)
{
    struct server *server = context;
    struct call call = {.server = server, .descriptors = descriptors};
    struct error err = {0};
    *answer = (struct http_answer){.status = HTTP_NO_CONTENT};
    int r = dispatch(&call, request, &answer->fatal, &err);
    if (r == 0)
        r = idle_begin(server, &err);
    if (r < 0) {
        api_answer_failure(request, &err, answer);
    } else if (call.answer) {
        answer->status = HTTP_OK;
        answer->body = json_dumps(call.answer, JSON_COMPACT);
    }
    json_decref(call.answer);
}

/* ---- the process ---- */

static int serve(struct server *server, struct template_body *body, struct error *err)
{
    const struct http_server_config config = {.path = body->socket_path,
                                              .name = "tine template",
                                              .body_limit = API_BODY_LIMIT,
                                              .max_connections = MAX_CONNECTIONS,
                                              .descriptors = true,
                                              .handle = handle,
                                              .context = server};
    int r = own_process_begin(&body->process, err);
    if (r == 0 && (r = failpoint("vmm-template-begin")) < 0)
        error_errno(err, -r, NULL, "template");
    if (r < 0)
        return r;
    server->loop = loop_create(err);
    if (!server->loop)
        return -EIO;
    r = reaper_open(server, err);
    if (r == 0)
        r = idle_open(server, err);
    if (r < 0)
        return r;
    server->http = http_server_create(&config, server->loop, err);
    return server->http ? 0 : -EIO;
}

_Noreturn void template_serve(struct template *template, struct template_body *body)
{
    struct server server = {.template = template, .body = body};
    struct error err = {0};
    (void)pthread_setname_np(pthread_self(), "tine-template"); /* only for people who look */
    if (serve(&server, body, &err) < 0) {
        log_error("template: %s", err.message);
        _exit(1);
    }
    log_info("template: listening on %s", body->socket_path);
    (void)loop_run(server.loop); /* however it ends, it ends */
    (void)unlink(body->socket_path);
    _exit(0);
}
