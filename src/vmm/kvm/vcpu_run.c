/* SPDX-License-Identifier: Apache-2.0 */
/* vCPU threads, and how they are stopped. To stop one, `immediate_exit` is set in its shared page
 * and a signal is sent: the flag catches a thread that is about to enter KVM_RUN, the signal one
 * that is inside. The flag is taken back only when the vCPUs are released again, so no kick is
 * lost. A thread parks only after KVM_RUN has returned EINTR: by then KVM has taken in the answer
 * to the last port or MMIO access, which would otherwise be missing from the saved registers. */
#include "vmm/kvm/vcpu_run.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/condition.h"
#include "vmm/kvm/vcpu_exit.h"
#include "vmm/kvm/vcpu_internal.h"

#define PAUSE_LIMIT_S 30

/* Virtual size only; what is not touched costs nothing. A sanitizer needs more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define STACK_SIZE (1024u << 10)
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#        define STACK_SIZE (1024u << 10)
#    endif
#endif
#ifndef STACK_SIZE
#    define STACK_SIZE (128u << 10)
#endif

static int kick_signal(void)
{
    return SIGRTMIN;
}

static void kicked(int signal_number)
{
    (void)signal_number; /* it is enough that KVM_RUN was interrupted */
}

/* Parks the calling vCPU until it is released. False: the thread shall end. */
static bool vcpu_park(struct vcpu *vcpu)
{
    struct vcpus *vcpus = vcpu->all;
    pthread_mutex_lock(&vcpus->lock);
    vcpu->parked = true;
    pthread_cond_broadcast(&vcpus->changed);
    while ((vcpus->stop || vcpu->ended) && !vcpus->quit)
        pthread_cond_wait(&vcpus->changed, &vcpus->lock);
    vcpu->parked = false;
    bool go_on = !vcpus->quit;
    pthread_mutex_unlock(&vcpus->lock);
    return go_on;
}

static bool vcpu_shall_park(struct vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->all->lock);
    bool stop = vcpu->all->stop;
    pthread_mutex_unlock(&vcpu->all->lock);
    return stop;
}

/* Runs the guest until it is told to stop or the guest is at its end. */
static void vcpu_run(struct vcpu *vcpu)
{
    while (!vcpu->ended) {
        if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
            vcpu_exit(vcpu);
        } else if (errno == EINTR) {
            if (vcpu_shall_park(vcpu))
                return;
        } else if (errno != EAGAIN) { /* EAGAIN: a secondary vCPU got its INIT or SIPI */
            vcpu_run_failed(vcpu, errno);
        }
    }
}

static void *vcpu_thread(void *argument)
{
    struct vcpu *vcpu = argument;
    while (vcpu_park(vcpu))
        vcpu_run(vcpu);
    return NULL;
}

static int kick_prepare(struct error *err)
{
    struct sigaction action = {.sa_handler = kicked}; /* no SA_RESTART */
    sigemptyset(&action.sa_mask);
    if (sigaction(kick_signal(), &action, NULL) < 0)
        return error_errno(err, errno, NULL, "set the vCPU signal's handler");
    return 0;
}

static int vcpu_start(struct vcpu *vcpu, const pthread_attr_t *attributes, struct error *err)
{
    int r = pthread_create(&vcpu->thread, attributes, vcpu_thread, vcpu);
    if (r != 0)
        return error_errno(err, r, NULL, "start the thread of vCPU %u", vcpu->index);
    vcpu->started = true;
    char name[16];
    snprintf(name, sizeof(name), "vcpu %u", vcpu->index);
    (void)pthread_setname_np(vcpu->thread, name); /* only for people who look */
    return 0;
}

int vcpus_start(struct vcpus *vcpus, struct error *err)
{
    int r = kick_prepare(err);
    if (r < 0)
        return r;
    pthread_attr_t attributes;
    r = pthread_attr_init(&attributes);
    if (r == 0)
        r = pthread_attr_setstacksize(&attributes, STACK_SIZE);
    if (r != 0)
        return error_errno(err, r, NULL, "prepare the vCPU threads");
    /* Signals for the process are for the event loop's thread. */
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, kick_signal());
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGFPE);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < vcpus->count && r == 0; i++)
        r = vcpu_start(&vcpus->vcpu[i], &attributes, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return r;
}

static void set_immediate_exit(struct vcpu *vcpu, uint8_t value)
{
    __atomic_store_n(&vcpu->run->immediate_exit, value, __ATOMIC_RELEASE);
}

/* Lock held. */
static void vcpus_kick(struct vcpus *vcpus)
{
    for (unsigned i = 0; i < vcpus->count; i++) {
        struct vcpu *vcpu = &vcpus->vcpu[i];
        if (!vcpu->started)
            continue;
        set_immediate_exit(vcpu, 1);
        pthread_kill(vcpu->thread, kick_signal());
    }
}

/* Lock held. */
static void vcpus_release(struct vcpus *vcpus)
{
    vcpus->stop = false;
    for (unsigned i = 0; i < vcpus->count; i++)
        set_immediate_exit(&vcpus->vcpu[i], 0);
    pthread_cond_broadcast(&vcpus->changed);
}

void vcpus_resume(struct vcpus *vcpus)
{
    pthread_mutex_lock(&vcpus->lock);
    vcpus_release(vcpus);
    pthread_mutex_unlock(&vcpus->lock);
}

static bool vcpus_parked(const struct vcpus *vcpus)
{
    for (unsigned i = 0; i < vcpus->count; i++) {
        if (vcpus->vcpu[i].started && !vcpus->vcpu[i].parked)
            return false;
    }
    return true;
}

/* Tells each guest CPU's kvmclock that it was stopped on purpose, so that the guest's watchdogs
 * don't take the gap for a lockup. EINVAL: the guest has no kvmclock (yet). */
static void vcpus_tell_clock(const struct vcpus *vcpus)
{
    for (unsigned i = 0; i < vcpus->count; i++)
        (void)ioctl(vcpus->vcpu[i].fd, KVM_KVMCLOCK_CTRL, 0);
}

int vcpus_pause(struct vcpus *vcpus, struct error *err)
{
    const uint64_t deadline_ns = time_monotonic_ns() + PAUSE_LIMIT_S * 1000000000ull;
    pthread_mutex_lock(&vcpus->lock);
    vcpus->stop = true;
    vcpus_kick(vcpus);
    int r = 0;
    while (!vcpus_parked(vcpus) && r == 0)
        r = condition_wait_until(&vcpus->changed, &vcpus->lock, deadline_ns);
    if (r != 0)
        vcpus_release(vcpus);
    pthread_mutex_unlock(&vcpus->lock);
    if (r != 0)
        return error_set(err, ERROR_TIMEOUT, ETIMEDOUT, "vCPUs did not stop within %d seconds",
                         PAUSE_LIMIT_S);
    vcpus_tell_clock(vcpus);
    return 0;
}

void vcpus_join(struct vcpus *vcpus)
{
    pthread_mutex_lock(&vcpus->lock);
    vcpus->stop = vcpus->quit = true;
    vcpus_kick(vcpus);
    pthread_cond_broadcast(&vcpus->changed);
    pthread_mutex_unlock(&vcpus->lock);
    for (unsigned i = 0; i < vcpus->count; i++) {
        if (vcpus->vcpu[i].started)
            pthread_join(vcpus->vcpu[i].thread, NULL);
        vcpus->vcpu[i].started = false;
    }
}
