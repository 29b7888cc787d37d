/* SPDX-License-Identifier: Apache-2.0 */
/* How many pages to fill at a fault: many where the peer goes on page by page, one where it jumps,
 * some where it comes back to places it was near before. */
#ifndef TINE_PAGER_RUN_LENGTH_H
#define TINE_PAGER_RUN_LENGTH_H

#include <stdbool.h>
#include <stdint.h>

#define RUN_STREAMS 8u
#define RUN_MAX     64u /* pages: the last length that was measured to pay */
#define RUN_JUMP    16u /* the longest after a jump */

struct run_length {
    struct {
        uint64_t next; /* the page after the last run */
        uint32_t length;
    } streams[RUN_STREAMS];
    uint32_t oldest; /* the stream that gives way */
    uint32_t jump;   /* length after a jump */
};

void run_length_init(struct run_length *runs);
/* The length for a fault at `page`. `near`: a page beside it is present. */
uint32_t run_length_next(struct run_length *runs, uint64_t page, bool near);
/* The length now after a jump; for statistics. */
static inline uint32_t run_length_now(const struct run_length *runs)
{
    return runs->jump;
}

#endif
