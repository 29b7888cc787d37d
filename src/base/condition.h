/* SPDX-License-Identifier: Apache-2.0 */
/* Condition variables whose times are those of time_monotonic_ns(). */
#ifndef TINE_BASE_CONDITION_H
#define TINE_BASE_CONDITION_H

#include <pthread.h>
#include <stdint.h>

/* 0, or an errno. */
int condition_init(pthread_cond_t *condition);
/* pthread_cond_timedwait() until then: 0, or ETIMEDOUT. */
int condition_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t until_ns);

#endif
