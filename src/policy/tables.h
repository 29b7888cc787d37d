/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: what each policy has, one file per policy. */
#ifndef TINE_POLICY_TABLES_H
#define TINE_POLICY_TABLES_H

#include "policy/field.h"

extern const struct field_table snapshot_policy_fields, auto_standby_fields, health_check_fields,
    restart_policy_fields;

/* The policy of that name in a row's text; NULL if it has none. Owner: caller. */
json_t *policies_get(const char *text, enum policy_kind kind);

#endif
