/*
 * native.cpp - kprcb.h in C++: each inline routine and macro is used once. Compiled, not run.
 */
#include <kprcb/kprcb.h>

#include <string>
#include <vector>

static VOID Deferred(PKDPC, PVOID, PVOID, PVOID)
{
}

ULONG UseEverything();

ULONG UseEverything()
{
    KSPIN_LOCK Lock;
    KIRQL OldIrql;
    KDPC Dpc;
    KLOCK_QUEUE_HANDLE Handle;
    KPRCB_CONFIG Config = {};

    Config.Size = sizeof(Config);
    KprcbStart(&Config);
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &OldIrql);
    KeReleaseSpinLock(&Lock, OldIrql);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeMemoryBarrier();
    YieldProcessor();
    KeLowerIrql(OldIrql);
    OldIrql = KeRaiseIrqlToSynchLevel();
    KeLowerIrql(OldIrql);
    KeInitializeDpc(&Dpc, Deferred, nullptr);
    KeAcquireInStackQueuedSpinLock(&Lock, &Handle);
    KeReleaseInStackQueuedSpinLock(&Handle);
    return KeGetCurrentPrcb()->Number + KeGetCurrentProcessorIndex() + (KeTestSpinLock(&Lock) ? 1 : 0) +
           (KeGetCurrentThread() != nullptr ? 1 : 0);
}
