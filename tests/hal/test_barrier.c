/*
 * test_barrier.c - the process barrier against threads that have none of their own.
 *
 * Dekker's litmus: the light side stores X, then loads Y, with nothing but a fence for the compiler between; the heavy
 * side stores Y, executes the process barrier, then loads X. That both miss the other's store is what the barrier
 * forbids. Where there is one CPU only it never happens anyway.
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
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LITMUS_ROUNDS 200000
/* A busy machine does fewer rounds. This bounds the work, it decides nothing. */
#define LITMUS_TIME 8000000000ull

typedef struct _LINE {
    ULONG Word;
    UCHAR Fill[KPRCB_CACHE_LINE * 2 - sizeof(ULONG)];
} LINE;

enum { LITMUS_QUEUE = 12 };

typedef struct _LITMUS {
    LINE X, Y;
    LINE Queue[LITMUS_QUEUE]; /* written by both: stores of the light side that miss and keep X in its store buffer */
    LINE LightRound; /* the round that the light side has finished; written by it alone */
    LINE HeavyRound; /* the round that may run; written by the heavy side alone */
    ULONG LightSaw;  /* published by LightRound */
} LITMUS;

static ULONG Random(ULONG *Seed)
{
    *Seed = *Seed * 1664525u + 1013904223u;
    return *Seed >> 16;
}

/* Up to some hundred nanoseconds, in small steps: a window of a few dozen must be met. */
static VOID Dawdle(ULONG *Seed)
{
    for (ULONG Delay = Random(Seed) % 512; Delay != 0; Delay--)
        __asm__ __volatile__("" ::: "memory");
}

static VOID AwaitRound(ULONG *Word, ULONG Round)
{
    for (ULONG Spin = 0; __atomic_load_n(Word, __ATOMIC_ACQUIRE) != Round; Spin++) {
        if (Spin % 256 == 255)
            HalYield();
        else
            HalPause();
    }
}

#define LITMUS_END 0xFFFFFFFF

static VOID LightSide(PVOID Context)
{
    LITMUS *Litmus = Context;
    ULONG Seed = 1;

    for (ULONG Round = 1;; Round++) {
        ULONG Spin = 0;
        ULONG Now;

        while ((Now = __atomic_load_n(&Litmus->HeavyRound.Word, __ATOMIC_ACQUIRE)) != Round) {
            if (Now == LITMUS_END)
                return;
            if (++Spin % 256 == 0)
                HalYield();
        }
        (void)__atomic_load_n(&Litmus->Y.Word, __ATOMIC_RELAXED); /* brings the line close */
        Dawdle(&Seed);
        for (ULONG Index = 0; Index < LITMUS_QUEUE; Index++)
            __atomic_store_n(&Litmus->Queue[Index].Word, Round, __ATOMIC_RELAXED);
        __atomic_store_n(&Litmus->X.Word, 1, __ATOMIC_RELAXED);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        Litmus->LightSaw = __atomic_load_n(&Litmus->Y.Word, __ATOMIC_RELAXED);
        __atomic_store_n(&Litmus->LightRound.Word, Round, __ATOMIC_RELEASE);
    }
}

static void dekker_without_a_fence_on_one_side(void **State)
{
    static LITMUS Litmus;
    ULONGLONG End = HalMonotonicTime() + LITMUS_TIME;
    ULONG Violations = 0;
    ULONG LightMissed = 0;
    ULONG HeavyMissed = 0;
    ULONG Round = 0;
    ULONG Seed = 2;
    HAL_THREAD Thread;

    (void)State;
    if (!HalInitializeBarrier())
        skip();
    assert_int_equal(HalCreateThread(&Thread, LightSide, &Litmus, 0, HAL_ANY_PROCESSOR, "light"), STATUS_SUCCESS);
    while (Round < LITMUS_ROUNDS && (Round % 256 != 0 || HalMonotonicTime() < End)) {
        ULONG HeavySaw;

        Round++;
        __atomic_store_n(&Litmus.X.Word, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&Litmus.Y.Word, 0, __ATOMIC_RELAXED);
        for (ULONG Index = 0; Index < LITMUS_QUEUE; Index++)
            __atomic_store_n(&Litmus.Queue[Index].Word, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&Litmus.HeavyRound.Word, Round, __ATOMIC_RELEASE);
        Dawdle(&Seed);
        __atomic_store_n(&Litmus.Y.Word, 1, __ATOMIC_RELAXED);
        HalProcessBarrier();
        HeavySaw = __atomic_load_n(&Litmus.X.Word, __ATOMIC_RELAXED);
        AwaitRound(&Litmus.LightRound.Word, Round);
        LightMissed += Litmus.LightSaw == 0;
        HeavyMissed += HeavySaw == 0;
        Violations += HeavySaw == 0 && Litmus.LightSaw == 0;
    }
    __atomic_store_n(&Litmus.HeavyRound.Word, LITMUS_END, __ATOMIC_RELEASE);
    HalJoinThread(&Thread);
    print_message("%u rounds: light side missed %u, heavy side missed %u, both %u\n", (unsigned)Round,
                  (unsigned)LightMissed, (unsigned)HeavyMissed, (unsigned)Violations);
    assert_int_equal(Violations, 0);
}

