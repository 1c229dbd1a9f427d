/*
 * dpcslot.c - the slot of a processor: one DPC by value, for an idle thread that spins.
 *
 * A post by the inbox moves four cache lines one after the other: the DPC for the claim, the inbox, the DPC for its
 * routine and to clear the claim, and what the routine writes. While the idle thread spins and owns nothing, its
 * processor would take a DPC off the queue the moment it is inserted. So a poster may copy the call into the slot and
 * leave the DPC as it is: taken off the queue at once, about to run. Nothing writes to the DPC.
 *
 *   state      may become                                by
 *   CLOSED     OPEN                                      the idle thread while it owns the processor, nothing queued
 *   OPEN       FILLING                                   a poster
 *              CLOSED                                    the idle thread as it ends its watch; whoever owns the processor
 *   FILLING    FULL, or OPEN again                       that poster
 *              REVOKED                                   as OPEN to CLOSED
 *   FULL       CLOSED                                    whoever owns the processor, once the call is copied
 *   REVOKED    CLOSED                                    that poster, which then posts by the inbox
 *
 *   word       written by                                read by                              ordering
 *   State      as above                                  posters, the idle thread, the        each step is a release, each look
 *                                                        owner, flushers                      that is acted on an acquire
 *   Call       the poster, while it holds FILLING        the owner, while it finds FULL       guarded by State
 *
 * Who owns the processor has closed the slot before it goes on (KiFinishTake); it puts a DPC that it finds there into
 * the queue, so that from then on KeInsertQueueDpc says FALSE for it, as it must while the processor is at
 * DISPATCH_LEVEL. Only the idle thread runs it from the slot.
 *
 * Order: when the slot opens, nothing is queued. A poster that holds it at FILLING looks at the inbox, and backs out if
 * there is something, maybe its own; so what is in the inbox or the list while the slot is FULL came later.
 *
 * Deviations: SystemArgument1 and 2 of the KDPC keep what the last insert by another way has stored; the routine gets
 * its arguments. Tests: tests/ke/test_dpcslot.c, tests/stress/stress_dpc.c.
 */
#include "dpcqueue.h"

static BOOLEAN KiChangeSlot(PKPCR Pcr, ULONG From, ULONG To)
{
    return __atomic_compare_exchange_n(&Pcr->DpcSlot.State, &From, To, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

BOOLEAN KiSlotFilled(PKPCR Pcr)
{
    return __atomic_load_n(&Pcr->DpcSlot.State, __ATOMIC_ACQUIRE) == KiSlotFull;
}

VOID KiOpenSlot(PKPCR Pcr)
{
    /* Only this thread takes it out of CLOSED, and REVOKED means that a poster has yet to notice. */
    if (__atomic_load_n(&Pcr->DpcSlot.State, __ATOMIC_RELAXED) == KiSlotClosed) {
        __atomic_store_n(&Pcr->DpcSlot.State, KiSlotOpen, __ATOMIC_RELEASE);
    }
}

VOID KiCloseSlot(PKPCR Pcr)
{
    for (;;) {
        switch (__atomic_load_n(&Pcr->DpcSlot.State, __ATOMIC_ACQUIRE)) {
        case KiSlotOpen:
            (VOID) KiChangeSlot(Pcr, KiSlotOpen, KiSlotClosed);
            break;
        case KiSlotFilling:
            (VOID) KiChangeSlot(Pcr, KiSlotFilling, KiSlotRevoked);
            break;
        default:
            return;
        }
    }
}

BOOLEAN KiFillSlot(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, PKDPC Dpc, PVOID Argument1, PVOID Argument2)
{
    PKTHREAD Thread = Block->Thread;
    ULONG volatile *State = &Pcr->DpcSlot.State;

    /* A look first costs a transfer of the line where the slot is open, the exchange one where it is not. */
    if (Thread->LastSlot != Pcr && __atomic_load_n(State, __ATOMIC_RELAXED) != KiSlotOpen) {
        return FALSE;
    }
    Thread->LastSlot = NULL;
    if (!KiChangeSlot(Pcr, KiSlotOpen, KiSlotFilling)) {
        return FALSE;
    }
    if (KiInboxFilled(Pcr)) {
        if (!KiChangeSlot(Pcr, KiSlotFilling, KiSlotOpen)) {
            __atomic_store_n(State, KiSlotClosed, __ATOMIC_RELEASE);
        }
        return FALSE;
    }
    Pcr->DpcSlot.Call = (KPRCB_DPC_CALL){.Dpc = Dpc,
                                         .Routine = Dpc->DeferredRoutine,
                                         .Context = Dpc->DeferredContext,
                                         .Argument1 = Argument1,
                                         .Argument2 = Argument2};
    if (!KiChangeSlot(Pcr, KiSlotFilling, KiSlotFull)) {
        __atomic_store_n(State, KiSlotClosed, __ATOMIC_RELEASE);
        return FALSE;
    }
    Thread->LastSlot = Pcr;
    return TRUE;
}

BOOLEAN KiTakeSlot(PKPCR Pcr, PKPRCB_DPC_CALL Call)
{
    if (!KiSlotFilled(Pcr)) {
        return FALSE;
    }
    *Call = Pcr->DpcSlot.Call;
    __atomic_store_n(&Pcr->DpcSlot.State, KiSlotClosed, __ATOMIC_RELEASE);
    return TRUE;
}

VOID KiQueueSlot(PKPCR Pcr)
{
    PKDPC_DATA Data = &Pcr->PrcbData.DpcData[DPC_NORMAL];
    PKPRCB_DPC_CALL Call = &Pcr->DpcSlot.Call;

    KiCloseSlot(Pcr);
    if (!KiSlotFilled(Pcr)) {
        return;
    }
    KiMaskInterrupts(&KprcbThread);
    KiAcquireInternalLock(&Data->DpcLock);
    /* Queued again since? Then it stays in the slot, and both run. */
    if (KiClaimDpc(Call->Dpc, Data)) {
        Call->Dpc->SystemArgument1 = Call->Argument1;
        Call->Dpc->SystemArgument2 = Call->Argument2;
        KiListDpc(Data, Call->Dpc, TRUE);
        __atomic_store_n(&Pcr->DpcSlot.State, KiSlotClosed, __ATOMIC_RELEASE);
    }
    KiReleaseInternalLock(&Data->DpcLock);
    KiUnmaskInterrupts(&KprcbThread);
}
