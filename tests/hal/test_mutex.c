/*
 * test_mutex.c - mutual exclusion and hand-over to sleepers.
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

enum { THREADS = 4, ROUNDS = 50000 };

typedef struct _SHARED {
    HAL_MUTEX Mutex;
    ULONG Inside;
    ULONG First; /* equal to Second whenever the mutex is free */
    ULONG Second;
    ULONG Broken;
} SHARED;

static VOID Contend(PVOID Context)
{
    SHARED *Shared = Context;

    for (ULONG Round = 0; Round < ROUNDS; Round++) {
        HalAcquireMutex(&Shared->Mutex);
        if (Shared->Inside++ != 0 || Shared->First != Shared->Second)
            Shared->Broken++;
        Shared->First++;
        /* Now and then let go of the CPU inside, so that others come to sleep. */
        if (Round % 512 == 0)
            HalYield();
        Shared->Second++;
        Shared->Inside--;
        HalReleaseMutex(&Shared->Mutex);
    }
}

static void one_at_a_time(void **State)
{
    SHARED Shared = {{0}, 0, 0, 0, 0};
    HAL_THREAD Threads[THREADS];

    (void)State;
    for (ULONG Index = 0; Index < THREADS; Index++)
        assert_int_equal(HalCreateThread(&Threads[Index], Contend, &Shared, 0, HAL_ANY_PROCESSOR, "contend"),
                         STATUS_SUCCESS);
    for (ULONG Index = 0; Index < THREADS; Index++)
        HalJoinThread(&Threads[Index]);
    assert_int_equal(Shared.Broken, 0);
    assert_int_equal(Shared.First, THREADS * ROUNDS);
    assert_int_equal(Shared.Second, THREADS * ROUNDS);
    assert_int_equal(Shared.Mutex.State, 0);
}

static void states_of_one_thread(void **State)
{
    HAL_MUTEX Mutex = {0};

    (void)State;
    HalAcquireMutex(&Mutex);
    assert_int_equal(Mutex.State, 1);
    HalReleaseMutex(&Mutex);
    assert_int_equal(Mutex.State, 0);
}

static VOID Wait(PVOID Context)
{
    SHARED *Shared = Context;

    HalAcquireMutex(&Shared->Mutex);
    Shared->First++;
    HalReleaseMutex(&Shared->Mutex);
}

/* The holder lets go only after somebody said that it may sleep. All must get their turn, or the join hangs. */
static void sleepers_are_woken(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < 100; Round++) {
        SHARED Shared = {{0}, 0, 0, 0, 0};
        HAL_THREAD Threads[THREADS];

        HalAcquireMutex(&Shared.Mutex);
        for (ULONG Index = 0; Index < THREADS; Index++)
            assert_int_equal(HalCreateThread(&Threads[Index], Wait, &Shared, 0, HAL_ANY_PROCESSOR, "wait"),
                             STATUS_SUCCESS);
        while (__atomic_load_n(&Shared.Mutex.State, __ATOMIC_RELAXED) != 2)
            HalYield();
        assert_int_equal(Shared.First, 0);
        HalReleaseMutex(&Shared.Mutex);
        for (ULONG Index = 0; Index < THREADS; Index++)
            HalJoinThread(&Threads[Index]);
        assert_int_equal(Shared.First, THREADS);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(states_of_one_thread),
        cmocka_unit_test(sleepers_are_woken),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
