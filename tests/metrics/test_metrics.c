/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "exposition.h"
#include "metrics/metrics.h"

static const double bounds[] = {0.1, 1, 2.5};

static int setup(void **state)
{
    *state = metrics_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    metrics_free(*state);
    return 0;
}

static char *text_of_all(struct metrics *metrics)
{
    size_t length;
    char *text = metrics_text(metrics, &length);
    assert_non_null(text);
    assert_int_equal(length, strlen(text));
    assert_exposition(text);
    return text;
}

static void test_to_the_byte(void **state)
{
    struct metrics *metrics = *state;
    struct metric *counter = metrics_add(
        metrics,
        &(struct metric_spec){"t_total", "Things.", METRIC_COUNTER, {"kind", "result"}, NULL, 0});
    struct metric *gauge =
        metrics_add(metrics, &(struct metric_spec){"t_now", "Now.", METRIC_GAUGE, {NULL}, NULL, 0});
    struct metric *histogram = metrics_add(
        metrics,
        &(struct metric_spec){"t_seconds", "Time.", METRIC_HISTOGRAM, {"kind"}, bounds, 3});
    metric_add(counter, 1, (const char *const[]){"a", "ok"});
    metric_add(counter, 2, (const char *const[]){"a", "ok"});
    metric_add(counter, 1, (const char *const[]){"a", "bad"});
    metric_set(gauge, 0.25, NULL);
    metric_set(gauge, -3, NULL);
    metric_observe(histogram, 0.1, (const char *const[]){"x"});
    metric_observe(histogram, 2, (const char *const[]){"x"});
    metric_observe(histogram, 99, (const char *const[]){"x"});
    _cleanup_(free) char *text = text_of_all(metrics);
    assert_string_equal(text, "# HELP t_total Things.\n"
                              "# TYPE t_total counter\n"
                              "t_total{kind=\"a\",result=\"ok\"} 3\n"
                              "t_total{kind=\"a\",result=\"bad\"} 1\n"
                              "# HELP t_now Now.\n"
                              "# TYPE t_now gauge\n"
                              "t_now -3\n"
                              "# HELP t_seconds Time.\n"
                              "# TYPE t_seconds histogram\n"
                              "t_seconds_bucket{kind=\"x\",le=\"0.1\"} 1\n"
                              "t_seconds_bucket{kind=\"x\",le=\"1\"} 1\n"
                              "t_seconds_bucket{kind=\"x\",le=\"2.5\"} 2\n"
                              "t_seconds_bucket{kind=\"x\",le=\"+Inf\"} 3\n"
                              "t_seconds_sum{kind=\"x\"} 101.1\n"
                              "t_seconds_count{kind=\"x\"} 3\n");
}

static void test_escapes(void **state)
{
    struct metric *metric = metrics_add(
        *state,
        &(struct metric_spec){"t", "back \\ line \n quote \"", METRIC_GAUGE, {"l"}, NULL, 0});
    metric_set(metric, 1, (const char *const[]){"a\\b\"c\nd"});
    _cleanup_(free) char *text = text_of_all(*state);
    assert_string_equal(text, "# HELP t back \\\\ line \\n quote \"\n"
                              "# TYPE t gauge\n"
                              "t{l=\"a\\\\b\\\"c\\nd\"} 1\n");
}

/* A family without values has its HELP and TYPE, and numbers come back as they were. */
static void test_numbers(void **state)
{
    static const double numbers[] = {0,       1e15, 9007199254740993.0, 0.1,
                                     1.0 / 3, 1e-9, 1764104658.123,     1e300};
    struct metric *metric =
        metrics_add(*state, &(struct metric_spec){"t", "x", METRIC_GAUGE, {NULL}, NULL, 0});
    free(text_of_all(*state));
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        metric_set(metric, numbers[i], NULL);
        _cleanup_(free) char *text = text_of_all(*state);
        assert_sample(text, "t", numbers[i]);
    }
}

