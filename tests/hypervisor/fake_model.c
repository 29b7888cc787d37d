/* SPDX-License-Identifier: Apache-2.0 */
/* What the fake VM does with each request: the rules of Firecracker's API about what is legal
 * before and after boot, and that files are opened when they are named. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_vmm.h"

static void refuse(struct fake_answer *answer, const char *text)
{
    answer->status = 400;
    answer->body = json_pack("{s:s}", "fault_message", text);
}

static int can_open(const char *path, int flags, char *fault, size_t size)
{
    int fd = path ? open(path, flags | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        close(fd);
        return 1;
    }
    snprintf(fault, size, "cannot open %s: %s", path ? path : "nothing", strerror(errno));
    return 0;
}

static const char *text_of(json_t *body, const char *key)
{
    return json_string_value(json_object_get(body, key));
}

/* Settings before boot. Returns 0 when `fault` says why not. */
static int check_setting(struct fake *fake, const char *path, json_t *body, char *fault,
                         size_t size)
{
    if (strcmp(path, "/boot-source") == 0) {
        const char *initrd = text_of(body, "initrd_path");
        return can_open(text_of(body, "kernel_image_path"), O_RDONLY, fault, size) &&
               (!initrd || can_open(initrd, O_RDONLY, fault, size));
    }
    if (strncmp(path, "/drives/", 8) == 0) {
        int read_only = json_is_true(json_object_get(body, "is_read_only"));
        return can_open(text_of(body, "path_on_host"), read_only ? O_RDONLY : O_RDWR, fault, size);
    }
    if (strcmp(path, "/vsock") == 0)
        return fake_vsock_listen(fake, text_of(body, "uds_path"), fault, size) == 0;
    if (strcmp(path, "/serial") == 0)
        return can_open(text_of(body, "serial_out_path"), O_RDWR | O_CREAT, fault, size);
    return 1;
}

static void put_setting(struct fake *fake, const char *path, json_t *body,
                        struct fake_answer *answer)
{
    char fault[512];
    if (fake->state != FAKE_NOT_STARTED)
        refuse(answer, "not supported after starting the microVM");
    else if (!json_is_object(body))
        refuse(answer, "the body is no JSON object");
    else if (!check_setting(fake, path, body, fault, sizeof(fault)))
        refuse(answer, fault);
    else
        json_object_set(fake->config, path, body);
}

static void start(struct fake *fake, struct fake_answer *answer)
{
    json_t *machine = json_object_get(fake->config, "/machine-config");
    json_int_t mib = json_integer_value(json_object_get(machine, "mem_size_mib"));
    if (fake->state != FAKE_NOT_STARTED)
        refuse(answer, "not supported after starting the microVM");
    else if (!json_object_get(fake->config, "/boot-source") || mib <= 0)
        refuse(answer, "cannot start a microVM without kernel and memory");
    else if (fake_memory_new(fake, (size_t)mib << 20) < 0)
        refuse(answer, "cannot map guest memory");
    else {
        fake->tracking = json_is_true(json_object_get(machine, "track_dirty_pages"));
        fake->state = FAKE_RUNNING;
        if (fake->version)
            printf("console of %s\n", fake->id);
        fflush(stdout);
        fake_agent_ready(fake);
    }
}

static void seal_disks(struct fake *fake, struct fake_answer *answer)
{
    char fault[512];
    if (fake->state != FAKE_PAUSED)
        refuse(answer, "the microVM is not paused");
    else if (fake_disks_seal(fake, fault, sizeof(fault)) < 0)
        refuse(answer, fault);
}

/* Each of its writes to a disk is flushed as it is made. */
static bool flushes_disks(const struct fake *fake, const char *type)
{
    return !fake->version && fake->state != FAKE_NOT_STARTED && strcmp(type, "FlushDisks") == 0;
}

