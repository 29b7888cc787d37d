/* SPDX-License-Identifier: Apache-2.0 */
/* A bit per page. Bits may be set by several threads at once. */
#ifndef TINE_PAGER_BITMAP_H
#define TINE_PAGER_BITMAP_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct bitmap {
    uint64_t *words;
    uint64_t bits;
};

static inline uint64_t bitmap_bytes(uint64_t bits)
{
    return (bits + 63) / 64 * 8;
}

static inline int bitmap_create(struct bitmap *map, uint64_t bits)
{
    map->bits = bits;
    map->words = calloc(1, bitmap_bytes(bits));
    return map->words ? 0 : -ENOMEM;
}

static inline void bitmap_free(struct bitmap *map)
{
    free(map->words);
    map->words = NULL;
}

static inline bool bitmap_get(const struct bitmap *map, uint64_t bit)
{
    return __atomic_load_n(&map->words[bit / 64], __ATOMIC_RELAXED) >> (bit % 64) & 1;
}

static inline void bitmap_set(struct bitmap *map, uint64_t bit)
{
    __atomic_fetch_or(&map->words[bit / 64], 1ull << (bit % 64), __ATOMIC_RELAXED);
}

static inline void bitmap_clear(struct bitmap *map, uint64_t bit)
{
    __atomic_fetch_and(&map->words[bit / 64], ~(1ull << (bit % 64)), __ATOMIC_RELAXED);
}

/* The first bit from `from` on that is `set`, or `end`. */
static inline uint64_t bitmap_next(const struct bitmap *map, uint64_t from, uint64_t end, bool set)
{
    const uint64_t others = set ? 0 : UINT64_MAX;
    while (from < end) {
        uint64_t word = __atomic_load_n(&map->words[from / 64], __ATOMIC_RELAXED) ^ others;
        word >>= from % 64;
        if (word) {
            from += (uint64_t)__builtin_ctzll(word);
            return from < end ? from : end;
        }
        from = (from / 64 + 1) * 64;
    }
    return end;
}

static inline uint64_t bitmap_next_clear(const struct bitmap *map, uint64_t from, uint64_t end)
{
    return bitmap_next(map, from, end, false);
}

static inline uint64_t bitmap_next_set(const struct bitmap *map, uint64_t from, uint64_t end)
{
    return bitmap_next(map, from, end, true);
}

static inline uint64_t bitmap_count(const struct bitmap *map)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < bitmap_bytes(map->bits) / 8; i++)
        count += (uint64_t)__builtin_popcountll(__atomic_load_n(&map->words[i], __ATOMIC_RELAXED));
    return count;
}

#endif
