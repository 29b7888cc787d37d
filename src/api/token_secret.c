/* SPDX-License-Identifier: Apache-2.0 */
#include "api/token_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

int token_file_check(int fd, const char *path, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, path, "stat %s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERROR_INVALID, EINVAL, "%s is not a regular file", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return error_set(err, ERROR_INVALID, EPERM, "%s holds a secret and belongs to user %u",
                         path, st.st_uid);
    if ((st.st_mode & 077) != 0)
        return error_set(err, ERROR_INVALID, EPERM,
                         "%s holds a secret and is open to others (mode %04o): chmod 600", path,
                         st.st_mode & 07777);
    return 0;
}

int token_secret_set(struct token_secret *secret, const char *text, size_t length,
                     struct error *err)
{
    if (length < TOKEN_SECRET_MIN || length > TOKEN_SECRET_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "the token secret has %zu bytes, not %d to %d",
                         length, TOKEN_SECRET_MIN, TOKEN_SECRET_MAX);
    unsigned char *bytes = malloc(length);
    if (!bytes)
        return error_errno(err, ENOMEM, NULL, "token secret");
    memcpy(bytes, text, length);
    token_secret_release(secret);
    *secret = (struct token_secret){bytes, length};
    return 0;
}

int token_secret_read(struct token_secret *secret, const char *path, struct error *err)
{
    char text[TOKEN_SECRET_MAX + 2];
    _cleanup_(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(err, errno, path, "open %s", path);
    int r = token_file_check(fd, path, err);
    if (r < 0)
        return r;
    ssize_t n = read(fd, text, sizeof(text));
    if (n < 0)
        return error_errno(err, errno, path, "read %s", path);
    size_t length = (size_t)n;
    if (length > 0 && text[length - 1] == '\n')
        length--;
    r = token_secret_set(secret, text, length, err);
    explicit_bzero(text, sizeof(text));
    return r < 0 ? error_wrap(err, "%s", path) : 0;
}

void token_secret_release(struct token_secret *secret)
{
    if (secret->bytes)
        explicit_bzero(secret->bytes, secret->length);
    free(secret->bytes);
    *secret = (struct token_secret){0};
}
