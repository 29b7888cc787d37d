/* SPDX-License-Identifier: Apache-2.0 */
#include "image/program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

#define STRINGS_MAX   256 /* arguments, or variables */
#define FIELD(member) offsetof(struct program, member), sizeof(((struct program *)0)->member)

static int check_arguments(const char *field, const json_t *array, struct error *err)
{
    size_t i;
    json_t *argument;
    if (!json_is_array(array))
        return error_set(err, ERROR_INVALID, EINVAL, "%s: must be an array of strings", field);
    if (json_array_size(array) > STRINGS_MAX)
        return error_set(err, ERROR_INVALID, E2BIG, "%s: %zu strings, at most %d are possible",
                         field, json_array_size(array), STRINGS_MAX);
    json_array_foreach((json_t *)array, i, argument)
    {
        if (!json_is_string(argument))
            return error_set(err, ERROR_INVALID, EINVAL, "%s: must be an array of strings", field);
    }
    if (json_array_size(array) > 0 && json_string_length(json_array_get(array, 0)) == 0)
        return error_set(err, ERROR_INVALID, EINVAL, "%s: its first string is empty", field);
    return 0;
}

/* The values are nobody's business, and in no message. */
static int check_env(const char *field, const json_t *object, struct error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object))
        return error_set(err, ERROR_INVALID, EINVAL, "%s: must be an object of strings", field);
    if (json_object_size(object) > STRINGS_MAX)
        return error_set(err, ERROR_INVALID, E2BIG, "%s: %zu variables, at most %d are possible",
                         field, json_object_size(object), STRINGS_MAX);
    json_object_foreach((json_t *)object, name, value)
    {
        if (!*name || strchr(name, '='))
            return error_set(err, ERROR_INVALID, EINVAL,
                             "%s: \"%.64s\" is not a variable's name: it is empty or has a '='",
                             field, name);
        if (!json_is_string(value))
            return error_set(err, ERROR_INVALID, EINVAL, "%s.%.64s: must be a string", field, name);
    }
    return 0;
}

/* The fields that are JSON. An empty list is stored as none. */
static const struct {
    const char *name;
    size_t request; /* offset of its text in the request */
    size_t offset, size;
    int (*check)(const char *field, const json_t *json, struct error *err);
} fields[] = {
    {"entrypoint", offsetof(struct program_request, entrypoint), FIELD(entrypoint),
     check_arguments},
    {"cmd", offsetof(struct program_request, cmd), FIELD(cmd), check_arguments},
    {"env", offsetof(struct program_request, env), FIELD(env), check_env},
};

static int set_text(char *target, size_t size, const char *field, const char *text,
                    struct error *err)
{
    size_t length = strlen(text);
    if (length >= size)
        return error_set(err, ERROR_INVALID, E2BIG, "%s: more than %zu bytes in all", field,
                         size - 1);
    memcpy(target, text, length + 1);
    return 0;
}

static int set_json(struct program *program, size_t i, const char *text, struct error *err)
{
    _cleanup_(json) json_t *json = json_loads(text, 0, NULL);
    int r = fields[i].check(fields[i].name, json, err);
    if (r < 0)
        return r;
    bool none = json_array_size(json) == 0 && json_object_size(json) == 0;
    return set_text((char *)program + fields[i].offset, fields[i].size, fields[i].name,
                    none ? "" : text, err);
}

static int set_working_dir(struct program *program, const char *path, struct error *err)
{
    if (*path && *path != '/')
        return error_set(err, ERROR_INVALID, EINVAL,
                         "working_dir: \"%.200s\" is not an absolute path", path);
    return set_text(program->working_dir, sizeof(program->working_dir), "working_dir", path, err);
}

int program_set(struct program *program, const struct program_request *request, struct error *err)
{
    struct program changed = *program;
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fields); i++) {
        const char *text = *(const char *const *)((const char *)request + fields[i].request);
        r = text ? set_json(&changed, i, text, err) : 0;
    }
    if (r == 0 && request->working_dir)
        r = set_working_dir(&changed, request->working_dir, err);
    if (r == 0)
        *program = changed;
    return r;
}

