/* SPDX-License-Identifier: Apache-2.0 */
/* Rates in the syntax of the REST API, as bytes per second. ERROR_INVALID names the text and the
 * cause. */
#ifndef TINE_BASE_RATE_H
#define TINE_BASE_RATE_H

#include <stdint.h>

#include "base/error.h"

/* Of a disk: a size (base/size.h), with "/s" or "ps" behind it or not: "100MB/s". */
int rate_parse_disk(const char *text, uint64_t *bytes, struct error *err);
/* Of a network: the same, or bits with powers of 1000, as "1Gbps" is. */
int rate_parse_network(const char *text, uint64_t *bytes, struct error *err);

#endif
