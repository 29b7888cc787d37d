/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device (virtio 1.2, section 5.4): one queue, every writable buffer is filled with
 * random bytes of the host's kernel. It has no features, no configuration and nothing to save. */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "vmm/devices/virtio.h"

#define REQUESTS_PER_TURN 16u
/* A longer request is answered with this much: the driver asks again for the rest. */
#define REQUEST_BYTES_MAX (64u << 10)

struct rng {
    struct virtio_device device;
};

static uint64_t rng_features(const struct virtio_device *device)
{
    (void)device;
    return 0;
}

static void rng_config_read(struct virtio_device *device, uint64_t offset, uint8_t *data,
                            size_t size)
{
    (void)device;
    (void)offset;
    (void)data;
    (void)size;
}

/* Fills a buffer; returns how much of it. Only an interruption can stop getrandom(2) early. */
static size_t fill(uint8_t *buffer, size_t length)
{
    size_t done = 0;

    while (done < length) {
        ssize_t got = getrandom(buffer + done, length - done, 0);
        if (got < 0 && errno != EINTR)
            break;
        done += got > 0 ? (size_t)got : 0;
    }
    return done;
}

static int64_t serve(struct virtio_device *device, const struct virtqueue_chain *chain)
{
    size_t done = 0;

    for (unsigned i = 0; i < chain->writable_count && done < REQUEST_BYTES_MAX; i++) {
        size_t length = chain->writable[i].iov_len;
        if (length > REQUEST_BYTES_MAX - done)
            length = REQUEST_BYTES_MAX - done;
        size_t filled = fill(chain->writable[i].iov_base, length);
        done += filled;
        if (filled < length) {
            virtio_complain(device, "no random bytes from the host: %s", errno_name(errno));
            break;
        }
    }
    return (int64_t)done;
}

static void rng_notify(struct virtio_device *device, unsigned index)
{
    virtio_serve_queue(device, index, REQUESTS_PER_TURN, serve);
}

static void rng_destroy(struct virtio_device *device)
{
    free(CONTAINER_OF(device, struct rng, device));
}

static const struct virtio_ops rng_ops = {
    .name = "rng",
    .device_id = VIRTIO_ID_RNG,
    .queue_count = 1,
    .features = rng_features,
    .config_read = rng_config_read,
    .notify = rng_notify,
    .destroy = rng_destroy,
};

struct virtio_device *virtio_rng_create(struct guest_memory *memory, struct loop *loop,
                                        struct error *err)
{
    struct rng *rng = calloc(1, sizeof(*rng));

    if (!rng) {
        error_errno(err, ENOMEM, NULL, "create the entropy device");
        return NULL;
    }
    virtio_device_init(&rng->device, &rng_ops, memory, loop);
    return &rng->device;
}
