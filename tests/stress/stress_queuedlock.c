/*
 * stress_queuedlock.c - queued spin locks under contention, in-stack and numbered, the forms of each mixed on one
 * lock.
 */
#include "lockharness.h"

#define NUMBER LockQueueMasterLock

static DECLSPEC_ALIGN(KPRCB_CACHE_LINE) KSPIN_LOCK Lock;

static void AcquireInStack(LOCK_WORKER *Worker, ULONG Form)
{
    Worker->Old = KeGetCurrentIrql();
    if (Worker->Old == DISPATCH_LEVEL && Form % 3 == 0) {
        KeAcquireInStackQueuedSpinLockAtDpcLevel(&Lock, &Worker->Handle);
    } else if (Form % 3 == 1) {
        KeAcquireInStackQueuedSpinLockForDpc(&Lock, &Worker->Handle);
    } else {
        KeAcquireInStackQueuedSpinLock(&Lock, &Worker->Handle);
    }
}

static void ReleaseInStack(LOCK_WORKER *Worker, ULONG Form)
{
    if (Worker->Old == DISPATCH_LEVEL && Form % 3 == 0) {
        KeReleaseInStackQueuedSpinLockFromDpcLevel(&Worker->Handle);
    } else if (Form % 3 == 1) {
        KeReleaseInStackQueuedSpinLockForDpc(&Worker->Handle);
    } else {
        KeReleaseInStackQueuedSpinLock(&Worker->Handle);
    }
}

static PKSPIN_LOCK_QUEUE InStackNode(LOCK_WORKER *Worker)
{
    return &Worker->Handle.LockQueue;
}

static PKSPIN_LOCK InStackWord(void)
{
    return &Lock;
}

static void AcquireNumbered(LOCK_WORKER *Worker, ULONG Form)
{
    if (Form % 4 == 0 && KeTryToAcquireQueuedSpinLock(NUMBER, &Worker->Old)) {
        return;
    }
    if (Form % 4 == 1) {
        Worker->Old = KeAcquireQueuedSpinLockRaiseToSynch(NUMBER);
    } else {
        Worker->Old = KeAcquireQueuedSpinLock(NUMBER);
    }
}

static void ReleaseNumbered(LOCK_WORKER *Worker, ULONG Form)
{
    (void)Form;
    KeReleaseQueuedSpinLock(NUMBER, Worker->Old);
}

static PKSPIN_LOCK_QUEUE NumberedNode(LOCK_WORKER *Worker)
{
    (void)Worker;
    return &KeGetCurrentPrcb()->LockQueue[NUMBER];
}

static PKSPIN_LOCK NumberedWord(void)
{
    return (PKSPIN_LOCK)((ULONG_PTR)KeGetCurrentPrcb()->LockQueue[NUMBER].Lock & ~(ULONG_PTR)3);
}

int main(void)
{
    static const LOCK_KIND Kinds[] = {
        {"in-stack queued spin lock", AcquireInStack, ReleaseInStack, InStackNode, InStackWord},
        {"numbered queued spin lock", AcquireNumbered, ReleaseNumbered, NumberedNode, NumberedWord},
    };

    return StressLockKinds(Kinds, 2);
}
