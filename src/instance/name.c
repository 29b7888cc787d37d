/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/name.h"

#include <string.h>

#include "base/id.h"
#include "instance/instance.h"

#define PREFIX "vm-"

int name_make(char name[INSTANCE_NAME_GENERATED], struct error *err)
{
    const size_t prefix = strlen(PREFIX);
    memcpy(name, PREFIX, prefix);
    name[INSTANCE_NAME_GENERATED - 1] = '\0';
    return id_characters(name + prefix, INSTANCE_NAME_GENERATED - 1 - prefix, err);
}

bool instance_name_valid(const char *name)
{
    size_t length = strnlen(name, INSTANCE_NAME_MAX + 1);
    return length > 0 && length <= INSTANCE_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length && name[0] != '-' &&
           name[length - 1] != '-';
}
