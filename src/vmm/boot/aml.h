/* SPDX-License-Identifier: Apache-2.0 */
/* A small emitter of ACPI Machine Language (ACPI 6.4, chapter 20): bytes go into a buffer of the
 * caller's; what has a length that is known only later is opened and closed. */
#ifndef TINE_VMM_BOOT_AML_H
#define TINE_VMM_BOOT_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
    uint8_t *data; /* borrowed */
    size_t length, capacity;
    bool failed; /* did not fit, or was given something it can't encode; told at the end */
};

void aml_init(struct aml *aml, void *buffer, size_t capacity);

/* Raw bytes, for what the functions below don't have. */
void aml_bytes(struct aml *aml, const void *bytes, size_t count);

/* ---- names and values ---- */

/* A path as ASL writes it: "VGEN", "\\_SB_", "\\_SB_.VGEN"; short segments are padded with '_'. */
void aml_path(struct aml *aml, const char *path);
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
/* "PNP0501" as the compressed 32-bit id: EISAID("PNP0501"). */
void aml_eisa_id(struct aml *aml, const char *id);
/* The method argument Arg<n>, 0 to 6. */
void aml_argument(struct aml *aml, unsigned n);

/* ---- objects; the returned mark goes to aml_close() ---- */

/* Name (path, <the value that is emitted next>). */
void aml_name(struct aml *aml, const char *path);
size_t aml_open_scope(struct aml *aml, const char *path);
size_t aml_open_device(struct aml *aml, const char *name);
/* A serialized method. */
size_t aml_open_method(struct aml *aml, const char *name, unsigned arguments);
/* Package (count) { <the values that follow> }. */
size_t aml_open_package(struct aml *aml, uint8_t count);
/* If (LEqual (<two operands that follow>)) { <the terms behind them> }. */
size_t aml_open_if_equal(struct aml *aml);
void aml_notify(struct aml *aml, const char *path, uint64_t value);
void aml_close(struct aml *aml, size_t mark);

/* ---- resources: emitted into an `aml` of their own, then put into _CRS ---- */

/* Memory32Fixed (ReadWrite, base, length). */
void aml_memory32(struct aml *resources, uint32_t base, uint32_t length);
/* IO (Decode16, port, port, 1, length). */
void aml_io(struct aml *resources, uint16_t port, uint8_t length);
/* Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { gsi }. */
void aml_interrupt(struct aml *resources, uint32_t gsi);
/* Name (_CRS, ResourceTemplate () { resources }). */
void aml_crs(struct aml *aml, const struct aml *resources);

#endif
