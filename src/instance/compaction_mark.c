/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/compaction_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "instance/memory_stack.h"

#define NAME      "compacted"
#define SIZE      256u
#define NO_LAYERS "-"

static const char *shown(const char *top)
{
    return *top ? top : NO_LAYERS;
}

int compaction_mark_write(int directory, const struct compaction_mark *mark, struct error *err)
{
    char text[SIZE];
    int length =
        snprintf(text, sizeof(text), "tine compaction 1: %u %s became %u %s.\n", mark->old_layers,
                 shown(mark->old_top), mark->new_layers, shown(mark->new_top));
    _cleanup_(close) int fd =
        openat(directory, NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, NAME, "create %s", NAME);
    return file_write_exact(fd, text, (size_t)length, NAME, err);
}

/* 16 hex digits, or that there is none. */
static bool take_top(const char *text, unsigned layers, char top[INSTANCE_MEMORY_TOP_SIZE])
{
    bool none = strcmp(text, NO_LAYERS) == 0;
    snprintf(top, INSTANCE_MEMORY_TOP_SIZE, "%s", none ? "" : text);
    return none == (layers == 0) && layers <= INSTANCE_MAX_LAYERS &&
           (none || (strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16));
}

static bool parse(const char *text, struct compaction_mark *mark)
{
    char old_top[20], new_top[20], end = 0;
    return sscanf(text, "tine compaction 1: %2u %16[-0-9a-f] became %2u %16[-0-9a-f]%c",
                  &mark->old_layers, old_top, &mark->new_layers, new_top, &end) == 5 &&
           end == '.' && take_top(old_top, mark->old_layers, mark->old_top) &&
           take_top(new_top, mark->new_layers, mark->new_top);
}

int compaction_mark_read(int directory, struct compaction_mark *mark, struct error *err)
{
    _cleanup_(free) char *text = NULL;
    size_t length = 0;
    struct error cause = {0};
    int r = file_read_all(directory, NAME, SIZE, &text, &length, &cause);
    if (r == -ENOENT)
        return 0;
    if (r < 0 && err)
        *err = cause;
    if (r < 0)
        return r;
    *mark = (struct compaction_mark){.old_layers = 0};
    if (strlen(text) != length || !parse(text, mark))
        return error_set(err, ERROR_CORRUPT, EBADMSG, GUEST_SNAPSHOT "/" NAME " is damaged");
    return 1;
}

int compaction_mark_remove(int directory, struct error *err)
{
    if (unlinkat(directory, NAME, 0) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, NAME, "remove %s", NAME);
    return dir_sync(directory, GUEST_SNAPSHOT, err);
}
