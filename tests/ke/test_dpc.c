/*
 * test_dpc.c - src/ke/dpc.c: inserting, targets, and when a DPC runs.
 *
 * What its routine sees and may do: test_dpcroutine.c. Order and importance: test_dpcorder.c. Remove and flush:
 * test_dpcflush.c. Posts to an owner who lets go: test_dpclook.c.
 */
#include "dpctest.h"

#define REQUEUES 100
#define FREED 50

static void pitfall_1_a_queued_dpc_keeps_its_first_arguments(void **State)
{
    RUNS Runs = {0};
    KDPC Dpc;
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    assert_true(KeInsertQueueDpc(&Dpc, Number(1), Number(2)));
    assert_false(KeInsertQueueDpc(&Dpc, Number(3), Number(4)));
    assert_int_equal(Runs.Count, 0);
    KeLowerIrql(OldIrql);
    assert_int_equal(Runs.Count, 1);
    assert_ptr_equal(Runs.Argument1, Number(1));
    assert_ptr_equal(Runs.Argument2, Number(2));
    StopMachine();
}

static void pitfall_1_a_dpc_queued_elsewhere_keeps_its_first_arguments(void **State)
{
    RUNS Runs = {0};
    HOLDER Holder;
    KDPC Dpc;

    (void)State;
    StartAttached(2, MachineFlags);
    StartHolder(&Holder, 1, 1);
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    KeSetTargetProcessorDpc(&Dpc, 1);
    assert_true(KeInsertQueueDpc(&Dpc, Number(1), Number(2)));
    KeSetTargetProcessorDpc(&Dpc, 0);
    assert_false(KeInsertQueueDpc(&Dpc, Number(3), Number(4)));
    EndHolder(&Holder);
    AwaitCount(&Runs.Count, 1);
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
        if (!KeInsertQueueDpc(Dpc, Argument1, Argument2)) {
            Requeue->Refused += 1;
        }
        /* Queued now, not running a second time. */
        if (KeInsertQueueDpc(Dpc, NULL, NULL)) {
            Requeue->Refused += 1;
        }
    }
    RecordRun(Dpc, &Requeue->Runs, Argument1, Argument2);
}

static void pitfall_2_requeued_from_inside_n_times_runs_n_plus_1_times(void **State)
{
    (void)State;
    for (ULONG Target = 0; Target < 2; Target += 1) {
        REQUEUE Requeue = {.Left = REQUEUES};
        KDPC Dpc;

        StartAttached(2, MachineFlags);
        KeInitializeDpc(&Dpc, RequeueRoutine, &Requeue);
        KeSetTargetProcessorDpc(&Dpc, (CCHAR)Target);
        assert_true(KeInsertQueueDpc(&Dpc, Number(7), NULL));
        AwaitCount(&Requeue.Runs.Count, REQUEUES + 1);
        KeFlushQueuedDpcs();
        assert_int_equal(Requeue.Runs.Count, REQUEUES + 1);
        assert_int_equal(Requeue.Refused, 0);
        assert_int_equal(Requeue.Runs.Processor, Target);
        assert_ptr_equal(Requeue.Runs.Argument1, Number(7));
        StopMachine();
    }
}

static VOID FreeRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    /* What anybody reads of it later is a wrong pointer, with a sanitizer or without. */
    for (ULONG Byte = 0; Byte < sizeof(*Dpc); Byte += 1) {
        ((UCHAR volatile *)Dpc)[Byte] = 0xDD;
    }
    free(Dpc);
    CountOne(Context);
}

