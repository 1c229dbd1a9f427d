/*
 * test_dpcthread.c - src/ke/dpcthread.c: what holds for every DPC holds for threaded ones, and what holds for them alone.
 *
 * The bug checks of their routines, the stop of the machine, and hosts that refuse the thread: test_dpcthreadrun.c.
 */
#include "dpcthreadtest.h"

#include "ki.h"

#define REQUEUES 100
#define FREED 50
#define DPCS 5

static void TestPitfall1AQueuedThreadedDpcKeepsItsFirstArguments(void **State)
{
    RUNS Runs = {0};
    BUSY Busy;
    KDPC Dpc;

    (void)State;
    StartAttached(2, MachineFlags);
    StartBusy(&Busy, 1);
    InitializeThreaded(&Dpc, RecordRun, &Runs, 1);
    assert_true(KeInsertQueueDpc(&Dpc, Number(1), Number(2)));
    assert_ptr_equal(Dpc.DpcData, &PcrOf(1)->Prcb->DpcData[DPC_THREADED]);
    SetTarget(&Dpc, 0);
    assert_false(KeInsertQueueDpc(&Dpc, Number(3), Number(4)));
    EndBusy(&Busy);
    KeFlushQueuedDpcs();
    assert_int_equal(Runs.Count, 1);
    assert_ptr_equal(Runs.Argument1, Number(1));
    assert_ptr_equal(Runs.Argument2, Number(2));
    assert_int_equal(Runs.Processor, 1);
    StopMachine();
}

typedef struct _REQUEUE {
    RUNS Runs;
    ULONG Left;
    ULONG Refused;
} REQUEUE;

static VOID RequeueRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    REQUEUE *Requeue = Context;

    if (Requeue->Left != 0) {
        Requeue->Left -= 1;
        Requeue->Refused += !KeInsertQueueDpc(Dpc, Argument1, Argument2);
        Requeue->Refused += KeInsertQueueDpc(Dpc, NULL, NULL); /* queued now, not running a second time */
    }
    RecordRun(Dpc, &Requeue->Runs, Argument1, Argument2);
}

static void TestPitfall2RequeuedFromInsideNTimesItRunsNPlus1Times(void **State)
{
    (void)State;
    for (ULONG Target = 0; Target < 2; Target += 1) {
        REQUEUE Requeue = {.Left = REQUEUES};
        KDPC Dpc;

        StartAttached(2, MachineFlags);
        InitializeThreaded(&Dpc, RequeueRoutine, &Requeue, Target);
        assert_true(KeInsertQueueDpc(&Dpc, Number(7), NULL));
        AwaitCount(&Requeue.Runs.Count, REQUEUES + 1);
        KeFlushQueuedDpcs();
        assert_int_equal(Requeue.Runs.Count, REQUEUES + 1);
        assert_int_equal(Requeue.Refused, 0);
        assert_int_equal(Requeue.Runs.Processor, Target);
        assert_int_equal(Requeue.Runs.Irql, PASSIVE_LEVEL);
        assert_ptr_equal(Requeue.Runs.Argument1, Number(7));
        StopMachine();
    }
}

static VOID FreeRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    for (ULONG Byte = 0; Byte < sizeof(*Dpc); Byte += 1) {
        ((UCHAR volatile *)Dpc)[Byte] = 0xDD;
    }
    free(Dpc);
    CountOne(Context);
}

static void TestPitfall2TheRoutineMayFreeItsThreadedDpc(void **State)
{
    ULONG volatile Count = 0;

    (void)State;
    StartAttached(2, MachineFlags);
    for (ULONG Index = 0; Index < FREED; Index += 1) {
        PKDPC Dpc = malloc(sizeof(*Dpc));

        assert_non_null(Dpc);
        InitializeThreaded(Dpc, FreeRoutine, (PVOID)&Count, Index % 2);
        KeSetImportanceDpc(Dpc, (KDPC_IMPORTANCE)(Index / 2 % 4));
        assert_true(KeInsertQueueDpc(Dpc, NULL, NULL));
    }
    KeFlushQueuedDpcs();
    assert_int_equal(CountOf(&Count), FREED);
    StopMachine();
}

static ULONG volatile InBoth;
static ULONG volatile RanOn;

static VOID MeetItselfRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    __atomic_fetch_or(&RanOn, 1u << KeGetCurrentProcessorIndex(), __ATOMIC_RELAXED);
    MeetAtGate(&InBoth, 2);
    CountOne(Context);
}

