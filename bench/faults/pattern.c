/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "faults.h"

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 33;
}

static void sequential(struct pattern *pattern, uint64_t pages)
{
    for (uint64_t i = 0; i < pages; i++)
        pattern->pages[i] = (uint32_t)i;
    pattern->count = (uint32_t)pages;
}

static void random_quarter(struct pattern *pattern, uint64_t pages)
{
    uint64_t seed = 1;
    sequential(pattern, pages);
    for (uint64_t i = 0; i < pages / 4; i++) {
        uint64_t other = i + next_random(&seed) % (pages - i);
        uint32_t page = pattern->pages[i];
        pattern->pages[i] = pattern->pages[other];
        pattern->pages[other] = page;
    }
    pattern->count = (uint32_t)(pages / 4);
}

/* As many pages between n and 2n as between 2n and 4n, each 16 on; then spread over the image. */
static void zipf(struct pattern *pattern, uint64_t pages)
{
    uint64_t seed = 11;
    unsigned bits = 63 - (unsigned)__builtin_clzll(pages);
    bool *taken = calloc(pages, sizeof(*taken));
    if (!taken)
        die("pattern");
    while (pattern->count < pages / 8) {
        uint64_t octave = 1ull << next_random(&seed) % bits;
        uint64_t rank = octave + next_random(&seed) % octave;
        uint64_t page = (rank / 16 * 16 * 7919 + rank % 16) % pages;
        for (uint64_t i = page; i < pages && i < page + 4 && pattern->count < pages / 8; i++) {
            if (!taken[i])
                pattern->pages[pattern->count++] = (uint32_t)i;
            taken[i] = true;
        }
    }
    free(taken);
}

/* Three runs at a time, a page of each in turn; lengths from 1 to 128, short ones more often. */
static void boot(struct pattern *pattern, uint64_t pages)
{
    struct {
        uint64_t page, left;
    } streams[3] = {0};
    uint64_t seed = 7;
    bool *taken = calloc(pages, sizeof(*taken));
    if (!taken)
        die("pattern");
    for (unsigned turn = 0; pattern->count < pages / 4; turn = (turn + 1) % 3) {
        if (streams[turn].left == 0 || streams[turn].page >= pages) {
            streams[turn].page = next_random(&seed) % pages;
            streams[turn].left = 1 + (next_random(&seed) % 128) * (next_random(&seed) % 128) / 128;
        }
        if (!taken[streams[turn].page]) {
            taken[streams[turn].page] = true;
            pattern->pages[pattern->count++] = (uint32_t)streams[turn].page;
        }
        streams[turn].page++;
        streams[turn].left--;
    }
    free(taken);
}

void pattern_make(struct pattern *pattern, const char *name, uint64_t pages)
{
    *pattern = (struct pattern){.pages = calloc(pages, sizeof(*pattern->pages))};
    if (!pattern->pages)
        die("pattern");
    if (strcmp(name, "sequential") == 0)
        sequential(pattern, pages);
    else if (strcmp(name, "random") == 0)
        random_quarter(pattern, pages);
    else if (strcmp(name, "boot") == 0)
        boot(pattern, pages);
    else if (strcmp(name, "zipf") == 0)
        zipf(pattern, pages);
    else
        die("no such pattern");
}
