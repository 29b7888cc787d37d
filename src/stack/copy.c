/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "stack/image.h"
#include "stack/sweep.h"

void cleanup_temporary(struct temporary *temporary)
{
    if (temporary->name)
        unlinkat(temporary->dirfd, temporary->name, 0); /* the first error is the one to tell */
    free(temporary->name);
}

int temporary_create(const struct stack_file *to, mode_t mode, struct temporary *temporary,
                     struct error *err)
{
    _cleanup_(free) char *name = temporary_name(to->name);
    if (!name)
        return error_errno(err, ENOMEM, image_label(to), "name a temporary for %s",
                           image_label(to));
    _cleanup_(close) int fd =
        openat(to->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, image_label(to), "create a temporary for %s",
                           image_label(to));
    temporary->dirfd = to->dirfd;
    temporary->name = TAKE_PTR(name);
    if (fchmod(fd, mode & 0777) < 0)
        return error_errno(err, errno, image_label(to), "set the mode of %s", image_label(to));
    return TAKE_FD(fd);
}

static int copy_content(int in, int out, uint64_t size, const struct stack_file *from,
                        const struct stack_file *to, enum copy_means means,
                        struct stack_result *result, struct error *err)
{
    int r = reflink(in, out, from, to, err);
    if (r < 0)
        return r;
    if (r == 0 && means == COPY_REFLINK)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "%s can't be reflinked",
                         image_label(from));
    result->method = r > 0 ? STACK_REFLINK : STACK_SPARSE_COPY;
    if (r > 0)
        return 0;
    return sparse_copy(in, out, size, from, to, &result->bytes_copied, err);
}

static int finish(int out, const struct stat *source, const struct stack_file *to,
                  struct error *err)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, source->st_mtim};
    int r = failpoint("stack-share-sync");
    if (r == 0 && (futimens(out, times) < 0 || fsync(out) < 0))
        r = -errno;
    return r < 0 ? error_errno(err, -r, image_label(to), "sync %s", image_label(to)) : 0;
}

int copy_make(const struct stack_file *from, const struct stack_file *to, enum copy_means means,
              struct temporary *temporary, struct stack_result *result, struct error *err)
{
    struct stat st;
    _cleanup_(close) int in = image_open(from, O_RDONLY, &st, err);
    if (in < 0)
        return in;
    int r = sweep_temporaries_of(to, err);
    if (r < 0)
        return r;
    _cleanup_(close) int out = temporary_create(to, st.st_mode, temporary, err);
    if (out < 0)
        return out;
    r = copy_content(in, out, (uint64_t)st.st_size, from, to, means, result, err);
    if (r == 0)
        r = image_check_unchanged(from, in, &st, err);
    return r < 0 ? r : finish(out, &st, to, err);
}

int copy_publish(const struct stack_file *to, struct temporary *temporary,
                 const struct copy_publication *how, struct error *err)
{
    int r = failpoint(how->before_rename);
    if (r == 0 && renameat2(to->dirfd, temporary->name, to->dirfd, to->name,
                            how->replace ? 0 : RENAME_NOREPLACE) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, -r, image_label(to), "rename %s to %s", temporary->name,
                           image_label(to));
    free(TAKE_PTR(temporary->name));
    r = failpoint(how->after_rename);
    r = r < 0 ? error_errno(err, -r, image_label(to), "sync the directory of %s", image_label(to))
              : dir_sync(to->dirfd, image_label(to), err);
    if (r < 0 && !how->replace)
        unlinkat(to->dirfd, to->name, 0); /* the first error is the one to tell */
    return r;
}

int stack_copy(const struct stack_file *from, const struct stack_file *to,
               struct stack_result *result, struct error *err)
{
    static const struct copy_publication how = {.before_rename = "stack-copy-before-rename",
                                                .after_rename = "stack-copy-after-rename"};
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    *result = (struct stack_result){.link_count = 1};
    int r = image_absent(to, err);
    if (r == 0)
        r = copy_make(from, to, COPY_ANY, &temporary, result, err);
    if (r == 0)
        r = copy_publish(to, &temporary, &how, err);
    return r;
}
