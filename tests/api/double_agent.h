/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted agent behind a socket pair: what the command says is what it does.
 *   echo WORD...  err WORD...   words on stdout or stderr, exit 0
 *   exit N        cat           sink (counts its input)     deaf (exit 3 without reading input)
 *   env, cwd      what it was given
 *   tty           its size, then each new size; exit 0 after the first
 *   wait          "signal N" and 128 + N at a signal; if the connection ends, writes the file
 *                 "killed" in the data directory
 *   flood KIB     that much output
 *   missing       could not be started       timeout     was killed for its time
 *   garble        breaks the protocol        hangup      ends without an exit
 *   drip          sends its exit byte by byte */
#ifndef TINE_TESTS_API_DOUBLE_AGENT_H
#define TINE_TESTS_API_DOUBLE_AGENT_H

#include "agent/client.h"

/* Returns the host's end, or a negative errno. */
int double_agent_start(const struct agent_exec *exec, const char *data_dir, struct error *err);
/* Waits until all have ended. */
void double_agents_join(void);

#endif
