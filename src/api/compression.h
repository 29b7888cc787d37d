/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_COMPRESSION_H
#define TINE_API_COMPRESSION_H

#include "api/fields.h"
#include "stack/compression.h"
#include "store/store.h"

/* The field "compression" of a request: true if it is there; then `*wish` is `how`, filled, or NULL
 * if it says that there is to be none. `has_memory`: there is something to compress. What is wrong
 * with it is a problem of its own kind (400). */
bool compression_read(const struct fields *fields, bool has_memory, struct stack_compression *how,
                      const struct stack_compression **wish);
/* The field "compression_delay": true if it is there. */
bool compression_delay_read(const struct fields *fields, uint64_t *delay_ns);

/* Adds what is wished of a memory image and what came of it. `wish` is the row's text. */
void compression_add_json(json_t *object, const char *wish, const struct compression_status *status,
                          uint64_t memory_bytes);

#endif
