/* SPDX-License-Identifier: Apache-2.0 */
/* What a session must not lose when its pager dies: a sealed memfd that its creator holds beside a
 * duplicate of the userfaultfd. Whoever has both can serve on.
 *
 * Events are read(2) from the userfaultfd straight into `journal`: the kernel lets the peer's
 * thread go on as soon as an event is read, so a copy made afterwards could be one that a killed
 * pager never made. The next pager applies what it finds there, which does no harm a second time.
 *
 * The next pager may be of another version. What a version has of the header stays where it is for
 * ever, and a later one adds behind it, where an older one left zeros. A pager serves a block of
 * any version that it knows and leaves it at that version, so that whoever could take it over still
 * can; it refuses all others. */
#ifndef TINE_PAGER_SESSION_BLOCK_H
#define TINE_PAGER_SESSION_BLOCK_H

#include <linux/userfaultfd.h>
#include <stdint.h>

#include "pager/bitmap.h"
#include "pager/page_source.h"
#include "pager/regions.h"
#include "pager/uffd.h"

#define SESSION_BLOCK_VERSION 2u
#define SESSION_BLOCK_OLDEST  1u /* that is still read */
#define SESSION_HEADER_SIZE   8192u
#define SESSION_KEY_SIZE      128u
#define SESSION_MAX_OVERLAYS  16u
#define SESSION_JOURNAL_SIZE  64u

/* Those that a pager reads. It makes blocks of the newest. */
struct session_block_versions {
    uint32_t oldest, newest;
};

/* Only counted, never relied upon; they go on after a take-over. */
struct session_counters {
    uint64_t faults;                            /* messages */
    uint64_t copied_pages;                      /* by UFFDIO_COPY */
    uint64_t zero_pages;                        /* by UFFDIO_ZEROPAGE */
    uint64_t removed_pages;                     /* that the peer gave back */
    uint64_t prefetched_pages, completed_pages; /* of the copied and zero ones */
    uint64_t already_present, retried, takeovers;
};

struct session_block_header {
    /* Written once, under `checksum`. */
    uint8_t magic[8]; /* "TINEPAGE" */
    uint32_t version;
    uint32_t overlay_count;
    uint64_t total_size; /* of the memfd */
    struct page_source_identity image;
    uint64_t overlay_pages[SESSION_MAX_OVERLAYS];
    char cache_key[SESSION_KEY_SIZE];
    uint64_t checksum; /* XXH3-64 of all before it */
    /* Alive. Of the two tables `active` is the one that counts, so that a change is one store. */
    uint32_t active;
    uint32_t handshaken;
    uint64_t owner; /* the process that serves it, see process_mark(); 0: nobody */
    struct region_table tables[2];
    struct session_counters counters;
    struct uffd_msg journal[SESSION_JOURNAL_SIZE];
    /* Since version 2. */
    uint64_t table_checksums[2]; /* XXH3-64 of each table */
    uint64_t completed;          /* `checksum`, when its VM needs no pager any more */
};

/* A mapped block. The rooms behind the header: a page per overlay, and two bitmaps by page of the
 * image. */
struct session_block {
    int fd;
    struct session_block_header *header;
    uint8_t *overlays;
    struct bitmap present; /* a hint: the kernel knows better */
    struct bitmap removed; /* given back at some time: zero for ever */
};

struct session_block_config {
    uint32_t version;
    struct page_source_identity image;
    const char *cache_key;
    const uint64_t *overlay_pages; /* `overlay_count` page numbers of the image */
    const uint8_t *overlay_data;   /* a page each */
    uint32_t overlay_count;
};

int session_block_create(struct session_block *block, const struct session_block_config *config,
                         struct error *err);
/* What a block that another pager made is to be. */
struct session_block_expected {
    struct session_block_versions versions;
    struct page_source_identity image;
    const char *cache_key;
};

/* Maps it; takes `fd` over, also on failure. Everything in it is checked, and that it is what was
 * expected: -EPROTONOSUPPORT and ERROR_UNSUPPORTED if it is of another version. ERROR_STATE if the
 * process that served it last has not ended and not given it up. */
int session_block_adopt(struct session_block *block, int fd,
                        const struct session_block_expected *expected, struct error *err);
/* Gives it up: another pager may take it over from now on. */
void session_block_release(struct session_block *block);

static inline const struct region_table *session_block_regions(const struct session_block *block)
{
    return &block->header->tables[block->header->active];
}
/* Replaces the table as a whole. */
void session_block_set_regions(struct session_block *block, const struct region_table *table);

/* Its VM needs no pager any more; whoever has the block can tell, also when its pager has ended. */
void session_block_complete(struct session_block *block);
/* session_completed.c: false also if `fd` is no block. */
bool session_block_completed(int fd);

/* The content of an overlay page, or NULL if `page` of the image has none. */
const uint8_t *session_block_overlay(const struct session_block *block, uint64_t page);

#endif
