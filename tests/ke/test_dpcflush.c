/*
 * test_dpcflush.c - KeRemoveQueueDpc and KeFlushQueuedDpcs.
 */
#include "dpctest.h"

#define DPCS 5
#define YIELDS 500 /* a flush that does not wait returns within these */

/* A DPC that is held inside its routine. */
typedef struct _STUCK {
    KDPC Dpc;
    ULONG volatile Entered;
    ULONG volatile Released;
    ULONG volatile Ended;
} STUCK;

static void SetTarget(PKDPC Dpc, ULONG Index)
{
    PROCESSOR_NUMBER Number;

    assert_int_equal(KeGetProcessorNumberFromIndex(Index, &Number), STATUS_SUCCESS);
    assert_int_equal(KeSetTargetProcessorDpcEx(Dpc, &Number), STATUS_SUCCESS);
}

static VOID StuckRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    STUCK *Stuck = Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(&Stuck->Entered);
    AwaitCount(&Stuck->Released, 1);
    for (ULONG Yield = 0; Yield < YIELDS; Yield += 1) {
        sched_yield();
    }
    CountOne(&Stuck->Ended);
}

static void StartStuck(STUCK *Stuck, ULONG Processor)
{
    *Stuck = (STUCK){.Entered = 0};
    KeInitializeDpc(&Stuck->Dpc, StuckRoutine, Stuck);
    SetTarget(&Stuck->Dpc, (ULONG)Processor);
    KeSetImportanceDpc(&Stuck->Dpc, HighImportance);
    assert_true(KeInsertQueueDpc(&Stuck->Dpc, NULL, NULL));
    AwaitCount(&Stuck->Entered, 1);
}

typedef struct _FLUSH {
    STUCK *Stuck;
    ULONG volatile Attached;
    ULONG volatile Go;
    ULONG volatile Started;
    ULONG EndedBefore; /* whether the DPC had ended as the flush returned */
} FLUSH;

static void *FlushThread(void *Context)
{
    FLUSH *Flush = Context;

    if (KprcbAttachThread(2) != STATUS_SUCCESS) {
        abort();
    }
    CountOne(&Flush->Attached);
    AwaitCount(&Flush->Go, 1);
    CountOne(&Flush->Started);
    KeFlushQueuedDpcs();
    Flush->EndedBefore = CountOf(&Flush->Stuck->Ended);
    return NULL;
}

/* A thread on processor 2 that flushes when it is told to. */
static pthread_t StartFlusher(FLUSH *Flush, STUCK *Stuck)
{
    pthread_t Thread;

    *Flush = (FLUSH){.Stuck = Stuck};
    Thread = StartThread(FlushThread, Flush);
    AwaitCount(&Flush->Attached, 1);
    return Thread;
}

static void StartFlush(FLUSH *Flush)
{
    CountOne(&Flush->Go);
    AwaitCount(&Flush->Started, 1);
    for (ULONG Yield = 0; Yield < YIELDS; Yield += 1) {
        sched_yield();
    }
}

static void FlushWhileStuck(FLUSH *Flush, pthread_t Thread)
{
    StartFlush(Flush);
    CountOne(&Flush->Stuck->Released);
    JoinThread(Thread);
    assert_int_equal(Flush->EndedBefore, 1);
}

static void FlushOfARunningDpc(ULONG Processors, ULONG Target)
{
    STUCK Stuck;
    FLUSH Flush;
    pthread_t Thread;

    StartAttached(Processors, MachineFlags);
    Thread = StartFlusher(&Flush, &Stuck);
    StartStuck(&Stuck, Target);
    assert_false(KeRemoveQueueDpc(&Stuck.Dpc));
    FlushWhileStuck(&Flush, Thread);
    StopMachine();
}

static void pitfall_5_a_flush_waits_for_a_routine_that_runs(void **State)
{
    (void)State;
    FlushOfARunningDpc(3, 1);
}

/* More processors are busy than a flush does at once; the last one ends last. */
static void pitfall_5_a_flush_waits_for_the_last_of_many(void **State)
{
    static STUCK Others[36];
    STUCK Last;
    FLUSH Flush;
    pthread_t Thread;

    (void)State;
    StartAttached(40, MachineFlags);
    Thread = StartFlusher(&Flush, &Last);
    for (ULONG Index = 0; Index < ARRAYSIZE(Others); Index += 1) {
        StartStuck(&Others[Index], 3 + Index);
    }
    StartStuck(&Last, 39);
    StartFlush(&Flush);
    for (ULONG Index = 0; Index < ARRAYSIZE(Others); Index += 1) {
        CountOne(&Others[Index].Released);
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Others); Index += 1) {
        AwaitCount(&Others[Index].Ended, 1);
    }
    FlushWhileStuck(&Flush, Thread);
    StopMachine();
}

