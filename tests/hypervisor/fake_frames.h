/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's protocol as the fake guest speaks it: without a line of the code under test. */
#ifndef TINE_TESTS_HYPERVISOR_FAKE_FRAMES_H
#define TINE_TESTS_HYPERVISOR_FAKE_FRAMES_H

#include <stddef.h>
#include <stdint.h>

/* Fields being put together. */
struct fake_fields {
    uint8_t data[4096];
    size_t length;
};
void fake_put(struct fake_fields *fields, uint16_t tag, const void *value, uint32_t length);
void fake_put_text(struct fake_fields *fields, uint16_t tag, const char *text);
void fake_put_exit(struct fake_fields *fields, int32_t code);

/* 0, or -1: the connection is lost. */
int fake_send_frame(int fd, uint8_t type, const void *payload, size_t length);
int fake_send_fields(int fd, uint8_t type, const struct fake_fields *fields);
/* Reads one frame; returns its type, or -1. */
int fake_read_frame(int fd, uint8_t *payload, uint32_t *length);

/* The request's fields with this tag, as fresh strings; returns how many. */
int fake_texts_of(const uint8_t *payload, uint32_t length, uint16_t wanted, char **texts, int max);
/* The request's time limit, or 0. */
uint32_t fake_timeout_of(const uint8_t *payload, uint32_t length);

#endif
