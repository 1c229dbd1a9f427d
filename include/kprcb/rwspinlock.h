/*
 * rwspinlock.h - EX_SPIN_LOCK: reader/writer spin locks.
 *
 * Many readers or one writer. While a writer waits, a reader that comes waits behind it; so to acquire a lock again,
 * shared or not, can deadlock and is forbidden. A lock is a LONG that starts at 0. Bits 0 to 15 count readers, bits 16 to
 * 29 the writers that wait, and bit 31 says that a writer owns it. Bit 30 says that the lock, having been read for a
 * while, is biased to readers: a biased resident writes its address to the processor's KPRCB.SharedLock instead of counting
 * itself, and the next writer ends that, at the price of a membarrier. It stays set while the lock is free.
 *
 * Checked builds bug check SPIN_LOCK_ALREADY_OWNED (0x0F) when a thread acquires a lock that it holds, and
 * SPIN_LOCK_NOT_OWNED (0x10) when one is released that the thread does not hold in that way; the first parameter is the
 * lock. On a free build a recursive acquire may spin until the hang report, and a wrong release does nothing.
 */
#ifndef KPRCB_RWSPINLOCK_H
#define KPRCB_RWSPINLOCK_H

#include <kprcb/spinlock.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef LONG volatile EX_SPIN_LOCK, *PEX_SPIN_LOCK;

#define KPRCB_RW_READER 1
#define KPRCB_RW_WAITER 0x10000
#define KPRCB_RW_BIASED 0x40000000
#define KPRCB_RW_OWNED ((LONG)0x80000000)

/* Entries of KPRCB_THREAD_BLOCK.Held. */
#define KPRCB_HELD_EXCLUSIVE(SpinLock) ((PVOID)((ULONG_PTR)(SpinLock) | 2))
#define KPRCB_HELD_SHARED(SpinLock) ((PVOID)((ULONG_PTR)(SpinLock) | 3))

/* The out-of-line halves of the inline routines below; they do the whole job in all cases. */
KPRCB_API KIRQL ExfAcquireSpinLockShared(PEX_SPIN_LOCK SpinLock);
KPRCB_API KIRQL ExfAcquireSpinLockExclusive(PEX_SPIN_LOCK SpinLock);
KPRCB_API VOID ExfReleaseSpinLockShared(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql);
KPRCB_API VOID ExfReleaseSpinLockExclusive(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql);
/* Wait until the thread, which has recorded the lock in vain, holds it. The first clears SharedLock before. */
KPRCB_API VOID ExfAwaitSpinLockShared(PEX_SPIN_LOCK SpinLock);
KPRCB_API VOID ExfAwaitSpinLockExclusive(PEX_SPIN_LOCK SpinLock);

/*
 * ExAcquireSpinLockShared (WDK: same). Raises to DISPATCH_LEVEL and acquires as a reader; waits while a writer owns the
 * lock or waits for it. IRQL <= DISPATCH_LEVEL. Returns the level before the call.
 *
 * Inline for a biased resident that holds no lock, if the lock is biased to readers and no writer is there.
 */
FORCEINLINE KIRQL ExAcquireSpinLockShared(PEX_SPIN_LOCK SpinLock)
{
    ULONGLONG Before;
    PKPCR Pcr = KprcbRaiseForLock(&Before);

    if (__builtin_expect(Pcr == NULL, 0)) {
        return ExfAcquireSpinLockShared(SpinLock);
    }
    KprcbRecordLock(KPRCB_HELD_SHARED(SpinLock), Before);
    __atomic_store_n(&Pcr->PrcbData.SharedLock, (PVOID)(ULONG_PTR)SpinLock, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect((ULONG)__atomic_load_n(SpinLock, __ATOMIC_ACQUIRE) - KPRCB_RW_BIASED >= KPRCB_RW_WAITER, 0)) {
        ExfAwaitSpinLockShared(SpinLock);
    }
    return (KIRQL)Before;
}

