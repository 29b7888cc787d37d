/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of connections share: packets and texts of the stream that a test is about. */
#ifndef TINE_TESTS_STREAMS_H
#define TINE_TESTS_STREAMS_H

#include "guest_driver.h"

#define PORT  52u
#define ALLOC 65536u /* what the guest offers, and what the device does */

/* Content that depends on the position, with a period that is no multiple of any buffer size. */
uint8_t content(size_t position);
void send_op(struct guest *guest, uint16_t op, uint32_t port, uint32_t host, uint32_t flags);
void send_text(struct guest *guest, uint32_t host, const char *text);
void expect_text(struct guest *guest, const char *text);
void read_text(int fd, const char *text);
/* CPU time the thread has used. */
uint64_t cpu_ns(pthread_t thread);

#define STREAM_TEST(test) cmocka_unit_test_setup_teardown(test, guest_setup, guest_teardown)
/* clang-format off */ /* its versions differ on braces in macros */
#define PLAIN_TEST(test) {#test " without EVENT_IDX", test, guest_setup_plain, guest_teardown, NULL}
/* clang-format on */

#endif
