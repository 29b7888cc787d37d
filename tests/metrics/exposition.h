/* SPDX-License-Identifier: Apache-2.0 */
/* A strict reader of the Prometheus exposition format, version 0.0.4: it takes only what the format
 * asks for, and of a histogram only a whole and consistent one. */
#ifndef TINE_TESTS_METRICS_EXPOSITION_H
#define TINE_TESTS_METRICS_EXPOSITION_H

#include <stdbool.h>
#include <stddef.h>

/* NULL if the text is right; else what is wrong, with the line, in a static buffer. */
const char *exposition_check(const char *text);

/* The value of the sample written exactly so ("name{label=\"value\"}"); false if there is none. */
bool exposition_value(const char *text, const char *series, double *value);

/* Fails the test unless the text is right; unless the sample is there with that value. */
void assert_exposition(const char *text);
void assert_sample(const char *text, const char *series, double value);

#endif
