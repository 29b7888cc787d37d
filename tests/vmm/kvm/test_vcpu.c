/* SPDX-License-Identifier: Apache-2.0 */
/* vCPU threads on real KVM: they run, stop without losing anything, and end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bare_vm.h"
#include "base/clock.h"
#include "vmm/kvm/vcpu_internal.h"

#define VCPUS 4

static void pause_all(struct bare_vm *vm)
{
    struct error err = {0};
    if (vcpus_pause(vm->vcpus, &err) < 0)
        fail_msg("%s", err.message);
}

static void registers(struct bare_vm *vm, unsigned vcpu, struct kvm_regs *regs)
{
    struct error err = {0};
    struct kvm_sregs sregs;
    assert_int_equal(vcpu_get_registers(vm->vcpus, vcpu, regs, &sregs, &err), 0);
}

/* True if no counter moves while the vCPUs are parked. */
static void expect_still(const struct bare_vm *vm)
{
    uint64_t before[VCPUS];
    unsigned count = vcpus_count(vm->vcpus);
    for (unsigned i = 0; i < count; i++)
        before[i] = bare_vm_counter(vm, i);
    time_sleep_ms(5);
    for (unsigned i = 0; i < count; i++)
        assert_true(bare_vm_counter(vm, i) == before[i]);
}

static void test_pause_and_resume(void **context)
{
    (void)context;
    struct bare_vm vm;
    bare_vm_create(&vm, 1);
    bare_vm_load_program(&vm, BARE_COUNT);
    bare_vm_run(&vm);
    for (unsigned round = 0; round < 50; round++) {
        bare_vm_wait_counter(&vm, 0, bare_vm_counter(&vm, 0) + 10);
        pause_all(&vm);
        expect_still(&vm);
        struct kvm_regs regs;
        registers(&vm, 0, &regs);
        uint64_t counter = bare_vm_counter(&vm, 0);
        assert_true(regs.rax == counter || regs.rax + 1 == counter);
        pause_all(&vm); /* once more is no harm */
        vcpus_resume(vm.vcpus);
        vcpus_resume(vm.vcpus);
    }
    bare_vm_destroy(&vm);
}

/* A kick that meets the thread anywhere on its way into the guest must stop it. */
static void test_pause_at_once(void **context)
{
    (void)context;
    struct bare_vm vm;
    bare_vm_create(&vm, 2);
    bare_vm_load_program(&vm, BARE_COUNT);
    bare_vm_run(&vm);
    for (unsigned round = 0; round < 500; round++) {
        pause_all(&vm);
        vcpus_resume(vm.vcpus);
    }
    bare_vm_wait_counter(&vm, 0, bare_vm_counter(&vm, 0));
    bare_vm_wait_counter(&vm, 1, bare_vm_counter(&vm, 1));
    bare_vm_destroy(&vm);
}

static void test_several_vcpus(void **context)
{
    (void)context;
    struct bare_vm vm;
    bare_vm_create(&vm, VCPUS);
    bare_vm_load_program(&vm, BARE_COUNT);
    bare_vm_run(&vm);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < VCPUS; i++)
            bare_vm_wait_counter(&vm, i, bare_vm_counter(&vm, i));
        pause_all(&vm);
        expect_still(&vm);
        vcpus_resume(vm.vcpus);
    }
    bare_vm_destroy(&vm);
}

static void *pause_thread(void *context)
{
    struct bare_vm *vm = context;
    struct error err = {0};
    return (void *)(intptr_t)vcpus_pause(vm->vcpus, &err);
}

/* Waits until vcpus_pause() of another thread has asked for the stop. */
static void wait_for_stop(struct bare_vm *vm)
{
    bool stop = false;
    while (!stop) {
        pthread_mutex_lock(&vm->vcpus->lock);
        stop = vm->vcpus->stop;
        pthread_mutex_unlock(&vm->vcpus->lock);
        if (!stop)
            time_sleep_ms(1);
    }
}

static void set_hold(struct bare_vm *vm, bool hold)
{
    pthread_mutex_lock(&vm->lock);
    vm->hold = hold;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
}

static void wait_held(struct bare_vm *vm, unsigned count)
{
    pthread_mutex_lock(&vm->lock);
    while (vm->held < count)
        pthread_cond_wait(&vm->changed, &vm->lock);
    pthread_mutex_unlock(&vm->lock);
}

/* Stops the guest while its access is with a handler, and lets the handler answer only then. */
static void pause_inside_access(struct bare_vm *vm, enum bare_program program)
{
    bare_vm_create(vm, 1);
    vm->answer = 0x1234567;
    vm->hold = true;
    bare_vm_load_program(vm, program);
    bare_vm_run(vm);
    wait_held(vm, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, pause_thread, vm), 0);
    wait_for_stop(vm);
    set_hold(vm, false);
    void *result = (void *)-1;
    pthread_join(thread, &result);
    assert_null(result);
}

static void test_pause_completes_mmio_read(void **context)
{
    (void)context;
    struct bare_vm vm;
    struct kvm_regs regs;
    pause_inside_access(&vm, BARE_MMIO_READ);
    registers(&vm, 0, &regs);
    assert_true(regs.rcx == 0x1234567);
    assert_int_equal(vm.accesses, 1);
    /* Not repeated either: as many counted as accesses that were answered. */
    set_hold(&vm, true);
    vcpus_resume(vm.vcpus);
    wait_held(&vm, 1);
    assert_int_equal(vm.accesses, 2);
    assert_true(bare_vm_counter(&vm, 0) == 1);
    set_hold(&vm, false);
    bare_vm_destroy(&vm);
}

