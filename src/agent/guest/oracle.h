/* SPDX-License-Identifier: Apache-2.0 */
/* The memory oracle: a keeper process holds anonymous memory whose every page's content is a
 * function of a seed and the page's number, so that any page that a standby, restore or fork got
 * wrong is found. The `oracle` command talks to it. */
#ifndef TINE_AGENT_GUEST_ORACLE_H
#define TINE_AGENT_GUEST_ORACLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define ORACLE_PAGE_WORDS 512u /* 4 KiB pages of 8-byte words */

/* Status in answers, and exit status of the command. */
enum oracle_status { ORACLE_GOOD = 0, ORACLE_BAD_PAGES = 1, ORACLE_FAILED = 2 };

/* What passes between command and keeper, which are one binary: one of each per connection. */
enum oracle_operation { ORACLE_FILL, ORACLE_CHECK, ORACLE_POKE, ORACLE_OPERATIONS };
struct oracle_request {
    uint64_t operation;
    uint64_t numbers[2]; /* fill: MiB, seed; check: seed; poke: page */
};
struct oracle_answer {
    uint64_t status;
    char text[120]; /* one line for people, with its NUL */
};

/* Writes the content that page `number` has for `seed`. */
void oracle_page_fill(uint64_t *page, uint64_t seed, uint64_t number);
/* True (1) if the page has that content. */
int oracle_page_check(const uint64_t *page, uint64_t seed, uint64_t number);

/* The keeper: serves its socket (NULL: the abstract one) until it fails; returns an exit status. */
int oracle_keep(const char *path);

/* The command: "fill MIB SEED", "check SEED" (argv without the program's name). Prints one line,
 * returns an enum oracle_status. */
int oracle_command(int argc, char **argv);

/* The keeper's socket for the command and the keeper. */
int oracle_listen(const char *path, struct error *err);
int oracle_connect(const char *path, struct error *err);

#endif
