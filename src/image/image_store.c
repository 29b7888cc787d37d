/* SPDX-License-Identifier: Apache-2.0 */
#include "image/image_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

struct image_file image_file(const struct image *image)
{
    struct image_file file;
    snprintf(file.name, sizeof(file.name), "%s.img", image->id);
    return file;
}

/* --- opening --------------------------------------------------------------------------------- */

static int directory_open(struct image_store *images, const char *data_dir, struct error *err)
{
    _cleanup_(free) char *path = NULL;
    if (asprintf(&path, "%s/images", data_dir) < 0) {
        path = NULL;
        return error_errno(err, ENOMEM, data_dir, "open %s/images", data_dir);
    }
    int r = dir_make_all(path, err);
    if (r < 0)
        return r;
    images->directory = dir_open(AT_FDCWD, path, err);
    return images->directory < 0 ? images->directory : 0;
}

/* A row whose disk has no name yet, or no longer: an import or a deletion was cut off. */
static int forget_half_made(struct image_store *images, struct error *err)
{
    _cleanup_(free) struct image *list = NULL;
    size_t count = 0;
    int r = store_image_list(images->store, &list, &count, err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        int exists = file_exists(images->directory, image_file(&list[i]).name, err);
        if (exists < 0)
            return exists;
        if (exists)
            continue;
        log_info("image %s: removed: it was half-made or half-deleted", list[i].name);
        r = store_image_delete(images->store, list[i].id, err);
    }
    return r;
}

static int open_all(struct image_store *images, const char *kit_dir, const char *data_dir,
                    struct error *err)
{
    images->kit.dir = kit_dir ? strdup(kit_dir) : NULL;
    if (kit_dir && !images->kit.dir)
        return error_errno(err, ENOMEM, kit_dir, "open %s", kit_dir);
    int r = directory_open(images, data_dir, err);
    if (r == 0)
        r = stack_sweep(images->directory, "images", err);
    return r < 0 ? r : forget_half_made(images, err);
}

struct image_store *image_store_open(const char *kit_dir, const char *data_dir, struct store *store,
                                     struct error *err)
{
    struct image_store *images = calloc(1, sizeof(*images));
    if (!images) {
        error_errno(err, ENOMEM, data_dir, "open %s/images", data_dir);
        return NULL;
    }
    images->store = store;
    images->directory = -1;
    pthread_mutex_init(&images->kit.lock, NULL);
    if (open_all(images, kit_dir, data_dir, err) == 0)
        return images;
    image_store_close(images);
    return NULL;
}

void image_store_close(struct image_store *images)
{
    if (!images)
        return;
    pthread_mutex_destroy(&images->kit.lock);
    free(images->kit.dir);
    if (images->directory >= 0)
        close(images->directory);
    free(images);
}

/* --- reading --------------------------------------------------------------------------------- */

/* Puts the guest kit, if there is one, before what the list has. */
static int add_kit(struct image_store *images, struct image **list, size_t *count,
                   struct error *err)
{
    struct image *grown = reallocarray(*list, *count + 1, sizeof(**list));
    if (!grown)
        return error_errno(err, ENOMEM, NULL, "list images");
    *list = grown;
    memmove(grown + 1, grown, *count * sizeof(*grown));
    int r = image_kit_read(&images->kit, grown, err);
    if (r == 0) {
        ++*count;
        return 0;
    }
    memmove(grown, grown + 1, *count * sizeof(*grown));
    if (r == -ENOENT)
        error_clear(err);
    return r == -ENOENT ? 0 : r;
}

int image_list(struct image_store *images, struct image **list, size_t *count, struct error *err)
{
    _cleanup_(free) struct image *found = NULL;
    int r = store_image_list(images->store, &found, count, err);
    if (r == 0)
        r = add_kit(images, &found, count, err);
    if (r < 0)
        return r;
    *list = TAKE_PTR(found);
    return 0;
}

static int not_here(const char *reference, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, ENOENT,
                     "image %.200s is not here; images can't be pulled yet", reference);
}

static bool is_kit(const struct image_reference *wanted)
{
    struct image_reference kit;
    image_reference_parse(IMAGE_KIT, &kit, NULL);
    return strcmp(wanted->repository, kit.repository) == 0 &&
           (*wanted->digest || strcmp(wanted->tag, kit.tag) == 0);
}