static void TestPitfall2OneThreadedDpcRunsOnTwoProcessorsAtOnce(void **State)
{
    ULONG volatile Count = 0;
    KDPC Dpc;

    (void)State;
    InBoth = RanOn = 0;
    StartAttached(3, MachineFlags);
    InitializeThreaded(&Dpc, MeetItselfRoutine, (PVOID)&Count, 1);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    AwaitCount(&InBoth, 1);
    SetTarget(&Dpc, 2);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    AwaitCount(&Count, 2);
    assert_int_equal(RanOn, 1 << 1 | 1 << 2);
    StopMachine();
}

static void TestPitfall3TargetAndImportanceBindAtInsert(void **State)
{
    RUNS Runs[2] = {{0}};
    BUSY Busy;
    KDPC Dpc[2];

    (void)State;
    StartAttached(2, MachineFlags);
    StartBusy(&Busy, 1);
    InitializeThreaded(&Dpc[0], RecordRun, &Runs[0], 1);
    InitializeThreaded(&Dpc[1], RecordRun, &Runs[1], 1);
    assert_true(KeInsertQueueDpc(&Dpc[0], NULL, NULL));
    assert_true(KeInsertQueueDpc(&Dpc[1], NULL, NULL));
    SetTarget(&Dpc[0], 0);
    KeSetImportanceDpc(&Dpc[1], HighImportance);
    assert_ptr_equal(CONTAINING_RECORD(PcrOf(1)->Prcb->DpcData[DPC_THREADED].DpcList.ListHead.Next, KDPC, DpcListEntry),
                     &Dpc[0]);
    EndBusy(&Busy);
    KeFlushQueuedDpcs();
    assert_int_equal(Runs[0].Processor, 1);
    /* Without a target, that of the inserter. */
    Dpc[0].Number = 0;
    assert_true(KeInsertQueueDpc(&Dpc[0], NULL, NULL));
    KeFlushQueuedDpcs();
    assert_int_equal(Runs[0].Count, 2);
    assert_int_equal(Runs[0].Processor, 0);
    StopMachine();
}

static ULONG volatile Order[DPCS];
static ULONG volatile Ordered;

static VOID OrderRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Order[Ordered] = (ULONG)(ULONG_PTR)Context;
    CountOne(&Ordered);
}

static void TestPitfall4HighGoesToTheHeadAndAllRunAtOnce(void **State)
{
    static const KDPC_IMPORTANCE Importance[DPCS] = {LowImportance, MediumImportance, HighImportance,
                                                     MediumHighImportance, HighImportance};
    static const ULONG Expected[DPCS] = {4, 2, 0, 1, 3};
    BUSY Busy;
    KDPC Dpc[DPCS];

    (void)State;
    Ordered = 0;
    StartAttached(2, MachineFlags);
    StartBusy(&Busy, 1);
    for (ULONG Index = 0; Index < DPCS; Index += 1) {
        InitializeThreaded(&Dpc[Index], OrderRoutine, Number(Index), 1);
        KeSetImportanceDpc(&Dpc[Index], Importance[Index]);
        assert_true(KeInsertQueueDpc(&Dpc[Index], NULL, NULL));
    }
    EndBusy(&Busy);
    AwaitCount(&Ordered, DPCS);
    for (ULONG Index = 0; Index < DPCS; Index += 1) {
        assert_int_equal(Order[Index], Expected[Index]);
    }
    /* Not even a low one waits for anything. */
    PcrOf(1)->Prcb->MinimumDpcRate = 0;
    PcrOf(1)->Prcb->MaximumDpcQueueDepth = 100;
    Ordered = 0;
    KeFlushQueuedDpcs();
    assert_true(KeInsertQueueDpc(&Dpc[0], NULL, NULL));
    AwaitCount(&Ordered, 1);
    StopMachine();
}

typedef struct _FLUSH {
    ULONG volatile Started;
    ULONG volatile Returned;
} FLUSH;

static void *FlushThread(void *Context)
{
    FLUSH *Flush = Context;

    if (KprcbAttachThread(2) != STATUS_SUCCESS) {
        abort();
    }
    CountOne(&Flush->Started);
    KeFlushQueuedDpcs();
    CountOne(&Flush->Returned);
    return NULL;
}

