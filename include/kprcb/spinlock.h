/*
 * spinlock.h - KSPIN_LOCK: ordinary spin locks.
 *
 * The lock word is 0 while free. While held it is 1 on a free build, and the owner's KTHREAD with bit 0 set on a
 * checked one. One lock is used in one style only: the routines here, or those of queuedlock.h.
 *
 * Checked builds bug check SPIN_LOCK_ALREADY_OWNED (0x0F) when the owner acquires again and SPIN_LOCK_NOT_OWNED
 * (0x10) when someone else, or nobody, releases; the first parameter is the lock. Free builds do what the words say:
 * a second acquire spins until the hang report, a wrong release frees the lock.
 *
 * On a machine of KPRCB_UNIPROCESSOR whoever is at DISPATCH_LEVEL is alone there. Spin locks of all kinds, those of
 * queuedlock.h and rwspinlock.h included, raise IRQL and are recorded as held; their words are neither read nor written.
 * The bug checks are the same. A free build then lets a second acquire pass.
 */
#ifndef KPRCB_SPINLOCK_H
#define KPRCB_SPINLOCK_H

#include <kprcb/irql.h>

#ifdef __cplusplus
extern "C" {
#endif

/* KeInitializeSpinLock (WDK: same). Makes the lock free. Any IRQL. Never on a held lock. */
FORCEINLINE VOID KeInitializeSpinLock(PKSPIN_LOCK SpinLock)
{
    __atomic_store_n(SpinLock, 0, __ATOMIC_RELAXED);
}

/* The out-of-line halves of the inline routines below; they do the whole job in all cases. */
KPRCB_API KIRQL KfAcquireSpinLock(PKSPIN_LOCK SpinLock);
KPRCB_API VOID KfReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql);
/* Waits until the thread, which is at DISPATCH_LEVEL, owns the lock. */
KPRCB_API VOID KfAwaitSpinLock(PKSPIN_LOCK SpinLock);
/* Ends a release that has freed the lock or handed it over: forgets it, by its entry in Held, and lowers. */
KPRCB_API VOID KfEndLock(PVOID Held, KIRQL OldIrql);

/*
 * What the inline halves of all locks share. KprcbRaiseForLock: the processor of which the thread, if it holds no lock,
 * is the biased resident, else NULL; it owns it then, and KprcbThread.Irql does not say so yet, so no interrupt is served.
 * Before: the LockWord, whose low byte is the level. KprcbRecordLock: says so, and that the lock is held, and counts the
 * acquire. KprcbEndLock: the lock is free or somebody else's; forgets it, publishes the count and lowers.
 */
FORCEINLINE PKPCR KprcbRaiseForLock(PULONGLONG Before)
{
    PKPCR Pcr = KprcbThread.Fast;
    ULONGLONG Word = KprcbThread.LockWord;

    if (__builtin_expect((ULONG)Word >= DISPATCH_LEVEL || Pcr == NULL, 0)) {
        return NULL;
    }
    __atomic_store_n(&Pcr->PrcbData.ResidentIrql, DISPATCH_LEVEL, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect((__atomic_load_n(&Pcr->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_MASK) != 0, 0)) {
        return NULL;
    }
    if (__builtin_expect(KprcbThread.RaisedFrom[DISPATCH_LEVEL] != (KIRQL)Word, 0)) {
        KprcbThread.RaisedFrom[DISPATCH_LEVEL] = (KIRQL)Word;
    }
    *Before = Word;
    return Pcr;
}

FORCEINLINE VOID KprcbStoreLockWord(ULONGLONG Word)
{
#ifdef __LP64__
    __atomic_store_n(&KprcbThread.LockWord, Word, __ATOMIC_RELAXED);
#else
    KprcbThread.AcquireCount = (ULONG)(Word >> 32);
    __atomic_store_n(&KprcbThread.LockState, (ULONG)Word, __ATOMIC_RELAXED);
#endif
}

/* Lets the processor go. */
FORCEINLINE VOID KprcbStoreResidentWord(PKPCR Pcr, ULONGLONG Word)
{
#ifdef __LP64__
    __atomic_store_n(&Pcr->PrcbData.ResidentWord, Word, __ATOMIC_RELEASE);
#else
    __atomic_store_n(&Pcr->PrcbData.SpinLockAcquireCount, (ULONG)(Word >> 32), __ATOMIC_RELAXED);
    __atomic_store_n(&Pcr->PrcbData.ResidentIrql, (ULONG)Word, __ATOMIC_RELEASE);
#endif
}

FORCEINLINE VOID KprcbRecordLock(PVOID Held, ULONGLONG Before)
{
    __atomic_store_n(&KprcbThread.Held[0], Held, __ATOMIC_RELAXED);
    KprcbStoreLockWord((Before & ~(ULONGLONG)(DISPATCH_LEVEL - 1)) + KPRCB_ONE_ACQUIRE + KPRCB_ONE_LOCK_AT_DISPATCH);
}

FORCEINLINE VOID KprcbEndLock(PVOID Held, KIRQL OldIrql)
{
    PKPCR Pcr = KprcbThread.Fast;
    ULONGLONG Word = KprcbThread.LockWord;

    if (__builtin_expect((ULONG)Word != KPRCB_ONE_LOCK_AT_DISPATCH || Pcr == NULL ||
                             OldIrql != KprcbThread.RaisedFrom[DISPATCH_LEVEL],
                         0)) {
        KfEndLock(Held, OldIrql);
        return;
    }
    Word = Word - KPRCB_ONE_LOCK_AT_DISPATCH + OldIrql;
    __atomic_store_n(&KprcbThread.Held[0], NULL, __ATOMIC_RELAXED);
    KprcbStoreLockWord(Word);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    KprcbStoreResidentWord(Pcr, Word);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect((__atomic_load_n(&Pcr->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_MASK) != 0, 0)) {
        KfLowerIrqlPending(Pcr);
    }
}

/*
 * KeAcquireSpinLockRaiseToDpc (WDK: same). Raises to DISPATCH_LEVEL, then spins until it owns the lock.
 * IRQL <= DISPATCH_LEVEL. Returns the level before the call, for KeReleaseSpinLock.
 *
 * Inline for a biased resident that holds no lock. The lock is recorded after the compare-exchange, which waits for
 * every store before it.
 */
FORCEINLINE KIRQL KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK SpinLock)
{
    KSPIN_LOCK Free = 0;
    ULONGLONG Before;

    if (__builtin_expect(KprcbRaiseForLock(&Before) == NULL, 0)) {
        return KfAcquireSpinLock(SpinLock);
    }
    if (__builtin_expect(__atomic_compare_exchange_n(SpinLock, &Free, KprcbThread.SpinLockValue, 0, __ATOMIC_ACQUIRE,
                                                     __ATOMIC_RELAXED),
                         1)) {
        KprcbRecordLock((PVOID)SpinLock, Before);
    } else {
        KprcbThread.Irql = DISPATCH_LEVEL;
        KfAwaitSpinLock(SpinLock);
    }
    return (KIRQL)Before;
}

