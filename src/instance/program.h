/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the main program of an instance as it is kept, from the request and the image to
 * what the agent is told. */
#ifndef TINE_INSTANCE_PROGRAM_H
#define TINE_INSTANCE_PROGRAM_H

#include "instance/instance.h"

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