/* Switched off, a flush waits for those that are queued all the same. */
static void FlushOfARunningOne(BOOLEAN SwitchOff)
{
    RUNS Runs = {0};
    FLUSH Flush = {0};
    pthread_t Thread;
    BUSY Busy;
    KDPC Dpc;

    StartAttached(3, MachineFlags);
    StartBusy(&Busy, 1);
    InitializeThreaded(&Dpc, RecordRun, &Runs, 1);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(KprcbSetThreadedDpcs(!SwitchOff), STATUS_SUCCESS);
    Thread = StartThread(FlushThread, &Flush);
    AwaitCount(&Flush.Started, 1);
    YieldALot();
    assert_int_equal(CountOf(&Flush.Returned), 0);
    ReleaseBusy(&Busy);
    JoinThread(Thread);
    assert_int_equal(CountOf(&Busy.Ended), 1);
    assert_int_equal(CountOf(&Runs.Count), 1);
    assert_int_equal(Runs.Irql, PASSIVE_LEVEL);
    StopMachine();
}

static void TestPitfall5AFlushWaitsForThreadedDpcs(void **State)
{
    (void)State;
    FlushOfARunningOne(FALSE);
    FlushOfARunningOne(TRUE);
}

static void TestPitfall5AFlushWaitsForThreadedDpcsEverywhere(void **State)
{
    RUNS Runs[40] = {{0}};
    KDPC Dpc[40];

    (void)State;
    StartAttached(40, MachineFlags);
    for (ULONG Round = 1; Round <= 10; Round += 1) {
        for (ULONG Index = 0; Index < 40; Index += 1) {
            InitializeThreaded(&Dpc[Index], RecordRun, &Runs[Index], Index);
            assert_true(KeInsertQueueDpc(&Dpc[Index], NULL, NULL));
        }
        KeFlushQueuedDpcs();
        for (ULONG Index = 0; Index < 40; Index += 1) {
            assert_int_equal(CountOf(&Runs[Index].Count), Round);
            assert_int_equal(Runs[Index].Processor, Index);
        }
    }
    StopMachine();
}

typedef struct _FOREVER {
    KDPC Dpc;
    ULONG volatile Count;
    ULONG volatile Stop;
} FOREVER;

static VOID ForeverRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    FOREVER *Forever = Context;

    CountOne(&Forever->Count);
    if (CountOf(&Forever->Stop) == 0) {
        KeInsertQueueDpc(Dpc, Argument1, Argument2);
    }
}

static void TestPitfall5AThreadedDpcThatRequeuesItselfDoesNotHoldAFlush(void **State)
{
    FOREVER Forever = {.Count = 0};

    (void)State;
    StartAttached(2, MachineFlags);
    InitializeThreaded(&Forever.Dpc, ForeverRoutine, &Forever, 1);
    assert_true(KeInsertQueueDpc(&Forever.Dpc, NULL, NULL));
    for (ULONG Round = 0; Round < 20; Round += 1) {
        KeFlushQueuedDpcs();
    }
    AwaitCount(&Forever.Count, 10);
    CountOne(&Forever.Stop);
    KeFlushQueuedDpcs();
    KeRemoveQueueDpc(&Forever.Dpc);
    StopMachine();
}

static void TestPitfall6RemoveAtAnyLevelAndFromEveryPlace(void **State)
{
    static const KIRQL Levels[] = {PASSIVE_LEVEL, APC_LEVEL, DISPATCH_LEVEL, SYNCH_LEVEL, IPI_LEVEL, HIGH_LEVEL};

    (void)State;
    for (ULONG Gone = 0; Gone < 1u << DPCS; Gone += 1) {
        static RUNS Runs[DPCS + 1];
        BUSY Busy;
        KDPC Dpc[DPCS + 1];
        KIRQL OldIrql;

        StartAttached(2, MachineFlags);
        StartBusy(&Busy, 1);
        assert_false(KeRemoveQueueDpc(&Busy.Dpc)); /* it runs */
        KeRaiseIrql(Levels[Gone % ARRAYSIZE(Levels)], &OldIrql);
        for (ULONG Index = 0; Index <= DPCS; Index += 1) {
            Runs[Index] = (RUNS){0};
            InitializeThreaded(&Dpc[Index], RecordRun, &Runs[Index], 1);
            for (ULONG Bit = 0; Index == DPCS && Bit < DPCS; Bit += 1) {
                assert_true((Gone >> Bit & 1) == 0 || KeRemoveQueueDpc(&Dpc[Bit]));
                assert_true((Gone >> Bit & 1) == 0 || !KeRemoveQueueDpc(&Dpc[Bit]));
            }
            assert_true(KeInsertQueueDpc(&Dpc[Index], NULL, NULL));
        }
        assert_int_equal(PcrOf(1)->Prcb->DpcData[DPC_THREADED].DpcQueueDepth, DPCS + 1 - __builtin_popcount(Gone));
        KeLowerIrql(OldIrql);
        EndBusy(&Busy);
        KeFlushQueuedDpcs();
        for (ULONG Index = 0; Index <= DPCS; Index += 1) {
            assert_int_equal(CountOf(&Runs[Index].Count), 1 - (Index < DPCS ? Gone >> Index & 1 : 0));
        }
        StopMachine();
    }
}

