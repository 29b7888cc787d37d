/* SPDX-License-Identifier: Apache-2.0 */
/* What every virtio device is: an id, features, queues, and a table of functions. The transport
 * (virtio_mmio.c) is written once; a device is one small file. Functions of a device run with the
 * device lock held, on the event-loop thread (queue notifications, host descriptors) or on a vCPU
 * thread (configuration space, activate, reset). */
#ifndef TINE_VMM_DEVICES_VIRTIO_H
#define TINE_VMM_DEVICES_VIRTIO_H

#include <linux/virtio_mmio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "vmm/config.h"
#include "vmm/devices/bus.h"
#include "vmm/devices/virtqueue.h"
#include "vmm/memory.h"
#include "vmm/state.h"

#define VIRTIO_MAX_QUEUES  5u
#define VIRTIO_MMIO_BASE   0xC0001000ull /* device n lies at base + n * 0x1000 */
#define VIRTIO_MMIO_SIZE   0x1000ull
#define VIRTIO_FIRST_GSI   5u /* device n raises GSI 5 + n */
#define VIRTIO_MAX_DEVICES 16u

struct virtio_device;

struct virtio_ops {
    const char *name;
    uint32_t device_id; /* virtio 1.2, section 5 */
    unsigned queue_count;
    /* Offered features besides VERSION_1 and EVENT_IDX, which the transport adds. */
    uint64_t (*features)(const struct virtio_device *device);
    /* Configuration space; `offset` counts from its start; `data` is zeroed before a read. Accesses
     * outside what the device has are ignored. `config_write` may be NULL. */
    void (*config_read)(struct virtio_device *device, uint64_t offset, uint8_t *data, size_t size);
    void (*config_write)(struct virtio_device *device, uint64_t offset, const uint8_t *data,
                         size_t size);
    /* The driver set DRIVER_OK (or a load restored an active device): queues are usable. NULL:
     * nothing to do. */
    void (*activate)(struct virtio_device *device);
    /* The driver reset the device: forget what is in flight. May be NULL. */
    void (*reset)(struct virtio_device *device);
    /* The driver notified queue `index`, or a resume asks to look again. */
    void (*notify)(struct virtio_device *device, unsigned index);
    /* Called on a paused VM before save: put the device into a state that can be saved (vsock: the
     * transport-reset event). May be NULL. */
    void (*prepare_save)(struct virtio_device *device);
    /* The device's own section, STATE_VIRTIO_<name> with index `slot`. NULL: there is none. */
    void (*save)(const struct virtio_device *device, uint32_t slot, struct state_writer *writer);
    int (*load)(struct virtio_device *device, uint32_t slot, const struct state_reader *reader,
                struct error *err);
    void (*destroy)(struct virtio_device *device);
};

/* Embedded first in each device's struct. Filled by virtio_device_init() and the transport. */
struct virtio_device {
    const struct virtio_ops *ops;
    struct guest_memory *memory; /* borrowed */
    struct loop *loop;           /* borrowed: the device loop */
    struct virtqueue queues[VIRTIO_MAX_QUEUES];
    uint64_t acked_features;
    uint8_t status;            /* virtio 1.2, section 2.1 */
    uint32_t interrupt_status; /* bit 0: a queue, bit 1: configuration */
    uint32_t config_generation;
    int irq_fd; /* eventfd that raises the device's interrupt line; -1: no transport yet */
    int notify_fds[VIRTIO_MAX_QUEUES]; /* eventfds behind QueueNotify; -1: none */
    unsigned complaints;               /* see virtio_complain() */
};

void virtio_device_init(struct virtio_device *device, const struct virtio_ops *ops,
                        struct guest_memory *memory, struct loop *loop);
/* DRIVER_OK is set and DEVICE_NEEDS_RESET is not. */
bool virtio_device_active(const struct virtio_device *device);
/* Raises the interrupt for a queue if the driver wants it for what was pushed since last time. A
 * queue that turned out broken makes the device ask for a reset (DEVICE_NEEDS_RESET, 2.1.2). */
void virtio_signal_queue(struct virtio_device *device, unsigned index);
/* Raises the configuration-change interrupt and bumps the generation. */
void virtio_signal_config(struct virtio_device *device);
/* Notifies queue `index` as the driver would: its `notify` runs again after the event loop has
 * looked at everything else. */
void virtio_notify_again(struct virtio_device *device, unsigned index);

/* Logs a warning about what the guest (or a host file under it) did, with the device's name before
 * it; after VIRTIO_MAX_COMPLAINTS it is silent, so that no guest fills the host's log. */
