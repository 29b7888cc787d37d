/* SPDX-License-Identifier: Apache-2.0 */
/* "web", whose memory is compressed while it sleeps. */
#ifndef TINE_TESTS_INSTANCE_COMPRESSED_H
#define TINE_TESTS_INSTANCE_COMPRESSED_H

#include "fixture.h"

#define NOTE     "remember me"
#define AWAIT_NS 60000000000ull

#define RAW  "snapshot/memory"
#define ZSTD "snapshot/memory.zst"
#define LZ4  "snapshot/memory.lz4"

extern const struct stack_compression zstd, lz4;

enum compression_state state_of(struct fixture *fixture, const char *reference);
void await(struct fixture *fixture, const char *reference, enum compression_state state);
void standby_with(struct fixture *fixture, const struct stack_compression *how, uint64_t delay_ns);
/* Asleep, with NOTE in its compressed memory. */
struct instance_record compressed_web(struct fixture *fixture, const struct stack_compression *how);
/* It wakes, and recalls NOTE. */
void restore_web(struct fixture *fixture);

/* A name in a guest directory. */
bool is_there(struct fixture *fixture, const char *id, const char *name);
void assert_no_temporary(struct fixture *fixture);
/* A series of the host's metrics; 0 if there is none. */
double sample(struct fixture *fixture, const char *series);

#endif
