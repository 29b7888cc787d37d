/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/page_set.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define WORD_PAGES 64u

static size_t words_of(uint64_t pages)
{
    return (size_t)((pages + WORD_PAGES - 1) / WORD_PAGES);
}

static size_t bytes_of(const struct page_set *set)
{
    return words_of(set->pages) * sizeof(set->words[0]);
}

int page_set_make(struct page_set *set, uint64_t pages, struct error *err)
{
    set->pages = pages;
    void *words = mmap(NULL, bytes_of(set), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (words == MAP_FAILED)
        return error_errno(err, errno, NULL, "keep a bit for each of %llu pages",
                           (unsigned long long)pages);
    set->words = words;
    return 0;
}

void page_set_free(struct page_set *set)
{
    if (set->words)
        munmap(set->words, bytes_of(set));
    *set = (struct page_set){0};
}

/* The bits [from, to) of a word. */
static uint64_t bits(uint64_t from, uint64_t to)
{
    uint64_t below_to = to == WORD_PAGES ? UINT64_MAX : (1ull << to) - 1;
    return below_to & ~((1ull << from) - 1);
}

void page_set_add(const struct page_set *set, uint64_t first, uint64_t count)
{
    while (count > 0) {
        uint64_t from = first % WORD_PAGES;
        uint64_t part = count < WORD_PAGES - from ? count : WORD_PAGES - from;
        set->words[first / WORD_PAGES] |= bits(from, from + part);
        first += part;
        count -= part;
    }
}

bool page_set_has(const struct page_set *set, uint64_t page)
{
    return set->words && (set->words[page / WORD_PAGES] >> page % WORD_PAGES & 1) != 0;
}

void page_set_merge(const struct page_set *set, uint64_t first, const uint64_t *bitmap,
                    uint64_t count)
{
    uint64_t *words = set->words + first / WORD_PAGES;
    for (size_t i = 0; i < words_of(count); i++) {
        if (bitmap[i] != 0) /* the rest of the set stays untouched memory */
            words[i] |= bitmap[i];
    }
}

void page_set_clear(const struct page_set *set)
{
    /* Gives the memory back too; can't fail for a mapping of our own. */
    if (set->words && madvise(set->words, bytes_of(set), MADV_DONTNEED) < 0)
        memset(set->words, 0, bytes_of(set));
}
