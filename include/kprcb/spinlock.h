/*
 * spinlock.h - KSPIN_LOCK: ordinary spin locks.
 *
 * The lock word is 0 while free. While held it is 1 on a free build, and the owner's KTHREAD with bit 0 set on a
 * checked one. One lock is used in one style only: the routines here, or those of queuedlock.h.
 *
 * Checked builds bug check SPIN_LOCK_ALREADY_OWNED (0x0F) when the owner acquires again and SPIN_LOCK_NOT_OWNED
 * (0x10) when someone else, or nobody, releases; the first parameter is the lock. Free builds do what the words say:
 * a second acquire spins until the hang report, a wrong release frees the lock.
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

/*
 * KeAcquireSpinLockRaiseToDpc (WDK: same). Raises to DISPATCH_LEVEL, then spins until it owns the lock.
 * IRQL <= DISPATCH_LEVEL. Returns the level before the call, for KeReleaseSpinLock.
 */
KPRCB_API KIRQL KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK SpinLock);

/* KeAcquireSpinLock (WDK: same). As above; *OldIrql is written last, after the lock is owned. */
#define KeAcquireSpinLock(SpinLock, OldIrql) (*(OldIrql) = KeAcquireSpinLockRaiseToDpc(SpinLock))

/*
 * KeReleaseSpinLock (WDK: same). Frees the lock, then lowers to NewIrql, running what is pending. IRQL
 * DISPATCH_LEVEL.
 */
KPRCB_API VOID KeReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql);

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
