/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device that answers every request with its own bytes, for tests of the transport. */
#ifndef TINE_TESTS_ECHO_DEVICE_H
#define TINE_TESTS_ECHO_DEVICE_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio_guest.h"

#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define OWN       (1ull << 3 | 1ull << 40)
#define QUEUES    2u

struct echo {
    struct virtio_device device;
    uint8_t config[16];
    unsigned activations, resets, notifications[QUEUES], served;
    bool refuse;  /* every request */
    bool by_hand; /* take requests without virtio_serve_queue(), as a vsock does */
};

struct fixture {
    struct guest guest;
    struct echo *echo;
};

int echo_setup(void **state);
int echo_teardown(void **state);
uint32_t status(struct guest *guest);

#define ECHO_TEST(name) cmocka_unit_test_setup_teardown(name, echo_setup, echo_teardown)

#endif
