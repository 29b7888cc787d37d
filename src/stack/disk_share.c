/* SPDX-License-Identifier: Apache-2.0 */
/* A fork of a disk: names of its own for all that is sealed, and a top of its own. */
#include <errno.h>

#include "base/cleanup.h"
#include "stack/disk_private.h"
#include "stack/image.h"

static int share_layer(const struct stack_file *base, const struct stack_file *to, unsigned number,
                       struct stack_result *sum, struct error *err)
{
    _cleanup_(disk_file) struct disk_file mine = DISK_FILE_NONE, its = DISK_FILE_NONE;
    struct stack_result result = {.bytes_copied = 0};
    int r = disk_file_of(base, number, &mine, err);
    if (r == 0)
        r = disk_file_of(to, number, &its, err);
    if (r == 0)
        r = stack_share(&mine.file, &its.file, &result, err);
    sum->bytes_copied += result.bytes_copied;
    return r;
}

int disk_share(const struct stack_file *base, const struct stack_file *to,
               struct stack_result *result, struct error *err)
{
    struct disk_chain chain;
    *result = (struct stack_result){.method = STACK_LINK};
    int r = disk_chain_find(base, &chain, err);
    if (r == 0 && chain.stack && !chain.frozen)
        r = error_set(err, ERROR_STATE, EBUSY, "%s is not sealed", image_label(base));
    if (r == 0)
        r = stack_share(base, to, result, err);
    for (unsigned i = 0; r == 0 && i < chain.count; i++)
        r = share_layer(base, to, chain.layers[i].number, result, err);
    if (r < 0)
        return r;
    const struct disk_header like = {.image_size = chain.image_size,
                                     .below = chain.count > 0 ? chain.layers[0].number : 0,
                                     .below_id = chain.count > 0 ? chain.layers[0].id : 0};
    return disk_top_create(to, &like, err);
}
