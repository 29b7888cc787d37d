/* SPDX-License-Identifier: Apache-2.0 */
#include "pattern.h"

#include <string.h>

/* The finaliser of MurmurHash3: every bit of the result depends on every bit of the value. */
static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 33) * 0xff51afd7ed558ccdull;
    value = (value ^ value >> 33) * 0xc4ceb9fe1a85ec53ull;
    return value ^ value >> 33;
}

void pattern_make(uint64_t token, uint64_t page, uint8_t data[PATTERN_PAGE])
{
    uint64_t words[PATTERN_PAGE / 8];
    const uint64_t seed = mix(token * 0x9e3779b97f4a7c15ull + page);
    memset(data, 0, PATTERN_PAGE);
    if (token == 0 || seed % 4 == 0)
        return;
    for (unsigned i = 0; i < PATTERN_PAGE / 8; i++)
        words[i] = seed + i;
    words[0] = token;
    words[1] = page;
    memcpy(data, words, PATTERN_PAGE);
}

bool pattern_holds(uint64_t token, uint64_t page, const uint8_t data[PATTERN_PAGE])
{
    uint8_t expected[PATTERN_PAGE];
    pattern_make(token, page, expected);
    return memcmp(data, expected, PATTERN_PAGE) == 0;
}