/* KeAcquireSpinLock (WDK: same). As above; *OldIrql is written last, after the lock is owned. */
#define KeAcquireSpinLock(SpinLock, OldIrql) (*(OldIrql) = KeAcquireSpinLockRaiseToDpc(SpinLock))

/*
 * KeReleaseSpinLock (WDK: same). Frees the lock, then lowers to NewIrql, running what is pending. IRQL
 * DISPATCH_LEVEL.
 *
 * Inline for the first recorded lock of a thread. The lock's word is not looked at then: it has just been the object
 * of a locked operation, and a load of it costs as much again.
 */
FORCEINLINE VOID KeReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql)
{
    if (__builtin_expect(KprcbThread.Held[0] != (PVOID)SpinLock || KprcbThread.Irql < DISPATCH_LEVEL, 0)) {
        KfReleaseSpinLock(SpinLock, NewIrql);
        return;
    }
    __atomic_store_n(SpinLock, 0, __ATOMIC_RELEASE);
    KprcbEndLock((PVOID)SpinLock, NewIrql);
}

/*
 * KeAcquireSpinLockAtDpcLevel (WDK: same). Acquires without touching the level. IRQL >= DISPATCH_LEVEL; lower is bug
 * check IRQL_NOT_GREATER_OR_EQUAL on a checked build.
 */
KPRCB_API VOID KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock);

/* KeReleaseSpinLockFromDpcLevel (WDK: same). Frees without touching the level. IRQL >= DISPATCH_LEVEL. */
KPRCB_API VOID KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK SpinLock);

/*
 * KeTryToAcquireSpinLockAtDpcLevel (WDK: same). One attempt. IRQL >= DISPATCH_LEVEL. TRUE: owned, with acquire
 * ordering; FALSE: held by someone, the caller included.
 */
KPRCB_API BOOLEAN KeTryToAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock);

/*
 * KeAcquireSpinLockForDpc (WDK: same). For DPC routines that may run threaded: raises from below DISPATCH_LEVEL, leaves
 * DISPATCH_LEVEL alone. IRQL <= DISPATCH_LEVEL. Returns the level before the call.
 */
KPRCB_API KIRQL KeAcquireSpinLockForDpc(PKSPIN_LOCK SpinLock);

/* KeReleaseSpinLockForDpc (WDK: same). Frees; lowers if OldIrql is below DISPATCH_LEVEL. IRQL DISPATCH_LEVEL. */
KPRCB_API VOID KeReleaseSpinLockForDpc(PKSPIN_LOCK SpinLock, KIRQL OldIrql);

/* KeTestSpinLock (WDK: same). TRUE: free at this instant. Never acquires. Any IRQL. */
FORCEINLINE BOOLEAN KeTestSpinLock(PKSPIN_LOCK SpinLock)
{
    return __atomic_load_n(SpinLock, __ATOMIC_RELAXED) == 0;
}

#ifdef __cplusplus
}
#endif

#endif
