/*
 * dpc.c - KDPC: insert, remove, run.
 *
 * When an insert asks for the queue to be run, after the documentation of NT:
 *
 *                 for the current processor                        for another processor
 *   High          now (to the head)                                now (to the head)
 *   MediumHigh    now                                              now
 *   Medium        now                                              depth over MaximumDpcQueueDepth, or the processor idles
 *   Low           depth over MaximumDpcQueueDepth, or rate under   depth over MaximumDpcQueueDepth, or the processor idles
 *                 MinimumDpcRate
 *
 * "Idles" is taken for a processor without a resident. What did not ask runs on the next lower there, or by the next
 * clock tick.
 *
 * Deviation: the routine runs on the thread that owns the processor, on that thread's stack.
 *
 * DpcLock is held with interrupts masked and for a few instructions. Tests: tests/ke/test_dpc.c,
 * tests/stress/stress_dpc.c.
 */
#include "dpcqueue.h"

VOID KeInitializeDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext)
{
    *Dpc = (KDPC){
        .Type = DpcObject,
        .Importance = MediumImportance,
        .DeferredRoutine = DeferredRoutine,
        .DeferredContext = DeferredContext,
    };
}

VOID KeInitializeThreadedDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext)
{
    KeInitializeDpc(Dpc, DeferredRoutine, DeferredContext);
    Dpc->Type = ThreadedDpcObject;
}

VOID KeSetImportanceDpc(PRKDPC Dpc, KDPC_IMPORTANCE Importance)
{
    __atomic_store_n(&Dpc->Importance, (UCHAR)Importance, __ATOMIC_RELAXED);
}

VOID KeSetTargetProcessorDpc(PRKDPC Dpc, CCHAR Number)
{
    (VOID) KiEnter();
    if (Number >= 0 && (ULONG)Number < KiGroupProcessorCount(0)) {
        __atomic_store_n(&Dpc->Number, (USHORT)(Number + 1), __ATOMIC_RELAXED);
    }
}

NTSTATUS KeSetTargetProcessorDpcEx(PRKDPC Dpc, PPROCESSOR_NUMBER ProcNumber)
{
    ULONG Index = KeGetProcessorIndexFromNumber(ProcNumber);

    if (Index == INVALID_PROCESSOR_INDEX) {
        return STATUS_INVALID_PARAMETER;
    }
    __atomic_store_n(&Dpc->Number, (USHORT)(Index + 1), __ATOMIC_RELAXED);
    return STATUS_SUCCESS;
}

/* For the processor that the caller owns. TRUE: nobody needs to run the queue now. */
static BOOLEAN KiInsertHere(KPRCB_THREAD_BLOCK *Block, PKDPC Dpc, UCHAR Importance)
{
    PKPCR Pcr = Block->Pcr;
    PKPRCB Prcb = &Pcr->PrcbData;
    PKDPC_DATA Data = &Prcb->DpcData[DPC_NORMAL];
    BOOLEAN Lazy = FALSE;
    BOOLEAN Moved;

    KiAcquireInternalLock(&Data->DpcLock);
    Moved = KiInboxFilled(Pcr); /* and may not be as patient as this one */
    KiEmptyInbox(Pcr, Data);
    KiListDpc(Data, Dpc, Importance == HighImportance);
    if (Importance == LowImportance && !Moved &&
        Data->DpcQueueDepth <= __atomic_load_n(&Prcb->MaximumDpcQueueDepth, __ATOMIC_RELAXED)) {
        KiUpdateDpcRate(Prcb);
        Lazy = Prcb->DpcRequestRate >= Prcb->MinimumDpcRate;
    }
    KiReleaseInternalLock(&Data->DpcLock);
    /* This processor's next lower must look. */
    Block->Fast = NULL;
    if (Block->Irql > DISPATCH_LEVEL) {
        /* The interrupted code may be in the middle of a lower that has looked already. */
        __atomic_fetch_or(&Pcr->Request, KPCR_REQUEST_DISPATCH, __ATOMIC_SEQ_CST);
    }
    KiSetNormalDpcState(Prcb,
                        Prcb->NormalDpcState | DPC_REQUEST_NORMAL_PRESENT | (Lazy ? 0 : DPC_REQUEST_NORMAL_REQUESTED));
    if (Lazy) {
        __atomic_fetch_or(&Pcr->Request, KPCR_REQUEST_LAZY, __ATOMIC_SEQ_CST);
        KiArmClock(Pcr);
    }
    return Lazy;
}

