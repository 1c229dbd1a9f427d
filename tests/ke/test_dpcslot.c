/*
 * test_dpcslot.c - the slot of a processor (src/ke/dpcslot.c): a DPC in it counts as taken off the queue while nobody
 * owns the processor, and as queued from the moment on that somebody does.
 *
 * The directed tests open the slot themselves, as the owner of a processor whose idle thread sleeps and will not look.
 */
#include "dpctest.h"
#include "support/check.h"

#include "dpcqueue.h"

#define TARGET 1
#define OTHER 2
#define INSERTER 3
#define PROCESSORS 4
#define ROUNDS 20000
#define SANITIZED_ROUNDS 2000

static RUNS Runs;

/* Owns the processor of the thread's affinity while Step runs. */
static void AtDispatchLevel(void (*Step)(PKPCR))
{
    KIRQL OldIrql;

    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    assert_ptr_equal(KeGetPcr(), KiProcessor(TARGET));
    Step(KeGetPcr());
    KeLowerIrql(OldIrql);
}

static void Nothing(PKPCR Pcr)
{
    UNREFERENCED_PARAMETER(Pcr);
}

/* Inserts a DPC from another processor than the target. */
static void *InsertThread(void *Context)
{
    Check(KprcbAttachThread(INSERTER) == STATUS_SUCCESS);
    Check(KeInsertQueueDpc(Context, Number(1), Number(2)));
    Check(KprcbDetachThread() == STATUS_SUCCESS);
    return NULL;
}

static void InsertElsewhere(PKDPC Dpc)
{
    JoinThread(StartThread(InsertThread, Dpc));
    assert_int_equal(WrongLine, 0);
}

static KDPC First, Second;

