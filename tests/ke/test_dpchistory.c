/*
 * test_dpchistory.c - what is recorded of DPC routines, when, and how a full table makes room.
 */
#include "ke/dpctest.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ki.h"

#define CAPACITY 1024
#define FULL 768
#define CHUNK 1536

static KPRCB_DPC_RUNTIME Entries[CAPACITY];

static ULONG Query(ULONG Processor)
{
    ULONG Count = 12345;

    assert_int_equal(KprcbQueryDpcHistory(Processor, Entries, CAPACITY, &Count), STATUS_SUCCESS);
    return Count;
}

static KPRCB_DPC_RUNTIME Many[CHUNK + 2];

static ULONG QueryMany(ULONG Processor)
{
    ULONG Count = 12345;

    assert_int_equal(KprcbQueryDpcHistory(Processor, Many, ARRAYSIZE(Many), &Count), STATUS_SUCCESS);
    return Count;
}

static const KPRCB_DPC_RUNTIME *Find(ULONG Processor, PKDEFERRED_ROUTINE Routine)
{
    ULONG Count = Query(Processor);

    for (ULONG Index = 0; Index < Count; Index += 1) {
        if (Entries[Index].Routine == Routine) {
            return &Entries[Index];
        }
    }
    return NULL;
}

static ULONGLONG RunsOf(ULONG Processor, PKDEFERRED_ROUTINE Routine)
{
    const KPRCB_DPC_RUNTIME *Found = Find(Processor, Routine);

    return Found != NULL ? Found->Count : 0;
}

/* --- Routines --- */

static ULONGLONG StartTime;

static VOID Short(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    StartTime = KeGetCurrentPrcb()->CurrentDpcStartTime;
}

static VOID Long(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    ULONGLONG End = HalMonotonicTime() + (ULONG_PTR)Argument1;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument2);
    while (HalMonotonicTime() < End) {
    }
}

static VOID Fails(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeBugCheck(MANUALLY_INITIATED_CRASH);
}

static void Run(PKDEFERRED_ROUTINE Routine, ULONG Processor, ULONG Times, ULONG Nanoseconds)
{
    KDPC Dpc;

    KeInitializeDpc(&Dpc, Routine, NULL);
    KeSetTargetProcessorDpc(&Dpc, (CCHAR)Processor);
    KeSetImportanceDpc(&Dpc, HighImportance);
    for (ULONG Time = 0; Time < Times; Time += 1) {
        assert_true(KeInsertQueueDpc(&Dpc, (PVOID)(ULONG_PTR)Nanoseconds, NULL));
        KeFlushQueuedDpcs();
    }
}

/* --- Tests --- */

static void it_is_off_until_it_is_switched_on(void **State)
{
    (void)State;
    StartAttached(2, MachineFlags);
    Run(Short, 0, 3, 0);
    assert_int_equal(Query(0), 0);
    assert_null(KeGetCurrentPrcb()->DpcRuntimeHistoryHashTable);
    assert_int_equal(StartTime, 0);

    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    assert_non_null(KeGetCurrentPrcb()->DpcRuntimeHistoryHashTable);
    Run(Short, 0, 5, 0);
    assert_int_equal(RunsOf(0, Short), 5);
    assert_int_not_equal(StartTime, 0);
    assert_int_equal(KeGetCurrentPrcb()->CurrentDpcStartTime, 0);

    assert_int_equal(KprcbSetDpcHistory(FALSE), STATUS_SUCCESS);
    Run(Short, 0, 7, 0);
    assert_int_equal(RunsOf(0, Short), 5);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    Run(Short, 0, 1, 0);
    assert_int_equal(RunsOf(0, Short), 6);
    StopMachine();

    StartAttached(2, MachineFlags);
    assert_int_equal(Query(0), 0);
    StopMachine();
}

static void each_routine_and_each_processor_has_its_own(void **State)
{
    const KPRCB_DPC_RUNTIME *Found;

    (void)State;
    StartAttached(2, MachineFlags);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    Run(Short, 0, 2, 0);
    Run(Short, 1, 3, 0);
    Run(Long, 1, 1, 3000000);
    Run(Long, 1, 3, 1000000);
    assert_int_equal(RunsOf(0, Short), 2);
    assert_int_equal(RunsOf(0, Long), 0);
    assert_int_equal(RunsOf(1, Short), 3);
    Found = Find(1, Long);
    assert_non_null(Found);
    assert_int_equal(Found->Count, 4);
    /* A hundredth less: the two clocks of the conversion are read one after the other. */
    assert_true(Found->LongestTime >= 2970000);
    assert_true(Found->TotalTime >= 5940000);
    assert_true(Found->TotalTime - Found->LongestTime >= 2970000);
    StopMachine();
}

static void a_processor_that_is_added_follows(void **State)
{
    KPRCB_CONFIG Config = Configuration(1, 0, MachineFlags);

    (void)State;
    Config.MaximumProcessorCount = 3;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    Run(Short, 1, 4, 0);
    assert_int_equal(RunsOf(1, Short), 4);
    assert_int_equal(KprcbSetDpcHistory(FALSE), STATUS_SUCCESS);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    Run(Short, 2, 1, 0);
    assert_int_equal(Query(2), 0);
    StopMachine();
}

