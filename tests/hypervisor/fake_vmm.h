/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for tine-vmm, for tests without KVM: it answers the same API on the same sockets,
 * keeps a guest memory that is really mapped, saved and loaded, and its guest runs an agent that
 * knows a handful of commands. One process, a thread per connection, one lock.
 *
 * Called "firecracker-VERSION" it is Firecracker of that version: it refuses what that does not
 * know, has a log of dirty pages where it was asked for one, which every snapshot clears, writes
 * Full densely and either kind into the file that is there, and its console is standard output.
 *
 * A file "fake-vmm" in its working directory (the guest directory) makes it misbehave, one order
 * per line:
 *   die-at-start TEXT     writes TEXT to its log and exits with status 1 before it listens
 *   no-listen             runs but never listens
 *   slow-listen MS        listens after MS milliseconds
 *   refuse PATH TEXT      answers requests for PATH with 400 and TEXT as fault_message
 *   full PATH TEXT        the same, and names ENOSPC as the errno, as tine-vmm does
 *   die PATH TEXT         writes TEXT to its log and exits with status 3 instead of answering
 *   die-slowly PATH MS    closes the connection and ends MS milliseconds later, deaf until then
 *   hang PATH             never answers
 *   wait PATH             answers when the order is there no more
 *   garbage PATH          answers with what is not HTTP
 *   short-memory          writes a memory file that lacks its last page
 *   half-diff             writes half of a diff in place and answers with 400
 *   fresh-diff            writes a diff into a fresh file of that name
 *   other-version V       answers GET /version with V
 *   no-clock              its states have no time of day in them
 *   no-agent              its guest never listens
 *   no-handshake          loads memory from a pager without introducing itself
 *   bad-handshake         tells the pager of memory that its image does not have
 *   stays                 its guest does not power off when its program is over
 *   no-templates          knows no templates
 *   template-dies MOMENT  its templates end "born", before they listen; "asked" for a child;
 *                         "bearing", with a child made, before they say so; "second", asked for
 *                         another child when the first one is ready
 *   children ORDER        gives the children of its templates this order
 * Every request is appended to log/requests: "METHOD PATH BODY". */
#ifndef TINE_TESTS_FAKE_VMM_H
#define TINE_TESTS_FAKE_VMM_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FAKE_NOTE_OFFSET    4096u /* where the guest's memory keeps what `remember` was told */
#define FAKE_NOTE_LIMIT     1024u
#define FAKE_PROGRAM_OFFSET 6144u      /* its struct fake_program */
#define FAKE_USED           (1u << 20) /* bytes of guest memory that ever hold data */
#define FAKE_AGENT_PORT     1024u
#define FAKE_READY_PORT     1025u

/* The guest's main program, in its memory: it goes where the memory goes. */
struct fake_program {
    uint32_t started, over, code;
    char text[1024]; /* how it was started: argv, environment, working directory */
};

enum fake_state { FAKE_NOT_STARTED, FAKE_RUNNING, FAKE_PAUSED, FAKE_TEMPLATE };

struct fake {
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t changed;
    enum fake_state state;
    const char *id;
    json_t *config; /* what was PUT, by path */
    uint8_t *memory;
    size_t memory_size;
    char boot_id[40];
    char hostname[65];
    unsigned turn;        /* the number of the connection whose first request is next */
    int vsock_fd;         /* listens on the vsock's unix socket; -1: none */
    int mount_fd;         /* came with the request that is handled; -1: none */
    const char *version;  /* of Firecracker; NULL: it is tine-vmm */
    unsigned minor;       /* of that version */
    int tracking;         /* the log of dirty pages was asked for */
    int served;           /* memory comes from a pager */
    const char *dies;     /* of a template: the moment; NULL: never */
    unsigned children;    /* of a template, that were asked for */
    volatile int *ready;  /* shared with them: the first one is */
    const char *heritage; /* of a template: the order for them; NULL: none */
    pid_t parent;         /* of a child until it listens: it ends with its template; 0: none */
    uint8_t *logged;      /* memory when the log was last cleared; NULL: all of it was zero */
};

