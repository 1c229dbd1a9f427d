/*
 * dpc.c - a DPC waits for the level to fall, runs once for each insert that took it, and can go to another processor; a
 * threaded one runs at PASSIVE_LEVEL; a generic call runs on all processors and waits for them.
 */
#include <kprcb/dpc.h>
#include <kprcb/machine.h>
#include <kprcb/processor.h>
#include <stdio.h>

static ULONG Runs;
static ULONG RanOn;
static KIRQL RanAt;
static ULONG volatile Everywhere;

static VOID Routine(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    (void)Dpc, (void)DeferredContext, (void)SystemArgument1, (void)SystemArgument2;
    Runs++;
    RanOn = KeGetCurrentProcessorIndex();
    RanAt = KeGetCurrentIrql();
}

static VOID CallRoutine(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    (void)Dpc, (void)DeferredContext;
    __atomic_fetch_add(&Everywhere, 1, __ATOMIC_RELAXED);
    if (KeSignalCallDpcSynchronize(SystemArgument2)) {
        printf("all %u processors have come\n", (unsigned)Everywhere);
    }
    KeSignalCallDpcDone(SystemArgument1);
}

int main(void)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 2};
    KPRCB_DPC_RUNTIME Times[4];
    PROCESSOR_NUMBER Target;
    KDPC Dpc;
    KIRQL OldIrql;
    ULONG Count;
    BOOLEAN First;
    BOOLEAN Second;

    if (!NT_SUCCESS(KprcbStart(&Config)) || !NT_SUCCESS(KprcbAttachThread(0))) {
        return 1;
    }
    KeInitializeDpc(&Dpc, Routine, NULL);

    OldIrql = KeRaiseIrqlToDpcLevel();
    First = KeInsertQueueDpc(&Dpc, NULL, NULL);
    Second = KeInsertQueueDpc(&Dpc, NULL, NULL);
    printf("queued: %u, queued again: %u, runs at DISPATCH_LEVEL: %u\n", First, Second, (unsigned)Runs);
    KeLowerIrql(OldIrql);
    printf("runs after lowering: %u\n", (unsigned)Runs);

    KeGetProcessorNumberFromIndex(1, &Target);
    KeSetTargetProcessorDpcEx(&Dpc, &Target);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
    printf("runs after the flush: %u, the last on processor %u\n", (unsigned)Runs, (unsigned)RanOn);
    if (Runs != 2 || RanOn != 1 || RanAt != DISPATCH_LEVEL) {
        return 1;
    }

    KeInitializeThreadedDpc(&Dpc, Routine, NULL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
    printf("a threaded one ran at level %u\n", (unsigned)RanAt);

    KprcbSetDpcHistory(TRUE);
    KeGenericCallDpc(CallRoutine, NULL);
    KprcbQueryDpcHistory(1, Times, ARRAYSIZE(Times), &Count);
    printf("routines timed on processor 1: %u, the first for %llu ns\n", (unsigned)Count,
           (unsigned long long)(Count != 0 ? Times[0].TotalTime : 0));
    return Runs != 3 || RanAt != PASSIVE_LEVEL || Everywhere != 2;
}
