/*
 * queuedlock.c - queued spin locks, in-stack and numbered: the queue of Mellor-Crummey and Scott.
 *
 *   word             written by                                              read by                    ordering
 *   lock             the arriving node, exchange; NULL by the last owner,    anyone (display)           acq_rel; release
 *                    compare-exchange
 *   Node->Next       the successor, store                                    the node's owner           release / acquire
 *   Node->Lock       the node's thread until it queues; then the             the node's thread          release / acquire
 *                    predecessor, once: WAIT -> OWNER; then the node's thread
 *
 * Arrival is the exchange: who came first there owns first. A released node with a successor that has exchanged but
 * not linked yet waits for the link.
 *
 * On a uniprocessor machine there is no queue: a node owns at once, and the lock's word is left alone.
 *
 * Since only the owner of a processor spins, at most one thread a processor does; so a queue stays short however many
 * threads want the lock. Threads that fight for it where they outnumber processors or CPUs take turns below
 * DISPATCH_LEVEL (contention.c).
 *
 * Tests: tests/ke/test_queuedlock.c, tests/stress/stress_queuedlock.c.
 */
#include "ki.h"

#define KI_QUEUE_FLAGS ((ULONG_PTR)(LOCK_QUEUE_WAIT | LOCK_QUEUE_OWNER))
#define KI_QUEUE_PAUSES 256
#define KI_CROWDED_PAUSES 32

static inline PKSPIN_LOCK KiNodeLock(PKSPIN_LOCK_QUEUE Node)
{
    return (PKSPIN_LOCK)((ULONG_PTR)__atomic_load_n(&Node->Lock, __ATOMIC_RELAXED) & ~KI_QUEUE_FLAGS);
}

static inline PKSPIN_LOCK KiFlagLock(PKSPIN_LOCK SpinLock, ULONG_PTR Flags)
{
    return (PKSPIN_LOCK)((ULONG_PTR)SpinLock | Flags);
}

static inline PVOID KiHeldNode(PKSPIN_LOCK_QUEUE Node)
{
    return (PVOID)((ULONG_PTR)Node | 1);
}

static inline BOOLEAN KiNodeWaits(PKSPIN_LOCK_QUEUE Node)
{
    return ((ULONG_PTR)__atomic_load_n(&Node->Lock, __ATOMIC_ACQUIRE) & LOCK_QUEUE_WAIT) != 0;
}

/* Returns how often it looked. */
static ULONG KiAwaitTurn(PKSPIN_LOCK_QUEUE Node, BOOLEAN Holding)
{
    KI_SPIN Spin = {.Reason = "a queued spin lock", .Object = KiNodeLock(Node), .Holding = Holding};
    ULONG Most = KiIsCrowded() ? KI_CROWDED_PAUSES : KI_QUEUE_PAUSES;

    for (ULONG Pauses = 0; Pauses < Most; Pauses += 1) {
        if (!KiNodeWaits(Node)) {
            return Pauses;
        }
        HalPause();
    }
    while (KiNodeWaits(Node)) {
        KiSpin(&Spin);
    }
    KiEndSpin(&Spin);
    return Most + Spin.Steps;
}

VOID KfAwaitSpinLockQueue(PKSPIN_LOCK_QUEUE Node)
{
    ULONGLONG Begin = KiBeginWait(&KprcbThread);
    ULONG Spins = KiAwaitTurn(Node, FALSE);

    KiEndWait(&KprcbThread, KiNodeLock(Node), Begin, Spins);
}

/* Says OWNER from the start: nobody else looks at Lock before the node is linked. */
static inline VOID KiEnqueue(PKSPIN_LOCK SpinLock, PKSPIN_LOCK_QUEUE Node)
{
    PKSPIN_LOCK_QUEUE Before;

    Node->Next = NULL;
    __atomic_store_n(&Node->Lock, KiFlagLock(SpinLock, LOCK_QUEUE_OWNER), __ATOMIC_RELAXED);
    if (__builtin_expect(KiMachine.Uniprocessor, 0)) {
        return;
    }
    Before = (PKSPIN_LOCK_QUEUE)__atomic_exchange_n(SpinLock, (KSPIN_LOCK)Node, __ATOMIC_ACQ_REL);
    if (__builtin_expect(Before != NULL, 0)) {
        KprcbJoinSpinLockQueue(SpinLock, Node, Before);
    }
}

/* All cases; the thread is at DISPATCH_LEVEL or above. */
static VOID KiAcquireQueuedLock(KPRCB_THREAD_BLOCK *Block, PKSPIN_LOCK SpinLock, PKSPIN_LOCK_QUEUE Node)
{
    if (Block->HeldCount != 0 && Block->Checked && KiIsLockHeld(Block, SpinLock)) {
        KeBugCheckEx(SPIN_LOCK_ALREADY_OWNED, (ULONG_PTR)SpinLock, (ULONG_PTR)Node, 0, 0);
    }
    Node->Lock = SpinLock;
    KiHoldLock(Block, KiHeldNode(Node));
    KiEnqueue(SpinLock, Node);
}

static __attribute__((noinline)) PKSPIN_LOCK_QUEUE KiAwaitSuccessor(PKSPIN_LOCK_QUEUE Node)
{
    KI_SPIN Spin = {.Reason = "the successor in a queued spin lock", .Object = KiNodeLock(Node), .Holding = TRUE};
    PKSPIN_LOCK_QUEUE Next;

    while ((Next = __atomic_load_n(&Node->Next, __ATOMIC_ACQUIRE)) == NULL) {
        KiSpin(&Spin);
    }
    KiEndSpin(&Spin);
    return Next;
}

