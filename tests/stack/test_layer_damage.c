/* SPDX-License-Identifier: Apache-2.0 */
/* A layer is hostile input: every byte of it changed, every length it may be cut to, and headers
 * and indexes whose checksums hold but which say what can't be. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "layers.h"
#include "stack/layer_format.h"

#define PAGES 12u

/* A good layer's bytes: three pages of data in two runs, three zero pages in two. */
struct sample {
    uint8_t *bytes;
    size_t length;
};

static struct sample sample_make(void)
{
    struct sample sample;
    _cleanup_(close) int fd = memory_file();
    layer_write(fd, "-ddzf-zd", PAGES, 3);
    sample.bytes = file_bytes(fd, &sample.length);
    return sample;
}

static size_t index_offset(void)
{
    return layer_data_offset(3);
}

static struct layer *open_bytes(const uint8_t *bytes, size_t length, struct error *err)
{
    return layer_open_fd(memory_file_of(bytes, length), "memory.1", 0, err);
}

static void assert_refused(const uint8_t *bytes, size_t length, const char *why)
{
    struct error err = {0};
    struct layer *layer = open_bytes(bytes, length, &err);
    if (layer || err.code != ERROR_CORRUPT || !strstr(err.message, why))
        fail_msg("expected \"%s\", got \"%s\"", why, err.message);
    assert_non_null(strstr(err.message, "memory.1"));
}

/* Header and index: refused. Data: it opens, and the check of the data tells. */
static void test_every_byte(void **state)
{
    struct sample sample = sample_make();
    for (size_t at = 0; at < sample.length; at++) {
        bool is_data = at >= PAGE && at < index_offset();
        if (is_data && at % 64 != 0)
            continue;
        sample.bytes[at] ^= (uint8_t)(1u << at % 8);
        if (!is_data) {
            assert_refused(sample.bytes, sample.length, "memory.1");
        } else {
            struct error err = {0};
            struct layer *layer = open_bytes(sample.bytes, sample.length, NULL);
            assert_non_null(layer);
            assert_int_equal(layer_verify(layer, &err), -EBADMSG);
            assert_int_equal(err.code, ERROR_CORRUPT);
            layer_close(layer);
        }
        sample.bytes[at] ^= (uint8_t)(1u << at % 8);
    }
    free(sample.bytes);
}

static void test_every_length(void **state)
{
    struct sample sample = sample_make();
    for (size_t length = 0; length < sample.length; length++)
        assert_refused(sample.bytes, length, "memory.1");
    uint8_t *longer = calloc(1, sample.length + 1);
    memcpy(longer, sample.bytes, sample.length);
    assert_refused(longer, sample.length + 1, "its header says");
    free(longer);
    free(sample.bytes);
}

/* The sample with a header and an index as somebody wants them, all checksums right. */
static void reseal(struct sample *sample, const struct layer_header *header)
{
    struct layer_header sealed = *header;
    sealed.index_checksum =
        layer_checksum(sample->bytes + index_offset(), sample->length - index_offset());
    layer_header_seal(&sealed);
    memcpy(sample->bytes, &sealed, sizeof(sealed));
}

struct forged_header {
    size_t field;
    uint64_t value;
    size_t size;
    const char *why;
};
#define FIELD(name) \
    offsetof(struct layer_header, name), .size = sizeof(((struct layer_header *)NULL)->name)

static const struct forged_header forged_headers[] = {
    {FIELD(format), .value = 2, .why = "a layer of format 2, this version reads 1"},
    {FIELD(format), .value = 0, .why = "a layer of format 0"},
    {FIELD(page_size), .value = 8192, .why = "other pages"},
    {FIELD(chunk_pages), .value = 0, .why = "other pages"},
    {FIELD(reserved), .value = 1, .why = "other pages"},
    {FIELD(image_pages), .value = 0, .why = "impossible size"},
    {FIELD(image_pages), .value = (uint64_t)LAYER_PAGE_LIMIT + 1, .why = "impossible size"},
    {FIELD(image_pages), .value = UINT64_MAX, .why = "impossible size"},
    {FIELD(image_pages), .value = 5, .why = "more pages than its image"},
    {FIELD(image_pages), .value = 7, .why = "beyond the image"},
    {FIELD(data_pages), .value = UINT64_MAX, .why = "more pages than its image"},
    {FIELD(data_pages), .value = UINT64_MAX / PAGE + 1, .why = "more pages than its image"},
    {FIELD(data_pages), .value = 4, .why = "its header says"},
    {FIELD(data_pages), .value = 2, .why = "its header says"},
    {FIELD(zero_pages), .value = UINT64_MAX, .why = "more pages than its image"},
    {FIELD(zero_pages), .value = UINT64_MAX - 2, .why = "more pages than its image"},
    {FIELD(zero_pages), .value = 10, .why = "more pages than its image"},
    {FIELD(zero_pages), .value = 4, .why = "other pages than its header"},
    {FIELD(zero_pages), .value = 2, .why = "other pages than its header"},
    {FIELD(runs), .value = UINT64_MAX, .why = "more runs than pages"},
    {FIELD(runs), .value = UINT64_MAX / 16 + 1, .why = "more runs than pages"},
    {FIELD(runs), .value = 7, .why = "more runs than pages"},
    {FIELD(runs), .value = 5, .why = "its header says"},
    {FIELD(runs), .value = 0, .why = "its header says"},
};

