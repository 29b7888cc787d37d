/* SPDX-License-Identifier: Apache-2.0 */
/* One restored VM. Its memory is served by one worker thread; what both threads touch is guarded by
 * that worker's lock (worker.h). */
#ifndef TINE_PAGER_SESSION_H
#define TINE_PAGER_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "pager/page_source.h"
#include "pager/run_length.h"
#include "pager/session_block.h"
#include "pager/touch_record.h"

#define SESSION_ID_MAX 64u

enum session_state {
    SESSION_WAITING,    /* for its VM to connect */
    SESSION_SERVING,    /* faults are answered */
    SESSION_COMPLETING, /* and what is missing is filled */
    SESSION_COMPLETED,  /* everything is filled: the VM needs no pager any more */
    SESSION_ENDED,      /* the VM is gone */
    SESSION_FAILED,     /* `reason` says why; a VM that was served waits */
};

const char *session_state_name(enum session_state state);

/* Faults that can't be answered yet, each with the pages around it that its answer is to have. */
struct waiting_faults {
    struct waiting_fault {
        uint64_t address;
        uint32_t before, behind; /* the page itself is in `behind` */
    } * faults;
    uint32_t count, capacity;
};

/* Filling in the background: pages by a record, or all that is left. */
struct background {
    bool active;
    uint64_t due_ns;     /* not before (CLOCK_MONOTONIC) */
    unsigned patience;   /* rounds waited for the device */
    unsigned warm;       /* slices that were not waited for, one after the other, */
    unsigned unseen;     /* and since then nobody looked */
    uint32_t run;        /* prefetch: the record's run */
    uint64_t page;       /* the next page of the image; prefetch: not before it, in that run */
    uint64_t advised;    /* complete: read ahead up to here; prefetch: number of runs */
    uint64_t bandwidth;  /* complete: bytes per second; 0: unlimited */
    unsigned pass;       /* complete: 0 fills, 1 and on check that nothing is missing */
    uint64_t pass_found; /* complete: pages that this pass had to fill */
};

struct page_range {
    uint64_t page, end;
};

/* What streams of faults are going to need. */
struct read_ahead {
    struct background work;
    struct page_range ranges[RUN_STREAMS];
    unsigned count;
};

struct session {
    char id[SESSION_ID_MAX + 1];
    enum session_state state;
    char reason[512];           /* why it failed */
    struct page_source *source; /* a reference */
    struct session_block block;
    int uffd; /* -1 without a VM */
    int peer; /* the VM's end of the handshake, -1 if it is closed: its hang-up is noticed at once
               */
    pid_t peer_pid;
    uid_t peer_uid;

    struct worker *worker; /* serves it; NULL: nobody */
    uint32_t slot;         /* there */
    struct run_length runs;
    struct waiting_faults pending; /* before events are read */
    struct waiting_faults awaited; /* before the source has fetched their pages */
    uint64_t retry_ns;             /* when to try the pending faults again; 0: there are none */

    const struct touch_record *prefetch_record; /* borrowed from `stored` */
    struct background prefetch, complete;
    struct read_ahead ahead;
    bool recording;
    struct touch_record touched;

    /* The control thread's own. */
    struct pager *pager;
    struct handshake *handshake; /* while it waits for its VM */
    struct stored_record *stored;
    uint64_t record_until_ns; /* 0: what it touches is not recorded */
    unsigned record_ms;
    int directory_fd;
    bool recorded;     /* its first touches are published beside the image */
    char *record_name; /* of the file beside the image; NULL: in memory only */
    char *label;       /* of the image, in messages */
    int keeper_fd;     /* where the creator wants its duplicates sent; -1: nowhere */
};

/* Marks it failed; the first reason counts. What waits goes on waiting: it must not get zeros. */
void session_fail(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Pages were needed: they are in the record that is being made, if one is. */
void session_touched(struct session *session, uint64_t page, uint64_t count);

#endif