static void test_pause_completes_mmio_write(void **context)
{
    (void)context;
    struct bare_vm vm;
    pause_inside_access(&vm, BARE_MMIO_WRITE);
    assert_true(vm.last_write == 1);
    set_hold(&vm, true);
    vcpus_resume(vm.vcpus);
    wait_held(&vm, 1);
    assert_int_equal(vm.accesses, 2);
    set_hold(&vm, false);
    bare_vm_wait_accesses(&vm, 3);
    pause_all(&vm);
    assert_true(vm.last_write == vm.accesses);
    bare_vm_destroy(&vm);
}

static void test_pause_completes_port_read(void **context)
{
    (void)context;
    struct bare_vm vm;
    struct kvm_regs regs;
    pause_inside_access(&vm, BARE_PORT_READ);
    registers(&vm, 0, &regs);
    assert_true((regs.rax & 0xffffffff) == 0x1234567);
    assert_int_equal(vm.accesses, 1);
    bare_vm_destroy(&vm);
}

/* A string instruction is many accesses; none is lost or seen twice over a pause. */
static void test_pause_in_string(void **context)
{
    (void)context;
    struct bare_vm vm;
    pause_inside_access(&vm, BARE_PORT_STRING);
    vcpus_resume(vm.vcpus);
    for (unsigned round = 0; round < 20; round++) {
        bare_vm_wait_counter(&vm, 0, bare_vm_counter(&vm, 0));
        pause_all(&vm);
        struct kvm_regs regs;
        registers(&vm, 0, &regs);
        uint64_t strings = bare_vm_counter(&vm, 0);
        uint64_t within = regs.rcx; /* left of the current string; 0 before and after one */
        assert_true(vm.accesses >= strings * 64);
        assert_true(vm.accesses <= strings * 64 + 64);
        if (within > 0)
            assert_true(vm.accesses == strings * 64 + 64 - within);
        vcpus_resume(vm.vcpus);
    }
    bare_vm_destroy(&vm);
}

static void test_pause_in_halt(void **context)
{
    (void)context;
    struct bare_vm vm;
    bare_vm_create(&vm, 2);
    bare_vm_load_program(&vm, BARE_HALT);
    bare_vm_run(&vm);
    bare_vm_wait_counter(&vm, 0, 0);
    bare_vm_wait_counter(&vm, 1, 0);
    for (unsigned round = 0; round < 20; round++) {
        pause_all(&vm);
        vcpus_resume(vm.vcpus);
    }
    assert_int_equal(vm.ended, 0);
    bare_vm_destroy(&vm);
}

static void wait_end(struct bare_vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    while (vm->ended == 0)
        pthread_cond_wait(&vm->changed, &vm->lock);
    pthread_mutex_unlock(&vm->lock);
}

static void test_triple_fault_ends(void **context)
{
    (void)context;
    struct bare_vm vm;
    bare_vm_create(&vm, 1);
    bare_vm_load_program(&vm, BARE_TRIPLE_FAULT);
    bare_vm_run(&vm);
    wait_end(&vm);
    assert_int_equal(vm.ended, 2);
    /* It counts as parked, and stays so. */
    pause_all(&vm);
    vcpus_resume(vm.vcpus);
    pause_all(&vm);
    bare_vm_destroy(&vm);
}

/* Secondary vCPUs of a fresh VM wait for a SIPI; that must not keep a pause. */
static void test_waiting_vcpus(void **context)
{
    (void)context;
    struct bare_vm vm;
    struct error err = {0};
    bare_vm_create(&vm, 3);
    bare_vm_load_program(&vm, BARE_COUNT);
    struct kvm_mp_state waiting = {.mp_state = KVM_MP_STATE_UNINITIALIZED};
    for (unsigned i = 1; i < 3; i++)
        assert_int_equal(
            kvm_call(vm.vcpus->vcpu[i].fd, KVM_SET_MP_STATE, &waiting, "KVM_SET_MP_STATE", &err),
            0);
    bare_vm_run(&vm);
    for (unsigned round = 0; round < 20; round++) {
        bare_vm_wait_counter(&vm, 0, bare_vm_counter(&vm, 0));
        pause_all(&vm);
        vcpus_resume(vm.vcpus);
    }
    assert_true(bare_vm_counter(&vm, 1) == 0);
    assert_true(bare_vm_counter(&vm, 2) == 0);
    bare_vm_destroy(&vm);
}

static void test_destroy_without_start(void **context)
{
    (void)context;
    struct bare_vm vm;
    bare_vm_create(&vm, 2);
    bare_vm_destroy(&vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pause_and_resume),
        cmocka_unit_test(test_pause_at_once),
        cmocka_unit_test(test_several_vcpus),
        cmocka_unit_test(test_pause_completes_mmio_read),
        cmocka_unit_test(test_pause_completes_mmio_write),
        cmocka_unit_test(test_pause_completes_port_read),
        cmocka_unit_test(test_pause_in_string),
        cmocka_unit_test(test_pause_in_halt),
        cmocka_unit_test(test_triple_fault_ends),
        cmocka_unit_test(test_waiting_vcpus),
        cmocka_unit_test(test_destroy_without_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
