/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of ownership, checked on every file there is. */
#include "space.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../hypervisor/pattern.h"
#include "base/cleanup.h"
#include "base/file.h"

/* A file that has, or had, several names. The descriptor keeps its number from being used again. */
struct inode {
    dev_t device;
    ino_t number;
    int fd;
    struct timespec modified;
    uint64_t hash;
    bool seen;
};

struct inodes {
    struct inode *list;
    size_t count;
};

/* Of all pages that are not zero: a private mapping that reads a hole of tmpfs fills it. */
static uint64_t hash_of(int fd)
{
    static const uint8_t zeros[PATTERN_PAGE];
    uint8_t page[PATTERN_PAGE];
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    uint64_t hash = (uint64_t)st.st_size;
    for (off_t at = lseek(fd, 0, SEEK_DATA); at >= 0; at = lseek(fd, at, SEEK_DATA)) {
        ssize_t n = pread(fd, page, sizeof(page), at);
        assert_true(n > 0);
        if (memcmp(page, zeros, (size_t)n) != 0)
            hash ^= XXH3_64bits_withSeed(page, (size_t)n, (uint64_t)at);
        at += n;
    }
    return hash;
}

static struct inode *inode_find(struct inodes *inodes, const struct stat *st)
{
    for (size_t i = 0; i < inodes->count; i++) {
        if (inodes->list[i].number == st->st_ino && inodes->list[i].device == st->st_dev)
            return &inodes->list[i];
    }
    return NULL;
}

static void inode_add(struct inodes *inodes, const char *path, const struct stat *st)
{
    struct inode *grown = reallocarray(inodes->list, inodes->count + 1, sizeof(*grown));
    assert_non_null(grown);
    inodes->list = grown;
    struct inode inode = {.device = st->st_dev, .number = st->st_ino, .modified = st->st_mtim};
    inode.fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    assert_true(inode.fd >= 0);
    inode.hash = hash_of(inode.fd);
    inode.seen = true;
    inodes->list[inodes->count++] = inode;
}

/* R2 */
static void check_shared(struct inodes *inodes, const char *path, const struct stat *st,
                         bool thorough)
{
    struct inode *inode = inode_find(inodes, st);
    if (!inode && st->st_nlink > 1) {
        inode_add(inodes, path, st);
        return;
    }
    if (!inode)
        return;
    inode->seen = true;
    if (inode->modified.tv_sec != st->st_mtim.tv_sec ||
        inode->modified.tv_nsec != st->st_mtim.tv_nsec ||
        (thorough && hash_of(inode->fd) != inode->hash))
        fail_msg("R2: %s was written while it had several names", path);
}

/* A file with one name may be written again, and one without is gone. */
static void forget_unshared(struct inodes *inodes, bool all)
{
    size_t kept = 0;
    for (size_t i = 0; i < inodes->count; i++) {
        struct stat st;
        assert_int_equal(fstat(inodes->list[i].fd, &st), 0);
        if (all || st.st_nlink < 2 || !inodes->list[i].seen) {
            close(inodes->list[i].fd);
            continue;
        }
        inodes->list[kept] = inodes->list[i];
        inodes->list[kept++].seen = false;
    }
    inodes->count = kept;
}

/* R1, R3 and R2 of one tree: every name is a file or a directory of its owner's own, whole. */
static void walk(struct world *world, const char *path, bool thorough)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        fail_msg("read %s: %s", path, strerror(errno));
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char inner[1024];
        struct stat st;
        snprintf(inner, sizeof(inner), "%s/%s", path, name);
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            if (is_temporary_name(name))
                fail_msg("R3: %s was left behind", inner);
            assert_int_equal(lstat(inner, &st), 0);
            if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISSOCK(st.st_mode))
                fail_msg("R1: %s is neither a file nor a directory", inner);
            if (S_ISDIR(st.st_mode))
                walk(world, inner, thorough);
            else if (S_ISREG(st.st_mode))
                check_shared(world->inodes, inner, &st, thorough);
        }
        free(entries[i]);
    }
    free(entries);
}

static void assert_there(const char *directory, const char *name, bool wanted)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    int r = lstat(path, &st);
    if ((r == 0) != wanted || (r < 0 && errno != ENOENT))
        fail_msg("R1: %s %s", path, wanted ? "is missing" : "must not be there");
}

