/* SPDX-License-Identifier: Apache-2.0 */
/* The whole VMM without its API: a guest boots from an ELF file, sleeps and wakes up in another
 * VMM. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "vmm/vmm_private.h"
#include "world.h"

/* ---- the good way ---- */

static void test_states(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    assert_int_equal(vmm_state(world->vmm), VMM_NOT_STARTED);
    assert_true(vmm_pause(world->vmm, &err) < 0);
    assert_true(vmm_resume(world->vmm, &err) < 0);
    assert_int_equal(err.code, ERROR_STATE);
    assert_true(create(world, &err) < 0);
    ok(vmm_start(world->vmm, &err), &err);
    assert_int_equal(vmm_state(world->vmm), VMM_RUNNING);
    assert_true(vmm_start(world->vmm, &err) < 0);
    assert_true(create(world, &err) < 0); /* not while running */
    assert_int_equal(err.code, ERROR_STATE);
    assert_true(load(world, false, &err) < 0);
    wait_counter(world, 10);
    for (unsigned round = 0; round < 10; round++) {
        ok(vmm_pause(world->vmm, &err), &err);
        ok(vmm_pause(world->vmm, &err), &err);
        assert_int_equal(vmm_state(world->vmm), VMM_PAUSED);
        uint64_t stopped = counter(world);
        time_sleep_ms(2);
        assert_true(counter(world) == stopped);
        ok(vmm_resume(world->vmm, &err), &err);
        ok(vmm_resume(world->vmm, &err), &err);
        wait_counter(world, stopped);
    }
    assert_string_equal(vmm_state_name(VMM_NOT_STARTED), "Not started");
}

static void test_slots(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    static const uint32_t ids[] = {5, 2, 2, 19, 4}; /* balloon, root, data, vsock, rng */
    ok(vmm_start(world->vmm, &err), &err);
    const struct machine *machine = world->vmm->machine;
    assert_int_equal(machine->virtio_count, ARRAY_SIZE(ids));
    for (unsigned i = 0; i < machine->virtio_count; i++) {
        assert_int_equal(virtio_mmio_device(machine->virtio[i])->ops->device_id, ids[i]);
        assert_true(virtio_mmio_gpa(machine->virtio[i]) == 0xc0001000ull + i * 0x1000ull);
        assert_int_equal(virtio_mmio_gsi(machine->virtio[i]), 5 + i);
    }
    assert_ptr_equal(virtio_mmio_device(machine->virtio[1]), machine->drives[1]);
    assert_ptr_equal(virtio_mmio_device(machine->virtio[2]), machine->drives[0]);
}

static void test_sleep_and_wake(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    uint64_t saved = counter(world);
    uint8_t id[16], other[16];
    assert_int_equal(guest_read(&world->vmm->machine->memory, 0xdf000, id, sizeof(id)), 0);
    ok(vmm_resume(world->vmm, &err), &err); /* the source goes on */
    wait_counter(world, saved);
    struct stat st;
    assert_int_equal(stat(world->memory, &st), 0);
    assert_int_equal(st.st_size, (off_t)MEMORY_MIB << 20);
    for (unsigned generation = 0; generation < 3; generation++) {
        next_vmm(world);
        ok(load(world, false, &err), &err);
        assert_int_equal(vmm_state(world->vmm), VMM_PAUSED);
        assert_true(counter(world) == saved);
        assert_int_equal(vmm_config(world->vmm)->machine.vcpu_count, 2);
        /* A VM generation id of its own, before the first instruction. */
        assert_int_equal(guest_read(&world->vmm->machine->memory, 0xdf000, other, sizeof(other)),
                         0);
        assert_memory_not_equal(id, other, sizeof(id));
        memcpy(id, other, sizeof(id));
        ok(vmm_resume(world->vmm, &err), &err);
        wait_counter(world, saved + 100);
        /* And asleep again, over the files it was loaded from. */
        ok(vmm_pause(world->vmm, &err), &err);
        saved = counter(world);
        ok(create(world, &err), &err);
    }
    assert_int_equal(count_names(world), 5); /* kernel, disk, vsock, state, memory */
}

static void test_load_resumes(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    uint64_t saved = counter(world);
    ok(create(world, &err), &err);
    next_vmm(world);
    ok(load(world, true, &err), &err);
    assert_int_equal(vmm_state(world->vmm), VMM_RUNNING);
    wait_counter(world, saved + 100);
}

