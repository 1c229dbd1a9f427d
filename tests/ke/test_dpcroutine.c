/*
 * test_dpcroutine.c - what a DPC routine sees in the KPRCB, KeIsExecutingDpc, KiDispatchInterrupt, and misuse.
 */
#include "dpctest.h"

typedef struct _SEEN {
    RUNS Runs;
    PKDPC Active;
    PVOID Stack;
    PVOID Frame;
    ULONG Count;
    LONG Depth;
    BOOLEAN RoutineActive;
    LOGICAL ExecutingAbove;
    KIRQL IrqlAfter;
    PKDPC Other; /* queued and asked for from inside */
    RUNS *OtherRuns;
    ULONG OtherCount;
} SEEN;

static VOID LookRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    SEEN *Seen = Context;
    PKPRCB Prcb = KeGetCurrentPrcb();
    KIRQL OldIrql;

    Seen->Active = Prcb->DpcData[DPC_NORMAL].ActiveDpc;
    Seen->Stack = Prcb->DpcStack;
    Seen->Frame = __builtin_frame_address(0);
    Seen->Count = Prcb->DpcData[DPC_NORMAL].DpcCount;
    Seen->Depth = Prcb->DpcData[DPC_NORMAL].DpcQueueDepth;
    Seen->RoutineActive = Prcb->DpcRoutineActive;
    KeRaiseIrql(HIGH_LEVEL, &OldIrql);
    Seen->ExecutingAbove = KeIsExecutingDpc();
    KeLowerIrql(OldIrql);
    Seen->IrqlAfter = KeGetCurrentIrql();
    if (Seen->Other != NULL) {
        KeInsertQueueDpc(Seen->Other, NULL, NULL);
        KiDispatchInterrupt();
        Seen->OtherCount = Seen->OtherRuns->Count;
    }
    RecordRun(Dpc, &Seen->Runs, Argument1, Argument2);
}

static void TestThePrcbShowsTheRunningDpc(void **State)
{
    SEEN Seen[2] = {{.Count = 0}};
    KDPC Dpc[2];
    KIRQL OldIrql;
    PKPRCB Prcb;
    PKDPC_DATA Data;
    ULONG Count;

    (void)State;
    StartAttached(2, MachineFlags);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    Prcb = KeGetCurrentPrcb();
    Data = &Prcb->DpcData[DPC_NORMAL];
    Count = Data->DpcCount;
    assert_int_equal(Data->DpcQueueDepth, 0);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        KeInitializeDpc(&Dpc[Index], LookRoutine, &Seen[Index]);
        assert_null(Dpc[Index].DpcData);
        assert_true(KeInsertQueueDpc(&Dpc[Index], NULL, NULL));
        assert_int_equal(Data->DpcQueueDepth, Index + 1);
        assert_ptr_equal(Dpc[Index].DpcData, Data);
    }
    assert_null(Data->ActiveDpc);
    assert_null(Prcb->DpcStack);
    assert_false(Prcb->DpcRoutineActive);
    assert_int_equal(KeIsExecutingDpc(), 0);
    KeLowerIrql(OldIrql);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        assert_int_equal(Seen[Index].Runs.Count, 1);
        assert_ptr_equal(Seen[Index].Active, &Dpc[Index]);
        assert_int_equal(Seen[Index].Count, Count + Index + 1);
        assert_int_equal(Seen[Index].Depth, 1 - Index);
        assert_true(Seen[Index].RoutineActive);
        assert_true(Seen[Index].Runs.Executing);
        assert_true(Seen[Index].ExecutingAbove != 0);
        assert_int_equal(Seen[Index].IrqlAfter, DISPATCH_LEVEL);
        assert_true((ULONG_PTR)Seen[Index].Stack > (ULONG_PTR)Seen[Index].Frame);
        assert_true((ULONG_PTR)Seen[Index].Stack - (ULONG_PTR)Seen[Index].Frame < 65536);
        assert_null(Dpc[Index].DpcData);
    }
    assert_int_equal(Data->DpcCount, Count + 2);
    assert_int_equal(Data->DpcQueueDepth, 0);
    assert_null(Data->ActiveDpc);
    assert_null(Prcb->DpcStack);
    assert_false(Prcb->DpcRoutineActive);
    KeLowerIrql(OldIrql);
    assert_int_equal(KeIsExecutingDpc(), 0);
    StopMachine();
}

static VOID CallDispatchInterrupt(PVOID Context)
{
    KIRQL OldIrql;

    KeRaiseIrql(*(KIRQL *)Context, &OldIrql);
    KiDispatchInterrupt();
    KeLowerIrql(OldIrql);
}