#define VIRTIO_MAX_COMPLAINTS 16u
void virtio_complain(struct virtio_device *device, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Serves one request; returns how many bytes it wrote into the writable buffers, or a negative
 * errno if the request breaks a rule of the device: the queue is then broken. */
typedef int64_t virtio_serve(struct virtio_device *device, const struct virtqueue_chain *chain);
/* The common `notify`: serves up to `limit` requests of a queue, returns each as used and raises
 * the interrupt; what is left is served by another notification, so that no device starves the
 * loop. */
void virtio_serve_queue(struct virtio_device *device, unsigned index, unsigned limit,
                        virtio_serve *serve);

/* Copies what a configuration space access and the `length` bytes of `config` have in common; the
 * rest of `data` stays as it is. For reads: out of `config`; virtio_config_write(): into it. */
void virtio_config_read(const void *config, size_t length, uint64_t offset, uint8_t *data,
                        size_t size);
void virtio_config_write(void *config, size_t length, uint64_t offset, const uint8_t *data,
                         size_t size);

/* ---- transport: virtio over MMIO, version 2 (virtio 1.2, section 4.2) ---- */

struct virtio_mmio;

/* Takes `device` over (destroys it with itself). Creates the interrupt eventfd and one notification
 * eventfd per queue and adds those to the device's loop. */
struct virtio_mmio *virtio_mmio_create(struct virtio_device *device, uint32_t slot,
                                       struct error *err);
void virtio_mmio_destroy(struct virtio_mmio *transport);
struct bus_device *virtio_mmio_bus_device(struct virtio_mmio *transport);
struct virtio_device *virtio_mmio_device(struct virtio_mmio *transport);
uint32_t virtio_mmio_slot(const struct virtio_mmio *transport);
uint64_t virtio_mmio_gpa(const struct virtio_mmio *transport);
uint32_t virtio_mmio_gsi(const struct virtio_mmio *transport);
/* For KVM: the eventfd to wire to the GSI, and queue `index`'s to wire to a write of that index to
 * VIRTIO_MMIO_QUEUE_NOTIFY. */
int virtio_mmio_irq_fd(const struct virtio_mmio *transport);
int virtio_mmio_notify_fd(const struct virtio_mmio *transport, unsigned index);

/* Before a resume: every queue of an active device is looked at again. */
void virtio_mmio_kick(struct virtio_mmio *transport);
/* Transport, queues and the device's own section. Save calls prepare_save first; the VM is paused.
 * Load checks every value as hostile (queue addresses and indices, features within those offered).
 */
int virtio_mmio_save(struct virtio_mmio *transport, struct state_writer *writer, struct error *err);
/* The same for a VM that goes on as if nothing had been: nothing is prepared, so whoever loads this
 * calls virtio_mmio_prepare() on what came of it. */
int virtio_mmio_save_as_is(struct virtio_mmio *transport, struct state_writer *writer,
                           struct error *err);
void virtio_mmio_prepare(struct virtio_mmio *transport);
int virtio_mmio_load(struct virtio_mmio *transport, const struct state_reader *reader,
                     struct error *err);

/* ---- the devices ---- */

/* Opens the file (or block device, or stack) of `drive`, read-only or read-write with O_CLOEXEC.
 * The capacity is its size in 512-byte sectors, rounded down. A writable file with other names is
 * -EMLINK: what the guest writes must not reach another owner (R2). `drive` is not needed
 * afterwards. */
struct virtio_device *virtio_block_create(const struct drive_config *drive,
                                          struct guest_memory *memory, struct loop *loop,
                                          struct error *err);
/* Reopens from another path, updates the capacity, tells an active driver. On failure the old file
 * stays in use. */
int virtio_block_reopen(struct virtio_device *device, const char *path, struct error *err);
/* What was written to a drive that is a stack is durable. Of any other drive nothing is asked: the
 * host's files have what was written. */
int virtio_block_flush(struct virtio_device *device, struct error *err);
/* The same, and what was written becomes a layer that others can link; the VM goes on writing a new
 * top. The VM is paused, or the lock is held: nothing is in flight between two requests. */
int virtio_block_seal(struct virtio_device *device, struct error *err);

struct virtio_device *virtio_rng_create(struct guest_memory *memory, struct loop *loop,
                                        struct error *err);

struct virtio_device *virtio_balloon_create(const struct balloon_config *config,
                                            struct guest_memory *memory, struct loop *loop,
                                            struct error *err);
/* Sets the target size; tells an active driver. */
int virtio_balloon_set_target(struct virtio_device *device, uint32_t amount_mib, struct error *err);
/* What the guest says it holds, in MiB. */
uint32_t virtio_balloon_actual_mib(const struct virtio_device *device);

/* Binds and listens on config->uds_path (an existing file is an error); destroying it removes the
 * file. */
struct virtio_device *virtio_vsock_create(const struct vsock_config *config,
                                          struct guest_memory *memory, struct loop *loop,
                                          struct error *err);

#endif