static void pitfall_2_the_routine_may_free_its_dpc(void **State)
{
    ULONG volatile Count = 0;
    HOLDER Holder;
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    StartHolder(&Holder, 1, 1);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    for (ULONG Index = 0; Index < 2 * FREED; Index += 1) {
        PKDPC Dpc = malloc(sizeof(*Dpc));

        assert_non_null(Dpc);
        KeInitializeDpc(Dpc, FreeRoutine, (PVOID)&Count);
        KeSetTargetProcessorDpc(Dpc, Index % 2);
        KeSetImportanceDpc(Dpc, (KDPC_IMPORTANCE)(Index / 2 % 4));
        assert_true(KeInsertQueueDpc(Dpc, NULL, NULL));
    }
    KeLowerIrql(OldIrql);
    EndHolder(&Holder);
    AwaitCount(&Count, 2 * FREED);
    for (ULONG Index = 0; Index < FREED; Index += 1) {
        PKDPC Dpc = malloc(sizeof(*Dpc));

        KeInitializeDpc(Dpc, FreeRoutine, (PVOID)&Count);
        KeSetTargetProcessorDpc(Dpc, Index % 2);
        assert_true(KeInsertQueueDpc(Dpc, NULL, NULL));
    }
    AwaitCount(&Count, 3 * FREED);
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

static void pitfall_2_one_dpc_runs_on_two_processors_at_once(void **State)
{
    ULONG volatile Count = 0;
    KDPC Dpc;

    (void)State;
    InBoth = RanOn = 0;
    StartAttached(3, MachineFlags);
    KeInitializeDpc(&Dpc, MeetItselfRoutine, (PVOID)&Count);
    KeSetTargetProcessorDpc(&Dpc, 1);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    AwaitCount(&InBoth, 1);
    assert_int_equal(CountOf(&Count), 0);
    KeSetTargetProcessorDpc(&Dpc, 2);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    AwaitCount(&Count, 2);
    assert_int_equal(RanOn, 1 << 1 | 1 << 2);
    StopMachine();
}

static void pitfall_3_target_binds_at_insert(void **State)
{
    RUNS Runs = {0};
    HOLDER Holder;
    KDPC Dpc;
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    StartHolder(&Holder, 1, 1);
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    KeSetTargetProcessorDpc(&Dpc, 1);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    KeSetTargetProcessorDpc(&Dpc, 0);
    KeLowerIrql(OldIrql);
    assert_int_equal(CountOf(&Runs.Count), 0);
    EndHolder(&Holder);
    AwaitCount(&Runs.Count, 1);
    assert_int_equal(Runs.Processor, 1);

    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(CountOf(&Runs.Count), 2);
    assert_int_equal(Runs.Processor, 0);
    StopMachine();
}

static void *InitializeThread(void *Context)
{
    PVOID *Both = Context;

    if (KprcbAttachThread(1) != STATUS_SUCCESS) {
        abort();
    }
    KeInitializeDpc(Both[0], RecordRun, Both[1]);
    return NULL;
}

static void pitfall_3_without_a_target_the_processor_that_inserts_runs_it(void **State)
{
    RUNS Runs = {0};
    KDPC Dpc;
    PVOID Both[2] = {&Dpc, &Runs};

    (void)State;
    StartAttached(2, MachineFlags);
    JoinThread(StartThread(InitializeThread, Both));
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(CountOf(&Runs.Count), 1);
    assert_int_equal(Runs.Processor, 0);
    KprcbDetachThread();
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(CountOf(&Runs.Count), 2);
    assert_int_equal(Runs.Processor, 1);
    StopMachine();
}

static ULONG RunsWhere(PKDPC Dpc, RUNS *Runs)
{
    ULONG Before = CountOf(&Runs->Count);

    assert_true(KeInsertQueueDpc(Dpc, NULL, NULL));
    AwaitCount(&Runs->Count, Before + 1);
    return Runs->Processor;
}

/* Three processors in groups of two. */
static void pitfall_3_a_number_out_of_range_is_ignored_and_an_error_for_ex(void **State)
{
    static const PROCESSOR_NUMBER Wrong[] = {{0, 2, 0}, {1, 1, 0}, {2, 0, 0}, {0xFFFF, 0, 0}, {0, 0, 1}, {1, 0, 0xFF}};
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 3, .GroupSize = 2, .Flags = MachineFlags};
    PROCESSOR_NUMBER Last = {1, 0, 0};
    PROCESSOR_NUMBER First = {0, 0, 0};
    RUNS Runs = {0};
    KDPC Dpc;

    (void)State;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    KeSetTargetProcessorDpc(&Dpc, 2);
    assert_int_equal(RunsWhere(&Dpc, &Runs), 0);
    KeSetTargetProcessorDpc(&Dpc, 1);
    KeSetTargetProcessorDpc(&Dpc, 2);
    KeSetTargetProcessorDpc(&Dpc, -1);
    KeSetTargetProcessorDpc(&Dpc, -128);
    KeSetTargetProcessorDpc(&Dpc, 127);
    assert_int_equal(RunsWhere(&Dpc, &Runs), 1);
    assert_int_equal(KeSetTargetProcessorDpcEx(&Dpc, &Last), STATUS_SUCCESS);
    assert_int_equal(RunsWhere(&Dpc, &Runs), 2);
    for (ULONG Index = 0; Index < ARRAYSIZE(Wrong); Index += 1) {
        PROCESSOR_NUMBER Number = Wrong[Index];

        assert_int_equal(KeSetTargetProcessorDpcEx(&Dpc, &Number), STATUS_INVALID_PARAMETER);
    }
    assert_int_equal(RunsWhere(&Dpc, &Runs), 2);
    assert_int_equal(KeSetTargetProcessorDpcEx(&Dpc, &First), STATUS_SUCCESS);
    assert_int_equal(RunsWhere(&Dpc, &Runs), 0);
    StopMachine();
}

