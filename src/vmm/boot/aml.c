/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/aml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Opcodes and prefixes: ACPI 6.4, table 20.1. */
#define AML_ZERO          0x00u
#define AML_ONE           0x01u
#define AML_NAME          0x08u
#define AML_BYTE          0x0au
#define AML_WORD          0x0bu
#define AML_DWORD         0x0cu
#define AML_STRING        0x0du
#define AML_QWORD         0x0eu
#define AML_SCOPE         0x10u
#define AML_BUFFER        0x11u
#define AML_PACKAGE       0x12u
#define AML_METHOD        0x14u
#define AML_DUAL_NAME     0x2eu
#define AML_MULTI_NAME    0x2fu
#define AML_EXTENDED      0x5bu
#define AML_DEVICE        0x82u /* after AML_EXTENDED */
#define AML_ARG0          0x68u
#define AML_NOTIFY        0x86u
#define AML_LEQUAL        0x93u
#define AML_IF            0xa0u
#define METHOD_SERIALIZED 0x08u

/* Resource descriptors: ACPI 6.4, section 6.4. */
#define RESOURCE_IO        0x47u
#define RESOURCE_END       0x79u
#define RESOURCE_MEMORY32  0x86u
#define RESOURCE_INTERRUPT 0x89u
#define IO_DECODE16        0x01u
#define MEMORY_READ_WRITE  0x01u
#define INTERRUPT_CONSUMER 0x01u
#define INTERRUPT_EDGE     0x02u /* bits 2 and 3 clear: active-high, exclusive */

#define SEGMENT_LENGTH 4u
#define SEGMENTS_MAX   8u

void aml_init(struct aml *aml, void *buffer, size_t capacity)
{
    *aml = (struct aml){.data = buffer, .capacity = capacity};
}

void aml_bytes(struct aml *aml, const void *bytes, size_t count)
{
    if (count > aml->capacity - aml->length) {
        aml->failed = true;
        return;
    }
    memcpy(aml->data + aml->length, bytes, count);
    aml->length += count;
}

static void aml_byte(struct aml *aml, unsigned value)
{
    uint8_t byte = (uint8_t)value;
    aml_bytes(aml, &byte, 1);
}

/* ---- names and values ---- */

/* One name segment of `length` characters, padded to four. */
static void aml_segment(struct aml *aml, const char *segment, size_t length)
{
    char padded[SEGMENT_LENGTH] = {'_', '_', '_', '_'};
    if (length == 0 || length > SEGMENT_LENGTH) {
        aml->failed = true;
        return;
    }
    memcpy(padded, segment, length);
    aml_bytes(aml, padded, sizeof(padded));
}

static unsigned count_segments(const char *path)
{
    unsigned count = 1;
    for (const char *dot = strchr(path, '.'); dot; dot = strchr(dot + 1, '.'))
        count++;
    return count;
}

void aml_path(struct aml *aml, const char *path)
{
    if (*path == '\\')
        aml_byte(aml, (unsigned char)*path++);
    unsigned count = count_segments(path);
    if (count > SEGMENTS_MAX)
        aml->failed = true;
    if (count == 2)
        aml_byte(aml, AML_DUAL_NAME);
    if (count > 2) {
        aml_byte(aml, AML_MULTI_NAME);
        aml_byte(aml, count);
    }
    for (unsigned i = 0; i < count; i++) {
        size_t length = strcspn(path, ".");
        aml_segment(aml, path, length);
        path += length + 1;
    }
}

void aml_integer(struct aml *aml, uint64_t value)
{
    if (value <= 1) {
        aml_byte(aml, value ? AML_ONE : AML_ZERO);
        return;
    }
    static const struct {
        uint8_t prefix, bytes;
    } forms[] = {{AML_BYTE, 1}, {AML_WORD, 2}, {AML_DWORD, 4}, {AML_QWORD, 8}};
    unsigned i = 0;
    while (i < 3 && value >> (8 * forms[i].bytes))
        i++;
    aml_byte(aml, forms[i].prefix);
    aml_bytes(aml, &value, forms[i].bytes); /* little-endian, as the host is */
}

void aml_string(struct aml *aml, const char *text)
{
    aml_byte(aml, AML_STRING);
    aml_bytes(aml, text, strlen(text) + 1);
}

void aml_eisa_id(struct aml *aml, const char *id)
{
    /* Three letters of five bits each and four hex digits, most significant byte first (ACPI 6.4,
     * section 19.3.4, EISAID). */
    char digits[5] = {0};
    if (strlen(id) != 7) {
        aml->failed = true;
        return;
    }
    memcpy(digits, id + 3, 4);
    uint32_t value = (uint32_t)strtoul(digits, NULL, 16);
    for (unsigned i = 0; i < 3; i++)
        value |= (uint32_t)((id[i] - '@') & 0x1f) << (26 - 5 * i);
    aml_integer(aml, __builtin_bswap32(value));
}