/* R1: all it needs, and no memory but that of its state. */
static void check_owner(struct world *world, const struct thing *thing, bool snapshot)
{
    struct path path = snapshot ? snapshot_path(world->fixture, thing->id, "")
                                : guest_path(world->fixture, thing->id, "");
    bool standby = thing->fact.place == PLACE_STANDBY;
    assert_there(path.text, "boot/kernel", true);
    assert_there(path.text, "boot/initrd", true);
    assert_there(path.text, "disks/0.img", !thing->diskless);
    assert_there(path.text, "disks/1.img", !thing->diskless);
    assert_there(path.text, "snapshot", standby);
    if (standby) {
        char packed[512];
        struct stat st;
        snprintf(packed, sizeof(packed), "%s/snapshot/memory.zst", path.text);
        assert_there(path.text, "snapshot/memory", !world->packed || lstat(packed, &st) < 0);
        assert_there(path.text, "snapshot/state", true);
    }
    if (thing->fact.place != PLACE_RUNNING)
        assert_there(path.text, "base", false);
    else
        assert_there(path.text, "base/state", false);
}

/* R4: the guest's memory file is mapped privately, and nowhere open for writing. A standby that
 * failed may have left a private copy in its place; a VM on its pager maps none. */
static void check_mappings(struct world *world, const struct thing *thing)
{
    const struct instance_record record = fixture_get(world->fixture, thing->name);
    struct path memory = guest_path(world->fixture, thing->id, "base/memory");
    char path[64], line[512];
    struct stat st;
    bool restored = lstat(memory.text, &st) == 0, mapped = false;
    snprintf(path, sizeof(path), "/proc/%d/maps", record.vmm_pid);
    _cleanup_(fclose) FILE *maps = fopen(path, "re");
    assert_non_null(maps);
    while (restored && fgets(line, sizeof(line), maps)) {
        unsigned long number;
        char flags[8];
        if (sscanf(line, "%*x-%*x %7s %*x %*x:%*x %lu", flags, &number) != 2 || number != st.st_ino)
            continue;
        mapped = true;
        if (flags[3] != 'p')
            fail_msg("R4: %s is mapped %s", memory.text, flags);
    }
    if (restored && !mapped && !record.paged && st.st_nlink > 1)
        fail_msg("R4: the VMM of %s does not map %s", thing->name, memory.text);
}

static bool is_served_packed(struct world *world, const struct thing *thing)
{
    struct path image = guest_path(world->fixture, thing->id, "base/memory.zst");
    struct stat st;
    return fixture_get(world->fixture, thing->name).paged && lstat(image.text, &st) == 0;
}

static void check_descriptors(struct world *world, const struct thing *thing)
{
    const struct instance_record record = fixture_get(world->fixture, thing->name);
    char directory[64];
    snprintf(directory, sizeof(directory), "/proc/%d/fd", record.vmm_pid);
    _cleanup_(closedir) DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char link[128], target[512];
        struct stat st;
        snprintf(link, sizeof(link), "%s/%.20s", directory, entry->d_name);
        ssize_t length = readlink(link, target, sizeof(target) - 1);
        if (length < 0 || lstat(link, &st) < 0)
            continue;
        target[length] = '\0';
        if (strstr(target, "/memory") && st.st_mode & S_IWUSR)
            fail_msg("R4: the VMM of %s has %s open for writing", thing->name, target);
    }
}

static int row_check(void *context, int count, char **values, char **names)
{
    const struct fixture *fixture = context;
    for (int i = 0; i < count; i++) {
        if (values[i] && strstr(values[i], fixture->data))
            fail_msg("R1: a row's %s leads to %s", names[i], values[i]);
    }
    return 0;
}

/* R1: nobody's row has a path into the data directory. */
static void check_rows(struct world *world)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/tine.db", world->fixture->data);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    assert_int_equal(sqlite3_exec(db, "SELECT * FROM instances", row_check, world->fixture, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "SELECT * FROM snapshots", row_check, world->fixture, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
}

void rules_check(struct world *world, bool thorough)
{
    static const char *const rooms[] = {"guests", "snapshots"};
    if (!world->inodes)
        world->inodes = calloc(1, sizeof(*world->inodes));
    for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", world->fixture->data, rooms[i]);
        walk(world, path, thorough);
    }
    forget_unshared(world->inodes, false);
    for (unsigned i = 0; i < SPACE_INSTANCES; i++) {
        const struct thing *thing = &world->instances[i];
        if (thing->fact.place != PLACE_ABSENT)
            check_owner(world, thing, false);
        if (thing->fact.place == PLACE_RUNNING) {
            check_mappings(world, thing);
            check_descriptors(world, thing);
            world->counts.served += is_served_packed(world, thing);
        }
    }
    for (unsigned i = 0; i < SPACE_SNAPSHOTS; i++) {
        if (world->snapshots[i].fact.place != PLACE_ABSENT)
            check_owner(world, &world->snapshots[i], true);
    }
    if (thorough)
        check_rows(world);
}

void rules_forget(struct world *world)
{
    if (!world->inodes)
        return;
    forget_unshared(world->inodes, true);
    free(world->inodes->list);
    free(world->inodes);
    world->inodes = NULL;
}