static void pitfall_8_inserted_below_dispatch_level_it_has_run_at_return(void **State)
{
    RUNS Runs = {0};
    KDPC Dpc;
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    for (ULONG Round = 1; Round <= 100; Round += 1) {
        assert_true(KeInsertQueueDpc(&Dpc, Number(Round), NULL));
        assert_int_equal(Runs.Count, Round);
        assert_ptr_equal(Runs.Argument1, Number(Round));
        assert_int_equal(Runs.Irql, DISPATCH_LEVEL);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
        assert_ptr_equal(Runs.Thread, KeGetCurrentThread());
    }
    KeRaiseIrql(APC_LEVEL, &OldIrql);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(Runs.Count, 101);
    assert_int_equal(Runs.Irql, DISPATCH_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), APC_LEVEL);
    KeLowerIrql(OldIrql);
    StopMachine();
}

static void pitfall_8_inserted_at_dispatch_level_it_runs_inside_the_lower(void **State)
{
    KLOCK_QUEUE_HANDLE Handle;
    KSPIN_LOCK Lock;
    RUNS Runs = {0};
    KDPC Dpc;
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(Runs.Count, 0);
    KeLowerIrql(OldIrql);
    assert_int_equal(Runs.Count, 1);

    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &OldIrql);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(Runs.Count, 1);
    KeReleaseSpinLock(&Lock, OldIrql);
    assert_int_equal(Runs.Count, 2);

    KeAcquireInStackQueuedSpinLock(&Lock, &Handle);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(Runs.Count, 2);
    KeReleaseInStackQueuedSpinLock(&Handle);
    assert_int_equal(Runs.Count, 3);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    StopMachine();
}

static void pitfall_8_inserted_above_dispatch_level_it_runs_on_the_way_below_it(void **State)
{
    RUNS Runs = {0};
    KDPC Dpc;
    KIRQL OldIrql[3];

    (void)State;
    StartAttached(2, MachineFlags);
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    KeRaiseIrql(APC_LEVEL, &OldIrql[0]);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql[1]);
    KeRaiseIrql(HIGH_LEVEL, &OldIrql[2]);
    assert_true(KeInsertQueueDpc(&Dpc, Number(5), NULL));
    assert_false(KeInsertQueueDpc(&Dpc, Number(6), NULL));
    KeLowerIrql(OldIrql[2]);
    assert_int_equal(Runs.Count, 0);
    KeLowerIrql(OldIrql[1]);
    assert_int_equal(Runs.Count, 1);
    assert_ptr_equal(Runs.Argument1, Number(5));
    assert_int_equal(Runs.Irql, DISPATCH_LEVEL);
    KeLowerIrql(OldIrql[0]);
    assert_int_equal(Runs.Count, 1);

    /* In one step from HIGH_LEVEL. */
    KeRaiseIrql(HIGH_LEVEL, &OldIrql[0]);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    KeLowerIrql(OldIrql[0]);
    assert_int_equal(Runs.Count, 2);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(pitfall_1_a_queued_dpc_keeps_its_first_arguments),
        cmocka_unit_test(pitfall_1_a_dpc_queued_elsewhere_keeps_its_first_arguments),
        cmocka_unit_test(pitfall_2_requeued_from_inside_n_times_runs_n_plus_1_times),
        cmocka_unit_test(pitfall_2_the_routine_may_free_its_dpc),
        cmocka_unit_test(pitfall_2_one_dpc_runs_on_two_processors_at_once),
        cmocka_unit_test(pitfall_3_target_binds_at_insert),
        cmocka_unit_test(pitfall_3_without_a_target_the_processor_that_inserts_runs_it),
        cmocka_unit_test(pitfall_3_a_number_out_of_range_is_ignored_and_an_error_for_ex),
        cmocka_unit_test(pitfall_8_inserted_below_dispatch_level_it_has_run_at_return),
        cmocka_unit_test(pitfall_8_inserted_at_dispatch_level_it_runs_inside_the_lower),
        cmocka_unit_test(pitfall_8_inserted_above_dispatch_level_it_runs_on_the_way_below_it),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
