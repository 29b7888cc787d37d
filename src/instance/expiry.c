/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/expiry.h"

#include "instance/lifetime.h"
#include "instance/telemetry.h"

static int expire(struct operation *op, struct error *err)
{
    char note[LIFETIME_NOTE];
    if (!lifetime_is_over(&op->record))
        return 0; /* it was given more */
    lifetime_note(&op->record, note);
    int r = delete_locked(op, note, err);
    if (r == 0)
        metric_add(op->host->telemetry->expired, 1, NULL);
    return r;
}

const struct due_kind expiry_kind = {"expiry", DEADLINE_EXPIRY, expire};
