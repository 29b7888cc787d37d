/* SPDX-License-Identifier: Apache-2.0 */
/* The state file: what is written is read back, and no damaged byte goes unnoticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/cleanup.h"
#include "vmm/state.h"

static const char first[] = "the first section, 36 bytes in all.";
static const uint8_t second[5] = {1, 2, 3, 4, 5};

/* Two sections and an empty one; the file's bytes in fresh memory. */
static uint8_t *small_file(size_t *length)
{
    struct state_writer writer;
    state_writer_init(&writer);
    state_put(&writer, STATE_MACHINE, 0, 1, first, sizeof(first));
    state_put(&writer, STATE_VCPU, 7, 3, second, sizeof(second));
    state_put(&writer, STATE_CONFIG, 0, 1, NULL, 0);
    struct error err = {0};
    assert_int_equal(state_writer_finish(&writer, &err), 0);
    uint8_t *copy = malloc(writer.length);
    assert_non_null(copy);
    memcpy(copy, writer.data, writer.length);
    *length = writer.length;
    state_writer_free(&writer);
    return copy;
}

/* Makes the checksum right again after an edit. */
static void reseal(uint8_t *data, size_t length)
{
    uint64_t checksum = XXH3_64bits(data, length - sizeof(checksum));
    memcpy(data + length - sizeof(checksum), &checksum, sizeof(checksum));
}

static void test_round_trip(void **context)
{
    (void)context;
    size_t length;
    uint8_t *data = small_file(&length);
    struct error err = {0};
    struct state_reader reader;
    assert_int_equal(state_reader_open(&reader, data, length, &err), 0);
    assert_int_equal(reader.sections, 3);
    struct state_section section;
    assert_int_equal(state_find(&reader, STATE_VCPU, 7, &section), 1);
    assert_int_equal(section.version, 3);
    assert_int_equal(section.length, sizeof(second));
    assert_int_equal((uintptr_t)section.payload % 8, 0);
    assert_memory_equal(section.payload, second, sizeof(second));
    assert_int_equal(state_find(&reader, STATE_VCPU, 6, &section), 0);
    assert_int_equal(state_find(&reader, STATE_CONFIG, 0, &section), 1);
    assert_int_equal(section.length, 0);
    char out[sizeof(first)];
    assert_int_equal(state_get(&reader, STATE_MACHINE, 0, 1, out, sizeof(out), &err), 0);
    assert_string_equal(out, first);
    free(data);
}

static void expect_get_error(const struct state_reader *reader, uint32_t index, uint32_t version,
                             size_t length, const char *words)
{
    uint8_t out[64];
    struct error err = {0};
    assert_true(state_get(reader, STATE_VCPU, index, version, out, length, &err) < 0);
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_non_null(strstr(err.message, words));
}

static void test_get_refuses(void **context)
{
    (void)context;
    size_t length;
    uint8_t *data = small_file(&length);
    struct error err = {0};
    struct state_reader reader;
    assert_int_equal(state_reader_open(&reader, data, length, &err), 0);
    expect_get_error(&reader, 8, 3, sizeof(second), "3/8 is missing");
    expect_get_error(&reader, 7, 2, sizeof(second), "version 3");
    expect_get_error(&reader, 7, 3, sizeof(second) + 1, "5 bytes, expected 6");
    expect_get_error(&reader, 7, 3, sizeof(second) - 1, "5 bytes, expected 4");
    free(data);
}

static void expect_corrupt(const uint8_t *data, size_t length)
{
    struct error err = {0};
    struct state_reader reader;
    assert_true(state_reader_open(&reader, data, length, &err) < 0);
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_true(err.message[0] != '\0');
}

static void test_every_truncation(void **context)
{
    (void)context;
    size_t length;
    uint8_t *data = small_file(&length);
    for (size_t cut = 0; cut < length; cut++) {
        /* A buffer of exactly that size, so that a sanitizer sees a read behind it. */
        uint8_t *part = malloc(cut ? cut : 1);
        assert_non_null(part);
        memcpy(part, data, cut);
        expect_corrupt(part, cut);
        free(part);
    }
    free(data);
}

static void test_longer_file(void **context)
{
    (void)context;
    size_t length;
    uint8_t *data = small_file(&length);
    uint8_t *longer = calloc(1, length + 8);
    assert_non_null(longer);
    memcpy(longer, data, length);
    expect_corrupt(longer, length + 8);
    free(longer);
    free(data);
}

static void test_every_bit(void **context)
{
    (void)context;
    size_t length;
    uint8_t *data = small_file(&length);
    for (size_t bit = 0; bit < length * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        expect_corrupt(data, length);
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    free(data);
}

/* Damage under a checksum that fits: the reader must not trust a single length. Layout: header of
 * 24 bytes, then {kind, index, version, length}. */
static void test_resealed_lengths(void **context)
{
    (void)context;
    static const uint32_t lengths[] = {0, 1, 37, 40, 41, 100, 0x7fffffff, 0xfffffff8, 0xffffffff};
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        if (lengths[i] >= 33 && lengths[i] <= 40)
            continue; /* pads to the true size: a different but sound file */
        size_t length;
        uint8_t *data = small_file(&length);
        memcpy(data + 24 + 12, &lengths[i], sizeof(lengths[i]));
        reseal(data, length);
        expect_corrupt(data, length);
        free(data);
    }
}

static void test_resealed_counts(void **context)
{
    (void)context;
    static const uint32_t counts[] = {0, 1, 2, 4, 5, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        size_t length;
        uint8_t *data = small_file(&length);
        memcpy(data + 12, &counts[i], sizeof(counts[i]));
        reseal(data, length);
        expect_corrupt(data, length);
        free(data);
    }
}

static void test_other_format(void **context)
{
    (void)context;
    size_t length;
    uint8_t *data = small_file(&length);
    uint32_t format = 7;
    memcpy(data + 8, &format, sizeof(format));
    reseal(data, length);
    struct error err = {0};
    struct state_reader reader;
    assert_true(state_reader_open(&reader, data, length, &err) < 0);
    assert_non_null(strstr(err.message, "format 7, this VMM reads 1"));
    free(data);
}

static void test_too_large(void **context)
{
    (void)context;
    struct state_writer writer;
    state_writer_init(&writer);
    state_put(&writer, STATE_CONFIG, 0, 1, first, (size_t)STATE_FILE_LIMIT + 1);
    struct error err = {0};
    assert_true(state_writer_finish(&writer, &err) < 0);
    assert_true(err.errnum != 0);
    state_writer_free(&writer);
}

static void test_many_sections(void **context)
{
    (void)context;
    struct state_writer writer;
    state_writer_init(&writer);
    for (uint32_t i = 0; i < 3000; i++)
        state_put(&writer, STATE_VCPU, i, 1, &i, sizeof(i));
    struct error err = {0};
    assert_int_equal(state_writer_finish(&writer, &err), 0);
    struct state_reader reader;
    assert_int_equal(state_reader_open(&reader, writer.data, writer.length, &err), 0);
    uint32_t value = 0;
    assert_int_equal(state_get(&reader, STATE_VCPU, 2999, 1, &value, sizeof(value), &err), 0);
    assert_int_equal(value, 2999);
    state_writer_free(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),       cmocka_unit_test(test_get_refuses),
        cmocka_unit_test(test_every_truncation), cmocka_unit_test(test_longer_file),
        cmocka_unit_test(test_every_bit),        cmocka_unit_test(test_resealed_lengths),
        cmocka_unit_test(test_resealed_counts),  cmocka_unit_test(test_other_format),
        cmocka_unit_test(test_too_large),        cmocka_unit_test(test_many_sections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
