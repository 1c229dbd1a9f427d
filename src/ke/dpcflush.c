/*
 * dpcflush.c - KeFlushQueuedDpcs.
 *
 * A marker DPC is queued at the tail of every processor that is not idle; DPCs of one processor run one after the
 * other, so once the marker has run, all that was queued or running before has ended. Processors are done in batches,
 * so that the markers fit on the stack. Threaded DPCs have markers of their own in the DPC thread's queue. They come
 * first on all processors, since a threaded DPC may move to the normal queue (dpcthread.c), but not back.
 *
 * Remaining: written by the markers (release), read by the flusher (acquire). The flusher's frame outlives the last
 * marker's access: a marker touches nothing after its decrement but the address it wakes.
 *
 * Tests: tests/ke/test_dpcflush.c.
 */
#include "ki.h"

#define KI_FLUSH_BATCH 32
#define KI_FLUSH_SPINS 400
#define KI_FLUSH_SLEEP 1000000 /* ns */

static VOID KiFlushMarker(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    ULONG volatile *Remaining = Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    if (__atomic_sub_fetch(Remaining, 1, __ATOMIC_ACQ_REL) == 0) {
        HalWake(Remaining, 1);
    }
}

static VOID KiAwaitMarkers(ULONG volatile *Remaining)
{
    KI_SPIN Spin = {.Reason = "queued DPCs to run", .Object = (const void *)Remaining, .Holding = TRUE};
    ULONG Seen;

    while ((Seen = __atomic_load_n(Remaining, __ATOMIC_ACQUIRE)) != 0) {
        if (Spin.Steps < KI_FLUSH_SPINS) {
            KiSpin(&Spin);
        } else {
            HalPark(Remaining, Seen, KI_FLUSH_SLEEP);
            KiSpinSlept(&Spin);
        }
    }
    KiEndSpin(&Spin);
}

static VOID KiInsertMarkers(PKDPC Markers, ULONG Count)
{
    for (ULONG Index = 0; Index < Count; Index += 1) {
        PKDPC Marker = &Markers[Index];

        if (Marker->Type == ThreadedDpcObject) {
            /* Even if threaded DPCs have been switched off: some are queued. */
            KiInsertThreadedDpc(&KprcbThread, KiProcessor(Marker->Number - 1u), Marker, NULL, NULL);
        } else {
            KeInsertQueueDpc(Marker, NULL, NULL);
        }
    }
}

/*
 * Inserts all or none: the inserts are made at DISPATCH_LEVEL, where nothing unwinds. A bug check in a DPC that the
 * lower runs is delivered, and taken when no marker is queued any more. FALSE: a bug check was taken while the
 * processor was awaited.
 */
static BOOLEAN KiQueueMarkers(PKDPC Markers, ULONG Count)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    BOOLEAN volatile Queued = FALSE;
    KI_FRAME Frame;
    KIRQL OldIrql;

    if (Block->Thread->Frame == NULL) {
        OldIrql = KeRaiseIrqlToDpcLevel();
        KiInsertMarkers(Markers, Count);
        KfLowerIrql(OldIrql);
        return TRUE;
    }
    KiEnterFrame(Block, &Frame, KiDiscardFrame);
    if (setjmp(Frame.Jump) == 0) {
        OldIrql = KeRaiseIrqlToDpcLevel();
        KiInsertMarkers(Markers, Count);
        Queued = TRUE;
        KfLowerIrql(OldIrql);
    }
    KiLeaveFrame(&KprcbThread, &Frame);
    return Queued;
}

/* Flushes the DPCs of a type from *Index on, at most a batch, and moves *Index behind it. */
static VOID KiFlushBatch(UCHAR Type, ULONG *Index)
{
    KDPC Markers[KI_FLUSH_BATCH];
    ULONG Targets[KI_FLUSH_BATCH];
    ULONG volatile Remaining = 0;
    ULONG Count = 0;

    for (; *Index < KiProcessorCount() && Count < KI_FLUSH_BATCH; *Index += 1) {
        PKPCR Pcr = KiProcessor(*Index);

        if (!(Type == ThreadedDpcObject ? KiThreadedDpcsIdle(Pcr) : KiDpcsIdle(Pcr))) {
            Targets[Count] = *Index;
            Count += 1;
        }
    }
    if (Count == 0) {
        return;
    }
    Remaining = Count;
    for (ULONG Marker = 0; Marker < Count; Marker += 1) {
        KeInitializeDpc(&Markers[Marker], KiFlushMarker, (PVOID)&Remaining);
        Markers[Marker].Type = Type;
        KeSetImportanceDpc(&Markers[Marker], MediumHighImportance);
        Markers[Marker].Number = (USHORT)(Targets[Marker] + 1);
    }
    if (KiQueueMarkers(Markers, Count)) {
        KiAwaitMarkers(&Remaining);
    } else if (KiDeliveryPending(&KprcbThread)) {
        KiTakeDelivery(&KprcbThread);
    }
}

VOID KeFlushQueuedDpcs(VOID)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    if (Block->Irql != PASSIVE_LEVEL) {
        KeBugCheckEx(IRQL_NOT_LESS_OR_EQUAL, Block->Irql, PASSIVE_LEVEL, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    KiCheckMayWait(Block);
    for (ULONG Index = 0; Index < KiProcessorCount();) {
        KiFlushBatch(ThreadedDpcObject, &Index);
    }
    for (ULONG Index = 0; Index < KiProcessorCount();) {
        KiFlushBatch(DpcObject, &Index);
    }
    if (KiDeliveryPending(Block)) {
        KiTakeDelivery(Block);
    }
}
