/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_COMPRESSION_H
#define TINE_API_COMPRESSION_H

#include "api/fields.h"
#include "stack/compression.h"
#include "store/store.h"

/* The field "compression" of a request: true and `how` if it is wished for. `has_memory`: there is
 * something to compress. What is wrong with it is a problem of its own kind (400). */
bool compression_read(const struct fields *fields, bool has_memory, struct stack_compression *how);
/* The field "compression_delay"; without it 0. */
uint64_t compression_delay_read(const struct fields *fields);

/* Adds what is wished of a memory image and what came of it. `wish` is the row's text. */
void compression_add_json(json_t *object, const char *wish, const struct compression_status *status,
                          uint64_t memory_bytes);

#endif
