/*
 * rwspinlock.c - EX_SPIN_LOCK.
 *
 * One word: readers (bits 0-15), writers that wait (16-30), OWNED (31).
 *
 *   change                                                     by                                      ordering
 *   + reader                                                   a reader that comes; it holds the lock  acquire
 *                                                              if it found neither waiters nor OWNED
 *   - reader                                                   a reader that leaves, or one that has   release; relaxed
 *                                                              come in vain
 *   0 -> OWNED                                                 a writer that finds the lock free       acquire
 *   + waiter                                                   any other writer                        relaxed
 *   waiters, no reader, no OWNED -> one waiter less, OWNED     a writer that waits                     acquire
 *   one reader alone -> OWNED                                  that reader (convert)                   acquire
 *   - OWNED                                                    the owner                               release
 *
 * Each change is a read-modify-write. A reader's count may be there for a moment though it holds nothing; only while
 * OWNED or a waiter is, so a convert fails then anyway, and a writer that waits looks again. Readers count a bit before
 * they know, so that shared acquires that meet never fail each other, as a compare-exchange would.
 *
 * Writers are not ordered. Deviation: none in meaning; a waiter serves IPIs while it spins. A writer that waits takes
 * no delivered bug check until it owns: it has announced itself.
 *
 * Tests: tests/ke/test_rwspinlock.c, tests/stress/stress_rwspinlock.c.
 */
#include "ki.h"

#include <kprcb/rwspinlock.h>

static inline BOOLEAN KiEnterShared(PEX_SPIN_LOCK SpinLock)
{
    return (ULONG)__atomic_fetch_add(SpinLock, KPRCB_RW_READER, __ATOMIC_ACQUIRE) < KPRCB_RW_WAITER;
}

static VOID KiLeaveShared(PEX_SPIN_LOCK SpinLock)
{
    __atomic_fetch_sub(SpinLock, KPRCB_RW_READER, __ATOMIC_RELEASE);
}

