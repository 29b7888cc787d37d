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

/* A thread that runs ahead of its own last run may have skipped a few pages; one that is faster
 * than what is filled ahead of it asks for what is planned. */
static bool follows(const struct run_stream *stream, uint64_t page)
{
    return stream->next != UINT64_MAX && page + stream->ahead >= stream->next &&
           page <= stream->next + (stream->length < RUN_MAX ? stream->length : RUN_MAX) / 4;
}

static struct run_plan stream_go_on(struct run_length *runs, struct run_stream *stream,
                                    uint64_t page)
{
    bool proven = stream->total >= RUN_PROVEN;
    uint32_t length = proven ? RUN_PROVEN : clamp(stream->length * 2, RUN_MAX);
    uint64_t planned = stream->next > page + length ? stream->next : page + length;
    stream->total = clamp(stream->total + length, RUN_AHEAD);
    stream->ahead = proven ? stream->total : 0;
    stream->length = length;
    stream->next = planned;
    if (page + length + stream->ahead > planned)
        stream->next = page + length + stream->ahead;
    runs->jump = clamp(runs->jump * 2, RUN_JUMP);
    return (struct run_plan){.length = length, .ahead = planned, .end = stream->next};
}

struct run_plan run_length_next(struct run_length *runs, uint64_t page, bool near)
{
    for (unsigned i = 0; i < RUN_STREAMS; i++) {
        if (follows(&runs->streams[i], page))
            return stream_go_on(runs, &runs->streams[i], page);
    }
    /* Once may be chance: of pages that are touched at random many have neighbours in the end. */
    runs->near = near ? runs->near + 1 : 0;
    if (runs->near == 0 || runs->near >= RUN_NEAR)
        runs->jump = clamp(near ? runs->jump * 2 : runs->jump / 2, RUN_JUMP);
    runs->streams[runs->oldest] =
        (struct run_stream){.next = page + runs->jump, .length = runs->jump, .total = runs->jump};
    runs->oldest = (runs->oldest + 1) % RUN_STREAMS;
    return (struct run_plan){.length = runs->jump};
}
