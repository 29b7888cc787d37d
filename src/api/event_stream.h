/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are server-sent events, from a source that hands them over one by one. */
#ifndef TINE_API_EVENT_STREAM_H
#define TINE_API_EVENT_STREAM_H

#include "api/request.h"

struct event_source {
    /* 1: the next value, which becomes an event's data (taken); 0: there is none yet; -ENODATA:
     * there will be none any more; another negative errno: the stream breaks off. Does not wait. */
    int (*next)(void *data, json_t **value);
    void (*release)(void *data);
    void *data;
};

/* Answers with a stream that goes on until the source has no more, the client goes away or tined
 * stops. The source is released in every case. */
enum MHD_Result reply_event_stream(struct request *request, const struct event_source *source);

#endif
