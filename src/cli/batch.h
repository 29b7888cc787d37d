/* SPDX-License-Identifier: Apache-2.0 */
/* One operation on many instances at once: a line as each is done, a report of each failure, one
 * JSON object for programs. */
#ifndef TINE_CLI_BATCH_H
#define TINE_CLI_BATCH_H

#include "cli/http.h"

struct batch {
    const struct cli *cli;
    const char *label;    /* for the progress line: "forking web" */
    const char *subject;  /* what failures are about; NULL: each call's name */
    const char *done_key; /* in the JSON object: "instances" or "removed" */
    struct http_call *calls;
    size_t count;
    bool boots; /* an instance that is Stopped afterwards is a failure */
    /* Results: */
    size_t failed;
    double elapsed_ms;
    int name_width;
};

struct batch *batch_new(const struct cli *cli, size_t count);
void batch_free(struct batch *batch);

static inline void cleanup_batch(struct batch **batch)
{
    batch_free(*batch);
}

/* Runs it. Returns the exit status: that of the first failure. The caller may add to `*summary`
 * (owner: caller), which is what --json prints; it is NULL without --json. */
int batch_run(struct batch *batch, json_t **summary);
/* Runs it and prints that object as it is. */
int batch_run_all(struct batch *batch);
/* The same operation on instances named by operands: POST (or `method`) to each one's `rest`. */
int batch_over_names(const struct cli *cli, const char *label, const char *method, const char *rest,
                     const json_t *body, char **names, unsigned count);

#endif
