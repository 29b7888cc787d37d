/* SPDX-License-Identifier: Apache-2.0 */
/* The secret that signs tokens. It comes from a file, never from the command line or the
 * environment, where others could read it, and is never logged. */
#ifndef TINE_API_TOKEN_SECRET_H
#define TINE_API_TOKEN_SECRET_H

#include <stddef.h>

#include "base/error.h"

#define TOKEN_SECRET_FILE "/etc/tine/token-secret"
/* RFC 7518, section 3.2: a key of HS256 has at least the size of its hash. */
#define TOKEN_SECRET_MIN 32
#define TOKEN_SECRET_MAX 4096

struct token_secret {
    unsigned char *bytes; /* owned */
    size_t length;
};

/* Reads the secret: the file's bytes without one newline at the end. The file must be private
 * (below). */
int token_secret_read(struct token_secret *secret, const char *path, struct error *err);
/* Takes it from a text. */
int token_secret_set(struct token_secret *secret, const char *text, size_t length,
                     struct error *err);
/* Overwrites and frees it. */
void token_secret_release(struct token_secret *secret);

/* 0 if the file behind the descriptor belongs to us or to root and nobody else may read or write
 * it; ERROR_INVALID says what is wrong with it. */
int token_file_check(int fd, const char *path, struct error *err);

#endif
