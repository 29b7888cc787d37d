/* SPDX-License-Identifier: Apache-2.0 */
#include "listing.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int is_left_out(const char *name)
{
    static const char *const names[] = {".", "..", "log", "run", "tine.db-wal", "tine.db-shm"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0)
            return 1;
    }
    return 0;
}

static void walk(FILE *out, const char *root, const char *relative)
{
    char path[4096];
    struct dirent **entries = NULL;
    snprintf(path, sizeof(path), "%s/%s", root, relative);
    int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char inner[2048];
        struct stat st;
        snprintf(inner, sizeof(inner), "%s%s%s", relative, *relative ? "/" : "",
                 entries[i]->d_name);
        snprintf(path, sizeof(path), "%s/%s", root, inner);
        if (!is_left_out(entries[i]->d_name) && lstat(path, &st) == 0) {
            fprintf(out, "%s %o", inner, st.st_mode & S_IFMT);
            if (S_ISREG(st.st_mode))
                fprintf(out, " %lu", (unsigned long)st.st_nlink);
            fputc('\n', out);
            if (S_ISDIR(st.st_mode))
                walk(out, root, inner);
        }
        free(entries[i]);
    }
    free(entries);
}

char *listing(const char *path)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    walk(out, path, "");
    fclose(out);
    return text;
}
