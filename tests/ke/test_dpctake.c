/*
 * test_dpctake.c - KeRemoveQueueDpc against an owner that takes DPCs off its list without the lock (src/ke/dpcqueue.c).
 *
 * DPCs are inserted in batches; while their processor runs them, another thread takes some back. Each insert is one run
 * or one removal, and none both.
 *
 * KPRCB_EXPECT_DOUBLE_TAKE=1 turns the result round, for a library built with KPRCB_BREAK_TAKE: 0 if a DPC was both run
 * and removed, or neither, or the broken list ended in a hang, 1 if none was, 77 if the host cannot show it (one CPU, or
 * no membarrier).
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "dpctest.h"
#include "hal.h"

#define TARGET 1
#define BATCH 24
#define BATCHES 3000
#define SANITIZED_BATCHES 300
#define EXPECTED_BATCHES 20000 /* enough for a wrong one to be among them */
#define LINES 6
#define GUARD 100 /* seconds: far longer than a build that is not broken takes */

typedef struct _TAKE {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) KDPC Dpc;
    ULONG volatile Ran;
    ULONG volatile Removed;
} TAKE;

static TAKE Takes[BATCH];

/* Lines that the remover writes too: the store that marks a take waits behind these in the CPU's store buffer. */
static struct {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile Word;
} Lines[LINES];

static void WriteLines(ULONG Value)
{
    for (ULONG Line = 0; Line < LINES; Line += 1) {
        __atomic_store_n(&Lines[Line].Word, Value, __ATOMIC_RELAXED);
    }
}

static VOID TakeRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    TAKE *Take = Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(&Take->Ran);
    WriteLines(1);
}

/* Holds the processor's queue up until the batch is complete. */
static ULONG volatile Started, Go;

static VOID GateRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(&Started);
    while (CountOf(&Go) == 0) {
        HalPause();
    }
}

/* The number of DPCs of a batch that were not exactly once run or removed. */
static ULONG RunBatch(PKDPC Gate, PULONG Random)
{
    ULONG Wrong = 0;

    Started = Go = 0;
    KeInsertQueueDpc(Gate, NULL, NULL);
    AwaitCount(&Started, 1);
    for (ULONG Index = 0; Index < BATCH; Index += 1) {
        Takes[Index].Ran = Takes[Index].Removed = 0;
        KeInsertQueueDpc(&Takes[Index].Dpc, NULL, NULL);
    }
    CountOne(&Go);
    for (ULONG Index = NextRandom(Random) % 4; Index < BATCH; Index += 1 + NextRandom(Random) % 4) {
        WriteLines(2);
        if (KeRemoveQueueDpc(&Takes[Index].Dpc)) {
            CountOne(&Takes[Index].Removed);
        }
    }
    KeFlushQueuedDpcs();
    for (ULONG Index = 0; Index < BATCH; Index += 1) {
        Wrong += Takes[Index].Ran + Takes[Index].Removed != 1;
    }
    return Wrong;
}

static ULONG RunBatches(ULONG Flags, ULONG Batches)
{
    ULONG Random = 31337;
    ULONG Wrong = 0;
    KDPC Gate;

    StartAttached(2, Flags);
    KeInitializeDpc(&Gate, GateRoutine, NULL);
    KeSetTargetProcessorDpc(&Gate, TARGET);
    for (ULONG Index = 0; Index < BATCH; Index += 1) {
        KeInitializeDpc(&Takes[Index].Dpc, TakeRoutine, &Takes[Index]);
        KeSetTargetProcessorDpc(&Takes[Index].Dpc, TARGET);
    }
    for (ULONG Batch = 0; Batch < Batches && Wrong == 0; Batch += 1) {
        Wrong = RunBatch(&Gate, &Random);
    }
    if (Wrong == 0) {
        StopMachine(); /* does not end with a broken list */
    }
    return Wrong;
}

static void Noticed(int Signal)
{
    UNREFERENCED_PARAMETER(Signal);
    _exit(0);
}

static void each_insert_is_run_or_removed(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RunBatches(MachineFlags, TEST_SANITIZED ? SANITIZED_BATCHES : BATCHES), 0);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(each_insert_is_run_or_removed)};

    if (getenv("KPRCB_EXPECT_DOUBLE_TAKE") != NULL) {
        if (HalInitializeProcessors() < 2 || !HalInitializeBarrier()) {
            return 77;
        }
        signal(SIGALRM, Noticed);
        alarm(GUARD);
        _exit(RunBatches(0, EXPECTED_BATCHES) != 0 ? 0 : 1);
    }
    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
