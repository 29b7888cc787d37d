/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as each policy, as a row's policies, as a time and as a rate. What is taken is
 * canonical: taken again it is the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/rate.h"
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_policy(enum policy_kind kind, const json_t *given)
{
    struct error err = {0};
    json_t *canonical = policy_check(kind, given, &err);
    if (!canonical && (err.code != ERROR_INVALID || !*err.message))
        abort();
    json_t *again = canonical ? policy_check(kind, canonical, NULL) : NULL;
    if (canonical && !json_equal(canonical, again))
        abort();
    json_t *all = canonical ? json_pack("{s:O}", policy_name(kind), canonical) : NULL;
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    if (text && !policies_valid(text))
        abort();
    free(text);
    json_decref(all);
    json_decref(canonical);
    json_decref(again);
}

static void row(const char *text)
{
    char merged[POLICIES_SIZE] = "";
    if (!policies_valid(text) || strlen(text) >= sizeof(merged))
        return;
    policies_snapshot(text);
    policies_restart(text);
    if (policies_merge(merged, text, NULL) == 0 && !policies_valid(merged))
        abort();
}

static void small(const char *text)
{
    char formatted[32];
    uint64_t value = 0;
    if (time_parse_rfc3339(text, &value, NULL) == 0) {
        uint64_t again = 0;
        time_format_rfc3339(value, formatted);
        if (time_parse_rfc3339(formatted, &again, NULL) < 0 || again != value / 1000000 * 1000000)
            abort();
    }
    rate_parse_disk(text, &value, NULL);
    rate_parse_network(text, &value, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(free) char *text = strndup((const char *)data, size);
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    for (size_t i = 0; json && i < POLICY_KINDS; i++)
        one_policy((enum policy_kind)i, json);
    row(text);
    small(text);
    json_decref(json);
    return 0;
}
