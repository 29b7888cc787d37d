/* SPDX-License-Identifier: Apache-2.0 */
/* tine image: the table of its commands. */
#include "cli/command.h"

static const struct command *const subcommands[] = {
    &image_import_command, &image_ls_command, &image_inspect_command, &image_rm_command, NULL,
};

const struct command image_command = {
    .name = "image",
    .operands = "COMMAND [ARGUMENT...]",
    .summary = "Import root file systems, and see what there is to run",
    .details =
        "An image is a root file system that instances run from: a directory or an archive of\n"
        "yours, imported once. Every instance has a link of its own to the image's disk, which is\n"
        "only read, and a disk for what it changes: an image may be deleted without a trace in\n"
        "what was made of it.\n\n"
        "IMAGE is its name, as in alpine, alpine:3.20 or ghcr.io/me/tool; tine help image COMMAND\n"
        "tells more.\n",
    .examples = "  tine image import alpine alpine-minirootfs.tar.gz\n"
                "  tine run alpine --name web\n",
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .options_end = true,
    .subcommands = subcommands,
};
