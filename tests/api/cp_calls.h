/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of files over the API, by the instance "vm". */
#ifndef TINE_TESTS_API_CP_CALLS_H
#define TINE_TESTS_API_CP_CALLS_H

#include <jansson.h>

#include "daemon.h"

/* Opens the WebSocket and says the request. */
int cp_open(const struct daemon *daemon, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The one text that answers a copy into the guest, and a proper close behind it. Closes `fd`.
 * Owner: caller. */
json_t *cp_result(int fd);
/* The copy into the guest failed, and its error holds `part`. Closes `fd`. */
void expect_unwritten(int fd, const char *part);

#endif
