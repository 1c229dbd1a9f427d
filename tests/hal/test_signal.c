/*
 * test_signal.c - interrupts reach the thread that they are sent to, and disturb nothing else there.
 *
 * The first test runs before anything is installed. Threads that are to be interrupted read a clock while they spin:
 * that is where ThreadSanitizer lets a signal through.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hal.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static ULONG Interrupts;
static LONG InterruptedThread;

static VOID Interrupt(PVOID Frame)
{
    if (Frame == NULL) {
        return;
    }
    __atomic_store_n(&InterruptedThread, HalCurrentThreadId(), __ATOMIC_RELAXED);
    __atomic_fetch_add(&Interrupts, 1, __ATOMIC_RELEASE);
    errno = EINVAL;
}

static void one_without_a_routine_is_harmless(void **State)
{
    (void)State;
    HalInterruptThread(HalCurrentThreadId());
    (void)HalMonotonicTime();
}

typedef struct _SPINNER {
    LONG ThreadId; /* published by the thread, 0 before */
    ULONG Stop;
    ULONG ErrnoChanged;
    ULONG Blocked; /* 1: the interrupt, 2: no fault signal open, 4: SIGUSR1 not blocked */
} SPINNER;

static VOID Spin(PVOID Context)
{
    SPINNER *Spinner = Context;
    sigset_t Mask;

    pthread_sigmask(SIG_SETMASK, NULL, &Mask);
    Spinner->Blocked = (ULONG)((sigismember(&Mask, SIGURG) ? 1 : 0) | (sigismember(&Mask, SIGSEGV) ? 2 : 0) |
                               (sigismember(&Mask, SIGUSR1) ? 0 : 4));
    errno = 77;
    __atomic_store_n(&Spinner->ThreadId, HalCurrentThreadId(), __ATOMIC_RELEASE);
    while (__atomic_load_n(&Spinner->Stop, __ATOMIC_ACQUIRE) == 0) {
        (void)HalMonotonicTime();
        if (errno != 77)
            Spinner->ErrnoChanged = 1;
    }
}

static void each_reaches_a_thread_that_spins(void **State)
{
    SPINNER Spinner = {0, 0, 0, 0};
    HAL_THREAD Thread;

    (void)State;
    assert_true(HalInstallInterrupt(Interrupt));
    assert_int_equal(HalCreateThread(&Thread, Spin, &Spinner, 0, HAL_ANY_PROCESSOR, "spin"), STATUS_SUCCESS);
    while (__atomic_load_n(&Spinner.ThreadId, __ATOMIC_ACQUIRE) == 0)
        HalYield();
    for (ULONG Round = 0; Round < 2000; Round++) {
        ULONG Before = __atomic_load_n(&Interrupts, __ATOMIC_ACQUIRE);

        errno = 33;
        HalInterruptThread(Spinner.ThreadId);
        assert_int_equal(errno, 33);
        while (__atomic_load_n(&Interrupts, __ATOMIC_ACQUIRE) == Before)
            HalYield();
        assert_int_equal(__atomic_load_n(&InterruptedThread, __ATOMIC_RELAXED), Spinner.ThreadId);
    }
    __atomic_store_n(&Spinner.Stop, 1, __ATOMIC_RELEASE);
    HalJoinThread(&Thread);
    assert_int_equal(Spinner.ErrnoChanged, 0);
    assert_int_equal(Spinner.Blocked, 0);

    errno = 33;
    HalInterruptThread(Spinner.ThreadId);
    assert_int_equal(errno, 33);
}

static void enabling_lets_a_blocked_one_in(void **State)
{
    sigset_t Block, Before;
    ULONG Count;

    (void)State;
    assert_true(HalInstallInterrupt(Interrupt));
    sigemptyset(&Block);
    sigaddset(&Block, SIGURG);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &Block, &Before), 0);
    Count = __atomic_load_n(&Interrupts, __ATOMIC_ACQUIRE);
    HalInterruptThread(HalCurrentThreadId());
    (void)HalMonotonicTime();
    assert_int_equal(__atomic_load_n(&Interrupts, __ATOMIC_ACQUIRE), Count);
    HalEnableInterrupt();
    while (__atomic_load_n(&Interrupts, __ATOMIC_ACQUIRE) == Count)
        (void)HalMonotonicTime();
    pthread_sigmask(SIG_SETMASK, NULL, &Block);
    assert_false(sigismember(&Block, SIGURG));
    pthread_sigmask(SIG_SETMASK, &Before, NULL);
}

static void OtherHandler(int Signal)
{
    (void)Signal;
}

static void Subscriber(int Signal, siginfo_t *Information, void *Frame)
{
    (void)Signal;
    (void)Information;
    (void)Frame;
}

static void a_handler_of_the_program_stays(void **State)
{
    (void)State;
    for (ULONG Kind = 0; Kind < 2; Kind++) {
        int Status;
        pid_t Child = fork();

        assert_true(Child >= 0);
        if (Child == 0) {
            struct sigaction Own, Now;

            sigemptyset(&Own.sa_mask);
            Own.sa_flags = Kind == 0 ? 0 : SA_SIGINFO;
            if (Kind == 0)
                Own.sa_handler = OtherHandler;
            else
                Own.sa_sigaction = Subscriber;
            if (sigaction(SIGURG, &Own, NULL) != 0)
                _exit(1);
            if (HalInstallInterrupt(Interrupt))
                _exit(2);
            if (sigaction(SIGURG, NULL, &Now) != 0)
                _exit(3);
            if (Kind == 0 ? Now.sa_handler != OtherHandler : Now.sa_sigaction != Subscriber)
                _exit(4);
            _exit(0);
        }
        assert_int_equal(waitpid(Child, &Status, 0), Child);
        assert_true(WIFEXITED(Status));
        assert_int_equal(WEXITSTATUS(Status), 0);
    }
}

static void it_may_be_installed_again(void **State)
{
    struct sigaction Now;

    (void)State;
    assert_true(HalInstallInterrupt(Interrupt));
    assert_true(HalInstallInterrupt(Interrupt));
    assert_int_equal(sigaction(SIGURG, NULL, &Now), 0);
    assert_true((Now.sa_flags & SA_RESTART) != 0);
    assert_true((Now.sa_flags & SA_ONSTACK) == 0);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(one_without_a_routine_is_harmless), cmocka_unit_test(each_reaches_a_thread_that_spins),
        cmocka_unit_test(enabling_lets_a_blocked_one_in),    cmocka_unit_test(a_handler_of_the_program_stays),
        cmocka_unit_test(it_may_be_installed_again),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
