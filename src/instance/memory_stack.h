/* SPDX-License-Identifier: Apache-2.0 */
/* A memory image of several files: "memory" and the layers over it (stack/layer_stack.h), in
 * snapshot/ or base/. The row says how many layers there are and which is the topmost: without that
 * one the rest would be an older image, whole. */
#ifndef TINE_INSTANCE_MEMORY_STACK_H
#define TINE_INSTANCE_MEMORY_STACK_H

#include "instance/host.h"

/* The name of a file of an image: "memory" (0), "memory.1", ... */
struct memory_name {
    char text[24];
};
struct memory_name memory_name(unsigned number);

/* Of the image in `directory`, whose memory file messages call `label`: 0 if it is what the row
 * says, ERROR_CORRUPT if not. Data is not looked at. */
int memory_stack_check(int directory, const char *label, const struct instance_record *record,
                       struct error *err);
/* Says in the record what there is. */
int memory_stack_note(int directory, const char *label, struct instance_record *record,
                      struct error *err);
/* The record has an image of so many layers from now on, the topmost with that id. */
void memory_stack_set(struct instance_record *record, unsigned layers, uint64_t top);

#endif
