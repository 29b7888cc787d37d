/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define TSS_ADDRESS         0xfffbd000u /* three pages that no device and no memory uses */
#define CREATE_VM_ATTEMPTS  5
#define LEGACY_XSAVE_SIZE   4096
#define XSTATE_TILE_DATA    18     /* the AMX tile registers, Intel SDM volume 1, 13.1 */
#define XCOMP_GUEST_REQUEST 0x1025 /* ARCH_REQ_XCOMP_GUEST_PERM, asm/prctl.h */

int kvm_call(int fd, unsigned long request, const void *argument, const char *what,
             struct error *err)
{
    int r = ioctl(fd, request, argument);
    return r < 0 ? error_errno(err, errno, NULL, "%s", what) : r;
}

static int kvm_capability(const struct kvm *kvm, long capability)
{
    int r = ioctl(kvm->vm_fd >= 0 ? kvm->vm_fd : kvm->fd, KVM_CHECK_EXTENSION, capability);
    return r < 0 ? 0 : r; /* an unknown capability is one that is not there */
}

static int kvm_open(struct kvm *kvm, struct error *err)
{
    kvm->fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm->fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_UNSUPPORTED, ENOENT,
                         "/dev/kvm is not there: this machine has no KVM, or its kernel module is "
                         "not loaded (ENOENT)");
    if (kvm->fd < 0)
        return error_errno(err, errno, "/dev/kvm", "open /dev/kvm");
    int version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP, "/dev/kvm speaks API version %d, not %d",
                         version, KVM_API_VERSION);
    return 0;
}

/* The tile registers' permission is per process and must come before the first vCPU; without AMX
 * the request fails, and there is nothing to allow. */
static void request_dynamic_xstate(void)
{
    (void)syscall(SYS_arch_prctl, XCOMP_GUEST_REQUEST, XSTATE_TILE_DATA);
}

static int kvm_create_vm(struct kvm *kvm, struct error *err)
{
    /* A signal, or a page fault on the way, can make this one call give up with EINTR. */
    for (unsigned attempt = 1;; attempt++) {
        kvm->vm_fd = ioctl(kvm->fd, KVM_CREATE_VM, 0);
        if (kvm->vm_fd >= 0)
            return 0;
        if (errno != EINTR || attempt == CREATE_VM_ATTEMPTS)
            return error_errno(err, errno, NULL, "KVM_CREATE_VM");
        time_sleep_ms(1u << attempt);
    }
}

