/* SPDX-License-Identifier: Apache-2.0 */
#include "api/locate.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

/* The directory of the running program, "" if unknown. */
static void program_dir(char directory[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", directory, PATH_MAX - 1);
    directory[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(directory, '/');
    if (slash)
        *slash = '\0';
}

/* The first that exists of `directory` + `paths[i]`; a path that begins with '/' stands alone. NULL
 * if none does. */
static char *first_of(const char *const *paths, size_t count)
{
    char directory[PATH_MAX];
    program_dir(directory);
    for (size_t i = 0; i < count; i++) {
        char *path;
        if (asprintf(&path, "%s%s%s", paths[i][0] == '/' ? "" : directory,
                     paths[i][0] == '/' ? "" : "/", paths[i]) < 0)
            return NULL;
        if (access(path, F_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

#define PROGRAM_PATHS 3

static char *locate_program(const char *variable, const char *const paths[PROGRAM_PATHS])
{
    const char *chosen = getenv(variable);
    if (chosen && *chosen)
        return strdup(chosen);
    char *found = first_of(paths, PROGRAM_PATHS);
    return found ? found : strdup(paths[PROGRAM_PATHS - 1]);
}

char *locate_vmm(void)
{
    static const char *const paths[PROGRAM_PATHS] = {"tine-vmm", "../vmm/tine-vmm",
                                                     TINE_LIBEXECDIR "/tine-vmm"};
    return locate_program("TINE_VMM", paths);
}

char *locate_pager(void)
{
    static const char *const paths[PROGRAM_PATHS] = {"tine-pager", "../pager/tine-pager",
                                                     TINE_LIBEXECDIR "/tine-pager"};
    return locate_program("TINE_PAGER", paths);
}

char *locate_kit(void)
{
    static const char *const paths[] = {"share/tine/kit", "../share/tine/kit", "../../kit",
                                        TINE_DATADIR "/tine/kit"};
    const char *chosen = getenv("TINE_KIT");
    return chosen && *chosen ? strdup(chosen) : first_of(paths, ARRAY_SIZE(paths));
}
