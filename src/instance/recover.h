/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_RECOVER_H
#define TINE_INSTANCE_RECOVER_H

#include "instance/host.h"

/* After a crash, or a plain restart: what was half-made is finished or removed, VMMs that run are
 * adopted, every row says what is true (settle.h). An instance that can't be dealt with becomes
 * Unknown and does not keep the others from being served. */
int recover(struct host *host, struct error *err);
/* Its part for snapshots: what was half-made or half-deleted is removed, rows without a directory
 * with it. One that can't be dealt with is logged and does not keep the others from being served.
 */
int recover_snapshots(struct host *host, struct error *err);

#endif
