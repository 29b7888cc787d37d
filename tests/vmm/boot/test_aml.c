/* SPDX-License-Identifier: Apache-2.0 */
/* Encodings against ACPI 6.4, chapter 20, by example. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vmm/boot/aml.h"

static void assert_bytes(const struct aml *aml, const void *bytes, size_t count)
{
    assert_false(aml->failed);
    assert_int_equal(aml->length, count);
    assert_memory_equal(aml->data, bytes, count);
}

static void integers_take_the_shortest_form(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        size_t count;
        uint8_t bytes[9];
    } cases[] = {
        {0, 1, {0x00}},
        {1, 1, {0x01}},
        {2, 2, {0x0a, 2}},
        {0xff, 2, {0x0a, 0xff}},
        {0x100, 3, {0x0b, 0, 1}},
        {0xffff, 3, {0x0b, 0xff, 0xff}},
        {0x10000, 5, {0x0c, 0, 0, 1, 0}},
        {0xffffffff, 5, {0x0c, 0xff, 0xff, 0xff, 0xff}},
        {0x100000000, 9, {0x0e, 0, 0, 0, 0, 1, 0, 0, 0}},
        {UINT64_MAX, 9, {0x0e, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t buffer[16];
        struct aml aml;
        aml_init(&aml, buffer, sizeof(buffer));
        aml_integer(&aml, cases[i].value);
        assert_bytes(&aml, cases[i].bytes, cases[i].count);
    }
}

static void paths(void **state)
{
    (void)state;
    static const struct {
        const char *path, *bytes;
        size_t count;
    } cases[] = {
        {"VGEN", "VGEN", 4},
        {"PS2", "PS2_", 4},
        {"\\_S5", "\\_S5_", 5},
        {"\\_SB.VGEN", "\\.\x5fSB_VGEN", 10},
        {"A.BC.DEF",
         "/\x03"
         "A___BC__DEF_",
         14},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t buffer[32];
        struct aml aml;
        aml_init(&aml, buffer, sizeof(buffer));
        aml_path(&aml, cases[i].path);
        assert_bytes(&aml, cases[i].bytes, cases[i].count);
    }
}

static void eisa_ids(void **state)
{
    (void)state;
    const uint8_t com[] = {0x0c, 0x41, 0xd0, 0x05, 0x01}, bridge[] = {0x0c, 0x41, 0xd0, 0x0a, 0x03};
    uint8_t buffer[8];
    struct aml aml;
    aml_init(&aml, buffer, sizeof(buffer));
    aml_eisa_id(&aml, "PNP0501");
    assert_bytes(&aml, com, sizeof(com));
    aml_init(&aml, buffer, sizeof(buffer));
    aml_eisa_id(&aml, "PNP0A03");
    assert_bytes(&aml, bridge, sizeof(bridge));
    aml_init(&aml, buffer, sizeof(buffer));
    aml_eisa_id(&aml, "PNP05");
    assert_true(aml.failed);
}

/* A scope with `content` bytes behind its name: the length has `bytes` bytes. */
static void assert_scope(size_t content, const uint8_t *length, size_t bytes)
{
    static uint8_t buffer[8192], zeros[8192];
    struct aml aml;
    aml_init(&aml, buffer, sizeof(buffer));
    size_t mark = aml_open_scope(&aml, "ABCD");
    aml_bytes(&aml, zeros, content);
    aml_close(&aml, mark);
    assert_false(aml.failed);
    assert_int_equal(aml.length, 1 + bytes + 4 + content);
    assert_int_equal(aml.data[0], 0x10);
    assert_memory_equal(aml.data + 1, length, bytes);
    assert_memory_equal(aml.data + 1 + bytes, "ABCD", 4);
}

/* At the borders between one, two and three bytes. */
static void lengths_count_themselves(void **state)
{
    (void)state;
    assert_scope(0, (const uint8_t[]){5}, 1);
    assert_scope(63 - 5, (const uint8_t[]){63}, 1);
    assert_scope(64 - 5, (const uint8_t[]){0x41, 0x04}, 2);
    assert_scope(4095 - 6, (const uint8_t[]){0x4f, 0xff}, 2);
    assert_scope(4096 - 6, (const uint8_t[]){0x81, 0x00, 0x01}, 3);
}

static void overflow_is_told(void **state)
{
    (void)state;
    uint8_t buffer[10];
    struct aml aml;
    aml_init(&aml, buffer, sizeof(buffer));
    size_t mark = aml_open_scope(&aml, "ABCD");
    aml_string(&aml, "xyz");
    assert_false(aml.failed);
    aml_close(&aml, mark);
    assert_true(aml.failed);
    assert_true(aml.length <= sizeof(buffer));
    aml_init(&aml, buffer, sizeof(buffer));
    aml_string(&aml, "much too long for it");
    assert_true(aml.failed);
    aml_init(&aml, buffer, sizeof(buffer));
    aml_path(&aml, "TOOLONG");
    assert_true(aml.failed);
    aml_init(&aml, buffer, sizeof(buffer));
    aml_path(&aml, "");
    assert_true(aml.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_take_the_shortest_form),
        cmocka_unit_test(paths),
        cmocka_unit_test(eisa_ids),
        cmocka_unit_test(lengths_count_themselves),
        cmocka_unit_test(overflow_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
