/* SPDX-License-Identifier: Apache-2.0 */
/* tine top: what instances use, live. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/command.h"
#include "cli/screen.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "cli/top_rows.h"

#define INTERVAL_NS     2000000000ll
#define INTERVAL_MIN_NS 100000000ll
#define ONE_SHOT_MS     250 /* CPU use is measured over this */
#define LINES_AROUND    4   /* heading, an empty line, the titles, what is left out */

struct top_options {
    const char *sort;
    int64_t interval_ns;
    bool all, once;
};

/* "12.3": MiB, for columns of figures. */
static void mebibytes(uint64_t bytes, char text[32])
{
    snprintf(text, 32, "%.1f", (double)bytes / (1 << 20));
}

static void add_row(struct table *table, const struct top_row *row)
{
    char cpu[16] = "-", private[32], shared[32], owners[24] = "-";
    if (row->cpu_percent >= 0)
        snprintf(cpu, sizeof(cpu), "%.1f", row->cpu_percent);
    if (row->owners > 0)
        snprintf(owners, sizeof(owners), "%llu", (unsigned long long)row->owners);
    mebibytes(row->private_bytes, private);
    mebibytes(row->shared_bytes, shared);
    table_add(table, (const char *[]){row->name, row->state, cpu, private, shared, owners,
                                      row->parent, row->age});
}

static void print_rows(const struct top_rows *rows, size_t limit)
{
    static const struct table_column columns[] = {
        {"NAME", .shrink = true},      {"STATE"},
        {"CPU %", .right = true},      {"PRIV MiB", .right = true},
        {"SHARED MiB", .right = true}, {"OWNERS", .right = true},
        {"PARENT", .shrink = true},    {"AGE"},
    };
    struct table table = {.columns = columns, .column_count = ARRAY_SIZE(columns)};
    for (size_t i = 0; i < rows->count && i < limit; i++)
        add_row(&table, &rows->list[i]);
    table_print(&table, terminal_width());
    table_release(&table);
}

static void draw(const struct top_rows *rows)
{
    unsigned lines = 24, columns = 80;
    uint64_t private_bytes = 0;
    char now[16] = "";
    time_t seconds = time(NULL);
    struct tm local;
    for (size_t i = 0; i < rows->count; i++)
        private_bytes += rows->list[i].private_bytes;
    if (localtime_r(&seconds, &local))
        strftime(now, sizeof(now), "%H:%M:%S", &local);
    terminal_size(&lines, &columns);
    size_t limit = lines > LINES_AROUND + 1 ? lines - LINES_AROUND : 1;
    screen_draw_begin();
    char heading[128];
    snprintf(heading, sizeof(heading), "%s  %zu shown, %zu asleep, %.1f MiB private; q quits", now,
             rows->count, rows->asleep, (double)private_bytes / (1 << 20));
    printf("%.*s\n\n", (int)columns - 1, heading);
    print_rows(rows, limit);
    if (rows->count > limit)
        printf("%zu more", rows->count - limit);
    screen_draw_end();
}

/* CPU use is what happened between two measurements. */
static int one_shot(const struct cli *cli, const struct top_options *options, enum top_order order,
                    struct failure *failure)
{
    struct top_rows before = {.count = 0}, rows = {.count = 0};
    const struct top_rows none = {.count = 0};
    int status = top_rows_get(cli, options->all, &none, &before, failure);
    if (status == CLI_OK) {
        time_sleep_ms(ONE_SHOT_MS);
        status = top_rows_get(cli, options->all, &before, &rows, failure);
    }
    top_rows_sort(&rows, order);
    if (status == CLI_OK && cli->json)
        status = cli_print_json(top_rows_json(&rows));
    else if (status == CLI_OK)
        print_rows(&rows, rows.count);
    top_rows_release(&before);
    top_rows_release(&rows);
    return status;
}

/* Until q is pressed or tined does not answer. */
static int live(const struct cli *cli, const struct top_options *options, enum top_order order,
                struct failure *failure)
{
    struct top_rows before = {.count = 0};
    int interval_ms = (int)(options->interval_ns / 1000000);
    int status = CLI_OK, key = 0;
    while (status == CLI_OK && key != 'q' && key != 'Q') {
        struct top_rows rows;
        status = top_rows_get(cli, options->all, &before, &rows, failure);
        top_rows_sort(&rows, order);
        top_rows_release(&before);
        before = rows;
        if (status != CLI_OK)
            break;
        draw(&before);
        key = screen_wait_key(interval_ms);
    }
    top_rows_release(&before);
    return status;
}

static int top_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    struct top_options options = *(const struct top_options *)data;
    struct failure failure = {0};
    enum top_order order = TOP_CPU;
    if (options.sort && top_order_parse(options.sort, &order) < 0)
        return cli_usage(cli, "--sort: \"%s\" is not cpu, private, shared, owners, name or age",
                         options.sort);
    if (options.interval_ns == 0)
        options.interval_ns = INTERVAL_NS;
    if (options.interval_ns < INTERVAL_MIN_NS || options.interval_ns > 3600 * 1000000000ll)
        return cli_usage(cli, "--interval: must be 100ms to 1h");
    bool on_screen = !options.once && !cli->json && screen_begin();
    int status =
        on_screen ? live(cli, &options, order, &failure) : one_shot(cli, &options, order, &failure);
    screen_end();
    return failure.exit_status != 0 ? cli_fail(cli, NULL, &failure) : status;
}

#define OPTION(member) offsetof(struct top_options, member)

static const struct command_option top_options[] = {
    {"all", 'a', OPTION_FLAG, OPTION(all), NULL, "also those in Standby and Stopped"},
    {"sort", 's', OPTION_TEXT, OPTION(sort), "COLUMN",
     "cpu, private, shared, owners, name or age (default cpu)"},
    {"interval", 'i', OPTION_DURATION, OPTION(interval_ns), "TIME",
     "how often to look again (default 2s)"},
    {"once", '1', OPTION_FLAG, OPTION(once), NULL, "print the table once and end"},
};

const struct command top_command = {
    .name = "top",
    .operands = "",
    .summary = "Show what instances use, live",
    .details =
        "CPU % is of one CPU. PRIVATE is memory that only this VM holds, SHARED what it has in\n"
        "common with the page cache and so with its siblings. OWNERS counts the instances that\n"
        "have a name for its memory file. PARENT is what it was forked from: a name, or the\n"
        "beginning of an id if that is deleted. q quits. If standard output is no terminal, and\n"
        "with --json, the table is printed once.\n",
    .examples = "  tine top\n"
                "  tine top --sort private --interval 5s\n"
                "  tine top --json | jq '.[] | select(.cpu_percent > 50) | .name'\n",
    .options = top_options,
    .option_count = ARRAY_SIZE(top_options),
    .options_size = sizeof(struct top_options),
    .run = top_run,
};
