/*
 * tour.c - `kprcb tour`: boots a machine and does a few things on it, each to be seen in the KPRCB.
 *
 * No threads but the machine's own and the caller's: what runs on other processors gets there as a DPC or an IPI.
 * Every word that one processor writes for another has one writer, and is read after KeFlushQueuedDpcs or
 * KeIpiGenericCall has returned; counters are read-modify-write. Test: tests/kd/test_command.c.
 */
#include "tour.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_PROCESSORS 4

static BOOLEAN KdTourLook(PKD_TOUR Tour)
{
    for (ULONG Index = 0; Index < Tour->Processors; Index++) {
        KD_TOUR_PROCESSOR *Block = &Tour->Block[Index];
        PKPCR Address;
        PKPCR Copy = KdSnapshot(Index, &Address);
        const KPRCB *Prcb;

        if (Copy == NULL) {
            return FALSE;
        }
        Prcb = &Copy->PrcbData;
        Block->Prcb = Copy->Prcb;
        Block->Number = Prcb->Number;
        Block->Group = Prcb->Group;
        Block->GroupIndex = Prcb->GroupIndex;
        Block->HostProcessor = Copy->HostProcessor;
        memcpy(Block->VendorString, Prcb->VendorString, sizeof(Block->VendorString));
        Block->CpuVendor = Prcb->CpuVendor;
        Block->CpuID = (UCHAR)Prcb->CpuID;
        Block->CpuType = (UCHAR)Prcb->CpuType;
        Block->CpuModel = Prcb->CpuModel;
        Block->CpuStepping = Prcb->CpuStepping;
        Block->MHz = Prcb->MHz;
        Block->CFlushSize = Prcb->CFlushSize;
        Block->Cores = Prcb->CoresPerPhysicalProcessor;
        Block->InitialApicId = Prcb->InitialApicId;
        Tour->BuildType = Prcb->BuildType;
        free(Copy);
    }
    return TRUE;
}

/* --- raise and lower, with a DPC waiting in between --- */

static VOID KdTourHomeDpc(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    PKD_TOUR Tour = DeferredContext;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(SystemArgument1);
    UNREFERENCED_PARAMETER(SystemArgument2);
    __atomic_add_fetch(&Tour->Ran, 1, __ATOMIC_SEQ_CST);
}

static void KdTourLevel(PKD_TOUR Tour, KD_TOUR_LEVEL *Level)
{
    PKPRCB Prcb = KeGetCurrentPrcb();
    PKTHREAD Thread = __atomic_load_n(&Prcb->CurrentThread, __ATOMIC_RELAXED);

    Level->Irql = KeGetCurrentIrql();
    Level->Current = Thread == KeGetCurrentThread();
    Level->Idle = Thread == Prcb->IdleThread;
    Level->DpcCount = __atomic_load_n(&Prcb->DpcData[DPC_NORMAL].DpcCount, __ATOMIC_RELAXED);
    Level->Ran = __atomic_load_n(&Tour->Ran, __ATOMIC_SEQ_CST);
}

static void KdTourRaise(PKD_TOUR Tour)
{
    GROUP_AFFINITY Previous;
    KIRQL OldIrql;

    Tour->Home = Tour->Processors - 1;
    KdHop(Tour->Home, &Previous);
    KeInitializeDpc(&Tour->HomeDpc, KdTourHomeDpc, Tour);
    KdTourLevel(Tour, &Tour->Before);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeInsertQueueDpc(&Tour->HomeDpc, NULL, NULL);
    KdTourLevel(Tour, &Tour->Raised);
    KeLowerIrql(OldIrql);
    KdTourLevel(Tour, &Tour->After);
    KdHopBack(&Previous);
}

/* --- a DPC to each processor --- */

