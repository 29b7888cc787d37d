/* SPDX-License-Identifier: Apache-2.0 */
/* Out of the guest: where the tree goes, and what the entries become. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/relative_path.h"
#include "cli/cp_wire.h"
#include "cli/instance_view.h"
#include "cli/tree_writer.h"

struct cp_out {
    struct cp *cp;
    struct cp_wire wire;
    struct tree_writer writer;
    bool placed;             /* the writer is open */
    char root[NAME_MAX + 1]; /* the first entry's path, as the guest says it ... */
    char name[NAME_MAX + 1]; /* ... and what it is called here; "": its content goes to the writer's
                                own directory */
    char path[PATH_MAX];     /* of the entry under way */
    uint64_t left;           /* of its content */
};

static void fail(struct cp_out *out, const struct error *err)
{
    failure_set(&out->wire.failure, CLI_FAILED, "failed", "%s", err->message);
}

static int name_set(struct cp_out *out, const char *name, struct error *err)
{
    if (strchr(name, '/') || !relative_path_valid(name))
        return error_set(err, ERROR_INVALID, EINVAL, "\"%s\" is no name for a file", name);
    memcpy(out->name, name, strlen(name) + 1);
    return 0;
}

/* Beside what is there, or under a new name. */
static int place_named(struct cp_out *out, const char *path, struct error *err)
{
    _cleanup_(free) char *copy = strdup(path);
    if (!copy)
        return error_errno(err, ENOMEM, path, "%s", path);
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    char *slash = strrchr(copy, '/');
    int r = name_set(out, slash ? slash + 1 : copy, err);
    if (r < 0)
        return r;
    if (slash)
        slash[slash == copy ? 1 : 0] = '\0';
    return tree_writer_open(&out->writer, slash ? copy : ".", out->cp->archive, err);
}

/* As docker cp: into a directory that is there, onto a file that is there, else under that name. */
static int place(struct cp_out *out, bool directory, struct error *err)
{
    struct stat st;
    const char *path = out->cp->local_path;
    if (stat(path, &st) < 0) {
        if (errno != ENOENT)
            return error_errno(err, errno, path, "%s", path);
        if (!directory && path[strlen(path) - 1] == '/')
            return error_errno(err, ENOENT, path, "directory %s", path);
        return place_named(out, path, err);
    }
    if (S_ISDIR(st.st_mode)) {
        bool content = directory && cp_means_content(out->cp->guest_path);
        if (!content && strcmp(out->root, ".") != 0 && name_set(out, out->root, err) < 0)
            return -EINVAL;
        return tree_writer_open(&out->writer, path, out->cp->archive, err);
    }
    if (directory)
        return error_errno(err, ENOTDIR, path, "%s, for a directory", path);
    _cleanup_(free) char *real = realpath(path, NULL);
    return real ? place_named(out, real, err) : error_errno(err, errno, path, "%s", path);
}

/* The path below the writer's directory. */
static int path_set(struct cp_out *out, const char *path, struct error *err)
{
    const char *below = path;
    if (strcmp(out->root, ".") == 0) {
        below = strcmp(path, ".") == 0 ? "" : path;
    } else {
        size_t length = strlen(out->root);
        if (strncmp(path, out->root, length) != 0 || (path[length] != '/' && path[length] != '\0'))
            return error_set(err, ERROR_CORRUPT, EPROTO, "the guest sends \"%s\", not asked for",
                             path);
        below = path + length + (path[length] == '/' ? 1 : 0);
    }
    const char *between = out->name[0] && below[0] ? "/" : "";
    int n = snprintf(out->path, sizeof(out->path), "%s%s%s", out->name, between, below);
    return n < (int)sizeof(out->path)
               ? 0
               : error_errno(err, ENAMETOOLONG, path, "%s in %s", path, out->cp->local_path);
}

static void count(struct cp *cp, const struct tree_entry *entry)
{
    cp->directories += entry->directory;
    cp->links += entry->link_target != NULL;
    cp->files += !entry->directory && !entry->link_target;
}

