/* SPDX-License-Identifier: Apache-2.0 */
/* The main program in bodies: entrypoint, cmd, env, working_dir. */
#ifndef TINE_API_PROGRAM_FIELDS_H
#define TINE_API_PROGRAM_FIELDS_H

#include "api/fields.h"
#include "instance/instance.h"

struct program_fields {
    struct program_request request; /* what is in it lives as long as this and the body */
    char *entrypoint, *cmd, *env;
};

/* Everything of it; wrong types are problems, the values are instance_create()'s to judge. */
void program_fields_read(const struct fields *fields, struct program_fields *program);
/* What a start may replace: entrypoint and cmd, where they are not empty. */
void program_fields_read_start(const struct fields *fields, struct program_fields *program);
void cleanup_program_fields(struct program_fields *program);

/* Into an Instance, what of it is not empty. */
void program_add_json(json_t *instance, const struct program *program);

#endif
