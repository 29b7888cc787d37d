/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept warm: an instance in Standby, or a snapshot of kind Standby, has its memory image
 * mapped by a template, and forks of it ready, each a VM that has not executed an instruction. A
 * fork to Running takes one and is spared process, VM and load; without one it is made as ever.
 *
 * The wish is kept with the source, whatever becomes of what it asks for: while the source runs,
 * and when it has another image, what was made of the one before is ended, and made anew once it
 * sleeps. What dies is made anew, ever later if it does so again. It all ends with tined, and the
 * next makes it anew. All functions are safe from any thread. */
#ifndef TINE_INSTANCE_WARM_H
#define TINE_INSTANCE_WARM_H

#include "instance/snapshot.h"

#define WARM_READY_MAX 256u /* of one source */

/* `warm_status.state`: */
#define WARM_READY   "ready"   /* all that were asked for */
#define WARM_WARMING "warming" /* some are to be made */
#define WARM_AWAKE   "awake"   /* its source does not sleep */
#define WARM_IDLE    "idle"    /* nobody forked it for long: ended until somebody does */
#define WARM_LIMITED "limited" /* there is no room for more */
#define WARM_FAILING "failing" /* something failed; it is tried again */

/* So many forks are kept ready from now on, 0: none. It returns at once; with 0 when all has ended.
 * More than 0 of an instance that does not sleep is ERROR_STATE, of one whose VMM knows no
 * templates ERROR_UNSUPPORTED. `status` may be NULL. */
int instance_warm(struct host *host, const char *reference, unsigned ready,
                  struct warm_status *status, struct error *err);
int snapshot_warm(struct host *host, const char *id, unsigned ready, struct warm_status *status,
                  struct error *err);

struct warm_entry {
    char id[INSTANCE_ID_LENGTH + 1];
    char name[INSTANCE_NAME_MAX + 1]; /* of a snapshot: may be empty */
    bool snapshot;
    struct warm_status status;
};
/* All that is kept warm; owner: caller (free()). */
int warm_list(struct host *host, struct warm_entry **entries, size_t *count, struct error *err);

#endif
