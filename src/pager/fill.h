/* SPDX-License-Identifier: Apache-2.0 */
/* Filling pages of a session, by page of its image. Nothing here changes a page that is present. */
#ifndef TINE_PAGER_FILL_H
#define TINE_PAGER_FILL_H

#include <stdbool.h>
#include <stdint.h>

#include "pager/session.h"

enum fill_status {
    FILL_DONE,
    FILL_AGAIN,  /* events wait to be read */
    FILL_LATER,  /* the source has begun to fetch it: again when something has arrived */
    FILL_FAILED, /* the image can't be read; `err` says why */
    FILL_OVER,   /* the session is not being served any more */
};

struct fill_result {
    enum fill_status status;
    uint64_t filled; /* pages that were missing and are there now */
};

/* Fills what is missing in [page, end), all in one region, in as few calls as its kinds of pages
 * allow. Pages that the bitmap calls present are skipped. With `skip_zero` pages that read as zero
 * anyway are left missing. */
struct fill_result fill_pages(struct session *session, uint64_t page, uint64_t end, bool skip_zero,
                              struct error *err);

/* Fills what is missing in the ranges, each in one region, with the help of idle workers, and wakes
 * who waits there. What can't be filled so is left: fill_pages() finds out why. The number of pages
 * filled. */
uint64_t fill_together(struct session *session, const struct page_range *ranges, unsigned count);

#endif
