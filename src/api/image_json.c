/* SPDX-License-Identifier: Apache-2.0 */
#include "api/image_json.h"

#include "api/platform.h"
#include "base/clock.h"

static json_t *stored_json(const char *text, json_t *otherwise)
{
    json_t *value = *text ? json_loads(text, 0, NULL) : NULL;
    if (!value)
        return otherwise;
    json_decref(otherwise);
    return value;
}

json_t *image_json(const struct image *image)
{
    const struct program *program = &image->program;
    char created[32];
    time_format_rfc3339(image->created_at_ns, created);
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:n, s:n, s:I, s:o, s:o, s:o, s:s*}", "name", image->name,
        "digest", image->digest, "status", "ready", "created_at", created, "platform", PLATFORM,
        "queue_position", "error", "size_bytes", (json_int_t)image->size_bytes, "entrypoint",
        stored_json(program->entrypoint, json_null()), "cmd",
        stored_json(program->cmd, json_null()), "env", stored_json(program->env, json_object()),
        "working_dir", *program->working_dir ? program->working_dir : NULL);
    if (!*program->working_dir)
        json_object_set_new(json, "working_dir", json_null());
    if (*image->tags)
        json_object_set_new(json, "tags", stored_json(image->tags, json_object()));
    return json;
}

enum MHD_Result reply_image_error(struct request *request, const struct error *err)
{
    struct problem problem = {0};
    if (err->code == ERROR_INVALID)
        problem_set(&problem, 400, "invalid_name", "%s", err->message);
    problem_from_error(&problem, err);
    return reply_problem(request, &problem);
}
