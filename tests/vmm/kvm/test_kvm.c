/* SPDX-License-Identifier: Apache-2.0 */
/* The VM-wide part of KVM: interrupt lines, notification descriptors, interrupt controllers, PIT
 * and clock over a save and a load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "bare_vm.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "vmm/kvm/kvm_state.h"
#include "vmm/kvm/vcpu_internal.h"

static void reopen(const struct state_writer *writer, struct state_reader *reader)
{
    struct error err = {0};
    assert_int_equal(state_reader_open(reader, writer->data, writer->length, &err), 0);
}

static void save(struct bare_vm *vm, struct state_writer *writer, struct state_reader *reader)
{
    struct error err = {0};
    state_writer_init(writer);
    if (kvm_save(&vm->kvm, writer, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(state_writer_finish(writer, &err), 0);
    reopen(writer, reader);
}

static void set_chips(struct bare_vm *vm)
{
    struct error err = {0};
    struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};
    assert_int_equal(kvm_call(vm->kvm.vm_fd, KVM_GET_IRQCHIP, &chip, "KVM_GET_IRQCHIP", &err), 0);
    chip.chip.ioapic.id = 3;
    chip.chip.ioapic.redirtbl[5].bits = 0x10000 | 0x31;
    chip.chip.ioapic.redirtbl[23].bits = 0x10000 | 0x44;
    assert_int_equal(kvm_call(vm->kvm.vm_fd, KVM_SET_IRQCHIP, &chip, "KVM_SET_IRQCHIP", &err), 0);
    memset(&chip, 0, sizeof(chip));
    chip.chip_id = KVM_IRQCHIP_PIC_SLAVE;
    assert_int_equal(kvm_call(vm->kvm.vm_fd, KVM_GET_IRQCHIP, &chip, "KVM_GET_IRQCHIP", &err), 0);
    chip.chip.pic.imr = 0xa5;
    chip.chip.pic.irq_base = 0x28;
    assert_int_equal(kvm_call(vm->kvm.vm_fd, KVM_SET_IRQCHIP, &chip, "KVM_SET_IRQCHIP", &err), 0);
    struct kvm_pit_state2 pit = {0};
    assert_int_equal(kvm_call(vm->kvm.vm_fd, KVM_GET_PIT2, &pit, "KVM_GET_PIT2", &err), 0);
    pit.channels[2].count = 0x4321;
    pit.channels[2].mode = 3;
    pit.channels[2].gate = 1;
    assert_int_equal(kvm_call(vm->kvm.vm_fd, KVM_SET_PIT2, &pit, "KVM_SET_PIT2", &err), 0);
}

static void get(const struct state_reader *reader, enum state_kind kind, uint32_t index, void *out,
                size_t length)
{
    struct error err = {0};
    if (state_get(reader, kind, index, 1, out, length, &err) < 0)
        fail_msg("%s", err.message);
}

/* The time of the last load is the host's and is set anew. */
static void forget_times(struct kvm_pit_state2 *pit)
{
    for (unsigned i = 0; i < 3; i++)
        pit->channels[i].count_load_time = 0;
}

static void compare(const struct state_reader *a, const struct state_reader *b)
{
    for (uint32_t i = 0; i < IRQCHIP_COUNT; i++) {
        struct kvm_irqchip chip_a, chip_b;
        get(a, STATE_IRQCHIP, i, &chip_a, sizeof(chip_a));
        get(b, STATE_IRQCHIP, i, &chip_b, sizeof(chip_b));
        assert_memory_equal(&chip_a, &chip_b, sizeof(chip_a));
    }
    struct kvm_pit_state2 pit_a, pit_b;
    get(a, STATE_PIT, 0, &pit_a, sizeof(pit_a));
    get(b, STATE_PIT, 0, &pit_b, sizeof(pit_b));
    forget_times(&pit_a);
    forget_times(&pit_b);
    assert_int_equal(pit_a.channels[2].count, 0x4321);
    assert_memory_equal(&pit_a, &pit_b, sizeof(pit_a));
}

static void test_every_field(void **context)
{
    (void)context;
    struct bare_vm a, b;
    struct state_writer first, second;
    struct state_reader before, after;
    struct error err = {0};
    bare_vm_create(&a, 1);
    set_chips(&a);
    save(&a, &first, &before);
    bare_vm_create(&b, 1);
    assert_int_equal(kvm_load(&b.kvm, &before, false, &err), 0);
    save(&b, &second, &after);
    compare(&before, &after);
    state_writer_free(&first);
    state_writer_free(&second);
    bare_vm_destroy(&a);
    bare_vm_destroy(&b);
}

#define SECOND_NS 1000000000ull

/* A clock section that says the guest had run an hour, and was saved `ago` ns before now. */
static void clock_file(struct state_writer *writer, struct state_reader *reader,
                       const struct state_reader *from, uint64_t ago)
{
    struct clock_state clock = {.kvmclock_ns = 3600 * SECOND_NS,
                                .realtime_ns = time_realtime_ns() - ago};
    struct error err = {0};
    state_writer_init(writer);
    for (uint32_t i = 0; i < IRQCHIP_COUNT; i++) {
        struct kvm_irqchip chip;
        get(from, STATE_IRQCHIP, i, &chip, sizeof(chip));
        state_put(writer, STATE_IRQCHIP, i, IRQCHIP_STATE_VERSION, &chip, sizeof(chip));
    }
    struct kvm_pit_state2 pit;
    get(from, STATE_PIT, 0, &pit, sizeof(pit));
    state_put(writer, STATE_PIT, 0, PIT_STATE_VERSION, &pit, sizeof(pit));
    state_put(writer, STATE_CLOCK, 0, CLOCK_STATE_VERSION, &clock, sizeof(clock));
    assert_int_equal(state_writer_finish(writer, &err), 0);
    reopen(writer, reader);
}

