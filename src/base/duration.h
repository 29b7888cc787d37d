/* SPDX-License-Identifier: Apache-2.0 */
/* Durations in the syntax of the REST API: "30s", "1h30m", "1.5h", "250ms". */
#ifndef TINE_BASE_DURATION_H
#define TINE_BASE_DURATION_H

#include <stdint.h>

#include "base/error.h"

/* Parses an optional sign and one or more decimal numbers (a fraction is allowed), each with a unit
 * of ns us ms s m h; "0" needs none. The result is nanoseconds. ERROR_INVALID names the text and
 * the cause. */
int duration_parse(const char *text, int64_t *nanoseconds, struct error *err);

/* The canonical form: "5m0s", "1h30m0s", "1.5s", "250ms", "0s". */
void duration_format(int64_t nanoseconds, char text[40]);

#endif
