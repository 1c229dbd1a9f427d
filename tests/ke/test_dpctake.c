/*
 * test_dpctake.c - an owner that takes DPCs off its list without the lock and without a barrier (src/ke/dpcqueue.c),
 * against KeRemoveQueueDpc and against KeInsertQueueDpc of a DPC that is queued.
 *
 * Told that a DPC is queued, an inserter may rely on its routine to see what was stored before. It stores a number and
 * inserts, again and again; a number that the routine has not seen once the processor is idle is lost.
 * KPRCB_EXPECT_LOST_STORE=1 is for a library built with KPRCB_BREAK_FENCE, as below, and KPRCB_EXPECT_LOST_STORE=2, with
 * threaded DPCs, for one built with KPRCB_BREAK_THREADED_FENCE.
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
#include "ki.h"

#define TARGET 1
#define BATCH 24
#define BATCHES 1500
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

/* --- inserts of a queued DPC --- */

#define STORES 100000
#define SANITIZED_STORES 20000
#define EXPECTED_STORES 2000000

static DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile Stored;
static DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile Seen;

static VOID SeeRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    __atomic_store_n(&Seen, __atomic_load_n(&Stored, __ATOMIC_RELAXED), __ATOMIC_RELEASE);
    WriteLines(3);
}

/* Keeps the processor's drain going, so that the one under test is taken in the middle of it. */
static VOID FillRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    WriteLines(4);
}

static BOOLEAN IsIdle(BOOLEAN Threaded)
{
    return Threaded ? KiThreadedDpcsIdle(KiProcessor(TARGET)) : KiDpcsIdle(KiProcessor(TARGET));
}

/* The first store that was lost, or 0. */
static ULONG StoreAndInsert(ULONG Flags, ULONG Stores, BOOLEAN Threaded)
{
    ULONG Random = 271828;
    KDPC Dpc, Fill[4];

    StartAttached(2, Flags);
    (Threaded ? KeInitializeThreadedDpc : KeInitializeDpc)(&Dpc, SeeRoutine, NULL);
    KeSetTargetProcessorDpc(&Dpc, TARGET);
    for (ULONG Index = 0; Index < ARRAYSIZE(Fill); Index += 1) {
        (Threaded ? KeInitializeThreadedDpc : KeInitializeDpc)(&Fill[Index], FillRoutine, NULL);
        KeSetTargetProcessorDpc(&Fill[Index], TARGET);
    }
    Stored = Seen = 0;
    for (ULONG Store = 1; Store <= Stores; Store += 1) {
        KeInsertQueueDpc(&Fill[Store % ARRAYSIZE(Fill)], NULL, NULL);
        KeInsertQueueDpc(&Dpc, NULL, NULL);
        for (ULONG Pause = NextRandom(&Random) % 8; Pause != 0; Pause -= 1) {
            HalPause();
        }
        WriteLines(5);
        __atomic_store_n(&Stored, Store, __ATOMIC_RELAXED);
        KeInsertQueueDpc(&Dpc, NULL, NULL);
        if (Store % 8 == 0 || getenv("KPRCB_EXPECT_LOST_STORE") != NULL) {
            while (__atomic_load_n(&Seen, __ATOMIC_ACQUIRE) != Store) {
                if (IsIdle(Threaded) && __atomic_load_n(&Seen, __ATOMIC_ACQUIRE) != Store) {
                    return Store;
                }
            }
        }
    }
    StopMachine();
    return 0;
}

static void a_queued_dpc_sees_what_was_stored_before_the_insert(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(StoreAndInsert(MachineFlags, TEST_SANITIZED ? SANITIZED_STORES : STORES, FALSE), 0);
}

static void a_queued_threaded_dpc_sees_what_was_stored_before_the_insert(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(StoreAndInsert(MachineFlags, TEST_SANITIZED ? SANITIZED_STORES : STORES, TRUE), 0);
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
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(each_insert_is_run_or_removed),
        cmocka_unit_test(a_queued_dpc_sees_what_was_stored_before_the_insert),
        cmocka_unit_test(a_queued_threaded_dpc_sees_what_was_stored_before_the_insert),
    };
    const char *Lost = getenv("KPRCB_EXPECT_LOST_STORE");
    BOOLEAN ExpectLostStore = Lost != NULL;

    if (getenv("KPRCB_EXPECT_DOUBLE_TAKE") != NULL || ExpectLostStore) {
        if (HalInitializeProcessors() < 2 || !HalInitializeBarrier()) {
            return 77;
        }
        if (ExpectLostStore) {
            _exit(StoreAndInsert(0, EXPECTED_STORES, *Lost == '2') != 0 ? 0 : 1);
        }
        signal(SIGALRM, Noticed);
        alarm(GUARD);
        _exit(RunBatches(0, EXPECTED_BATCHES) != 0 ? 0 : 1);
    }
    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