static VOID KiInsertElsewhere(PKPCR Pcr, PKDPC Dpc, UCHAR Importance)
{
    PKPRCB Prcb = &Pcr->PrcbData;
    BOOLEAN Drain = Importance == HighImportance || Importance == MediumHighImportance;
    KI_POST Post = KiPostDpc(Pcr, Dpc, Importance == HighImportance);

    if (Post == KiPostWatched) {
        return;
    }
    if (!Drain) {
        LONG Depth =
            __atomic_load_n(&Prcb->DpcData[DPC_NORMAL].DpcQueueDepth, __ATOMIC_RELAXED) + (LONG)KiInboxCount(Pcr);

        Drain = Depth > __atomic_load_n(&Prcb->MaximumDpcQueueDepth, __ATOMIC_RELAXED) ||
                __atomic_load_n(&Pcr->Resident, __ATOMIC_RELAXED) == NULL;
    }
    if (!Drain) {
        __atomic_fetch_or(&Pcr->Request, KPCR_REQUEST_LAZY, __ATOMIC_SEQ_CST);
        KiArmClock(Pcr);
    } else if (Post == KiPostFirst || (__atomic_load_n(&Pcr->Request, __ATOMIC_SEQ_CST) & KPCR_REQUEST_DISPATCH) == 0) {
        KiCountSend(&KprcbThread.Pcr->PrcbData.IpiSendSoftwareInterruptCount, 1);
        KiRequest(Pcr, KPCR_REQUEST_DISPATCH);
    }
}

static VOID KiCheckDpc(PKDPC Dpc)
{
    if ((Dpc->Type != DpcObject && Dpc->Type != ThreadedDpcObject) || Dpc->DeferredRoutine == NULL) {
        KeBugCheckEx(TIMER_OR_DPC_INVALID, 4, (ULONG_PTR)Dpc, Dpc->Type, (ULONG_PTR)Dpc->DeferredRoutine);
    }
}

/* *Lazy: nobody needs to run the queue of the current processor now. */
static BOOLEAN KiInsertDpc(KPRCB_THREAD_BLOCK *Block, PKPCR Target, PKDPC Dpc, PVOID SystemArgument1,
                           PVOID SystemArgument2, BOOLEAN *Lazy)
{
    UCHAR Importance = __atomic_load_n(&Dpc->Importance, __ATOMIC_RELAXED);
    BOOLEAN Inserted;

    KiMaskInterrupts(Block);
    Inserted = KiClaimDpc(Dpc, &Target->PrcbData.DpcData[DPC_NORMAL]);
    if (Inserted) {
        Dpc->SystemArgument1 = SystemArgument1;
        Dpc->SystemArgument2 = SystemArgument2;
        if (Target == Block->Pcr) {
            *Lazy = KiInsertHere(Block, Dpc, Importance);
        } else {
            KiInsertElsewhere(Target, Dpc, Importance);
        }
    }
    KiUnmaskInterrupts(Block);
    return Inserted;
}

BOOLEAN KeInsertQueueDpc(PRKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    BOOLEAN Lazy = FALSE;
    BOOLEAN Inserted;
    KIRQL OldIrql;
    ULONG Number;
    PKPCR Target;

    KiCheckDpc(Dpc);
    OldIrql = Block->Irql < DISPATCH_LEVEL ? KeRaiseIrqlToDpcLevel() : Block->Irql;
    Number = __atomic_load_n(&Dpc->Number, __ATOMIC_RELAXED);
    Target = Number != 0 && Number <= KiProcessorCount() ? KiProcessor(Number - 1) : Block->Pcr;
    if (__builtin_expect(Dpc->Type == ThreadedDpcObject, 0) &&
        __atomic_load_n(&Target->PrcbData.ThreadDpcEnable, __ATOMIC_RELAXED)) {
        Inserted = KiInsertThreadedDpc(Block, Target, Dpc, SystemArgument1, SystemArgument2);
    } else {
        Inserted = KiInsertDpc(Block, Target, Dpc, SystemArgument1, SystemArgument2, &Lazy);
    }
    if (OldIrql < DISPATCH_LEVEL) {
        if (Lazy) {
            KiLowerBelowDispatch(Block, OldIrql, TRUE);
        } else {
            KeLowerIrql(OldIrql);
        }
    }
    return Inserted;
}

typedef enum _KI_REMOVAL { KiNotRemoved, KiRemoved, KiRemoveAgain } KI_REMOVAL;

