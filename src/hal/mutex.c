/*
 * mutex.c - a mutex of one word that sleeps.
 *
 * State is written by read-modify-write alone: 0 free, 1 held, 2 held and somebody may sleep. The acquire of a winner
 * pairs with the release of the holder before it. Whoever has slept takes it as 2, for it cannot know whether it was
 * the last sleeper: the price is one needless wake, never a lost one. Not recursive, not fair. A mutex of all zeroes
 * is free.
 *
 * Test: tests/hal/test_mutex.c.
 */
#include "hal.h"

#define HALP_FREE 0
#define HALP_HELD 1
#define HALP_CONTENDED 2

#define HALP_MUTEX_SPINS 64

VOID HalAcquireMutex(PHAL_MUTEX Mutex)
{
    for (ULONG Spin = 0; Spin < HALP_MUTEX_SPINS; Spin++) {
        ULONG State = __atomic_load_n(&Mutex->State, __ATOMIC_RELAXED);

        if (State == HALP_FREE &&
            __atomic_compare_exchange_n(&Mutex->State, &State, HALP_HELD, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            return;
        }
        if (State == HALP_CONTENDED) {
            break;
        }
        HalPause();
    }
    while (__atomic_exchange_n(&Mutex->State, HALP_CONTENDED, __ATOMIC_ACQUIRE) != HALP_FREE) {
        HalPark(&Mutex->State, HALP_CONTENDED, 0);
    }
}

VOID HalReleaseMutex(PHAL_MUTEX Mutex)
{
    if (__atomic_exchange_n(&Mutex->State, HALP_FREE, __ATOMIC_RELEASE) == HALP_CONTENDED) {
        HalWake(&Mutex->State, 1);
    }
}
