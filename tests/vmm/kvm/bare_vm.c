/* SPDX-License-Identifier: Apache-2.0 */
#include "bare_vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include "base/clock.h"
#include "vmm/boot/boot.h"
#include "vmm/kvm/vcpu_internal.h"

/* Position-independent; the addresses of BARE_MMIO and BARE_PORT are repeated here. */
__asm__(".pushsection .rodata\n"
        "bare_count: incq (%rdi)\n"
        "    inc %rax\n"
        "    jmp bare_count\n"
        "bare_mmio_read: mov $0x30000000, %esi\n"
        "1:  mov (%rsi), %ecx\n"
        "    add %rcx, %rax\n"
        "    incq (%rdi)\n"
        "    jmp 1b\n"
        "bare_mmio_write: mov $0x30000000, %esi\n"
        "1:  inc %eax\n"
        "    mov %eax, (%rsi)\n"
        "    incq (%rdi)\n"
        "    jmp 1b\n"
        "bare_port_read: mov $0x510, %edx\n"
        "    xor %ebx, %ebx\n"
        "1:  in %dx, %eax\n"
        "    add %rax, %rbx\n"
        "    incq (%rdi)\n"
        "    jmp 1b\n"
        "bare_port_string: mov $0x510, %edx\n"
        "    cld\n"
        "1:  mov $0x100000, %esi\n"
        "    mov $64, %ecx\n"
        "    rep outsb\n"
        "    incq (%rdi)\n"
        "    jmp 1b\n"
        "bare_halt: incq (%rdi)\n"
        "1:  hlt\n"
        "    jmp 1b\n"
        "bare_triple_fault: incq (%rdi)\n"
        "    push $0\n"
        "    push $0\n"
        "    lidt (%rsp)\n"
        "    ud2\n"
        "bare_end:\n"
        ".popsection\n");

extern const uint8_t bare_count[], bare_mmio_read[], bare_mmio_write[], bare_port_read[],
    bare_port_string[], bare_halt[], bare_triple_fault[], bare_end[];

static const uint8_t *const programs[] = {
    [BARE_COUNT] = bare_count,
    [BARE_MMIO_READ] = bare_mmio_read,
    [BARE_MMIO_WRITE] = bare_mmio_write,
    [BARE_PORT_READ] = bare_port_read,
    [BARE_PORT_STRING] = bare_port_string,
    [BARE_HALT] = bare_halt,
    [BARE_TRIPLE_FAULT] = bare_triple_fault,
};

#define WAIT_LIMIT_MS 60000u

static void access_handled(struct bare_vm *vm, uint8_t *data, size_t size, bool is_write)
{
    pthread_mutex_lock(&vm->lock);
    vm->accesses++;
    vm->held++;
    pthread_cond_broadcast(&vm->changed);
    while (vm->hold)
        pthread_cond_wait(&vm->changed, &vm->lock);
    vm->held--;
    if (is_write) {
        vm->last_write = 0;
        memcpy(&vm->last_write, data, size);
    } else {
        memcpy(data, &vm->answer, size);
    }
    pthread_mutex_unlock(&vm->lock);
}

static void on_mmio(void *context, uint64_t gpa, uint8_t *data, size_t size, bool is_write)
{
    if (gpa == BARE_MMIO)
        access_handled(context, data, size, is_write);
}

static void on_port(void *context, uint16_t port, uint8_t *data, size_t size, bool is_write)
{
    if (port == BARE_PORT)
        access_handled(context, data, size, is_write);
}

static void on_end(void *context, int status)
{
    struct bare_vm *vm = context;
    pthread_mutex_lock(&vm->lock);
    vm->ended = status + 1;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
}

void bare_vm_create(struct bare_vm *vm, unsigned vcpu_count)
{
    struct error err = {0};
    memset(vm, 0, sizeof(*vm));
    pthread_mutex_init(&vm->lock, NULL);
    pthread_cond_init(&vm->changed, NULL);
    assert_int_equal(guest_memory_create(&vm->memory, BARE_MEMORY, &err), 0);
    if (kvm_create(&vm->kvm, &vm->memory, &err) < 0)
        fail_msg("%s", err.message);
    const struct vcpu_handlers handlers = {
        .mmio = on_mmio, .port = on_port, .end = on_end, .context = vm};
    vm->vcpus = vcpus_create(&vm->kvm, vcpu_count, &handlers, &err);
    if (!vm->vcpus)
        fail_msg("%s", err.message);
}

void bare_vm_destroy(struct bare_vm *vm)
{
    vcpus_destroy(vm->vcpus);
    kvm_destroy(&vm->kvm);
    guest_memory_release(&vm->memory);
    pthread_cond_destroy(&vm->changed);
    pthread_mutex_destroy(&vm->lock);
}

void bare_vm_load_program(struct bare_vm *vm, enum bare_program program)
{
    struct error err = {0};
    const struct boot_entry entry = {.protocol = BOOT_LINUX64, .rip = BARE_CODE};
    size_t length = (size_t)(bare_end - programs[program]);
    assert_int_equal(guest_write(&vm->memory, BARE_CODE, programs[program], length), 0);
    for (unsigned i = 0; i < vcpus_count(vm->vcpus); i++) {
        struct kvm_regs regs = {0};
        struct kvm_sregs sregs;
        struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
        if (vcpu_setup(vm->vcpus, i, false, &err) < 0)
            fail_msg("%s", err.message);
        assert_int_equal(vcpu_get_registers(vm->vcpus, i, &regs, &sregs, &err), 0);
        assert_int_equal(boot_registers(&vm->memory, &entry, &regs, &sregs, &err), 0);
        regs.rdi = BARE_COUNTERS + i * BARE_COUNTER_STEP;
        if (vcpu_set_registers(vm->vcpus, i, &regs, &sregs, &err) < 0)
            fail_msg("%s", err.message);
        assert_int_equal(ioctl(vm->vcpus->vcpu[i].fd, KVM_SET_MP_STATE, &runnable), 0);
    }
}

void bare_vm_run(struct bare_vm *vm)
{
    struct error err = {0};
    assert_int_equal(vcpus_start(vm->vcpus, &err), 0);
    vcpus_resume(vm->vcpus);
}

uint64_t bare_vm_counter(const struct bare_vm *vm, unsigned vcpu)
{
    const volatile uint64_t *counter =
        guest_pointer(&vm->memory, BARE_COUNTERS + vcpu * BARE_COUNTER_STEP, 8);
    return *counter;
}

void bare_vm_wait_counter(const struct bare_vm *vm, unsigned vcpu, uint64_t value)
{
    for (unsigned waited = 0; bare_vm_counter(vm, vcpu) <= value; waited++) {
        if (vm->ended || waited == WAIT_LIMIT_MS)
            fail_msg("vCPU %u stands still at %llu", vcpu,
                     (unsigned long long)bare_vm_counter(vm, vcpu));
        time_sleep_ms(1);
    }
}

void bare_vm_wait_accesses(struct bare_vm *vm, unsigned count)
{
    pthread_mutex_lock(&vm->lock);
    while (vm->accesses < count && !vm->ended)
        pthread_cond_wait(&vm->changed, &vm->lock);
    assert_int_equal(vm->ended, 0);
    pthread_mutex_unlock(&vm->lock);
}

void bare_vm_copy_memory(struct bare_vm *to, const struct bare_vm *from)
{
    memcpy(guest_pointer(&to->memory, 0, BARE_MEMORY), guest_pointer(&from->memory, 0, BARE_MEMORY),
           BARE_MEMORY);
}