static void the_environment_switches_it_on(void **State)
{
    (void)State;
    setenv("KPRCB_DPC_HISTORY", "1", 1);
    StartAttached(2, MachineFlags);
    Run(Short, 0, 1, 0);
    assert_int_equal(RunsOf(0, Short), 1);
    StopMachine();
    setenv("KPRCB_DPC_HISTORY", "0", 1);
    StartAttached(2, MachineFlags);
    assert_null(KeGetCurrentPrcb()->DpcRuntimeHistoryHashTable);
    StopMachine();
    setenv("KPRCB_DPC_HISTORY", "yes", 1);
    assert_int_equal(KprcbStart(NULL), STATUS_INVALID_PARAMETER);
    unsetenv("KPRCB_DPC_HISTORY");
}

static VOID RunFailure(PVOID Context)
{
    KDPC Dpc;

    UNREFERENCED_PARAMETER(Context);
    KeInitializeDpc(&Dpc, Fails, NULL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
}

static void a_dpc_that_does_not_end_is_not_recorded(void **State)
{
    (void)State;
    StartAttached(1, MachineFlags);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    assert_int_equal(CaughtCode(RunFailure, NULL), MANUALLY_INITIATED_CRASH);
    assert_int_equal(Query(0), 0);
    assert_int_equal(KeGetCurrentPrcb()->CurrentDpcStartTime, 0);
    StopMachine();
}

static void bad_calls_are_refused(void **State)
{
    ULONG Count = 99;
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    assert_int_equal(KprcbQueryDpcHistory(2, Entries, CAPACITY, &Count), STATUS_INVALID_PARAMETER);
    assert_int_equal(Count, 0);
    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_INVALID_DEVICE_STATE);
    KeLowerIrql(OldIrql);
    assert_null(KeGetCurrentPrcb()->DpcRuntimeHistoryHashTable);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    Run(Short, 0, 1, 0);
    Run(Long, 0, 1, 0);
    Entries[1].Count = 77;
    assert_int_equal(KprcbQueryDpcHistory(0, Entries, 1, &Count), STATUS_BUFFER_TOO_SMALL);
    assert_int_equal(Count, 2);
    assert_int_equal(Entries[0].Count, 1);
    assert_int_equal(Entries[1].Count, 77);
    assert_int_equal(KprcbQueryDpcHistory(0, NULL, 0, &Count), STATUS_BUFFER_TOO_SMALL);
    StopMachine();
}

/* --- A full table; the routines are never called --- */

static PKDEFERRED_ROUTINE Imagined(ULONG Number)
{
    return (PKDEFERRED_ROUTINE)(ULONG_PTR)(0x10000 + Number * 16);
}

static void Record(ULONG First, ULONG Count, ULONGLONG Elapsed)
{
    PKPRCB Prcb = KeGetCurrentPrcb();

    for (ULONG Number = First; Number < First + Count; Number += 1) {
        KiRecordDpc(Prcb, Imagined(Number), Elapsed);
    }
}

static void a_full_table_keeps_what_matters(void **State)
{
    KIRQL OldIrql;

    (void)State;
    StartAttached(1, MachineFlags);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    Record(0, FULL - 100, 10);
    Record(FULL - 100, 100, 1000000);
    assert_int_equal(Query(0), FULL);
    Record(FULL, 1, 5000000); /* one too many, but nothing is lost */
    Record(FULL - 1, 1, 5);
    assert_int_equal(Query(0), FULL + 1);
    KeLowerIrql(OldIrql);
    /* The cleanup has run, and was itself recorded. */
    assert_int_equal(Query(0), 102);
    assert_int_equal(RunsOf(0, Imagined(0)), 0);
    assert_int_equal(RunsOf(0, Imagined(FULL)), 1);
    for (ULONG Number = FULL - 100; Number < FULL; Number += 1) {
        assert_int_equal(RunsOf(0, Imagined(Number)), Number == FULL - 1 ? 2 : 1);
    }

    /* Those that have not run since then go, however long they took; there is room for the rest again. */
    OldIrql = KeRaiseIrqlToDpcLevel();
    Record(FULL - 100, 50, 1000);
    Record(10000, FULL - 102, 1);
    assert_int_equal(Query(0), FULL);
    Record(20000, 1, 1);
    KeLowerIrql(OldIrql);
    assert_int_equal(RunsOf(0, Imagined(FULL - 100)), 2);
    assert_int_equal(RunsOf(0, Imagined(FULL - 51)), 2);
    assert_int_equal(RunsOf(0, Imagined(FULL - 50)), 0);
    assert_int_equal(RunsOf(0, Imagined(20000)), 0);
    OldIrql = KeRaiseIrqlToDpcLevel();
    Record(20000, 1, 1);
    KeLowerIrql(OldIrql);
    assert_int_equal(RunsOf(0, Imagined(20000)), 1);
    StopMachine();
}

