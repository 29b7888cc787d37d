/* SPDX-License-Identifier: Apache-2.0 */
#include "base/condition.h"

#include <time.h>

int condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int r = pthread_condattr_init(&attributes);
    if (r != 0)
        return r;
    r = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (r == 0)
        r = pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return r;
}

int condition_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t until_ns)
{
    const struct timespec until = {(time_t)(until_ns / 1000000000u),
                                   (long)(until_ns % 1000000000u)};
    return pthread_cond_timedwait(condition, mutex, &until);
}