/*
 * Who shares which barrier, on a copy of barrier.c whose system call is played here: no CPU shows reliably what a
 * caller suffers that was given a barrier that began before its call.
 */
static long PlayedSyscall(long Number, ...);

#define HalInitializeBarrier PlayedInitializeBarrier
#define HalProcessBarrier PlayedProcessBarrier
#define syscall PlayedSyscall
BOOLEAN PlayedInitializeBarrier(VOID);
VOID PlayedProcessBarrier(VOID);
#include "barrier.c"
#undef HalInitializeBarrier
#undef HalProcessBarrier
#undef syscall

static ULONG Calls;           /* system calls begun */
static ULONG Failures;        /* as many calls fail first */
static ULONG volatile Gate;   /* 1: the first system call waits until it is 0 */
static ULONG Callers;         /* threads that are about to call */

static long PlayedSyscall(long Number, ...)
{
    UNREFERENCED_PARAMETER(Number);
    if (__atomic_load_n(&Failures, __ATOMIC_RELAXED) != 0) {
        __atomic_fetch_sub(&Failures, 1, __ATOMIC_RELAXED);
        errno = ENOMEM;
        return -1;
    }
    if (__atomic_fetch_add(&Calls, 1, __ATOMIC_SEQ_CST) == 0) {
        while (__atomic_load_n(&Gate, __ATOMIC_ACQUIRE) != 0)
            HalPark(&Gate, 1, 0);
    }
    return 0;
}

static VOID Caller(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    __atomic_fetch_add(&Callers, 1, __ATOMIC_SEQ_CST);
    PlayedProcessBarrier();
}

/* Count callers come while a first one is in its system call, at least one of them sleeps. Returns all system calls. */
static ULONG PlayRound(ULONG First, ULONG Count)
{
    HAL_THREAD Threads[8];

    HalpStarted = First;
    HalpCompleted = First;
    Calls = 0;
    Callers = 0;
    Gate = 1;
    for (ULONG Index = 0; Index <= Count; Index++) {
        assert_int_equal(HalCreateThread(&Threads[Index], Caller, NULL, 0, HAL_ANY_PROCESSOR, "caller"),
                         STATUS_SUCCESS);
        while (Index == 0 && __atomic_load_n(&Calls, __ATOMIC_SEQ_CST) == 0)
            HalYield();
    }
    while (__atomic_load_n(&Callers, __ATOMIC_SEQ_CST) != Count + 1 ||
           __atomic_load_n(&HalpBarrierMutex.State, __ATOMIC_RELAXED) != 2)
        HalYield();
    __atomic_store_n(&Gate, 0, __ATOMIC_SEQ_CST);
    HalWake(&Gate, 1);
    for (ULONG Index = 0; Index <= Count; Index++)
        HalJoinThread(&Threads[Index]);
    assert_int_equal(HalpCompleted, HalpStarted);
    return Calls;
}

static const ULONG FirstNumbers[] = {0, 41, 0x7FFFFFFE, 0x7FFFFFFF, 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF};