/* Both are texts that were checked. */
static int env_defaults(struct program *program, const struct program *image, struct error *err)
{
    if (!*program->env || !*image->env)
        return *image->env ? set_text(program->env, sizeof(program->env), "env", image->env, err)
                           : 0;
    _cleanup_(json) json_t *merged = json_loads(image->env, 0, NULL);
    _cleanup_(json) json_t *wanted = json_loads(program->env, 0, NULL);
    json_object_update(merged, wanted);
    _cleanup_(free) char *text = json_dumps(merged, JSON_COMPACT);
    if (!text)
        return error_errno(err, ENOMEM, NULL, "env");
    return set_text(program->env, sizeof(program->env), "env, with that of the image", text, err);
}

int program_defaults(struct program *program, const struct program *image, struct error *err)
{
    if (!*program->cmd && !*program->entrypoint)
        memcpy(program->cmd, image->cmd, sizeof(program->cmd));
    if (!*program->entrypoint)
        memcpy(program->entrypoint, image->entrypoint, sizeof(program->entrypoint));
    if (!*program->working_dir)
        memcpy(program->working_dir, image->working_dir, sizeof(program->working_dir));
    return env_defaults(program, image, err);
}

bool program_given(const struct program *program)
{
    return *program->entrypoint || *program->cmd;
}

/* --- for the agent --------------------------------------------------------------------------- */

static char **argv_make(const json_t *entrypoint, const json_t *cmd)
{
    const json_t *const parts[] = {entrypoint, cmd};
    char **argv = calloc(json_array_size(entrypoint) + json_array_size(cmd) + 1, sizeof(*argv));
    size_t n = 0;
    for (size_t part = 0; argv && part < ARRAY_SIZE(parts); part++) {
        for (size_t i = 0; i < json_array_size(parts[part]); i++) {
            const char *argument = json_string_value(json_array_get(parts[part], i));
            argv[n] = argument ? strdup(argument) : NULL;
            if (!argv[n++])
                break;
        }
    }
    return argv;
}

static char **env_make(json_t *object)
{
    char **env = calloc(json_object_size(object) + 1, sizeof(*env));
    size_t n = 0;
    const char *name;
    json_t *value;
    if (!env)
        return NULL;
    json_object_foreach(object, name, value)
    {
        if (asprintf(&env[n], "%s=%s", name, json_string_value(value)) < 0)
            env[n] = NULL;
        else
            n++;
    }
    return env;
}

size_t vector_length(const char *const *vector)
{
    size_t n = 0;
    while (vector && vector[n])
        n++;
    return n;
}

/* An empty text is no JSON, and reads as nothing. */
int program_vectors(const struct program *program, struct program_vectors *vectors,
                    struct error *err)
{
    json_t *json[ARRAY_SIZE(fields)];
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const char *text = (const char *)program + fields[i].offset;
        json[i] = *text ? json_loads(text, 0, NULL) : NULL;
        if (r == 0 && *text)
            r = fields[i].check(fields[i].name, json[i], err);
    }
    if (r < 0 && err)
        err->code = ERROR_CORRUPT;
    if (r == 0) {
        vectors->argv = argv_make(json[0], json[1]);
        vectors->env = env_make(json[2]);
        if (vector_length((const char *const *)vectors->argv) !=
                json_array_size(json[0]) + json_array_size(json[1]) ||
            vector_length((const char *const *)vectors->env) != json_object_size(json[2]) ||
            !vectors->argv || !vectors->env)
            r = error_errno(err, ENOMEM, NULL, "the program's arguments");
    }
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        json_decref(json[i]);
    return r;
}

static void vector_free(char **vector)
{
    for (char **text = vector; text && *text; text++)
        free(*text);
    free((void *)vector);
}

void cleanup_program_vectors(struct program_vectors *vectors)
{
    vector_free(vectors->argv);
    vector_free(vectors->env);
}
