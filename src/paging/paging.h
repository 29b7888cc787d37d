/* SPDX-License-Identifier: Apache-2.0 */
/* tined's side of tine-pager (docs/pager.md): the pager processes, a session per VM that gets its
 * memory page by page, and the duplicates of each session's userfaultfd and shared state, with
 * which a pager that ended is replaced. One thread does all that nobody waits for. Safe from any
 * thread. */
#ifndef TINE_PAGING_PAGING_H
#define TINE_PAGING_PAGING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "stack/compression.h"

#define PAGING_ID_SIZE      65u
#define PAGING_VERSION_SIZE 32u
#define PAGING_KEY_SIZE     128u
#define PAGING_RECORD       "memory.record" /* the order of first touches, beside the image */

struct paging;

/* When sessions are completed while their VMs run, so that these need no pager any more. */
struct paging_graduation {
    bool off;
    unsigned after_ms;      /* a session's age */
    unsigned at_once;       /* so many at a time; 0: 1 */
    unsigned bandwidth_mib; /* per second and session; 0: unlimited */
};

struct paging_config {
    const char *binary;     /* tine-pager */
    const char *run_dir;    /* absolute; where pagers have their sockets */
    const char *version;    /* of `binary`; NULL: this program's */
    const char *guests_dir; /* absolute; a session whose image is elsewhere is not ours */
    struct paging_graduation graduation;
    unsigned cache_mib; /* for decoded pages, of a pager that is started; 0: its default */
    /* The session's status has changed: its pager was replaced, it is completed, it is lost. Called
     * by the thread, without a lock; it must not call back but for paging_look(). */
    void (*changed)(void *context, const char *id);
    void *context;
};

/* Finds the pagers that run, of every version, and takes up the sessions that are ours. Pagers of
 * another version that serve nobody else are drained. No pager is started. Texts are copied. */
struct paging *paging_open(const struct paging_config *config, struct error *err);
/* Nothing changes by itself any more, and nobody is called. NULL is nothing. */
void paging_stop(struct paging *paging);
/* Sessions and pagers go on. NULL is nothing. */
void paging_close(struct paging *paging);

/* The image's lowest file: raw, "memory", or compressed, "memory.zst". */
struct paging_format {
    bool packed;
    enum stack_algorithm algorithm; /* then */
};

struct paging_request {
    const char *id;
    const char *guest_dir; /* absolute */
    const char *directory; /* a name in it: where the image is now */
    struct paging_format format;
    unsigned layers; /* over it: "memory.1", ... */
    const char *cache_key;
    const char *socket; /* a name in it: where the VM is going to connect */
    uid_t peer_uid;
};

/* 0 if there is a program to start pagers with. */
int paging_check(const struct paging *paging, struct error *err);

/* Makes a session, and starts a pager if none runs. One of that id that is left is ended first;
 * what a later failure leaves is for paging_forget(). */
int paging_begin(struct paging *paging, const struct paging_request *request, struct error *err);
/* Waits until the session's duplicates are here: from now on it survives its pager. */
int paging_await(struct paging *paging, const char *id, unsigned timeout_ms, struct error *err);
/* The image has another directory now: a name in the guest directory. */
void paging_moved(struct paging *paging, const char *id, const char *directory);
/* Its VM is gone, or was never there: ends the session and gives up its duplicates. One that is not
 * there is nothing. */
void paging_forget(struct paging *paging, const char *id);
/* The cache key of its session; false: there is none. */
bool paging_key(struct paging *paging, const char *id, char key[PAGING_KEY_SIZE]);
/* 1: no session reads the instance's image any more, one that was completed is ended; 0: one does.
 */
int paging_release(struct paging *paging, const char *id);

enum paging_state {
    PAGING_NONE,       /* no such session */
    PAGING_WAITING,    /* for its VM */
    PAGING_SERVING,    /* faults are answered, or soon will be by another pager */
    PAGING_COMPLETING, /* and all that is missing is filled */
    PAGING_COMPLETED,  /* the VM needs no pager any more */
    PAGING_LOST,       /* `reason` says why its VM waits for pages that don't come */
};

const char *paging_state_name(enum paging_state state); /* "serving", ... */

struct paging_status {
    enum paging_state state;
    char version[PAGING_VERSION_SIZE]; /* of the pager; "" while there is none */
    char reason[512];                  /* with PAGING_LOST; else what failed last, if anything */
    uint64_t pages, present, faults;   /* as of at most a second ago */
    unsigned takeovers;
    bool unborn; /* its VM has not been waited for yet (paging_await()) */
};

void paging_look(struct paging *paging, const char *id, struct paging_status *status);
/* The ids of all sessions, one behind the other, each PAGING_ID_SIZE bytes; owner: caller. NULL: no
 * memory. */
char *paging_list(struct paging *paging, size_t *count);

/* The caches of decoded pages of all pagers. */
struct paging_cache {
    uint64_t limit_bytes, bytes; /* now, or a second ago */
    uint64_t hits, misses, ahead, evictions, failures;
};

/* Since paging_open(). */
struct paging_counts {
    uint64_t sessions, takeovers, takeover_failures, graduations, graduation_failures, lost;
    uint64_t faults, pagers_started;
    struct paging_cache cache;
    unsigned now[PAGING_LOST + 1]; /* sessions by state */
};

void paging_count(struct paging *paging, struct paging_counts *counts);

#endif