/* What this VMM can't do without. */
static int kvm_check_capabilities(struct kvm *kvm, struct error *err)
{
    static const struct {
        long number;
        const char *name;
    } needed[] = {
        {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
        {KVM_CAP_PIT2, "KVM_CAP_PIT2"},
        {KVM_CAP_PIT_STATE2, "KVM_CAP_PIT_STATE2"},
        {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
        {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
        {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
        {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
        {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
        {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
        {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
        {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
        {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
        {KVM_CAP_XCRS, "KVM_CAP_XCRS"},
        {KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK"},
        {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
        if (kvm_capability(kvm, needed[i].number) == 0)
            return error_set(err, ERROR_UNSUPPORTED, ENOTSUP, "this host's KVM lacks %s",
                             needed[i].name);
    }
    int xsave = kvm_capability(kvm, KVM_CAP_XSAVE2);
    kvm->xsave2 = xsave >= LEGACY_XSAVE_SIZE;
    kvm->xsave_size = kvm->xsave2 ? xsave : LEGACY_XSAVE_SIZE;
    kvm->tsc_deadline = kvm_capability(kvm, KVM_CAP_TSC_DEADLINE_TIMER) != 0;
    kvm->tsc_scaling = kvm_capability(kvm, KVM_CAP_TSC_CONTROL) != 0;
    kvm->clock_realtime = (kvm_capability(kvm, KVM_CAP_ADJUST_CLOCK) & KVM_CLOCK_REALTIME) != 0;
    kvm->run_size = kvm_call(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE", err);
    return kvm->run_size < 0 ? kvm->run_size : 0;
}

static int kvm_add_memory(const struct kvm *kvm, const struct guest_memory *memory,
                          struct error *err)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        const struct guest_region *region = &memory->regions[i];
        struct kvm_userspace_memory_region slot = {
            .slot = i,
            .flags = guest_memory_tracks(memory) ? KVM_MEM_LOG_DIRTY_PAGES : 0,
            .guest_phys_addr = region->gpa,
            .memory_size = region->size,
            .userspace_addr = (uint64_t)(uintptr_t)region->host,
        };
        int r = kvm_call(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot,
                         "KVM_SET_USER_MEMORY_REGION", err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* KVM writes a bit per page and forgets what it had. */
static int slot_collect(const struct kvm *kvm, unsigned slot, const struct guest_region *region,
                        const struct page_set *dirty, struct error *err)
{
    const uint64_t pages = region->size / GUEST_PAGE_SIZE;
    _cleanup_(free) uint64_t *bitmap = calloc((pages + 63) / 64, sizeof(*bitmap));
    if (!bitmap)
        return error_errno(err, ENOMEM, NULL, "KVM_GET_DIRTY_LOG");
    struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = bitmap};
    int r = kvm_call(kvm->vm_fd, KVM_GET_DIRTY_LOG, &log, "KVM_GET_DIRTY_LOG", err);
    if (r == 0)
        page_set_merge(dirty, region->file_offset / GUEST_PAGE_SIZE, bitmap, pages);
    return r;
}

int kvm_collect_dirty(const struct kvm *kvm, const struct guest_memory *memory, struct error *err)
{
    int r = 0;
    if (!guest_memory_tracks(memory))
        return 0;
    for (unsigned i = 0; i < memory->region_count && r == 0; i++)
        r = slot_collect(kvm, i, &memory->regions[i], &memory->dirty, err);
    return r;
}

static int kvm_add_irqchip(const struct kvm *kvm, struct error *err)
{
    int r = ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, (unsigned long)TSS_ADDRESS);
    if (r < 0)
        return error_errno(err, errno, NULL, "KVM_SET_TSS_ADDR");
    r = kvm_call(kvm->vm_fd, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP", err);
    if (r < 0)
        return r;
    /* Port 0x61 as well, or the guest's speaker probe leaves the guest. */
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    return kvm_call(kvm->vm_fd, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2", err);
}

static int kvm_build(struct kvm *kvm, const struct guest_memory *memory, struct error *err)
{
    int r = kvm_open(kvm, err);
    if (r < 0)
        return r;
    request_dynamic_xstate();
    r = kvm_create_vm(kvm, err);
    if (r == 0)
        r = kvm_check_capabilities(kvm, err);
    if (r == 0)
        r = kvm_add_memory(kvm, memory, err);
    if (r == 0)
        r = kvm_add_irqchip(kvm, err);
    return r;
}

int kvm_create(struct kvm *kvm, const struct guest_memory *memory, struct error *err)
{
    memset(kvm, 0, sizeof(*kvm));
    kvm->fd = kvm->vm_fd = -1;
    int r = kvm_build(kvm, memory, err);
    if (r < 0)
        kvm_destroy(kvm);
    return r;
}

void kvm_destroy(struct kvm *kvm)
{
    if (kvm->fd < 0)
        return;
    if (kvm->vm_fd >= 0)
        close(kvm->vm_fd);
    close(kvm->fd);
    free(kvm->cpuid);
    free(kvm->msr_list);
    memset(kvm, 0, sizeof(*kvm));
    kvm->fd = kvm->vm_fd = -1;
}

int kvm_irqfd(const struct kvm *kvm, int eventfd, uint32_t gsi, struct error *err)
{
    struct kvm_irqfd irqfd = {.fd = (uint32_t)eventfd, .gsi = gsi};
    int r = ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd);
    return r < 0 ? error_errno(err, errno, NULL, "KVM_IRQFD for interrupt line %u", gsi) : 0;
}

int kvm_ioeventfd(const struct kvm *kvm, int eventfd, uint64_t gpa, uint32_t datamatch,
                  struct error *err)
{
    struct kvm_ioeventfd ioeventfd = {
        .datamatch = datamatch,
        .addr = gpa,
        .len = sizeof(datamatch),
        .fd = eventfd,
        .flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
    };
    int r = ioctl(kvm->vm_fd, KVM_IOEVENTFD, &ioeventfd);
    return r < 0 ? error_errno(err, errno, NULL, "KVM_IOEVENTFD at 0x%llx", (unsigned long long)gpa)
                 : 0;
}
