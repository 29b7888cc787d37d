/* SPDX-License-Identifier: Apache-2.0 */
/* health_check: how to find out whether what runs in an instance works. */
#include <string.h>

#include "base/cleanup.h"
#include "policy/tables.h"

#define THRESHOLD_MAX 1000

/* A type other than none has an object of its name. */
static int whole(const char *path, json_t *policy, struct error *err)
{
    const char *type = json_string_value(json_object_get(policy, "type"));
    if (strcmp(type, "none") == 0 || json_object_get(policy, type))
        return 0;
    return field_invalid(err, path, type, "is required when type is %s", type);
}

static const char *const types[] = {"none", "http", "tcp", "exec", NULL};
static const char *const schemes[] = {"http", "https", NULL};

static const struct field http_fields[] = {
    {"port", VALUE_INTEGER, .required = true, .minimum = 1, .maximum = 65535},
    {"path", VALUE_PATH, .preset = "/"},
    {"scheme", VALUE_WORD, .words = schemes, .preset = "http"},
    {"expected_status", VALUE_INTEGER, .minimum = 100, .maximum = 599, .preset = "200"},
};
static const struct field_table http = {http_fields, ARRAY_SIZE(http_fields), NULL};

static const struct field tcp_fields[] = {
    {"port", VALUE_INTEGER, .required = true, .minimum = 1, .maximum = 65535},
};
static const struct field_table tcp = {tcp_fields, ARRAY_SIZE(tcp_fields), NULL};

static const struct field exec_fields[] = {
    {"command", VALUE_STRINGS, .required = true},
    {"working_dir", VALUE_PATH},
};
static const struct field_table exec = {exec_fields, ARRAY_SIZE(exec_fields), NULL};

static const struct field fields[] = {
    {"type", VALUE_WORD, .words = types, .preset = "none"},
    {"interval", VALUE_DURATION, .minimum = 1, .preset = "10s"},
    {"timeout", VALUE_DURATION, .minimum = 1, .preset = "2s"},
    {"start_period", VALUE_DURATION, .minimum = 0, .preset = "30s"},
    {"failure_threshold", VALUE_INTEGER, .minimum = 1, .maximum = THRESHOLD_MAX, .preset = "3"},
    {"success_threshold", VALUE_INTEGER, .minimum = 1, .maximum = THRESHOLD_MAX, .preset = "1"},
    {"http", VALUE_OBJECT, .object = &http},
    {"tcp", VALUE_OBJECT, .object = &tcp},
    {"exec", VALUE_OBJECT, .object = &exec},
};
const struct field_table health_check_fields = {fields, ARRAY_SIZE(fields), whole};
