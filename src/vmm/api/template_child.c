/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "http/json_fields.h"
#include "vmm/api/api_private.h"
#include "vmm/api/template_api.h"
#include "vmm/config_json.h"

/* ---- the request ---- */

#define AT(name)       .offset = offsetof(struct child_body, name)
#define DRIVE_AT(name) .offset = offsetof(struct drive_path, name)

static const struct json_field fields[] = {
    {"id", FIELD_STRING, true, AT(id), .min = 1, .max = VM_ID_MAX},
    {"socket_path", FIELD_STRING, true, AT(socket_path), .min = 1, .max = VM_PATH_MAX},
    {"log_path", FIELD_STRING, AT(process.log_path), .min = 1, .max = VM_PATH_MAX},
    {"mount_point", FIELD_STRING, AT(process.mount_point), .min = 1, .max = VM_PATH_MAX},
    {"serial_out_path", FIELD_STRING, AT(serial_out_path), .min = 1, .max = VM_PATH_MAX},
    {"vsock_override", FIELD_OBJECT, AT(vsock_override)},
    {"drives", FIELD_ARRAY, AT(drives_given)},
    {"resume_vm", FIELD_BOOL, AT(resume_vm)},
    {"clock_realtime", FIELD_BOOL, AT(clock_realtime)},
};

static const struct json_field override_fields[] = {
    {"uds_path", FIELD_STRING, true, AT(vsock_path), .min = 1, .max = VM_PATH_MAX},
};

static const struct json_field drive_fields[] = {
    {"drive_id", FIELD_STRING, true, DRIVE_AT(drive_id), .min = 1, .max = VM_ID_MAX},
    {"path_on_host", FIELD_STRING, true, DRIVE_AT(path_on_host), .min = 1, .max = VM_PATH_MAX},
};

static int drives_read(struct child_body *body, struct error *err)
{
    size_t count = json_array_size(body->drives_given);
    if (count > VM_MAX_DRIVES)
        return error_set(err, ERROR_INVALID, EINVAL, "children: drives: more than %d",
                         VM_MAX_DRIVES);
    for (size_t i = 0; i < count; i++) {
        body->drive_count++; /* one that is half read is freed, too */
        int r = json_fields_read(json_array_get(body->drives_given, i), "children: drives",
                                 drive_fields, ARRAY_SIZE(drive_fields), &body->drives[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

int child_body_read(const json_t *object, struct http_descriptors *descriptors,
                    struct child_body *body, struct error *err)
{
    int r = json_fields_read(object, "children", fields, ARRAY_SIZE(fields), body, err);
    if (r == 0 && body->vsock_override)
        r = json_fields_read(body->vsock_override, "children: vsock_override", override_fields,
                             ARRAY_SIZE(override_fields), body, err);
    if (r == 0)
        r = drives_read(body, err);
    return r < 0 ? r : own_process_mount(&body->process, descriptors, "children", err);
}

void child_body_free(struct child_body *body)
{
    free(body->id);
    free(body->socket_path);
    free(body->serial_out_path);
    free(body->vsock_path);
    for (unsigned i = 0; i < body->drive_count; i++) {
        free(body->drives[i].drive_id);
        free(body->drives[i].path_on_host);
    }
    own_process_free(&body->process);
}

/* ---- the process ---- */

static int vm_make(struct template *template, struct child_body *body, struct vmm *vmm,
                   struct error *err)
{
    const struct template_child child = {.vsock_uds_path = body->vsock_path,
                                         .drives = body->drives,
                                         .drive_count = body->drive_count,
                                         .clock_realtime = body->clock_realtime};
    vmm_config(vmm)->serial_out_path = TAKE_PTR(body->serial_out_path);
    int r = vmm_template_load(vmm, template, &child, err);
    if (r == 0 && (r = failpoint("vmm-child-loaded")) < 0)
        error_errno(err, -r, NULL, "make a microVM of the template");
    malloc_trim(0); /* as after any load */
    return r < 0 || !body->resume_vm ? r : vmm_resume(vmm, err);
}

/* Ends when its parent does; or, with 0, no more. */
static int end_with_parent(int signal, struct error *err)
{
    return prctl(PR_SET_PDEATHSIG, signal) < 0
               ? error_errno(err, errno, NULL, "tell when the template ends")
               : 0;
}

static int begin_with(pid_t parent, struct own_process *process, struct error *err)
{
    int r = end_with_parent(SIGKILL, err);
    if (r == 0 && getppid() != parent)
        r = error_set(err, ERROR_STATE, ECHILD, "its template has ended");
    return r < 0 ? r : own_process_begin(process, err);
}

/* Who can connect to the API finds the VM made. */
static int begin(struct template *template, struct child_body *body, struct loop **loop,
                 struct vmm **vmm, struct error *err)
{
    const uint64_t begin_ns = time_monotonic_ns();
    *loop = loop_create(err);
    *vmm = *loop ? vmm_create(body->id, *loop, err) : NULL;
    if (!*vmm)
        return -EIO;
    int r = vm_make(template, body, *vmm, err);
    if (r == 0)
        r = end_with_parent(0, err);
    if (r < 0)
        return r;
    if (!api_create(body->socket_path, API_BODY_LIMIT, *loop, *vmm, err))
        return -EIO;
    log_info("%s: made of a template in %llu us, listening on %s", body->id,
             (unsigned long long)((time_monotonic_ns() - begin_ns) / 1000), body->socket_path);
    return 0;
}

_Noreturn void child_serve(struct template *template, pid_t parent, struct child_body *body)
{
    struct error err = {0};
    struct loop *loop = NULL;
    struct vmm *vmm = NULL;
    (void)pthread_setname_np(pthread_self(), "tine-vmm"); /* only for people who look */
    if (begin_with(parent, &body->process, &err) < 0 ||
        begin(template, body, &loop, &vmm, &err) < 0) {
        log_error("%s: %s", body->id, err.message);
        _exit(1);
    }
    int status = loop_run(loop);
    vmm_end(vmm); /* nothing else is torn down, as of any VMM */
    _exit(status);
}
