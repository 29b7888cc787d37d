/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/run_length.h"

#include <string.h>

void run_length_init(struct run_length *runs)
{
    memset(runs, 0, sizeof(*runs));
    for (unsigned i = 0; i < RUN_STREAMS; i++)
        runs->streams[i].next = UINT64_MAX;
    runs->jump = RUN_JUMP;
}

static uint32_t clamp(uint32_t length, uint32_t max)
{
    if (length < 1)
        return 1;
    return length > max ? max : length;
}

/* A thread that runs ahead of its own last run may have skipped a few pages. */
static bool follows(uint64_t next, uint64_t page, uint32_t length)
{
    return page >= next && page - next <= length / 4;
}

static uint32_t stream_go_on(struct run_length *runs, unsigned index, uint64_t page)
{
    uint32_t length = clamp(runs->streams[index].length * 2, RUN_MAX);
    runs->streams[index].length = length;
    runs->streams[index].next = page + length;
    runs->jump = clamp(runs->jump * 2, RUN_JUMP);
    return length;
}

uint32_t run_length_next(struct run_length *runs, uint64_t page, bool near)
{
    for (unsigned i = 0; i < RUN_STREAMS; i++) {
        if (runs->streams[i].next != UINT64_MAX &&
            follows(runs->streams[i].next, page, runs->streams[i].length))
            return stream_go_on(runs, i, page);
    }
    runs->jump = clamp(near ? runs->jump * 2 : runs->jump / 2, RUN_JUMP);
    runs->streams[runs->oldest].next = page + runs->jump;
    runs->streams[runs->oldest].length = runs->jump;
    runs->oldest = (runs->oldest + 1) % RUN_STREAMS;
    return runs->jump;
}
