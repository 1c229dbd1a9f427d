/*
 * dpcfigures.c - how deep the DPC queue of a processor may get, following what comes in.
 *
 * From 3.51 on NT tunes MaximumDpcQueueDepth at each clock tick. DPCs wait although their rate is under the ideal one:
 * nothing is gained by gathering them, and one fewer is allowed to wait. Nothing has waited for AdjustDpcThreshold
 * ticks: one more, up to where it started.
 *
 * Deviation: the clock ticks only for processors at which something waits; the quiet ticks between are made up for when
 * DpcRequestRate is next brought up to date.
 *
 *   MaximumDpcQueueDepth, AdjustDpcThreshold   written by the owner or the clock, under DpcLock; MaximumDpcQueueDepth is
 *                                              read by inserters, relaxed
 *
 * Tests: tests/ke/test_dpcfigures.c.
 */
#include "dpcqueue.h"

#define KI_MAXIMUM_DPC_QUEUE_DEPTH 4
#define KI_MINIMUM_DPC_RATE 3
#define KI_IDEAL_DPC_RATE 20
#define KI_ADJUST_DPC_THRESHOLD 20

VOID KiInitializeDpcFigures(PKPRCB Prcb)
{
    Prcb->MaximumDpcQueueDepth = KI_MAXIMUM_DPC_QUEUE_DEPTH;
    Prcb->MinimumDpcRate = KI_MINIMUM_DPC_RATE;
    Prcb->AdjustDpcThreshold = KiMachine.Profile->DpcTuning ? KI_ADJUST_DPC_THRESHOLD : 0;
    KiResetDpcWatch(Prcb);
}

VOID KiCreditQuietTicks(PKPRCB Prcb, ULONG Ticks)
{
    ULONG Left = (ULONG)Prcb->AdjustDpcThreshold;
    ULONG Growth;

    if (!KiMachine.Profile->DpcTuning) {
        return;
    }
    if (Ticks < Left) {
        Prcb->AdjustDpcThreshold = (LONG)(Left - Ticks);
        return;
    }
    Growth = 1 + (Ticks - Left) / KI_ADJUST_DPC_THRESHOLD;
    Prcb->AdjustDpcThreshold = KI_ADJUST_DPC_THRESHOLD - (LONG)((Ticks - Left) % KI_ADJUST_DPC_THRESHOLD);
    if (Prcb->MaximumDpcQueueDepth < KI_MAXIMUM_DPC_QUEUE_DEPTH) {
        ULONG Room = (ULONG)(KI_MAXIMUM_DPC_QUEUE_DEPTH - Prcb->MaximumDpcQueueDepth);

        __atomic_store_n(&Prcb->MaximumDpcQueueDepth,
                         Prcb->MaximumDpcQueueDepth + (LONG)(Growth < Room ? Growth : Room), __ATOMIC_RELAXED);
    }
}

VOID KiTuneDpcQueue(PKPCR Pcr)
{
    PKPRCB Prcb = &Pcr->PrcbData;
    PKDPC_DATA Data = &Prcb->DpcData[DPC_NORMAL];

    if (!KiMachine.Profile->DpcTuning) {
        return;
    }
    KiMaskInterrupts(&KprcbThread);
    KiAcquireInternalLock(&Data->DpcLock);
    KiUpdateDpcRate(Prcb);
    if (KiDpcsQueued(Pcr)) {
        Prcb->AdjustDpcThreshold = KI_ADJUST_DPC_THRESHOLD;
        if (Prcb->DpcRequestRate < KI_IDEAL_DPC_RATE && Prcb->MaximumDpcQueueDepth > 1) {
            __atomic_store_n(&Prcb->MaximumDpcQueueDepth, Prcb->MaximumDpcQueueDepth - 1, __ATOMIC_RELAXED);
        }
    }
    KiReleaseInternalLock(&Data->DpcLock);
    KiUnmaskInterrupts(&KprcbThread);
}
