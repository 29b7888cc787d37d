/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_PAGER_API_PRIVATE_H
#define TINE_PAGER_API_PRIVATE_H

#include <jansson.h>

#include "pager/api.h"

/* A request on its way through a handler. */
struct api_call {
    struct pager *pager;
    struct session *session; /* for routes with an id */
    const json_t *body;      /* NULL: none was sent */
    struct http_descriptors *descriptors;
    struct http_answer *answer; /* for descriptors to send */
    json_t *result;             /* set by the handler (ownership passes): 200; left NULL: 204 */
};

struct route {
    const char *method;
    const char *path;
    const char *rest; /* behind the id that follows `path`; NULL: there is no id */
    int (*handle)(struct api_call *call, struct error *err);
};

int get_health(struct api_call *call, struct error *err);
int get_stats(struct api_call *call, struct error *err);
int post_drain(struct api_call *call, struct error *err);
int post_sessions(struct api_call *call, struct error *err);
int get_session(struct api_call *call, struct error *err);
int delete_session(struct api_call *call, struct error *err);
int get_descriptors(struct api_call *call, struct error *err);
int post_complete(struct api_call *call, struct error *err);

/* What /stats says of a session; NULL when out of memory. */
json_t *session_json(struct session *session);

#endif
