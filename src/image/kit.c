/* SPDX-License-Identifier: Apache-2.0 */
#include "image/kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/digest.h"

#define NS_PER_S 1000000000ull

static const char *const names[KIT_FILES] = {"initrd.img", "vmlinux"};

static int digest_make(struct image_kit *kit, int dir_fd, struct error *err)
{
    struct sha256_ctx context;
    char hex[DIGEST_HEX_SIZE], line[DIGEST_HEX_SIZE + 32];
    sha256_init(&context);
    for (size_t i = 0; i < KIT_FILES; i++) {
        if (digest_file(dir_fd, names[i], hex, err) < 0)
            return error_wrap(err, "guest kit");
        int length = snprintf(line, sizeof(line), "%s  %s\n", hex, names[i]);
        sha256_update(&context, (size_t)length, (const uint8_t *)line);
    }
    digest_hex(&context, hex);
    snprintf(kit->digest, sizeof(kit->digest), DIGEST_PREFIX "%s", hex);
    return 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Hashes the files unless they are those of the last time; called with the lock held. */
static int digest_refresh(struct image_kit *kit, int dir_fd, const struct stat files[KIT_FILES],
                          struct error *err)
{
    bool same = true;
    for (size_t i = 0; i < KIT_FILES; i++)
        same = same && is_same(&files[i], &kit->files[i]);
    if (same)
        return 0;
    memset(kit->files, 0, sizeof(kit->files));
    int r = digest_make(kit, dir_fd, err);
    if (r == 0)
        memcpy(kit->files, files, sizeof(kit->files));
    return r;
}

static int not_here(struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, ENOENT, "there is no guest kit on this host");
}

int image_kit_read(struct image_kit *kit, struct image *image, struct error *err)
{
    struct stat files[KIT_FILES];
    *image = (struct image){.name = IMAGE_KIT};
    _cleanup_(close) int dir_fd = kit->dir ? dir_open(AT_FDCWD, kit->dir, err) : -ENOENT;
    if (dir_fd < 0)
        return dir_fd == -ENOENT ? not_here(err) : dir_fd;
    for (size_t i = 0; i < KIT_FILES; i++) {
        if (fstatat(dir_fd, names[i], &files[i], 0) < 0)
            return errno == ENOENT
                       ? not_here(err)
                       : error_errno(err, errno, names[i], "guest kit: stat %s", names[i]);
        uint64_t changed_ns =
            (uint64_t)files[i].st_mtim.tv_sec * NS_PER_S + (uint64_t)files[i].st_mtim.tv_nsec;
        image->size_bytes += (uint64_t)files[i].st_size;
        image->created_at_ns =
            changed_ns > image->created_at_ns ? changed_ns : image->created_at_ns;
    }
    pthread_mutex_lock(&kit->lock);
    int r = digest_refresh(kit, dir_fd, files, err);
    memcpy(image->digest, kit->digest, sizeof(image->digest));
    pthread_mutex_unlock(&kit->lock);
    return r;
}
