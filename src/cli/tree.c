/* SPDX-License-Identifier: Apache-2.0 */
/* tine tree: who was forked from whom. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/instance_view.h"
#include "cli/table.h"

/* A list of instances, each with its parent's place in it. What was deleted has a place, too, for
 * the sake of its forks; what it was forked from itself is not known any more. */
struct node {
    const json_t *instance; /* NULL: deleted */
    const char *id;
    size_t parent; /* NO_PARENT: none */
};

struct forest {
    struct node *nodes;
    size_t count;
};

#define NO_PARENT SIZE_MAX

static size_t find(const struct forest *forest, const char *id)
{
    for (size_t i = 0; i < forest->count; i++) {
        if (strcmp(forest->nodes[i].id, id) == 0)
            return i;
    }
    return NO_PARENT;
}

static const char *parent_of(const struct node *node)
{
    return json_string_value(view_inner(node->instance, "tine", "parent_id"));
}

/* As many deleted parents as instances at most. */
static int forest_make(struct forest *forest, const json_t *list)
{
    size_t count = json_array_size(list), i;
    json_t *instance;
    *forest = (struct forest){.nodes = calloc(2 * count + 1, sizeof(*forest->nodes))};
    if (!forest->nodes)
        return -1;
    json_array_foreach((json_t *)list, i, instance) forest->nodes[forest->count++] =
        (struct node){instance, view_text(instance, "id"), NO_PARENT};
    for (i = 0; i < count; i++) {
        const char *id = parent_of(&forest->nodes[i]);
        if (!id)
            continue;
        size_t parent = find(forest, id);
        if (parent == NO_PARENT) {
            parent = forest->count++;
            forest->nodes[parent] = (struct node){NULL, id, NO_PARENT};
        }
        forest->nodes[i].parent = parent;
    }
    return 0;
}

/* The next child behind `after` (NO_PARENT: the first). */
static size_t next_child(const struct forest *forest, size_t parent, size_t after)
{
    for (size_t i = after == NO_PARENT ? 0 : after + 1; i < forest->count; i++) {
        if (forest->nodes[i].parent == parent)
            return i;
    }
    return NO_PARENT;
}

static void add_row(struct table *table, const struct node *node, const char *branch)
{
    char name[512], age[32] = "", id[16];
    if (node->instance)
        view_age(view_text(node->instance, "created_at"), age);
    snprintf(id, sizeof(id), "%.12s", node->id);
    snprintf(name, sizeof(name), "%.400s%s", branch,
             node->instance ? view_text(node->instance, "name") : "(deleted)");
    table_add(table, (const char *[]){name, id, view_text(node->instance, "state"), age});
}

/* A node and all below it. `indent` is what stands in front of its children's branches. */
static void add_tree(struct table *table, const struct forest *forest, size_t at,
                     const char *branch, const char *indent)
{
    add_row(table, &forest->nodes[at], branch);
    for (size_t child = next_child(forest, at, NO_PARENT); child != NO_PARENT;) {
        size_t next = next_child(forest, at, child);
        bool last = next == NO_PARENT;
        _cleanup_(free) char *child_branch = NULL;
        _cleanup_(free) char *child_indent = NULL;
        if (asprintf(&child_branch, "%s%s", indent, last ? "`- " : "|- ") < 0 ||
            asprintf(&child_indent, "%s%s", indent, last ? "   " : "|  ") < 0) {
            child_branch = child_indent = NULL;
            return;
        }
        add_tree(table, forest, child, child_branch, child_indent);
        child = next;
    }
}

static void print_forest(const struct forest *forest)
{
    static const struct table_column columns[] = {
        {"NAME", .shrink = true}, {"ID"}, {"STATE"}, {"AGE"}};
    struct table table = {.columns = columns, .column_count = ARRAY_SIZE(columns)};
    for (size_t i = 0; i < forest->count; i++) {
        if (forest->nodes[i].parent == NO_PARENT)
            add_tree(&table, forest, i, "", "");
    }
    table_print(&table, terminal_width());
    table_release(&table);
}

static json_t *forks_json(const struct forest *forest, size_t parent)
{
    json_t *list = json_array();
    for (size_t i = next_child(forest, parent, NO_PARENT); i != NO_PARENT;
         i = next_child(forest, parent, i)) {
        const json_t *instance = forest->nodes[i].instance;
        json_t *name = instance ? json_string(view_text(instance, "name")) : json_null();
        json_t *state = instance ? json_string(view_text(instance, "state")) : json_null();
        json_array_append_new(
            list, json_pack("{s:s, s:o, s:o, s:b, s:o}", "id", forest->nodes[i].id, "name", name,
                            "state", state, "deleted", !instance, "forks", forks_json(forest, i)));
    }
    return list;
}

static int tree_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    struct failure failure = {0};
    struct forest forest;
    _cleanup_(json) json_t *list = http_get(cli, "listing", "/instances", &failure);
    if (!list)
        return cli_fail(cli, NULL, &failure);
    if (forest_make(&forest, list) < 0)
        return CLI_FAILED;
    int status = CLI_OK;
    if (cli->json)
        status = cli_print_json(forks_json(&forest, NO_PARENT));
    else
        print_forest(&forest);
    free(forest.nodes);
    return status;
}

const struct command tree_command = {
    .name = "tree",
    .operands = "",
    .summary = "Show who was forked from whom",
    .details =
        "All instances, forks below their source. A source that was deleted is shown as\n"
        "such, as long as it has forks. With --json: a list of objects, each with its forks\n"
        "in \"forks\".\n",
    .examples = "  tine tree\n"
                "  tine tree --json | jq '.[] | {name, forks: (.forks | length)}'\n",
    .run = tree_run,
};
