/*
 * test_gate.c - src/ke/gate.c: who waits passes once for an open gate, and no opening is lost.
 */
#include "support/support.h"

#include "ki.h"

#define ROUNDS 20000

static void TestAGatePassesOnceHoweverOftenItWasOpened(void **State)
{
    KGATE Gate = {0};

    (void)State;
    assert_false(KiPassGate(&Gate));
    KiSignalGate(&Gate);
    KiSignalGate(&Gate);
    assert_true(KiPassGate(&Gate));
    assert_false(KiPassGate(&Gate));
    KiSignalGate(&Gate);
    KiWaitForGate(&Gate);
    assert_int_equal(Gate.SignalState, 0);
}

typedef struct _PAIR {
    KGATE There;
    KGATE Back;
    ULONG Passed;
} PAIR;

static void *AnswerThread(void *Context)
{
    PAIR *Pair = Context;

    for (ULONG Round = 0; Round < ROUNDS; Round += 1) {
        KiWaitForGate(&Pair->There);
        Pair->Passed += 1;
        KiSignalGate(&Pair->Back);
    }
    return NULL;
}

/* A lost opening hangs it. */
static void TestNoOpeningIsLost(void **State)
{
    PAIR Pair = {.Passed = 0};
    pthread_t Thread = StartThread(AnswerThread, &Pair);

    (void)State;
    for (ULONG Round = 1; Round <= ROUNDS; Round += 1) {
        KiSignalGate(&Pair.There);
        KiWaitForGate(&Pair.Back);
        assert_int_equal(Pair.Passed, Round);
    }
    JoinThread(Thread);
}

/* The opener finds a sleeper, which is known by the word. */
static void *OneAnswer(void *Context)
{
    PAIR *Pair = Context;

    KiWaitForGate(&Pair->There);
    KiSignalGate(&Pair->Back);
    return NULL;
}

static void TestASleeperIsWoken(void **State)
{
    PAIR Pair = {.Passed = 0};
    pthread_t Thread = StartThread(OneAnswer, &Pair);

    (void)State;
    AwaitCount(&Pair.There.SignalState, 2);
    for (ULONG Yield = 0; Yield < 200; Yield += 1) {
        sched_yield();
    }
    KiSignalGate(&Pair.There);
    KiWaitForGate(&Pair.Back);
    JoinThread(Thread);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestAGatePassesOnceHoweverOftenItWasOpened),
        cmocka_unit_test(TestNoOpeningIsLost),
        cmocka_unit_test(TestASleeperIsWoken),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
