/* SPDX-License-Identifier: Apache-2.0 */
/* bench-mapped image FILE MIB: makes a memory file.
 * bench-mapped touch DEVICE PATTERN FILE...: drops the files from the page cache, touches them all
 * at once, and prints a line of JSON: milliseconds of each, bytes that the device read meanwhile,
 * bytes in the page cache afterwards. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mapped.h"

void die(const char *what)
{
    fprintf(stderr, "bench-mapped: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void touch(const char *device, const char *pattern_name, char *const *files, unsigned count)
{
    uint64_t elapsed[MAX_VMS];
    struct pattern pattern;
    struct stat st;
    if (stat(files[0], &st) < 0)
        die(files[0]);
    uint64_t pages = (uint64_t)st.st_size / PAGE;
    pattern_make(&pattern, pattern_name, pages);
    cache_drop(files, count);
    uint64_t before = device_read(device);
    mapped_touch(files, count, &pattern, pages, elapsed);
    uint64_t read = device_read(device) - before;
    printf("{\"ms\": [");
    for (unsigned i = 0; i < count; i++)
        printf("%s%.2f", i > 0 ? ", " : "", (double)elapsed[i] / 1e6);
    printf("], \"touched_bytes\": %llu, \"read_bytes\": %llu, \"cache_bytes\": %llu}\n",
           (unsigned long long)pattern.count * PAGE, (unsigned long long)read,
           (unsigned long long)cache_used(files, count));
    free(pattern.pages);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "image") == 0) {
        image_make(argv[2], strtoull(argv[3], NULL, 10) << 8);
        return 0;
    }
    if (argc < 5 || argc - 4 > MAX_VMS || strcmp(argv[1], "touch") != 0) {
        fputs("bench-mapped image FILE MIB | bench-mapped touch DEVICE PATTERN FILE...\n", stderr);
        return 2;
    }
    touch(argv[2], argv[3], argv + 4, (unsigned)(argc - 4));
    return 0;
}
