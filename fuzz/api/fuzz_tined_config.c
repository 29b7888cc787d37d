/* SPDX-License-Identifier: Apache-2.0 */
/* tined's configuration file: any text is taken apart or refused with a line of that file. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/config_file.h"
#include "base/cleanup.h"

static int on_setting(void *data, const char *name, const char *value, struct error *err)
{
    unsigned *count = data;
    if (strchr(value, '\n') || strchr(name, '\n'))
        abort();
    (*count)++;
    return strcmp(name, "wrong") == 0 ? error_set(err, ERROR_INVALID, EINVAL, "wrong") : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {0};
    unsigned count = 0;
    _cleanup_(free) char *text = strndup((const char *)data, size);
    int r = config_parse(text, "x.conf", on_setting, &count, &err);
    if (r < 0 && strncmp(err.message, "x.conf:", strlen("x.conf:")) != 0)
        abort();
    return 0;
}
