/*
 * stress_spinlock.c - KSPIN_LOCK under contention, all forms mixed on one lock.
 */
#include "lockharness.h"

static DECLSPEC_ALIGN(KPRCB_CACHE_LINE) KSPIN_LOCK Lock;

/* At DISPATCH_LEVEL every form will do; below it, those that raise. */
static void Acquire(LOCK_WORKER *Worker, ULONG Form)
{
    if (KeGetCurrentIrql() < DISPATCH_LEVEL) {
        if (Form % 2 == 0) {
            KeAcquireSpinLock(&Lock, &Worker->Old);
        } else {
            Worker->Old = KeAcquireSpinLockForDpc(&Lock);
        }
        return;
    }
    Worker->Old = DISPATCH_LEVEL;
    switch (Form % 3) {
    case 0:
        KeAcquireSpinLockAtDpcLevel(&Lock);
        break;
    case 1:
        while (!KeTryToAcquireSpinLockAtDpcLevel(&Lock)) {
            YieldProcessor();
        }
        break;
    default:
        Worker->Old = KeAcquireSpinLockRaiseToDpc(&Lock);
    }
}

static void Release(LOCK_WORKER *Worker, ULONG Form)
{
    if (Worker->Old == DISPATCH_LEVEL && Form % 3 != 2) {
        KeReleaseSpinLockFromDpcLevel(&Lock);
    } else if (Form % 2 == 0) {
        KeReleaseSpinLock(&Lock, Worker->Old);
    } else {
        KeReleaseSpinLockForDpc(&Lock, Worker->Old);
    }
}

static PKSPIN_LOCK Word(void)
{
    return &Lock;
}

int main(void)
{
    static const LOCK_KIND Kinds[] = {{"spin lock", Acquire, Release, NULL, Word}};

    return StressLockKinds(Kinds, 1);
}
