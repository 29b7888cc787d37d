/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/sweep.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/image.h"

int sweep_directory(int dirfd, const char *label, sweep_filter *doomed, const void *context,
                    struct error *err)
{
    _cleanup_(closedir) DIR *dir = NULL;
    const char *name;
    int r = dir_stream(dirfd, label, &dir, err);
    if (r < 0)
        return r;
    int removed = 0;
    while ((r = dir_next(dir, label, &name, err)) > 0) {
        if (!doomed(name, context))
            continue;
        r = tree_remove(dirfd, name, err);
        if (r < 0) {
            error_wrap(err, "sweep %s", label);
            return r;
        }
        removed++;
    }
    return r < 0 ? r : removed;
}

static bool is_half_made(const char *name, const void *context)
{
    return is_temporary_name(name);
}

int stack_sweep(int dirfd, const char *label, struct error *err)
{
    return sweep_directory(dirfd, label, is_half_made, NULL, err);
}

/* True for "<prefix>.tine-tmp-<hex>": what is left behind the prefix must be the mark alone, so
 * that "memory" does not sweep the temporaries of "memory.old". */
static bool is_temporary_of(const char *name, const void *context)
{
    const char *prefix = context;
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0 || !is_temporary_name(name))
        return false;
    return strlen(name + length) == strlen(".tine-tmp-") + 16;
}

int sweep_temporaries_of(const struct stack_file *file, struct error *err)
{
    int r = sweep_directory(file->dirfd, image_label(file), is_temporary_of, file->name, err);
    return r < 0 ? r : 0;
}
