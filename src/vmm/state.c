/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC          "TINESTAT"
#define CHECKSUM_SIZE  sizeof(uint64_t)
#define ALIGNMENT      8u
#define FIRST_CAPACITY 16384u

struct state_header {
    char magic[8];
    uint32_t format;
    uint32_t sections;
    uint64_t length; /* of the whole file, checksum included */
};

struct section_header {
    uint32_t kind, index, version, length;
};

_Static_assert(sizeof(struct state_header) == 24, "the file format is fixed");
_Static_assert(sizeof(struct section_header) == 16, "the file format is fixed");

static size_t padded(size_t length)
{
    return (length + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* ---- writing ---- */

/* Makes room for `length` more bytes and returns them zeroed, NULL when out of memory. */
static uint8_t *writer_extend(struct state_writer *writer, size_t length)
{
    if (writer->failed)
        return NULL;
    size_t wanted = writer->length + length;
    if (wanted > writer->capacity) {
        size_t capacity = writer->capacity ? writer->capacity : FIRST_CAPACITY;
        while (capacity < wanted)
            capacity *= 2;
        uint8_t *data = realloc(writer->data, capacity);
        if (!data) {
            writer->failed = 1;
            return NULL;
        }
        writer->data = data;
        writer->capacity = capacity;
    }
    uint8_t *room = writer->data + writer->length;
    memset(room, 0, length);
    writer->length = wanted;
    return room;
}

void state_writer_init(struct state_writer *writer)
{
    memset(writer, 0, sizeof(*writer));
    (void)writer_extend(writer, sizeof(struct state_header)); /* a failure is remembered */
}

void state_writer_free(struct state_writer *writer)
{
    free(writer->data);
    memset(writer, 0, sizeof(*writer));
}

void state_put(struct state_writer *writer, enum state_kind kind, uint32_t index, uint32_t version,
               const void *payload, size_t length)
{
    if (length > STATE_FILE_LIMIT) {
        writer->failed = 1;
        return;
    }
    uint8_t *room = writer_extend(writer, sizeof(struct section_header) + padded(length));
    if (!room)
        return;
    struct section_header header = {
        .kind = kind, .index = index, .version = version, .length = (uint32_t)length};
    memcpy(room, &header, sizeof(header));
    if (length > 0)
        memcpy(room + sizeof(header), payload, length);
    writer->sections++;
}

int state_writer_finish(struct state_writer *writer, struct error *err)
{
    size_t checked = writer->length;
    uint8_t *room = writer_extend(writer, CHECKSUM_SIZE);
    if (!room)
        return error_errno(err, ENOMEM, NULL, "build the VM state");
    if (writer->length > STATE_FILE_LIMIT)
        return error_set(err, ERROR_INVALID, EFBIG, "the VM state has %zu bytes, the limit is %u",
                         writer->length, STATE_FILE_LIMIT);
    struct state_header header = {
        .format = STATE_FORMAT_VERSION, .sections = writer->sections, .length = writer->length};
    memcpy(header.magic, MAGIC, sizeof(header.magic));
    memcpy(writer->data, &header, sizeof(header));
    uint64_t checksum = XXH3_64bits(writer->data, checked);
    memcpy(room, &checksum, sizeof(checksum));
    return 0;
}

/* ---- reading ---- */

static int corrupt(struct error *err, const char *what)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "%s", what);
}

static int header_check(const uint8_t *data, size_t length, struct state_header *header,
                        struct error *err)
{
    if (length < sizeof(*header) + CHECKSUM_SIZE)
        return corrupt(err, "too short for a VM state");
    memcpy(header, data, sizeof(*header));
    if (memcmp(header->magic, MAGIC, sizeof(header->magic)) != 0)
        return corrupt(err, "not a VM state: wrong magic");
    if (header->format != STATE_FORMAT_VERSION)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "format %u, this VMM reads %u",
                         header->format, STATE_FORMAT_VERSION);
    if (header->length != length)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%zu bytes long, its header says %llu",
                         length, (unsigned long long)header->length);
    uint64_t checksum;
    memcpy(&checksum, data + length - CHECKSUM_SIZE, sizeof(checksum));
    if (checksum != XXH3_64bits(data, length - CHECKSUM_SIZE))
        return corrupt(err, "checksum does not match");
    return 0;
}

/* Steps over the section at `*offset`; `end` is where the checksum begins. */
static int section_next(const uint8_t *data, size_t end, size_t *offset,
                        struct state_section *section)
{
    struct section_header header;
    if (end - *offset < sizeof(header))
        return -EBADMSG;
    memcpy(&header, data + *offset, sizeof(header));
    size_t start = *offset + sizeof(header);
    if (header.length > end - start || padded(header.length) > end - start)
        return -EBADMSG;
    *section = (struct state_section){.kind = header.kind,
                                      .index = header.index,
                                      .version = header.version,
                                      .length = header.length,
                                      .payload = data + start};
    *offset = start + padded(header.length);
    return 0;
}

int state_reader_open(struct state_reader *reader, const void *data, size_t length,
                      struct error *err)
{
    struct state_header header = {0};
    int r = header_check(data, length, &header, err);
    if (r < 0)
        return r;
    size_t end = length - CHECKSUM_SIZE;
    size_t offset = sizeof(header);
    struct state_section section;
    for (uint32_t i = 0; i < header.sections; i++) {
        if (section_next(data, end, &offset, &section) < 0)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "ends inside section %u", i);
    }
    if (offset != end)
        return corrupt(err, "bytes behind the last section");
    *reader = (struct state_reader){.data = data, .length = length, .sections = header.sections};
    return 0;
}

int state_find(const struct state_reader *reader, enum state_kind kind, uint32_t index,
               struct state_section *section)
{
    size_t end = reader->length - CHECKSUM_SIZE;
    size_t offset = sizeof(struct state_header);
    for (uint32_t i = 0; i < reader->sections; i++) {
        if (section_next(reader->data, end, &offset, section) < 0)
            return 0;
        if (section->kind == (uint32_t)kind && section->index == index)
            return 1;
    }
    return 0;
}

int state_get(const struct state_reader *reader, enum state_kind kind, uint32_t index,
              uint32_t version, void *out, size_t length, struct error *err)
{
    struct state_section section;
    if (!state_find(reader, kind, index, &section))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "VM state: section %d/%u is missing",
                         (int)kind, index);
    if (section.version != version)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "VM state: section %d/%u has version %u, this VMM reads %u", (int)kind,
                         index, section.version, version);
    if (section.length != length)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "VM state: section %d/%u has %u bytes, expected %zu", (int)kind, index,
                         section.length, length);
    memcpy(out, section.payload, length);
    return 0;
}
