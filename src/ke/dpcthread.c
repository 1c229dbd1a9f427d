/*
 * dpcthread.c - threaded DPCs: the DPC thread of a processor, its queue, and the switch.
 *
 * A threaded DPC that is inserted while KPRCB.ThreadDpcEnable is set goes to DpcData[DPC_THREADED] and runs at
 * PASSIVE_LEVEL in the DPC thread of its processor. With the switch off it is queued as any other. The switch is read
 * at the insert: what is queued keeps its form.
 *
 * The DPC thread is created when it is first asked for, since most machines never do and 1,024 idle threads are enough.
 * An insert may come at HIGH_LEVEL, so the idle thread creates it (KPCR_REQUEST_THREAD), and from then on it stays. If
 * there is no memory for it, what was queued moves to the normal queue, and the next insert asks again.
 *
 *   word                  written by                                       read by
 *   DpcData[DPC_THREADED] holder of its DpcLock; ActiveDpc, DpcCount:      the same; DpcQueueDepth and DpcCount: who
 *                         the DPC thread                                   flushes or stops (acquire)
 *   DpcThreadRequested    under that DpcLock: TRUE by an inserter, FALSE   inserters, under DpcLock; the idle thread's spin
 *                         by the DPC thread that finds nothing, and by
 *                         who moves the queue
 *   DpcThreadActive       the DPC thread, under DpcLock: before the depth  who flushes or stops, after the depth (acquire)
 *                         falls for the first, and when it finds nothing
 *   DpcThread             the DPC thread and its creator, the same value   inserters, after DpcLock; who stops
 *   DpcGate               gate.c; opened by the inserter that has set      the DPC thread
 *                         DpcThreadRequested
 *   KDPC.DpcData          as in dpcqueue.c; threaded -> normal by who      inserters, removers
 *                         moves the queue, both DpcLocks held
 *   ThreadDpcEnable       under KiMachineLock, once more for a processor   inserters, relaxed
 *                         that was added after it is active
 *
 * No wake is lost: the inserter that turns DpcThreadRequested to TRUE opens the gate, or asks the idle thread, and the
 * DPC thread turns it back only under the lock under which it has seen an empty queue. A thread that is being created
 * looks at the queue first, and DpcThread is set by then.
 *
 * What an inserter that finds the DPC queued relies on (dpcqueue.c): after each take the DPC thread executes a full
 * barrier, before the routine.
 *
 * A DPC is moved to the normal queue's inbox before the depth of the threaded queue falls, so that whoever looks at the
 * threaded queue first and at the normal one then cannot miss it.
 *
 * Deviations: the DPC thread has the host's ordinary priority, and as all threads below DISPATCH_LEVEL it runs beside
 * the owner of its processor.
 *
 * Tests: tests/ke/test_dpcthread.c, tests/stress/stress_dpcthread.c.
 */
#include "dpcqueue.h"

#define KI_DPC_STACK (256 * 1024)

/* The two words of the thread once more, in DpcRequestSummary. DpcLock held. */
static VOID KiShowThreadDpcState(PKPRCB Prcb)
{
    ULONG Bits = (Prcb->DpcThreadActive ? DPC_REQUEST_THREAD_ACTIVE : 0) |
                 (Prcb->DpcThreadRequested ? DPC_REQUEST_THREAD_REQUESTED : 0);

    __atomic_store_n(&Prcb->ThreadDpcState, (SHORT)(Bits >> 16), __ATOMIC_RELAXED);
}

static VOID KiWakeDpcThread(PKPCR Pcr)
{
    if (__atomic_load_n(&Pcr->PrcbData.DpcThread, __ATOMIC_ACQUIRE) != NULL) {
        KiSignalGate(&Pcr->PrcbData.DpcGate);
    } else {
        KiRequestIdleThread(Pcr, KPCR_REQUEST_THREAD);
    }
}