static inline VOID KiDequeue(PKSPIN_LOCK SpinLock, PKSPIN_LOCK_QUEUE Node)
{
    PKSPIN_LOCK_QUEUE Next = __atomic_load_n(&Node->Next, __ATOMIC_ACQUIRE);

    __atomic_store_n(&Node->Lock, SpinLock, __ATOMIC_RELAXED);
    if (__builtin_expect(KiMachine.Uniprocessor, 0)) {
        return;
    }
    if (Next == NULL) {
        KSPIN_LOCK Last = (KSPIN_LOCK)Node;

        if (__atomic_compare_exchange_n(SpinLock, &Last, 0, FALSE, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
            return;
        }
        Next = KiAwaitSuccessor(Node);
    }
    __atomic_store_n(&Next->Lock, KiFlagLock(SpinLock, LOCK_QUEUE_OWNER), __ATOMIC_RELEASE);
}

/*
 * All cases. A handle that was released keeps its flags; that it is not recorded any more tells. It is recorded until
 * the lock has been handed over, so that a bug check in what is polled meanwhile hands it over too.
 */
static VOID KiReleaseQueuedLock(KPRCB_THREAD_BLOCK *Block, PKSPIN_LOCK_QUEUE Node)
{
    if (KiCheckHeld(Block, KiHeldNode(Node))) {
        KiDequeue(KiNodeLock(Node), Node);
        KiForgetLock(Block, KiHeldNode(Node));
    }
}

VOID KiPassQueuedLock(PKSPIN_LOCK_QUEUE Node)
{
    (VOID) KiAwaitTurn(Node, TRUE);
    KiDequeue(KiNodeLock(Node), Node);
}

VOID KfAcquireInStackQueuedSpinLock(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle)
{
    LockHandle->OldIrql = KeRaiseIrqlToDpcLevel();
    KiAcquireQueuedLock(&KprcbThread, SpinLock, &LockHandle->LockQueue);
}

VOID KfReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE LockHandle)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiReleaseQueuedLock(Block, &LockHandle->LockQueue);
    KeLowerIrql(LockHandle->OldIrql);
}

VOID KeAcquireInStackQueuedSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiAcquireQueuedLock(Block, SpinLock, &LockHandle->LockQueue);
}

VOID KeReleaseInStackQueuedSpinLockFromDpcLevel(PKLOCK_QUEUE_HANDLE LockHandle)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiReleaseQueuedLock(Block, &LockHandle->LockQueue);
}

VOID KeAcquireInStackQueuedSpinLockForDpc(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle)
{
    KfAcquireInStackQueuedSpinLock(SpinLock, LockHandle);
}

VOID KeReleaseInStackQueuedSpinLockForDpc(PKLOCK_QUEUE_HANDLE LockHandle)
{
    KfReleaseInStackQueuedSpinLock(LockHandle);
}

static PKSPIN_LOCK_QUEUE KiNumberedNode(KPRCB_THREAD_BLOCK *Block, KSPIN_LOCK_QUEUE_NUMBER Number)
{
    if ((ULONG)Number >= LockQueueMaximumLock) {
        KeBugCheckEx(SPIN_LOCK_INIT_FAILURE, (ULONG_PTR)Number, LockQueueMaximumLock, 0, 0);
    }
    return &Block->Pcr->PrcbData.LockQueue[Number];
}

static VOID KiAcquireNumberedLock(KSPIN_LOCK_QUEUE_NUMBER Number)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    PKSPIN_LOCK_QUEUE Node = KiNumberedNode(Block, Number);

    if (((ULONG_PTR)__atomic_load_n(&Node->Lock, __ATOMIC_RELAXED) & KI_QUEUE_FLAGS) != 0) {
        KeBugCheckEx(SPIN_LOCK_ALREADY_OWNED, (ULONG_PTR)KiNodeLock(Node), (ULONG_PTR)Node, 0, 0);
    }
    KiAcquireQueuedLock(Block, KiNodeLock(Node), Node);
}

KIRQL KeAcquireQueuedSpinLock(KSPIN_LOCK_QUEUE_NUMBER Number)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    KiAcquireNumberedLock(Number);
    return OldIrql;
}

KIRQL KeAcquireQueuedSpinLockRaiseToSynch(KSPIN_LOCK_QUEUE_NUMBER Number)
{
    KIRQL OldIrql = KeRaiseIrqlToSynchLevel();

    KiAcquireNumberedLock(Number);
    return OldIrql;
}

VOID KeReleaseQueuedSpinLock(KSPIN_LOCK_QUEUE_NUMBER Number, KIRQL OldIrql)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiReleaseQueuedLock(Block, KiNumberedNode(Block, Number));
    KeLowerIrql(OldIrql);
}

LOGICAL KeTryToAcquireQueuedSpinLock(KSPIN_LOCK_QUEUE_NUMBER Number, PKIRQL OldIrql)
{
    KIRQL Irql = KeRaiseIrqlToDpcLevel();
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    PKSPIN_LOCK_QUEUE Node = KiNumberedNode(Block, Number);
    PKSPIN_LOCK SpinLock = KiNodeLock(Node);
    KSPIN_LOCK Free = 0;

    /* A node that owns or waits is in use by the caller itself: the lock is busy. */
    if (((ULONG_PTR)__atomic_load_n(&Node->Lock, __ATOMIC_RELAXED) & KI_QUEUE_FLAGS) == 0) {
        Node->Next = NULL;
        if (KiMachine.Uniprocessor ||
            __atomic_compare_exchange_n(SpinLock, &Free, (KSPIN_LOCK)Node, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            Node->Lock = KiFlagLock(SpinLock, LOCK_QUEUE_OWNER);
            KiHoldLock(Block, KiHeldNode(Node));
            *OldIrql = Irql;
            return TRUE;
        }
    }
    KeLowerIrql(Irql);
    return FALSE;
}
