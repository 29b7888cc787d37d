/* SPDX-License-Identifier: Apache-2.0 */
/* What a vCPU is, saved, loaded into a new VM and saved again: every field must come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include "bare_vm.h"
#include "base/cleanup.h"
#include "vmm/kvm/msr.h"
#include "vmm/kvm/vcpu_internal.h"
#include "vmm/kvm/vcpu_state.h"

/* A state file in memory, and a reader on it. */
struct saved {
    struct state_writer writer;
    struct state_reader reader;
};

static void save(struct bare_vm *vm, struct saved *saved)
{
    struct error err = {0};
    state_writer_init(&saved->writer);
    if (vcpus_save(vm->vcpus, &saved->writer, &err) < 0 ||
        kvm_save(&vm->kvm, &saved->writer, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(state_writer_finish(&saved->writer, &err), 0);
    assert_int_equal(
        state_reader_open(&saved->reader, saved->writer.data, saved->writer.length, &err), 0);
}

static void load(struct bare_vm *vm, const struct saved *saved)
{
    struct error err = {0};
    if (vcpus_load(vm->vcpus, &saved->reader, &err) < 0 ||
        kvm_load(&vm->kvm, &saved->reader, false, &err) < 0)
        fail_msg("%s", err.message);
}

static void image_of(const struct saved *saved, unsigned vcpu, struct vcpu_image *image)
{
    struct error err = {0};
    if (vcpu_image_read(image, &saved->reader, vcpu, &err) < 0)
        fail_msg("%s", err.message);
}

static uint64_t *msr_of(const struct vcpu_image *image, uint32_t index)
{
    for (size_t i = 0; i < image->msr_count; i++) {
        if (image->msrs[i].index == index)
            return (uint64_t *)&image->msrs[i].data;
    }
    return NULL;
}

/* Registers with values of their own: 0x11.. for the first, and so on, different per vCPU. */
static void set_registers(struct bare_vm *vm, unsigned vcpu)
{
    struct error err = {0};
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    assert_int_equal(vcpu_get_registers(vm->vcpus, vcpu, &regs, &sregs, &err), 0);
    uint64_t *general = (uint64_t *)&regs;
    for (unsigned i = 0; i < 16; i++)
        general[i] = 0x1111111111111111ull * (i + 1) + vcpu;
    regs.rip = BARE_CODE + vcpu;
    regs.rflags = 0x2 | 0x40 | 0x400; /* ZF, DF */
    sregs.cr2 = 0xabcdef00 + vcpu;
    sregs.fs.base = 0x123456000 + vcpu;
    sregs.gs.base = 0x223456000 + vcpu;
    sregs.ldt.base = 0x5000;
    assert_int_equal(vcpu_set_registers(vm->vcpus, vcpu, &regs, &sregs, &err), 0);
}

/* FXSAVE layout, then the header that says which parts are in use (x87 and SSE). */
static void set_fpu(struct bare_vm *vm, unsigned vcpu)
{
    struct error err = {0};
    _cleanup_(free) uint8_t *area = calloc(1, (size_t)vm->kvm.xsave_size);
    const uint16_t control = 0x27f;
    const uint32_t mxcsr = 0x1fa0;
    const uint64_t in_use = 3;
    assert_non_null(area);
    memcpy(area, &control, sizeof(control));
    memcpy(area + 24, &mxcsr, sizeof(mxcsr));
    for (size_t i = 0; i < 16; i++)
        memset(area + 160 + 16 * i, (int)(0x30 + i + vcpu), 16);
    memcpy(area + 512, &in_use, sizeof(in_use));
    assert_int_equal(kvm_call(vm->vcpus->vcpu[vcpu].fd, KVM_SET_XSAVE, area, "KVM_SET_XSAVE", &err),
                     0);
}

static void set_msrs(struct bare_vm *vm, unsigned vcpu)
{
    const struct kvm_msr_entry entries[] = {
        {.index = 0xc0000081, .data = 0x23001000000000 + vcpu},      /* STAR */
        {.index = 0xc0000082, .data = 0xffffffff81000000ull},        /* LSTAR */
        {.index = 0xc0000084, .data = 0x47700},                      /* SYSCALL_MASK */
        {.index = 0xc0000102, .data = 0xffff888000000000ull + vcpu}, /* KERNEL_GS_BASE */
        {.index = 0x174, .data = 0x10},                              /* SYSENTER_CS */
        {.index = 0x175, .data = 0x8000 + vcpu},
        {.index = 0x277, .data = 0x0007010600070106ull}, /* PAT */
        {.index = 0x2ff, .data = 0xc06},                 /* MTRR default type */
    };
    struct error err = {0};
    if (msrs_set(vm->vcpus->vcpu[vcpu].fd, entries, ARRAY_SIZE(entries), &err) < 0)
        fail_msg("%s", err.message);
}

static void set_rest(struct bare_vm *vm, unsigned vcpu)
{
    int fd = vm->vcpus->vcpu[vcpu].fd;
    struct error err = {0};
    struct kvm_debugregs debugregs = {
        .db = {0x1000, 0x2000, 0x3000, 0x4000 + vcpu}, .dr6 = 0xffff0ff0, .dr7 = 0x400};
    assert_int_equal(kvm_call(fd, KVM_SET_DEBUGREGS, &debugregs, "KVM_SET_DEBUGREGS", &err), 0);
    struct kvm_lapic_state lapic = {0};
    assert_int_equal(kvm_call(fd, KVM_GET_LAPIC, &lapic, "KVM_GET_LAPIC", &err), 0);
    uint32_t spurious = 0x1ff, priority = 0x30;
    memcpy(lapic.regs + 0xf0, &spurious, sizeof(spurious));
    memcpy(lapic.regs + 0x80, &priority, sizeof(priority));
    lapic.regs[0x200 + 0x10 * 2] = 0x04; /* IRR: vector 66 waits */
    assert_int_equal(kvm_call(fd, KVM_SET_LAPIC, &lapic, "KVM_SET_LAPIC", &err), 0);
    struct kvm_vcpu_events events = {0};
    assert_int_equal(kvm_call(fd, KVM_GET_VCPU_EVENTS, &events, "KVM_GET_VCPU_EVENTS", &err), 0);
    events.nmi.pending = 1;
    events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
    assert_int_equal(kvm_call(fd, KVM_SET_VCPU_EVENTS, &events, "KVM_SET_VCPU_EVENTS", &err), 0);
    struct kvm_mp_state mp = {.mp_state = vcpu == 1 ? KVM_MP_STATE_HALTED : KVM_MP_STATE_RUNNABLE};
    assert_int_equal(kvm_call(fd, KVM_SET_MP_STATE, &mp, "KVM_SET_MP_STATE", &err), 0);
}

static void make_interesting(struct bare_vm *vm)
{
    for (unsigned i = 0; i < vcpus_count(vm->vcpus); i++) {
        set_registers(vm, i);
        set_fpu(vm, i);
        set_msrs(vm, i);
        set_rest(vm, i);
    }
}

#define HV_TIME_REFERENCE 0x40000020u

/* Time goes on between two saves; everything else must be as it was. */
static bool msr_moves(uint32_t index)
{
    return index == MSR_IA32_TSC || index == HV_TIME_REFERENCE;
}

static void compare_msrs(const struct vcpu_image *a, const struct vcpu_image *b)
{
    assert_int_equal(a->msr_count, b->msr_count);
    for (size_t i = 0; i < a->msr_count; i++) {
        assert_int_equal(a->msrs[i].index, b->msrs[i].index);
        if (!msr_moves(a->msrs[i].index) && a->msrs[i].data != b->msrs[i].data)
            fail_msg("MSR 0x%x: 0x%llx became 0x%llx", a->msrs[i].index, a->msrs[i].data,
                     b->msrs[i].data);
    }
    const uint64_t *tsc_a = msr_of(a, MSR_IA32_TSC), *tsc_b = msr_of(b, MSR_IA32_TSC);
    assert_non_null(tsc_a);
    assert_non_null(tsc_b);
    assert_true(*tsc_b >= *tsc_a); /* never back */
}

static void compare_fixed(const struct vcpu_state *a, const struct vcpu_state *b)
{
    assert_memory_equal(&a->regs, &b->regs, sizeof(a->regs));
    assert_memory_equal(&a->sregs, &b->sregs, sizeof(a->sregs));
    assert_memory_equal(&a->events, &b->events, sizeof(a->events));
    assert_memory_equal(&a->debugregs, &b->debugregs, sizeof(a->debugregs));
    assert_int_equal(a->mp_state, b->mp_state);
    assert_int_equal(a->tsc_khz, b->tsc_khz);
    assert_int_equal(a->has_tsc_offset, b->has_tsc_offset);
    assert_int_equal(b->reserved, 0);
}

static void compare_images(const struct vcpu_image *a, const struct vcpu_image *b)
{
    compare_fixed(&a->fixed, &b->fixed);
    compare_msrs(a, b);
    assert_memory_equal(&a->lapic, &b->lapic, sizeof(a->lapic));
    assert_memory_equal(&a->xcrs, &b->xcrs, sizeof(a->xcrs));
    assert_int_equal(a->xsave_size, b->xsave_size);
    assert_memory_equal(a->xsave, b->xsave, a->xsave_size);
    assert_int_equal(a->cpuid_count, b->cpuid_count);
    assert_memory_equal(a->cpuid, b->cpuid, a->cpuid_count * sizeof(a->cpuid[0]));
}

/* The values that were set are really in the saved image, so that the comparison above compares
 * something. */
static void expect_interesting(const struct vcpu_image *image, unsigned vcpu)
{
    assert_true(image->fixed.regs.rbx == 0x2222222222222222ull + vcpu);
    assert_true(image->fixed.regs.r15 == 0x1111111111111110ull + vcpu);
    assert_true(image->fixed.regs.rflags == 0x442);
    assert_true(image->fixed.sregs.cr2 == 0xabcdef00ull + vcpu);
    assert_true(image->fixed.sregs.gs.base == 0x223456000ull + vcpu);
    assert_true(image->fixed.debugregs.db[3] == 0x4000 + vcpu);
    assert_int_equal(image->fixed.events.nmi.pending, 1);
    assert_int_equal(image->fixed.mp_state,
                     vcpu == 1 ? KVM_MP_STATE_HALTED : KVM_MP_STATE_RUNNABLE);
    assert_true(*msr_of(image, 0xc0000102) == 0xffff888000000000ull + vcpu);
    assert_true(*msr_of(image, 0x277) == 0x0007010600070106ull);
    assert_true(*msr_of(image, 0x2ff) == 0xc06);
    assert_int_equal(image->xsave[160 + 16 * 3], 0x33 + vcpu); /* XMM3 in the FXSAVE layout */
    assert_int_equal(image->xsave[0], 0x7f);                   /* FCW */
    assert_int_equal(image->lapic.regs[0x200 + 0x10 * 2] & 0x04, 0x04);
    assert_int_equal(image->lapic.regs[0x80], 0x30);
}

static void test_every_field(void **context)
{
    (void)context;
    enum { VCPUS = 2 };
    struct bare_vm a, b;
    struct saved first, second;
    bare_vm_create(&a, VCPUS);
    bare_vm_load_program(&a, BARE_COUNT);
    make_interesting(&a);
    save(&a, &first);
    bare_vm_create(&b, VCPUS);
    bare_vm_copy_memory(&b, &a);
    load(&b, &first);
    save(&b, &second);
    for (unsigned i = 0; i < VCPUS; i++) {
        struct vcpu_image before, after;
        image_of(&first, i, &before);
        image_of(&second, i, &after);
        expect_interesting(&before, i);
        compare_images(&before, &after);
    }
    state_writer_free(&first.writer);
    state_writer_free(&second.writer);
    bare_vm_destroy(&a);
    bare_vm_destroy(&b);
}

#define TSC_VCPUS 4

/* On a host whose own counter KVM trusts, all vCPUs of a VM have one and the same offset. Otherwise
 * KVM moves the offsets at each call. */
static bool offsets_equal(const struct saved *saved)
{
    struct vcpu_image leader, image;
    image_of(saved, 0, &leader);
    for (unsigned i = 0; i < TSC_VCPUS; i++) {
        image_of(saved, i, &image);
        if (!image.fixed.has_tsc_offset || image.fixed.tsc_offset != leader.fixed.tsc_offset)
            return false;
    }
    return true;
}

/* However slow the machine: the counters must not be a minute apart. */
static void expect_near(const struct saved *saved)
{
    struct vcpu_image leader, image;
    image_of(saved, 0, &leader);
    for (unsigned i = 1; i < TSC_VCPUS; i++) {
        image_of(saved, i, &image);
        int64_t distance =
            (int64_t)(*msr_of(&image, MSR_IA32_TSC) - *msr_of(&leader, MSR_IA32_TSC));
        assert_true(llabs(distance) < 60 * 1000ll * image.fixed.tsc_khz);
    }
}

static void test_tsc_in_step(void **context)
{
    (void)context;
    struct bare_vm a, b;
    struct saved first, second;
    bare_vm_create(&a, TSC_VCPUS);
    bare_vm_load_program(&a, BARE_COUNT);
    bare_vm_run(&a);
    for (unsigned i = 0; i < TSC_VCPUS; i++)
        bare_vm_wait_counter(&a, i, 100);
    struct error err = {0};
    assert_int_equal(vcpus_pause(a.vcpus, &err), 0);
    save(&a, &first);
    bare_vm_create(&b, TSC_VCPUS);
    bare_vm_copy_memory(&b, &a);
    load(&b, &first);
    save(&b, &second);
    struct vcpu_image before, after;
    image_of(&first, 0, &before);
    image_of(&second, 0, &after);
    assert_true(*msr_of(&after, MSR_IA32_TSC) >= *msr_of(&before, MSR_IA32_TSC));
    if (offsets_equal(&first))
        assert_true(offsets_equal(&second));
    expect_near(&second);
    state_writer_free(&first.writer);
    state_writer_free(&second.writer);
    bare_vm_destroy(&a);
    bare_vm_destroy(&b);
}

/* A guest that counts goes on from where it was, in a new VM, on every vCPU; the old one too. */
static void test_goes_on(void **context)
{
    (void)context;
    enum { VCPUS = 3 };
    struct bare_vm a, b;
    struct saved saved;
    struct error err = {0};
    bare_vm_create(&a, VCPUS);
    bare_vm_load_program(&a, BARE_COUNT);
    bare_vm_run(&a);
    for (unsigned round = 0; round < 5; round++) {
        uint64_t reached[VCPUS];
        for (unsigned i = 0; i < VCPUS; i++)
            bare_vm_wait_counter(&a, i, bare_vm_counter(&a, i) + 100);
        assert_int_equal(vcpus_pause(a.vcpus, &err), 0);
        save(&a, &saved);
        bare_vm_create(&b, VCPUS);
        bare_vm_copy_memory(&b, &a);
        for (unsigned i = 0; i < VCPUS; i++)
            reached[i] = bare_vm_counter(&b, i);
        vcpus_resume(a.vcpus);
        load(&b, &saved);
        bare_vm_run(&b);
        for (unsigned i = 0; i < VCPUS; i++) {
            bare_vm_wait_counter(&b, i, reached[i] + 100);
            bare_vm_wait_counter(&a, i, reached[i] + 100);
        }
        assert_int_equal(vcpus_pause(b.vcpus, &err), 0);
        for (unsigned i = 0; i < VCPUS; i++) {
            struct kvm_regs regs;
            struct kvm_sregs sregs;
            assert_int_equal(vcpu_get_registers(b.vcpus, i, &regs, &sregs, &err), 0);
            uint64_t counter = bare_vm_counter(&b, i);
            assert_true(regs.rax == counter || regs.rax + 1 == counter);
        }
        state_writer_free(&saved.writer);
        bare_vm_destroy(&b);
    }
    bare_vm_destroy(&a);
}

/* ---- what a loader must refuse ---- */

/* Copies all sections of `from` but (kind, index), and puts in `length` bytes of it instead; a
 * negative length leaves it out. */
static void rewrite(const struct saved *from, enum state_kind kind, uint32_t index, long length,
                    struct saved *to)
{
    static const enum state_kind kinds[] = {STATE_VCPU,       STATE_VCPU_MSRS,  STATE_VCPU_XSAVE,
                                            STATE_VCPU_CPUID, STATE_VCPU_LAPIC, STATE_VCPU_XCRS,
                                            STATE_IRQCHIP,    STATE_PIT,        STATE_CLOCK};
    struct error err = {0};
    _cleanup_(free) uint8_t *filler = calloc(1, 1 << 20);
    assert_non_null(filler);
    state_writer_init(&to->writer);
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        for (uint32_t i = 0; i < 3; i++) {
            struct state_section section;
            if (!state_find(&from->reader, kinds[k], i, &section))
                continue;
            bool chosen = kinds[k] == kind && i == index;
            if (chosen && length < 0)
                continue;
            if (chosen)
                memcpy(filler, section.payload,
                       (size_t)length < section.length ? (size_t)length : section.length);
            state_put(&to->writer, kinds[k], i, section.version, chosen ? filler : section.payload,
                      chosen ? (size_t)length : section.length);
        }
    }
    assert_int_equal(state_writer_finish(&to->writer, &err), 0);
    assert_int_equal(state_reader_open(&to->reader, to->writer.data, to->writer.length, &err), 0);
}

static void expect_refused(const struct saved *good, enum state_kind kind, uint32_t index,
                           long length)
{
    struct bare_vm vm;
    struct saved bad;
    struct error err = {0};
    rewrite(good, kind, index, length, &bad);
    bare_vm_create(&vm, 1);
    int r = vcpus_load(vm.vcpus, &bad.reader, &err);
    if (r == 0)
        r = kvm_load(&vm.kvm, &bad.reader, false, &err);
    if (r == 0)
        fail_msg("section %d/%u of %ld bytes was taken", (int)kind, index, length);
    assert_true(err.message[0] != '\0');
    bare_vm_destroy(&vm);
    state_writer_free(&bad.writer);
}

static void test_loader_refuses(void **context)
{
    (void)context;
    struct bare_vm vm;
    struct saved good;
    bare_vm_create(&vm, 1);
    bare_vm_load_program(&vm, BARE_COUNT);
    save(&vm, &good);
    static const struct {
        enum state_kind kind;
        uint32_t index;
        long lengths[6]; /* refused; 0 ends the list but is always tried itself */
    } cases[] = {
        {STATE_VCPU, 0, {-1, 1, 671, 673}},
        {STATE_VCPU_MSRS, 0, {-1, 8, 17, 16L * (MSR_MAX_COUNT + 1)}},
        {STATE_VCPU_XSAVE, 0, {-1, 1, 4095, VCPU_XSAVE_LIMIT, VCPU_XSAVE_LIMIT + 1}},
        {STATE_VCPU_CPUID, 0, {-1, 39, 41, 40L * 257}},
        {STATE_VCPU_LAPIC, 0, {-1, 1023, 1025}},
        {STATE_VCPU_XCRS, 0, {-1, 391, 393}},
        {STATE_IRQCHIP, 0, {-1, 519, 521}},
        {STATE_IRQCHIP, 2, {-1, 519, 521}},
        {STATE_PIT, 0, {-1, 111, 113}},
        {STATE_CLOCK, 0, {-1, 23, 25}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        expect_refused(&good, cases[i].kind, cases[i].index, 0);
        for (size_t j = 0; cases[i].lengths[j] != 0; j++)
            expect_refused(&good, cases[i].kind, cases[i].index, cases[i].lengths[j]);
    }
    state_writer_free(&good.writer);
    bare_vm_destroy(&vm);
}

/* An MSR that KVM does not know is refused by name, not skipped. */
static void test_unknown_msr(void **context)
{
    (void)context;
    struct bare_vm vm;
    struct error err = {0};
    bare_vm_create(&vm, 1);
    bare_vm_load_program(&vm, BARE_COUNT);
    const struct kvm_msr_entry entries[] = {{.index = 0x174, .data = 8},
                                            {.index = 0x4b4d5699, .data = 0x55}};
    assert_true(msrs_set(vm.vcpus->vcpu[0].fd, entries, 2, &err) < 0);
    assert_non_null(strstr(err.message, "0x4b4d5699"));
    assert_non_null(strstr(err.message, "0x55"));
    bare_vm_destroy(&vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field), cmocka_unit_test(test_tsc_in_step),
        cmocka_unit_test(test_goes_on),     cmocka_unit_test(test_loader_refuses),
        cmocka_unit_test(test_unknown_msr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
