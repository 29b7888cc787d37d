/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: what its files share. */
#ifndef TINE_PAGING_PAGING_PRIVATE_H
#define TINE_PAGING_PAGING_PRIVATE_H

#include <pthread.h>

#include "paging/paging.h"
#include "paging/process.h"

/* A version of the pager; stays in the list when its process has ended. */
struct pager {
    struct pager *next;
    char version[PAGING_VERSION_SIZE];
    char *socket;
    struct pager_process process; /* pidfd -1: none runs */
    uint64_t started_ns;
    bool drain_asked;
    bool revived;                        /* started for sessions that our version can't take over */
    int program;                         /* what its last process ran; -1: not known */
    unsigned state_oldest, state_newest; /* versions of states that it reads; 0: not known */
    uint64_t start_ns;                   /* not started before */
    unsigned start_failures;
    struct paging_cache cache; /* as its process said last */
};

struct paging_session {
    struct paging_session *next;
    uint64_t serial; /* never used twice: tells it from a later one of the same id */
    char id[PAGING_ID_SIZE];
    char *guest_dir, *directory, *cache_key;
    struct paging_format format;
    unsigned layers; /* over the image's file */
    int keeper;      /* where the duplicates are going to come; -1: they have, or it is closed */
    int uffd, block; /* the duplicates; -1: not here yet */
    unsigned state_version; /* of `block` */
    struct pager *pager;
    bool orphan; /* `pager` has ended, or never had it: it is to be taken over */
    bool awaited, lost, graduates, recorded;
    enum paging_state state; /* as the pager said */
    char reason[512];
    uint64_t pages, present, faults;
    uint64_t since_ns;                 /* when its pager got it */
    uint64_t born_ns;                  /* when it was made; graduation counts from here */
    uint64_t takeover_ns, graduate_ns; /* not before */
    unsigned takeovers, takeover_failures, graduate_failures;
};

struct paging {
    char *binary, *run_dir, *version, *guests_dir;
    struct paging_graduation graduation;
    unsigned cache_mib;
    void (*changed)(void *context, const char *id);
    void *context;
    pthread_t thread;
    bool started;
    int event_fd; /* wakes the thread */

    pthread_mutex_t starting; /* held to look for a pager and start it: taken before `mutex` */
    pthread_mutex_t mutex;    /* guards everything below; no call to a pager is made with it */
    pthread_cond_t arrived;   /* duplicates have come, or won't */
    bool stopping;
    struct pager *pagers, *current;
    struct paging_session *sessions;
    uint64_t last_serial;
    struct paging_counts counts;
};

#define MS    1000000ull
#define IMAGE "memory" /* the name of an image's first file; layers add ".1", ".2", ... */

/* `failures` of them have been: from `first_ms` on, doubled each time, to `limit_ms`. */
uint64_t paging_pause_ns(unsigned failures, unsigned first_ms, unsigned limit_ms);

/* ---- paging.c; the mutex is held ---- */

struct paging_session *paging_find(struct paging *paging, const char *id);
/* NULL if it is not there any more. */
struct paging_session *paging_find_serial(struct paging *paging, uint64_t serial);
/* A new one in the list; NULL: no memory. */
struct paging_session *paging_add(struct paging *paging, const char *id, const char *guest_dir,
                                  const char *directory, unsigned layers, const char *cache_key);
/* Takes it out of the list and frees it. */
void paging_remove(struct paging *paging, struct paging_session *session);
/* Takes duplicates that have come. Never blocks. */
void paging_receive(struct paging *paging, struct paging_session *session);
/* For good: true if that is news. */
bool paging_lose(struct paging *paging, struct paging_session *session, const char *reason);
void paging_poke(const struct paging *paging);

/* ---- pagers.c ---- */

/* The mutex is held: its sessions are orphans from now on. */
void pager_bury(struct paging *paging, struct pager *pager);
/* Buries those whose process has ended. The mutex is held. */
void pagers_check(struct paging *paging);
/* That pager is at work when this returns; without the mutex. One of another version can be started
 * only where one was found at work before. */
int pager_ensure(struct paging *paging, struct pager *pager, struct error *err);
/* False: it is known that it can't take over such a state. The mutex is held. */
bool pager_reads(const struct pager *pager, unsigned state_version);
/* It takes nothing new; it ends when it serves nobody any more. Without the mutex. */
void pager_retire(struct pager *pager);
/* Retires those that were started for sessions which they have by now. */
void pagers_retire(struct paging *paging);
/* Entries for the versions that run. Before the thread. */
int pagers_find(struct paging *paging, struct error *err);
/* The process of `pager` is not to be used any more: it does not answer. Without the mutex. */
void pager_suspect(struct paging *paging, struct pager *pager);

/* ---- calls.c: what is asked of a pager; the mutex is not held ---- */

struct takeover {
    const char *id, *directory, *cache_key;
    struct paging_format format;
    unsigned layers;
    int uffd, block;
};

int call_make(const char *socket, const struct paging_request *request, int keeper,
              struct error *err);
int call_take_over(const char *socket, const struct takeover *takeover, struct error *err);
int call_complete(const char *socket, const char *id, unsigned bandwidth_mib, struct error *err);
/* ERROR_NOT_FOUND is no success. */
int call_delete(const char *socket, const char *id, bool detach, struct error *err);
int call_drain(const char *socket, struct error *err);
int call_descriptors(const char *socket, const char *id, int *uffd, int *block, struct error *err);

/* What a pager tells of a session. Texts are borrowed from the answer. */
struct session_facts {
    const char *id, *image, *cache_key, *reason;
    enum paging_state state;
    bool ended; /* its VM is gone */
    unsigned state_version;
    bool recorded; /* the order of its first touches is published */
    uint64_t pages, present, faults;
};
/* Calls `each` for every session; it may take the mutex. `cache`, unless NULL, is that of its
 * process. */
int call_stats(const char *socket, void (*each)(const struct session_facts *facts, void *data),
               void *data, struct paging_cache *cache, struct error *err);

/* ---- adopt.c ---- */

/* Takes up the sessions of every pager that runs. Before the thread. */
int sessions_adopt(struct paging *paging, struct error *err);

/* ---- takeover.c, watch.c, graduate.c: the thread ---- */

/* Takes over what is due; returns when there is more to do (CLOCK_MONOTONIC), UINT64_MAX: never. */
uint64_t orphans_take_over(struct paging *paging);
/* Asks every pager for its sessions. */
void sessions_sample(struct paging *paging);
/* Begins what may be begun, moves what does not graduate. */
void sessions_graduate(struct paging *paging);
void *keeper_run(void *paging);

#endif
