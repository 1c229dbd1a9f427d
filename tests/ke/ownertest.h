/*
 * ownertest.h - what test_owner.c and test_bias.c share.
 *
 * Where a test waits for something that a broken library would never do, it gives up after a number of yields that is
 * far above what is needed, so that a hang shows as a failure.
 */
#ifndef TEST_OWNERTEST_H
#define TEST_OWNERTEST_H

#include "support/support.h"

#include "ki.h"

#define MANY_YIELDS 300000

static ULONG TestFlags; /* with or without membarrier */
static ULONG volatile Gate, Entered, Release, Finished;

static inline void Begin(ULONG Processors)
{
    StartMachine(Processors, TestFlags);
    Gate = Entered = Release = Finished = 0;
}

static inline ULONG Load(ULONG volatile *Word)
{
    return __atomic_load_n(Word, __ATOMIC_ACQUIRE);
}

/* FALSE: *Word stayed below Target. */
static inline BOOLEAN AwaitOrGiveUp(ULONG volatile *Word, ULONG Target)
{
    for (ULONG Step = 0; Step < MANY_YIELDS; Step += 1) {
        if (Load(Word) >= Target) {
            return TRUE;
        }
        sched_yield();
    }
    return FALSE;
}

static inline ULONG OwnOnce(void)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
    ULONG Number = KeGetCurrentProcessorNumberEx(NULL);

    KeLowerIrql(OldIrql);
    return Number;
}

static inline BOOLEAN IsBiased(void)
{
    return KeGetCurrentThread()->Biased;
}

/* Somebody waits for Pcr: for its token, or, as the holder of the token, for its resident. */
static inline void AwaitWaiter(PKPCR Pcr)
{
    PKTHREAD Owner;

    do {
        sched_yield();
        Owner = __atomic_load_n(&Pcr->Owner, __ATOMIC_SEQ_CST);
    } while (__atomic_load_n(&Pcr->TokenWaiters, __ATOMIC_SEQ_CST) == 0 &&
             (Owner == NULL || Owner == KprcbThread.Thread));
}

static inline int RunWithAndWithoutMembarrier(const struct CMUnitTest *Tests, size_t Count)
{
    int Failed = _cmocka_run_group_tests("with membarrier", Tests, Count, NULL, NULL);

    TestFlags = KPRCB_NO_MEMBARRIER;
    return Failed + _cmocka_run_group_tests("without membarrier", Tests, Count, NULL, NULL);
}

#endif
