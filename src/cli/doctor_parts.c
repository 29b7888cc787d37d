/* SPDX-License-Identifier: Apache-2.0 */
/* Are the other parts of the installation there? */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/locate.h"
#include "base/cleanup.h"
#include "base/program_line.h"
#include "cli/doctor.h"
#include "cli/http.h"
#include "cli/instance_view.h"

#define VERSION_MS   5000
#define VERSION_SIZE 128

static void check_program(const char *name, const char *path, enum finding_level level,
                          const char *consequence, struct findings *findings)
{
    char version[VERSION_SIZE];
    int r = program_line(path, "--version", VERSION_MS, version, sizeof(version), NULL);
    if (r == 0)
        finding_add(findings, name, FINDING_OK, "%s: %s", path, version);
    else
        finding_add(findings, name, level, "%s: %s%s", path,
                    r == -ENODATA ? "does not tell its version" : strerror(-r), consequence);
}

void check_vmm(const struct cli *cli, const struct doctor_options *options,
               struct findings *findings)
{
    _cleanup_(free) char *path = options->vmm ? strdup(options->vmm) : locate_vmm();
    if (path)
        check_program("tine-vmm", path, FINDING_FAIL, "", findings);
}

void check_pager(const struct cli *cli, const struct doctor_options *options,
                 struct findings *findings)
{
    _cleanup_(free) char *path = options->pager ? strdup(options->pager) : locate_pager();
    if (path)
        check_program("tine-pager", path, FINDING_WARN, ": no restore through a pager", findings);
}

void check_kit(const struct cli *cli, const struct doctor_options *options,
               struct findings *findings)
{
    static const char *const files[] = {"vmlinux", "initrd.img"};
    _cleanup_(free) char *kit = options->kit ? strdup(options->kit) : locate_kit();
    if (!kit) {
        finding_add(findings, "guest kit", FINDING_WARN,
                    "not found: instances need a kernel of their own");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_(free) char *path = NULL;
        struct stat st;
        if (asprintf(&path, "%s/%s", kit, files[i]) < 0)
            path = NULL;
        if (path && stat(path, &st) == 0 && st.st_size > 0)
            continue;
        finding_add(findings, "guest kit", FINDING_WARN, "%s/%s: %s", kit, files[i],
                    path ? strerror(errno) : "out of memory");
        return;
    }
    finding_add(findings, "guest kit", FINDING_OK, "%s", kit);
}

void check_tined(const struct cli *cli, const struct doctor_options *options,
                 struct findings *findings)
{
    struct failure failure = {0};
    _cleanup_(json) json_t *health = http_get(cli, NULL, "/health", &failure);
    const char *version = json_string_value(view_inner(health, "tine", "version"));
    if (health)
        finding_add(findings, "tined", FINDING_OK, "version %s answers on %s",
                    version ? version : "unknown", cli_where(cli));
    else
        finding_add(findings, "tined", FINDING_WARN, "%s", failure.message);
}
