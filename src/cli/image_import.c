/* SPDX-License-Identifier: Apache-2.0 */
/* tine image import: an image of a directory or an archive here. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/image_tar.h"
#include "cli/instance_view.h"

struct import_options {
    struct option_list entrypoint, cmd, env, tags;
    const char *working_dir;
    uint64_t size_limit;
    unsigned entry_limit;
};

/* What is sent: an archive, or one that is made of a directory as it is sent. */
struct source {
    const char *path;
    struct image_tar *tar; /* NULL: the archive itself */
    int fd;
    uint64_t sent, skipped;
    char label[160]; /* of the progress line */
    const char *name;
    struct failure failure;
};

static int source_open(struct source *source, const char *path)
{
    struct stat st;
    source->path = path;
    if (strcmp(path, "-") == 0) {
        source->fd = STDIN_FILENO;
        return 0;
    }
    _cleanup_(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return failure_set(&source->failure, CLI_FAILED, "failed", "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        source->tar = image_tar_begin(path, &source->failure);
        source->fd = source->tar ? image_tar_fd(source->tar) : -1;
        return source->failure.exit_status;
    }
    source->fd = TAKE_FD(fd);
    return 0;
}

static int source_close(struct source *source)
{
    if (source->tar)
        image_tar_end(TAKE_PTR(source->tar), &source->skipped, &source->failure);
    else if (source->fd > STDIN_FILENO)
        close(source->fd);
    source->fd = -1;
    return source->failure.exit_status;
}

/* Half an archive must not end as if it were a whole one. */
static ssize_t source_read(void *data, char *buffer, size_t size)
{
    struct source *source = data;
    ssize_t n;
    if (source->fd < 0)
        return source->failure.exit_status != 0 ? -1 : 0;
    do {
        n = read(source->fd, buffer, size);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        failure_set(&source->failure, CLI_FAILED, "failed", "%s: %s", source->path,
                    strerror(errno));
    if (n <= 0)
        return source_close(source) != 0 ? -1 : 0;
    source->sent += (uint64_t)n;
    snprintf(source->label, sizeof(source->label), "importing %.100s, %.1f MB", source->name,
             (double)source->sent / (1 << 20));
    return n;
}

/* --- the request ----------------------------------------------------------------------------- */

static void add_parameter(FILE *stream, const char *name, const char *value)
{
    _cleanup_(free) char *escaped = uri_escape(value);
    fprintf(stream, "&%s=%s", name, escaped ? escaped : "");
}

static void add_list(FILE *stream, const char *name, const struct option_list *list)
{
    for (unsigned i = 0; i < list->count; i++)
        add_parameter(stream, name, list->items[i]);
}

/* "KEY=VALUE" each, as name[KEY]=VALUE. */
static int add_map(FILE *stream, const char *name, const char *option,
                   const struct option_list *list, struct failure *failure)
{
    for (unsigned i = 0; i < list->count; i++) {
        const char *equals = strchr(list->items[i], '=');
        if (!equals || equals == list->items[i])
            return failure_set(failure, CLI_FAILED, "failed", "%s: \"%s\" is not KEY=VALUE", option,
                               list->items[i]);
        _cleanup_(free) char *key = strndup(list->items[i], (size_t)(equals - list->items[i]));
        _cleanup_(free) char *escaped = key ? uri_escape(key) : NULL;
        _cleanup_(free) char *value = uri_escape(equals + 1);
        fprintf(stream, "&%s%%5B%s%%5D=%s", name, escaped ? escaped : "", value ? value : "");
    }
    return 0;
}

/* The path with its query; NULL and the failure. Owner: caller. */
static char *request_path(const struct import_options *options, const char *name,
                          struct failure *failure)
{
    char *path = NULL;
    size_t length;
    FILE *stream = open_memstream(&path, &length);
    _cleanup_(free) char *escaped = uri_escape(name);
    if (!stream || !escaped) {
        failure_set(failure, CLI_FAILED, "failed", "out of memory");
        return NULL;
    }
    fprintf(stream, "/images/import?name=%s", escaped);
    add_list(stream, "entrypoint", &options->entrypoint);
    add_list(stream, "cmd", &options->cmd);
    if (options->working_dir)
        add_parameter(stream, "working_dir", options->working_dir);
    if (options->size_limit > 0)
        fprintf(stream, "&size_limit=%llu", (unsigned long long)options->size_limit);
    if (options->entry_limit > 0)
        fprintf(stream, "&entry_limit=%u", options->entry_limit);
    int r = add_map(stream, "env", "--env", &options->env, failure);
    if (r == 0)
        r = add_map(stream, "tags", "--tag", &options->tags, failure);
    if (fclose(stream) != 0 && r == 0)
        r = failure_set(failure, CLI_FAILED, "failed", "out of memory");
    if (r == 0)
        return path;
    free(path);
    return NULL;
}

static int print(const struct cli *cli, struct http_call *call, const struct source *source)
{
    char size[32];
    if (source->skipped > 0)
        fprintf(stderr, "tine: image import: left out %llu sockets\n",
                (unsigned long long)source->skipped);
    if (cli->json) {
        json_object_set_new(call->reply, "elapsed_ms", json_real(call->elapsed_ms));
        return cli_print_json(json_incref(call->reply));
    }
    view_bytes(json_object_get(call->reply, "size_bytes"), size);
    printf("%s  %.19s  %s %6.0f ms\n", view_text(call->reply, "name"),
           view_text(call->reply, "digest"), size, call->elapsed_ms);
    return CLI_OK;
}

static int send_all(const struct cli *cli, struct source *source, char *path)
{
    struct http_call call = {
        .method = "POST", .path = path, .read = source_read, .read_data = source};
    snprintf(source->label, sizeof(source->label), "importing %.100s", source->name);
    int status = http_run(cli, source->label, &call, 1, NULL, NULL);
    source_close(source);
    /* What tined says goes before what became of an archive that it did not want to the end. */
    bool refused = call.failure.exit_status == CLI_FAILED;
    const struct failure *cause =
        source->failure.exit_status != 0 && !refused ? &source->failure : &call.failure;
    if (status == CLI_OK && source->failure.exit_status == 0)
        status = print(cli, &call, source);
    else
        status = cli_fail(cli, source->name, cause);
    http_calls_release(&call, 1);
    return status;
}

static int import_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    struct failure failure = {0};
    char *path = request_path(data, operands[0], &failure);
    if (!path)
        return cli_fail(cli, operands[0], &failure);
    signal(SIGPIPE, SIG_IGN); /* an archive that nobody reads any more */
    struct source source = {.name = operands[0], .fd = -1};
    if (source_open(&source, operands[1]) != 0) {
        free(path);
        return cli_fail(cli, operands[0], &source.failure);
    }
    return send_all(cli, &source, path);
}

#define OPTION(member) offsetof(struct import_options, member)

static const struct command_option import_options[] = {
    {"entrypoint", 0, OPTION_LIST, OPTION(entrypoint), "WORD",
     "a word of the program's command line; may be repeated"},
    {"cmd", 0, OPTION_LIST, OPTION(cmd), "WORD",
     "a word of its arguments, which a user may replace; may be repeated"},
    {"env", 'e', OPTION_LIST, OPTION(env), "KEY=VALUE",
     "a variable of its environment; may be repeated"},
    {"workdir", 'w', OPTION_TEXT, OPTION(working_dir), "DIR", "its working directory"},
    {"tag", 0, OPTION_LIST, OPTION(tags), "KEY=VALUE", "a note of yours; may be repeated"},
    {"size-limit", 0, OPTION_SIZE, OPTION(size_limit), "SIZE",
     "refuse what unpacks to more (default 64GB)"},
    {"entry-limit", 0, OPTION_NUMBER, OPTION(entry_limit), "N",
     "refuse more files and directories (default 2097152)"},
};

const struct command image_import_command = {
    .name = "image import",
    .operands = "REFERENCE PATH|-",
    .summary = "Make an image of a directory or an archive",
    .details =
        "REFERENCE is the image's name, as in alpine, alpine:3.20 or ghcr.io/me/tool. PATH is a\n"
        "directory, or a tar, plain or compressed with gzip, zstd or xz; - reads one from "
        "standard\n"
        "input. Owners, modes, times, extended attributes and hard links are kept. Of a "
        "directory,\n"
        "other file systems mounted in it are left out. An archive that would write outside its\n"
        "own tree is refused.\n",
    .examples = "  tine image import alpine alpine-minirootfs.tar.gz\n"
                "  tine image import me/app:2 ./root --entrypoint /app --env PORT=80\n"
                "  docker export box | tine image import box -\n",
    .options = import_options,
    .option_count = ARRAY_SIZE(import_options),
    .options_size = sizeof(struct import_options),
    .operands_min = 2,
    .operands_max = 2,
    .run = import_run,
};
