/* SPDX-License-Identifier: Apache-2.0 */
#include "linux_vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/client.h"
#include "base/cleanup.h"

#define AGENT_MS 300000u /* an emulated host is slow */

void vm_path(const struct linux_vm *vm, char path[192], const char *name)
{
    snprintf(path, 192, "%s/%s", vm->directory, name);
}

void vm_call(const struct linux_vm *vm, const char *method, const char *path, json_t *body)
{
    struct reply reply = pager_call(&vm->process.api, method, path, body, NULL, 0);
    if (reply.status != 204)
        fail_msg("%s %s: %d %s", method, path, reply.status,
                 json_string_value(json_object_get(reply.body, "fault_message")));
    reply_free(&reply);
}

static void vm_begin_process(struct linux_vm *vm)
{
    process_kill(&vm->process);
    vm_path(vm, vm->vsock, "vsock");
    unlink(vm->vsock);
    process_begin(&vm->process, vm->directory);
    char console[192];
    vm_path(vm, console, "console.log");
    vm_call(vm, "PUT", "/serial", json_pack("{s:s}", "serial_out_path", console));
}

void vm_boot(struct linux_vm *vm)
{
    const char *kit = getenv("TINE_KIT");
    char kernel[192], initrd[192];
    assert_non_null(kit);
    snprintf(kernel, sizeof(kernel), "%s/vmlinux", kit);
    snprintf(initrd, sizeof(initrd), "%s/initrd.img", kit);
    vm_begin_process(vm);
    vm_call(vm, "PUT", "/machine-config",
            json_pack("{s:i, s:i}", "vcpu_count", 2, "mem_size_mib", (int)VM_MIB));
    vm_call(vm, "PUT", "/boot-source",
            json_pack("{s:s, s:s, s:s}", "kernel_image_path", kernel, "initrd_path", initrd,
                      "boot_args",
                      "console=ttyS0 reboot=k panic=1 i8042.noaux i8042.nomux i8042.dumbkbd"));
    vm_call(vm, "PUT", "/vsock", json_pack("{s:i, s:s}", "guest_cid", 3, "uds_path", vm->vsock));
    vm_call(vm, "PUT", "/balloon", json_pack("{s:i, s:b}", "amount_mib", 0, "deflate_on_oom", 1));
    vm_call(vm, "PUT", "/actions", json_pack("{s:s}", "action_type", "InstanceStart"));
}

static void vm_state(const struct linux_vm *vm, const char *state)
{
    vm_call(vm, "PATCH", "/vm", json_pack("{s:s}", "state", state));
}

void vm_pause(const struct linux_vm *vm)
{
    vm_state(vm, "Paused");
}

void vm_resume(const struct linux_vm *vm)
{
    vm_state(vm, "Resumed");
}

void vm_save(const struct linux_vm *vm, const char *type, const char *memory)
{
    char state[192], path[192];
    vm_path(vm, state, "state");
    vm_path(vm, path, memory);
    vm_call(vm, "PUT", "/snapshot/create",
            json_pack("{s:s, s:s, s:s}", "snapshot_type", type, "snapshot_path", state,
                      "mem_file_path", path));
}

static void vm_load(struct linux_vm *vm, const char *type, const char *backend)
{
    char state[192];
    vm_path(vm, state, "state");
    vm_begin_process(vm);
    vm_call(vm, "PUT", "/snapshot/load",
            json_pack("{s:s, s:{s:s, s:s}, s:b, s:b, s:b}", "snapshot_path", state, "mem_backend",
                      "backend_type", type, "backend_path", backend, "track_dirty_pages", 1,
                      "resume_vm", 1, "clock_realtime", 1));
}

void vm_load_file(struct linux_vm *vm, const char *memory)
{
    char path[192];
    vm_path(vm, path, memory);
    vm_load(vm, "File", path);
}

void vm_load_served(struct linux_vm *vm, const char *socket)
{
    vm_load(vm, "Uffd", socket);
}

/* ---- the oracle ---- */

static void ask(const struct linux_vm *vm, const char *const *argv, struct agent_result *result)
{
    const struct agent_exec exec = {.argv = argv};
    struct error err = {0};
    if (agent_exec_run(vm->vsock, AGENT_MS, &exec, 4096, result, &err) < 0)
        fail_msg("%s: %s", argv[1], err.message);
}

static void result_free(struct agent_result *result)
{
    free(result->out);
    free(result->err_out);
}

void oracle_fill(const struct linux_vm *vm, unsigned mib, unsigned seed)
{
    char mib_text[16], seed_text[16];
    struct agent_result result;
    snprintf(mib_text, sizeof(mib_text), "%u", mib);
    snprintf(seed_text, sizeof(seed_text), "%u", seed);
    ask(vm, (const char *const[]){"oracle", "fill", mib_text, seed_text, NULL}, &result);
    assert_int_equal(result.exit_code, 0);
    result_free(&result);
}

int64_t oracle_bad_pages(const struct linux_vm *vm, unsigned seed)
{
    char text[16];
    long bad = -1;
    struct agent_result result;
    snprintf(text, sizeof(text), "%u", seed);
    ask(vm, (const char *const[]){"oracle", "check", text, NULL}, &result);
    if (!result.out || sscanf(result.out, "bad_pages %ld", &bad) != 1)
        print_error("the oracle said: %s%s\n", result.out, result.err_out);
    result_free(&result);
    return bad;
}
