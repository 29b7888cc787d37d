/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sha1.h"

#include <endian.h>
#include <string.h>

#define BLOCK 64

static uint32_t rotate(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

static uint32_t round_function(unsigned round, uint32_t b, uint32_t c, uint32_t d)
{
    if (round < 20)
        return (b & c) | (~b & d);
    if (round >= 40 && round < 60)
        return (b & c) | (b & d) | (c & d);
    return b ^ c ^ d;
}

static void compress(uint32_t state[5], const uint8_t block[BLOCK])
{
    static const uint32_t constants[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80];
    for (unsigned i = 0; i < 16; i++) {
        memcpy(&w[i], block + (size_t)i * 4, 4);
        w[i] = be32toh(w[i]);
    }
    for (unsigned i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (unsigned i = 0; i < 80; i++) {
        uint32_t next = rotate(a, 5) + round_function(i, b, c, d) + e + constants[i / 20] + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void sha1(const void *data, size_t length, uint8_t digest[SHA1_LENGTH])
{
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const uint8_t *at = data;
    size_t left = length;
    for (; left >= BLOCK; at += BLOCK, left -= BLOCK)
        compress(state, at);
    /* The rest, one bit, zeros, and the length in bits: one block or two. */
    uint8_t tail[2 * BLOCK] = {0};
    if (left > 0)
        memcpy(tail, at, left);
    tail[left] = 0x80;
    size_t tail_length = left < BLOCK - 8 ? BLOCK : 2 * BLOCK;
    uint64_t bits = htobe64((uint64_t)length * 8);
    memcpy(tail + tail_length - 8, &bits, 8);
    for (size_t i = 0; i < tail_length; i += BLOCK)
        compress(state, tail + i);
    for (unsigned i = 0; i < 5; i++) {
        uint32_t word = htobe32(state[i]);
        memcpy(digest + (size_t)i * 4, &word, 4);
    }
}
