/* SPDX-License-Identifier: Apache-2.0 */
/* A tine-pager process, images whose every page is known, and a "VM": memory of this process behind
 * a userfaultfd that is handed over as Firecracker does it. */
#ifndef TINE_TESTS_PAGER_FIXTURE_H
#define TINE_TESTS_PAGER_FIXTURE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE 4096u

/* ---- a directory, the image in it, the pager ---- */

struct place {
    char directory[64]; /* also the pager's run directory */
    char control[160];
    pid_t pid;                 /* 0: no pager runs */
    const char *decoded_cache; /* MiB; NULL: what the pager does by itself */
};

void place_open(struct place *place);
/* Kills the pager and removes everything. */
void place_close(struct place *place);
/* A place with the image "memory" of so many pages and a pager at work. place_free() ends it. */
struct place *place_new(uint64_t pages);
void place_free(struct place *place);
/* Starts the program that `variable` of the environment names, and waits until it answers. */
void pager_begin(struct place *place, const char *variable, const char *version);
/* SIGKILL, and waits for the end. */
void pager_kill(struct place *place);
/* Waits until it ends by itself; the exit status. */
int pager_wait(struct place *place);

/* Makes the file `name` of so many pages, with all kinds of pages that page_fill() knows. */
void image_make(const struct place *place, const char *name, uint64_t pages);
/* What the image holds: every seventh page is a hole, every eleventh zeros that are written. */
void page_fill(uint64_t page, uint64_t words[PAGE / 8]);
/* Whether that memory is the image's page; looking faults it in. */
bool page_is_image(const void *memory, uint64_t page);
bool page_is_zeros(const void *memory);

/* ---- the API ---- */

struct reply {
    int status;
    json_t *body;
    int fds[4];
    size_t fd_count;
};

/* `body` is taken over; NULL: none. */
struct reply pager_call(const struct place *place, const char *method, const char *path,
                        json_t *body, const int *fds, size_t count);
void reply_free(struct reply *reply);
/* Calls and wants this status; the body is forgotten. */
void pager_expect(const struct place *place, const char *method, const char *path, json_t *body,
                  int status);
/* The body of POST /sessions for the image "memory" with cache key "key". */
json_t *session_body(const struct place *place, const char *id);
/* The body for an image whose lowest file is compressed, and has that name. */
json_t *packed_body(const struct place *place, const char *id, const char *name,
                    const char *compression);
/* Puts "memory.zst" or "memory.lz4" in the place of "memory". */
void image_pack(const struct place *place, const char *compression);
/* What /stats says of the cache of decoded pages. */
int64_t cache_counter(const struct place *place, const char *counter);
/* The session as GET shows it; owner: caller. */
json_t *session_get(const struct place *place, const char *id);
/* Waits until the session is in that state; false if it came to another end. */
bool session_reaches(const struct place *place, const char *id, const char *state);
/* A counter of the session. */
int64_t session_counter(const struct place *place, const char *id, const char *counter);

/* ---- a VM ---- */

#define VM_MAX_REGIONS 8

struct vm_region {
    uint8_t *memory;
    uint64_t pages, first; /* `first` of the image */
};

struct vm {
    int uffd;
    int socket; /* to the pager; stays open as Firecracker's does */
    struct vm_region regions[VM_MAX_REGIONS];
    unsigned count;
};

/* Memory for pages [0, pages) of an image, in `regions` regions with gaps between. */
void vm_open(struct vm *vm, uint64_t pages, unsigned regions, uint64_t features);
void vm_close(struct vm *vm);
/* The text that Firecracker sends. Owner: caller. */
char *vm_regions_text(const struct vm *vm);
/* Connects to "<id>.sock" of the place and sends text and descriptor. */
void vm_introduce(struct vm *vm, const struct place *place, const char *id);
/* Session and VM at once, served. */
void vm_begin(struct vm *vm, const struct place *place, const char *id, uint64_t pages,
              unsigned regions);
uint8_t *vm_page(const struct vm *vm, uint64_t page);
/* Reads every page and compares; the number of wrong ones. */
uint64_t vm_wrong_pages(const struct vm *vm);
/* Sends bytes with descriptors (may be none) to a handshake socket; the connection, left open. */
int handshake_send(const struct place *place, const char *id, const char *text, size_t length,
                   const int *fds, size_t count);

#endif
