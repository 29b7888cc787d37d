/* SPDX-License-Identifier: Apache-2.0 */
/* Compresses the memory images of what sleeps, and gives stacks fewer layers (compaction.h), one at
 * a time, in a thread of low priority.
 *
 * A job works on the raw image without a lock: the image is immutable. Only to put the compressed
 * one in its place it takes the owner's lock for writing, without ever waiting for it, and looks
 * again: the owner still sleeps, the image is the same and nobody else's. So who holds the lock may
 * wait for a job, and no job changes anything under him.
 *
 * An image that has other owners would gain nothing: its job waits until it is alone. Jobs live in
 * memory; the wish is in the owner's row, and a new tined takes it up. */
#ifndef TINE_INSTANCE_COMPRESSOR_H
#define TINE_INSTANCE_COMPRESSOR_H

#include "instance/owner.h"
#include "stack/compression.h"

struct compressor *compressor_start(struct host *host, struct error *err);
/* Cancels what is under way. Who calls holds no lock of a job's owner. */
void compressor_stop(struct compressor *compressor);

/* `owner` sleeps and is held for writing: its image is to be compressed as `compression` says, the
 * text of the row, once `delay_ns` have passed. That it can't be is only worth a warning. */
void compressor_want(struct compressor *compressor, const struct owner *owner,
                     const char *compression, uint64_t delay_ns);
/* The instance sleeps, with layers, and is held for writing: once it has slept for as long as the
 * host's options say, it is looked whether fewer would do. An owner may have both jobs. */
void compressor_compact(struct compressor *compressor, const struct owner *owner);
/* Both for every row: at tined's start. */
int compressor_want_all(struct host *host, struct error *err);

/* The image is needed raw or not at all any more: whatever was to come of it is off, and when this
 * returns no job works on it. The owner is held for writing. */
void compressor_drop(struct compressor *compressor, const char *id);
/* The image gets another owner: a compression that works on it does so in vain. Does not wait for
 * it. The owner is held. */
void compressor_interrupt(struct compressor *compressor, const char *id);
/* Somebody may have ceased to own something: jobs that wait until they are alone look again. */
void compressor_poke(struct compressor *compressor);

/* What is known of a compression: false if there is none. */
bool compressor_look(struct compressor *compressor, const char *id,
                     struct compression_status *status);

#endif
