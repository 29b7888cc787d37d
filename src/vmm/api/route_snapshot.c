/* SPDX-License-Identifier: Apache-2.0 */
/* /snapshot/create and /snapshot/load */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "http/json_fields.h"
#include "stack/layer_stack.h"
#include "vmm/api/api_private.h"
#include "vmm/config_json.h"

static int refuse(struct error *err, const char *why)
{
    return error_set(err, ERROR_INVALID, EINVAL, "%s", why);
}

struct create_body {
    char *snapshot_path, *mem_file_path;
    char type[8];
};

/* clang-format off */ /* its versions differ on braces in macros */
#define PATH_FIELD(type, name, needed)                                                       \
    {#name, FIELD_STRING, needed, .offset = offsetof(struct type, name), .min = 1, .max = VM_PATH_MAX}
/* clang-format on */

static int create(struct api_call *call, const struct create_body *body, struct error *err)
{
    if (strcmp(body->snapshot_path, body->mem_file_path) == 0)
        return refuse(err, "snapshot/create: snapshot_path and mem_file_path are the same");
    if (vmm_state(call->vmm) != VMM_PAUSED)
        return error_set(err, ERROR_STATE, EINVAL,
                         "snapshot/create: the microVM is running, pause it first");
    const struct snapshot_create_request request = {.snapshot_path = body->snapshot_path,
                                                    .mem_file_path = body->mem_file_path,
                                                    .diff = strcmp(body->type, "Diff") == 0,
                                                    .layer = strcmp(body->type, "Layer") == 0};
    return vmm_snapshot_create(call->vmm, &request, err);
}

int put_snapshot_create(struct api_call *call, struct error *err)
{
    struct create_body body = {.type = "Full"};
    static const char *const types[] = {"Full", "Diff", "Layer", NULL};
    static const struct json_field fields[] = {
        PATH_FIELD(create_body, snapshot_path, true),
        PATH_FIELD(create_body, mem_file_path, true),
        {"snapshot_type", FIELD_TEXT, .offset = offsetof(struct create_body, type),
         .max = sizeof(body.type), .choices = types},
    };
    int r = json_fields_read(call->body, "snapshot/create", fields, ARRAY_SIZE(fields), &body, err);
    if (r == 0)
        r = create(call, &body, err);
    free(body.snapshot_path);
    free(body.mem_file_path);
    return r;
}

struct load_body {
    char *snapshot_path, *mem_file_path; /* mem_file_path: the deprecated way */
    char *backend_path;
    bool backend_uffd;
    uint32_t layers;
    char *vsock_path;
    bool track_dirty_pages, enable_diff_snapshots, resume_vm, clock_realtime;
    char huge_pages[16];
    const json_t *mem_backend, *network_overrides, *vsock_override;
};

static const char *const backend_types[] = {"File", "Uffd", NULL};
static const char *const load_huge_pages[] = {"Snapshot", "None", "Transparent", "2M", NULL};

/* clang-format off */ /* its versions differ on braces in macros */
#define LOAD(name, what) {#name, what, .offset = offsetof(struct load_body, name)}
/* clang-format on */

static const struct json_field load_fields[] = {
    PATH_FIELD(load_body, snapshot_path, true),
    PATH_FIELD(load_body, mem_file_path, false),
    LOAD(mem_backend, FIELD_OBJECT),
    LOAD(track_dirty_pages, FIELD_BOOL),
    LOAD(enable_diff_snapshots, FIELD_BOOL), /* the deprecated name of track_dirty_pages */
    LOAD(resume_vm, FIELD_BOOL),
    LOAD(clock_realtime, FIELD_BOOL),
    LOAD(network_overrides, FIELD_ARRAY),
    LOAD(vsock_override, FIELD_OBJECT),
    {"huge_pages", FIELD_TEXT, .offset = offsetof(struct load_body, huge_pages), .max = 16,
     .choices = load_huge_pages},
};

static const struct json_field backend_fields[] = {
    {"backend_type", FIELD_FLAG, true, .offset = offsetof(struct load_body, backend_uffd),
     .choices = backend_types},
    PATH_FIELD(load_body, backend_path, true),
    {"layers", FIELD_U32, .offset = offsetof(struct load_body, layers), .max = LAYER_STACK_LIMIT},
};

static const struct json_field override_fields[] = {
    {"uds_path", FIELD_STRING, true, .offset = offsetof(struct load_body, vsock_path), .min = 1,
     .max = VM_PATH_MAX},
};

static int load_read(const json_t *object, struct load_body *body, struct error *err)
{
    int r =
        json_fields_read(object, "snapshot/load", load_fields, ARRAY_SIZE(load_fields), body, err);
    if (r == 0 && body->mem_backend)
        r = json_fields_read(body->mem_backend, "snapshot/load: mem_backend", backend_fields,
                             ARRAY_SIZE(backend_fields), body, err);
    if (r == 0 && body->vsock_override)
        r = json_fields_read(body->vsock_override, "snapshot/load: vsock_override", override_fields,
                             ARRAY_SIZE(override_fields), body, err);
    return r;
}

static int load_check(const struct load_body *body, struct error *err)
{
    if (!body->mem_backend == !body->mem_file_path)
        return refuse(err, "snapshot/load: exactly one of 'mem_backend' and 'mem_file_path' must "
                           "be given");
    if (body->backend_uffd && body->layers > 0)
        return refuse(err, "snapshot/load: mem_backend: layers are of a File; with Uffd it is the "
                           "page server that knows them");
    if (json_array_size(body->network_overrides) > 0)
        return refuse(err, "snapshot/load: network_overrides must be empty, this version of the "
                           "VMM has no network device");
    if (strcmp(body->huge_pages, "Snapshot") != 0 && strcmp(body->huge_pages, "None") != 0)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "snapshot/load: huge_pages '%s' is not supported", body->huge_pages);
    return 0;
}

static int load(struct api_call *call, const struct load_body *body, struct error *err)
{
    int r = load_check(body, err);
    if (r < 0)
        return r;
    if (call->api->boot_configured)
        return error_set(err, ERROR_STATE, EINVAL,
                         "snapshot/load: not possible after boot-specific resources were "
                         "configured");
    const struct snapshot_load_request request = {
        .snapshot_path = body->snapshot_path,
        .mem_file_path = body->backend_uffd  ? NULL
                         : body->mem_backend ? body->backend_path
                                             : body->mem_file_path,
        .uffd_socket = body->backend_uffd ? body->backend_path : NULL,
        .layers = body->layers,
        .track_dirty_pages = body->track_dirty_pages || body->enable_diff_snapshots,
        .resume_vm = body->resume_vm,
        .clock_realtime = body->clock_realtime,
        .vsock_uds_path = body->vsock_path,
    };
    r = vmm_snapshot_load(call->vmm, &request, err);
    /* From here on nothing can be told about the state of the VM: the process ends, as in
     * Firecracker. */
    call->fatal = r < 0;
    return r;
}

int put_snapshot_load(struct api_call *call, struct error *err)
{
    struct load_body body = {.huge_pages = "Snapshot"};
    int r = load_read(call->body, &body, err);
    if (r == 0)
        r = load(call, &body, err);
    free(body.snapshot_path);
    free(body.mem_file_path);
    free(body.backend_path);
    free(body.vsock_path);
    return r;
}
