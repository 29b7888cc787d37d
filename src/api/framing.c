/* SPDX-License-Identifier: Apache-2.0 */
#include "api/framing.h"

#include <strings.h>

static enum MHD_Result count(void *data, enum MHD_ValueKind kind, const char *name,
                             const char *value)
{
    unsigned *ends = data;
    if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0 ||
        strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0)
        (*ends)++;
    return MHD_YES;
}

void framing_check(struct MHD_Connection *connection, struct problem *problem)
{
    unsigned ends = 0;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, count, &ends);
    if (ends > 1)
        problem_set(problem, 400, PROBLEM_BAD_REQUEST,
                    "more than one Content-Length or Transfer-Encoding");
}
