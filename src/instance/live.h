/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: live forks. The source is never put to sleep: its VMM makes a template of it
 * (hypervisor.h), and forks are made of that while the source runs on. What a template needs lies
 * in a directory of its own in the source's, under a temporary name: names for what its memory is
 * mapped from, so that nobody takes that for a file with one owner (R2), and the writable disks as
 * they were at that moment: links to what its VMM has just sealed, or copies of those that are no
 * stacks. It lives as long as the nap in which it was made (source.h); one that a
 * tined has left behind is ended by the next, or by itself. */
#ifndef TINE_INSTANCE_LIVE_H
#define TINE_INSTANCE_LIVE_H

#include "instance/capture.h"
#include "instance/directory.h"
#include "instance/proc.h"

#define LIVE_DIRECTORY "template" /* its name, as a temporary one */

struct live {
    struct owner owner; /* of the files in its directory; strings are the source's */
    struct draft draft;
    char *path; /* of the directory, absolute */
    struct vm_process process;
    struct capture *capture; /* for those who snapshot it; owned */
};

/* clang-format off */ /* its versions differ on braces in macros */
#define LIVE_NONE {.draft.fd = -1, .process.pidfd = -1}
/* clang-format on */

/* Makes a template of the source, which runs and is held for writing. It stands still for as long
 * as its writable disks are sealed and linked, and its VMM needs, and runs again when this returns,
 * whatever comes of it. ERROR_UNSUPPORTED: not of this VM, which has to be put to sleep instead. */
int live_begin(struct operation *source, struct live *live, struct error *err);
/* Ends it; harmless on LIVE_NONE. */
void live_end(struct live *live);
static inline void cleanup_live(struct live *live)
{
    live_end(live);
}

/* Gives a fork whose directory is there its VM, Paused; the row is not written. */
int live_child(struct operation *op, const struct live *live, struct error *err);
/* Lets it run, tells its agent who it is, and writes the row. A failure leaves the VM to be ended.
 */
int live_wake(struct operation *op, struct error *err);

/* Ends what a tined has left behind of live forks of the instance (live_strays.c). Returns 1 if
 * there was a template: until now VMs may have been made of it. */
int live_end_strays(const struct operation *op, const struct proc_vmm *vmms, size_t count,
                    struct error *err);
/* The same of snapshots of instances that ran on (capture.h). When the templates have ended: until
 * then a VM of one may come to see its directory. What fails is logged. */
void live_end_captures(const struct host *host);
/* The same of a fork whose VM could not be made, or was made by a template that ended before it
 * could tell. What fails is logged. */
void live_end_unknown(const struct operation *op);

#endif