BOOLEAN KiInsertThreadedDpc(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, PKDPC Dpc, PVOID Argument1, PVOID Argument2)
{
    PKPRCB Prcb = &Pcr->PrcbData;
    PKDPC_DATA Data = &Prcb->DpcData[DPC_THREADED];
    BOOLEAN ToHead = __atomic_load_n(&Dpc->Importance, __ATOMIC_RELAXED) == HighImportance;
    BOOLEAN Wake = FALSE;
    BOOLEAN Inserted;

    KiMaskInterrupts(Block);
    Inserted = KiClaimDpc(Dpc, Data);
    if (Inserted) {
        Dpc->SystemArgument1 = Argument1;
        Dpc->SystemArgument2 = Argument2;
        KiAcquireInternalLock(&Data->DpcLock);
        KiListDpc(Data, Dpc, ToHead);
        Wake = !Prcb->DpcThreadRequested;
        __atomic_store_n(&Prcb->DpcThreadRequested, TRUE, __ATOMIC_RELAXED);
        KiShowThreadDpcState(Prcb);
        KiReleaseInternalLock(&Data->DpcLock);
    }
    if (Wake) {
        KiWakeDpcThread(Pcr);
    }
    KiUnmaskInterrupts(Block);
    return Inserted;
}

BOOLEAN KiThreadedDpcsIdle(PKPCR Pcr)
{
    return __atomic_load_n(&Pcr->PrcbData.DpcData[DPC_THREADED].DpcQueueDepth, __ATOMIC_ACQUIRE) == 0 &&
           !__atomic_load_n(&Pcr->PrcbData.DpcThreadActive, __ATOMIC_ACQUIRE);
}

/* FALSE: there is none, and the inserter of the next one opens the gate. */
static BOOLEAN KiTakeThreadedDpc(KPRCB_THREAD_BLOCK *Block, PKPRCB Prcb, PKI_DPC_CALL Call)
{
    PKDPC_DATA Data = &Prcb->DpcData[DPC_THREADED];
    BOOLEAN Found;

    KiMaskInterrupts(Block);
    KiAcquireInternalLock(&Data->DpcLock);
    Found = Data->DpcList.ListHead.Next != NULL;
    __atomic_store_n(&Prcb->DpcThreadActive, Found, __ATOMIC_RELEASE);
    if (Found) {
        (VOID) KiTakeDpc(Data, Call);
    } else {
        __atomic_store_n(&Prcb->DpcThreadRequested, FALSE, __ATOMIC_RELAXED);
    }
    KiShowThreadDpcState(Prcb);
    KiReleaseInternalLock(&Data->DpcLock);
#ifndef KPRCB_BREAK_THREADED_FENCE
    HalFullBarrier();
#endif
    KiUnmaskInterrupts(Block);
    return Found;
}

static VOID KiRunThreadedDpc(KPRCB_THREAD_BLOCK *Block, PKPRCB Prcb, PKI_DPC_CALL Call)
{
    PKDPC_DATA Data = &Prcb->DpcData[DPC_THREADED];

    Data->ActiveDpc = Call->Dpc;
    __atomic_store_n(&Data->DpcCount, Data->DpcCount + 1, __ATOMIC_RELEASE); /* KprcbStop looks */
    if (__atomic_load_n(&Prcb->DpcRuntimeHistoryHashTable, __ATOMIC_ACQUIRE) != NULL) {
        KiCallThreadedTimed(Block, Prcb, Call);
    } else {
        Call->Routine(Call->Dpc, Call->Context, Call->Argument1, Call->Argument2);
    }
    if (Block->Irql != PASSIVE_LEVEL) {
        if (Block->Checked) {
            KeBugCheckEx(IRQL_UNEXPECTED_VALUE, (ULONG_PTR)Block->Irql << 16 | PASSIVE_LEVEL << 8,
                         (ULONG_PTR)Call->Routine, (ULONG_PTR)Call->Context, 0);
        }
        KfLowerIrql(PASSIVE_LEVEL);
    }
    Data->ActiveDpc = NULL;
}

