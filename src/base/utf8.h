/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_BASE_UTF8_H
#define TINE_BASE_UTF8_H

#include <stddef.h>

/* What takes the place of bytes that are not UTF-8: U+FFFD. */
#define UTF8_REPLACEMENT "\xef\xbf\xbd"

/* The length (1 to 4) of the well-formed sequence at the start of `text`, of which `length` bytes
 * are there; 0 if it is malformed or cut (RFC 3629: no overlong forms, no surrogates). */
size_t utf8_sequence(const char *text, size_t length);

#endif
