/* SPDX-License-Identifier: Apache-2.0 */
/* tine-vmm's live fork (docs/vmm.md): a template is a process that a VMM forks off, a VM made of it
 * is one that the template forks off. Neither can make itself a mount namespace with the right
 * guest directory in it from the path alone, because that need not be seen in theirs; so each is
 * handed the mount. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "http/client.h"
#include "hypervisor/api_driver.h"
#include "hypervisor/process.h"

/* A process that is to be made. */
struct birth {
    const char *socket; /* of whom it is forked off */
    const char *path;   /* of the request there */
    json_t *body;
    unsigned timeout_ms;
    json_t *answer;
};

static void cleanup_birth(struct birth *birth)
{
    json_decref(birth->body);
    json_decref(birth->answer);
}

/* What tine-vmm refuses for good is told apart from what went wrong. */
static int refused(const struct birth *birth, const struct http_reply *reply, struct error *err)
{
    _cleanup_(json) json_t *json = reply->body ? json_loads(reply->body, 0, NULL) : NULL;
    const char *message = json_string_value(json_object_get(json, "fault_message"));
    const char *name = json_string_value(json_object_get(json, "errno"));
    int errnum = name ? errno_number(name) : 0;
    enum error_code code = errnum == ENOTSUP ? ERROR_UNSUPPORTED : ERROR_SYSTEM;
    return error_set(err, code, errnum > 0 ? errnum : EREMOTEIO, "VMM refuses PUT %s: %s",
                     birth->path, message ? message : "no message");
}

static int ask(struct birth *birth, int mount_fd, struct error *err)
{
    _cleanup_(free) char *body = birth->body ? json_dumps(birth->body, JSON_COMPACT) : NULL;
    if (!body)
        return error_errno(err, ENOMEM, NULL, "prepare PUT %s", birth->path);
    const struct http_call call = {.server = "VMM",
                                   .socket = birth->socket,
                                   .method = "PUT",
                                   .path = birth->path,
                                   .body = body,
                                   .fds = &mount_fd,
                                   .fd_count = 1,
                                   .timeout_ms = birth->timeout_ms};
    _cleanup_(http_reply) struct http_reply reply = {.status = 0};
    int r = http_call(&call, &reply, err);
    if (r < 0)
        return r;
    if (reply.status != HTTP_OK)
        return refused(birth, &reply, err);
    birth->answer = reply.body ? json_loads(reply.body, 0, NULL) : NULL;
    return 0;
}

static int make_logs(int dir_fd, const char *guest_dir, struct error *err)
{
    if (mkdirat(dir_fd, "log", 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, guest_dir, "make %s/log", guest_dir);
    return 0;
}

/* A mount of the directory that is nowhere yet, for another process to put in its place. */
static int directory_mount(const char *guest_dir, struct error *err)
{
    _cleanup_(close) int dir = open(guest_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_errno(err, errno, guest_dir, "open %s", guest_dir);
    int r = make_logs(dir, guest_dir, err);
    if (r < 0)
        return r;
    int tree = open_tree(dir, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    return tree < 0 ? error_errno(err, errno, guest_dir, "make a mount of %s", guest_dir) : tree;
}

/* The process exists when this succeeds. */
static int bear(struct birth *birth, const char *guest_dir, struct vm_process *process,
                struct error *err)
{
    _cleanup_(close) int mount_fd = directory_mount(guest_dir, err);
    if (mount_fd < 0)
        return mount_fd;
    int r = ask(birth, mount_fd, err);
    if (r < 0)
        return r;
    json_int_t pid = json_integer_value(json_object_get(birth->answer, "pid"));
    if (pid <= 1 || pid > INT32_MAX)
        return error_set(err, ERROR_SYSTEM, EPROTO, "VMM does not tell the process of PUT %s",
                         birth->path);
    return process_adopt_child((pid_t)pid, process, err);
}

/* ---- a template of a VM ---- */

/* A tine-vmm of before there were templates is left alone. */
int api_template_check(const struct hypervisor *self, const struct vm_spec *spec, struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    _cleanup_(json) json_t *version = NULL;
    int r = call_init(&call, spec, self->request_ms, err);
    if (r == 0)
        r = vmm_api_get(&call.api, "/version", &version, err);
    if (r < 0)
        return r;
    return json_is_true(json_object_get(version, "templates"))
               ? 0
               : error_set(err, ERROR_UNSUPPORTED, ENOTSUP, "the VMM knows no templates");
}

int api_template_make(const struct hypervisor *self, const struct vm_spec *source,
                      const struct vm_template *template, struct vm_process *process,
                      uint64_t *paused_ns, struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    int r = call_init(&call, source, self->request_ms, err);
    if (r < 0)
        return r;
    _cleanup_(birth) struct birth birth = {
        .socket = call.socket,
        .path = "/template",
        .body = json_pack("{s:s, s:s, s:s, s:i}", "socket_path", IN_GUEST_DIR(GUEST_API_SOCKET),
                          "log_path", IN_GUEST_DIR(GUEST_VMM_LOG), "mount_point",
                          HYPERVISOR_GUEST_DIR, "idle_seconds", (int)template->idle_seconds),
        .timeout_ms = self->request_ms};
    r = bear(&birth, template->guest_dir, process, err);
    *paused_ns = (uint64_t)json_integer_value(json_object_get(birth.answer, "paused_us")) * 1000;
    return r;
}

/* ---- a VM of a template ---- */

struct child {
    const struct vm_template *template;
    const struct vm_process *template_process;
};

static int template_wait(const struct hypervisor *self, const struct vm_spec *spec,
                         const struct child *child, struct call *call, struct error *err)
{
    int r = call_init(call, spec, self->request_ms, err);
    const struct attempt attempt = {
        .self = self, .spec = spec, .process = *child->template_process, .call = *call};
    return r < 0 ? r : attempt_wait(&attempt, err);
}

static int child_begin(struct attempt *attempt, void *context, struct error *err)
{
    const struct child *child = context;
    const struct vm_spec spec = {.id = child->template->id,
                                 .guest_dir = child->template->guest_dir};
    _cleanup_(call) struct call call = {.socket = NULL};
    int r = template_wait(attempt->self, &spec, child, &call, err);
    if (r < 0)
        return error_wrap(err, "the template of %s", attempt->spec->id);
    _cleanup_(birth) struct birth birth = {
        .socket = call.socket,
        .path = "/children",
        .body = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "id", attempt->spec->id, "socket_path",
                          IN_GUEST_DIR(GUEST_API_SOCKET), "log_path", IN_GUEST_DIR(GUEST_VMM_LOG),
                          "serial_out_path", IN_GUEST_DIR(GUEST_CONSOLE_LOG), "mount_point",
                          HYPERVISOR_GUEST_DIR, "clock_realtime", 1),
        .timeout_ms = attempt->self->request_ms};
    return bear(&birth, attempt->spec->guest_dir, &attempt->process, err);
}

int api_template_child(const struct hypervisor *self, const struct vm_template *template,
                       const struct vm_process *template_process, const struct vm_spec *spec,
                       struct vm_process *process, struct error *err)
{
    _cleanup_(attempt) struct attempt attempt;
    struct child child = {.template = template, .template_process = template_process};
    int r = attempt_start_by(&attempt, self, spec, child_begin, &child, err);
    if (r == 0)
        *process = attempt.process;
    return r;
}
