/*
 * machine.c - KprcbStart, KprcbStop, the start by the first call, and the child of a fork.
 *
 * Lock: KiMachineLock serialises starting, stopping, attaching and detaching. Whoever waits for it is below
 * DISPATCH_LEVEL.
 *
 * Tests: tests/ke/test_machine.c.
 */
#include "ki.h"

#define KI_IDLE_STACK (256 * 1024)
#define KI_STOP_PATIENCE 100000000 /* ns */

KI_MACHINE KiMachine;
HAL_MUTEX KiMachineLock;

/* One a processor; guard: KiMachineLock, and for those that are added the addition lock. */
static HAL_THREAD *KiIdleHandles;

static VOID KiForkChild(VOID)
{
    KiMachineLock = (HAL_MUTEX){0};
    KiAbandonThreads();
    KiAbandonCatches();
    KiAbandonCalls();
    KiAbandonFreeze();
    KiAbandonWatches();
    KiAbandonAdditions();
    KiAbandonCallbacks();
    KiAbandonDpcCalls();
    KiAbandonDpcHistory();
    KiAbandonCaptures();
    KiAbandonDebuggerData();
    KiAbandonTopology();
    KiSleepers = 0;
    KiMachine = (KI_MACHINE){0};
    KiIdleHandles = NULL;
}

static SIZE_T KiProcessorBytes(VOID)
{
    return KiMachine.MaximumProcessors * sizeof(KPCR);
}

static SIZE_T KiHandleBytes(VOID)
{
    return KiMachine.MaximumProcessors * sizeof(HAL_THREAD);
}

VOID KiStopProcessorThreads(ULONG Count)
{
    for (ULONG Index = 0; Index < Count; Index += 1) {
        __atomic_fetch_or(&KiProcessor(Index)->Request, KPCR_REQUEST_STOP, __ATOMIC_SEQ_CST);
        HalWake(&KiProcessor(Index)->Request, 1);
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        HalJoinThread(&KiIdleHandles[Index]);
    }
    KiStopDpcThreads(Count);
}

static VOID KiFreeMachine(VOID)
{
    KiFreeDpcHistory();
    KiFreeCaptures();
    if (KiMachine.Processors != NULL) {
        HalFreePages(KiMachine.Processors, KiProcessorBytes());
    }
    if (KiIdleHandles != NULL) {
        HalFreePages(KiIdleHandles, KiHandleBytes());
    }
    KiFreeIpi();
    KiFreeThreads();
    KiFreeAllCallbacks();
    KiFreeTopology();
    KiIdleHandles = NULL;
    KiMachine = (KI_MACHINE){0};
}