/* From the queue in which it was seen. Interrupts masked. */
static KI_REMOVAL KiRemoveFrom(KPRCB_THREAD_BLOCK *Block, PKDPC Dpc, PKDPC_DATA Data)
{
    PKPCR Pcr = CONTAINING_RECORD(Data, KPCR, PrcbData.DpcData[DPC_NORMAL]);
    BOOLEAN Owned = Block->Irql >= DISPATCH_LEVEL && Block->Pcr == Pcr;
    BOOLEAN Stopped = !Owned && KiTakesNeedStop(Pcr);
    KI_REMOVAL Removal = KiRemoveAgain;
    BOOLEAN Moved = FALSE;

    if (Stopped) {
        KiStopTakes(Pcr);
    }
    KiAcquireInternalLock(&Data->DpcLock);
    if (__atomic_load_n(&Dpc->DpcData, __ATOMIC_ACQUIRE) == Data && (Owned || Stopped || !KiTakesNeedStop(Pcr))) {
        Moved = KiInboxFilled(Pcr);
        KiEmptyInbox(Pcr, Data);
        /* Not in the list though claimed: its insert has not ended, so this remove came before it. */
        Removal = KiUnlistDpc(Data, Dpc) ? KiRemoved : KiNotRemoved;
        Moved = Moved && Data->DpcQueueDepth != 0;
    }
    KiReleaseInternalLock(&Data->DpcLock);
    if (Stopped) {
        KiAllowTakes(Pcr);
    }
    if (Moved) {
        /* An idle thread that watches the inbox would not find them in the list. */
        KiRequest(Pcr, KPCR_REQUEST_DISPATCH);
    }
    return Removal;
}

/* The same from a queue of threaded DPCs. */
static KI_REMOVAL KiRemoveThreaded(PKDPC Dpc, PKDPC_DATA Data)
{
    KI_REMOVAL Removal = KiRemoveAgain;

    KiAcquireInternalLock(&Data->DpcLock);
    if (__atomic_load_n(&Dpc->DpcData, __ATOMIC_ACQUIRE) == Data) {
        Removal = KiUnlistDpc(Data, Dpc) ? KiRemoved : KiNotRemoved;
    }
    KiReleaseInternalLock(&Data->DpcLock);
    return Removal;
}

BOOLEAN KeRemoveQueueDpc(PRKDPC Dpc)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KI_REMOVAL Removal = KiNotRemoved;
    PKDPC_DATA Data;

    KiCheckDpc(Dpc);
    do {
        Data = __atomic_load_n(&Dpc->DpcData, __ATOMIC_ACQUIRE);
        if (Data == NULL) {
            return FALSE;
        }
        KiMaskInterrupts(Block);
        Removal = KiIsThreadedQueue(Data) ? KiRemoveThreaded(Dpc, Data) : KiRemoveFrom(Block, Dpc, Data);
        KiUnmaskInterrupts(Block);
    } while (Removal == KiRemoveAgain);
    return Removal == KiRemoved;
}

static VOID KiRunDpc(KPRCB_THREAD_BLOCK *Block, PKDPC_DATA Data, PKI_DPC_CALL Call)
{
    PKPCR Pcr = Block->Pcr;

    Data->ActiveDpc = Call->Dpc;
    __atomic_store_n(&Data->DpcCount, Data->DpcCount + 1, __ATOMIC_RELEASE); /* KprcbStop looks */
    if (__builtin_expect(__atomic_load_n(&Pcr->PrcbData.DpcRuntimeHistoryHashTable, __ATOMIC_ACQUIRE) != NULL, 0)) {
        KiCallTimed(&Pcr->PrcbData, Call);
    } else {
        Call->Routine(Call->Dpc, Call->Context, Call->Argument1, Call->Argument2);
    }
    Data->ActiveDpc = NULL;
    if (Block->Irql != DISPATCH_LEVEL || Block->Pcr != Pcr) {
        KIRQL Irql = Block->Irql;

        if (Irql < DISPATCH_LEVEL) {
            KiTakeThisProcessor(Block, Pcr);
        }
        Block->Irql = DISPATCH_LEVEL;
        KiPublishIrql(Block, DISPATCH_LEVEL);
        if (Block->Checked) {
            KeBugCheckEx(IRQL_UNEXPECTED_VALUE, (ULONG_PTR)Irql << 16 | DISPATCH_LEVEL << 8, (ULONG_PTR)Call->Routine,
                         (ULONG_PTR)Call->Context, 0);
        }
    }
}

/*
 * Takes the first DPC: from the list, or from the inbox if that is empty. *Locked: DpcLock has been held since
 * DpcRoutineActive was set.
 */
