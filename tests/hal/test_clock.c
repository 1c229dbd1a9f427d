/*
 * test_clock.c - monotone, the right epoch, and the CPU time of the right thread.
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

#include <time.h>

static void monotonic_time_never_goes_back(void **State)
{
    ULONGLONG Start = HalMonotonicTime();
    ULONGLONG Last = Start;

    (void)State;
    for (ULONG Round = 0; Round < 200000; Round++) {
        ULONGLONG Now = HalMonotonicTime();

        assert_true(Now >= Last);
        Last = Now;
    }
    assert_true(Last > Start);
}

typedef struct _RELAY {
    ULONG volatile Turn;
    ULONGLONG Last; /* of whose turn it is */
    ULONG Backwards;
} RELAY;

#define RELAY_ROUNDS 20000

static VOID RunRelay(RELAY *Relay, ULONG Me)
{
    for (ULONG Round = 0; Round < RELAY_ROUNDS; Round++) {
        ULONGLONG Now;

        while (__atomic_load_n(&Relay->Turn, __ATOMIC_ACQUIRE) != Me)
            HalPark(&Relay->Turn, 1 - Me, 0);
        Now = HalMonotonicTime();
        if (Now < Relay->Last)
            Relay->Backwards++;
        Relay->Last = Now;
        __atomic_store_n(&Relay->Turn, 1 - Me, __ATOMIC_RELEASE);
        HalWake(&Relay->Turn, 1);
    }
}

static VOID RelayThread(PVOID Context)
{
    RunRelay(Context, 1);
}

static void monotonic_time_agrees_between_threads(void **State)
{
    RELAY Relay = {0, 0, 0};
    HAL_THREAD Thread;

    (void)State;
    assert_int_equal(HalCreateThread(&Thread, RelayThread, &Relay, 0, HAL_ANY_PROCESSOR, "relay"), STATUS_SUCCESS);
    RunRelay(&Relay, 0);
    HalJoinThread(&Thread);
    assert_int_equal(Relay.Backwards, 0);
}

/* Between two readings of the C library's clock, in seconds since 1970. Again if somebody sets the clock meanwhile. */
static void system_time_counts_from_1601(void **State)
{
    BOOLEAN Between = FALSE;

    (void)State;
    for (ULONG Try = 0; Try < 5 && !Between; Try++) {
        struct timespec Before, After;
        ULONGLONG Now;

        clock_gettime(CLOCK_REALTIME, &Before);
        Now = HalSystemTime() - 116444736000000000ull;
        clock_gettime(CLOCK_REALTIME, &After);
        Between = Now >= (ULONGLONG)Before.tv_sec * 10000000 + (ULONGLONG)Before.tv_nsec / 100 &&
                  Now <= (ULONGLONG)After.tv_sec * 10000000 + (ULONGLONG)After.tv_nsec / 100;
    }
    assert_true(Between);
}

#define BURN 50000000ull

static VOID Burn(PVOID Context)
{
    ULONGLONG *Used = Context;

    while (HalThreadTime() < BURN)
        HalPause();
    *Used = HalThreadTime();
}

static void thread_time_is_the_callers_own(void **State)
{
    ULONGLONG Before = HalThreadTime();
    ULONGLONG Used = 0;
    HAL_THREAD Thread;

    (void)State;
    assert_int_equal(HalCreateThread(&Thread, Burn, &Used, 0, HAL_ANY_PROCESSOR, "burn"), STATUS_SUCCESS);
    HalJoinThread(&Thread);
    assert_true(Used >= BURN);
    assert_true(HalThreadTime() >= Before);
    assert_true(HalThreadTime() - Before < BURN);
}

typedef struct _OTHER_TIME {
    ULONG volatile Stage; /* 1: HostId is there; 2: it may end */
    LONG HostId;
    ULONGLONG Spent;
} OTHER_TIME;

static VOID SpendTime(PVOID Context)
{
    OTHER_TIME *Other = Context;

    while (HalThreadTime() < 30000000) {
    }
    Other->HostId = HalCurrentThreadId();
    Other->Spent = HalThreadTime();
    __atomic_store_n(&Other->Stage, 1, __ATOMIC_RELEASE);
    HalWake(&Other->Stage, 1);
    while (__atomic_load_n(&Other->Stage, __ATOMIC_ACQUIRE) == 1)
        HalPark(&Other->Stage, 1, 0);
}

static void the_cpu_time_of_another_thread_is_that_threads(void **State)
{
    OTHER_TIME Other = {0};
    ULONGLONG Time = 0, Again = 0;
    HAL_THREAD Thread;

    (void)State;
    assert_int_equal(HalCreateThread(&Thread, SpendTime, &Other, 0, HAL_ANY_PROCESSOR, "spender"), STATUS_SUCCESS);
    while (__atomic_load_n(&Other.Stage, __ATOMIC_ACQUIRE) == 0)
        HalPark(&Other.Stage, 0, 0);
    assert_true(HalThreadTimeOf(Other.HostId, &Time));
    assert_true(Time >= Other.Spent);
    assert_true(HalThreadTimeOf(Other.HostId, &Again));
    assert_true(Again >= Time);
    __atomic_store_n(&Other.Stage, 2, __ATOMIC_RELEASE);
    HalWake(&Other.Stage, 1);
    HalJoinThread(&Thread);
    assert_true(HalThreadTimeOf(HalCurrentThreadId(), &Again));
    assert_true(Again <= HalThreadTime());
    assert_false(HalThreadTimeOf(0, &Again));
    assert_false(HalThreadTimeOf(-1, &Again));
    assert_false(HalThreadTimeOf(1, &Again)); /* init is no thread of this process */
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(monotonic_time_never_goes_back),
        cmocka_unit_test(monotonic_time_agrees_between_threads),
        cmocka_unit_test(system_time_counts_from_1601),
        cmocka_unit_test(thread_time_is_the_callers_own),
        cmocka_unit_test(the_cpu_time_of_another_thread_is_that_threads),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
