/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/msr.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"

#define BATCH_SIZE  128u /* KVM takes fewer than 256 at once */
#define EXTRA_LIMIT 256u

/* Hyper-V's synthetic registers (TLFS, appendix F). The guest's CPUID never offers Hyper-V, so they
 * hold nothing of the guest's, and one of them, VP_RUNTIME, counts on by itself. */
#define HYPERV_FIRST 0x40000000u
#define HYPERV_LAST  0x400001ffu

/* Registers that KVM_GET_MSR_INDEX_LIST does not name on every kernel, as ranges. */
static const struct {
    uint32_t first, last;
} extra_msrs[] = {
    {0x200, 0x20f},                                 /* MTRR variable ranges 0 to 7 */
    {0x250, 0x250},                                 /* MTRR fixed ranges */
    {0x258, 0x259}, {0x268, 0x26f}, {0x277, 0x277}, /* PAT */
    {0x2ff, 0x2ff},                                 /* MTRR default type */
    {0x17a, 0x17b},                                 /* machine check: global status, control */
    {0x400, 0x47f},                                 /* machine check banks 0 to 31 */
    {0x1a0, 0x1a0},                                 /* MISC_ENABLE */
    {0xda0, 0xda0},                                 /* XSS */
};

/* struct kvm_msrs with room behind it. */
struct msr_batch {
    uint32_t nmsrs;
    uint32_t pad;
    struct kvm_msr_entry entries[BATCH_SIZE];
};

_Static_assert(offsetof(struct msr_batch, entries) == offsetof(struct kvm_msrs, entries),
               "the kernel's ABI");

static bool list_has(const struct kvm_msr_list *list, uint32_t index)
{
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        if (list->indices[i] == index)
            return true;
    }
    return false;
}

static void list_add_extra(struct kvm_msr_list *list)
{
    for (size_t i = 0; i < ARRAY_SIZE(extra_msrs); i++) {
        for (uint32_t index = extra_msrs[i].first; index <= extra_msrs[i].last; index++) {
            if (!list_has(list, index))
                list->indices[list->nmsrs++] = index;
        }
    }
}

static void list_drop_hyperv(struct kvm_msr_list *list)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        if (list->indices[i] < HYPERV_FIRST || list->indices[i] > HYPERV_LAST)
            list->indices[kept++] = list->indices[i];
    }
    list->nmsrs = kept;
}

/* KVM's list, without Hyper-V's, with room for the extra ones behind it. */
static struct kvm_msr_list *list_fetch(int kvm_fd, struct error *err)
{
    struct kvm_msr_list probe = {.nmsrs = 0};
    /* With no room the call fails with E2BIG and says how many there are. */
    if (ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, &probe) < 0 && errno != E2BIG) {
        error_errno(err, errno, NULL, "KVM_GET_MSR_INDEX_LIST");
        return NULL;
    }
    if (probe.nmsrs > MSR_MAX_COUNT - EXTRA_LIMIT) {
        error_set(err, ERROR_UNSUPPORTED, E2BIG, "KVM lists %u MSRs, more than this VMM can save",
                  probe.nmsrs);
        return NULL;
    }
    _cleanup_(free) struct kvm_msr_list *list =
        calloc(1, sizeof(*list) + (probe.nmsrs + EXTRA_LIMIT) * sizeof(list->indices[0]));
    if (!list) {
        error_errno(err, ENOMEM, NULL, "read the list of MSRs");
        return NULL;
    }
    list->nmsrs = probe.nmsrs;
    if (kvm_call(kvm_fd, KVM_GET_MSR_INDEX_LIST, list, "KVM_GET_MSR_INDEX_LIST", err) < 0)
        return NULL;
    list_drop_hyperv(list);
    return TAKE_PTR(list);
}

/* How many of the batch KVM moved: it stops at the first one it refuses. */
static int batch_call(int vcpu_fd, unsigned long request, struct msr_batch *batch, size_t count,
                      struct error *err)
{
    batch->nmsrs = (uint32_t)count;
    const char *what = request == KVM_GET_MSRS ? "KVM_GET_MSRS" : "KVM_SET_MSRS";
    return kvm_call(vcpu_fd, request, batch, what, err);
}

static size_t batch_limit(size_t left)
{
    return left < BATCH_SIZE ? left : BATCH_SIZE;
}

/* Reads a batch and, on request, writes it back as it was; returns how many of its registers, from
 * the first on, allow that. */
static int batch_try(int vcpu_fd, struct msr_batch *batch, size_t count, bool write_back,
                     struct error *err)
{
    int good = batch_call(vcpu_fd, KVM_GET_MSRS, batch, count, err);
    if (good > 0 && write_back)
        good = batch_call(vcpu_fd, KVM_SET_MSRS, batch, (size_t)good, err);
    return good;
}

