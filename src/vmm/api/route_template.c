/* SPDX-License-Identifier: Apache-2.0 */
/* /template: a process of its own that children of this VM are made of. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "http/json_fields.h"
#include "vmm/api/api_private.h"
#include "vmm/api/template_api.h"
#include "vmm/config_json.h"

#define IDLE_MAX_S 86400u

#define AT(name) .offset = offsetof(struct template_body, name)

static const struct json_field fields[] = {
    {"socket_path", FIELD_STRING, true, AT(socket_path), .min = 1, .max = VM_PATH_MAX},
    {"idle_seconds", FIELD_U32, AT(idle_seconds), .max = IDLE_MAX_S},
    {"log_path", FIELD_STRING, AT(process.log_path), .min = 1, .max = VM_PATH_MAX},
    {"mount_point", FIELD_STRING, AT(process.mount_point), .min = 1, .max = VM_PATH_MAX},
};

static void cleanup_body(struct template_body *body)
{
    free(body->socket_path);
    own_process_free(&body->process);
}

static int answer(struct api_call *call, pid_t pid, const struct template_times *times,
                  struct error *err)
{
    call->answer = json_pack("{s:i, s:I, s:I}", "pid", (int)pid, "paused_us",
                             (json_int_t)(times->paused_ns / 1000), "fork_us",
                             (json_int_t)(times->fork_ns / 1000));
    return call->answer ? 0 : error_errno(err, ENOMEM, NULL, "build the answer");
}

int put_template(struct api_call *call, struct error *err)
{
    _cleanup_(body) struct template_body body = {.process.mount_fd = -1};
    struct template_times times;
    struct template *template = NULL;
    int r = json_fields_read(call->body, "template", fields, ARRAY_SIZE(fields), &body, err);
    if (r == 0)
        r = own_process_mount(&body.process, call->descriptors, "template", err);
    if (r < 0)
        return r;
    pid_t pid = vmm_template_fork(call->vmm, &template, &times, err);
    if (pid == 0)
        template_serve(template, &body);
    if (pid < 0)
        return pid;
    log_info("template: process %d, paused for %llu us, %llu of them for fork(2)", pid,
             (unsigned long long)(times.paused_ns / 1000),
             (unsigned long long)(times.fork_ns / 1000));
    return answer(call, pid, &times, err);
}
