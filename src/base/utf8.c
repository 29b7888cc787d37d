/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <stdint.h>

#include "base/cleanup.h"

/* The well-formed first bytes, and the range of the second byte that goes with each. */
static const struct {
    uint8_t first_low, first_high, second_low, second_high, length;
} utf8_forms[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

size_t utf8_sequence(const char *text, size_t length)
{
    const uint8_t *at = (const uint8_t *)text;
    if (length == 0)
        return 0;
    if (at[0] < 0x80)
        return 1;
    for (size_t i = 0; i < ARRAY_SIZE(utf8_forms); i++) {
        if (at[0] < utf8_forms[i].first_low || at[0] > utf8_forms[i].first_high)
            continue;
        size_t wanted = utf8_forms[i].length;
        if (length < wanted || at[1] < utf8_forms[i].second_low ||
            at[1] > utf8_forms[i].second_high)
            return 0;
        for (size_t n = 2; n < wanted; n++) {
            if ((at[n] & 0xc0) != 0x80)
                return 0;
        }
        return wanted;
    }
    return 0;
}