static void TestPitfall7TheyRunAtPassiveLevelInOneThreadOfTheirProcessor(void **State)
{
    RUNS Runs[2] = {{0}};
    PKTHREAD Thread[2];
    KDPC Dpc;

    (void)State;
    StartAttached(2, MachineFlags);
    for (ULONG Target = 0; Target < 2; Target += 1) {
        assert_null(PcrOf(Target)->Prcb->DpcThread);
        for (ULONG Round = 1; Round <= 50; Round += 1) {
            InitializeThreaded(&Dpc, RecordRun, &Runs[Target], Target);
            assert_int_equal(Dpc.Type, ThreadedDpcObject);
            assert_true(KeInsertQueueDpc(&Dpc, Number(Round), NULL));
            AwaitCount(&Runs[Target].Count, Round);
            assert_int_equal(Runs[Target].Irql, PASSIVE_LEVEL);
            assert_int_equal(Runs[Target].Processor, Target);
            assert_ptr_not_equal(Runs[Target].Thread, KeGetCurrentThread());
            assert_ptr_equal(Runs[Target].Thread,
                             __atomic_load_n(&PcrOf(Target)->Prcb->DpcThread, __ATOMIC_RELAXED));
            assert_true(Runs[Target].Executing);
        }
        Thread[Target] = Runs[Target].Thread;
        assert_int_equal(PcrOf(Target)->Prcb->DpcData[DPC_THREADED].DpcCount, 50);
    }
    assert_ptr_not_equal(Thread[0], Thread[1]);
    StopMachine();
}

/* Whether it has run when the insert returns tells how it ran. */
static void RunsAsAnOrdinaryOne(void)
{
    RUNS Runs = {0};
    KDPC Dpc;
    KIRQL OldIrql;

    KeInitializeThreadedDpc(&Dpc, RecordRun, &Runs);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(Runs.Count, 1);
    assert_int_equal(Runs.Irql, DISPATCH_LEVEL);
    assert_ptr_equal(Runs.Thread, KeGetCurrentThread());
    KeRaiseIrql(HIGH_LEVEL, &OldIrql);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_ptr_equal(Dpc.DpcData, &KeGetCurrentPrcb()->DpcData[DPC_NORMAL]);
    assert_int_equal(Runs.Count, 1);
    KeLowerIrql(OldIrql);
    assert_int_equal(Runs.Count, 2);
}

static void TestPitfall7SwitchedOffTheyRunAtDispatchLevel(void **State)
{
    RUNS Runs = {0};
    BUSY Busy;
    KDPC Dpc;

    (void)State;
    StartAttached(2, MachineFlags);
    assert_int_equal(KprcbSetThreadedDpcs(FALSE), STATUS_SUCCESS);
    RunsAsAnOrdinaryOne();
    assert_int_equal(KprcbSetThreadedDpcs(TRUE), STATUS_SUCCESS);
    StartBusy(&Busy, 1);
    /* One that is queued keeps its form; one DPC may be of either from insert to insert. */
    InitializeThreaded(&Dpc, RecordRun, &Runs, 1);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(KprcbSetThreadedDpcs(FALSE), STATUS_SUCCESS);
    assert_false(KeInsertQueueDpc(&Dpc, NULL, NULL));
    EndBusy(&Busy);
    AwaitCount(&Runs.Count, 1);
    assert_int_equal(Runs.Irql, PASSIVE_LEVEL);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    AwaitCount(&Runs.Count, 2);
    assert_int_equal(Runs.Irql, DISPATCH_LEVEL);
    assert_int_equal(Runs.Processor, 1);
    StopMachine();

    StartAttached(2, MachineFlags | KPRCB_NO_THREADED_DPCS);
    RunsAsAnOrdinaryOne();
    assert_int_equal(KprcbSetThreadedDpcs(TRUE), STATUS_SUCCESS);
    InitializeThreaded(&Dpc, RecordRun, &Runs, 1);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    AwaitCount(&Runs.Count, 3);
    assert_int_equal(Runs.Irql, PASSIVE_LEVEL);
    StopMachine();
}

