/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_CLI_NEAREST_H
#define TINE_CLI_NEAREST_H

#include <stddef.h>

/* The word that was most likely meant: at most two letters added, left out or exchanged, or `word`
 * is its beginning. NULL if none is near. */
const char *nearest_word(const char *word, const char *const *words, size_t count);

#endif
