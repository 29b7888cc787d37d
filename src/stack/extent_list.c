/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/extent_list.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define FIRST_ROOM 16u

void extent_list_free(struct extent_list *list)
{
    free(list->pieces);
    *list = (struct extent_list){.pieces = NULL};
}

static void cleanup_extent_list(struct extent_list *list)
{
    extent_list_free(list);
}

static bool continues(const struct extent_piece *last, const struct extent_piece *piece)
{
    return last->layer == piece->layer &&
           (piece->layer == EXTENT_ZERO || last->file_page + last->count == piece->file_page);
}

int extent_list_add(struct extent_list *list, const struct extent_piece *piece, const char *label,
                    struct error *err)
{
    if (list->count > 0 && continues(&list->pieces[list->count - 1], piece)) {
        list->pieces[list->count - 1].count += piece->count;
        return 0;
    }
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : FIRST_ROOM;
        struct extent_piece *pieces = reallocarray(list->pieces, room, sizeof(*pieces));
        if (!pieces)
            return error_errno(err, ENOMEM, label, "open %s", label);
        list->pieces = pieces;
        list->room = room;
    }
    list->pieces[list->count++] = *piece;
    return 0;
}

/* Appends what `from` has of [page, end); `*at` is the piece of it to begin with, and is moved on.
 */
static int add_part(struct extent_list *list, const struct extent_list *from, size_t *at,
                    uint64_t page, uint64_t end, const char *label, struct error *err)
{
    int r = 0;
    while (r == 0 && page < end) {
        const struct extent_piece *piece = &from->pieces[*at];
        uint64_t piece_end = (uint64_t)piece->page + piece->count;
        if (piece_end <= page) {
            ++*at;
            continue;
        }
        uint64_t part_end = piece_end < end ? piece_end : end;
        const struct extent_piece part = {.page = (uint32_t)page,
                                          .count = (uint32_t)(part_end - page),
                                          .layer = piece->layer,
                                          .file_page = piece->file_page + (page - piece->page)};
        r = extent_list_add(list, &part, label, err);
        page = part_end;
    }
    return r;
}

static struct extent_piece piece_of(const struct layer_run *run, uint32_t number)
{
    bool data = run->kind == LAYER_DATA;
    return (struct extent_piece){.page = (uint32_t)run->page,
                                 .count = (uint32_t)run->count,
                                 .layer = data ? number : EXTENT_ZERO,
                                 .file_page = data ? run->offset / LAYER_PAGE_SIZE : 0};
}

int extent_list_overlay(struct extent_list *list, uint64_t pages, const struct layer *layer,
                        uint32_t number, const char *label, struct error *err)
{
    _cleanup_(extent_list) struct extent_list merged = {.pieces = NULL};
    size_t at = 0;
    int r = 0;
    for (uint64_t page = 0; r == 0 && page < pages;) {
        struct layer_run run = layer_find(layer, page);
        const struct extent_piece piece = piece_of(&run, number);
        r = run.kind == LAYER_ABSENT
                ? add_part(&merged, list, &at, page, page + run.count, label, err)
                : extent_list_add(&merged, &piece, label, err);
        page += run.count;
    }
    if (r < 0)
        return r;
    extent_list_free(list);
    *list = merged;
    merged = (struct extent_list){.pieces = NULL};
    return 0;
}

const struct extent_piece *extent_list_find(const struct extent_list *list, uint64_t page)
{
    size_t low = 0, high = list->count - 1;
    while (low < high) { /* the last piece that does not begin behind the page */
        size_t middle = high - (high - low) / 2;
        if (list->pieces[middle].page <= page)
            low = middle;
        else
            high = middle - 1;
    }
    return &list->pieces[low];
}
