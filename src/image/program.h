/* SPDX-License-Identifier: Apache-2.0 */
/* The main program as an image brings it and an instance keeps it, from the request to what the
 * agent is told. */
#ifndef TINE_IMAGE_PROGRAM_H
#define TINE_IMAGE_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "store/store.h"

/* The main program, and what is around every command in the guest; NULL: not given. */
struct program_request {
    const char *entrypoint, *cmd; /* JSON arrays of strings, together the argv; empty: none */
    const char *env;              /* a JSON object of strings */
    const char *working_dir;      /* an absolute path */
};

/* Puts what the request names in place of what is there. ERROR_INVALID names the field; then
 * nothing has changed. */
int program_set(struct program *program, const struct program_request *request, struct error *err);
/* What an image brings goes where the request was silent: environment by name, working directory,
 * entrypoint and cmd, but the image's cmd only where its entrypoint counts too. ERROR_INVALID if
 * the two environments are too large together. */
int program_defaults(struct program *program, const struct program *image, struct error *err);

/* True if there is something to start. */
bool program_given(const struct program *program);

/* How many strings there are up to the NULL; none in NULL. */
size_t vector_length(const char *const *vector);
/* A program's texts as the agent wants them. */
struct program_vectors {
    char **argv, **env; /* up to a NULL */
};
/* ERROR_CORRUPT if a text is not what program_set() has checked. */
int program_vectors(const struct program *program, struct program_vectors *vectors,
                    struct error *err);
void cleanup_program_vectors(struct program_vectors *vectors);

#endif