/* ExReleaseSpinLockShared (WDK: same). Releases as a reader, then lowers to OldIrql. IRQL DISPATCH_LEVEL. */
FORCEINLINE VOID ExReleaseSpinLockShared(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql)
{
    PKPCR Pcr = KprcbThread.Fast;

    if (__builtin_expect(KprcbThread.Held[0] != KPRCB_HELD_SHARED(SpinLock) || Pcr == NULL ||
                             Pcr->PrcbData.SharedLock != (PVOID)(ULONG_PTR)SpinLock,
                         0)) {
        ExfReleaseSpinLockShared(SpinLock, OldIrql);
        return;
    }
    __atomic_store_n(&Pcr->PrcbData.SharedLock, NULL, __ATOMIC_RELEASE);
    KprcbEndLock(KPRCB_HELD_SHARED(SpinLock), OldIrql);
}

/*
 * ExAcquireSpinLockExclusive (WDK: same). Raises to DISPATCH_LEVEL and acquires as the writer; waits until no reader
 * and no other writer holds the lock, and keeps new readers out meanwhile. IRQL <= DISPATCH_LEVEL. Returns the level
 * before the call.
 */
FORCEINLINE KIRQL ExAcquireSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
    LONG Free = 0;
    ULONGLONG Before;

    if (__builtin_expect(KprcbRaiseForLock(&Before) == NULL, 0)) {
        return ExfAcquireSpinLockExclusive(SpinLock);
    }
    KprcbRecordLock(KPRCB_HELD_EXCLUSIVE(SpinLock), Before);
    if (__builtin_expect(
            !__atomic_compare_exchange_n(SpinLock, &Free, KPRCB_RW_OWNED, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED), 0)) {
        ExfAwaitSpinLockExclusive(SpinLock);
    }
    return (KIRQL)Before;
}

/* ExReleaseSpinLockExclusive (WDK: same). Releases as the writer, then lowers to OldIrql. IRQL DISPATCH_LEVEL. */
FORCEINLINE VOID ExReleaseSpinLockExclusive(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql)
{
    if (__builtin_expect(KprcbThread.Held[0] != KPRCB_HELD_EXCLUSIVE(SpinLock), 0)) {
        ExfReleaseSpinLockExclusive(SpinLock, OldIrql);
        return;
    }
    __atomic_fetch_and(SpinLock, ~KPRCB_RW_OWNED, __ATOMIC_RELEASE);
    KprcbEndLock(KPRCB_HELD_EXCLUSIVE(SpinLock), OldIrql);
}

/* ExAcquireSpinLockSharedAtDpcLevel (WDK: same). The level is not touched. IRQL >= DISPATCH_LEVEL. */
KPRCB_API VOID ExAcquireSpinLockSharedAtDpcLevel(PEX_SPIN_LOCK SpinLock);

/* ExReleaseSpinLockSharedFromDpcLevel (WDK: same). The level is not touched. IRQL >= DISPATCH_LEVEL. */
KPRCB_API VOID ExReleaseSpinLockSharedFromDpcLevel(PEX_SPIN_LOCK SpinLock);

/* ExAcquireSpinLockExclusiveAtDpcLevel (WDK: same). The level is not touched. IRQL >= DISPATCH_LEVEL. */
KPRCB_API VOID ExAcquireSpinLockExclusiveAtDpcLevel(PEX_SPIN_LOCK SpinLock);

/* ExReleaseSpinLockExclusiveFromDpcLevel (WDK: same). The level is not touched. IRQL >= DISPATCH_LEVEL. */
KPRCB_API VOID ExReleaseSpinLockExclusiveFromDpcLevel(PEX_SPIN_LOCK SpinLock);

/*
 * ExTryConvertSharedSpinLockExclusive (WDK: same). Makes a reader the writer if it is the only reader and no writer
 * waits; never waits. IRQL >= DISPATCH_LEVEL. TRUE: release it with the exclusive routine that matches the acquire.
 * FALSE: it is still held shared.
 */
KPRCB_API LOGICAL ExTryConvertSharedSpinLockExclusive(PEX_SPIN_LOCK SpinLock);

#ifdef __cplusplus
}
#endif

#endif
