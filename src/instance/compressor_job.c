/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/compressor_job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct job *job_new(struct host *host, const struct owner *owner, const char *compression,
                    struct error *err)
{
    _cleanup_(free) struct job *job = calloc(1, sizeof(*job));
    if (!job) {
        error_errno(err, ENOMEM, owner->id, "a job on the memory of %s", owner->id);
        return NULL;
    }
    snprintf(job->id, sizeof(job->id), "%s", owner->id);
    job->kind = compression ? JOB_COMPRESS : JOB_COMPACT;
    if (!compression)
        compaction_init(host, &job->compaction, owner->id);
    else if (compress_image_init(host, &job->image, owner, compression, err) < 0)
        return NULL;
    return TAKE_PTR(job);
}

int job_make(struct host *host, struct job *job, struct error *err)
{
    return job->kind == JOB_COMPACT ? compaction_make(host, &job->compaction, err)
                                    : compress_image_make(host, &job->image, err);
}

int job_publish(struct host *host, struct job *job, struct error *err)
{
    return job->kind == JOB_COMPACT ? compaction_publish(host, &job->compaction, err)
                                    : compress_image_publish(host, &job->image, err);
}

void job_end(struct host *host, struct job *job, int r, const struct error *err)
{
    if (job->kind == JOB_COMPACT)
        compaction_end(host, &job->compaction, r, err);
    else
        compress_image_end(host, &job->image, r, err);
}

atomic_bool *job_cancelled(struct job *job)
{
    return job->kind == JOB_COMPACT ? &job->compaction.task.cancelled : &job->image.task.cancelled;
}