static void a_barrier_that_has_begun_is_not_shared(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(FirstNumbers); Index++) {
        for (ULONG Round = 0; Round < 20; Round++)
            assert_int_equal(PlayRound(FirstNumbers[Index], 1), 2);
    }
}

/* The callers are seen on their way, not past their first read: so sharing must be met, not every time. */
static void those_who_wait_together_share(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(FirstNumbers); Index++) {
        BOOLEAN Shared = FALSE;

        for (ULONG Round = 0; Round < 2000 && !Shared; Round++) {
            ULONG Total = PlayRound(FirstNumbers[Index], 4);

            assert_in_range(Total, 2, 5);
            Shared = Total == 2;
        }
        assert_true(Shared);
    }
}

static void one_after_the_other_share_nothing(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(FirstNumbers); Index++) {
        HalpStarted = HalpCompleted = FirstNumbers[Index];
        Calls = 0;
        Gate = 0;
        for (ULONG Round = 1; Round <= 5; Round++) {
            PlayedProcessBarrier();
            assert_int_equal(Calls, Round);
        }
    }
}

static void a_host_short_of_memory_is_asked_again(void **State)
{
    (void)State;
    Calls = 0;
    Gate = 0;
    Failures = 3;
    errno = 77;
    PlayedProcessBarrier();
    assert_int_equal(Failures, 0);
    assert_int_equal(Calls, 1);
    assert_int_equal(errno, 77);
}

static ULONG Hammering;

static VOID Hammer(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    while (__atomic_load_n(&Hammering, __ATOMIC_RELAXED) != 0)
        HalProcessBarrier();
}

/* The fork meets the barrier's mutex held by a thread that the child has not. A child that hangs dies of its alarm. */
static void a_fork_child_begins_anew(void **State)
{
    HAL_THREAD Threads[2];

    (void)State;
    if (!HalInitializeBarrier())
        skip();
    __atomic_store_n(&Hammering, 1, __ATOMIC_RELAXED);
    for (ULONG Index = 0; Index < 2; Index++)
        assert_int_equal(HalCreateThread(&Threads[Index], Hammer, NULL, 0, HAL_ANY_PROCESSOR, "hammer"),
                         STATUS_SUCCESS);
    for (ULONG Round = 0; Round < 50; Round++) {
        int Status;
        pid_t Child = fork();

        assert_true(Child >= 0);
        if (Child == 0) {
            alarm(60);
            if (!HalInitializeBarrier())
                _exit(1);
            HalProcessBarrier();
            HalProcessBarrier();
            _exit(0);
        }
        assert_int_equal(waitpid(Child, &Status, 0), Child);
        assert_true(WIFEXITED(Status));
        assert_int_equal(WEXITSTATUS(Status), 0);
    }
    __atomic_store_n(&Hammering, 0, __ATOMIC_RELAXED);
    for (ULONG Index = 0; Index < 2; Index++)
        HalJoinThread(&Threads[Index]);
}

static BOOLEAN DenyMembarrier(ULONG Error)
{
    struct sock_filter Filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | Error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog Program = {ARRAYSIZE(Filter), Filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &Program) == 0;
}

static void a_host_that_denies_it_is_reported(void **State)
{
    static const ULONG Errors[] = {EPERM, ENOSYS};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Errors); Index++) {
        int Status;
        pid_t Child = fork();

        assert_true(Child >= 0);
        if (Child == 0) {
            if (!DenyMembarrier(Errors[Index]))
                _exit(77);
            errno = 55;
            _exit(HalInitializeBarrier() ? 1 : errno != 55 ? 2 : 0);
        }
        assert_int_equal(waitpid(Child, &Status, 0), Child);
        assert_true(WIFEXITED(Status));
        if (WEXITSTATUS(Status) == 77)
            skip();
        assert_int_equal(WEXITSTATUS(Status), 0);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(dekker_without_a_fence_on_one_side),
        cmocka_unit_test(a_barrier_that_has_begun_is_not_shared),
        cmocka_unit_test(those_who_wait_together_share),
        cmocka_unit_test(one_after_the_other_share_nothing),
        cmocka_unit_test(a_host_short_of_memory_is_asked_again),
        cmocka_unit_test(a_fork_child_begins_anew),
        cmocka_unit_test(a_host_that_denies_it_is_reported),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