/* Whatever a caller uses as a label, the memory is bounded and nothing is lost. */
static void test_limit(void **state)
{
    struct metric *metric =
        metrics_add(*state, &(struct metric_spec){"t_total", "x", METRIC_COUNTER, {"l"}, NULL, 0});
    for (int i = 0; i < METRIC_SERIES_MAX + 100; i++) {
        char value[16];
        snprintf(value, sizeof(value), "v%d", i);
        metric_add(metric, 1, (const char *const[]){value});
    }
    metric_add(metric, 1, (const char *const[]){"v0"});
    _cleanup_(free) char *text = text_of_all(*state);
    assert_sample(text, "t_total{l=\"other\"}", 100);
    assert_sample(text, "t_total{l=\"v0\"}", 2);
}

#define THREADS 8
#define ROUNDS  2000

static void *count_up(void *data)
{
    struct metric *const *metrics = data;
    for (int i = 0; i < ROUNDS; i++) {
        char value[8];
        snprintf(value, sizeof(value), "%d", i % 10);
        metric_add(metrics[0], 1, (const char *const[]){value});
        metric_observe(metrics[1], i % 3, NULL);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct metric *metrics[] = {
        metrics_add(*state, &(struct metric_spec){"t_total", "x", METRIC_COUNTER, {"l"}, NULL, 0}),
        metrics_add(*state, &(struct metric_spec){"h", "x", METRIC_HISTOGRAM, {NULL}, bounds, 3}),
    };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, metrics), 0);
    for (int i = 0; i < 20; i++)
        free(text_of_all(*state)); /* whole and consistent at every moment */
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    _cleanup_(free) char *text = text_of_all(*state);
    assert_sample(text, "t_total{l=\"7\"}", THREADS * ROUNDS / 10);
    assert_sample(text, "h_count", THREADS * ROUNDS);
}

/* The reader that the other tests trust. */
static void test_the_reader(void **state)
{
#define HEAD      "# HELP a b\n# TYPE a counter\n"
#define HISTOGRAM "# HELP h b\n# TYPE h histogram\n"
    static const char *const wrong[] = {
        "a 1\n",
        "# HELP a b\na 1\n",
        "# TYPE a counter\na 1\n",
        "# HELP a b\n# TYPE a thing\na 1\n",
        HEAD "a 1",
        HEAD "a 1\n\n",
        HEAD "a 1\na 2\n",
        HEAD "b 1\n",
        HEAD "a  1\n",
        HEAD "a one\n",
        HEAD "a -1\n",
        HEAD "a{} 1\n",
        HEAD "a{l=\"x} 1\n",
        HEAD "a{l=x} 1\n",
        HEAD "a{l=\"\\x\"} 1\n",
        HEAD "a{l=\"x\",l=\"y\"} 1\n",
        HEAD "a{l=\"x\",} 1\n",
        HEAD "a{1=\"x\"} 1\n",
        HEAD "a{l=\"\xff\"} 1\n",
        HEAD "a 1\n" HEAD "a 1\n",
        "# HELP a \\x\n# TYPE a counter\n",
        HISTOGRAM "h_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n",
        HISTOGRAM "h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
        HISTOGRAM "h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 2\n",
        HISTOGRAM "h_bucket{le=\"+Inf\"} 1\nh_count 1\n",
        HISTOGRAM "h_bucket{le=\"+Inf\"} 1\nh_sum 1\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        if (!exposition_check(wrong[i]))
            fail_msg("taken for right: %s", wrong[i]);
    }
    assert_exposition(HEAD "a{l=\"x\"} 1\na{l=\"y\"} 1e+20\n" HISTOGRAM
                           "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n");
    assert_exposition("");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_to_the_byte), TEST(test_escapes), TEST(test_numbers),
        TEST(test_limit),       TEST(test_threads), TEST(test_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
