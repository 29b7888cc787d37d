/* SPDX-License-Identifier: Apache-2.0 */
/* A host with its own data directory, a guest kit, a few files to make guests of, and fake VMMs. */
#ifndef TINE_TESTS_INSTANCE_FIXTURE_H
#define TINE_TESTS_INSTANCE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "events/events.h"
#include "instance/snapshot.h"

#define FIXTURE_MEMORY (64ull << 20)

struct fixture {
    char dir[64];
    char data[80], kit[80], kernel[80], initrd[80], writable[80], read_only[80];
    const char *vmm;
    const char *firecracker;              /* NULL: none; taken up by the next fixture_open() */
    enum hypervisor_saving saving;        /* of the driver; taken up by the next fixture_open() */
    struct pager_options pager;           /* the same; without a run_dir there are no pagers */
    enum standby_memory standby_memory;   /* the same; STANDBY_MERGE unless a test says otherwise */
    struct compaction_options compaction; /* the same */
    bool without_layers;                  /* the same: the driver knows none, as Firecracker's */
    struct host *host;
};

/* Opens a host as the fixture says. */
struct host *fixture_host(const struct fixture *fixture, struct error *err);
/* Set from argv[1] by fixture_main(). */
int fixture_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count);
/* The same with another runner. */
int fixture_main_with(int argc, char **argv, int (*run)(void));
int fixture_setup(void **state);
/* The same in a directory of the caller's, empty and made. */
struct fixture *fixture_make(const char *dir);
/* In a directory that has had one; the host is not open. */
struct fixture *fixture_on(const char *dir);
/* Deletes every instance, then every snapshot; nothing may be left, neither a file nor a process.
 */
void fixture_clear(struct fixture *fixture);
void fixture_delete_instances(struct fixture *fixture);
/* Runs this program anew, and waits until its failpoint has killed it. `argv`: what it needs, and
 * NULL. */
void child_is_killed(char *const argv[]);
/* Kills what is left, after a failure. */
void children_end(void);
int fixture_teardown(void **state);
#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define FIXTURE_MAIN(tests)                                                         \
    int main(int argc, char **argv)                                                 \
    {                                                                               \
        return fixture_main(argc, argv, tests, sizeof(tests) / sizeof((tests)[0])); \
    }

void fixture_open(struct fixture *fixture);
/* From now on this process believes in another boot of the host, until the mount that it needs, of
 * a file in `dir`, is taken away again. */
void boot_id_fake(const char *dir, const char *boot_id);
void boot_id_real(void);
void fixture_close(struct fixture *fixture);
void fixture_reopen(struct fixture *fixture);

/* Asserts success and shows the message if it is none. */
void assert_ok(int result, const struct error *err);
/* Asserts a failure of that kind whose message holds `words`. */
void assert_fails(int result, const struct error *err, enum error_code code, const char *words);

/* With the kit's kernel, one writable and one read-only disk. */
struct instance_create_request fixture_request(const struct fixture *fixture, const char *name);
struct instance_record fixture_create(struct fixture *fixture, const char *name);
/* Without disks. */
struct instance_record fixture_create_diskless(struct fixture *fixture, const char *name);
struct instance_record fixture_fork(struct fixture *fixture, const char *source, const char *name,
                                    enum instance_state target);
struct snapshot_record fixture_snapshot(struct fixture *fixture, const char *source,
                                        enum instance_state kind, const char *name);
struct instance_record fixture_get(struct fixture *fixture, const char *reference);
void assert_state(struct fixture *fixture, const char *reference, enum instance_state state);
/* Waits for what the watcher does by itself: until it has let go, for it writes the row first and
 * tells of it then. */
void fixture_await(struct fixture *fixture, const char *reference, enum instance_state state);

/* Runs a command in a guest and returns what it printed, without the newline. Owner: caller. */
char *guest_run(struct fixture *fixture, const char *reference, const char *command,
                const char *argument);
void guest_remember(struct fixture *fixture, const char *reference, const char *note);
void assert_recalls(struct fixture *fixture, const char *reference, const char *note);

/* Paths in a guest directory: a static buffer per call site is the caller's. */
struct path {
    char text[256];
};
struct path guest_path(const struct fixture *fixture, const char *id, const char *name);
struct stat guest_stat(const struct fixture *fixture, const char *id, const char *name);
struct path snapshot_path(const struct fixture *fixture, const char *id, const char *name);
/* All of a file, to see that not a byte of it changes. */
struct content {
    char *bytes;
    size_t length;
    ino_t inode;
};
struct content content_of(const struct path *path);
/* It is the same file still; `before` is freed. */
void assert_content(struct content *before, const struct path *path);
struct stat snapshot_stat(const struct fixture *fixture, const char *id, const char *name);
void assert_absent(const struct fixture *fixture, const char *id, const char *name);
void file_make(const char *path, const char *text, off_t size);
/* Orders for the fake VMM; NULL removes them. */
void guest_orders(const struct fixture *fixture, const char *id, const char *orders);

/* The next event of that kind; the test fails if there is none within 20 seconds. */
struct event await_event(struct events_reader *reader, const char *kind);

#endif
