/*
 * queuedlock.h - queued spin locks: in-stack and numbered.
 *
 * Waiters own the lock strictly in the order in which they queued. The lock word is 0 while free, else the address of
 * the last node of the queue. A node's Lock member is the lock's address, with LOCK_QUEUE_WAIT while it queues and
 * LOCK_QUEUE_OWNER once it owns. A node must not move between acquire and release, and the thread that acquired
 * releases.
 *
 * Checked builds bug check SPIN_LOCK_ALREADY_OWNED (0x0F) when a thread acquires a lock it owns and
 * SPIN_LOCK_NOT_OWNED (0x10) when a handle is released that does not own; the first parameter is the lock, the second
 * the handle. On a free build a recursive acquire spins until the hang report, and a release of a handle that does
 * not own does nothing.
 */
#ifndef KPRCB_QUEUEDLOCK_H
#define KPRCB_QUEUEDLOCK_H

#include <kprcb/spinlock.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct _KLOCK_QUEUE_HANDLE {
    KSPIN_LOCK_QUEUE LockQueue;
    KIRQL OldIrql;
} KLOCK_QUEUE_HANDLE, *PKLOCK_QUEUE_HANDLE;

KPRCB_STATIC_ASSERT(sizeof(KLOCK_QUEUE_HANDLE) == 3 * sizeof(void *), "KLOCK_QUEUE_HANDLE as the WDK lays it out");

/* The out-of-line halves of the inline routines below; the first two do the whole job in all cases. */
KPRCB_API VOID KfAcquireInStackQueuedSpinLock(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle);
KPRCB_API VOID KfReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE LockHandle);
/* Waits until Node, which is linked, owns the lock. */
KPRCB_API VOID KfAwaitSpinLockQueue(PKSPIN_LOCK_QUEUE Node);

/* Node has exchanged itself into the lock word and found Before there: says so, links behind it, and waits. */
FORCEINLINE VOID KprcbJoinSpinLockQueue(PKSPIN_LOCK SpinLock, PKSPIN_LOCK_QUEUE Node, PKSPIN_LOCK_QUEUE Before)
{
    __atomic_store_n(&Node->Lock, (PKSPIN_LOCK)((ULONG_PTR)SpinLock | LOCK_QUEUE_WAIT), __ATOMIC_RELAXED);
    __atomic_store_n(&Before->Next, Node, __ATOMIC_RELEASE);
    KfAwaitSpinLockQueue(Node);
}

/*
 * KeAcquireInStackQueuedSpinLock (WDK: same). Raises to DISPATCH_LEVEL, queues and waits. IRQL <= DISPATCH_LEVEL.
 *
 * Inline for a biased resident that holds no lock. Lock says OWNER before the exchange: nobody else looks at it
 * before the node is linked, and KprcbJoinSpinLockQueue corrects it first. The exchange waits for every store before
 * it, so those are few, and the one that is ready last comes last.
 */
FORCEINLINE VOID KeAcquireInStackQueuedSpinLock(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle)
{
    PKSPIN_LOCK_QUEUE Node = &LockHandle->LockQueue;
    PKSPIN_LOCK_QUEUE Last;
    ULONGLONG Before;

    if (__builtin_expect(KprcbRaiseForLock(&Before) == NULL, 0)) {
        KfAcquireInStackQueuedSpinLock(SpinLock, LockHandle);
        return;
    }
    Node->Next = NULL;
    __atomic_store_n(&Node->Lock, (PKSPIN_LOCK)((ULONG_PTR)SpinLock | LOCK_QUEUE_OWNER), __ATOMIC_RELAXED);
    LockHandle->OldIrql = (KIRQL)Before;
    KprcbRecordLock((PVOID)((ULONG_PTR)Node | 1), Before);
    Last = (PKSPIN_LOCK_QUEUE)__atomic_exchange_n(SpinLock, (KSPIN_LOCK)Node, __ATOMIC_ACQ_REL);
    if (__builtin_expect(Last != NULL, 0)) {
        KprcbJoinSpinLockQueue(SpinLock, Node, Last);
    }
}

/*
 * KeReleaseInStackQueuedSpinLock (WDK: same). Hands over, then lowers to the level at the acquire. IRQL DISPATCH_LEVEL.
 *
 * Inline for a node that is the first recorded lock of the thread, hence an owner, unless a successor is still on its
 * way. Whether the rest is inline too is looked at after the lock was handed over: a fourth load, or a jump that is
 * taken, between the exchange of the acquire and the compare-exchange here costs as much as half a locked operation.
 */