static void Begin(void)
{
    StartAttached(PROCESSORS, MachineFlags);
    Runs = (RUNS){.Count = 0};
    KeInitializeDpc(&First, RecordRun, &Runs);
    KeInitializeDpc(&Second, RecordRun, &Runs);
    KeSetTargetProcessorDpc(&First, TARGET);
    KeSetTargetProcessorDpc(&Second, TARGET);
    assert_true(KeInsertQueueDpc(&First, NULL, NULL));
    KeFlushQueuedDpcs();
    Runs.Count = 0;
    KeSetSystemAffinityThreadEx((KAFFINITY)1 << TARGET);
    while ((__atomic_load_n(&KiProcessor(TARGET)->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_PARKED) == 0) {
        sched_yield();
    }
    AtDispatchLevel(KiOpenSlot);
}

static void a_dpc_in_the_slot_is_not_queued(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Begin();
    InsertElsewhere(&First);
    assert_true(KiSlotFilled(KiProcessor(TARGET)));
    assert_null(First.DpcData);
    assert_false(KeRemoveQueueDpc(&First));
    assert_false(KiDpcsIdle(KiProcessor(TARGET)));
    KeFlushQueuedDpcs();
    assert_int_equal(Runs.Count, 1);
    assert_ptr_equal(Runs.Argument1, Number(1));
    assert_ptr_equal(Runs.Argument2, Number(2));
    assert_int_equal(Runs.Processor, TARGET);
    assert_false(KiSlotFilled(KiProcessor(TARGET)));
    StopMachine();
}

static void InsertAgain(PKPCR Pcr)
{
    assert_int_equal(Runs.Count, 0);
    assert_false(KiSlotFilled(Pcr));
    assert_ptr_equal(First.DpcData, &Pcr->PrcbData.DpcData[0]);
    assert_false(KeInsertQueueDpc(&First, Number(3), Number(4)));
}

static void who_takes_the_processor_finds_it_queued(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Begin();
    InsertElsewhere(&First);
    AtDispatchLevel(InsertAgain);
    assert_int_equal(Runs.Count, 1);
    assert_ptr_equal(Runs.Argument1, Number(1));
    assert_ptr_equal(Runs.Argument2, Number(2));
    assert_null(First.DpcData);
    StopMachine();
}

static void RemoveIt(PKPCR Pcr)
{
    UNREFERENCED_PARAMETER(Pcr);
    assert_true(KeRemoveQueueDpc(&First));
}

static void who_takes_the_processor_can_remove_it(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Begin();
    InsertElsewhere(&First);
    AtDispatchLevel(RemoveIt);
    KeFlushQueuedDpcs();
    assert_int_equal(Runs.Count, 0);
    StopMachine();
}

static void nothing_gets_in_while_the_processor_is_owned(void **State)
{
    HOLDER Holder;

    UNREFERENCED_PARAMETER(State);
    Begin();
    KeRevertToUserAffinityThread();
    StartHolder(&Holder, TARGET, OTHER);
    assert_true(KeInsertQueueDpc(&First, NULL, NULL));
    assert_false(KiSlotFilled(KiProcessor(TARGET)));
    assert_non_null(First.DpcData);
    assert_false(KeInsertQueueDpc(&First, NULL, NULL));
    EndHolder(&Holder);
    KeFlushQueuedDpcs();
    assert_int_equal(Runs.Count, 1);
    StopMachine();
}

/* The slot's first insert and the second, by another way, are two runs, as they are if the first was taken off at once. */
static void inserted_again_elsewhere_both_run(void **State)
{
    HOLDER Holder;

    UNREFERENCED_PARAMETER(State);
    Begin();
    InsertElsewhere(&First);
    StartHolder(&Holder, OTHER, OTHER);
    KeSetTargetProcessorDpc(&First, OTHER);
    InsertElsewhere(&First);
    AtDispatchLevel(Nothing);
    assert_int_equal(Runs.Count, 1);
    EndHolder(&Holder);
    KeFlushQueuedDpcs();
    assert_int_equal(Runs.Count, 2);
    StopMachine();
}

static PVOID Order[2];

static VOID RecordOrder(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    Order[Runs.Count] = Dpc;
    RecordRun(Dpc, Context, Argument1, Argument2);
}

static void what_came_after_the_slot_runs_after_it(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Begin();
    First.DeferredRoutine = Second.DeferredRoutine = RecordOrder;
    KeSetImportanceDpc(&Second, LowImportance);
    InsertElsewhere(&First);
    InsertElsewhere(&Second);
    KeFlushQueuedDpcs();
    assert_int_equal(Runs.Count, 2);
    assert_ptr_equal(Order[0], &First);
    assert_ptr_equal(Order[1], &Second);
    StopMachine();
}

/* Posts by the inbox as its owner's list would: the slot is open, and something is queued. */
static void what_came_before_the_slot_opened_runs_before_it(void **State)
{
    HOLDER Holder;
    PKPCR Pcr;

    UNREFERENCED_PARAMETER(State);
    Begin();
    KeRevertToUserAffinityThread();
    First.DeferredRoutine = Second.DeferredRoutine = RecordOrder;
    StartHolder(&Holder, TARGET, OTHER);
    Pcr = KiProcessor(TARGET);
    assert_true(KeInsertQueueDpc(&First, NULL, NULL));
    KiOpenSlot(Pcr);
    assert_true(KeInsertQueueDpc(&Second, NULL, NULL));
    assert_false(KiSlotFilled(Pcr));
    EndHolder(&Holder);
    KeFlushQueuedDpcs();
    assert_int_equal(Runs.Count, 2);
    assert_ptr_equal(Order[0], &First);
    assert_ptr_equal(Order[1], &Second);
    StopMachine();
}

/* The test is the poster here, one that has lost its CPU between two steps. */
static void a_slot_that_is_being_filled_is_revoked(void **State)
{
    PKPCR Pcr;

    UNREFERENCED_PARAMETER(State);
    Begin();
    Pcr = KiProcessor(TARGET);
    Pcr->DpcSlot.State = KiSlotFilling;
    AtDispatchLevel(KiOpenSlot);
    assert_int_equal(Pcr->DpcSlot.State, KiSlotRevoked);
    InsertElsewhere(&First);
    assert_int_equal(Pcr->DpcSlot.State, KiSlotRevoked);
    KeFlushQueuedDpcs();
    assert_int_equal(Runs.Count, 1);
    Pcr->DpcSlot.State = KiSlotClosed;
    StopMachine();
}

/* --- an idle thread that watches, parks, watches again --- */

#define GAPS 2000
#define SANITIZED_GAPS 300
#define LONGEST_GAP 8192 /* pauses; longer than an idle thread spins */

static void no_post_is_lost_as_the_idle_thread_parks(void **State)
{
    ULONG Random = 99;

    UNREFERENCED_PARAMETER(State);
    StartMachine(2, MachineFlags); /* not more than CPUs, where there are two: the idle thread spins */
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Runs = (RUNS){.Count = 0};
    KeInitializeDpc(&First, RecordRun, &Runs);
    KeSetTargetProcessorDpc(&First, TARGET);
    for (ULONG Round = 1; Round <= (TEST_SANITIZED ? SANITIZED_GAPS : GAPS); Round += 1) {
        assert_true(KeInsertQueueDpc(&First, NULL, NULL));
        AwaitCount(&Runs.Count, Round);
        for (ULONG Pause = NextRandom(&Random) % LONGEST_GAP; Pause != 0 && Round % 4 == 0; Pause -= 1) {
            HalPause();
        }
    }
    StopMachine();
}

/* --- everything at once --- */

static ULONG volatile Quit, Total;

static VOID CheckArguments(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    Check(((ULONG_PTR)Argument1 ^ (ULONG_PTR)Argument2) == 0x5A5A);
    Check(KeGetCurrentProcessorIndex() == TARGET);
    CountOne(&Total);
}

/* Takes the target now and then, so that slots are closed, revoked and put into the queue. */
static void *TakerThread(void *Context)
{
    ULONG Random = 777;

    UNREFERENCED_PARAMETER(Context);
    while (CountOf(&Quit) == 0) {
        KIRQL OldIrql;

        KeSetSystemAffinityThreadEx((KAFFINITY)1 << TARGET);
        KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
        Check(KeGetCurrentProcessorIndex() == TARGET);
        for (ULONG Pause = NextRandom(&Random) % 64; Pause != 0; Pause -= 1) {
            HalPause();
        }
        KeLowerIrql(OldIrql);
        KeRevertToUserAffinityThread();
        for (ULONG Pause = NextRandom(&Random) % 512; Pause != 0; Pause -= 1) {
            HalPause();
        }
    }
    KprcbDetachThread();
    return NULL;
}

static void *PosterThread(void *Context)
{
    ULONG Inserted = 0;
    ULONG Random = 4242;
    ULONG_PTR Rounds = TEST_SANITIZED ? SANITIZED_ROUNDS : ROUNDS;
    KDPC Dpcs[4];

    KeSetSystemAffinityThreadEx(1);
    for (ULONG Index = 0; Index < ARRAYSIZE(Dpcs); Index += 1) {
        KeInitializeDpc(&Dpcs[Index], CheckArguments, NULL);
        KeSetTargetProcessorDpc(&Dpcs[Index], TARGET);
        KeSetImportanceDpc(&Dpcs[Index], Index == 0 ? HighImportance : MediumHighImportance);
    }
    for (ULONG_PTR Round = 0; Round < Rounds; Round += 1) {
        PKDPC Dpc = &Dpcs[NextRandom(&Random) % ARRAYSIZE(Dpcs)];

        Inserted += KeInsertQueueDpc(Dpc, (PVOID)Round, (PVOID)(Round ^ 0x5A5A)) != 0;
        if (NextRandom(&Random) % 8 == 0) {
            Inserted -= KeRemoveQueueDpc(Dpc) != 0;
        }
        if (NextRandom(&Random) % 64 == 0) {
            KeFlushQueuedDpcs();
        }
    }
    KeFlushQueuedDpcs();
    __atomic_fetch_add((ULONG volatile *)Context, Inserted, __ATOMIC_RELAXED);
    KprcbDetachThread();
    return NULL;
}

static void every_insert_is_a_run_or_a_removal(void **State)
{
    ULONG volatile Expected = 0;
    pthread_t Posters[2];
    pthread_t Taker;

    UNREFERENCED_PARAMETER(State);
    StartMachine(2, MachineFlags);
    Quit = Total = 0;
    Taker = StartThread(TakerThread, NULL);
    for (ULONG Index = 0; Index < ARRAYSIZE(Posters); Index += 1) {
        Posters[Index] = StartThread(PosterThread, (PVOID)&Expected);
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Posters); Index += 1) {
        JoinThread(Posters[Index]);
    }
    CountOne(&Quit);
    JoinThread(Taker);
    KeFlushQueuedDpcs();
    assert_int_equal(WrongLine, 0);
    assert_int_equal(Total, Expected);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(a_dpc_in_the_slot_is_not_queued),
        cmocka_unit_test(who_takes_the_processor_finds_it_queued),
        cmocka_unit_test(who_takes_the_processor_can_remove_it),
        cmocka_unit_test(nothing_gets_in_while_the_processor_is_owned),
        cmocka_unit_test(inserted_again_elsewhere_both_run),
        cmocka_unit_test(what_came_after_the_slot_runs_after_it),
        cmocka_unit_test(what_came_before_the_slot_opened_runs_before_it),
        cmocka_unit_test(a_slot_that_is_being_filled_is_revoked),
        cmocka_unit_test(no_post_is_lost_as_the_idle_thread_parks),
        cmocka_unit_test(every_insert_is_a_run_or_a_removal),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
