/*
 * rwspinlock.c - EX_SPIN_LOCK.
 *
 * One word: readers (bits 0-15), writers that wait (16-29), BIASED (30), OWNED (31).
 *
 *   change                                                     by                                      ordering
 *   + reader                                                   a reader that comes; it holds the lock  acquire
 *                                                              if it found neither waiters nor OWNED
 *   - reader                                                   a reader that leaves, or one that has   release
 *                                                              come in vain
 *   0 -> OWNED                                                 a writer that finds the lock free       acquire
 *   + waiter                                                   any other writer                        relaxed
 *   waiters, no reader, no OWNED, no BIASED -> one waiter      a writer that waits                     acquire
 *   less, OWNED
 *   readers -> readers, BIASED                                 one of the readers (readerbias.c)       relaxed
 *   - BIASED                                                   a writer that waits (readerbias.c)      release
 *   one reader alone -> OWNED                                  that reader (convert)                   acquire
 *   its own waiter and reader, BIASED or not -> OWNED          the same while BIASED, when alone       acquire
 *   - OWNED                                                    the owner                               release
 *
 * Each change is a read-modify-write. A reader's count may be there for a moment though it holds nothing; only while
 * OWNED or a waiter is, so a convert fails then anyway, and a writer that waits looks again. Readers count a bit before
 * they know, so that shared acquires that meet never fail each other, as a compare-exchange would.
 *
 * While BIASED, a biased resident does not count itself: readerbias.c.
 *
 * On a uniprocessor machine the word is left alone: what a thread records as held is all there is.
 *
 * Writers are not ordered. Deviation: none in meaning; a waiter serves IPIs while it spins. A writer that waits takes
 * no delivered bug check until it owns: it has announced itself.
 *
 * Tests: tests/ke/test_rwspinlock.c, tests/ke/test_readerbias.c, tests/stress/stress_rwspinlock.c.
 */
#include "ki.h"

#include <kprcb/rwspinlock.h>

#define KI_RW_READERS (KPRCB_RW_WAITER - 1)

/* A writer owns the lock or waits for it. */
static inline BOOLEAN KiHasWriter(LONG Word)
{
    return (Word & ~(KPRCB_RW_BIASED | KI_RW_READERS)) != 0;
}

static inline BOOLEAN KiEnterShared(PEX_SPIN_LOCK SpinLock)
{
    return KiMachine.Uniprocessor || !KiHasWriter(__atomic_fetch_add(SpinLock, KPRCB_RW_READER, __ATOMIC_ACQUIRE));
}

static VOID KiUncountShared(PEX_SPIN_LOCK SpinLock)
{
    __atomic_fetch_sub(SpinLock, KPRCB_RW_READER, __ATOMIC_RELEASE);
}

static VOID KiLeaveShared(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    if (KiMachine.Uniprocessor) {
        return;
    }
    if (KiIsUncounted(Block->Pcr, SpinLock)) {
        __atomic_store_n(&Block->Pcr->PrcbData.SharedLock, NULL, __ATOMIC_RELEASE);
    } else {
        KiUncountShared(SpinLock);
    }
}

