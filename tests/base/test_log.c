/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines to the byte: fields, scopes per thread, formats, hostile text. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/log.h"

static int reader;

static int setup(void **state)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    reader = ends[0];
    log_configure("test", LOG_LEVEL_INFO, STDERR_FILENO);
    log_set_fd(ends[1]);
    return 0;
}

static int teardown(void **state)
{
    log_set_format(LOG_FORMAT_TEXT);
    log_set_fd(STDERR_FILENO);
    close(reader);
    return 0;
}

/* One line, in a buffer that the next call reuses. */
static char *take_line(void)
{
    static char line[8192];
    size_t length = 0;
    do
        assert_int_equal(read(reader, line + length, 1), 1);
    while (line[length++] != '\n' && length < sizeof(line) - 1);
    line[length] = '\0';
    return line;
}

/* Without the time in front. */
static void expect_line(const char *wanted)
{
    char *line = take_line();
    assert_string_equal(line + strlen("2026-01-31T12:00:00.123Z"), wanted);
}

static void test_text(void **state)
{
    log_info("%d of %d", 1, 2);
    expect_line(" INFO test: 1 of 2\n");
    log_debug("not at this level");
    log_warning("two\nlines\x1b[31m\x7f");
    expect_line(" WARNING test: two?lines?[31m?\n");
}

static void test_context(void **state)
{
    {
        _cleanup_(log_context) struct log_context outer;
        log_context_begin(&outer, "k1", "op1");
        log_info("a");
        expect_line(" INFO test: a instance=k1 operation=op1\n");
        {
            _cleanup_(log_context) struct log_context inner;
            log_context_begin(&inner, "k2", NULL);
            log_info("b");
            expect_line(" INFO test: b instance=k2\n");
        }
        log_error("c");
        expect_line(" ERROR test: c instance=k1 operation=op1\n");
    }
    log_info("d");
    expect_line(" INFO test: d\n");
    assert_null(log_context_current());
}

static void *log_elsewhere(void *data)
{
    log_info("elsewhere");
    return NULL;
}

static void test_context_is_of_the_thread(void **state)
{
    _cleanup_(log_context) struct log_context context;
    pthread_t thread;
    log_context_begin(&context, "k1", "op1");
    assert_int_equal(pthread_create(&thread, NULL, log_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    expect_line(" INFO test: elsewhere\n");
}

static void test_fields(void **state)
{
    const struct log_field fields[] = {
        {"plain", "a-b/c:1"}, {"spaced", "a b"},   {"quoted", "say \"x\" \\"},
        {"none", ""},         {"control", "a\nb"},
    };
    log_line_fields(LOG_LEVEL_INFO, fields, ARRAY_SIZE(fields), "text");
    expect_line(" INFO test: text plain=a-b/c:1 spaced=\"a b\" quoted=\"say \\\"x\\\" \\\\\" "
                "none=\"\" control=a?b\n");
}

static void test_json(void **state)
{
    _cleanup_(log_context) struct log_context context;
    const struct log_field field = {"result", "o\"k"};
    log_set_format(LOG_FORMAT_JSON);
    log_context_begin(&context, "k1", "op1");
    log_line_fields(LOG_LEVEL_WARNING, &field, 1, "a \"b\" \\ \n \xc3\xa4 \xff\xc3");
    json_t *json = json_loads(take_line(), JSON_REJECT_DUPLICATES, NULL);
    const char *time, *level, *program, *message, *result, *instance, *operation;
    assert_int_equal(json_unpack(json, "{s:s, s:s, s:s, s:s, s:s, s:s, s:s!}", "time", &time,
                                 "level", &level, "program", &program, "message", &message,
                                 "result", &result, "instance", &instance, "operation", &operation),
                     0);
    assert_int_equal(strlen(time), strlen("2026-01-31T12:00:00.123Z"));
    assert_string_equal(level, "WARNING");
    assert_string_equal(program, "test");
    assert_string_equal(message, "a \"b\" \\ ? \xc3\xa4 ??");
    assert_string_equal(result, "o\"k");
    assert_string_equal(instance, "k1");
    assert_string_equal(operation, "op1");
    json_decref(json);
}

/* Too long, and every byte doubled by its escape: still one whole line with its fields. */
static void test_long(void **state)
{
    char text[5000];
    memset(text, '"', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    _cleanup_(log_context) struct log_context context;
    log_context_begin(&context, "k1", text);
    log_set_format(LOG_FORMAT_JSON);
    log_info("%s", text);
    char *line = take_line();
    assert_true(strlen(line) <= 4096);
    json_t *json = json_loads(line, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "instance")), "k1");
    json_decref(json);
    log_set_format(LOG_FORMAT_TEXT);
    log_info("%s", text);
    assert_non_null(strstr(take_line(), "\" instance=k1 operation="));
}

static void test_journal(void **state)
{
    log_set_format(LOG_FORMAT_JOURNAL);
    log_error("bad");
    assert_string_equal(take_line(), "<3>test: bad\n");
    log_info("good");
    assert_string_equal(take_line(), "<6>test: good\n");
}

static void test_names(void **state)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    enum log_format format;
    enum log_level level;
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        assert_int_equal(log_level_parse(levels[i], &level), 0);
        assert_int_equal(level, i);
    }
    assert_int_equal(log_level_parse("warn", &level), -EINVAL);
    assert_int_equal(log_level_parse("", &level), -EINVAL);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_int_equal(log_format_parse("json", &format), 0);
    assert_int_equal(format, LOG_FORMAT_JSON);
    assert_int_equal(log_format_parse("text", &format), 0);
    assert_int_equal(log_format_parse("journal", &format), 0);
    assert_int_equal(format, LOG_FORMAT_JOURNAL);
    assert_int_equal(log_format_parse("xml", &format), -EINVAL);
    assert_int_equal(log_format_parse("", &format), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_text),    TEST(test_context), TEST(test_context_is_of_the_thread),
        TEST(test_fields),  TEST(test_json),    TEST(test_long),
        TEST(test_journal), TEST(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