NTSTATUS KiCreateProcessorThreads(ULONG Index)
{
    PKPCR Pcr = KiProcessor(Index);
    char Name[16] = "kprcb-idle-0000";

    for (ULONG Digit = 0, Rest = Index; Digit < 4; Digit += 1, Rest /= 10) {
        Name[14 - Digit] = (char)('0' + Rest % 10);
    }
    /* There is one already if an earlier attempt to add this processor failed. */
    if (Pcr->PrcbData.IdleThread == NULL) {
        Pcr->PrcbData.IdleThread = KiAllocateThread(KiMachineThread);
    }
    if (Pcr->PrcbData.IdleThread == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Pcr->PrcbData.CurrentThread = Pcr->PrcbData.IdleThread;
    return HalCreateThread(&KiIdleHandles[Index], KiIdleThread, Pcr, KI_IDLE_STACK,
                           Pcr->HostProcessor == KPRCB_NOT_PINNED ? HAL_ANY_PROCESSOR : Pcr->HostProcessor, Name);
}

/* *Created: for how many processors. */
static NTSTATUS KiCreateThreads(ULONG *Created)
{
    NTSTATUS Status = STATUS_SUCCESS;

    while (NT_SUCCESS(Status) && *Created < KiMachine.ProcessorCount) {
        Status = KiCreateProcessorThreads(*Created);
        *Created += NT_SUCCESS(Status) ? 1 : 0;
    }
    return Status;
}

NTSTATUS KiStartMachine(const KPRCB_CONFIG *Config)
{
    ULONG Created = 0;
    NTSTATUS Status;

    KiMachine = (KI_MACHINE){0};
    Status = KiReadConfig(Config, &KiMachine);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    KiReadHangPeriod();
    KiForgetHotLocks();
    KiForgetBias();
    HalSetForkChild(KiForkChild);
    KiMachine.State = KiStarting;
    KiMachine.Biased = (KiMachine.Flags & KPRCB_NO_MEMBARRIER) == 0 && HalInitializeBarrier();
    KiMachine.Signals = (KiMachine.Flags & KPRCB_NO_SIGNALS) == 0 && HalInstallInterrupt(KiHostInterrupt);
    KiMachine.Processors = HalAllocatePages(KiProcessorBytes());
    KiIdleHandles = HalAllocatePages(KiHandleBytes());
    if (KiMachine.Processors == NULL || KiIdleHandles == NULL || !KiStartTopology() || !KiStartCaptures()) {
        KiFreeMachine();
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Status = KiInitializeIpi();
    if (NT_SUCCESS(Status)) {
        KiInitializeProcessors();
        Status = KiStartDpcHistory();
    }
    if (NT_SUCCESS(Status)) {
        Status = KiStartClock();
    }
    if (NT_SUCCESS(Status)) {
        Status = KiCreateThreads(&Created);
        if (!NT_SUCCESS(Status)) {
            KiStopProcessorThreads(Created);
            KiStopClock();
        }
    }
    if (!NT_SUCCESS(Status)) {
        KiFreeMachine();
        return Status;
    }
    KiPublishDebuggerData();
    __atomic_store_n(&KiMachine.State, KiRunning, __ATOMIC_RELEASE);
    return STATUS_SUCCESS;
}

NTSTATUS KprcbStart(const KPRCB_CONFIG *Config)
{
    NTSTATUS Status = STATUS_ALREADY_INITIALIZED;

    HalAcquireMutex(&KiMachineLock);
    if (KiMachine.State == KiStopped) {
        Status = KiStartMachine(Config);
    }
    HalReleaseMutex(&KiMachineLock);
    return Status;
}

static BOOLEAN KiAllDpcsIdle(PKPCR Pcr)
{
    return KiThreadedDpcsIdle(Pcr) && KiDpcsIdle(Pcr);
}

static BOOLEAN KiAnyDpcsQueued(PKPCR Pcr)
{
    return __atomic_load_n(&Pcr->PrcbData.DpcData[DPC_THREADED].DpcQueueDepth, __ATOMIC_ACQUIRE) != 0 ||
           KiDpcsQueued(Pcr);
}

/* A DPC that has told the caller of its end may still be on its way out. */
static BOOLEAN KiAwaitLastDpc(PKPCR Pcr)
{
    ULONGLONG End = HalMonotonicTime() + KI_STOP_PATIENCE;

    while (!KiAnyDpcsQueued(Pcr) && !KiAllDpcsIdle(Pcr) && HalMonotonicTime() < End) {
        HalYield();
    }
    return KiAllDpcsIdle(Pcr);
}

/* DPCs that have begun, on all processors. */
static ULONG KiCountDpcs(VOID)
{
    ULONG Count = 0;

    for (ULONG Index = 0; Index < KiProcessorCount(); Index += 1) {
        PKDPC_DATA Data = KiProcessor(Index)->PrcbData.DpcData;

        Count += __atomic_load_n(&Data[DPC_NORMAL].DpcCount, __ATOMIC_SEQ_CST);
        Count += __atomic_load_n(&Data[DPC_THREADED].DpcCount, __ATOMIC_SEQ_CST);
    }
    return Count;
}

/* What keeps the machine from stopping at this moment, or NULL. */
static const char *KiLookForOutstanding(VOID)
{
    if (KiOtherThreads() != 0) {
        return "other threads are attached";
    }
    for (ULONG Index = 0; Index < KiProcessorCount(); Index += 1) {
        PKPCR Pcr = KiProcessor(Index);

        if (!KiAwaitLastDpc(Pcr)) {
            return "DPCs are queued or running";
        }
        if (KiPacketOutstanding(Pcr)) {
            return "an IPI is under way";
        }
    }
    return NULL;
}

/*
 * A DPC may have queued another for a processor that had been looked at: two rounds must find nothing, and no DPC may
 * have begun since before the first.
 */
static const char *KiFindOutstanding(VOID)
{
    for (;;) {
        ULONG Count = KiCountDpcs();
        const char *Outstanding = KiLookForOutstanding();

        if (Outstanding == NULL) {
            Outstanding = KiLookForOutstanding();
        }
        if (Outstanding != NULL || KiCountDpcs() == Count) {
            return Outstanding;
        }
    }
}

static const char *KiFindCallersBusiness(PKTHREAD Thread)
{
    if (Thread != NULL && Thread->Adding) {
        return "the caller is inside a callback of KeRegisterProcessorChangeCallback";
    }
    return Thread != NULL && Thread->Frame != NULL ? "the caller is inside KprcbCatchBugCheck" : NULL;
}

NTSTATUS KprcbStop(VOID)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    const char *Outstanding;

    if (Block->Thread != NULL && (Block->Irql != PASSIVE_LEVEL || Block->Thread->Kind == KiMachineThread)) {
        return STATUS_INVALID_DEVICE_STATE;
    }
    HalAcquireMutex(&KiMachineLock);
    if (KiMachine.State != KiRunning) {
        HalReleaseMutex(&KiMachineLock);
        return STATUS_DEVICE_NOT_READY;
    }
    Outstanding = KiFindCallersBusiness(Block->Thread);
    if (Outstanding == NULL) {
        Outstanding = KiFindOutstanding();
    }
    if (Outstanding != NULL) {
        HalReleaseMutex(&KiMachineLock);
        HalPrint("kprcb: KprcbStop: %s\n", Outstanding);
        return STATUS_DEVICE_BUSY;
    }
    if (Block->Thread != NULL) {
        if (Block->Thread->Kind == KiNamedThread) {
            HalUnpinThread();
        }
        KiEndResidency(Block);
        KiDetachCurrentThread();
    }
    KiMachine.State = KiStopping;
    KiWithdrawDebuggerData();
    KiStopClock();
    KiStopProcessorThreads(KiProcessorCount());
    KiFreeMachine();
    HalReleaseMutex(&KiMachineLock);
    return STATUS_SUCCESS;
}

VOID KprcbEnterMachine(VOID)
{
    NTSTATUS Status = STATUS_SUCCESS;

    HalAcquireMutex(&KiMachineLock);
    if (KiMachine.State != KiRunning) {
        Status = KiStartMachine(NULL);
    }
    if (NT_SUCCESS(Status) && !KiAttachCurrentThread()) {
        Status = STATUS_INSUFFICIENT_RESOURCES;
    }
    HalReleaseMutex(&KiMachineLock);
    if (NT_SUCCESS(Status)) {
        KiSettle(&KprcbThread);
    } else {
        KeBugCheckEx(PHASE0_INITIALIZATION_FAILED, (ULONG_PTR)(ULONG)Status, 0, 0, 0);
    }
}

const char *KprcbVersion(VOID)
{
    return KPRCB_LIBRARY_VERSION;
}