static void pitfall_5_a_flush_waits_for_what_is_queued_everywhere(void **State)
{
    RUNS Runs[40] = {{0}};
    KDPC Dpc[40];

    (void)State;
    StartAttached(40, MachineFlags);
    for (ULONG Round = 1; Round <= 20; Round += 1) {
        for (ULONG Index = 0; Index < 40; Index += 1) {
            KeInitializeDpc(&Dpc[Index], RecordRun, &Runs[Index]);
            SetTarget(&Dpc[Index], (ULONG)Index);
            KeSetImportanceDpc(&Dpc[Index], (KDPC_IMPORTANCE)((Index + Round) % 4));
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

static void pitfall_5_a_flush_waits_for_low_dpcs_and_for_held_processors(void **State)
{
    HOLDER Holder;
    RUNS Runs[2] = {{0}};
    KDPC Dpc[2];
    pthread_t Thread;
    STUCK Stuck = {.Entered = 0};
    FLUSH Flush;

    (void)State;
    StartAttached(3, MachineFlags);
    Thread = StartFlusher(&Flush, &Stuck);
    StartHolder(&Holder, 1, 1);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        PcrOf(Index)->Prcb->MinimumDpcRate = 0;
        PcrOf(Index)->Prcb->MaximumDpcQueueDepth = 100;
        KeInitializeDpc(&Dpc[Index], RecordRun, &Runs[Index]);
        SetTarget(&Dpc[Index], (ULONG)Index);
        KeSetImportanceDpc(&Dpc[Index], LowImportance);
        assert_true(KeInsertQueueDpc(&Dpc[Index], NULL, NULL));
    }
    StartFlush(&Flush);
    /* What the flusher finds: it came back only after the holder was told to go. */
    CountOne(&Stuck.Ended);
    EndHolder(&Holder);
    JoinThread(Thread);
    assert_int_equal(Flush.EndedBefore, 1);
    assert_int_equal(CountOf(&Runs[1].Count), 1);
    KeFlushQueuedDpcs();
    assert_int_equal(CountOf(&Runs[0].Count), 1);
    StopMachine();
}

typedef struct _FOREVER {
    KDPC Dpc;
    ULONG volatile Count;
    ULONG volatile Stop;
    ULONG Processors;
} FOREVER;

/* Goes from processor to processor, or stays on one, until it is stopped. */
static VOID ForeverRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    FOREVER *Forever = Context;

    CountOne(&Forever->Count);
    if (CountOf(&Forever->Stop) == 0) {
        if (Forever->Processors != 0) {
            SetTarget(Dpc, (ULONG)((KeGetCurrentProcessorIndex() + 1) % Forever->Processors));
        }
        KeInsertQueueDpc(Dpc, Argument1, Argument2);
    }
}

static void pitfall_5_a_dpc_that_requeues_itself_does_not_hold_a_flush(void **State)
{
    (void)State;
    for (ULONG Processors = 0; Processors <= 3; Processors += 3) {
        FOREVER Forever = {.Processors = Processors};

        StartAttached(3, MachineFlags);
        KeInitializeDpc(&Forever.Dpc, ForeverRoutine, &Forever);
        KeSetTargetProcessorDpc(&Forever.Dpc, 1);
        KeSetImportanceDpc(&Forever.Dpc, MediumHighImportance);
        assert_true(KeInsertQueueDpc(&Forever.Dpc, NULL, NULL));
        AwaitCount(&Forever.Count, 1);
        if (Processors == 0) {
            /* It stays on processor 1, whose idle thread never gets out of it. */
            for (ULONG Round = 0; Round < 20; Round += 1) {
                KeFlushQueuedDpcs();
            }
        } else {
            KeFlushQueuedDpcs();
        }
        AwaitCount(&Forever.Count, 10);
        CountOne(&Forever.Stop);
        KeFlushQueuedDpcs();
        KeFlushQueuedDpcs();
        KeRemoveQueueDpc(&Forever.Dpc);
        StopMachine();
    }
}

static VOID FlushAt(PVOID Context)
{
    KIRQL OldIrql;

    KeRaiseIrql(*(KIRQL *)Context, &OldIrql);
    KeFlushQueuedDpcs();
    KeLowerIrql(OldIrql);
}

static VOID FlushingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeFlushQueuedDpcs();
}

static VOID FlushInADpc(PVOID Context)
{
    KeInsertQueueDpc(Context, NULL, NULL);
}

