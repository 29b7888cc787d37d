/* SPDX-License-Identifier: Apache-2.0 */
/* POST /images/import: the body is the archive, taken as it comes; the rest is in the query. */
#include <errno.h>
#include <string.h>

#include "api/image_json.h"
#include "api/routes.h"
#include "api/tags.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "image/reference.h"

/* What the query says, as JSON texts for the import; owned. */
struct wishes {
    char *entrypoint, *cmd, *env, *tags;
};

static void cleanup_wishes(struct wishes *wishes)
{
    free(wishes->entrypoint);
    free(wishes->cmd);
    free(wishes->env);
    free(wishes->tags);
}

static json_t *value_json(const struct uri_parameter *parameter, struct problem *problem)
{
    json_t *value = json_string(parameter->value);
    if (!value)
        problem_set(problem, 400, PROBLEM_BAD_REQUEST, "%.64s: must be UTF-8", parameter->name);
    return value;
}

/* NAME=VALUE, any number of times: an array. NULL if there is none. */
static char *query_array(const struct uri *uri, const char *name, struct problem *problem)
{
    _cleanup_(json) json_t *array = json_array();
    for (size_t i = 0; i < uri->parameter_count; i++) {
        json_t *value = strcmp(uri->parameters[i].name, name) == 0
                            ? value_json(&uri->parameters[i], problem)
                            : NULL;
        if (value)
            json_array_append_new(array, value);
    }
    return json_array_size(array) > 0 ? json_dumps(array, JSON_COMPACT) : NULL;
}

/* NAME[KEY]=VALUE, any number of times: an object. */
static json_t *query_map(const struct uri *uri, const char *name, struct problem *problem)
{
    json_t *map = json_object();
    size_t prefix = strlen(name);
    for (size_t i = 0; i < uri->parameter_count; i++) {
        const struct uri_parameter *parameter = &uri->parameters[i];
        size_t length = strlen(parameter->name);
        if (strncmp(parameter->name, name, prefix) != 0 || parameter->name[prefix] != '[' ||
            parameter->name[length - 1] != ']')
            continue;
        json_t *value = value_json(parameter, problem);
        if (value &&
            json_object_setn_new(map, parameter->name + prefix + 1, length - prefix - 2, value) < 0)
            problem_set(problem, 400, PROBLEM_BAD_REQUEST, "%s: a key must be UTF-8", name);
    }
    return map;
}

static char *query_env(const struct uri *uri, struct problem *problem)
{
    _cleanup_(json) json_t *map = query_map(uri, "env", problem);
    return json_object_size(map) > 0 ? json_dumps(map, JSON_COMPACT) : NULL;
}

static char *query_tags(const struct uri *uri, struct problem *problem)
{
    _cleanup_(json) json_t *object = json_pack("{s:o}", "tags", query_map(uri, "tags", problem));
    const struct fields fields = {object, "", problem};
    return tags_text(&fields);
}

static void query_size(const struct uri *uri, const char *name, uint64_t *bytes,
                       struct problem *problem)
{
    const char *text = uri_query(uri, name);
    struct error err = {0};
    if (text && size_parse(text, bytes, &err) < 0)
        problem_set(problem, 400, "invalid_size", "%s: %s", name, err.message);
    else if (text && *bytes == 0)
        problem_set(problem, 400, "invalid_size", "%s: must be more than nothing", name);
}

static void name_check(const char *name, struct problem *problem)
{
    struct image_reference reference;
    struct error err = {0};
    if (!name)
        problem_set(problem, 400, PROBLEM_BAD_REQUEST, "name: is required, as in ?name=NAME");
    else if (image_reference_parse(name, &reference, &err) < 0)
        problem_set(problem, 400, "invalid_name", "name: %s", err.message);
}

static void import_problem(const struct error *err, struct problem *problem)
{
    if (err->errnum == EFBIG)
        problem_set(problem, MHD_HTTP_CONTENT_TOO_LARGE, "Content Too Large", "%s", err->message);
    problem_from_error(problem, err);
}

static void import_begin(struct request *request, struct problem *problem)
{
    const struct uri *uri = &request->uri;
    struct image_import_request import = {.name = uri_query(uri, "name"),
                                          .program.working_dir = uri_query(uri, "working_dir")};
    name_check(import.name, problem);
    query_size(uri, "size_limit", &import.bytes_limit, problem);
    query_size(uri, "entry_limit", &import.inodes_limit, problem);
    _cleanup_(wishes) struct wishes wishes = {
        .entrypoint = query_array(uri, "entrypoint", problem),
        .cmd = query_array(uri, "cmd", problem),
        .env = query_env(uri, problem),
        .tags = query_tags(uri, problem),
    };
    struct image_import *begun = NULL;
    struct error err = {0};
    if (problem->status != 0)
        return;
    import.program.entrypoint = wishes.entrypoint;
    import.program.cmd = wishes.cmd;
    import.program.env = wishes.env;
    import.tags = wishes.tags;
    if (image_import_begin(request->server->images, &import, &begun, &err) < 0)
        import_problem(&err, problem);
    request->body_taker = begun;
}

/* What is no longer wanted is read all the same: only then does every client read the answer. */
static void import_take(struct request *request, const char *data, size_t length)
{
    image_import_feed(request->body_taker, data, length);
}

static void import_release(struct request *request)
{
    image_import_cancel(TAKE_PTR(request->body_taker));
}

const struct body_stream image_import_body = {import_begin, import_take, import_release};

enum MHD_Result image_import_post(struct request *request)
{
    struct image image = {0};
    struct problem problem = {0};
    struct error err = {0};
    if (image_import_finish(TAKE_PTR(request->body_taker), &image, &err) == 0)
        return reply_json(request, MHD_HTTP_CREATED, image_json(&image));
    import_problem(&err, &problem);
    return reply_problem(request, &problem);
}