static void TestKiDispatchInterruptRunsTheQueue(void **State)
{
    static const KIRQL Wrong[] = {PASSIVE_LEVEL, APC_LEVEL, SYNCH_LEVEL, HIGH_LEVEL};
    RUNS Runs = {0};
    SEEN Seen = {.OtherRuns = &Runs};
    KDPC Inner;
    KDPC Dpc;
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    KeInitializeDpc(&Inner, RecordRun, &Runs);
    KeInitializeDpc(&Dpc, LookRoutine, &Seen);
    Seen.Other = &Inner;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KiDispatchInterrupt();
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    KiDispatchInterrupt();
    assert_int_equal(Seen.Runs.Count, 1);
    assert_int_equal(Seen.OtherCount, 0); /* not from inside */
    assert_int_equal(Runs.Count, 1);      /* but by the same pass */
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    assert_int_equal(KeIsExecutingDpc(), 0);
    KeLowerIrql(OldIrql);
    assert_int_equal(Seen.Runs.Count, 1);
    for (ULONG Index = 0; Index < ARRAYSIZE(Wrong); Index += 1) {
        assert_int_equal(CaughtCode(CallDispatchInterrupt, (PVOID)&Wrong[Index]), IRQL_NOT_GREATER_OR_EQUAL);
    }
    StopMachine();
}

/* Leaves its level at the argument. */
static VOID WrongLevelRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    KIRQL Irql = (KIRQL)(ULONG_PTR)Argument1;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument2);
    if (Irql > DISPATCH_LEVEL) {
        KfRaiseIrql(Irql);
    } else {
        KfLowerIrql(Irql);
    }
    CountOne(Context);
}

typedef struct _INSERT {
    KDPC Dpc;
    PVOID Argument1;
} INSERT;

static VOID InsertRoutine(PVOID Context)
{
    INSERT *Insert = Context;

    KeInsertQueueDpc(&Insert->Dpc, Insert->Argument1, NULL);
}

static void TestADpcThatReturnsAtAnotherLevelIsABugCheck(void **State)
{
    static const KIRQL Levels[] = {SYNCH_LEVEL, HIGH_LEVEL, PASSIVE_LEVEL};
    ULONG volatile Count = 0;
    INSERT Insert;
    RUNS Runs = {0};
    KDPC Good;

    (void)State;
    StartAttached(2, MachineFlags);
    KeInitializeDpc(&Good, RecordRun, &Runs);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        KeInitializeDpc(&Insert.Dpc, WrongLevelRoutine, (PVOID)&Count);
        Insert.Argument1 = Number(Levels[Index]);
        assert_int_equal(CaughtCode(InsertRoutine, &Insert), IRQL_UNEXPECTED_VALUE);
        assert_int_equal(Count, Index + 1);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
        /* The processor goes on. */
        assert_true(KeInsertQueueDpc(&Good, NULL, NULL));
        assert_int_equal(CountOf(&Runs.Count), Index + 1);
        assert_true(Runs.Executing);
    }
    StopMachine();
}

static void TestAFreeBuildPutsTheLevelRightAfterADpc(void **State)
{
    static const KIRQL Levels[] = {SYNCH_LEVEL, HIGH_LEVEL, PASSIVE_LEVEL, APC_LEVEL};
    ULONG volatile Count = 0;
    RUNS Runs = {0};
    KDPC Wrong;
    KDPC Good;
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags | KPRCB_FREE_BUILD);
    KeInitializeDpc(&Good, RecordRun, &Runs);
    KeInitializeDpc(&Wrong, WrongLevelRoutine, (PVOID)&Count);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
        assert_true(KeInsertQueueDpc(&Wrong, Number(Levels[Index]), NULL));
        assert_true(KeInsertQueueDpc(&Good, NULL, NULL));
        KeLowerIrql(OldIrql);
        assert_int_equal(Count, Index + 1);
        assert_int_equal(Runs.Count, Index + 1);
        assert_int_equal(Runs.Irql, DISPATCH_LEVEL);
        assert_int_equal(Runs.Processor, 0);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    }
    StopMachine();
}

static void TestWhatIsNoDpcIsABugCheck(void **State)
{
    INSERT Insert = {.Argument1 = NULL};

    (void)State;
    StartAttached(2, MachineFlags);
    assert_int_equal(CaughtCode(InsertRoutine, &Insert), TIMER_OR_DPC_INVALID);
    KeInitializeDpc(&Insert.Dpc, NULL, NULL);
    assert_int_equal(CaughtCode(InsertRoutine, &Insert), TIMER_OR_DPC_INVALID);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestThePrcbShowsTheRunningDpc),
        cmocka_unit_test(TestKiDispatchInterruptRunsTheQueue),
        cmocka_unit_test(TestADpcThatReturnsAtAnotherLevelIsABugCheck),
        cmocka_unit_test(TestAFreeBuildPutsTheLevelRightAfterADpc),
        cmocka_unit_test(TestWhatIsNoDpcIsABugCheck),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
