/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1 (FIPS 180-4, section 6.1), for the WebSocket handshake of RFC 6455 only: it protects
 * nothing. */
#ifndef TINE_BASE_SHA1_H
#define TINE_BASE_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_LENGTH 20

void sha1(const void *data, size_t length, uint8_t digest[SHA1_LENGTH]);

#endif
