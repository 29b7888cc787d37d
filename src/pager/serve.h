/* SPDX-License-Identifier: Apache-2.0 */
/* Answering a session's events, on its worker's thread and under the worker's lock. */
#ifndef TINE_PAGER_SERVE_H
#define TINE_PAGER_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "pager/session.h"

/* Reads what waits, a bounded number of messages, and answers it. */
void serve_events(struct session *session);
/* Tries the faults again that had to wait for events. */
void serve_pending(struct session *session);
/* Tries the faults again whose pages the source had to fetch. */
void serve_arrived(struct session *session);
/* Goes on where another pager stopped: applies its journal, and lets every thread that waits ask
 * again, because events that were read are never raised a second time. */
void serve_take_over(struct session *session);
/* Reads and applies events until none can come any more; after the ranges are unregistered. */
void serve_drain_events(struct session *session);

#endif
