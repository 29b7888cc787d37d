/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: VMs that get their memory from the pager (paging/paging.h). The instance of such
 * a VM has `paged` in its row, so that a tined that finds neither session nor pager knows what its
 * VM waits for. */
#ifndef TINE_INSTANCE_PAGED_H
#define TINE_INSTANCE_PAGED_H

#include "instance/host.h"

int paged_open(struct host *host, const struct host_options *options, struct error *err);
/* What is left of sessions whose instances have no such VM. Recovery is over. */
void paged_prune(struct host *host);

/* The image is about to have new content. */
int cache_key_renew(struct instance_record *record, struct error *err);

/* True if there are pagers that may serve the instance's VM; else `err` says why not. */
bool paged_is_possible(const struct operation *op, struct error *err);

/* True if a compressed image that has an index needs no expansion for its owner's forks: a pager is
 * to serve it, at the first restore of each. */
bool paged_serves_packed(const struct host *host);
/* The same for the next restore of the instance itself. */
bool paged_takes_packed(const struct operation *op);

/* For a restore, in its order. Begin: where it is to go through the pager, makes the session and
 * tells `how`. Loaded: the VM has connected, and its session survives its pager. */
int paged_begin(struct operation *op, struct vm_restore *how, struct error *err);
int paged_loaded(struct operation *op, struct error *err);
/* Adds what the session failed of to an error of the VMM, which may follow from it. */
void paged_explain(const struct operation *op, struct error *err);
/* snapshot/ has become base/. */
void paged_moved(struct operation *op);
/* No VM is left. */
void paged_end(struct operation *op);

/* 1: the VM's pager reads the retained base, so nobody may write into it; 0: nobody reads it. */
int paged_reads_base(struct operation *op);

/* The instance as its session says: one that is lost is Unknown, one that is completed is paged no
 * more. The lock is held for writing, and the VM lives. */
int paged_settle(struct operation *op, struct error *err);
/* Its session has changed: the watcher's work. */
int paged_follow(struct operation *op, struct error *err);
/* Fills the record's pager_status. */
void paged_look(struct host *host, struct instance_record *record);

#endif
