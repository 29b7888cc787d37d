/* SPDX-License-Identifier: Apache-2.0 */
#include "api/cp_request.h"

#include <errno.h>
#include <string.h>

#include "api/fields.h"

#define FILE_MODE      0644u
#define DIRECTORY_MODE 0755u
#define PERMISSIONS    07777u

static void direction_read(const struct fields *fields, struct cp_request *request)
{
    const char *direction = NULL;
    fields_string(fields, "direction", &direction);
    request->into_guest = direction && strcmp(direction, "to") == 0;
    if (!request->into_guest && (!direction || strcmp(direction, "from") != 0))
        problem_set(fields->problem, 400, "invalid_request", "direction: must be to or from");
}

static uint32_t number_read(const struct fields *fields, const char *name)
{
    int64_t value = 0;
    fields_integer(fields, name, 0, UINT32_MAX, &value);
    return (uint32_t)value;
}

static void put_read(const struct fields *fields, struct agent_put *put)
{
    struct fields tine = fields_object(fields, "tine", "tine.");
    fields_bool(fields, "is_dir", &put->directory);
    fields_string(&tine, "link_target", &put->link_target);
    put->mode = number_read(fields, "mode") & PERMISSIONS;
    put->uid = number_read(fields, "uid");
    put->gid = number_read(fields, "gid");
    if (put->mode == 0) /* as clients leave it out */
        put->mode = put->directory ? DIRECTORY_MODE : FILE_MODE;
    if (put->directory && put->link_target)
        problem_set(fields->problem, 400, "invalid_request",
                    "is_dir and tine.link_target exclude each other");
    else if (put->link_target && put->link_target[0] == '\0')
        problem_set(fields->problem, 400, "invalid_request", "tine.link_target: must not be empty");
}

static void request_read(const struct fields *fields, struct cp_request *request)
{
    const char *path = NULL;
    direction_read(fields, request);
    fields_string(fields, "guest_path", &path);
    if (!path || path[0] != '/')
        problem_set(fields->problem, 400, "invalid_request",
                    "guest_path: must be an absolute path");
    request->put.path = request->get.path = path;
    put_read(fields, &request->put);
    fields_bool(fields, "follow_links", &request->get.follow);
}

int cp_request_parse(struct cp_request *request, const char *text, size_t length,
                     struct problem *problem)
{
    *request = (struct cp_request){.json = fields_parse(text, length, problem)};
    if (request->json)
        request_read(&(struct fields){request->json, "", problem}, request);
    return problem->status != 0 ? -EINVAL : 0;
}

void cp_request_release(struct cp_request *request)
{
    json_decref(request->json);
}
