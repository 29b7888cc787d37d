/* SPDX-License-Identifier: Apache-2.0 */
#include "api/cp_message.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/json_text.h"
#include "base/cleanup.h"

#define PERMISSIONS 0777u

static void send_json(struct websocket *socket, json_t *json)
{
    _cleanup_(free) char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text)
        websocket_send(socket, true, text, strlen(text));
}

/* Clients leave these out when they are nothing, and so do we. */
static void optional_fields(json_t *header, const struct agent_entry *entry)
{
    if (S_ISLNK(entry->mode)) {
        json_object_set_new(header, "is_symlink", json_true());
        json_object_set_new(header, "link_target", json_string(entry->link_target));
    }
    if (entry->uid != 0)
        json_object_set_new(header, "uid", json_integer(entry->uid));
    if (entry->gid != 0)
        json_object_set_new(header, "gid", json_integer(entry->gid));
}

static bool is_utf8(const char *text)
{
    json_t *string = json_string(text);
    json_decref(string);
    return string != NULL;
}

int cp_send_header(struct websocket *socket, const struct agent_entry *entry)
{
    if (!is_utf8(entry->path) || !is_utf8(entry->link_target))
        return -EILSEQ;
    json_t *header =
        json_pack("{s:s, s:s, s:I, s:b, s:I, s:I}", "type", "header", "path", entry->path, "mode",
                  (json_int_t)(entry->mode & PERMISSIONS), "is_dir", S_ISDIR(entry->mode), "size",
                  (json_int_t)entry->size, "mtime", (json_int_t)entry->mtime);
    optional_fields(header, entry);
    send_json(socket, header);
    return 0;
}

void cp_send_end(struct websocket *socket, bool final, uint32_t skipped)
{
    json_t *end = json_pack("{s:s, s:b}", "type", "end", "final", final);
    if (skipped > 0)
        json_object_set_new(end, "tine", json_pack("{s:I}", "skipped", (json_int_t)skipped));
    send_json(socket, end);
}

void cp_send_error(struct websocket *socket, const char *message, const char *path)
{
    json_t *error =
        json_pack("{s:s, s:o}", "type", "error", "message", json_text(message, strlen(message)));
    if (path)
        json_object_set_new(error, "path", json_text(path, strlen(path)));
    send_json(socket, error);
}

void cp_send_result(struct websocket *socket, uint64_t bytes, const char *failure)
{
    json_t *result = json_pack("{s:s, s:b}", "type", "result", "success", failure == NULL);
    if (failure)
        json_object_set_new(result, "error", json_text(failure, strlen(failure)));
    else if (bytes > 0)
        json_object_set_new(result, "bytes_written", json_integer((json_int_t)bytes));
    send_json(socket, result);
}