FORCEINLINE VOID KeReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE LockHandle)
{
    PKSPIN_LOCK_QUEUE Node = &LockHandle->LockQueue;
    PKSPIN_LOCK SpinLock = (PKSPIN_LOCK)((ULONG_PTR)__atomic_load_n(&Node->Lock, __ATOMIC_RELAXED) - LOCK_QUEUE_OWNER);
    PKSPIN_LOCK_QUEUE Next = __atomic_load_n(&Node->Next, __ATOMIC_ACQUIRE);
    KSPIN_LOCK Last = (KSPIN_LOCK)Node;

    if (__builtin_expect(KprcbThread.Held[0] != (PVOID)((ULONG_PTR)Node | 1), 0)) {
        KfReleaseInStackQueuedSpinLock(LockHandle);
        return;
    }
    if (__builtin_expect(Next != NULL, 0)) {
        __atomic_store_n(&Next->Lock, (PKSPIN_LOCK)((ULONG_PTR)SpinLock | LOCK_QUEUE_OWNER), __ATOMIC_RELEASE);
    } else if (__builtin_expect(!__atomic_compare_exchange_n(SpinLock, &Last, 0, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED),
                                0)) {
        KfReleaseInStackQueuedSpinLock(LockHandle);
        return;
    }
    KprcbEndLock((PVOID)((ULONG_PTR)Node | 1), LockHandle->OldIrql);
}

/* KeAcquireInStackQueuedSpinLockAtDpcLevel (WDK: same). The level is not touched. IRQL >= DISPATCH_LEVEL. */
KPRCB_API VOID KeAcquireInStackQueuedSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle);

/* KeReleaseInStackQueuedSpinLockFromDpcLevel (WDK: same). The level is not touched. IRQL >= DISPATCH_LEVEL. */
KPRCB_API VOID KeReleaseInStackQueuedSpinLockFromDpcLevel(PKLOCK_QUEUE_HANDLE LockHandle);

/* KeAcquireInStackQueuedSpinLockForDpc (WDK: same). Raises only from below DISPATCH_LEVEL. IRQL <= DISPATCH_LEVEL. */
KPRCB_API VOID KeAcquireInStackQueuedSpinLockForDpc(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle);

/* KeReleaseInStackQueuedSpinLockForDpc (WDK: same). Lowers only if the acquire had raised. IRQL DISPATCH_LEVEL. */
KPRCB_API VOID KeReleaseInStackQueuedSpinLockForDpc(PKLOCK_QUEUE_HANDLE LockHandle);

/*
 * KeAcquireQueuedSpinLock (WDK: same, "reserved"). Acquires a numbered lock through this processor's entry of
 * KPRCB.LockQueue. IRQL <= DISPATCH_LEVEL. Returns the level before the call. A number out of range is bug check
 * SPIN_LOCK_INIT_FAILURE (0x81) with the number as first parameter. A processor has one node for the lock, so a
 * recursive acquire is bug check SPIN_LOCK_ALREADY_OWNED on either build.
 */
KPRCB_API KIRQL KeAcquireQueuedSpinLock(KSPIN_LOCK_QUEUE_NUMBER Number);

/* KeReleaseQueuedSpinLock (WDK: same). On the processor of the acquire. Lowers to OldIrql. IRQL DISPATCH_LEVEL. */
KPRCB_API VOID KeReleaseQueuedSpinLock(KSPIN_LOCK_QUEUE_NUMBER Number, KIRQL OldIrql);

/*
 * KeTryToAcquireQueuedSpinLock (WDK: same). One attempt: owns only if nobody owns or waits. IRQL <= DISPATCH_LEVEL.
 * TRUE: IRQL is DISPATCH_LEVEL and *OldIrql holds the level before. FALSE: nothing changed.
 */
KPRCB_API LOGICAL KeTryToAcquireQueuedSpinLock(KSPIN_LOCK_QUEUE_NUMBER Number, PKIRQL OldIrql);

/* KeAcquireQueuedSpinLockRaiseToSynch (WDK: same). As KeAcquireQueuedSpinLock, to SYNCH_LEVEL. IRQL <= SYNCH_LEVEL. */
KPRCB_API KIRQL KeAcquireQueuedSpinLockRaiseToSynch(KSPIN_LOCK_QUEUE_NUMBER Number);

#ifdef __cplusplus
}
#endif

#endif