/* One of that repository with that digest, whatever its tag. */
static int get_by_digest(struct image_store *images, const struct image_reference *wanted,
                         struct image *image, struct error *err)
{
    _cleanup_(free) struct image *list = NULL;
    size_t count = 0, length = strlen(wanted->repository);
    int r = store_image_list(images->store, &list, &count, err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (strncmp(list[i].name, wanted->repository, length) != 0 || list[i].name[length] != ':' ||
            strcmp(list[i].digest, wanted->digest) != 0)
            continue;
        *image = list[i];
        return 0;
    }
    return r < 0 ? r : -ENOENT;
}

static int get_imported(struct image_store *images, const struct image_reference *wanted,
                        struct image *image, struct error *err)
{
    char name[IMAGE_REFERENCE_SIZE];
    if (*wanted->digest)
        return get_by_digest(images, wanted, image, err);
    image_reference_format(wanted, name);
    return store_image_get(images->store, name, image, err);
}

int image_get(struct image_store *images, const char *reference, struct image *image,
              struct error *err)
{
    struct image_reference wanted;
    int r = image_reference_parse(reference, &wanted, err);
    if (r < 0)
        return r;
    if (is_kit(&wanted)) {
        r = image_kit_read(&images->kit, image, err);
        if (r < 0 || !*wanted.digest || strcmp(wanted.digest, image->digest) == 0)
            return r;
    }
    r = get_imported(images, &wanted, image, err);
    return r == -ENOENT ? not_here(reference, err) : r;
}

int image_name_new(const char *text, char name[IMAGE_NAME_SIZE], struct error *err)
{
    struct image_reference reference;
    char normal[IMAGE_REFERENCE_SIZE];
    int r = image_reference_parse(text, &reference, err);
    if (r < 0)
        return r;
    image_reference_format(&reference, normal);
    if (*reference.digest)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "\"%.200s\": an image is given a name; its digest follows from what it is",
                         text);
    if (is_kit(&reference))
        return error_set(err, ERROR_NAME, EEXIST, "%s is the guest kit's name", text);
    if (strlen(normal) >= IMAGE_NAME_SIZE)
        return error_set(err, ERROR_INVALID, ENAMETOOLONG,
                         "\"%.200s\" is longer than the %d bytes of an image's name", text,
                         IMAGE_NAME_SIZE - 1);
    memcpy(name, normal, strlen(normal) + 1);
    return 0;
}

/* --- its disk -------------------------------------------------------------------------------- */

int image_share(struct image_store *images, const struct image *image, const struct stack_file *to,
                struct stack_result *result, struct error *err)
{
    const struct image_file file = image_file(image);
    char label[64];
    snprintf(label, sizeof(label), "images/%s", file.name);
    const struct stack_file from = {images->directory, file.name, label};
    int r = stack_share(&from, to, result, err);
    return r == -ENOENT ? not_here(image->name, err) : r;
}

/* Renamed away, forgotten, removed: under its own name the disk is whole, and a row without one is
 * forgotten at the next start. */
static int remove_image(struct image_store *images, const struct image *image, struct error *err)
{
    const struct image_file file = image_file(image);
    _cleanup_(free) char *trash = temporary_name(file.name);
    if (!trash)
        return error_errno(err, ENOMEM, file.name, "delete image %s", image->name);
    if (renameat(images->directory, file.name, images->directory, trash) < 0 && errno != ENOENT)
        return error_errno(err, errno, file.name, "delete image %s", image->name);
    int r = dir_sync(images->directory, "images", err);
    if (r == 0)
        r = store_image_delete(images->store, image->id, err);
    if (r < 0) {
        if (renameat(images->directory, trash, images->directory, file.name) < 0)
            log_error("image %s: put back its disk: %s", image->name, strerror(errno));
        return r;
    }
    if (unlinkat(images->directory, trash, 0) < 0)
        log_warning("image %s is deleted; its disk goes at the next start: %s", image->name,
                    strerror(errno));
    return 0;
}

int image_delete(struct image_store *images, const char *reference, struct error *err)
{
    struct image image = {0};
    int r = image_get(images, reference, &image, err);
    if (r < 0)
        return r;
    if (!*image.id)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "%s is the guest kit, a part of the installation: it can't be deleted",
                         image.name);
    return remove_image(images, &image, err);
}
