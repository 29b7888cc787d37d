/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong with a request, as the client sees it: an HTTP status, a code for programs and
 * one line for people. */
#ifndef TINE_API_PROBLEM_H
#define TINE_API_PROBLEM_H

#include "base/error.h"

struct problem {
    unsigned status;  /* 0: none */
    const char *code; /* static string */
    char message[1280];
};

/* The code of requests that break the format, as opposed to the rules of an operation. */
#define PROBLEM_BAD_REQUEST "Bad Request"

/* Fills `problem`; the first one stays if there is one already. Returns -EINVAL. */
int problem_set(struct problem *problem, unsigned status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Translates an error of the rooms below by the one table of error codes. */
void problem_from_error(struct problem *problem, const struct error *err);

#endif
