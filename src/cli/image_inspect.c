/* SPDX-License-Identifier: Apache-2.0 */
/* tine image inspect: everything about one image. */
#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/instance_view.h"

static int inspect_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    struct failure failure = {0};
    _cleanup_(free) char *path = image_path(operands[0]);
    _cleanup_(json) json_t *image = path ? http_get(cli, NULL, path, &failure) : NULL;
    if (!path)
        failure_set(&failure, CLI_FAILED, "failed", "out of memory");
    if (!image)
        return cli_fail(cli, operands[0], &failure);
    if (cli->json)
        return cli_print_json(json_incref(image));
    view_print(image);
    return CLI_OK;
}

const struct command image_inspect_command = {
    .name = "image inspect",
    .operands = "IMAGE",
    .summary = "Show everything about one image",
    .examples = "  tine image inspect alpine\n"
                "  tine image inspect --json alpine | jq -r .digest\n",
    .operands_min = 1,
    .operands_max = 1,
    .run = inspect_run,
};
