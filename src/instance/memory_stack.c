/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/memory_stack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "stack/layer_stack.h"

struct memory_name memory_name(unsigned number)
{
    struct memory_name name;
    layer_stack_format(name.text, sizeof(name.text), SNAPSHOT_MEMORY, number);
    return name;
}

void memory_stack_set(struct instance_record *record, unsigned layers, uint64_t top)
{
    record->memory_layers = layers;
    record->memory_top[0] = '\0';
    if (layers > 0)
        snprintf(record->memory_top, sizeof(record->memory_top), "%016" PRIx64, top);
}

static int layer_id(int directory, const char *label, unsigned number, uint64_t image_size,
                    uint64_t *id, struct error *err)
{
    struct layer_info info;
    struct error cause = {0};
    const struct memory_name name = memory_name(number);
    char text[160];
    layer_stack_format(text, sizeof(text), label, number);
    const struct stack_file file = {directory, name.text, text};
    _cleanup_(layer) struct layer *layer = layer_open(&file, image_size, &cause);
    if (!layer) {
        if (err)
            *err = cause;
        return -cause.errnum;
    }
    layer_describe(layer, &info);
    *id = info.id;
    return 0;
}

/* What there is; the id of no layer is 0. */
static int find(int directory, const char *label, uint64_t image_size, unsigned *layers,
                uint64_t *id, struct error *err)
{
    const struct stack_file base = {directory, SNAPSHOT_MEMORY, label};
    int count = layer_stack_count(&base, err);
    *id = 0;
    *layers = count < 0 ? 0 : (unsigned)count;
    return count > 0 ? layer_id(directory, label, *layers, image_size, id, err) : count;
}

int memory_stack_note(int directory, const char *label, struct instance_record *record,
                      struct error *err)
{
    unsigned layers;
    uint64_t id;
    int r = find(directory, label, record->memory_bytes, &layers, &id, err);
    if (r == 0)
        memory_stack_set(record, layers, id);
    return r;
}

int memory_stack_check(int directory, const char *label, const struct instance_record *record,
                       struct error *err)
{
    unsigned layers;
    uint64_t id;
    char top[sizeof(record->memory_top)] = "";
    int r = find(directory, label, record->memory_bytes, &layers, &id, err);
    if (r < 0)
        return r;
    if (layers != record->memory_layers)
        return error_set(
            err, ERROR_CORRUPT, ENOENT, "%s has %u layers over it, and should have %u: %s", label,
            layers, record->memory_layers,
            layers < record->memory_layers ? "the last are missing" : "the last are not its own");
    if (layers > 0)
        snprintf(top, sizeof(top), "%016" PRIx64, id);
    if (strcmp(top, record->memory_top) != 0)
        return error_set(err, ERROR_CORRUPT, ESTALE,
                         "%s.%u is another layer (%s) than the one that was written (%s)", label,
                         layers, top, record->memory_top);
    return 0;
}
