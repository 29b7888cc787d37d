/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/exec_request.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/protocol.h"
#include "base/cleanup.h"

#define DEFAULT_ROWS 24
#define DEFAULT_COLS 80

static const char *const default_env[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
};
#define TTY_ENV "TERM=xterm"

/* Counts of what the vectors hold while they are filled. */
struct filler {
    struct exec_request *request;
    size_t args, envs;
};

static int text_copy(char **text, const uint8_t *value, uint32_t length)
{
    if (memchr(value, '\0', length))
        return -EINVAL;
    *text = strndup((const char *)value, length);
    return *text ? 0 : -ENOMEM;
}

/* Takes ownership of `entry`; a later one of the same name replaces an earlier one. */
static int env_set(struct filler *filler, char *entry)
{
    _cleanup_(free) char *owned = entry;
    const char *equals = strchr(entry, '=');
    if (!equals || equals == entry)
        return -EINVAL;
    size_t name = (size_t)(equals - entry) + 1;
    char **env = filler->request->env;
    for (size_t i = 0; i < filler->envs; i++) {
        if (strncmp(env[i], entry, name) == 0) {
            free(env[i]);
            env[i] = TAKE_PTR(owned);
            return 0;
        }
    }
    env[filler->envs++] = TAKE_PTR(owned);
    return 0;
}

static int take_arg(struct filler *filler, const uint8_t *value, uint32_t length)
{
    return text_copy(&filler->request->argv[filler->args++], value, length);
}

static int take_env(struct filler *filler, const uint8_t *value, uint32_t length)
{
    char *entry = NULL;
    int r = text_copy(&entry, value, length);
    return r < 0 ? r : env_set(filler, entry);
}

static int take_cwd(struct filler *filler, const uint8_t *value, uint32_t length)
{
    free(TAKE_PTR(filler->request->cwd));
    return text_copy(&filler->request->cwd, value, length);
}

static int take_tty(struct filler *filler, const uint8_t *value, uint32_t length)
{
    uint16_t size[2];
    if (length != sizeof(size))
        return -EINVAL;
    memcpy(size, value, sizeof(size));
    filler->request->tty = true;
    filler->request->rows = size[0] ? le16toh(size[0]) : DEFAULT_ROWS;
    filler->request->cols = size[1] ? le16toh(size[1]) : DEFAULT_COLS;
    return 0;
}

static int take_timeout(struct filler *filler, const uint8_t *value, uint32_t length)
{
    return agent_value_u32(value, length, &filler->request->timeout_ms);
}

static const struct {
    uint16_t tag;
    int (*take)(struct filler *filler, const uint8_t *value, uint32_t length);
} takers[] = {
    {AGENT_TAG_ARG, take_arg},
    {AGENT_TAG_ENV, take_env},
    {AGENT_TAG_CWD, take_cwd},
    {AGENT_TAG_TTY, take_tty},
    {AGENT_TAG_TIMEOUT_MS, take_timeout},
};

/* Makes the vectors large enough for every field there is, which also checks the list's form. */
static int vectors_allocate(struct exec_request *request, const void *payload, size_t length)
{
    size_t offset = 0, count = 0;
    uint16_t tag;
    const uint8_t *value;
    uint32_t value_length;
    int r;
    while ((r = agent_field_next(payload, length, &offset, &tag, &value, &value_length)) > 0)
        count++;
    if (r < 0)
        return r;
    request->argv = calloc(count + 1, sizeof(*request->argv));
    request->env = calloc(count + ARRAY_SIZE(default_env) + 2, sizeof(*request->env));
    request->cwd = strdup("/");
    return request->argv && request->env && request->cwd ? 0 : -ENOMEM;
}

static int fields_take(struct filler *filler, const void *payload, size_t length)
{
    size_t offset = 0;
    uint16_t tag;
    const uint8_t *value;
    uint32_t value_length;
    int r;
    while ((r = agent_field_next(payload, length, &offset, &tag, &value, &value_length)) > 0) {
        for (size_t i = 0; i < ARRAY_SIZE(takers); i++) {
            if (takers[i].tag != tag)
                continue;
            r = takers[i].take(filler, value, value_length);
            if (r < 0)
                return r;
        }
    }
    return r;
}

/* Puts a default before what was asked for is known: that replaces it. */
static int env_default(struct filler *filler, const char *entry)
{
    char *copy = strdup(entry);
    return copy ? env_set(filler, copy) : -ENOMEM;
}

/* TERM's default depends on a field that may come late, so it is looked for afterwards. */
static int env_default_term(struct filler *filler)
{
    for (size_t i = 0; i < filler->envs; i++) {
        if (strncmp(filler->request->env[i], TTY_ENV, strlen("TERM=")) == 0)
            return 0;
    }
    return env_default(filler, TTY_ENV);
}

int exec_request_parse(struct exec_request *request, const void *payload, size_t length,
                       struct error *err)
{
    memset(request, 0, sizeof(*request));
    struct filler filler = {.request = request};
    int r = vectors_allocate(request, payload, length);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(default_env); i++)
        r = env_default(&filler, default_env[i]);
    if (r == 0)
        r = fields_take(&filler, payload, length);
    if (r == 0 && request->tty)
        r = env_default_term(&filler);
    if (r == -ENOMEM)
        return error_errno(err, ENOMEM, NULL, "exec");
    if (r < 0)
        return error_set(err, ERROR_INVALID, EINVAL, "exec: the request is malformed");
    if (!request->argv[0] || !request->argv[0][0])
        return error_set(err, ERROR_INVALID, EINVAL, "exec: no command given");
    return 0;
}

static void vector_free(char **vector)
{
    for (char **entry = vector; entry && *entry; entry++)
        free(*entry);
    free((void *)vector);
}

void exec_request_release(struct exec_request *request)
{
    vector_free(request->argv);
    vector_free(request->env);
    free(request->cwd);
    memset(request, 0, sizeof(*request));
}