static void pitfall_5_a_flush_above_passive_level_is_a_bug_check(void **State)
{
    static const KIRQL Wrong[] = {APC_LEVEL, DISPATCH_LEVEL, HIGH_LEVEL};
    KDPC Dpc;

    (void)State;
    StartAttached(2, MachineFlags);
    for (ULONG Index = 0; Index < ARRAYSIZE(Wrong); Index += 1) {
        assert_int_equal(CaughtCode(FlushAt, (PVOID)&Wrong[Index]), IRQL_NOT_LESS_OR_EQUAL);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    }
    KeInitializeDpc(&Dpc, FlushingRoutine, NULL);
    assert_int_equal(CaughtCode(FlushInADpc, &Dpc), IRQL_NOT_LESS_OR_EQUAL);
    KeFlushQueuedDpcs();
    StopMachine();
}

static void pitfall_6_remove_tells_whether_it_was_queued(void **State)
{
    RUNS Runs = {0};
    KDPC Dpc;
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    assert_false(KeRemoveQueueDpc(&Dpc)); /* never queued */
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    assert_true(KeInsertQueueDpc(&Dpc, Number(1), NULL));
    assert_true(KeRemoveQueueDpc(&Dpc));
    assert_false(KeRemoveQueueDpc(&Dpc));
    KeLowerIrql(OldIrql);
    assert_int_equal(Runs.Count, 0);
    assert_true(KeInsertQueueDpc(&Dpc, Number(2), NULL));
    assert_int_equal(Runs.Count, 1);
    assert_ptr_equal(Runs.Argument1, Number(2));
    assert_false(KeRemoveQueueDpc(&Dpc)); /* has run */
    StopMachine();
}

static void pitfall_6_remove_at_any_level(void **State)
{
    static const KIRQL Levels[] = {PASSIVE_LEVEL, APC_LEVEL, DISPATCH_LEVEL, SYNCH_LEVEL, IPI_LEVEL, HIGH_LEVEL};
    HOLDER Holder;
    RUNS Runs = {0};
    KDPC Dpc;
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    StartHolder(&Holder, 1, 1);
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        KeRaiseIrql(Levels[Index], &OldIrql);
        for (ULONG Target = Levels[Index] < DISPATCH_LEVEL ? 1 : 0; Target < 2; Target += 1) {
            SetTarget(&Dpc, (ULONG)Target);
            assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
            assert_true(KeRemoveQueueDpc(&Dpc));
            assert_false(KeRemoveQueueDpc(&Dpc));
        }
        assert_int_equal(KeGetCurrentIrql(), Levels[Index]);
        KeLowerIrql(OldIrql);
    }
    EndHolder(&Holder);
    KeFlushQueuedDpcs();
    assert_int_equal(CountOf(&Runs.Count), 0);
    StopMachine();
}

/* First, last, in between, the only one: what stays runs in its order, and the list goes on. */
static void pitfall_6_remove_from_every_place(void **State)
{
    (void)State;
    for (ULONG Target = 0; Target < 2; Target += 1) {
        for (ULONG Gone = 0; Gone < 1u << DPCS; Gone += 1) {
            static RUNS Runs[DPCS + 1];
            HOLDER Holder;
            KDPC Dpc[DPCS + 1];
            KIRQL OldIrql = PASSIVE_LEVEL;

            StartAttached(2, MachineFlags);
            if (Target == 0) {
                KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
            } else {
                StartHolder(&Holder, 1, 1);
            }
            for (ULONG Index = 0; Index <= DPCS; Index += 1) {
                Runs[Index] = (RUNS){0};
                KeInitializeDpc(&Dpc[Index], RecordRun, &Runs[Index]);
                SetTarget(&Dpc[Index], (ULONG)Target);
                if (Index == DPCS) {
                    for (ULONG Bit = 0; Bit < DPCS; Bit += 1) {
                        assert_true((Gone >> Bit & 1) == 0 || KeRemoveQueueDpc(&Dpc[Bit]));
                    }
                }
                assert_true(KeInsertQueueDpc(&Dpc[Index], NULL, NULL));
            }
            if (Target == 0) {
                assert_int_equal(KeGetCurrentPrcb()->DpcData[DPC_NORMAL].DpcQueueDepth,
                                 DPCS + 1 - __builtin_popcount(Gone));
                KeLowerIrql(OldIrql);
            } else {
                EndHolder(&Holder);
                AwaitCount(&Runs[DPCS].Count, 1);
            }
            for (ULONG Index = 0; Index <= DPCS; Index += 1) {
                assert_int_equal(Runs[Index].Count, 1 - (Index < DPCS ? Gone >> Index & 1 : 0));
            }
            StopMachine();
        }
    }
}