/* All the same: half of what makes it full is kept. */
static void a_cleanup_keeps_half_at_most(void **State)
{
    ULONGLONG Runs;
    KIRQL OldIrql;

    (void)State;
    StartAttached(1, MachineFlags);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    assert_int_equal(KprcbSetDpcHistory(FALSE), STATUS_SUCCESS); /* the cleanup itself is not recorded */
    OldIrql = KeRaiseIrqlToDpcLevel();
    Record(0, FULL, 768000000);
    Record(FULL, 1, 1);
    KeLowerIrql(OldIrql);
    assert_int_equal(Query(0), FULL / 2);

    /* The routine recorded last is looked up in the new table. */
    Runs = RunsOf(0, Imagined(FULL - 1));
    OldIrql = KeRaiseIrqlToDpcLevel();
    Record(FULL - 1, 1, 1);
    KeLowerIrql(OldIrql);
    assert_int_equal(RunsOf(0, Imagined(FULL - 1)), Runs + 1);
    StopMachine();
}

/* Far more at once than make it full: the cleanup comes when the level falls. */
static void nothing_is_lost_for_lack_of_room(void **State)
{
    KIRQL OldIrql;

    (void)State;
    StartAttached(1, MachineFlags);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    assert_int_equal(KprcbSetDpcHistory(FALSE), STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    Record(0, CHUNK, 7);
    Record(0, CHUNK, 7);
    assert_int_equal(QueryMany(0), CHUNK);
    for (ULONG Number = 0; Number < CHUNK; Number += 1) {
        assert_int_equal(Many[Number].Count, 2);
    }
    Record(CHUNK, 1, 7); /* the memory is used up: lost */
    assert_int_equal(QueryMany(0), CHUNK);
    KeLowerIrql(OldIrql);
    assert_int_equal(Query(0), FULL / 2);
    StopMachine();
}

/* Ever new routines, many times as many as there is memory for: each finds an entry, once the reclaiming thread has run. */
static void entries_come_back(void **State)
{
    (void)State;
    StartAttached(1, MachineFlags);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    assert_int_equal(KprcbSetDpcHistory(FALSE), STATUS_SUCCESS);
    for (ULONG Number = 0; Number < 20 * 16 * CHUNK; Number += 1) {
        KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

        Record(Number, 1, 1);
        KeLowerIrql(OldIrql);
        while (Number % 100 == 0 && RunsOf(0, Imagined(Number)) == 0) {
            HalYield();
            OldIrql = KeRaiseIrqlToDpcLevel();
            Record(Number, 1, 1);
            KeLowerIrql(OldIrql);
        }
    }
    StopMachine();
}

static void threaded_dpcs_are_recorded(void **State)
{
    KDPC Dpc;

    (void)State;
    StartAttached(2, MachineFlags);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    KeInitializeThreadedDpc(&Dpc, Long, NULL);
    KeSetTargetProcessorDpc(&Dpc, 1);
    for (ULONG Time = 0; Time < 3; Time += 1) {
        assert_true(KeInsertQueueDpc(&Dpc, (PVOID)(ULONG_PTR)1000000, NULL));
        KeFlushQueuedDpcs();
    }
    assert_int_equal(RunsOf(1, Long), 3);
    assert_int_equal(RunsOf(0, Long), 0);
    assert_true(Find(1, Long)->TotalTime >= 2970000);
    StopMachine();
}

static void the_child_of_a_fork_begins_anew(void **State)
{
    int Status = 0;
    pid_t Child;

    (void)State;
#ifdef __SANITIZE_THREAD__
    skip(); /* it refuses threads in the child of a program that has some */
#endif
    StartAttached(2, MachineFlags);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    Run(Short, 0, 2, 0);
    Child = fork();
    if (Child == 0) {
        BOOLEAN Good = Query(0) == 0 && KprcbSetDpcHistory(TRUE) == STATUS_SUCCESS;
        KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

        Record(0, FULL + 1, 1);
        KeLowerIrql(OldIrql);
        Good = Good && Query(KeGetCurrentProcessorIndex()) != FULL + 1 && KprcbStop() == STATUS_SUCCESS;
        _exit(Good ? 0 : 1);
    }
    assert_true(Child > 0);
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_int_equal(Status, 0);
    Run(Short, 0, 1, 0);
    assert_int_equal(RunsOf(0, Short), 3);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(it_is_off_until_it_is_switched_on),
        cmocka_unit_test(each_routine_and_each_processor_has_its_own),
        cmocka_unit_test(a_processor_that_is_added_follows),
        cmocka_unit_test(the_environment_switches_it_on),
        cmocka_unit_test(a_dpc_that_does_not_end_is_not_recorded),
        cmocka_unit_test(bad_calls_are_refused),
        cmocka_unit_test(a_full_table_keeps_what_matters),
        cmocka_unit_test(a_cleanup_keeps_half_at_most),
        cmocka_unit_test(nothing_is_lost_for_lack_of_room),
        cmocka_unit_test(entries_come_back),
        cmocka_unit_test(threaded_dpcs_are_recorded),
        cmocka_unit_test(the_child_of_a_fork_begins_anew),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
