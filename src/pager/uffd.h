/* SPDX-License-Identifier: Apache-2.0 */
/* userfaultfd(2) seen from the side that fills pages: each ioctl's many errnos as one of a few
 * outcomes. Addresses are the peer's and page aligned, lengths whole pages. */
#ifndef TINE_PAGER_UFFD_H
#define TINE_PAGER_UFFD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define PAGE_SHIFT 12u
#define PAGE_SIZE  4096u

enum uffd_outcome {
    UFFD_FILLED,   /* at least one page was */
    UFFD_PRESENT,  /* the first page is there already */
    UFFD_AGAIN,    /* the peer changes its mappings: read events, then again; or short of memory */
    UFFD_UNMAPPED, /* the range is not one registered mapping */
    UFFD_GONE,     /* the peer's memory is gone */
    UFFD_SOURCE,   /* the bytes to copy can't be read */
    UFFD_FAILED,   /* anything else: `errnum` */
};

struct uffd_result {
    enum uffd_outcome outcome;
    uint64_t filled; /* bytes, with UFFD_FILLED: maybe fewer than asked for */
    int errnum;
};

/* UFFDIO_COPY, or where `from` is NULL UFFDIO_ZEROPAGE: a page that is present is never changed.
 * `from` may lie in a mapped file that has become shorter: that is UFFD_SOURCE, not a signal.
 * Without `wake` who waits for the pages goes on only after uffd_wake(). */
struct uffd_result uffd_fill(int uffd, uint64_t address, const void *from, uint64_t length,
                             bool wake);
/* Maps what is going to be copied: UFFDIO_COPY works on what is mapped, and is slow to find out
 * that something is not. Only advice. */
void uffd_source_map(const void *from, uint64_t length);
/* Lets every thread that waits in the range look again: what is missing raises a new event. */
void uffd_wake(int uffd, uint64_t address, uint64_t length);
/* Takes the range out of the descriptor's care; waiting threads go on, missing pages are zero from
 * now on. A range that is not registered any more is no error. */
int uffd_unregister(int uffd, uint64_t address, uint64_t length, struct error *err);

/* What a fill at that address would come to, without filling anything: UFFD_SOURCE if the page is
 * registered and missing. */
enum uffd_outcome uffd_probe(int uffd, uint64_t address);

/* The peer's memory is gone: it ended. */
bool uffd_gone(int uffd);
/* A thread of the peer waits for its event to be read, or is just about to. */
bool uffd_busy(int uffd);

/* Checks that the descriptor is a userfaultfd whose peer has done its handshake, with
 * UFFD_FEATURE_EVENT_REMOVE (without which memory given back would get its old content again) and
 * without EVENT_FORK (a child's memory is not served); and makes it non-blocking. ERROR_INVALID in
 * words. */
int uffd_accept(int fd, struct error *err);

#endif
