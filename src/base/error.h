/* SPDX-License-Identifier: Apache-2.0 */
/* One error type for every room: what kind, which errno, on which thing, in words.
 *
 * Fallible functions take `struct error *err` last and return 0 or a negative errno (or a pointer
 * or NULL). The function that knows the cause fills `err` once and names the thing it happened to;
 * callers may add context with error_wrap(). `err` may be NULL where the caller has no use for the
 * words. */
#ifndef TINE_BASE_ERROR_H
#define TINE_BASE_ERROR_H

enum error_code {
    ERROR_SYSTEM = 0,  /* a system call failed, or anything without a better name: HTTP 500 */
    ERROR_INVALID,     /* the request or the input is wrong: HTTP 400 */
    ERROR_NOT_FOUND,   /* no such instance, file, drive: HTTP 404 */
    ERROR_AMBIGUOUS,   /* an id prefix that matches several: HTTP 409 */
    ERROR_STATE,       /* the state does not allow the operation: HTTP 409 invalid_state */
    ERROR_NAME,        /* the name is taken: HTTP 400 on create, 409 on fork */
    ERROR_RESOURCES,   /* no space, no memory, no descriptors left: HTTP 409 */
    ERROR_UNSUPPORTED, /* this host, file system or VMM can't do it: HTTP 501 */
    ERROR_CORRUPT,     /* a checksum, size or format that does not hold: HTTP 500 */
    ERROR_TIMEOUT,     /* the other side did not answer in time: HTTP 500 */
    ERROR_EXPIRED,     /* its time is over: HTTP 409 instance_expired */
};

struct error {
    enum error_code code;
    int errnum;         /* positive errno; 0 while no error is set */
    char path[256];     /* the file, socket or id it happened to, cut if longer; may be empty */
    char message[1024]; /* one line for people, complete in itself, cut if longer */
};

/* Fills `err` with a plain message. `errnum` is a positive errno, never 0. Returns -errnum. */
int error_set(struct error *err, enum error_code code, int errnum, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Fills `err` for a failed system call: the message is "<formatted>: <description> (<ENAME>)", the
 * path is `path` (may be NULL). The code follows from the errno: ENOSPC, EDQUOT, ENOMEM, EMFILE and
 * ENFILE are ERROR_RESOURCES, the rest ERROR_SYSTEM. Returns -errnum. */
int error_errno(struct error *err, int errnum, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The code that error_errno() gives to an errno. */
enum error_code error_code_of_errno(int errnum);

/* Puts "<formatted>: " before the message that is already there; code and errno stay. Returns
 * -err->errnum, or -EIO when `err` is NULL or unset. */
int error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The kind of an error as one word: "system", "invalid", "not_found", ... */
const char *error_code_name(enum error_code code);

/* Makes `err` empty again. */
void error_clear(struct error *err);

/* The symbolic name of an errno: "ENOSPC"; "errno 1234" for an unknown one. Thread-local buffer for
 * the latter. */
const char *errno_name(int errnum);
/* The reverse, for a name that comes from elsewhere: 0 for one that is unknown. */
int errno_number(const char *name);

#endif