static int64_t number_of(const json_t *message, const char *name)
{
    return json_integer_value(json_object_get(message, name));
}

static int entry_begin(struct cp_out *out, const json_t *header, struct error *err)
{
    const char *path = view_text(header, "path");
    struct tree_entry entry = {
        .path = out->path,
        .directory = json_is_true(json_object_get(header, "is_dir")),
        .mode = (uint32_t)number_of(header, "mode"),
        .mtime = number_of(header, "mtime"),
        .uid = (uint32_t)number_of(header, "uid"),
        .gid = (uint32_t)number_of(header, "gid"),
    };
    if (json_is_true(json_object_get(header, "is_symlink")))
        entry.link_target = view_text(header, "link_target");
    if (!out->placed) {
        snprintf(out->root, sizeof(out->root), "%s", path);
        int r = place(out, entry.directory, err);
        if (r < 0)
            return r;
        out->placed = true;
    }
    int r = path_set(out, path, err);
    if (r == 0)
        r = tree_writer_begin(&out->writer, &entry, err);
    out->left = (uint64_t)number_of(header, "size");
    if (r == 0)
        count(out->cp, &entry);
    return r;
}

static void on_header(struct cp_out *out, const json_t *message)
{
    struct error err = {0};
    if (entry_begin(out, message, &err) < 0)
        fail(out, &err);
}

static void on_end(struct cp_out *out, const json_t *message)
{
    struct error err = {0};
    int r = 0;
    if (!out->placed || out->left != 0)
        r = error_set(&err, ERROR_CORRUPT, EPROTO, "%s is not complete", out->path);
    if (r == 0)
        r = tree_writer_end(&out->writer, &err);
    if (r == 0 && json_is_true(json_object_get(message, "final"))) {
        r = tree_writer_finish(&out->writer, &err);
        out->cp->skipped = (uint64_t)number_of(json_object_get(message, "tine"), "skipped");
        out->wire.over = true;
    }
    if (r < 0)
        fail(out, &err);
}

static void on_error(struct cp_out *out, const json_t *message)
{
    failure_set(&out->wire.failure, CLI_FAILED, "failed", "%s", view_text(message, "message"));
}

static void on_text(void *data, const json_t *message)
{
    static const struct {
        const char *type;
        void (*handle)(struct cp_out *out, const json_t *message);
    } handlers[] = {{"header", on_header}, {"end", on_end}, {"error", on_error}};
    for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
        if (strcmp(handlers[i].type, view_text(message, "type")) == 0)
            handlers[i].handle(data, message);
    }
}

static void on_bytes(void *data, const char *bytes, size_t length)
{
    struct cp_out *out = data;
    struct error err = {0};
    int r = 0;
    if (!out->placed || length > out->left)
        r = error_set(&err, ERROR_CORRUPT, EPROTO, "%s: more content than was announced",
                      out->path);
    if (r == 0)
        r = tree_writer_data(&out->writer, bytes, length, &err);
    if (r < 0) {
        fail(out, &err);
        return;
    }
    out->left -= length;
    cp_progress(out->cp, out->path, length);
}

int cp_out(struct cp *cp, struct failure *failure)
{
    _cleanup_(free) struct cp_out *out = calloc(1, sizeof(*out));
    if (!out)
        return failure_set(failure, CLI_FAILED, "failed", "out of memory");
    out->cp = cp;
    out->wire =
        (struct cp_wire){.cp = cp, .fd = -1, .text = on_text, .bytes = on_bytes, .data = out};
    json_t *request = json_pack("{s:s, s:s, s:b}", "direction", "from", "guest_path",
                                cp->guest_path, "follow_links", cp->follow);
    if (cp_wire_open(&out->wire, request) == 0)
        cp_wire_run(&out->wire);
    if (out->placed)
        tree_writer_close(&out->writer);
    cp_wire_close(&out->wire);
    *failure = out->wire.failure;
    return failure->exit_status;
}
