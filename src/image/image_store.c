/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "image/kit.h"
#include "image/reference.h"

struct image_store {
    struct image_kit kit;
};

struct image_store *image_store_open(const char *kit_dir)
{
    struct image_store *store = calloc(1, sizeof(*store));
    if (!store)
        return NULL;
    pthread_mutex_init(&store->kit.lock, NULL);
    store->kit.dir = kit_dir ? strdup(kit_dir) : NULL;
    if (!kit_dir || store->kit.dir)
        return store;
    image_store_close(store);
    return NULL;
}

void image_store_close(struct image_store *store)
{
    if (!store)
        return;
    pthread_mutex_destroy(&store->kit.lock);
    free(store->kit.dir);
    free(store);
}

int image_list(struct image_store *store, struct image **images, size_t *count, struct error *err)
{
    _cleanup_(free) struct image *list = calloc(1, sizeof(*list));
    if (!list)
        return error_errno(err, ENOMEM, NULL, "list images");
    int r = image_kit_read(&store->kit, list, err);
    if (r < 0 && r != -ENOENT)
        return r;
    error_clear(err);
    *count = r == 0;
    *images = TAKE_PTR(list);
    return 0;
}

static int not_here(const char *reference, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, ENOENT,
                     "image %.200s is not here; images can't be pulled yet", reference);
}

int image_get(struct image_store *store, const char *reference, struct image *image,
              struct error *err)
{
    struct image_reference wanted, kit;
    int r = image_reference_parse(reference, &wanted, err);
    if (r < 0)
        return r;
    image_reference_parse(IMAGE_KIT, &kit, NULL);
    if (strcmp(wanted.repository, kit.repository) != 0 ||
        (!*wanted.digest && strcmp(wanted.tag, kit.tag) != 0))
        return not_here(reference, err);
    r = image_kit_read(&store->kit, image, err);
    if (r == 0 && *wanted.digest && strcmp(wanted.digest, image->digest) != 0)
        return not_here(reference, err);
    return r;
}
