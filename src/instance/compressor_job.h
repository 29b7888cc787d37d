/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the compressor: a job, and what is done in it by its kind. */
#ifndef TINE_INSTANCE_COMPRESSOR_JOB_H
#define TINE_INSTANCE_COMPRESSOR_JOB_H

#include "instance/compaction.h"
#include "instance/compress_image.h"

enum job_state {
    JOB_DUE,     /* from due_ns on */
    JOB_RUNNING, /* the thread has it: only that may free it */
    JOB_SHARED,  /* waits until the image has one owner */
    JOB_FAILED,  /* kept for those who ask */
};

enum job_kind { JOB_COMPRESS, JOB_COMPACT };

struct job {
    struct job *next;
    enum job_kind kind;
    enum job_state state;
    bool poked;      /* while it ran */
    uint64_t due_ns; /* CLOCK_MONOTONIC */
    char id[INSTANCE_ID_LENGTH + 1];
    union {
        struct compress_image image;
        struct compaction compaction;
    };
    char error[sizeof(((struct compression_status *)0)->error)];
};

/* NULL `compression`: its layers are to become fewer. NULL and `err` when that fails. */
struct job *job_new(struct host *host, const struct owner *owner, const char *compression,
                    struct error *err);
/* The long part, without a lock; the short one, -EBUSY if somebody holds the owner; and the end of
 * both. */
int job_make(struct host *host, struct job *job, struct error *err);
int job_publish(struct host *host, struct job *job, struct error *err);
void job_end(struct host *host, struct job *job, int r, const struct error *err);
atomic_bool *job_cancelled(struct job *job);

#endif