static void put_action(struct fake *fake, json_t *body, struct fake_answer *answer)
{
    const char *type = text_of(body, "action_type");
    if (type && strcmp(type, "InstanceStart") == 0)
        start(fake, answer);
    else if (type && strcmp(type, "SendCtrlAltDel") == 0 && fake->state == FAKE_RUNNING)
        answer->exit_after = 0; /* its guest resets at once */
    else if (type && !fake->version && strcmp(type, "SealDisks") == 0)
        seal_disks(fake, answer);
    else if (type && flushes_disks(fake, type))
        answer->status = 204;
    else
        refuse(answer, "no such action now");
}

static void patch_vm(struct fake *fake, json_t *body, struct fake_answer *answer)
{
    const char *state = text_of(body, "state");
    if (fake->state == FAKE_NOT_STARTED || !state)
        refuse(answer, "not supported before starting the microVM");
    else {
        fake->state = strcmp(state, "Paused") == 0 ? FAKE_PAUSED : FAKE_RUNNING;
        pthread_cond_broadcast(&fake->changed);
    }
}

static void put_snapshot(struct fake *fake, const char *path, json_t *body,
                         struct fake_answer *answer)
{
    char fault[512] = "";
    if (strcmp(path, "/snapshot/create") == 0) {
        if (fake->state != FAKE_PAUSED)
            refuse(answer, "the microVM is not paused");
        else if (fake_snapshot_create(fake, body, fault, sizeof(fault)) < 0)
            refuse(answer, fault);
    } else if (fake->state != FAKE_NOT_STARTED || json_object_get(fake->config, "/boot-source")) {
        refuse(answer, "loading is not allowed after configuring the microVM");
    } else if (fake_snapshot_load(fake, body, fault, sizeof(fault)) < 0) {
        refuse(answer, fault);
        answer->exit_after = 1; /* as Firecracker: a failed load ends the process */
    }
}

static void tell_touched(struct fake_answer *answer)
{
    char *other = fake_order("touched", NULL);
    answer->body =
        json_loads(other ? other : "{\"read\": [[0, 3], [9, 1]], \"written\": [[3, 2]]}", 0, NULL);
    free(other);
}

static void get(struct fake *fake, const char *path, struct fake_answer *answer)
{
    static const char *const names[] = {"Not started", "Running", "Paused", "Template"};
    answer->status = 200;
    if (strcmp(path, "/") == 0)
        answer->body = json_pack("{s:s, s:s, s:s, s:s}", "id", fake->id, "state",
                                 names[fake->state], "vmm_version", "0", "app_name", "Fake");
    else if (strcmp(path, "/memory/touched") == 0 && fake->state != FAKE_NOT_STARTED)
        tell_touched(answer);
    else if (strcmp(path, "/vm/config") == 0)
        answer->body = json_deep_copy(fake->config);
    else if (strcmp(path, "/version") == 0 && fake->version) {
        char *other = fake_order("other-version", NULL);
        answer->body = json_pack("{s:s}", "firecracker_version", other ? other : fake->version);
        free(other);
    } else if (strcmp(path, "/version") == 0) {
        char *none = fake_order("no-templates", NULL);
        answer->body = json_pack("{s:b}", "templates", none == NULL);
        free(none);
    } else
        refuse(answer, "no such path");
}

void fake_handle(struct fake *fake, const char *method, const char *path, json_t *body,
                 struct fake_answer *answer)
{
    char fault[256];
    if (strcmp(method, "GET") == 0)
        get(fake, path, answer);
    else if (!fake_knows(fake, path, body, fault, sizeof(fault)))
        refuse(answer, fault);
    else if (strcmp(path, "/memory/populate") == 0 && fake->state == FAKE_PAUSED)
        answer->status = 204;
    else if (strcmp(path, "/template") == 0 || strcmp(path, "/children") == 0) {
        if (fake_template(fake, path, body, answer) < 0)
            refuse(answer, "no template can be made now");
    } else if (strcmp(path, "/vm") == 0)
        patch_vm(fake, body, answer);
    else if (strcmp(path, "/actions") == 0)
        put_action(fake, body, answer);
    else if (strncmp(path, "/snapshot/", 10) == 0)
        put_snapshot(fake, path, body, answer);
    else
        put_setting(fake, path, body, answer);
}