static uint64_t clock_after_load(const struct state_reader *from, uint64_t ago, bool realtime,
                                 bool kvm_can)
{
    struct bare_vm vm;
    struct state_writer writer;
    struct state_reader reader;
    struct error err = {0};
    struct kvm_clock_data data = {0};
    clock_file(&writer, &reader, from, ago);
    bare_vm_create(&vm, 1);
    vm.kvm.clock_realtime = vm.kvm.clock_realtime && kvm_can;
    assert_int_equal(kvm_load(&vm.kvm, &reader, realtime, &err), 0);
    assert_int_equal(kvm_call(vm.kvm.vm_fd, KVM_GET_CLOCK, &data, "KVM_GET_CLOCK", &err), 0);
    bare_vm_destroy(&vm);
    state_writer_free(&writer);
    return data.clock;
}

static void expect_between(uint64_t value, uint64_t low, uint64_t high)
{
    if (value < low || value >= high)
        fail_msg("%llu is not in [%llu, %llu)", (unsigned long long)value, (unsigned long long)low,
                 (unsigned long long)high);
}

/* The machine may be slow, but not so slow that loading takes an hour. */
static void test_clock(void **context)
{
    (void)context;
    struct bare_vm vm;
    struct state_writer writer;
    struct state_reader reader;
    const uint64_t hour = 3600 * SECOND_NS;
    bare_vm_create(&vm, 1);
    save(&vm, &writer, &reader);
    expect_between(clock_after_load(&reader, 10 * hour, false, true), hour, 2 * hour);
    expect_between(clock_after_load(&reader, 10 * hour, true, true), 11 * hour, 12 * hour);
    expect_between(clock_after_load(&reader, 10 * hour, true, false), 11 * hour, 12 * hour);
    /* Saved in the future: the host's clock was set back. The guest's does not follow. */
    expect_between(clock_after_load(&reader, (uint64_t)-10 * (int64_t)hour, true, true), hour,
                   2 * hour);
    expect_between(clock_after_load(&reader, (uint64_t)-10 * (int64_t)hour, true, false), hour,
                   2 * hour);
    state_writer_free(&writer);
    bare_vm_destroy(&vm);
}

/* A write to the descriptor reaches the interrupt controller's line: edge, seen in the IRR of a PIC
 * that nobody has initialised. */
static void test_irqfd(void **context)
{
    (void)context;
    struct bare_vm vm;
    struct error err = {0};
    bare_vm_create(&vm, 1);
    _cleanup_(close) int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_int_equal(kvm_irqfd(&vm.kvm, fd, 5, &err), 0);
    struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};
    assert_int_equal(kvm_call(vm.kvm.vm_fd, KVM_GET_IRQCHIP, &chip, "KVM_GET_IRQCHIP", &err), 0);
    chip.chip.ioapic.redirtbl[5].bits = 0x10000 | 0x8000 | 0x31; /* masked, level: IRR remembers */
    assert_int_equal(kvm_call(vm.kvm.vm_fd, KVM_SET_IRQCHIP, &chip, "KVM_SET_IRQCHIP", &err), 0);
    assert_int_equal(eventfd_write(fd, 1), 0);
    /* The kernel takes the event over: the descriptor reads as empty afterwards. */
    eventfd_t value = 0;
    for (unsigned i = 0; i < 10000 && eventfd_read(fd, &value) == 0; i++)
        time_sleep_ms(1);
    assert_true(eventfd_read(fd, &value) < 0);
    assert_true(kvm_irqfd(&vm.kvm, -1, 5, &err) < 0);
    assert_non_null(strstr(err.message, "line 5"));
    bare_vm_destroy(&vm);
}

/* The guest's writes arrive at the descriptor and not at the handler; other values do not match. */
static void test_ioeventfd(void **context)
{
    (void)context;
    struct bare_vm vm;
    struct error err = {0};
    bare_vm_create(&vm, 1);
    _cleanup_(close) int fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(kvm_ioeventfd(&vm.kvm, fd, BARE_MMIO, 7, &err), 0);
    assert_true(kvm_ioeventfd(&vm.kvm, fd, BARE_MMIO, 7, &err) < 0);
    bare_vm_load_program(&vm, BARE_MMIO_WRITE); /* writes 1, 2, 3, ... */
    bare_vm_run(&vm);
    eventfd_t value = 0;
    assert_int_equal(eventfd_read(fd, &value), 0);
    assert_true(value == 1);
    bare_vm_wait_counter(&vm, 0, 9);
    assert_int_equal(vcpus_pause(vm.vcpus, &err), 0);
    uint64_t written = bare_vm_counter(&vm, 0);
    assert_true(vm.accesses + 1 == written || vm.accesses == written);
    bare_vm_destroy(&vm);
}

static void test_create_names_overlap(void **context)
{
    (void)context;
    struct guest_memory memory;
    struct kvm kvm;
    struct error err = {0};
    assert_int_equal(guest_memory_create(&memory, BARE_MEMORY, &err), 0);
    memory.region_count = 2;
    memory.regions[1] = memory.regions[0]; /* the same guest addresses twice */
    assert_true(kvm_create(&kvm, &memory, &err) < 0);
    assert_non_null(strstr(err.message, "KVM_SET_USER_MEMORY_REGION"));
    assert_int_equal(kvm.fd, -1);
    kvm_destroy(&kvm); /* harmless */
    memory.region_count = 1;
    guest_memory_release(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_irqfd),
        cmocka_unit_test(test_ioeventfd),
        cmocka_unit_test(test_create_names_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
