/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_FRAMING_H
#define TINE_API_FRAMING_H

#include <microhttpd.h>

#include "api/problem.h"

/* A request that says twice where its body ends is 400: a proxy before tined may have read the
 * other one, and what follows would be a request that it has not seen (RFC 9112, 6.3). The HTTP
 * library takes one of them. */
void framing_check(struct MHD_Connection *connection, struct problem *problem);

#endif