static inline BOOLEAN KiEnterExclusive(PEX_SPIN_LOCK SpinLock)
{
    LONG Free = 0;

    return KiMachine.Uniprocessor ||
           __atomic_compare_exchange_n(SpinLock, &Free, KPRCB_RW_OWNED, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static VOID KiLeaveExclusive(PEX_SPIN_LOCK SpinLock)
{
    if (!KiMachine.Uniprocessor) {
        __atomic_fetch_and(SpinLock, ~KPRCB_RW_OWNED, __ATOMIC_RELEASE);
    }
}

static VOID KiAwaitShared(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    KI_SPIN Spin = {.Reason = "a reader/writer spin lock, as a reader", .Object = (const void *)SpinLock};
    ULONGLONG Begin = KiBeginWait(Block);

    do {
        KiUncountShared(SpinLock);
        while (KiHasWriter(__atomic_load_n(SpinLock, __ATOMIC_RELAXED))) {
            KiSpin(&Spin);
        }
    } while (!KiEnterShared(SpinLock));
    KiEndSpin(&Spin);
    KiEndWait(Block, SpinLock, Begin, Spin.Steps);
}

/* All cases; not recorded yet. */
static VOID KiTakeShared(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    if (!KiEnterShared(SpinLock)) {
        KiAwaitShared(Block, SpinLock);
    }
    KiHoldLock(Block, KPRCB_HELD_SHARED(SpinLock));
    if (Block->Fast != NULL && !KiMachine.Uniprocessor) {
        KiOfferBias(Block, SpinLock);
    }
}

/* The inline halves record before they know. */
static VOID KiForgetAcquire(KPRCB_THREAD_BLOCK *Block)
{
    __atomic_store_n(&Block->Held[0], NULL, __ATOMIC_RELAXED);
    KprcbStoreLockWord(Block->LockWord - KPRCB_ONE_ACQUIRE - KPRCB_ONE_LOCK);
}

VOID ExfAwaitSpinLockShared(PEX_SPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;

    KiForgetAcquire(Block);
    __atomic_store_n(&Block->Pcr->PrcbData.SharedLock, NULL, __ATOMIC_RELEASE);
    KiTakeShared(Block, SpinLock);
}

/* Not recorded. */
static VOID KiAwaitExclusive(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    KI_SPIN Spin = {
        .Reason = "a reader/writer spin lock, as a writer", .Object = (const void *)SpinLock, .Holding = TRUE};
    ULONGLONG Begin = KiBeginWait(Block);
    LONG Word = __atomic_add_fetch(SpinLock, KPRCB_RW_WAITER, __ATOMIC_RELAXED);

    for (;;) {
        if ((Word & KPRCB_RW_BIASED) != 0) {
            KiEndBias(SpinLock, &Spin);
            Word = __atomic_load_n(SpinLock, __ATOMIC_RELAXED);
        } else if ((Word & (KPRCB_RW_OWNED | KI_RW_READERS)) != 0) {
            KiSpin(&Spin);
            Word = __atomic_load_n(SpinLock, __ATOMIC_RELAXED);
        } else if (__atomic_compare_exchange_n(SpinLock, &Word, (Word - KPRCB_RW_WAITER) | KPRCB_RW_OWNED, TRUE,
                                               __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            break;
        }
    }
    KiEndSpin(&Spin);
    KiEndWait(Block, SpinLock, Begin, Spin.Steps);
    KiHoldLock(Block, KPRCB_HELD_EXCLUSIVE(SpinLock));
}

VOID ExfAwaitSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
    KiForgetAcquire(&KprcbThread);
    KiAwaitExclusive(&KprcbThread, SpinLock);
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
    KiTakeShared(Block, SpinLock);
}

static VOID KiAcquireExclusive(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    KiCheckNotHeld(Block, SpinLock);
    if (KiEnterExclusive(SpinLock)) {
        KiHoldLock(Block, KPRCB_HELD_EXCLUSIVE(SpinLock));
    } else {
        KiAwaitExclusive(Block, SpinLock);
    }
}

static VOID KiReleaseShared(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    if (KiCheckHeld(Block, KPRCB_HELD_SHARED(SpinLock))) {
        KiLeaveShared(Block, SpinLock);
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

VOID KiDropRwSpinLock(KPRCB_THREAD_BLOCK *Block, PVOID Held)
{
    PEX_SPIN_LOCK SpinLock = (PEX_SPIN_LOCK)((ULONG_PTR)Held & ~(ULONG_PTR)3);

    if (Held == KPRCB_HELD_SHARED(SpinLock)) {
        KiLeaveShared(Block, SpinLock);
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

/* As a writer that waits, the sole reader keeps new ones out while it makes sure that it is. */
static BOOLEAN KiConvertBiased(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    BOOLEAN Counted = !KiIsUncounted(Block->Pcr, SpinLock);
    LONG Word = KPRCB_RW_BIASED + (Counted ? KPRCB_RW_READER : 0);
    LONG OneLess = KPRCB_RW_WAITER + (Counted ? KPRCB_RW_READER : 0);

    if (!__atomic_compare_exchange_n(SpinLock, &Word, Word + KPRCB_RW_WAITER, FALSE, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED)) {
        return FALSE;
    }
    if (KiFindUncounted(Block, SpinLock)) {
        __atomic_fetch_sub(SpinLock, KPRCB_RW_WAITER, __ATOMIC_RELAXED);
        return FALSE;
    }
    /* A writer that has come since may have ended the bias: no uncounted reader was there to keep it from that. */
    Word = __atomic_load_n(SpinLock, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(SpinLock, &Word, ((Word & ~KPRCB_RW_BIASED) - OneLess) | KPRCB_RW_OWNED, TRUE,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
    }
    if (!Counted) {
        __atomic_store_n(&Block->Pcr->PrcbData.SharedLock, NULL, __ATOMIC_RELEASE);
    }
    return TRUE;
}

LOGICAL ExTryConvertSharedSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    LONG Alone = KPRCB_RW_READER;

    KiCheckOwnerLevel(Block);
    if (!KiCheckHeld(Block, KPRCB_HELD_SHARED(SpinLock))) {
        return FALSE;
    }
    if (!KiMachine.Uniprocessor &&
        !__atomic_compare_exchange_n(SpinLock, &Alone, KPRCB_RW_OWNED, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED) &&
        !((Alone & KPRCB_RW_BIASED) != 0 && KiConvertBiased(Block, SpinLock))) {
        return FALSE;
    }
    KiReplaceHeld(Block, KPRCB_HELD_SHARED(SpinLock), KPRCB_HELD_EXCLUSIVE(SpinLock));
    return TRUE;
}
