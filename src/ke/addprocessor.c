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
 * idle thread stays below DISPATCH_LEVEL.
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

/* The addition lock held. */
static NTSTATUS KiAddProcessor(ULONG Index)
{
    NTSTATUS Status = STATUS_INSUFFICIENT_RESOURCES;

    if (KiInitializeAddedProcessor(Index)) {
        Status = KiCreateProcessorThreads(Index);
    }
    if (NT_SUCCESS(Status)) {
        KiActivateProcessor();
    }
    return Status;
}

NTSTATUS KprcbAddProcessor(PPROCESSOR_NUMBER Number)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    NTSTATUS Status = STATUS_QUOTA_EXCEEDED;
    ULONG Index;

    if (Block->Irql != PASSIVE_LEVEL || Block->Thread->Kind == KiMachineThread || Block->Thread->Adding) {
        return STATUS_INVALID_DEVICE_STATE;
    }
    Block->Thread->Adding = TRUE;
    HalAcquireMutex(&KiAdditionLock);
    Index = KiProcessorCount();
    if (Index < KiMachine.MaximumProcessors) {
        Status = KiAddProcessor(Index);
    }
    HalReleaseMutex(&KiAdditionLock);
    Block->Thread->Adding = FALSE;
    if (NT_SUCCESS(Status) && Number != NULL) {
        (VOID) KeGetProcessorNumberFromIndex(Index, Number);
    }
    return Status;
}
