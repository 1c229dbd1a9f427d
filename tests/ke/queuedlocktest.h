/*
 * queuedlocktest.h - what the tests of queued spin locks share: the machine, the forms of acquire and release,
 * threads that queue one by one, a thread that holds the lock.
 */
#ifndef QUEUEDLOCKTEST_H
#define QUEUEDLOCKTEST_H

#include <string.h>

#include "support/support.h"

#define PROCESSORS 8 /* more than most hosts have for a test: queues of spinners that share CPUs are part of it */
#define UNWRITTEN 0xEE
#define NUMBER LockQueueMasterLock

static ULONG MachineFlags;
static KSPIN_LOCK Lock;

static inline int SetUp(void **State)
{
    (void)State;
    StartMachine(PROCESSORS, MachineFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    return 0;
}

static inline int TearDown(void **State)
{
    (void)State;
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_int_equal(Lock, 0);
    StopMachine();
    return 0;
}

static inline PKPRCB Processor(ULONG Index)
{
    return &(CONTAINING_RECORD(KeGetPcr()->Prcb, KPCR, PrcbData) - KeGetCurrentPrcb()->Number + Index)->PrcbData;
}

static inline KSPIN_LOCK LockWord(PKSPIN_LOCK SpinLock)
{
    return __atomic_load_n(SpinLock, __ATOMIC_ACQUIRE);
}

static inline ULONG_PTR NodeLock(PKSPIN_LOCK_QUEUE Node)
{
    return (ULONG_PTR)__atomic_load_n(&Node->Lock, __ATOMIC_ACQUIRE);
}

static inline PKSPIN_LOCK_QUEUE NodeNext(PKSPIN_LOCK_QUEUE Node)
{
    return __atomic_load_n(&Node->Next, __ATOMIC_ACQUIRE);
}

static inline PKSPIN_LOCK NumberedLock(ULONG Number)
{
    return (PKSPIN_LOCK)(NodeLock(&Processor(0)->LockQueue[Number]) & ~(ULONG_PTR)3);
}

/* --- The forms. A visit is one acquire with its release; Node is where it queues --- */

typedef struct {
    PKSPIN_LOCK SpinLock;
    PKSPIN_LOCK_QUEUE Node;
    KLOCK_QUEUE_HANDLE Handle;
    KIRQL Old; /* level before the acquire, as the form tells it */
} VISIT;

static inline void AcquireRaising(VISIT *Visit)
{
    KeAcquireInStackQueuedSpinLock(&Lock, &Visit->Handle);
    Visit->Old = Visit->Handle.OldIrql;
}

static inline void ReleaseLowering(VISIT *Visit)
{
    KeReleaseInStackQueuedSpinLock(&Visit->Handle);
}

static inline void AcquireForDpc(VISIT *Visit)
{
    KeAcquireInStackQueuedSpinLockForDpc(&Lock, &Visit->Handle);
    Visit->Old = Visit->Handle.OldIrql;
}

static inline void ReleaseForDpc(VISIT *Visit)
{
    KeReleaseInStackQueuedSpinLockForDpc(&Visit->Handle);
}

static inline void AcquireAtDpcLevel(VISIT *Visit)
{
    Visit->Old = KeGetCurrentIrql();
    KeAcquireInStackQueuedSpinLockAtDpcLevel(&Lock, &Visit->Handle);
}

static inline void ReleaseFromDpcLevel(VISIT *Visit)
{
    KeReleaseInStackQueuedSpinLockFromDpcLevel(&Visit->Handle);
}

static inline void AcquireNumbered(VISIT *Visit)
{
    Visit->Old = KeAcquireQueuedSpinLock(NUMBER);
}

static inline void AcquireToSynch(VISIT *Visit)
{
    Visit->Old = KeAcquireQueuedSpinLockRaiseToSynch(NUMBER);
}

static inline void AcquireTrying(VISIT *Visit)
{
    if (!KeTryToAcquireQueuedSpinLock(NUMBER, &Visit->Old)) {
        abort();
    }
}

static inline void ReleaseNumbered(VISIT *Visit)
{
    KeReleaseQueuedSpinLock(NUMBER, Visit->Old);
}

typedef struct {
    void (*Acquire)(VISIT *Visit);
    void (*Release)(VISIT *Visit);
    KIRQL Lowest, Highest, Held; /* levels of the acquire; the least level while held */
    BOOLEAN Numbered, Tries;
} FORM;

static const FORM Forms[] = {
    {AcquireRaising, ReleaseLowering, PASSIVE_LEVEL, DISPATCH_LEVEL, DISPATCH_LEVEL, FALSE, FALSE},
    {AcquireForDpc, ReleaseForDpc, PASSIVE_LEVEL, DISPATCH_LEVEL, DISPATCH_LEVEL, FALSE, FALSE},
    {AcquireAtDpcLevel, ReleaseFromDpcLevel, DISPATCH_LEVEL, HIGH_LEVEL, DISPATCH_LEVEL, FALSE, FALSE},
    {AcquireNumbered, ReleaseNumbered, PASSIVE_LEVEL, DISPATCH_LEVEL, DISPATCH_LEVEL, TRUE, FALSE},
    {AcquireToSynch, ReleaseNumbered, PASSIVE_LEVEL, SYNCH_LEVEL, SYNCH_LEVEL, TRUE, FALSE},
    {AcquireTrying, ReleaseNumbered, PASSIVE_LEVEL, DISPATCH_LEVEL, DISPATCH_LEVEL, TRUE, TRUE},
};

#define FORMS (sizeof(Forms) / sizeof(Forms[0]))

/* Names lock and node for the calling thread, which stays on its processor. */
static inline void PrepareVisit(const FORM *Form, VISIT *Visit)
{
    memset(Visit, 0xA5, sizeof(*Visit));
    Visit->SpinLock = Form->Numbered ? NumberedLock(NUMBER) : &Lock;
    Visit->Node = Form->Numbered ? &KeGetCurrentPrcb()->LockQueue[NUMBER] : &Visit->Handle.LockQueue;
    Visit->Old = UNWRITTEN;
}

/* A processor's node is used again, so it must not say that it owns. A handle's is the caller's again. */
static inline void ExpectNodeAtRest(const FORM *Form, VISIT *Visit)
{
    if (Form->Numbered) {
        assert_true(NodeLock(Visit->Node) == (ULONG_PTR)Visit->SpinLock);
    }
}

/* --- Threads that queue one by one --- */

typedef struct {
    const FORM *Form;
    ULONG Processor;
    KIRQL Base;
    ULONG volatile *Order; /* counts owners; guarded by the lock */
    ULONG volatile Prepared;
    VISIT Visit;
    ULONG Turn;
    ULONG_PTR LockWhileOwned; /* of the node */
    KIRQL LevelAfter;
    KPRCB_BUGCHECK BugCheck;
    BOOLEAN Caught;
    KPRCB_THREAD_BLOCK *Block;
} WAITER;

static inline VOID WaitOnce(PVOID Context)
{
    WAITER *Waiter = Context;

    Waiter->Form->Acquire(&Waiter->Visit);
    Waiter->LockWhileOwned = NodeLock(Waiter->Visit.Node);
    Waiter->Turn = *Waiter->Order;
    *Waiter->Order = Waiter->Turn + 1;
    Waiter->Form->Release(&Waiter->Visit);
}

static inline void *QueueForLock(void *Context)
{
    WAITER *Waiter = Context;
    KIRQL Base;

    if (KprcbAttachThread(Waiter->Processor) != STATUS_SUCCESS) {
        abort();
    }
    PrepareVisit(Waiter->Form, &Waiter->Visit);
    CountOne(&Waiter->Prepared);
    KeRaiseIrql(Waiter->Base, &Base);
    WaitOnce(Waiter);
    Waiter->LevelAfter = KeGetCurrentIrql();
    KeLowerIrql(Base);
    return NULL;
}

static inline void *QueueAndCatch(void *Context)
{
    WAITER *Waiter = Context;

    if (KprcbAttachThread(Waiter->Processor) != STATUS_SUCCESS) {
        abort();
    }
    PrepareVisit(Waiter->Form, &Waiter->Visit);
    Waiter->Block = &KprcbThread;
    CountOne(&Waiter->Prepared);
    Waiter->Caught = KprcbCatchBugCheck(WaitOnce, Waiter, &Waiter->BugCheck);
    Waiter->LevelAfter = KeGetCurrentIrql();
    return NULL;
}

/* Starts a waiter and returns once it is the last of the queue, after Before. */
static inline pthread_t StartWaiter(WAITER *Waiter, void *(*Routine)(void *), PKSPIN_LOCK_QUEUE Before)
{
    pthread_t Thread = StartThread(Routine, Waiter);

    AwaitCount(&Waiter->Prepared, 1);
    while (LockWord(Waiter->Visit.SpinLock) != (KSPIN_LOCK)Waiter->Visit.Node ||
           NodeNext(Before) != Waiter->Visit.Node) {
        sched_yield();
    }
    return Thread;
}

typedef struct {
    const FORM *Form;
    VISIT Visit;
    ULONG volatile Owns, Go, Done;
} OWNER;

static inline void *OwnThenRelease(void *Context)
{
    OWNER *Owner = Context;

    if (KprcbAttachThread(1) != STATUS_SUCCESS) {
        abort();
    }
    KeRaiseIrqlToDpcLevel();
    PrepareVisit(Owner->Form, &Owner->Visit);
    Owner->Form->Acquire(&Owner->Visit);
    CountOne(&Owner->Owns);
    while (__atomic_load_n(&Owner->Go, __ATOMIC_ACQUIRE) == 0) {
        sched_yield(); /* not YieldProcessor: the first poll after this is the one in the release */
    }
    Owner->Form->Release(&Owner->Visit);
    CountOne(&Owner->Done);
    KeLowerIrql(PASSIVE_LEVEL);
    return NULL;
}

static inline VOID Pong(PKIPI_CONTEXT PacketContext, PVOID Parameter1, PVOID Parameter2, PVOID Parameter3)
{
    (void)Parameter1, (void)Parameter2, (void)Parameter3;
    KiIpiSignalPacketDone(PacketContext);
}

#endif