static void TestPitfall7TheSwitchWorksBelowDispatchLevel(void **State)
{
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    assert_int_equal(KprcbSetThreadedDpcs(FALSE), STATUS_INVALID_DEVICE_STATE);
    KeLowerIrql(OldIrql);
    assert_true(KeGetCurrentPrcb()->ThreadDpcEnable);
    StopMachine();
}

static void TestPitfall7BeforeVersion52ThereAreNone(void **State)
{
    static const char *const Without[] = {"3.51", "4.0-late", "5.1-late"};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Without); Index += 1) {
        StartMachineAs(Without[Index], 2, MachineFlags);
        assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
        RunsAsAnOrdinaryOne();
        assert_int_equal(KprcbSetThreadedDpcs(TRUE), STATUS_NOT_SUPPORTED);
        RunsAsAnOrdinaryOne();
        StopMachine();
    }
    StartMachineAs("5.2-early", 2, MachineFlags);
    assert_true(KeGetCurrentPrcb()->ThreadDpcEnable);
    StopMachine();
}

static void TestPitfall8TheInserterDoesNotRunIt(void **State)
{
    RUNS Runs = {0};
    BUSY Busy;
    KDPC Dpc;
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    StartBusy(&Busy, 0);
    KeInitializeThreadedDpc(&Dpc, RecordRun, &Runs);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeLowerIrql(OldIrql);
    assert_int_equal(CountOf(&Runs.Count), 0);
    EndBusy(&Busy);
    AwaitCount(&Runs.Count, 1);
    StopMachine();
}

/* The threads that run them are created for an insert at any level. */
static void TestPitfall8InsertedAtAnyLevelItRunsWithoutTheInserter(void **State)
{
    static const KIRQL Levels[] = {PASSIVE_LEVEL, APC_LEVEL, DISPATCH_LEVEL, IPI_LEVEL, HIGH_LEVEL};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        RUNS Runs = {0};
        KDPC Dpc;
        KIRQL OldIrql;

        StartAttached(2, MachineFlags);
        InitializeThreaded(&Dpc, RecordRun, &Runs, 1);
        KeRaiseIrql(Levels[Index], &OldIrql);
        for (ULONG Round = 1; Round <= 10; Round += 1) {
            assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
            AwaitCount(&Runs.Count, Round);
        }
        assert_int_equal(KeGetCurrentIrql(), Levels[Index]);
        KeLowerIrql(OldIrql);
        StopMachine();
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestPitfall1AQueuedThreadedDpcKeepsItsFirstArguments),
        cmocka_unit_test(TestPitfall2RequeuedFromInsideNTimesItRunsNPlus1Times),
        cmocka_unit_test(TestPitfall2TheRoutineMayFreeItsThreadedDpc),
        cmocka_unit_test(TestPitfall2OneThreadedDpcRunsOnTwoProcessorsAtOnce),
        cmocka_unit_test(TestPitfall3TargetAndImportanceBindAtInsert),
        cmocka_unit_test(TestPitfall4HighGoesToTheHeadAndAllRunAtOnce),
        cmocka_unit_test(TestPitfall5AFlushWaitsForThreadedDpcs),
        cmocka_unit_test(TestPitfall5AFlushWaitsForThreadedDpcsEverywhere),
        cmocka_unit_test(TestPitfall5AThreadedDpcThatRequeuesItselfDoesNotHoldAFlush),
        cmocka_unit_test(TestPitfall6RemoveAtAnyLevelAndFromEveryPlace),
        cmocka_unit_test(TestPitfall7TheyRunAtPassiveLevelInOneThreadOfTheirProcessor),
        cmocka_unit_test(TestPitfall7SwitchedOffTheyRunAtDispatchLevel),
        cmocka_unit_test(TestPitfall7TheSwitchWorksBelowDispatchLevel),
        cmocka_unit_test(TestPitfall7BeforeVersion52ThereAreNone),
        cmocka_unit_test(TestPitfall8TheInserterDoesNotRunIt),
        cmocka_unit_test(TestPitfall8InsertedAtAnyLevelItRunsWithoutTheInserter),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
