/* SPDX-License-Identifier: Apache-2.0 */
/* Images: list, get, ask for one, delete. */
#include "image/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/platform.h"
#include "api/routes.h"
#include "api/tags.h"
#include "base/cleanup.h"
#include "base/clock.h"

static json_t *image_json(const struct image *image)
{
    char created[32];
    time_format_rfc3339(image->created_at_ns, created);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:n, s:n, s:I, s:n, s:n, s:{}, s:n}", "name",
                     image->name, "digest", image->digest, "status", "ready", "created_at", created,
                     "platform", PLATFORM, "queue_position", "error", "size_bytes",
                     (json_int_t)image->size_bytes, "entrypoint", "cmd", "env", "working_dir");
}

static enum MHD_Result reply_image_error(struct request *request, const struct error *err)
{
    struct problem problem = {0};
    if (err->code == ERROR_INVALID)
        problem_set(&problem, 400, "invalid_name", "%s", err->message);
    problem_from_error(&problem, err);
    return reply_problem(request, &problem);
}

enum MHD_Result images_list(struct request *request)
{
    _cleanup_(free) struct image *images = NULL;
    size_t count = 0;
    struct error err = {0};
    if (image_list(request->server->images, &images, &count, &err) < 0)
        return reply_error(request, &err);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        if (tags_match("", &request->uri))
            json_array_append_new(list, image_json(&images[i]));
    }
    return reply_json(request, MHD_HTTP_OK, list);
}

/* The image whose name is the rest of the path. Clients escape its slashes once, twice or not. */
static int path_image(const struct request *request, struct image *image, struct error *err)
{
    _cleanup_(free) char *name = uri_rest(&request->uri, 1);
    if (!name)
        return error_errno(err, ENOMEM, NULL, "image");
    if (strcasestr(name, "%2f") && uri_decode(name) < 0)
        return error_set(err, ERROR_INVALID, EINVAL, "\"%.200s\" is not an image reference", name);
    return image_get(request->server->images, name, image, err);
}

enum MHD_Result image_get_one(struct request *request)
{
    struct image image = {0};
    struct error err = {0};
    if (path_image(request, &image, &err) < 0)
        return reply_image_error(request, &err);
    return reply_json(request, MHD_HTTP_OK, image_json(&image));
}

enum MHD_Result image_delete_one(struct request *request)
{
    struct image image = {0};
    struct error err = {0};
    if (path_image(request, &image, &err) == 0)
        error_set(&err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                  "%s is the guest kit, a part of the installation: it can't be deleted",
                  image.name);
    return reply_image_error(request, &err);
}

enum MHD_Result images_create(struct request *request)
{
    struct problem problem = {0};
    const char *name = NULL, *platform = NULL;
    _cleanup_(json) json_t *body = request_body(request, &problem);
    struct fields fields = {body, "", &problem};
    fields_string(&fields, "name", &name);
    fields_string(&fields, "platform", &platform);
    if (!name)
        problem_set(&problem, 400, PROBLEM_BAD_REQUEST, "name: is required");
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct image image = {0};
    struct error err = {0};
    if (image_get(request->server->images, name, &image, &err) < 0)
        return reply_image_error(request, &err);
    platform_check(platform, &problem);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    return reply_json(request, MHD_HTTP_ACCEPTED, image_json(&image));
}