static BOOLEAN KiTakeNext(KPRCB_THREAD_BLOCK *Block, PKDPC_DATA Data, BOOLEAN *Locked, PKI_DPC_CALL Call)
{
    PKPCR Pcr = Block->Pcr;
    BOOLEAN Taken;

    KiMaskInterrupts(Block);
    Taken = *Locked && KiTakeUnlocked(Pcr, Data, Call);
    if (!Taken) {
        KiAcquireInternalLock(&Data->DpcLock);
        if (Data->DpcList.ListHead.Next == NULL) {
            KiEmptyInbox(Pcr, Data);
        }
        Taken = KiTakeDpc(Data, Call);
        KiReleaseInternalLock(&Data->DpcLock);
        *Locked = TRUE;
    }
    KiFenceTake(Pcr);
    KiUnmaskInterrupts(Block);
    return Taken;
}

/*
 * Runs DPCs until the queue is empty. While the list is not, the inbox and Request are left alone but for the poll:
 * each look at the inbox costs the next poster a cache line.
 */
static VOID KiDrainDpcs(KPRCB_THREAD_BLOCK *Block)
{
    PKPCR Pcr = Block->Pcr;
    PKDPC_DATA Data = &Pcr->PrcbData.DpcData[DPC_NORMAL];
    BOOLEAN Locked = FALSE;
    KI_DPC_CALL Call;

    for (;;) {
        if (__atomic_load_n(&Data->DpcQueueDepth, __ATOMIC_ACQUIRE) == 0) {
            /* Before the look at the inbox: whoever posts later sets the bit again. */
            if ((__atomic_load_n(&Pcr->Request, __ATOMIC_RELAXED) & (KPCR_REQUEST_DISPATCH | KPCR_REQUEST_LAZY)) != 0) {
                __atomic_fetch_and(&Pcr->Request, ~(ULONG)(KPCR_REQUEST_DISPATCH | KPCR_REQUEST_LAZY),
                                   __ATOMIC_SEQ_CST);
            }
            if (!KiDpcsQueued(Pcr)) {
                return;
            }
        }
        if (KiTakeNext(Block, Data, &Locked, &Call)) {
            KiRunDpc(Block, Data, &Call);
            KiPoll(Block);
        }
    }
}

VOID KiRetireDpcs(KPRCB_THREAD_BLOCK *Block)
{
    PKPRCB Prcb = &Block->Pcr->PrcbData;
    KI_FRAME Frame;
    /* A DPC that happens to run on a DPC thread must not take the threaded one down with it. */
    BOOLEAN Framed = __atomic_load_n(&KiCatchers, __ATOMIC_RELAXED) != 0 &&
                     (Block->Thread->Frame == NULL || Block->Thread->ThreadedFor != NULL);

    __atomic_store_n(&Prcb->DpcRoutineActive, TRUE, __ATOMIC_RELEASE);
    KiSetNormalDpcState(Prcb, DPC_REQUEST_NORMAL_ACTIVE | DPC_REQUEST_NORMAL_PRESENT);
    Block->Thread->Retiring = Block->Pcr;
    Prcb->DpcStack = __builtin_frame_address(0);
    if (Framed) {
        KiEnterFrame(Block, &Frame, KiDiscardFrame);
        (VOID) setjmp(Frame.Jump); /* a bug check drops its DPC and comes back here */
    }
    KiDrainDpcs(&KprcbThread);
    if (Framed) {
        KiLeaveFrame(&KprcbThread, &Frame);
    }
    Prcb = &KprcbThread.Pcr->PrcbData;
    Prcb->DpcStack = NULL;
    KprcbThread.Thread->Retiring = NULL;
    KiSetNormalDpcState(Prcb, 0);
    __atomic_store_n(&Prcb->DpcRoutineActive, FALSE, __ATOMIC_RELEASE);
}

LOGICAL KeIsExecutingDpc(VOID)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    PKPRCB Prcb = &Block->Pcr->PrcbData;
    BOOLEAN Active = Block->Irql >= DISPATCH_LEVEL && Prcb->DpcRoutineActive;
    ULONG Stack;

    switch (KiMachine.Profile->DpcActive) {
    case KiDpcActiveStack:
        Stack = Active ? (ULONG)(ULONG_PTR)Prcb->DpcStack : 0;
        return Stack != 0 ? Stack : Active; /* the low half of a 64-bit address could be 0 */
    case KiDpcActiveByte:
        return Active;
    default:
        return Active || Block->Thread->ThreadedFor != NULL;
    }
}

VOID KiDispatchInterrupt(VOID)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    if (Block->Irql != DISPATCH_LEVEL) {
        KeBugCheckEx(IRQL_NOT_GREATER_OR_EQUAL, Block->Irql, DISPATCH_LEVEL, 0, 0);
    }
    if (!Block->Pcr->PrcbData.DpcRoutineActive) {
        KiRetireDpcs(Block);
    }
}
