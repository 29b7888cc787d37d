/* SPDX-License-Identifier: Apache-2.0 */
/* tine image ls: the list of images. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/instance_view.h"
#include "cli/table.h"

#define DIGEST_SHOWN 12
#define DIGEST_SKIP  7 /* "sha256:" */

static void add_row(struct table *table, const json_t *image)
{
    char digest[DIGEST_SHOWN + 1] = "", size[32], age[32];
    const char *whole = view_text(image, "digest");
    snprintf(digest, sizeof(digest), "%s", strnlen(whole, 8) == 8 ? whole + DIGEST_SKIP : "");
    view_bytes(json_object_get(image, "size_bytes"), size);
    view_age(view_text(image, "created_at"), age);
    table_add(table, (const char *[]){view_text(image, "name"), digest, size, age});
}

static int ls_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    static const struct table_column columns[] = {
        {"NAME", .shrink = true},
        {"DIGEST"},
        {"SIZE", .right = true},
        {"AGE"},
    };
    struct failure failure = {0};
    _cleanup_(json) json_t *list = http_get(cli, NULL, "/images", &failure);
    if (!list)
        return cli_fail(cli, NULL, &failure);
    if (cli->json)
        return cli_print_json(json_incref(list));
    struct table table = {.columns = columns, .column_count = ARRAY_SIZE(columns)};
    size_t i;
    json_t *image;
    json_array_foreach(list, i, image) add_row(&table, image);
    table_print(&table, terminal_width());
    table_release(&table);
    return CLI_OK;
}

const struct command image_ls_command = {
    .name = "image ls",
    .operands = "",
    .summary = "List images",
    .details = "SIZE is that of an image's disk, holes included. The guest kit is one of them.\n",
    .examples = "  tine image ls\n"
                "  tine image ls --json | jq -r '.[].name'\n",
    .run = ls_run,
};