void aml_argument(struct aml *aml, unsigned n)
{
    aml_byte(aml, AML_ARG0 + n);
}

/* ---- objects ---- */

/* The length goes where the mark is; aml_close() makes room for it. */
void aml_close(struct aml *aml, size_t mark)
{
    uint8_t encoded[4];
    size_t bytes = 1;
    /* PkgLength counts itself: one byte up to 63, then four bits in the first byte and eight in
     * each further one (ACPI 6.4, section 20.2.4). */
    size_t content = aml->length - mark;
    if (content + 1 > 0x3f)
        bytes = content + 2 <= 0xfff ? 2 : content + 3 <= 0xfffff ? 3 : 4;
    size_t length = content + bytes;
    encoded[0] = (uint8_t)(bytes == 1 ? length : (bytes - 1) << 6 | (length & 0xf));
    for (size_t i = 1; i < bytes; i++)
        encoded[i] = (uint8_t)(length >> (8 * i - 4));
    if (bytes > aml->capacity - aml->length) {
        aml->failed = true;
        return;
    }
    memmove(aml->data + mark + bytes, aml->data + mark, content);
    memcpy(aml->data + mark, encoded, bytes);
    aml->length += bytes;
}

void aml_name(struct aml *aml, const char *path)
{
    aml_byte(aml, AML_NAME);
    aml_path(aml, path);
}

size_t aml_open_scope(struct aml *aml, const char *path)
{
    aml_byte(aml, AML_SCOPE);
    size_t mark = aml->length;
    aml_path(aml, path);
    return mark;
}

size_t aml_open_device(struct aml *aml, const char *name)
{
    aml_byte(aml, AML_EXTENDED);
    aml_byte(aml, AML_DEVICE);
    size_t mark = aml->length;
    aml_path(aml, name);
    return mark;
}

size_t aml_open_method(struct aml *aml, const char *name, unsigned arguments)
{
    aml_byte(aml, AML_METHOD);
    size_t mark = aml->length;
    aml_path(aml, name);
    aml_byte(aml, arguments | METHOD_SERIALIZED);
    return mark;
}

size_t aml_open_package(struct aml *aml, uint8_t count)
{
    aml_byte(aml, AML_PACKAGE);
    size_t mark = aml->length;
    aml_byte(aml, count);
    return mark;
}

size_t aml_open_if_equal(struct aml *aml)
{
    aml_byte(aml, AML_IF);
    size_t mark = aml->length;
    aml_byte(aml, AML_LEQUAL);
    return mark;
}

void aml_notify(struct aml *aml, const char *path, uint64_t value)
{
    aml_byte(aml, AML_NOTIFY);
    aml_path(aml, path);
    aml_integer(aml, value);
}

/* ---- resources ---- */

void aml_memory32(struct aml *resources, uint32_t base, uint32_t length)
{
    const uint8_t head[] = {RESOURCE_MEMORY32, 9, 0, MEMORY_READ_WRITE};
    aml_bytes(resources, head, sizeof(head));
    aml_bytes(resources, &base, sizeof(base));
    aml_bytes(resources, &length, sizeof(length));
}

void aml_io(struct aml *resources, uint16_t port, uint8_t length)
{
    const uint8_t head[] = {RESOURCE_IO, IO_DECODE16};
    const uint8_t tail[] = {1, length}; /* alignment, length */
    aml_bytes(resources, head, sizeof(head));
    aml_bytes(resources, &port, sizeof(port));
    aml_bytes(resources, &port, sizeof(port));
    aml_bytes(resources, tail, sizeof(tail));
}

void aml_interrupt(struct aml *resources, uint32_t gsi)
{
    const uint8_t head[] = {RESOURCE_INTERRUPT, 6, 0, INTERRUPT_CONSUMER | INTERRUPT_EDGE, 1};
    aml_bytes(resources, head, sizeof(head));
    aml_bytes(resources, &gsi, sizeof(gsi));
}

void aml_crs(struct aml *aml, const struct aml *resources)
{
    const uint8_t end[] = {RESOURCE_END, 0}; /* checksum 0: not checked */
    aml_name(aml, "_CRS");
    aml_byte(aml, AML_BUFFER);
    size_t mark = aml->length;
    aml_integer(aml, resources->length + sizeof(end));
    aml_bytes(aml, resources->data, resources->length);
    aml_bytes(aml, end, sizeof(end));
    aml_close(aml, mark);
    aml->failed |= resources->failed;
}
