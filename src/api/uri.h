/* SPDX-License-Identifier: Apache-2.0 */
/* The request target, taken apart before anything is decoded, so that an encoded slash stays part
 * of its segment. */
#ifndef TINE_API_URI_H
#define TINE_API_URI_H

#include <stdbool.h>
#include <stddef.h>

#define URI_MAX_SEGMENTS   8
#define URI_MAX_PARAMETERS 256

struct uri_parameter {
    const char *name, *value; /* decoded; value is "" if there is no '=' */
};

struct uri {
    char *text; /* the storage of everything below */
    const char *segments[URI_MAX_SEGMENTS];
    size_t segment_count;
    struct uri_parameter parameters[URI_MAX_PARAMETERS];
    size_t parameter_count;
};

/* Takes "/a/b%2Fc?x=1&y" apart. -EINVAL: a bad escape, an encoded NUL, or more parts than fit;
 * -ENOMEM. uri_release() in every case. */
int uri_parse(struct uri *uri, const char *target);
void uri_release(struct uri *uri);

/* Percent-decodes in place. -EINVAL: a bad escape or an encoded NUL. */
int uri_decode(char *text);
/* The decoded segments from that one on, with '/' between them. Owner: caller; NULL: no memory. */
char *uri_rest(const struct uri *uri, size_t first);

/* The value of a query parameter, or NULL. */
const char *uri_query(const struct uri *uri, const char *name);

#endif
