/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/smaps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "hypervisor/hypervisor.h"

#define LINE_MAX_BYTES 8192 /* a path of PATH_MAX, its escapes, and the numbers */

struct mapping {
    uint64_t size, private_bytes;
    bool memory_file, anonymous;
};

struct mappings {
    struct mapping *list;
    size_t count;
};

static void cleanup_mappings(struct mappings *mappings)
{
    free(mappings->list);
}

/* A file of that name, whatever directory it is seen in, also after base/ was dropped. */
static bool names_memory(const char *path)
{
    static const char deleted[] = " (deleted)";
    static const char name[] = "/" SNAPSHOT_MEMORY;
    size_t length = strlen(path);
    size_t tail = sizeof(deleted) - 1;
    if (length > tail && strcmp(path + length - tail, deleted) == 0)
        length -= tail;
    tail = sizeof(name) - 1;
    return length >= tail && strncmp(path + length - tail, name, tail) == 0;
}

/* "start-end perms offset dev inode   path"; false for a line of another kind. */
static bool parse_header(char *line, struct mapping *mapping)
{
    uint64_t start, end, inode;
    int path_at = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*4s %*x %*x:%*x %" SCNu64 " %n", &start, &end,
               &inode, &path_at) != 3 ||
        end < start)
        return false;
    char *path = line + path_at;
    path[strcspn(path, "\n")] = '\0';
    *mapping = (struct mapping){
        .size = end - start,
        .memory_file = inode != 0 && names_memory(path),
        /* An unnamed mapping, or one that was given a name with PR_SET_VMA_ANON_NAME. */
        .anonymous = inode == 0 && (*path == '\0' || strncmp(path, "[anon:", 6) == 0),
    };
    return true;
}

static int append(struct mappings *mappings, const struct mapping *mapping, struct error *err)
{
    void *grown = reallocarray(mappings->list, mappings->count + 1, sizeof(*mapping));
    if (!grown)
        return error_errno(err, ENOMEM, NULL, "read smaps");
    mappings->list = grown;
    mappings->list[mappings->count++] = *mapping;
    return 0;
}

static void parse_value(const char *line, struct mapping *mapping)
{
    uint64_t kib;
    if (sscanf(line, "Private_Dirty: %" SCNu64 " kB", &kib) == 1 ||
        sscanf(line, "Private_Hugetlb: %" SCNu64 " kB", &kib) == 1)
        mapping->private_bytes += kib << 10;
}

static int parse(FILE *smaps, struct mappings *mappings, struct error *err)
{
    char line[LINE_MAX_BYTES];
    struct mapping mapping;
    while (fgets(line, sizeof(line), smaps)) {
        int r = 0;
        if (parse_header(line, &mapping))
            r = append(mappings, &mapping, err);
        else if (mappings->count > 0)
            parse_value(line, &mappings->list[mappings->count - 1]);
        if (r < 0)
            return r;
    }
    return ferror(smaps) ? error_errno(err, errno, NULL, "read smaps") : 0;
}

static int by_size(const void *a, const void *b)
{
    const struct mapping *x = a, *y = b;
    return x->size < y->size ? 1 : x->size > y->size ? -1 : 0;
}

int smaps_read(FILE *smaps, uint64_t guest_size, struct smaps *result, struct error *err)
{
    _cleanup_(mappings) struct mappings mappings = {.list = NULL};
    *result = (struct smaps){.private_bytes = 0};
    int r = parse(smaps, &mappings, err);
    if (r < 0)
        return r;
    uint64_t found = 0;
    for (size_t i = 0; i < mappings.count; i++) {
        result->private_bytes += mappings.list[i].private_bytes;
        if (mappings.list[i].memory_file) {
            result->guest_bytes += mappings.list[i].private_bytes;
            found += mappings.list[i].size;
        }
    }
    if (mappings.count > 0)
        qsort(mappings.list, mappings.count, sizeof(*mappings.list), by_size);
    for (size_t i = 0; i < mappings.count && found < guest_size; i++) {
        if (!mappings.list[i].anonymous)
            continue;
        result->guest_bytes += mappings.list[i].private_bytes;
        found += mappings.list[i].size;
    }
    return 0;
}
