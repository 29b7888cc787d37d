/* SPDX-License-Identifier: Apache-2.0 */
#include "pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

uint8_t *page_of(const struct guest_memory *memory, uint64_t number)
{
    uint8_t *page = guest_pointer(memory, number * GUEST_PAGE_SIZE, GUEST_PAGE_SIZE);
    assert_non_null(page);
    return page;
}

uint8_t *remember(const struct guest_memory *memory)
{
    uint8_t *bytes = malloc(memory->size);
    assert_non_null(bytes);
    memcpy(bytes, memory->regions[0].host, memory->size);
    return bytes;
}
