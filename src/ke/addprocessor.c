/*
 * addprocessor.c - KprcbAddProcessor: one more processor while the machine runs.
 *
 * KPCRs are reserved for the maximum when the machine starts, and pages that nobody touches cost nothing. A processor
 * is completed while nobody can name it: initialised, identified, its threads created. Its idle thread parks, since
 * nothing asks it for anything. Then it becomes active, by one word.
 *
 *   word                       written by                                            read by
 *   KiMachine.ProcessorCount   the adder, release, holding the addition lock and     everyone, acquire (KiProcessorCount)
 *                              the broadcast lock
 *   KiMachine.Crowded          the same, relaxed, before it                          spinners, relaxed: a hint
 *
 * The release pairs with the acquire of whoever finds the index below the count: it sees a complete KPCR. Counts and
 * masks of groups follow from that one word, so they never contradict each other. The broadcast lock (ipicall.c) keeps
 * the count still while a KeIpiGenericCall is under way: until its end the new processor is named by nobody, and its
 * idle thread stays below DISPATCH_LEVEL. Who adds during a freeze (freeze.c) waits for the thaw. The sets of other
 * KPRCBs gain it last (topology.c).
 *
 * Callbacks (processorcallback.c) are told before and after, the addition lock held. A bug check that unwinds out of one
 * releases the lock; others are not told how it ended.
 *
 * The machine does not stop meanwhile: the adder is attached, so that KprcbStop by another thread
 * finds it, and its own is refused (KTHREAD.Adding). The addition lock is held while the adder waits for the broadcast
 * lock; whoever waits for the addition lock is at PASSIVE_LEVEL and owns no processor, so no rendezvous waits for it.
 *
 * Tests: tests/ke/test_addprocessor.c, tests/stress/stress_addprocessor.c.
 */
#include "ki.h"

static HAL_MUTEX KiAdditionLock;

VOID KiAbandonAdditions(VOID)
{
    KiAdditionLock = (HAL_MUTEX){0};
}

static VOID KiLetGoAdditions(PKTHREAD Thread)
{
    KiFreeRemovedCallbacks();
    HalReleaseMutex(&KiAdditionLock);
    Thread->Adding = FALSE;
}

static NTSTATUS KiCallFramed(KPRCB_THREAD_BLOCK *Block, NTSTATUS (*Routine)(PVOID), PVOID Context)
{
    KI_FRAME Frame;
    NTSTATUS Status;

    KiEnterFrame(Block, &Frame, KiCleanupFrame);
    if (setjmp(Frame.Jump) != 0) {
        KiLeaveFrame(&KprcbThread, &Frame);
        KiForgetTold();
        KiLetGoAdditions(KprcbThread.Thread);
        KiPassBugCheck(&Frame.BugCheck);
    }
    Status = Routine(Context);
    KiLeaveFrame(&KprcbThread, &Frame);
    return Status;
}

NTSTATUS KiHoldingAdditions(KPRCB_THREAD_BLOCK *Block, NTSTATUS (*Routine)(PVOID), PVOID Context)
{
    PKTHREAD Thread = Block->Thread;
    NTSTATUS Status;

    if (Thread->Adding) {
        return Routine(Context);
    }
    Thread->Adding = TRUE;
    HalAcquireMutex(&KiAdditionLock);
    Status = Thread->Frame == NULL ? Routine(Context) : KiCallFramed(Block, Routine, Context);
    KiLetGoAdditions(Thread);
    return Status;
}

static NTSTATUS KiCreateProcessor(ULONG Index)
{
    NTSTATUS Status = STATUS_INSUFFICIENT_RESOURCES;

    if (KiInitializeAddedProcessor(Index)) {
        Status = KiCreateProcessorThreads(Index);
    }
    if (NT_SUCCESS(Status)) {
        KiActivateProcessor();
        KiFollowThreadedSwitch(KiProcessor(Index));
        KiFollowDpcHistory(KiProcessor(Index));
        KiAnnounceProcessor(&KiProcessor(Index)->PrcbData);
    }
    return Status;
}

static NTSTATUS KiAddProcessor(PVOID Context)
{
    ULONG Index = KiProcessorCount();
    NTSTATUS Status;

    if (Index >= KiMachine.MaximumProcessors) {
        return STATUS_QUOTA_EXCEEDED;
    }
    Status = KiTellStart(Index);
    if (NT_SUCCESS(Status)) {
        Status = KiCreateProcessor(Index);
    }
    KiTellEnd(Index, Status);
    if (NT_SUCCESS(Status) && Context != NULL) {
        (VOID) KeGetProcessorNumberFromIndex(Index, Context);
    }
    return Status;
}

NTSTATUS KprcbAddProcessor(PPROCESSOR_NUMBER Number)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    if (Block->Irql != PASSIVE_LEVEL || Block->Thread->Kind == KiMachineThread || Block->Thread->Adding) {
        return STATUS_INVALID_DEVICE_STATE;
    }
    return KiHoldingAdditions(Block, KiAddProcessor, Number);
}
