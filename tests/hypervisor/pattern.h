/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest's memory or disk holds after it was filled with a token: every page tells the token
 * and its own place, so that a page of another owner, of an earlier time or of another place is
 * seen. Some pages are zero, others for every token: a hole must not let an older page shine
 * through. Token 0 is what was never filled: zeros. */
#ifndef TINE_TESTS_PATTERN_H
#define TINE_TESTS_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#define PATTERN_PAGE         4096u
#define PATTERN_MEMORY_FIRST 2u /* pages of guest memory that are filled */
#define PATTERN_MEMORY_END   256u
#define PATTERN_DISK_FIRST   1u /* the same of a writable disk */
#define PATTERN_DISK_END     17u

void pattern_make(uint64_t token, uint64_t page, uint8_t data[PATTERN_PAGE]);
bool pattern_holds(uint64_t token, uint64_t page, const uint8_t data[PATTERN_PAGE]);

#endif