/* Drops what can't be moved, from list entry `first` on: after a partial answer the register behind
 * the last good one is the culprit, and trying goes on behind it. */
static int list_filter(int vcpu_fd, struct kvm_msr_list *list, uint32_t first, bool write_back,
                       struct error *err)
{
    struct msr_batch batch;
    uint32_t kept = first, next = first;
    while (next < list->nmsrs) {
        size_t count = batch_limit(list->nmsrs - next);
        memset(&batch, 0, sizeof(batch));
        for (size_t i = 0; i < count; i++)
            batch.entries[i].index = list->indices[next + i];
        int good = batch_try(vcpu_fd, &batch, count, write_back, err);
        if (good < 0)
            return good;
        for (int i = 0; i < good; i++)
            list->indices[kept++] = batch.entries[i].index;
        next += (uint32_t)good + ((size_t)good < count);
    }
    list->nmsrs = kept;
    return 0;
}

int kvm_saved_msrs(struct kvm *kvm, int vcpu_fd, struct error *err)
{
    if (kvm->msr_list)
        return 0;
    _cleanup_(free) struct kvm_msr_list *list = list_fetch(kvm->fd, err);
    if (!list)
        return err && err->errnum ? -err->errnum : -EIO;
    int r = list_filter(vcpu_fd, list, 0, false, err);
    uint32_t listed = list->nmsrs;
    list_add_extra(list);
    /* Some of these can be read where they can't be written (XSS without XSAVES): they hold nothing
     * then, and a load would fail on them. */
    if (r == 0)
        r = list_filter(vcpu_fd, list, listed, true, err);
    if (r < 0)
        return r;
    kvm->msr_list = TAKE_PTR(list);
    return 0;
}

int msrs_get(int vcpu_fd, const struct kvm_msr_list *list, struct kvm_msr_entry *entries,
             struct error *err)
{
    struct msr_batch batch;
    for (uint32_t next = 0; next < list->nmsrs;) {
        size_t count = batch_limit(list->nmsrs - next);
        memset(&batch, 0, sizeof(batch));
        for (size_t i = 0; i < count; i++)
            batch.entries[i].index = list->indices[next + i];
        int good = batch_call(vcpu_fd, KVM_GET_MSRS, &batch, count, err);
        if (good < 0)
            return good;
        if ((size_t)good < count)
            return error_set(err, ERROR_SYSTEM, EIO, "KVM_GET_MSRS: MSR 0x%x can't be read",
                             batch.entries[good].index);
        memcpy(entries + next, batch.entries, count * sizeof(entries[0]));
        next += (uint32_t)count;
    }
    return 0;
}

int msrs_set(int vcpu_fd, const struct kvm_msr_entry *entries, size_t count, struct error *err)
{
    struct msr_batch batch;
    for (size_t next = 0; next < count;) {
        size_t some = batch_limit(count - next);
        memset(&batch, 0, sizeof(batch));
        memcpy(batch.entries, entries + next, some * sizeof(entries[0]));
        int good = batch_call(vcpu_fd, KVM_SET_MSRS, &batch, some, err);
        if (good < 0)
            return good;
        if ((size_t)good < some)
            return error_set(err, ERROR_SYSTEM, EIO,
                             "KVM_SET_MSRS: this host refuses MSR 0x%x with value 0x%llx",
                             batch.entries[good].index,
                             (unsigned long long)batch.entries[good].data);
        next += some;
    }
    return 0;
}

int msrs_set_boot(int vcpu_fd, struct error *err)
{
    static const struct kvm_msr_entry boot_msrs[] = {
        {.index = 0x174},                     /* SYSENTER_CS */
        {.index = 0x175},                     /* SYSENTER_ESP */
        {.index = 0x176},                     /* SYSENTER_EIP */
        {.index = 0xc0000081},                /* STAR */
        {.index = 0xc0000083},                /* CSTAR */
        {.index = 0xc0000102},                /* KERNEL_GS_BASE */
        {.index = 0xc0000084},                /* SYSCALL_MASK */
        {.index = 0xc0000082},                /* LSTAR */
        {.index = MSR_IA32_TSC},              /* 0 on every vCPU: KVM keeps them in step */
        {.index = 0x1a0, .data = 1},          /* MISC_ENABLE: fast strings */
        {.index = 0x2ff, .data = 0x800 | 6u}, /* MTRRs on, default write-back */
    };
    return msrs_set(vcpu_fd, boot_msrs, ARRAY_SIZE(boot_msrs), err);
}
