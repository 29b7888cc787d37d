/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device as virtio sees it: queues, configuration space, life, saved state. */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/unix_socket.h"
#include "vmm/devices/vsock/vsock.h"

#define PACKETS_PER_TURN    256u
#define VSOCK_STATE_VERSION 1u

/* The saved state, version 1. Connections are not in it: they do not survive. */
struct vsock_state {
    uint64_t guest_cid;
    uint32_t last_host_port;
    uint16_t event_available;
    uint8_t reset_stage; /* enum reset_stage */
    uint8_t reserved;    /* 0 */
};

static struct vsock *vsock_of(struct virtio_device *device)
{
    return CONTAINER_OF(device, struct vsock, device);
}

/* Without F_STREAM and F_SEQPACKET there are stream sockets only (5.10.3). */
static uint64_t vsock_features(const struct virtio_device *device)
{
    return 0;
}

static void vsock_config_read(struct virtio_device *device, uint64_t offset, uint8_t *data,
                              size_t size)
{
    const struct virtio_vsock_config config = {.guest_cid = vsock_of(device)->guest_cid};
    virtio_config_read(&config, sizeof(config), offset, data, size);
}

static void vsock_activate(struct virtio_device *device)
{
    struct vsock *vsock = vsock_of(device);
    vsock->up = true;
    vsock_update_accepting(vsock);
}

static void vsock_stop(struct vsock *vsock)
{
    vsock->up = false;
    vsock_drop_all(vsock);
    vsock_update_accepting(vsock);
}

static void vsock_device_reset(struct virtio_device *device)
{
    struct vsock *vsock = vsock_of(device);
    vsock_stop(vsock);
    vsock->reset_stage = RESET_NONE;
}

static int64_t serve_packet(struct virtio_device *device, const struct virtqueue_chain *chain)
{
    struct virtio_vsock_hdr header;
    if (vsock_packet_read(chain, &header))
        vsock_receive(vsock_of(device), &header, chain);
    else
        virtio_complain(device, "a packet is shorter than it says");
    return 0;
}

static void vsock_notify(struct virtio_device *device, unsigned index)
{
    struct vsock *vsock = vsock_of(device);
    vsock_event_advance(vsock);
    if (index == VSOCK_TX)
        virtio_serve_queue(device, VSOCK_TX, PACKETS_PER_TURN, serve_packet);
    vsock_fill(vsock);
}

static void vsock_prepare_save(struct virtio_device *device)
{
    struct vsock *vsock = vsock_of(device);
    vsock_drop_all(vsock);
    if (virtio_device_active(device))
        vsock_event_begin(vsock);
}

static void vsock_save(const struct virtio_device *device, uint32_t slot,
                       struct state_writer *writer)
{
    const struct vsock *vsock = CONTAINER_OF(device, struct vsock, device);
    const struct vsock_state state = {.guest_cid = vsock->guest_cid,
                                      .last_host_port = vsock->last_host_port,
                                      .event_available = vsock->event_available,
                                      .reset_stage = (uint8_t)vsock->reset_stage};
    state_put(writer, STATE_VIRTIO_VSOCK, slot, VSOCK_STATE_VERSION, &state, sizeof(state));
}

static int vsock_load(struct virtio_device *device, uint32_t slot,
                      const struct state_reader *reader, struct error *err)
{
    struct vsock *vsock = vsock_of(device);
    struct vsock_state state;
    int r = state_get(reader, STATE_VIRTIO_VSOCK, slot, VSOCK_STATE_VERSION, &state, sizeof(state),
                      err);
    if (r < 0)
        return r;
    if (state.guest_cid != vsock->guest_cid || state.last_host_port < VSOCK_FIRST_HOST_PORT ||
        state.last_host_port > VSOCK_LAST_HOST_PORT || state.reset_stage > RESET_SENT ||
        state.reserved != 0)
        return error_set(err, ERROR_CORRUPT, EINVAL,
                         "saved state of virtio vsock (device %u): impossible values", slot);
    vsock->last_host_port = state.last_host_port;
    vsock->event_available = state.event_available;
    vsock->reset_stage = (enum reset_stage)state.reset_stage;
    return 0;
}

static void vsock_destroy(struct virtio_device *device)
{
    struct vsock *vsock = vsock_of(device);
    vsock_stop(vsock);
    if (vsock->timer.fd >= 0) {
        loop_remove(device->loop, &vsock->timer);
        close(vsock->timer.fd);
    }
    /* A process that ends does not come here and leaves the socket file, as Firecracker does. This
     * is a start that failed: the next attempt binds the same path. */
    if (vsock->listener.fd >= 0) {
        close(vsock->listener.fd);
        (void)unlink(vsock->uds_path); /* what can't be removed is told when it is in the way */
    }
    free(vsock->resets);
    free(vsock->uds_path);
    free(vsock);
}

static const struct virtio_ops vsock_ops = {
    .name = "vsock",
    .device_id = VIRTIO_ID_VSOCK,
    .queue_count = VSOCK_QUEUES,
    .features = vsock_features,
    .config_read = vsock_config_read,
    .activate = vsock_activate,
    .reset = vsock_device_reset,
    .notify = vsock_notify,
    .prepare_save = vsock_prepare_save,
    .save = vsock_save,
    .load = vsock_load,
    .destroy = vsock_destroy,
};

static int vsock_open(struct vsock *vsock, struct error *err)
{
    if (!vsock->uds_path)
        return error_errno(err, ENOMEM, NULL, "virtio vsock");
    vsock->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (vsock->timer.fd < 0)
        return error_errno(err, errno, NULL, "timer of virtio vsock");
    int r = loop_add(vsock->device.loop, &vsock->timer, EPOLLIN, err);
    if (r < 0)
        return r;
    vsock->listener.fd = unix_listen(vsock->uds_path, SOCK_NONBLOCK, err);
    return vsock->listener.fd < 0 ? vsock->listener.fd : 0;
}

struct virtio_device *virtio_vsock_create(const struct vsock_config *config,
                                          struct guest_memory *memory, struct loop *loop,
                                          struct error *err)
{
    struct vsock *vsock = calloc(1, sizeof(*vsock));
    if (!vsock) {
        error_errno(err, ENOMEM, config->uds_path, "virtio vsock");
        return NULL;
    }
    virtio_device_init(&vsock->device, &vsock_ops, memory, loop);
    LIST_INIT(&vsock->connections);
    TAILQ_INIT(&vsock->waiting);
    vsock->guest_cid = config->guest_cid;
    vsock->last_host_port = VSOCK_LAST_HOST_PORT; /* the first one given is VSOCK_FIRST_HOST_PORT */
    vsock->listener = (struct loop_source){.fd = -1, .ready = vsock_listener_ready};
    vsock->timer = (struct loop_source){.fd = -1, .ready = vsock_timer_ready};
    vsock->uds_path = strdup(config->uds_path);
    if (vsock_open(vsock, err) < 0) {
        vsock_destroy(&vsock->device);
        return NULL;
    }
    return &vsock->device;
}
