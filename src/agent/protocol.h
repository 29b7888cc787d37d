/* SPDX-License-Identifier: Apache-2.0 */
/* The agent protocol: frames on a stream, host to guest (vsock port AGENT_PORT, the agent listens).
 *
 * A frame is {u32 length of the payload, u8 type, u8[3] zero} little-endian, then the payload. The
 * first frame of a connection is a request; the agent answers it and the connection ends. Between
 * the two an exec moves its streams, a put or get its files, as fast as the slower side takes them:
 * nobody queues more than a few frames, the connection itself holds up who sends. Payloads of
 * requests and answers are lists of fields {u16 tag, u16 zero, u32 length, bytes}; unknown tags are
 * skipped, so either side may be newer.
 *
 * At boot, once the agent listens, it connects to the host (CID 2) on AGENT_READY_PORT, sends one
 * HELLO answer frame and closes: "ready". */
#ifndef TINE_AGENT_PROTOCOL_H
#define TINE_AGENT_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define AGENT_PORT         1024u
#define AGENT_READY_PORT   1025u
#define AGENT_FRAME_LIMIT  (64u << 10) /* bytes of payload; a larger frame ends the connection */
#define AGENT_FRAME_HEADER 8u
#define AGENT_SIGNAL_MAX   64u /* the last signal of Linux */

enum agent_frame_type {
    /* requests */
    AGENT_HELLO = 1,
    AGENT_EXEC = 2,
    AGENT_RESTORED = 3,
    AGENT_POWEROFF = 4,
    AGENT_SYNC = 5,
    AGENT_STAT = 6, /* PATH, FOLLOW; OK holds an entry's fields, or ERRNO and MESSAGE */
    AGENT_PUT = 7,  /* PATH, MODE, UID, GID; DIRECTORY or LINK_TARGET if it is no file */
    AGENT_GET = 8,  /* PATH, FOLLOW */
    /* The main program, once per boot: ARG, ENV, CWD. OK says that it runs, or, with the fields of
     * EXIT, that it is over or could not be started. Asked again, it says how the first one goes.
     */
    AGENT_PROGRAM = 9,
    AGENT_WATCH = 10, /* EXIT, once the program is over; the guest waits for TAKEN and powers off */
    /* answers */
    AGENT_OK = 64,     /* fields depend on the request */
    AGENT_FAILED = 65, /* AGENT_TAG_MESSAGE, AGENT_TAG_ERRNO */
    /* during exec: host to guest */
    AGENT_STDIN = 16,
    AGENT_STDIN_EOF = 17,
    AGENT_SIGNAL = 18, /* u32 signal number, to the process group */
    AGENT_RESIZE = 19, /* u16 rows, u16 columns */
    /* during put: host to guest; during get: guest to host */
    AGENT_DATA = 20, /* content of a regular file */
    AGENT_END = 21,  /* of a put's content, without which it never happened; of a get's entry */
    /* during watch: host to guest */
    AGENT_TAKEN = 22, /* the exit status is recorded */
    /* during exec and watch: guest to host */
    AGENT_STDOUT = 32,
    AGENT_STDERR = 33,
    AGENT_EXIT =
        34, /* AGENT_TAG_EXIT_CODE, AGENT_TAG_SIGNAL, AGENT_TAG_TIMED_OUT, _MESSAGE; last */
    /* during get: guest to host. Parents first, by name; SIZE bytes of DATA, END. Then OK. */
    AGENT_ENTRY = 36, /* PATH, MODE, SIZE, MTIME, UID, GID, LINK_TARGET */
};