static VOID KdTourDpc(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    KD_TOUR_DPC *Found = DeferredContext;
    PKPRCB Prcb = KeGetCurrentPrcb();

    UNREFERENCED_PARAMETER(SystemArgument1);
    UNREFERENCED_PARAMETER(SystemArgument2);
    Found->RanOn = KeGetCurrentProcessorIndex();
    Found->Irql = KeGetCurrentIrql();
    Found->Active = Prcb->DpcRoutineActive;
    Found->Own = Prcb->DpcData[DPC_NORMAL].ActiveDpc == Dpc;
    Found->Idle = Prcb->CurrentThread == Prcb->IdleThread;
    Found->DpcCount = Prcb->DpcData[DPC_NORMAL].DpcCount;
    Found->DpcStack = Prcb->DpcStack;
}

static void KdTarget(PKDPC Dpc, ULONG Index)
{
    PROCESSOR_NUMBER Number;

    if (NT_SUCCESS(KeGetProcessorNumberFromIndex(Index, &Number))) {
        KeSetTargetProcessorDpcEx(Dpc, &Number);
    }
    KeSetImportanceDpc(Dpc, HighImportance);
}

static void KdTourDpcs(PKD_TOUR Tour)
{
    for (ULONG Index = 0; Index < Tour->Processors; Index++) {
        KD_TOUR_DPC *Found = &Tour->Dpc[Index];

        Found->RanOn = KD_NOWHERE;
        KeInitializeDpc(&Found->Dpc, KdTourDpc, Found);
        KdTarget(&Found->Dpc, Index);
        KeInsertQueueDpc(&Found->Dpc, NULL, NULL);
    }
    KeFlushQueuedDpcs();
}

/* --- a broadcast --- */

static ULONG_PTR KdTourBroadcast(ULONG_PTR Context)
{
    PKD_TOUR Tour = (PKD_TOUR)Context;
    PKPRCB Prcb = KeGetCurrentPrcb();
    KD_TOUR_IPI *Found = &Tour->Ipi[KeGetCurrentProcessorIndex()];

    Found->Number = Prcb->Number;
    Found->Irql = KeGetCurrentIrql();
    Found->Arrival = __atomic_fetch_add(&Tour->Arrivals, 1, __ATOMIC_RELAXED);
    return Prcb->Number;
}

/* --- a queued lock, handed over --- */

static VOID KdTourWaiter(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    PKD_TOUR Tour = DeferredContext;
    KD_TOUR_WAITER *Waiter = SystemArgument1;
    KIRQL OldIrql = KeAcquireQueuedSpinLock(KD_TOUR_LOCK);

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(SystemArgument2);
    Waiter->Owned = __atomic_fetch_add(&Tour->Turns, 1, __ATOMIC_RELAXED);
    KeReleaseQueuedSpinLock(KD_TOUR_LOCK, OldIrql);
}

static PKSPIN_LOCK_QUEUE KdTourEntry(PKD_TOUR Tour, ULONG Waiter)
{
    return &Tour->Block[Tour->Waiter[Waiter].Processor].Prcb->LockQueue[KD_TOUR_LOCK];
}

/* Which waiter's entry is at Address. */
static ULONG KdTourOwner(PKD_TOUR Tour, PKSPIN_LOCK_QUEUE Address)
{
    for (ULONG Index = 0; Index < Tour->Waiters; Index++) {
        if (KdTourEntry(Tour, Index) == Address) {
            return Tour->Waiter[Index].Processor;
        }
    }
    return KD_NOWHERE;
}

/*
 * The caller owns the lock and lets the others queue one after the other: the next is sent when the Next member of the
 * one before has been written. All the while it stays at DISPATCH_LEVEL, polling by YieldProcessor.
 */