/* Two VMs at once from the same files, which stay as they are. */
static void test_two_from_one(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    uint64_t saved = counter(world);
    ok(create(world, &err), &err);
    struct world twin = *world;
    new_vmm(&twin);
    char other_socket[96];
    path_in(world, other_socket, "vsock2");
    const struct snapshot_load_request request = {.snapshot_path = world->state,
                                                  .mem_file_path = world->memory,
                                                  .resume_vm = true,
                                                  .vsock_uds_path = other_socket};
    ok(vmm_snapshot_load(twin.vmm, &request, &err), &err);
    wait_counter(&twin, saved + 1000);
    assert_true(counter(world) == saved);
    assert_string_equal(vmm_config(twin.vmm)->vsock.uds_path, other_socket);
    end_vmm(&twin);
    uint64_t in_file = 0;
    _cleanup_(close) int fd = open(world->memory, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, &in_file, sizeof(in_file), COUNTER), sizeof(in_file));
    assert_true(in_file == saved);
}

static void test_outputs_are_kept(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    next_vmm(world);
    char log[96];
    path_in(world, log, "serial.log");
    free(vmm_config(world->vmm)->serial_out_path);
    vmm_config(world->vmm)->serial_out_path = strdup(log);
    ok(load(world, false, &err), &err);
    assert_string_equal(vmm_config(world->vmm)->serial_out_path, log);
    assert_int_equal(access(log, F_OK), 0);
}

/* ---- what goes wrong with a start ---- */

static void test_start_fails_and_again(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    assert_int_equal(rename(world->disk, world->state), 0);
    assert_true(vmm_start(world->vmm, &err) < 0);
    assert_non_null(strstr(err.message, world->disk));
    assert_int_equal(vmm_state(world->vmm), VMM_NOT_STARTED);
    assert_int_equal(rename(world->state, world->disk), 0);
    assert_int_equal(access(world->vsock, F_OK), -1); /* the next attempt binds it */
    write_file(world->kernel, "no kernel", 9);
    assert_true(vmm_start(world->vmm, &err) < 0);
    assert_non_null(strstr(err.message, world->kernel));
    write_kernel(world->kernel);
    ok(vmm_start(world->vmm, &err), &err);
    wait_counter(world, 10);
}

static void test_no_kernel(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    free(TAKE_PTR(vmm_config(world->vmm)->boot.kernel_image_path));
    assert_true(vmm_start(world->vmm, &err) < 0);
    assert_int_equal(err.code, ERROR_INVALID);
}

/* ---- after the start ---- */

static void test_drive_update(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    char other[96];
    path_in(world, other, "other");
    write_file(other, world_program, sizeof(world_program));
    assert_int_equal(truncate(other, 2 << 20), 0);
    assert_true(vmm_drive_update(world->vmm, "data", other, &err) < 0); /* not started */
    ok(vmm_start(world->vmm, &err), &err);
    assert_int_equal(vmm_drive_update(world->vmm, "nix", other, &err), -ENOENT);
    assert_true(vmm_drive_update(world->vmm, "data", world->state, &err) < 0);
    assert_string_equal(vmm_config(world->vmm)->drives[0].path_on_host, world->disk);
    ok(vmm_drive_update(world->vmm, "data", other, &err), &err);
    assert_string_equal(vmm_config(world->vmm)->drives[0].path_on_host, other);
}

static void test_balloon_and_keyboard(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    assert_true(vmm_balloon_set(world->vmm, 1, &err) < 0);
    assert_true(vmm_send_ctrl_alt_del(world->vmm, &err) < 0);
    ok(vmm_start(world->vmm, &err), &err);
    /* This guest has no drivers. */
    assert_true(vmm_balloon_set(world->vmm, 1, &err) < 0);
    ok(vmm_send_ctrl_alt_del(world->vmm, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(test_states),
        WITH_WORLD(test_slots),
        WITH_WORLD(test_sleep_and_wake),
        WITH_WORLD(test_load_resumes),
        WITH_WORLD(test_two_from_one),
        WITH_WORLD(test_outputs_are_kept),
        WITH_WORLD(test_start_fails_and_again),
        WITH_WORLD(test_no_kernel),
        WITH_WORLD(test_drive_update),
        WITH_WORLD(test_balloon_and_keyboard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
