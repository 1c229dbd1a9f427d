/*
 * test_park.c - no wake is lost, no sleep begins on a word that has changed.
 *
 * Sleeps have a limit here that only a lost wake reaches: then the test fails instead of hanging.
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

#define LOST 60000000000ull
#define HANDOVERS 100000

typedef struct _PINGPONG {
    ULONG volatile Turn;
    ULONG Lost;
    ULONG Done[2];
    ULONG Sum; /* not atomic: the turn protects it */
} PINGPONG;

static VOID Play(PINGPONG *Game, ULONG Me)
{
    for (ULONG Round = 0; Round < HANDOVERS && __atomic_load_n(&Game->Lost, __ATOMIC_RELAXED) == 0; Round++) {
        while (__atomic_load_n(&Game->Turn, __ATOMIC_ACQUIRE) != Me) {
            if (!HalPark(&Game->Turn, 1 - Me, LOST)) {
                __atomic_fetch_add(&Game->Lost, 1, __ATOMIC_RELAXED);
                return;
            }
        }
        Game->Sum++;
        Game->Done[Me]++;
        __atomic_store_n(&Game->Turn, 1 - Me, __ATOMIC_SEQ_CST);
        HalWake(&Game->Turn, 1);
    }
}

static VOID Player(PVOID Context)
{
    Play(Context, 1);
}

static void no_handover_is_lost(void **State)
{
    PINGPONG Game = {0, 0, {0, 0}, 0};
    HAL_THREAD Thread;

    (void)State;
    assert_int_equal(HalCreateThread(&Thread, Player, &Game, 0, HAL_ANY_PROCESSOR, "player"), STATUS_SUCCESS);
    Play(&Game, 0);
    HalJoinThread(&Thread);
    assert_int_equal(Game.Lost, 0);
    assert_int_equal(Game.Done[0], HANDOVERS);
    assert_int_equal(Game.Done[1], HANDOVERS);
    assert_int_equal(Game.Sum, 2 * HANDOVERS);
}

static void a_changed_word_does_not_sleep(void **State)
{
    ULONG volatile Word = 5;

    (void)State;
    assert_true(HalPark(&Word, 4, LOST));
    assert_true(HalPark(&Word, 4, 0));
    assert_true(HalPark(&Word, 4, ~0ull));
}

static void the_time_ends(void **State)
{
    const ULONGLONG Limit = 3000000;
    ULONG volatile Word = 5;
    ULONGLONG Start;

    (void)State;
    do {
        Start = HalMonotonicTime();
    } while (HalPark(&Word, 5, Limit));
    assert_true(HalMonotonicTime() - Start >= Limit);
}

typedef struct _SLEEPERS {
    ULONG volatile Gate;
    ULONG Ready;
    ULONG Lost;
} SLEEPERS;

static VOID Sleeper(PVOID Context)
{
    SLEEPERS *Sleepers = Context;

    __atomic_fetch_add(&Sleepers->Ready, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&Sleepers->Gate, __ATOMIC_ACQUIRE) == 0) {
        if (!HalPark(&Sleepers->Gate, 0, LOST)) {
            __atomic_fetch_add(&Sleepers->Lost, 1, __ATOMIC_RELAXED);
            return;
        }
    }
}

static void one_wake_for_all(void **State)
{
    enum { COUNT = 8, ROUNDS = 50 };

    (void)State;
    for (ULONG Round = 0; Round < ROUNDS; Round++) {
        SLEEPERS Sleepers = {0, 0, 0};
        HAL_THREAD Threads[COUNT];

        for (ULONG Index = 0; Index < COUNT; Index++)
            assert_int_equal(HalCreateThread(&Threads[Index], Sleeper, &Sleepers, 0, HAL_ANY_PROCESSOR, "sleeper"),
                             STATUS_SUCCESS);
        while (__atomic_load_n(&Sleepers.Ready, __ATOMIC_SEQ_CST) != COUNT)
            HalYield();
        __atomic_store_n(&Sleepers.Gate, 1, __ATOMIC_SEQ_CST);
        HalWake(&Sleepers.Gate, 0xFFFFFFFF);
        for (ULONG Index = 0; Index < COUNT; Index++)
            HalJoinThread(&Threads[Index]);
        assert_int_equal(Sleepers.Lost, 0);
    }
}

static void a_word_that_is_gone_may_be_woken(void **State)
{
    ULONG *Page = HalAllocatePages(1);

    (void)State;
    assert_non_null(Page);
    HalFreePages(Page, 1);
    HalWake(Page, 1);
}

static void errno_is_left_alone(void **State)
{
    ULONG volatile Word = 5;

    (void)State;
    errno = 77;
    (void)HalPark(&Word, 4, 0);
    (void)HalPark(&Word, 5, 1000);
    HalWake(NULL, 1);
    assert_int_equal(errno, 77);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(no_handover_is_lost),
        cmocka_unit_test(a_changed_word_does_not_sleep),
        cmocka_unit_test(the_time_ends),
        cmocka_unit_test(one_wake_for_all),
        cmocka_unit_test(a_word_that_is_gone_may_be_woken),
        cmocka_unit_test(errno_is_left_alone),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