static void pitfall_6_memory_is_the_callers_after_true(void **State)
{
    HOLDER Holder;
    RUNS Runs = {0};
    RUNS Last = {0};
    PKDPC Dpc[DPCS];
    KDPC After;

    (void)State;
    StartAttached(2, MachineFlags);
    StartHolder(&Holder, 1, 1);
    for (ULONG Index = 0; Index < DPCS; Index += 1) {
        Dpc[Index] = malloc(sizeof(KDPC));
        KeInitializeDpc(Dpc[Index], RecordRun, &Runs);
        KeSetTargetProcessorDpc(Dpc[Index], 1);
        KeSetImportanceDpc(Dpc[Index], Index % 2 == 0 ? HighImportance : MediumImportance);
        assert_true(KeInsertQueueDpc(Dpc[Index], NULL, NULL));
    }
    for (ULONG Index = 0; Index < DPCS; Index += 1) {
        assert_true(KeRemoveQueueDpc(Dpc[Index]));
        for (ULONG Byte = 0; Byte < sizeof(KDPC); Byte += 1) {
            ((UCHAR volatile *)Dpc[Index])[Byte] = 0xDD;
        }
        free(Dpc[Index]);
    }
    KeInitializeDpc(&After, RecordRun, &Last);
    KeSetTargetProcessorDpc(&After, 1);
    assert_true(KeInsertQueueDpc(&After, NULL, NULL));
    EndHolder(&Holder);
    AwaitCount(&Last.Count, 1);
    assert_int_equal(CountOf(&Runs.Count), 0);
    StopMachine();
}

static void pitfall_6_false_while_it_runs_then_a_flush_waits(void **State)
{
    STUCK Stuck;
    FLUSH Flush;
    pthread_t Thread;
    KIRQL OldIrql;

    (void)State;
    StartAttached(3, MachineFlags);
    Thread = StartFlusher(&Flush, &Stuck);
    StartStuck(&Stuck, 1);
    assert_false(KeRemoveQueueDpc(&Stuck.Dpc));
    KeRaiseIrql(HIGH_LEVEL, &OldIrql);
    assert_false(KeRemoveQueueDpc(&Stuck.Dpc));
    KeLowerIrql(OldIrql);
    /* Queued again while it runs: that insert can be taken back, the run cannot. */
    assert_true(KeInsertQueueDpc(&Stuck.Dpc, NULL, NULL));
    assert_true(KeRemoveQueueDpc(&Stuck.Dpc));
    assert_false(KeRemoveQueueDpc(&Stuck.Dpc));
    assert_int_equal(CountOf(&Stuck.Ended), 0);
    FlushWhileStuck(&Flush, Thread);
    assert_int_equal(CountOf(&Stuck.Entered), 1);
    StopMachine();
}

static VOID RemoveItselfRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    ULONG *Answers = Context;

    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Answers[0] += KeRemoveQueueDpc(Dpc);
    Answers[1] += KeInsertQueueDpc(Dpc, NULL, NULL);
    Answers[2] += KeRemoveQueueDpc(Dpc);
    Answers[3] += 1;
}

static void pitfall_6_a_routine_may_remove_its_own_dpc(void **State)
{
    ULONG Answers[4] = {0};
    KDPC Dpc;

    (void)State;
    StartAttached(2, MachineFlags);
    KeInitializeDpc(&Dpc, RemoveItselfRoutine, Answers);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(Answers[0], 0);
    assert_int_equal(Answers[1], 1);
    assert_int_equal(Answers[2], 1);
    assert_int_equal(Answers[3], 1);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(pitfall_5_a_flush_waits_for_a_routine_that_runs),
        cmocka_unit_test(pitfall_5_a_flush_waits_for_the_last_of_many),
        cmocka_unit_test(pitfall_5_a_flush_waits_for_what_is_queued_everywhere),
        cmocka_unit_test(pitfall_5_a_flush_waits_for_low_dpcs_and_for_held_processors),
        cmocka_unit_test(pitfall_5_a_dpc_that_requeues_itself_does_not_hold_a_flush),
        cmocka_unit_test(pitfall_5_a_flush_above_passive_level_is_a_bug_check),
        cmocka_unit_test(pitfall_6_remove_tells_whether_it_was_queued),
        cmocka_unit_test(pitfall_6_remove_at_any_level),
        cmocka_unit_test(pitfall_6_remove_from_every_place),
        cmocka_unit_test(pitfall_6_memory_is_the_callers_after_true),
        cmocka_unit_test(pitfall_6_false_while_it_runs_then_a_flush_waits),
        cmocka_unit_test(pitfall_6_a_routine_may_remove_its_own_dpc),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
