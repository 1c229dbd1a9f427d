/*
 * rwspinlocktest.h - what test_rwspinlock.c and test_readerbias.c share: the machine, the lock, threads that hold it.
 */
#ifndef RWSPINLOCKTEST_H
#define RWSPINLOCKTEST_H

#include "support/check.h"

#define READER KPRCB_RW_READER
#define OWNED KPRCB_RW_OWNED
#define WAITER KPRCB_RW_WAITER

static ULONG MachineFlags;
static EX_SPIN_LOCK RwLock;

static inline LONG Word(void)
{
    return __atomic_load_n(&RwLock, __ATOMIC_ACQUIRE);
}

static inline int SetUp(void **State)
{
    (void)State;
    RwLock = 0;
    StartMachine(3, MachineFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    return 0;
}

static inline int TearDown(void **State)
{
    (void)State;
    assert_int_equal(Word() & ~KPRCB_RW_BIASED, 0);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    StopMachine();
    return 0;
}

/* --- others: each step of a helper is asked for and awaited --- */

typedef struct _HELPER {
    ULONG Processor;
    BOOLEAN Exclusive;
    ULONG volatile Held;
    ULONG volatile Go;
    pthread_t Thread;
} HELPER;

static inline void *HelperThread(void *Context)
{
    HELPER *Helper = Context;
    KIRQL OldIrql;

    Check(KprcbAttachThread(Helper->Processor) == STATUS_SUCCESS);
    OldIrql = Helper->Exclusive ? ExAcquireSpinLockExclusive(&RwLock) : ExAcquireSpinLockShared(&RwLock);
    CountOne(&Helper->Held);
    AwaitCount(&Helper->Go, 1);
    if (Helper->Exclusive) {
        ExReleaseSpinLockExclusive(&RwLock, OldIrql);
    } else {
        ExReleaseSpinLockShared(&RwLock, OldIrql);
    }
    Check(KprcbDetachThread() == STATUS_SUCCESS);
    return NULL;
}

static inline void StartHelper(HELPER *Helper, ULONG Processor, BOOLEAN Exclusive)
{
    *Helper = (HELPER){.Processor = Processor, .Exclusive = Exclusive};
    Helper->Thread = StartThread(HelperThread, Helper);
}

static inline void EndHelper(HELPER *Helper)
{
    CountOne(&Helper->Go);
    JoinThread(Helper->Thread);
    assert_int_equal(WrongLine, 0);
}

static inline void AwaitWord(LONG Mask, LONG Value)
{
    while ((Word() & Mask) != Value) {
        sched_yield();
    }
}

#endif
