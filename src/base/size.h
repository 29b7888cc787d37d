/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as people and the REST API write them: "512MB" in, "512.0 MB" out. */
#ifndef TINE_BASE_SIZE_H
#define TINE_BASE_SIZE_H

#include <stdint.h>

#include "base/error.h"

/* Parses decimal digits, optional spaces, and a unit in any case: none or B, K/KB/KiB, M, G, T, P,
 * E, all powers of 1024. No sign, no fraction; "Kb", "Mb" ... are refused as bits. ERROR_INVALID
 * names the text and the cause. */
int size_parse(const char *text, uint64_t *bytes, struct error *err);

/* One decimal and the largest unit that is strictly below the value: 2 GiB is "2.0 GB", 1 GiB is
 * "1024.0 MB", zero is "0 B". */
void size_format(uint64_t bytes, char text[32]);

#endif
