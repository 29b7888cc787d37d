/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

void spawn_attributes_init(posix_spawnattr_t *attributes, short flags)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(attributes);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setflags(attributes,
                             (short)(flags | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
}

int spawn_environment_init(struct spawn_environment *environment, struct error *err)
{
    static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    const char *list = getenv("TINE_CHILD_FAILPOINT");
    *environment = (struct spawn_environment){.list = {path}};
    if (!list)
        return 0;
    if (asprintf(&environment->failpoints, "TINE_FAILPOINT=%s", list) < 0) {
        environment->failpoints = NULL;
        return error_errno(err, ENOMEM, NULL, "start a program");
    }
    environment->list[1] = environment->failpoints;
    return 0;
}

void spawn_environment_free(struct spawn_environment *environment)
{
    free(environment->failpoints);
}