/* The gate is open, or the time of a spin is over. */
static BOOLEAN KiSpinAtGate(PKPCR Pcr)
{
    ULONGLONG End = HalMonotonicTime() + KI_IDLE_SPIN;

    do {
        for (ULONG Step = 0; Step < KI_IDLE_STEPS; Step += 1) {
            if (KiPassGate(&Pcr->PrcbData.DpcGate)) {
                return TRUE;
            }
            if ((__atomic_load_n(&Pcr->Request, __ATOMIC_RELAXED) & (KI_URGENT | KI_IDLE_ONLY)) != 0) {
                return FALSE; /* the idle thread, or an owner, needs the CPU */
            }
            if (Step % KI_LOOKS_A_PAUSE == 0) {
                HalPause();
            }
        }
    } while (HalMonotonicTime() < End);
    return FALSE;
}

static VOID KiAwaitThreadedDpc(PKPCR Pcr)
{
    BOOLEAN Passed = FALSE;

    if (KiBeginIdleSpin(Pcr)) {
        Passed = KiSpinAtGate(Pcr);
        KiEndIdleSpin();
    }
    if (!Passed) {
        KiWaitForGate(&Pcr->PrcbData.DpcGate);
    }
}

static VOID KiDpcThreadLoop(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr)
{
    KI_DPC_CALL Call;

    for (;;) {
        if (Block->Thread->SystemAffinityActive) {
            KeRevertToUserAffinityThread();
        }
        if (KiTakeThreadedDpc(Block, &Pcr->PrcbData, &Call)) {
            KiRunThreadedDpc(Block, &Pcr->PrcbData, &Call);
        } else if ((__atomic_load_n(&Pcr->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_STOP) != 0) {
            return;
        } else {
            KiAwaitThreadedDpc(Pcr);
        }
    }
}

static VOID KiDpcThread(PVOID Context)
{
    PKTHREAD Thread = Context;
    PKPCR Pcr = Thread->ThreadedFor;
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    KI_FRAME Frame;

    KiAdoptThread(Thread, Pcr);
    __atomic_store_n(&Pcr->PrcbData.DpcThread, Thread, __ATOMIC_RELEASE);
    KiEnterFrame(Block, &Frame, KiDiscardFrame);
    (VOID) setjmp(Frame.Jump); /* a bug check drops its DPC and comes back here */
    KprcbThread.Thread->ThreadedFor->PrcbData.DpcData[DPC_THREADED].ActiveDpc = NULL;
    KiDpcThreadLoop(&KprcbThread, KprcbThread.Thread->ThreadedFor);
    KiLeaveFrame(Block, &Frame);
    KiEndMachineThread();
}

/* At PASSIVE_LEVEL, by one thread at a time for each processor. */
static BOOLEAN KiCreateDpcThread(PKPCR Pcr)
{
    char Name[16] = "kprcb-dpc-0000";
    PKTHREAD Thread = KiAllocateThread(KiMachineThread);

    if (Thread == NULL) {
        return FALSE;
    }
    for (ULONG Digit = 0, Rest = Pcr->PrcbData.Number; Digit < 4; Digit += 1, Rest /= 10) {
        Name[13 - Digit] = (char)('0' + Rest % 10);
    }
    Thread->ThreadedFor = Pcr;
    if (!NT_SUCCESS(HalCreateThread(&Thread->Host, KiDpcThread, Thread, KI_DPC_STACK,
                                    Pcr->HostProcessor == KPRCB_NOT_PINNED ? HAL_ANY_PROCESSOR : Pcr->HostProcessor,
                                    Name))) {
        KiFreeThread(Thread);
        return FALSE;
    }
    __atomic_store_n(&Pcr->PrcbData.DpcThread, Thread, __ATOMIC_RELEASE);
    return TRUE;
}

/* There is no thread for them. */
static VOID KiMoveToNormalQueue(PKPCR Pcr)
{
    PKPRCB Prcb = &Pcr->PrcbData;
    PKDPC_DATA Data = &Prcb->DpcData[DPC_THREADED];
    PKDPC_DATA Normal = &Prcb->DpcData[DPC_NORMAL];
    PSINGLE_LIST_ENTRY Entry;

    KiMaskInterrupts(&KprcbThread);
    KiAcquireInternalLock(&Data->DpcLock);
    KiAcquireInternalLock(&Normal->DpcLock); /* a remover that sees the new DpcData finds the DPC in the inbox */
    while ((Entry = Data->DpcList.ListHead.Next) != NULL) {
        PKDPC Dpc = CONTAINING_RECORD(Entry, KDPC, DpcListEntry);

        Data->DpcList.ListHead.Next = Entry->Next;
        __atomic_store_n(&Dpc->DpcData, (PVOID)Normal, __ATOMIC_RELEASE);
        (VOID) KiPostDpc(Pcr, Dpc, FALSE);
        __atomic_store_n(&Data->DpcQueueDepth, Data->DpcQueueDepth - 1, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&Prcb->DpcThreadRequested, FALSE, __ATOMIC_RELAXED);
    KiShowThreadDpcState(Prcb);
    KiReleaseInternalLock(&Normal->DpcLock);
    KiReleaseInternalLock(&Data->DpcLock);
    KiUnmaskInterrupts(&KprcbThread);
    KiRequest(Pcr, KPCR_REQUEST_DISPATCH);
}

VOID KiServeThreadRequest(PKPCR Pcr)
{
    /* Before the look at the queue: an insert that comes later asks again. */
    __atomic_fetch_and(&Pcr->Request, ~(ULONG)KPCR_REQUEST_THREAD, __ATOMIC_SEQ_CST);
    if (Pcr->PrcbData.DpcThread != NULL) {
        KiSignalGate(&Pcr->PrcbData.DpcGate);
    } else if (!KiCreateDpcThread(Pcr)) {
        KiMoveToNormalQueue(Pcr);
    }
}

VOID KiStopDpcThreads(ULONG Count)
{
    for (ULONG Index = 0; Index < Count; Index += 1) {
        PKPRCB Prcb = &KiProcessor(Index)->PrcbData;

        if (Prcb->DpcThread != NULL) {
            KiSignalGate(&Prcb->DpcGate);
        }
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        PKPRCB Prcb = &KiProcessor(Index)->PrcbData;

        if (Prcb->DpcThread != NULL) {
            HalJoinThread(&Prcb->DpcThread->Host);
        }
    }
}

VOID KiFollowThreadedSwitch(PKPCR Pcr)
{
    HalAcquireMutex(&KiMachineLock);
    __atomic_store_n(&Pcr->PrcbData.ThreadDpcEnable, KiMachine.ThreadedDpcs, __ATOMIC_RELAXED);
    HalReleaseMutex(&KiMachineLock);
}

VOID KiCheckMayWait(KPRCB_THREAD_BLOCK *Block)
{
    if (Block->Thread->ThreadedFor != NULL) {
        KeBugCheckEx(ATTEMPTED_SWITCH_FROM_DPC, (ULONG_PTR)Block->Thread, 0, 0, 0);
    }
}

NTSTATUS KprcbSetThreadedDpcs(BOOLEAN Enable)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    if (Block->Irql >= DISPATCH_LEVEL) {
        return STATUS_INVALID_DEVICE_STATE;
    }
    if (!KiMachine.Profile->ThreadedDpcs) {
        return STATUS_NOT_SUPPORTED;
    }
    HalAcquireMutex(&KiMachineLock);
    __atomic_store_n(&KiMachine.ThreadedDpcs, Enable != FALSE, __ATOMIC_RELAXED);
    for (ULONG Index = 0; Index < KiProcessorCount(); Index += 1) {
        __atomic_store_n(&KiProcessor(Index)->PrcbData.ThreadDpcEnable, Enable != FALSE, __ATOMIC_RELAXED);
    }
    HalReleaseMutex(&KiMachineLock);
    return STATUS_SUCCESS;
}