static void test_forged_headers(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(forged_headers); i++) {
        const struct forged_header *forged = &forged_headers[i];
        struct sample sample = sample_make();
        struct layer_header header;
        memcpy(&header, sample.bytes, sizeof(header));
        memcpy((uint8_t *)&header + forged->field, &forged->value, forged->size);
        reseal(&sample, &header);
        assert_refused(sample.bytes, sample.length, forged->why);
        free(sample.bytes);
    }
}

static void test_wrong_magic(void **state)
{
    struct sample sample = sample_make();
    sample.bytes[0] = 'X';
    assert_refused(sample.bytes, sample.length, "wrong magic");
    memset(sample.bytes, 0, sample.length);
    assert_refused(sample.bytes, sample.length, "wrong magic");
    free(sample.bytes);
}

struct forged_run {
    unsigned number;
    struct layer_index_run run;
    const char *why;
};

/* The runs are {1, 2, data}, {3, 2, zero}, {6, 1, zero}, {7, 1, data}. */
static const struct forged_run forged_runs[] = {
    {1, {3, 2, 0}, "no known kind"},
    {1, {3, 2, LAYER_ABSENT}, "no known kind"},
    {1, {3, 2, UINT32_MAX}, "no known kind"},
    {1, {3, 0, LAYER_ZERO}, "is empty"},
    {1, {2, 2, LAYER_ZERO}, "overlap"},
    {1, {0, 1, LAYER_ZERO}, "overlap"},
    {1, {5, 2, LAYER_ZERO}, "overlap"},
    {2, {UINT64_MAX, 1, LAYER_ZERO}, "beyond the image"},
    {3, {12, 1, LAYER_DATA}, "beyond the image"},
    {3, {11, 2, LAYER_DATA}, "beyond the image"},
    {3, {7, UINT32_MAX, LAYER_DATA}, "beyond the image"},
    {3, {UINT64_MAX, UINT32_MAX, LAYER_DATA}, "beyond the image"},
    {3, {(uint64_t)1 << 32, 1, LAYER_DATA}, "beyond the image"},
    {3, {7, 2, LAYER_DATA}, "other pages than its header"},
    {3, {7, 1, LAYER_ZERO}, "other pages than its header"},
    {0, {1, 1, LAYER_DATA}, "other pages than its header"},
};

static void test_forged_runs(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(forged_runs); i++) {
        const struct forged_run *forged = &forged_runs[i];
        struct sample sample = sample_make();
        struct layer_header header;
        memcpy(&header, sample.bytes, sizeof(header));
        memcpy(sample.bytes + index_offset() + forged->number * sizeof(forged->run), &forged->run,
               sizeof(forged->run));
        reseal(&sample, &header);
        assert_refused(sample.bytes, sample.length, forged->why);
        free(sample.bytes);
    }
}

/* Runs that move but hold: the layer is another one, and good. */
static void test_moved_run(void **state)
{
    static const struct layer_index_run run = {11, 1, LAYER_DATA};
    struct sample sample = sample_make();
    struct layer_header header;
    memcpy(&header, sample.bytes, sizeof(header));
    memcpy(sample.bytes + index_offset() + 3 * sizeof(run), &run, sizeof(run));
    reseal(&sample, &header);
    struct layer *layer = open_bytes(sample.bytes, sample.length, NULL);
    assert_non_null(layer);
    assert_int_equal(layer_find(layer, 7).kind, LAYER_ABSENT);
    assert_int_equal(layer_find(layer, 11).kind, LAYER_DATA);
    assert_int_equal(layer_verify(layer, NULL), 0);
    layer_close(layer);
    free(sample.bytes);
}

/* A checksum of the data in the index is wrong, the index itself whole. */
static void test_forged_data_checksum(void **state)
{
    struct sample sample = sample_make();
    struct layer_header header;
    memcpy(&header, sample.bytes, sizeof(header));
    sample.bytes[sample.length - 1] ^= 1;
    reseal(&sample, &header);
    struct error err = {0};
    struct layer *layer = open_bytes(sample.bytes, sample.length, NULL);
    assert_non_null(layer);
    assert_int_equal(layer_verify(layer, &err), -EBADMSG);
    assert_non_null(strstr(err.message, "pages 1 to 7"));
    layer_close(layer);
    free(sample.bytes);
}

/* Cut while it is open: an error, neither a crash nor zeros taken for data. */
static void test_cut_while_open(void **state)
{
    struct sample sample = sample_make();
    struct error err = {0};
    struct layer *layer = open_bytes(sample.bytes, sample.length, NULL);
    assert_int_equal(ftruncate(layer_fd(layer), 2 * PAGE), 0);
    assert_int_equal(layer_verify(layer, &err), -EIO);
    assert_non_null(strstr(err.message, "memory.1"));
    layer_close(layer);
    free(sample.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte),           cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_forged_headers),       cmocka_unit_test(test_wrong_magic),
        cmocka_unit_test(test_forged_runs),          cmocka_unit_test(test_moved_run),
        cmocka_unit_test(test_forged_data_checksum), cmocka_unit_test(test_cut_while_open),
    };
    return cmocka_run_group_tests_name("layer damage", tests, NULL, NULL);
}
