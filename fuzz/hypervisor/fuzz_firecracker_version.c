/* SPDX-License-Identifier: Apache-2.0 */
/* What a program says when it is asked for its version, and what a VMM answers. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "hypervisor/firecracker_version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct firecracker_version *version)
{
    struct firecracker_version again;
    if (firecracker_version_parse(version->text, &again, NULL) != 0 ||
        again.major != version->major || again.minor != version->minor ||
        again.patch != version->patch || strcmp(again.text, version->text) != 0)
        abort();
    if (firecracker_version_check(version, NULL) == 0 && !firecracker_abilities(version).dirty_log)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct firecracker_version version;
    _cleanup_(free) char *text = strndup((const char *)data, size);
    int r = firecracker_version_parse(text, &version, NULL);
    if (r == 0)
        check(&version);
    else if (r != -EPROTO)
        abort();
    if (firecracker_version_of_program("program", text, &version, NULL) == 0)
        check(&version);
    return 0;
}
