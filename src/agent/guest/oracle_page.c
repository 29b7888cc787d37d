/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/oracle.h"

#define GOLDEN 0x9e3779b97f4a7c15ull /* the increment of splitmix64 */

/* The output function of splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t word)
{
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ull;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebull;
    return word ^ (word >> 31);
}

/* Where the page's sequence starts. Mixed twice, so that neighbouring seeds and pages have nothing
 * in common. */
static uint64_t page_state(uint64_t seed, uint64_t number)
{
    return mix(mix(seed + GOLDEN) ^ number);
}

void oracle_page_fill(uint64_t *page, uint64_t seed, uint64_t number)
{
    uint64_t state = page_state(seed, number);
    for (unsigned word = 0; word < ORACLE_PAGE_WORDS; word++)
        page[word] = mix(state += GOLDEN);
}

int oracle_page_check(const uint64_t *page, uint64_t seed, uint64_t number)
{
    uint64_t state = page_state(seed, number);
    for (unsigned word = 0; word < ORACLE_PAGE_WORDS; word++) {
        if (page[word] != mix(state += GOLDEN))
            return 0;
    }
    return 1;
}
