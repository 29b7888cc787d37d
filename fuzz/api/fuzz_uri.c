/* SPDX-License-Identifier: Apache-2.0 */
/* A request target: taken apart, put together again, and its filters applied. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/tags.h"
#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uri uri;
    _cleanup_(free) char *target = strndup((const char *)data, size);
    int r = uri_parse(&uri, target);
    if (r == 0) {
        _cleanup_(free) char *rest = uri_rest(&uri, 1);
        if (!rest || strlen(rest) > strlen(target) || uri.segment_count > URI_MAX_SEGMENTS)
            abort();
        uri_decode(rest);
        tags_match("{\"team\":\"backend\",\"\":\"x\"}", &uri);
        tags_match("", &uri);
        uri_query(&uri, "state");
    } else if (r != -EINVAL) {
        abort();
    }
    uri_release(&uri);
    return 0;
}
