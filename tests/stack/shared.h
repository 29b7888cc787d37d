/* SPDX-License-Identifier: Apache-2.0 */
/* Two directories, and an image that is shared from "memory" in one as "fork" in the other. */
#ifndef TINE_TESTS_STACK_SHARED_H
#define TINE_TESTS_STACK_SHARED_H

#include "fixture.h"
#include "stack/stack.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)

/* Holes at the start, in the middle and at the end; one extent is no multiple of a block. */
#define MIXED_COUNT 3
extern const struct extent mixed[MIXED_COUNT];
#define MIXED_SIZE (3 * MIB + 123)
/* Data of `mixed`, plus what block sizes and extent maps add. */
#define MIXED_ALLOCATED (320 * KIB)

/* Both on the file system under test, which is the state. */
struct pair pair_of(void **state);
/* Two file systems: the one under test is where the copy goes. */
struct pair pair_across(void **state);

void share_fails(const struct pair *pair, int errnum, const char *words);
struct stack_result share_works(const struct pair *pair);

#endif
