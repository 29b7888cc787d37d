/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/hypervisor: what a VMM's log of dirty pages is still good for.
 *
 * A VMM that has a log of dirty pages forgets it with every snapshot it takes, also with one that
 * is dropped afterwards because something else failed. What a Diff would hold is therefore noted in
 * run/, which goes with the VM: the note is removed before a snapshot is asked for, and comes back
 * only if what was logged is where the next Diff will go. Without one all memory is saved. */
#ifndef TINE_HYPERVISOR_DIRTY_LOG_H
#define TINE_HYPERVISOR_DIRTY_LOG_H

#include <stdbool.h>

#include "base/error.h"

enum dirty_log {
    DIRTY_LOG_LOST,       /* a Diff may lack something */
    DIRTY_LOG_SINCE_BOOT, /* a Diff into a fresh file is the whole memory */
    DIRTY_LOG_SINCE_BASE, /* a Diff into the memory file that was loaded makes it whole */
};

/* Notes it; a note that can't be written is none. */
void dirty_log_note(int guest_fd, enum dirty_log log);
/* What was noted. */
enum dirty_log dirty_log_read(int guest_fd);
int dirty_log_forget(int guest_fd, const char *guest_dir, struct error *err);

/* That its Diffs are made of the log alone, for VMs of a VMM that can mostly do without: for as
 * long as the VM lives. */
int dirty_log_require(int guest_fd, const char *guest_dir, struct error *err);
bool dirty_log_is_required(int guest_fd);

#endif
