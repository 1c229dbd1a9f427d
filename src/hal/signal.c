/*
 * signal.c - interrupting a thread, by SIGURG.
 *
 * SIGURG because its default is to be ignored: one that arrives before the handler is installed or in a process that
 * never installs it harms nobody, and debuggers pass it on silently. A process that handles SIGURG itself keeps it;
 * the library is then refused and runs without interrupts.
 *
 * The routine must bear being called for nothing: a host thread id may have been reused, and anyone may send SIGURG.
 * System calls that it interrupts are restarted, HalPark without a timeout among them, save those that Linux never
 * restarts (poll, sleep, HalPark with a timeout). It runs on the thread's own stack with only SIGURG blocked and must
 * return. ThreadSanitizer holds a signal back until the thread calls one of its interceptors: a thread that spins
 * without any is not interrupted there.
 *
 * HalpInterruptRoutine is written by HalInstallInterrupt (release) and read by the handler (acquire). No locks. Test:
 * tests/hal/test_signal.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HALP_INTERRUPT_SIGNAL SIGURG

static VOID (*HalpInterruptRoutine)(PVOID);

static void HalpInterrupt(int Signal, siginfo_t *Information, void *Context)
{
    VOID (*Routine)(PVOID) = __atomic_load_n(&HalpInterruptRoutine, __ATOMIC_ACQUIRE);
    int Saved = errno;

    UNREFERENCED_PARAMETER(Signal);
    UNREFERENCED_PARAMETER(Information);
    if (Routine != NULL) {
        Routine(Context);
    }
    errno = Saved;
}

BOOLEAN HalInstallInterrupt(VOID (*Routine)(PVOID Frame))
{
    struct sigaction Action, Old;

    if (sigaction(HALP_INTERRUPT_SIGNAL, NULL, &Old) != 0) {
        return FALSE;
    }
    /* Linux keeps sa_handler and sa_sigaction in the same place. */
    if (Old.sa_handler != SIG_DFL && Old.sa_handler != SIG_IGN && Old.sa_sigaction != HalpInterrupt) {
        return FALSE;
    }
    __atomic_store_n(&HalpInterruptRoutine, Routine, __ATOMIC_RELEASE);
    Action.sa_sigaction = HalpInterrupt;
    Action.sa_flags = SA_RESTART | SA_SIGINFO;
    sigemptyset(&Action.sa_mask);
    return sigaction(HALP_INTERRUPT_SIGNAL, &Action, NULL) == 0;
}

VOID HalInterruptThread(LONG HostThreadId)
{
    int Saved = errno;

    (void)syscall(SYS_tgkill, getpid(), (int)HostThreadId, HALP_INTERRUPT_SIGNAL);
    errno = Saved;
}

VOID HalEnableInterrupt(VOID)
{
    sigset_t Set;

    sigemptyset(&Set);
    sigaddset(&Set, HALP_INTERRUPT_SIGNAL);
    (void)pthread_sigmask(SIG_UNBLOCK, &Set, NULL);
}
