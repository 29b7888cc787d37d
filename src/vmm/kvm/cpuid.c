/* SPDX-License-Identifier: Apache-2.0 */
/* Leaves and bits as in Intel SDM volume 2 (CPUID) and AMD APM volume 3, appendix E. */
#include "vmm/kvm/cpuid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"

#define EXTENDED_TOPOLOGY    0x0bu
#define EXTENDED_TOPOLOGY_V2 0x1fu

static struct kvm_cpuid2 *cpuid_allocate(void)
{
    return calloc(1,
                  sizeof(struct kvm_cpuid2) + CPUID_MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2));
}

int kvm_supported_cpuid(struct kvm *kvm, struct error *err)
{
    if (kvm->cpuid)
        return 0;
    _cleanup_(free) struct kvm_cpuid2 *cpuid = cpuid_allocate();
    if (!cpuid)
        return error_errno(err, ENOMEM, NULL, "read the supported CPUID");
    cpuid->nent = CPUID_MAX_ENTRIES;
    int r = kvm_call(kvm->fd, KVM_GET_SUPPORTED_CPUID, cpuid, "KVM_GET_SUPPORTED_CPUID", err);
    if (r < 0)
        return r;
    kvm->cpuid = TAKE_PTR(cpuid);
    return 0;
}

static unsigned threads_per_core(const struct cpuid_topology *topology)
{
    return topology->smt && topology->count > 1 ? 2 : 1;
}

/* Bits of an APIC id that number `count` things. */
static unsigned id_bits(unsigned count)
{
    unsigned bits = 0;
    while ((1u << bits) < count)
        bits++;
    return bits;
}

static void set_bits(uint32_t *reg, unsigned low, unsigned width, uint32_t value)
{
    uint32_t mask = ((width == 32 ? 0 : 1u << width) - 1u) << low;
    *reg = (*reg & ~mask) | ((value << low) & mask);
}

static void set_bit(uint32_t *reg, unsigned bit, bool on)
{
    set_bits(reg, bit, 1, on);
}

/* ---- one function per leaf ---- */

static void features(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology)
{
    set_bits(&entry->ebx, 24, 8, topology->index);    /* initial APIC id */
    set_bits(&entry->ebx, 16, 8, topology->count);    /* logical processors */
    set_bit(&entry->edx, 28, topology->count > 1);    /* HTT: the field above is valid */
    set_bit(&entry->ecx, 24, topology->tsc_deadline); /* TSC-deadline timer */
    set_bit(&entry->ecx, 31, true);                   /* running under a hypervisor */
    set_bit(&entry->ecx, 15, false);                  /* PDCM: no performance counters */
    set_bit(&entry->ecx, 5, false);                   /* VMX: nested state is not saved */
}

/* Intel's cache leaf: who shares each cache. */
static void cache_topology(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology)
{
    if ((entry->eax & 0x1f) == 0)
        return; /* no more caches */
    unsigned level = (entry->eax >> 5) & 7;
    unsigned sharing = level < 3 ? threads_per_core(topology) : topology->count;
    set_bits(&entry->eax, 14, 12, sharing - 1);
    set_bits(&entry->eax, 26, 6, topology->count / threads_per_core(topology) - 1);
}

static void structured_features(struct kvm_cpuid_entry2 *entry,
                                const struct cpuid_topology *topology)
{
    (void)topology;
    if (entry->index == 0)
        set_bit(&entry->ecx, 5, false); /* WAITPKG: a guest could stall a host CPU */
}

static void no_performance_counters(struct kvm_cpuid_entry2 *entry,
                                    const struct cpuid_topology *topology)
{
    (void)topology;
    entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
}

static void extended_features(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology)
{
    set_bit(&entry->ecx, 2, false); /* SVM: nested state is not saved */
    /* CmpLegacy says that the cores of leaf 1 are cores; only AMD defines it. */
    if (entry->ecx & (1u << 22)) /* TopologyExtensions */
        set_bit(&entry->ecx, 1, topology->count > 1);
}

static void address_sizes(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology)
{
    set_bits(&entry->ecx, 0, 8, topology->count - 1);
    set_bits(&entry->ecx, 12, 4, id_bits(topology->count));
}

static void amd_cache_topology(struct kvm_cpuid_entry2 *entry,
                               const struct cpuid_topology *topology)
{
    if ((entry->eax & 0x1f) == 0)
        return;
    unsigned level = (entry->eax >> 5) & 7;
    unsigned sharing = level < 3 ? threads_per_core(topology) : topology->count;
    set_bits(&entry->eax, 14, 12, sharing - 1);
}

static void amd_topology(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology)
{
    unsigned threads = threads_per_core(topology);
    entry->eax = topology->index;
    set_bits(&entry->ebx, 0, 8, topology->index / threads); /* core id */
    set_bits(&entry->ebx, 8, 8, threads - 1);
    entry->ecx = 0; /* one node, number 0 */
}

static const struct {
    uint32_t leaf;
    void (*normalise)(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology);
} leaves[] = {
    {0x1, features},
    {0x4, cache_topology},
    {0x7, structured_features},
    {0xa, no_performance_counters},
    {0x80000001, extended_features},
    {0x80000008, address_sizes},
    {0x8000001d, amd_cache_topology},
    {0x8000001e, amd_topology},
};

static void entry_normalise(struct kvm_cpuid_entry2 *entry, const struct cpuid_topology *topology)
{
    for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
        if (leaves[i].leaf == entry->function)
            leaves[i].normalise(entry, topology);
    }
}

/* The extended topology leaves are made anew: the host's number of levels says nothing here. */
static void add_extended_topology(struct kvm_cpuid2 *cpuid, uint32_t leaf,
                                  const struct cpuid_topology *topology)
{
    unsigned threads = threads_per_core(topology);
    const struct {
        uint32_t shift, processors, type;
    } levels[] = {
        {id_bits(threads), threads, 1},                 /* SMT */
        {id_bits(topology->count), topology->count, 2}, /* core */
        {0, 0, 0},                                      /* end */
    };
    for (uint32_t i = 0; i < ARRAY_SIZE(levels) && cpuid->nent < CPUID_MAX_ENTRIES; i++) {
        cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
            .function = leaf,
            .index = i,
            .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            .eax = levels[i].shift,
            .ebx = levels[i].processors,
            .ecx = levels[i].type << 8 | i,
            .edx = topology->index,
        };
    }
}

struct kvm_cpuid2 *cpuid_normalise(const struct kvm_cpuid2 *supported,
                                   const struct cpuid_topology *topology)
{
    struct kvm_cpuid2 *cpuid = cpuid_allocate();
    if (!cpuid)
        return NULL;
    bool has_topology = false, has_topology_v2 = false;
    for (uint32_t i = 0; i < supported->nent && cpuid->nent < CPUID_MAX_ENTRIES; i++) {
        const struct kvm_cpuid_entry2 *entry = &supported->entries[i];
        has_topology = has_topology || entry->function == EXTENDED_TOPOLOGY;
        has_topology_v2 = has_topology_v2 || entry->function == EXTENDED_TOPOLOGY_V2;
        if (entry->function == EXTENDED_TOPOLOGY || entry->function == EXTENDED_TOPOLOGY_V2)
            continue;
        cpuid->entries[cpuid->nent] = *entry;
        entry_normalise(&cpuid->entries[cpuid->nent++], topology);
    }
    if (has_topology)
        add_extended_topology(cpuid, EXTENDED_TOPOLOGY, topology);
    if (has_topology_v2)
        add_extended_topology(cpuid, EXTENDED_TOPOLOGY_V2, topology);
    return cpuid;
}
