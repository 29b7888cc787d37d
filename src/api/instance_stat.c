/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/stat: what a path in the guest is. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/query.h"
#include "api/routes.h"

#define PERMISSIONS 0777u

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_text(text, strlen(text)) : json_null();
}

/* That nothing is there is no error; that it can't be told is one, in the answer. */
static json_t *info_json(const struct agent_stat *info)
{
    const struct agent_entry *entry = &info->entry;
    bool missing = info->errnum == ENOENT || info->errnum == ENOTDIR;
    return json_pack("{s:b, s:b, s:b, s:b, s:o, s:I, s:I, s:o}", "exists", info->errnum == 0,
                     "is_dir", S_ISDIR(entry->mode), "is_file", S_ISREG(entry->mode), "is_symlink",
                     S_ISLNK(entry->mode), "link_target", text_or_null(entry->link_target), "mode",
                     (json_int_t)(entry->mode & PERMISSIONS), "size", (json_int_t)entry->size,
                     "error", text_or_null(missing ? "" : info->message));
}

enum MHD_Result instance_stat_one(struct request *request)
{
    struct problem problem = {0};
    struct error err = {0};
    struct agent_stat info;
    bool follow = false;
    const char *path = uri_query(&request->uri, "path");
    if (!path || path[0] != '/')
        problem_set(&problem, 400, PROBLEM_BAD_REQUEST, "path: must be an absolute path");
    query_bool(&request->uri, "follow_links", &follow, &problem);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    if (instance_file_stat(request->server->host, request->reference, path, follow, &info, &err) <
        0)
        return reply_error(request, &err);
    return reply_json(request, MHD_HTTP_OK, info_json(&info));
}
