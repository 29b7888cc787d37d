/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/regions.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "pager/uffd.h"

#define ADDRESS_LIMIT (1ull << 56) /* five-level page tables */

static int invalid(struct error *err, size_t index, const char *why)
{
    return error_set(err, ERROR_INVALID, EINVAL, "region %zu %s", index, why);
}

static int number_read(const json_t *object, const char *name, size_t index, uint64_t *value,
                       struct error *err)
{
    const json_t *member = json_object_get(object, name);
    if (!member)
        return error_set(err, ERROR_INVALID, EINVAL, "region %zu has no field '%s'", index, name);
    if (!json_is_integer(member) || json_integer_value(member) < 0)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "region %zu: field '%s' is not a number that is possible", index, name);
    *value = (uint64_t)json_integer_value(member);
    return 0;
}

/* Both spellings may be there, then they agree. */
static int page_size_check(const json_t *object, size_t index, struct error *err)
{
    static const char *const spellings[] = {"page_size", "page_size_kib"};
    bool found = false;
    for (size_t i = 0; i < 2; i++) {
        uint64_t size = 0;
        if (!json_object_get(object, spellings[i]))
            continue;
        int r = number_read(object, spellings[i], index, &size, err);
        if (r < 0)
            return r;
        if (size != PAGE_SIZE)
            return error_set(err, ERROR_INVALID, EINVAL,
                             "region %zu: %s %" PRIu64 " is not supported, only %u", index,
                             spellings[i], size, PAGE_SIZE);
        found = true;
    }
    return found ? 0 : invalid(err, index, "has no field 'page_size'");
}

static int region_read(const json_t *object, size_t index, struct region *region, struct error *err)
{
    if (!json_is_object(object))
        return invalid(err, index, "is not an object");
    int r = number_read(object, "base_host_virt_addr", index, &region->base, err);
    if (r == 0)
        r = number_read(object, "size", index, &region->size, err);
    if (r == 0)
        r = number_read(object, "offset", index, &region->offset, err);
    return r < 0 ? r : page_size_check(object, index, err);
}

static int table_read(const json_t *array, struct region_table *table, struct error *err)
{
    if (!json_is_array(array))
        return error_set(err, ERROR_INVALID, EINVAL, "the regions are not an array");
    size_t count = json_array_size(array);
    if (count > REGIONS_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "%zu regions, at most %u are possible", count,
                         REGIONS_MAX);
    memset(table, 0, sizeof(*table));
    for (size_t i = 0; i < count; i++) {
        int r = region_read(json_array_get(array, i), i, &table->regions[i], err);
        if (r < 0)
            return r;
    }
    table->count = (uint32_t)count;
    return 0;
}

int regions_parse(const char *text, size_t length, struct region_table *table, struct error *err)
{
    json_error_t cause;
    json_t *array = json_loadb(text, length, JSON_REJECT_DUPLICATES, &cause);
    if (!array && json_error_code(&cause) == json_error_premature_end_of_input)
        return -EAGAIN;
    if (!array)
        return error_set(err, ERROR_INVALID, EINVAL, "the regions are not valid JSON: %s",
                         cause.text);
    int r = table_read(array, table, err);
    json_decref(array);
    return r;
}

static int region_check(const struct region *region, size_t index, uint64_t image_size,
                        struct error *err)
{
    if (region->size == 0)
        return invalid(err, index, "is empty");
    if ((region->base | region->size | region->offset) % PAGE_SIZE != 0)
        return invalid(err, index, "is not page aligned");
    if (region->base < PAGE_SIZE || region->base >= ADDRESS_LIMIT ||
        region->size > ADDRESS_LIMIT - region->base)
        return invalid(err, index, "is outside the address space");
    if (region->offset > image_size || region->size > image_size - region->offset)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "region %zu ends at %" PRIu64 " in the image, which has %" PRIu64 " bytes",
                         index, region->offset + region->size, image_size);
    return 0;
}

static bool ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

static bool regions_overlap(const struct region *a, const struct region *b)
{
    return ranges_overlap(a->base, a->size, b->base, b->size) ||
           ranges_overlap(a->offset, a->size, b->offset, b->size);
}

int regions_check(const struct region_table *table, uint64_t image_size, struct error *err)
{
    if (table->count < 1 || table->count > REGIONS_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "%u regions, 1 to %u are possible",
                         table->count, REGIONS_MAX);
    for (size_t i = 0; i < table->count; i++) {
        int r = region_check(&table->regions[i], i, image_size, err);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < table->count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (regions_overlap(&table->regions[i], &table->regions[k]))
                return error_set(err, ERROR_INVALID, EINVAL, "regions %zu and %zu overlap", k, i);
        }
    }
    return 0;
}

const struct region *regions_at(const struct region_table *table, uint64_t address)
{
    for (uint32_t i = 0; i < table->count; i++) {
        const struct region *region = &table->regions[i];
        if (address >= region->base && address - region->base < region->size)
            return region;
    }
    return NULL;
}

const struct region *regions_of_page(const struct region_table *table, uint64_t page)
{
    uint64_t offset = page << PAGE_SHIFT;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct region *region = &table->regions[i];
        if (offset >= region->offset && offset - region->offset < region->size)
            return region;
    }
    return NULL;
}

static int append(struct region_table *table, uint64_t base, uint64_t size, uint64_t offset)
{
    if (size == 0)
        return 0;
    if (table->count == REGIONS_MAX)
        return -E2BIG;
    table->regions[table->count++] = (struct region){.base = base, .size = size, .offset = offset};
    return 0;
}

/* Appends what is left of `region` without [start, end), and puts what was cut out at `to` if it
 * goes somewhere. */
static int cut(struct region_table *out, const struct region *region, uint64_t start, uint64_t end,
               const uint64_t *to)
{
    uint64_t region_end = region->base + region->size;
    uint64_t from = start > region->base ? start : region->base;
    uint64_t until = end < region_end ? end : region_end;
    if (from >= until)
        return append(out, region->base, region->size, region->offset);
    int r = append(out, region->base, from - region->base, region->offset);
    if (r == 0)
        r = append(out, until, region_end - until, region->offset + (until - region->base));
    if (r == 0 && to)
        r = append(out, *to + (from - start), until - from, region->offset + (from - region->base));
    return r;
}

static int cut_all(struct region_table *table, uint64_t start, uint64_t end, const uint64_t *to)
{
    struct region_table out = {0};
    for (uint32_t i = 0; i < table->count; i++) {
        int r = cut(&out, &table->regions[i], start, end, to);
        if (r < 0)
            return r;
    }
    *table = out;
    return 0;
}

int regions_unmap(struct region_table *table, uint64_t start, uint64_t end)
{
    return cut_all(table, start, end, NULL);
}

int regions_move(struct region_table *table, uint64_t from, uint64_t to, uint64_t length)
{
    return cut_all(table, from, from + length, &to);
}
