/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory as the tests of what is saved of it look at it. */
#ifndef TINE_TESTS_VMM_PAGES_H
#define TINE_TESTS_VMM_PAGES_H

#include "vmm/memory.h"

uint8_t *page_of(const struct guest_memory *memory, uint64_t number);
/* All of memory of one region; owner: caller. */
uint8_t *remember(const struct guest_memory *memory);

#endif
