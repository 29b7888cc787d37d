/* SPDX-License-Identifier: Apache-2.0 */
/* The state file: everything of a paused VM but its memory.
 *
 * Layout, little-endian: header {magic "TINESTAT", u32 format version, u32 section count, u64 file
 * length}, then sections {u32 kind, u32 index, u32 version, u32 length, payload padded to 8 bytes},
 * then the XXH3-64 checksum of all bytes before it. A payload is one explicit struct with
 * fixed-width fields, or an array of them. Whoever changes a struct raises its section version.
 *
 * A file is hostile input: state_reader_open() checks magic, format, length, checksum and that
 * every section lies inside the file before anybody looks at one. */
#ifndef TINE_VMM_STATE_H
#define TINE_VMM_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define STATE_FORMAT_VERSION 1u
#define STATE_FILE_LIMIT     (64u << 20) /* bytes; a larger file is refused */

/* Section kinds; numbers are for ever. `index` tells apart several of a kind (vCPU number, device
 * slot). */
enum state_kind {
    STATE_MACHINE = 1,    /* vCPU count, memory size, device slots, VMM version */
    STATE_CONFIG = 2,     /* the configuration as JSON text, as GET /vm/config shows it */
    STATE_VCPU = 3,       /* fixed-size part: regs, sregs, events, debug regs, MP state, TSC */
    STATE_VCPU_MSRS = 4,  /* array of {index, value} */
    STATE_VCPU_XSAVE = 5, /* raw, size from KVM_CAP_XSAVE2 */
    STATE_VCPU_CPUID = 6, /* array of kvm_cpuid_entry2 */
    STATE_VCPU_LAPIC = 7,
    STATE_VCPU_XCRS = 8,
    STATE_IRQCHIP = 9, /* index 0 PIC master, 1 PIC slave, 2 IOAPIC */
    STATE_PIT = 10,
    STATE_CLOCK = 11, /* kvmclock and the wall clock at save time */
    STATE_SERIAL = 20,
    STATE_I8042 = 21,
    STATE_VMGENID = 22,
    STATE_VIRTIO_MMIO = 30, /* transport and queues; index = device slot */
    STATE_VIRTIO_BLOCK = 31,
    STATE_VIRTIO_VSOCK = 32,
    STATE_VIRTIO_RNG = 33,
    STATE_VIRTIO_BALLOON = 34,
};

/* ---- writing ---- */

struct state_writer {
    uint8_t *data;
    size_t length, capacity;
    uint32_t sections;
    int failed; /* out of memory somewhere; told by state_writer_finish() */
};

void state_writer_init(struct state_writer *writer);
void state_writer_free(struct state_writer *writer);
/* Appends one section. `payload` is copied. */
void state_put(struct state_writer *writer, enum state_kind kind, uint32_t index, uint32_t version,
               const void *payload, size_t length);
/* Completes header and checksum; the bytes are then writer->data[0 .. writer->length). -ENOMEM if a
 * put had failed. */
int state_writer_finish(struct state_writer *writer, struct error *err);

static inline void cleanup_state_writer(struct state_writer *writer)
{
    state_writer_free(writer);
}

/* ---- reading ---- */

struct state_section {
    uint32_t kind, index, version, length;
    const uint8_t *payload; /* inside the reader's buffer, 8-byte aligned */
};

struct state_reader {
    const uint8_t *data; /* borrowed, 8-byte aligned (malloc is) */
    size_t length;
    uint32_t sections;
};

/* Checks the whole file in memory; `data` must outlive the reader. ERROR_CORRUPT with what is wrong
 * ("checksum does not match", "format 7, this VMM reads 1", "ends inside section 3") otherwise. */
int state_reader_open(struct state_reader *reader, const void *data, size_t length,
                      struct error *err);
/* Finds a section: 1 and fills `section`, or 0. */
int state_find(const struct state_reader *reader, enum state_kind kind, uint32_t index,
               struct state_section *section);
/* Copies a section of exactly that version and length into `out`. ERROR_CORRUPT naming kind and
 * index if it is missing or differs. */
int state_get(const struct state_reader *reader, enum state_kind kind, uint32_t index,
              uint32_t version, void *out, size_t length, struct error *err);

#endif