static inline BOOLEAN KiEnterExclusive(PEX_SPIN_LOCK SpinLock)
{
    LONG Free = 0;

    return __atomic_compare_exchange_n(SpinLock, &Free, KPRCB_RW_OWNED, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static VOID KiLeaveExclusive(PEX_SPIN_LOCK SpinLock)
{
    __atomic_fetch_and(SpinLock, ~KPRCB_RW_OWNED, __ATOMIC_RELEASE);
}

VOID ExfAwaitSpinLockShared(PEX_SPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    KI_SPIN Spin = {.Reason = "a reader/writer spin lock, as a reader", .Object = (const void *)SpinLock};
    ULONGLONG Begin = KiBeginWait(Block);

    do {
        KiLeaveShared(SpinLock);
        while ((ULONG)__atomic_load_n(SpinLock, __ATOMIC_RELAXED) >= KPRCB_RW_WAITER) {
            KiSpin(&Spin);
        }
    } while (!KiEnterShared(SpinLock));
    KiEndSpin(&Spin);
    KiEndWait(Block, SpinLock, Begin);
    KiHoldLock(Block, KPRCB_HELD_SHARED(SpinLock));
}

VOID ExfAwaitSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    KI_SPIN Spin = {
        .Reason = "a reader/writer spin lock, as a writer", .Object = (const void *)SpinLock, .Holding = TRUE};
    ULONGLONG Begin = KiBeginWait(Block);
    LONG Word = __atomic_add_fetch(SpinLock, KPRCB_RW_WAITER, __ATOMIC_RELAXED);

    for (;;) {
        if ((Word & (KPRCB_RW_OWNED | (KPRCB_RW_WAITER - 1))) != 0) {
            KiSpin(&Spin);
            Word = __atomic_load_n(SpinLock, __ATOMIC_RELAXED);
        } else if (__atomic_compare_exchange_n(SpinLock, &Word, (Word - KPRCB_RW_WAITER) | KPRCB_RW_OWNED, TRUE,
                                               __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            break;
        }
    }
    KiEndSpin(&Spin);
    KiEndWait(Block, SpinLock, Begin);
    KiHoldLock(Block, KPRCB_HELD_EXCLUSIVE(SpinLock));
}

static VOID KiCheckNotHeld(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    if (Block->HeldCount != 0 && Block->Checked &&
        (KiIsRecorded(Block, KPRCB_HELD_SHARED(SpinLock)) || KiIsRecorded(Block, KPRCB_HELD_EXCLUSIVE(SpinLock)))) {
        KeBugCheckEx(SPIN_LOCK_ALREADY_OWNED, (ULONG_PTR)SpinLock, 0, 0, 0);
    }
}

static VOID KiAcquireShared(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    KiCheckNotHeld(Block, SpinLock);
    if (KiEnterShared(SpinLock)) {
        KiHoldLock(Block, KPRCB_HELD_SHARED(SpinLock));
    } else {
        ExfAwaitSpinLockShared(SpinLock);
    }
}

static VOID KiAcquireExclusive(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    KiCheckNotHeld(Block, SpinLock);
    if (KiEnterExclusive(SpinLock)) {
        KiHoldLock(Block, KPRCB_HELD_EXCLUSIVE(SpinLock));
    } else {
        ExfAwaitSpinLockExclusive(SpinLock);
    }
}

static VOID KiReleaseShared(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    if (KiCheckHeld(Block, KPRCB_HELD_SHARED(SpinLock))) {
        KiLeaveShared(SpinLock);
        KiForgetLock(Block, KPRCB_HELD_SHARED(SpinLock));
    }
}

static VOID KiReleaseExclusive(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    if (KiCheckHeld(Block, KPRCB_HELD_EXCLUSIVE(SpinLock))) {
        KiLeaveExclusive(SpinLock);
        KiForgetLock(Block, KPRCB_HELD_EXCLUSIVE(SpinLock));
    }
}

VOID KiDropRwSpinLock(PVOID Held)
{
    PEX_SPIN_LOCK SpinLock = (PEX_SPIN_LOCK)((ULONG_PTR)Held & ~(ULONG_PTR)3);

    if (Held == KPRCB_HELD_SHARED(SpinLock)) {
        KiLeaveShared(SpinLock);
    } else {
        KiLeaveExclusive(SpinLock);
    }
}

KIRQL ExfAcquireSpinLockShared(PEX_SPIN_LOCK SpinLock)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    KiAcquireShared(&KprcbThread, SpinLock);
    return OldIrql;
}

KIRQL ExfAcquireSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    KiAcquireExclusive(&KprcbThread, SpinLock);
    return OldIrql;
}

VOID ExfReleaseSpinLockShared(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiReleaseShared(Block, SpinLock);
    KeLowerIrql(OldIrql);
}

VOID ExfReleaseSpinLockExclusive(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiReleaseExclusive(Block, SpinLock);
    KeLowerIrql(OldIrql);
}

VOID ExAcquireSpinLockSharedAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiAcquireShared(Block, SpinLock);
}

VOID ExReleaseSpinLockSharedFromDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiReleaseShared(Block, SpinLock);
}

VOID ExAcquireSpinLockExclusiveAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiAcquireExclusive(Block, SpinLock);
}

VOID ExReleaseSpinLockExclusiveFromDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiReleaseExclusive(Block, SpinLock);
}

LOGICAL ExTryConvertSharedSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    LONG Alone = KPRCB_RW_READER;

    KiCheckOwnerLevel(Block);
    if (!KiCheckHeld(Block, KPRCB_HELD_SHARED(SpinLock)) ||
        !__atomic_compare_exchange_n(SpinLock, &Alone, KPRCB_RW_OWNED, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return FALSE;
    }
    KiReplaceHeld(Block, KPRCB_HELD_SHARED(SpinLock), KPRCB_HELD_EXCLUSIVE(SpinLock));
    return TRUE;
}