static void KdTourHandOver(PKD_TOUR Tour)
{
    GROUP_AFFINITY Previous;
    KIRQL OldIrql;

    if (Tour->Processors < 2) {
        return;
    }
    KdHop(0, &Previous);
    Tour->Waiters = Tour->Processors < KD_TOUR_QUEUE ? Tour->Processors : KD_TOUR_QUEUE;
    OldIrql = KeAcquireQueuedSpinLock(KD_TOUR_LOCK);
    Tour->Waiter[0].Owned = __atomic_fetch_add(&Tour->Turns, 1, __ATOMIC_RELAXED);
    Tour->Waiter[0].Processor = KeGetCurrentProcessorIndex();
    for (ULONG Index = 1; Index < Tour->Waiters; Index++) {
        KD_TOUR_WAITER *Waiter = &Tour->Waiter[Index];

        /* From the last processor down, so that the order is not the one of their numbers. */
        Waiter->Processor = Tour->Waiters - Index;
        KeInitializeDpc(&Waiter->Dpc, KdTourWaiter, Tour);
        KdTarget(&Waiter->Dpc, Waiter->Processor);
        KeInsertQueueDpc(&Waiter->Dpc, Waiter, NULL);
        while (__atomic_load_n(&KdTourEntry(Tour, Index - 1)->Next, __ATOMIC_ACQUIRE) == NULL) {
            YieldProcessor();
        }
    }
    for (ULONG Index = 0; Index < Tour->Waiters; Index++) {
        PKSPIN_LOCK_QUEUE Entry = KdTourEntry(Tour, Index);

        Tour->Waiter[Index].LockBits =
            (ULONG_PTR)__atomic_load_n(&Entry->Lock, __ATOMIC_RELAXED) & (LOCK_QUEUE_WAIT | LOCK_QUEUE_OWNER);
        Tour->Waiter[Index].Successor = KdTourOwner(Tour, __atomic_load_n(&Entry->Next, __ATOMIC_ACQUIRE));
    }
    KeReleaseQueuedSpinLock(KD_TOUR_LOCK, OldIrql);
    KeFlushQueuedDpcs();
    KdHopBack(&Previous);
}

static int KdRunTour(const KD_OPTIONS *Options, int Count, char **Arguments)
{
    KD_TOUR Tour = {0};
    BOOLEAN Seen = FALSE;
    int Result;

    if (Count != 0) {
        KdComplain("tour takes no arguments, not '%s'", Arguments[0]);
        return KD_USAGE;
    }
    Result = KdStartMachine(Options, DEFAULT_PROCESSORS);
    if (Result != KD_OK) {
        return Result;
    }
    Tour.Processors = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    Tour.Groups = KeQueryActiveGroupCount();
    Tour.Block = calloc(Tour.Processors, sizeof(*Tour.Block));
    Tour.Dpc = calloc(Tour.Processors, sizeof(*Tour.Dpc));
    Tour.Ipi = calloc(Tour.Processors, sizeof(*Tour.Ipi));
    if (Tour.Block != NULL && Tour.Dpc != NULL && Tour.Ipi != NULL && KdTourLook(&Tour)) {
        KdTourRaise(&Tour);
        KdTourDpcs(&Tour);
        Tour.IpiResult = KeIpiGenericCall(KdTourBroadcast, (ULONG_PTR)&Tour);
        KdTourHandOver(&Tour);
        Seen = TRUE;
    }
    Result = KdStopMachine();
    if (!Seen) {
        KdComplain("no memory for the tour");
        Result = KD_FAILED;
    } else if (Options->Json) {
        KdTellTourJson(&Tour);
    } else {
        KdTellTour(&Tour);
    }
    free(Tour.Block);
    free(Tour.Dpc);
    free(Tour.Ipi);
    return Result;
}

const KD_COMMAND KdTourCommand = {
    .Name = "tour",
    .Arguments = "",
    .Summary = "a guided look at a machine while it works",
    .Help = "Starts a machine (4 processors unless --processors or KPRCB_PROCESSORS says otherwise), shows how\n"
            "cpuid describes them, raises and lowers the IRQL, queues a DPC to every processor, broadcasts an\n"
            "inter-processor interrupt and hands a queued spin lock over, each with the values found in the\n"
            "KPRCB. With --json: the same values as one object.\n",
    .Routine = KdRunTour,
};
