/* SPDX-License-Identifier: Apache-2.0 */
/* How many pages to fill at a fault: many where the peer goes on page by page, one where it jumps,
 * some where it comes back to places it was near before. And how many more to fill behind its back
 * where it has gone on for long. */
#ifndef TINE_PAGER_RUN_LENGTH_H
#define TINE_PAGER_RUN_LENGTH_H

#include <stdbool.h>
#include <stdint.h>

#define RUN_STREAMS 8u
#define RUN_MAX     32u  /* pages: the last length that was measured to pay */
#define RUN_JUMP    8u   /* the longest after a jump */
#define RUN_NEAR    3u   /* jumps to the neighbourhood one after the other, before it grows */
#define RUN_PROVEN  128u /* a stream that went on for so many pages is served so many at once, */
#define RUN_AHEAD   512u /* and read ahead of, as far as it has come, but not farther than this */

struct run_length {
    struct run_stream {
        uint64_t next; /* the page after all that is filled or planned */
        uint32_t length, ahead;
        uint32_t total; /* pages that it went on for, at most RUN_AHEAD */
    } streams[RUN_STREAMS];
    uint32_t oldest; /* the stream that gives way */
    uint32_t jump;   /* length after a jump */
    uint32_t near;   /* jumps to the neighbourhood, one after the other */
};

struct run_plan {
    uint32_t length;     /* from the fault on, at once */
    uint64_t ahead, end; /* pages [ahead, end) soon; none if they are the same */
};

void run_length_init(struct run_length *runs);
/* The plan for a fault at `page`. `near`: a page beside it is present. */
struct run_plan run_length_next(struct run_length *runs, uint64_t page, bool near);
/* The length now after a jump; for statistics. */
static inline uint32_t run_length_now(const struct run_length *runs)
{
    return runs->jump;
}

#endif
