/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent's tests share: a directory, a fake of the VMM's vsock socket, a real agent. */
#ifndef TINE_TESTS_AGENT_FIXTURE_H
#define TINE_TESTS_AGENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/types.h>

#include "agent/protocol.h"

#define TIMEOUT_MS 60000u /* for what must work: far more than it takes, also under sanitizers */

struct fixture {
    char directory[64];
    char vsock[96]; /* the VMM's host-side socket */
    char agent[96]; /* where tine-agent --serve-unix listens */
    char oracle[96];
    pid_t agent_pid, vmm_pid;
};

/* How the fake VMM treats a connection after the CONNECT line. */
enum treatment {
    RELAY,   /* to the agent's socket */
    REFUSE,  /* closes without a word */
    SILENT,  /* never answers */
    SCRIPT,  /* says `line`, reads one frame, says `bytes`, closes */
    CUT_OFF, /* as SCRIPT, but holds the connection open afterwards */
};
struct behaviour {
    unsigned refusals; /* so many connections are refused first */
    unsigned losses;   /* then so many get their OK and are closed after the request ... */
    size_t last_words; /* ... and so many of `bytes` */
    enum treatment treatment;
    const char *line; /* NULL: a proper OK line */
    const void *bytes;
    size_t length;
    unsigned delay_ms; /* before the socket exists */
};

/* Makes the directory and its names. */
void fixture_open(struct fixture *fixture);
/* Ends what was started (the agent must end well) and removes the directory. */
void fixture_close(struct fixture *fixture);

void vmm_start(struct fixture *fixture, const struct behaviour *behaviour);
/* Starts `program --serve-unix ... --oracle-socket ...` and a fake VMM that relays to it. */
void agent_start(struct fixture *fixture, const char *program);

/* For tests whose first argument is an agent. Commands run in another directory, so the name is
 * made absolute; a test's setup and teardown give it a fixture with that agent running. */
void agent_program_set(const char *path);
const char *agent_program(void);
int agent_setup(void **state);
int agent_teardown(void **state);
#define with_agent(test) cmocka_unit_test_setup_teardown(test, agent_setup, agent_teardown)

/* Builds a frame into `out`; returns its whole length. */
size_t frame_build(uint8_t *out, uint8_t type, const void *payload, size_t length);

#endif
