/* SPDX-License-Identifier: Apache-2.0 */
#include "api/program_fields.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* The field as text, once it is known to be of its type. Owner: caller; NULL: absent or null, or a
 * problem. */
static char *text_of(const struct fields *fields, const char *name)
{
    const json_t *value =
        fields->problem->status == 0 ? json_object_get(fields->object, name) : NULL;
    if (!value || json_is_null(value))
        return NULL;
    char *text = json_dumps(value, JSON_COMPACT);
    if (!text)
        problem_set(fields->problem, 500, "internal_error", "out of memory");
    return text;
}

static char *list_read(const struct fields *fields, const char *name)
{
    _cleanup_(free) const char **values = NULL;
    fields_strings(fields, name, &values);
    return text_of(fields, name);
}

void program_fields_read(const struct fields *fields, struct program_fields *program)
{
    const char *working_dir = NULL;
    program->entrypoint = list_read(fields, "entrypoint");
    program->cmd = list_read(fields, "cmd");
    fields_string_map(fields, "env");
    program->env = text_of(fields, "env");
    fields_string(fields, "working_dir", &working_dir);
    program->request = (struct program_request){.entrypoint = program->entrypoint,
                                                .cmd = program->cmd,
                                                .env = program->env,
                                                .working_dir = working_dir};
}

static const char *unless_empty(const char *list)
{
    return list && strcmp(list, "[]") != 0 ? list : NULL;
}

void program_fields_read_start(const struct fields *fields, struct program_fields *program)
{
    program->entrypoint = list_read(fields, "entrypoint");
    program->cmd = list_read(fields, "cmd");
    program->request = (struct program_request){.entrypoint = unless_empty(program->entrypoint),
                                                .cmd = unless_empty(program->cmd)};
}

void cleanup_program_fields(struct program_fields *program)
{
    free(program->entrypoint);
    free(program->cmd);
    free(program->env);
}

void program_add_json(json_t *instance, const struct program *program)
{
    const struct {
        const char *name, *text;
    } texts[] = {{"entrypoint", program->entrypoint}, {"cmd", program->cmd}, {"env", program->env}};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (*texts[i].text)
            json_object_set_new(instance, texts[i].name, json_loads(texts[i].text, 0, NULL));
    }
    if (*program->working_dir)
        json_object_set_new(instance, "working_dir",
                            json_text(program->working_dir, strlen(program->working_dir)));
}
