/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership by scope: a variable marked `_cleanup_(x)` gives up what it owns when it goes out of
 * scope; TAKE_FD and TAKE_PTR hand the ownership on. */
#ifndef TINE_BASE_CLEANUP_H
#define TINE_BASE_CLEANUP_H

#include <dirent.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(kind) __attribute__((cleanup(cleanup_##kind)))

/* Frees the pointer. Declare as `_cleanup_(free) char *p = NULL;`. */
static inline void cleanup_free(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

/* Closes the descriptor when it is not negative; errno is left as it was. */
void cleanup_close(const int *fd);
/* Closes the stream when it is not NULL. */
void cleanup_fclose(FILE **stream);
/* Closes the directory stream when it is not NULL. */
void cleanup_closedir(DIR **dir);
/* Unlinks the path when it is not NULL, then frees it: for a half-made file. TAKE_PTR keeps the
 * file. */
void cleanup_unlink(char **path);

/* Returns the descriptor and leaves -1 behind. */
static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

static inline void *take_ptr(void *pointer_to_pointer)
{
    void **p = (void **)pointer_to_pointer;
    void *taken = *p;
    *p = NULL;
    return taken;
}

#define TAKE_FD(fd)   take_fd(&(fd))
#define TAKE_PTR(p)   ((__typeof__(p))take_ptr(&(p)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)(-(ptrdiff_t)offsetof(type, member) + (char *)(pointer)))

#endif
