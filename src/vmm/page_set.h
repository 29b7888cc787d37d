/* SPDX-License-Identifier: Apache-2.0 */
/* A set of pages of guest memory, one bit each, by their place in a memory file. A set that was not
 * made ({0}) is empty. What nobody put in costs no memory. */
#ifndef TINE_VMM_PAGE_SET_H
#define TINE_VMM_PAGE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct page_set {
    uint64_t *words; /* bit n % 64 of word n / 64; NULL: not made */
    uint64_t pages;
};

int page_set_make(struct page_set *set, uint64_t pages, struct error *err);
void page_set_free(struct page_set *set);

static inline bool page_set_made(const struct page_set *set)
{
    return set->words != NULL;
}

/* `first` and all of `count` lie within the set. */
void page_set_add(const struct page_set *set, uint64_t first, uint64_t count);
bool page_set_has(const struct page_set *set, uint64_t page);
/* Adds a bitmap of `count` pages (64 to a word, as KVM writes it) for the pages from `first` on, a
 * multiple of 64. */
void page_set_merge(const struct page_set *set, uint64_t first, const uint64_t *bitmap,
                    uint64_t count);
void page_set_clear(const struct page_set *set);

#endif
