/* SPDX-License-Identifier: Apache-2.0 */
/* The space of states: a handful of instances and snapshots, random steps on them, and beside the
 * real ones a model that knows what must be in each. After every step all of it is compared, and
 * the rules R1 to R4 (docs/architecture.md) are checked on every file.
 *
 *   space_generate.c   the next step, by a seeded generator
 *   space_run.c        does it, in threads, under a failpoint or in a child that is killed
 *   space_model.c      which steps are legal, and what may come of one
 *   space_observe.c    what is really there
 *   space_rules.c      every file of every owner */
#ifndef TINE_TESTS_INSTANCE_SPACE_H
#define TINE_TESTS_INSTANCE_SPACE_H

#include "fixture.h"

#define SPACE_INSTANCES 6u
#define SPACE_SNAPSHOTS 4u
#define SPACE_FORKS     3u
#define SPACE_ALLOWED   24u
#define SPACE_STEPS     20u

enum place { PLACE_ABSENT, PLACE_STOPPED, PLACE_STANDBY, PLACE_RUNNING };

/* What an instance or a snapshot is: the tokens are those of pattern.h; 0 where there is no memory
 * or no writable disk. A snapshot is Stopped or in Standby, and its tag that of what is made of it.
 */
struct fact {
    enum place place;
    uint64_t memory, disk;
    uint64_t tag; /* 0: none */
};

/* An instance or a snapshot, in a slot that has its name for good. */
struct thing {
    char name[8];
    char id[INSTANCE_ID_LENGTH + 1];
    char source_id[INSTANCE_ID_LENGTH + 1]; /* of a snapshot */
    bool diskless;
    struct fact fact;                   /* as last seen */
    struct fact allowed[SPACE_ALLOWED]; /* what may come of the step */
    unsigned allowed_count;
};

enum step_kind {
    STEP_CREATE,
    STEP_STANDBY,
    STEP_RESTORE,
    STEP_STOP,
    STEP_START,
    STEP_DELETE,
    STEP_FORK,
    STEP_SNAPSHOT_CREATE,
    STEP_SNAPSHOT_FORK,
    STEP_SNAPSHOT_DELETE,
    STEP_SNAPSHOT_RESTORE,
    STEP_FILL,
    STEP_TAG,
    STEP_KILL,   /* the VMM is killed, then `then` */
    STEP_STORM,  /* forks of a source, and `then` on it at the same time */
    STEP_REOPEN, /* tined ends and comes back */
    STEP_KINDS,
};

enum trouble { TROUBLE_NONE, TROUBLE_ERRNO, TROUBLE_CRASH, TROUBLE_KINDS };

struct step {
    enum step_kind kind, then;
    bool race;                          /* KILL: `then` begins before the VMM has ended */
    bool closed;                        /* KILL: while tined is away */
    bool from_running, diskless;        /* FORK; CREATE */
    bool pack;                          /* STANDBY: what it writes is compressed */
    unsigned instance, snapshot;        /* slots */
    unsigned forks, slots[SPACE_FORKS]; /* the new instances */
    enum place goals[SPACE_FORKS];      /* ABSENT: none is given */
    uint64_t token;                     /* FILL, TAG */
    char failpoint[64];                 /* empty: none */
    unsigned kill_us;                   /* 0: not; else tined is killed so long after its begin */
};

enum ending {
    ENDED_WELL,
    ENDED_FAILED,
    ENDED_CRASHED,
};

/* What came of a step: of each fork, and, last, of `then`; all others have one. */
struct ends {
    enum ending list[SPACE_FORKS + 1];
    struct error errors[SPACE_FORKS + 1];
};

struct counts {
    unsigned sequences, steps, illegal, failed, crashed;
    unsigned compacted; /* images */
    unsigned packed;    /* standbys whose image was compressed */
    unsigned served; /* VMs that had such an image from their pager, each time one was looked at */
    unsigned kinds[STEP_KINDS];
};

struct inodes;

struct world {
    struct fixture *fixture;
    char run_dir[96]; /* of pagers */
    struct thing instances[SPACE_INSTANCES], snapshots[SPACE_SNAPSHOTS];
    struct inodes *inodes; /* space_rules.c */
    uint64_t seed, random, fills;
    enum trouble trouble; /* what may happen in this sequence */
    bool layers;          /* its standbys may add layers, which get fewer when tined comes back */
    bool packed;          /* some are compressed, and a pager is there to serve them to forks */
    struct counts counts;
};

/* space_generate.c */
uint64_t random_next(struct world *world, uint64_t limit);
bool random_percent(struct world *world, unsigned percent);
struct step step_generate(struct world *world);
const char *step_kind_name(enum step_kind kind);
void step_describe(const struct world *world, const struct step *step, char *text, size_t size);

/* space_model.c */
/* Nothing is there; what may happen follows from the seed. */
void world_begin(struct world *world, uint64_t seed);
#define STEP_LEGAL -1
#define STEP_ANY   -2 /* what it meets is not known before */
/* STEP_LEGAL, STEP_ANY or the error code that it must fail with. */
int step_legal(const struct world *world, const struct step *step);
/* Fills what is allowed of everything. */
void step_predict(struct world *world, const struct step *step, const struct ends *ends);
unsigned step_results(const struct step *step);

/* The tags of a fact, as they are stored. */
struct tags {
    char text[40];
};
struct tags tags_of(uint64_t tag);

/* space_run.c */
void step_run(struct world *world, const struct step *step, struct ends *ends);
/* space_observe.c: asserts that everything is as allowed, and takes it as the fact. */
void world_observe(struct world *world);
/* Runs `fill` or `check` in a guest; 0 if it answered "ok", else a negative errno. */
int guest_pattern(struct host *host, const char *name, const char *command, uint64_t first,
                  uint64_t second, struct error *err);
/* True if memory (for Standby) and disk in a directory hold what the fact says. */
bool files_hold(const char *directory, const struct fact *fact, bool diskless, char why[256]);

/* space_rules.c */
void rules_check(struct world *world, bool thorough);
void rules_forget(struct world *world);

#endif
