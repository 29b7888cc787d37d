/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration's JSON text, as a state file carries it. What is accepted must come back the
 * same from its own text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vm_config config, again;
    struct error err;
    vm_config_init(&config);
    vm_config_init(&again);
    if (vm_config_from_json(&config, (const char *)data, size, &err) == 0) {
        char *first = vm_config_to_json(&config);
        if (!first || vm_config_from_json(&again, first, strlen(first), &err) < 0)
            abort();
        char *second = vm_config_to_json(&again);
        if (!second || strcmp(first, second) != 0)
            abort();
        free(first);
        free(second);
    }
    vm_config_free(&config);
    vm_config_free(&again);
    return 0;
}
