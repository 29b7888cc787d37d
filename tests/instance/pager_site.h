/* SPDX-License-Identifier: Apache-2.0 */
/* A host whose forks get their memory from real pagers, and VMs whose every page is known. */
#ifndef TINE_TESTS_INSTANCE_PAGER_SITE_H
#define TINE_TESTS_INSTANCE_PAGER_SITE_H

#include "fixture.h"

#define SITE_TOKEN   7001 /* what the source's memory and disk hold */
#define SITE_VERSION "0.1.0"
#define SITE_NEXT    "0.1.0-next"
#define SITE_OTHER   "0.1.0-other" /* knows no state of the others' sessions */

struct site {
    struct fixture *fixture;
    char run_dir[96];
};

/* With an instance "source" in Standby, without a pager yet. No standby adds a layer. `graduation`
 * may be NULL: off. */
struct site *site_new(const struct paging_graduation *graduation);
/* Everything is deleted; no process and no file is left. */
void site_free(struct site *site);
/* For cmocka: site_new(NULL), and its end. */
int site_setup(void **state);
int site_teardown(void **state);
/* tined is ended, or killed as far as pagers can tell, and starts anew. */
void site_reopen(struct site *site);
/* The next tined is of that version, one of the three. */
void site_upgrade(struct site *site, const char *version);

/* A tined on the site, whose own one is closed, does what main() gives to site_child() until it is
 * killed at the failpoint. */
void site_crash(struct site *site, const char *failpoint);
/* True in that tined, whose main() ends with site_child(). */
bool site_is_child(int argc, char **argv);
int site_child(char **argv, int (*run)(struct host *host, struct error *err));

/* A fork of `source` that runs, on the pager. */
struct instance_record site_fork(struct site *site, const char *source, const char *name);
/* Its memory and disk are those of the token, each page; looking touches them. */
void assert_holds(struct site *site, const char *name, uint64_t token);
void site_fill(struct site *site, const char *name, uint64_t token);
void site_standby(struct site *site, const char *name);
/* And its memory is compressed, when this returns. */
void site_standby_packed(struct site *site, const char *name, const struct stack_compression *how);
/* So it is still: nobody has expanded it. */
void assert_sleeps_packed(struct site *site, const char *name);
void site_restore(struct site *site, const char *name);
/* Waits until the instance's session is in that state; "" for one that is paged no more. */
void await_pager(struct site *site, const char *name, const char *state);
/* Waits until the pager of so many sessions has been replaced so often, in all. */
void await_takeovers(struct site *site, const char *name, unsigned takeovers);
/* Waits until the instance is Unknown; its VMM lives. */
void await_unknown(struct site *site, const char *name);
/* On the database of a host that is closed. */
void site_sql(const struct site *site, const char *sql);
/* A value of the metrics. */
double site_metric(struct site *site, const char *series);

/* The pager's process; 0: none answers. */
pid_t pager_pid(const struct site *site, const char *version);
/* SIGKILL, and waits until it is gone. */
void pager_kill(const struct site *site, const char *version);
/* How many sessions it has. */
size_t pager_sessions(const struct site *site, const char *version);
/* A VM may have left its pager a little before the pager knows. */
void await_no_session(const struct site *site, const char *version);
/* Its shared state of a session; owner: caller. */
int pager_state(const struct site *site, const char *version, const char *id);
/* Waits until that pager has ended by itself. */
void await_pager_end(const struct site *site, const char *version);
/* True if the VMM was told to load from a pager. */
bool was_paged(struct site *site, const struct instance_record *record);

#endif
