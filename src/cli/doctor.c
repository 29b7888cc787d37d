/* SPDX-License-Identifier: Apache-2.0 */
/* tine doctor: what this machine can do. */
#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/locate.h"
#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/table.h"

static doctor_check *const checks[] = {
    check_kvm_device,   check_kvm_boot,   check_data_dir,  check_userfaultfd,
    check_pagemap_scan, check_huge_pages, check_map_count, check_open_files,
    check_vmm,          check_pager,      check_kit,       check_tined,
};

static const char *const level_names[] = {"ok", "warn", "fail"};

void finding_add(struct findings *findings, const char *name, enum finding_level level,
                 const char *format, ...)
{
    if (findings->count == FINDINGS_MAX)
        return;
    struct finding *finding = &findings->items[findings->count++];
    finding->name = name;
    finding->level = level;
    va_list args;
    va_start(args, format);
    vsnprintf(finding->cause, sizeof(finding->cause), format, args);
    va_end(args);
}

static size_t count_level(const struct findings *findings, enum finding_level level)
{
    size_t count = 0;
    for (size_t i = 0; i < findings->count; i++)
        count += findings->items[i].level == level;
    return count;
}

static void print_table(const struct findings *findings)
{
    static const struct table_column columns[] = {{"CHECK"}, {"RESULT"}, {"FOUND"}};
    struct table table = {.columns = columns, .column_count = ARRAY_SIZE(columns)};
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];
        table_add(&table,
                  (const char *[]){finding->name, level_names[finding->level], finding->cause});
    }
    table_print(&table, 0);
    table_release(&table);
    printf("\n%zu ok, %zu warnings, %zu failures\n", count_level(findings, FINDING_OK),
           count_level(findings, FINDING_WARN), count_level(findings, FINDING_FAIL));
}

static int print_json(const struct findings *findings)
{
    json_t *list = json_array();
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s}", "check", finding->name, "result",
                                        level_names[finding->level], "found", finding->cause));
    }
    bool ok = count_level(findings, FINDING_FAIL) == 0;
    return cli_print_json(json_pack("{s:b, s:o}", "ok", ok, "checks", list));
}

static int doctor_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    struct doctor_options options = *(const struct doctor_options *)data;
    struct findings findings = {0};
    if (!options.data_dir)
        options.data_dir = DEFAULT_DATA_DIR;
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        checks[i](cli, &options, &findings);
    if (cli->json)
        print_json(&findings);
    else
        print_table(&findings);
    return count_level(&findings, FINDING_FAIL) > 0 ? CLI_FAILED : CLI_OK;
}

#define OPTION(member) offsetof(struct doctor_options, member)

static const struct command_option doctor_options[] = {
    {"data-dir", 0, OPTION_TEXT, OPTION(data_dir), "DIR",
     "tined's data directory (default " DEFAULT_DATA_DIR ")"},
    {"vmm", 0, OPTION_TEXT, OPTION(vmm), "FILE", "the tine-vmm program (default: as tined's)"},
    {"pager", 0, OPTION_TEXT, OPTION(pager), "FILE",
     "the tine-pager program (default: as tined's)"},
    {"kit", 0, OPTION_TEXT, OPTION(kit), "DIR", "the guest kit (default: as tined's)"},
    {"kvm-probe", 0, OPTION_TEXT, OPTION(kvm_probe), "FILE",
     "outcome of a trial boot (default /var/cache/tine/kvm-probe)"},
};

const struct command doctor_command = {
    .name = "doctor",
    .operands = "",
    .summary = "Check what this machine can do",
    .details = "Works without tined. Each check is ok, warn (slower, or not known) or fail (tine\n"
               "does not work so); one failure makes the exit status 1.\n",
    .examples = "  tine doctor\n"
                "  tine doctor --data-dir /srv/tine --json\n",
    .options = doctor_options,
    .option_count = ARRAY_SIZE(doctor_options),
    .options_size = sizeof(struct doctor_options),
    .run = doctor_run,
};
