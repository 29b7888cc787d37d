/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: where the pages of an image lie, as a sorted list without gaps. */
#ifndef TINE_STACK_EXTENT_LIST_H
#define TINE_STACK_EXTENT_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "stack/layer.h"

#define EXTENT_ZERO UINT32_MAX

struct extent_piece {
    uint32_t page, count;
    uint32_t layer;     /* 0: the base; EXTENT_ZERO: of no file */
    uint64_t file_page; /* of that file */
};

struct extent_list {
    struct extent_piece *pieces;
    size_t count, room;
};

void extent_list_free(struct extent_list *list);
/* Appends what follows the last piece, to that piece if it lies behind it in its file too. `label`
 * is what it is done for. */
int extent_list_add(struct extent_list *list, const struct extent_piece *piece, const char *label,
                    struct error *err);
/* Lays a layer, which gets `number`, over the list of an image of so many pages. */
int extent_list_overlay(struct extent_list *list, uint64_t pages, const struct layer *layer,
                        uint32_t number, const char *label, struct error *err);
/* The piece that holds `page`. */
const struct extent_piece *extent_list_find(const struct extent_list *list, uint64_t page);

#endif