enum agent_tag {
    AGENT_TAG_ARG = 1, /* once per argument, in order */
    AGENT_TAG_ENV = 2, /* "NAME=value", once each */
    AGENT_TAG_CWD = 3,
    AGENT_TAG_TTY = 4,           /* u16 rows, u16 columns; present: a terminal */
    AGENT_TAG_TIMEOUT_MS = 5,    /* u32 */
    AGENT_TAG_WALL_CLOCK_NS = 6, /* u64 since 1970 */
    AGENT_TAG_ENTROPY = 7,
    AGENT_TAG_HOSTNAME = 8,
    AGENT_TAG_VERSION = 9,
    AGENT_TAG_KERNEL = 10,
    AGENT_TAG_BOOT_ID = 11,
    AGENT_TAG_UPTIME_MS = 12, /* u64 */
    AGENT_TAG_EXIT_CODE = 13, /* i32: 0..255, 128 + signal if killed, 127 if not started */
    AGENT_TAG_SIGNAL = 14,    /* i32: the signal that ended it */
    AGENT_TAG_TIMED_OUT = 15, /* empty */
    AGENT_TAG_MESSAGE = 16,
    AGENT_TAG_ERRNO = 17, /* i32 */
    AGENT_TAG_PATH = 18,  /* absolute in requests; in entries relative, from the base name on */
    AGENT_TAG_MODE = 19,  /* u32, as st_mode; in requests the permissions alone count */
    AGENT_TAG_SIZE = 20,  /* u64 */
    AGENT_TAG_MTIME = 21, /* i64 seconds since 1970 */
    AGENT_TAG_UID = 22,   /* u32 */
    AGENT_TAG_GID = 23,   /* u32 */
    AGENT_TAG_LINK_TARGET = 24, /* of a symbolic link */
    AGENT_TAG_FOLLOW = 25,      /* empty: symbolic links count as what they lead to */
    AGENT_TAG_DIRECTORY = 26,   /* empty */
    AGENT_TAG_SKIPPED = 27,     /* u32: sockets, pipes and devices that a get left out */
};

struct agent_frame {
    uint8_t type;
    uint32_t length;
    uint8_t *payload; /* inside the buffer given to agent_frame_read() */
};

/* Writes one frame, whole; never raises SIGPIPE on a socket. -EMSGSIZE over the limit. */
int agent_frame_write(int fd, uint8_t type, const void *payload, size_t length, struct error *err);
/* Reads one frame into `buffer` (AGENT_FRAME_LIMIT bytes): 1 read, 0 the peer closed between
 * frames, negative errno otherwise (-EPROTO: it breaks the format; -ECONNRESET: it closed within a
 * frame). Neither reads a byte beyond the frame. */
int agent_frame_read(int fd, uint8_t *buffer, struct agent_frame *frame, struct error *err);

/* The same until `deadline_ns` of CLOCK_MONOTONIC (0: none), then -ETIMEDOUT. */
int agent_frame_write_until(int fd, uint8_t type, const void *payload, size_t length,
                            uint64_t deadline_ns, struct error *err);
int agent_frame_read_until(int fd, uint8_t *buffer, struct agent_frame *frame, uint64_t deadline_ns,
                           struct error *err);

/* The header alone, for those who poll. Decoding returns -EPROTO if it breaks the format. */
void agent_header_encode(uint8_t header[AGENT_FRAME_HEADER], uint8_t type, uint32_t length);
int agent_header_decode(const uint8_t header[AGENT_FRAME_HEADER], uint8_t *type, uint32_t *length);

/* Building a list of fields into a fixed buffer; `overflow` is set when it does not fit. */
struct agent_fields {
    uint8_t *data;
    size_t length, capacity;
    int overflow;
};
void agent_field_put(struct agent_fields *fields, uint16_t tag, const void *value, size_t length);
void agent_field_put_text(struct agent_fields *fields, uint16_t tag, const char *text);
void agent_field_put_u32(struct agent_fields *fields, uint16_t tag, uint32_t value);
void agent_field_put_u64(struct agent_fields *fields, uint16_t tag, uint64_t value);

/* Walks a list: returns 1 and the next field, 0 at the end, -EPROTO if the list is malformed.
 * `*offset` starts at 0. */
int agent_field_next(const void *data, size_t length, size_t *offset, uint16_t *tag,
                     const uint8_t **value, uint32_t *value_length);
/* Hands every field of a frame's payload to `take` (0, or a negative errno that ends it). 0 once
 * all were taken, else that errno, or the one of a payload that is malformed. */
typedef int agent_field_take(void *context, uint16_t tag, const uint8_t *value, uint32_t length);
int agent_fields_each(const struct agent_frame *frame, agent_field_take *take, void *context);

/* A field's value as a number: 0, or -EPROTO if its length is not that of the type. */
int agent_value_u32(const uint8_t *value, uint32_t length, uint32_t *number);
int agent_value_u64(const uint8_t *value, uint32_t length, uint64_t *number);
/* A field's value as text for people: cut to `size`, control characters become '?'. */
void agent_value_text(const uint8_t *value, uint32_t length, char *text, size_t size);

#endif
