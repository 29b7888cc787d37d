/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_PAGER_BACKGROUND_PRIVATE_H
#define TINE_PAGER_BACKGROUND_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "pager/fill.h"
#include "pager/session.h"

#define SLICE_PAGES    256u     /* with the help of one other worker some 0.2 ms */
#define AHEAD_PAGES    1024u    /* that are being fetched from the device */
#define DEVICE_WAIT_NS 1000000u /* between two looks whether they have come */

/* True if the slice may be copied now; else it is looked at again later. */
bool background_ready(struct session *session, struct background *work, uint64_t page,
                      uint64_t count, uint64_t now_ns);
/* What happened to a slice: true if the work can go on behind it. */
bool background_went_well(struct session *session, struct background *work, enum fill_status status,
                          const struct error *err, const char *what, uint64_t now_ns);

/* The end of the pages from `page` on that are in its region and were never given back. */
uint64_t background_end(const struct session *session, uint64_t page, uint64_t end);
/* Fills ranges together; what can't be filled so decides about the status. */
struct fill_result background_fill(struct session *session, const struct page_range *ranges,
                                   unsigned count, struct error *err);

void prefetch_slice(struct session *session, uint64_t now_ns);
void ahead_slice(struct session *session, uint64_t now_ns);

#endif
