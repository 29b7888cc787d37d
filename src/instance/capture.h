/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the memory image of an instance that runs on, for snapshots of it. A VM that is
 * made of its template (live.h) and never runs writes it, as a standby would (saving.h), in a
 * directory of its own among the snapshots:
 *
 *   snapshots/capture.tine-tmp-<16 hex digits>/
 *     boot/, disks/, base/   links, as a fork has them, and what the VM needs for itself
 *     snapshot/              state and memory, when they are written: for the snapshots to link
 *
 * Neither source nor template is needed for that: once the VM is there they may go on, or end. All
 * snapshots that are made of one template share it. VM and directory go with the last of them; what
 * a tined has left behind is ended, and swept, by the next. */
#ifndef TINE_INSTANCE_CAPTURE_H
#define TINE_INSTANCE_CAPTURE_H

#include "instance/directory.h"

#define CAPTURE_DIRECTORY "capture" /* its name, as a temporary one */

struct capture;
struct live;

/* Of a template that is going to be: it has no VM yet. */
struct capture *capture_new(void);
/* For a snapshot that is made of the template now, while the source is held: with a VM. Whoever is
 * first makes it; where that fails the next one tries again. `compression`, of the snapshot, is
 * what layers are given up for. What it gives out is to be put. */
int capture_take(const struct live *live, const struct operation *source, const char *compression,
                 struct capture **capture, struct error *err);
/* One user less; the last one ends it. NULL is harmless. */
void capture_put(struct capture *capture);

/* Writes the image, unless another user has, and says in `record` what it is. With nothing held:
 * this is what takes its time. */
int capture_write(struct capture *capture, struct instance_record *record, struct error *err);
/* Of the files. */
struct owner capture_owner(const struct capture *capture);

#endif
