/* SPDX-License-Identifier: Apache-2.0 */
/* The process that gives guest memory its pages (tine-pager, or any page fault handler made for
 * Firecracker), and the userfaultfd through which it does (userfaultfd(2)). The handshake is
 * Firecracker's: connect, and send the regions as JSON and the descriptor in one message; nothing
 * is answered.
 *
 * A page that is missing waits for the server wherever it is touched: in the guest, in KVM, in a
 * system call, or on the event loop (devices, the VM generation id, KVM's state at a load), and
 * with that the API. A server that hangs so hangs the VM until it, or another one that was given
 * the descriptor, goes on. This process keeps the descriptor, because a thread that waits when the
 * last one is closed would read zeros. */
#ifndef TINE_VMM_PAGE_SERVER_H
#define TINE_VMM_PAGE_SERVER_H

#include <stddef.h>

#include "base/error.h"

struct guest_memory;
struct page_server;

/* Puts all of `memory`, mapped and not touched yet, into the care of whoever listens at `path`.
 * Faults of the kernel count, so this needs /dev/userfaultfd, or the right to call userfaultfd(2).
 * The server's work is told of memory that is given back (UFFD_FEATURE_EVENT_REMOVE). */
int page_server_connect(struct page_server **server, const struct guest_memory *memory,
                        const char *path, struct error *err);
/* Harmless on NULL. The memory must be unmapped. */
void page_server_close(struct page_server *server);

/* The JSON array of the regions: what the server must know. Returns its length, or -ENOSPC. */
int page_server_regions(const struct guest_memory *memory, char *text, size_t size,
                        struct error *err);

#endif