/* The answer to one request. */
struct fake_answer {
    int status;
    json_t *body;   /* NULL: none */
    int exit_after; /* -1: goes on */
};

/* The text behind "ORDER PATH" (or behind "ORDER " when `path` is NULL) in the file "fake-vmm";
 * NULL if there is no such order. Owner: caller. */
char *fake_order(const char *order, const char *path);

/* fake_model.c: what the VM does. The lock is held. */
void fake_handle(struct fake *fake, const char *method, const char *path, json_t *body,
                 struct fake_answer *answer);
/* fake_firecracker.c. Takes the version from the program's name. */
void fake_become(struct fake *fake, const char *program);
/* Ends the process where Firecracker would. */
void fake_check_arguments(const struct fake *fake, int argc, char **argv);
/* Returns 0 when `fault` says what of the request this version does not know. */
int fake_knows(const struct fake *fake, const char *path, json_t *body, char *fault, size_t size);
/* fake_snapshot.c */
int fake_snapshot_create(struct fake *fake, json_t *request, char *fault, size_t size);
int fake_snapshot_load(struct fake *fake, json_t *request, char *fault, size_t size);
int fake_memory_new(struct fake *fake, size_t size);
/* Whether the page at that offset of memory is to be in a diff. */
int fake_page_is_dirty(const struct fake *fake, int pagemap, size_t at);
/* fake_layers.c: -1 with the reason. The base is mapped already. */
int fake_layers_map(struct fake *fake, const char *path, unsigned layers, char *fault, size_t size);
int fake_layer_write(const struct fake *fake, const char *path, char *fault, size_t size);
/* fake_pager.c: guest memory behind a userfaultfd that is handed to the pager as Firecracker does.
 */
int fake_memory_paged(struct fake *fake, const char *socket, size_t size);
/* fake_agent.c: serves the vsock socket from a thread of its own; tells the host "ready". */
int fake_vsock_listen(struct fake *fake, const char *path, char *fault, size_t size);
void fake_agent_ready(struct fake *fake);
/* fake_disk.c: a disk, a file or the base of a stack, as tine-vmm uses it. -1 with the reason, or
 * errno. */
struct disk_stack;
struct fake_disk {
    int fd;
    struct disk_stack *stack;
};
int fake_disk_open(struct fake_disk *disk, const char *path, bool writable, char *fault,
                   size_t size);
int fake_disk_read(struct fake_disk *disk, void *bytes, size_t length, uint64_t offset);
int fake_disk_write(struct fake_disk *disk, const void *bytes, size_t length, uint64_t offset);
/* What was written to a stack is flushed. */
void fake_disk_close(struct fake_disk *disk);
/* Visits each until one fails. */
typedef int fake_disk_visit(const char *path, uint64_t token, char *text, size_t size);
int fake_for_writable_disks(struct fake *fake, fake_disk_visit *visit, uint64_t token, char *text,
                            size_t size);
/* Those that are stacks become ones that forks can link. */
int fake_disks_seal(struct fake *fake, char *fault, size_t size);
/* fake_pattern.c: fills memory and writable disks, and checks them; -1 with the reason. */
int fake_fill(struct fake *fake, uint64_t token, char *answer, size_t size);
int fake_check(struct fake *fake, uint64_t memory, uint64_t disk, char *answer, size_t size);
/* fake_template.c: PUT /template and, by a template, PUT /children; -1: refused. */
int fake_template(struct fake *fake, const char *path, json_t *body, struct fake_answer *answer);
/* fake_vmm.c */
int fake_serve(struct fake *fake, const char *path);
void fake_thread(void *(*run)(void *), void *context);
/* As dprintf(3), which has its stream on the stack and in a list of the C library's: a process that
 * is forked while another thread prints would keep it there. */
int fake_print(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
int fake_unix_socket(const char *path, int listening);

#endif
