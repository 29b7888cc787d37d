/* SPDX-License-Identifier: Apache-2.0 */
/* Images: list, get, ask for one, delete. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/image_json.h"
#include "api/platform.h"
#include "api/routes.h"
#include "api/tags.h"
#include "base/cleanup.h"

enum MHD_Result images_list(struct request *request)
{
    _cleanup_(free) struct image *images = NULL;
    size_t count = 0;
    struct error err = {0};
    if (image_list(request->server->images, &images, &count, &err) < 0)
        return reply_error(request, &err);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        if (tags_match(images[i].tags, &request->uri))
            json_array_append_new(list, image_json(&images[i]));
    }
    return reply_json(request, MHD_HTTP_OK, list);
}

/* The name that is the rest of the path. Clients escape its slashes once, twice or not. Owner:
 * caller; NULL and the error if it is none. */
static char *path_name(const struct request *request, struct error *err)
{
    _cleanup_(free) char *name = uri_rest(&request->uri, 1);
    if (!name)
        error_errno(err, ENOMEM, NULL, "image");
    else if (strcasestr(name, "%2f") && uri_decode(name) < 0)
        error_set(err, ERROR_INVALID, EINVAL, "\"%.200s\" is not an image reference", name);
    return err->errnum == 0 ? TAKE_PTR(name) : NULL;
}

enum MHD_Result image_get_one(struct request *request)
{
    struct image image = {0};
    struct error err = {0};
    _cleanup_(free) char *name = path_name(request, &err);
    if (!name || image_get(request->server->images, name, &image, &err) < 0)
        return reply_image_error(request, &err);
    return reply_json(request, MHD_HTTP_OK, image_json(&image));
}

enum MHD_Result image_delete_one(struct request *request)
{
    struct error err = {0};
    _cleanup_(free) char *name = path_name(request, &err);
    if (!name || image_delete(request->server->images, name, &err) < 0)
        return reply_image_error(request, &err);
    return reply_empty(request, MHD_HTTP_NO_CONTENT);
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
