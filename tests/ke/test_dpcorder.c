/*
 * test_dpcorder.c - the importance of a DPC: its place in the queue, and when the queue is run.
 *
 * Whether an insert asked for the queue to be run shows in KPCR.Request of a processor that somebody holds: DISPATCH
 * if it did, LAZY if it left the matter to the next lower or the clock. Nobody clears either while the processor is
 * held, and the clock may add DISPATCH to LAZY but never the opposite, so LAZY decides. An inbox that the idle thread
 * watches needs neither; the idle thread of a processor that is held soon gives up.
 */
#include "dpctest.h"

#define DPCS 8
#define MANY 100 /* a depth that no test reaches */

typedef struct _ORDER {
    ULONG volatile Count;
    ULONG Ran[DPCS];
} ORDER;

static ORDER Order;

/* The argument is the DPC's place of insertion. */
static VOID OrderRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument2);
    Order.Ran[Order.Count] = (ULONG)(ULONG_PTR)Argument1;
    CountOne(&Order.Count);
}

static const KDPC_IMPORTANCE Inserted[DPCS] = {MediumImportance, LowImportance, HighImportance,
                                               MediumHighImportance, HighImportance, MediumImportance,
                                               MediumHighImportance, LowImportance};
/* High to the head, the last of them first; the rest in order. */
static const ULONG Expected[DPCS] = {4, 2, 0, 1, 3, 5, 6, 7};

static void InsertInOrder(PKDPC Dpc, ULONG Target, ULONG From, ULONG To)
{
    for (ULONG Index = From; Index < To; Index += 1) {
        KeInitializeDpc(&Dpc[Index], OrderRoutine, NULL);
        KeSetTargetProcessorDpc(&Dpc[Index], (CCHAR)Target);
        KeSetImportanceDpc(&Dpc[Index], Inserted[Index]);
        assert_true(KeInsertQueueDpc(&Dpc[Index], Number(Index), NULL));
        /* Too late for this round. */
        KeSetImportanceDpc(&Dpc[Index], Index % 2 == 0 ? LowImportance : HighImportance);
    }
}

static void CheckOrder(void)
{
    AwaitCount(&Order.Count, DPCS);
    for (ULONG Index = 0; Index < DPCS; Index += 1) {
        assert_int_equal(Order.Ran[Index], Expected[Index]);
    }
}

static void pitfall_3_and_4_high_goes_to_the_head_on_this_processor(void **State)
{
    KDPC Dpc[DPCS];
    KIRQL OldIrql;

    (void)State;
    StartAttached(2, MachineFlags);
    Order = (ORDER){0};
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    InsertInOrder(Dpc, 0, 0, DPCS);
    assert_int_equal(KeGetCurrentPrcb()->DpcData[DPC_NORMAL].DpcQueueDepth, DPCS);
    KeLowerIrql(OldIrql);
    CheckOrder();
    StopMachine();
}

static void pitfall_3_and_4_high_goes_to_the_head_on_another_processor(void **State)
{
    HOLDER Holder;
    KDPC Dpc[DPCS];

    (void)State;
    StartAttached(2, MachineFlags);
    Order = (ORDER){0};
    StartHolder(&Holder, 1, 1);
    InsertInOrder(Dpc, 1, 0, DPCS);
    assert_int_equal(CountOf(&Order.Count), 0);
    EndHolder(&Holder);
    CheckOrder();
    StopMachine();
}

/* What came to the inbox is older than what the owner queues next, whoever empties the inbox. */
typedef struct _MIXED {
    KDPC Dpc[DPCS];
    ULONG volatile Stage;
} MIXED;

static void *MixedThread(void *Context)
{
    MIXED *Mixed = Context;
    KIRQL OldIrql;

    if (KprcbAttachThread(1) != STATUS_SUCCESS) {
        abort();
    }
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    for (ULONG Index = 0; Index < DPCS; Index += 2) {
        AwaitCount(&Mixed->Stage, Index + 1);
        InsertInOrder(Mixed->Dpc, 1, Index, Index + 1);
        CountOne(&Mixed->Stage);
    }
    AwaitCount(&Mixed->Stage, DPCS + 1);
    KeLowerIrql(OldIrql);
    return NULL;
}

static void pitfall_3_and_4_inserts_of_two_processors_keep_their_order(void **State)
{
    MIXED Mixed = {.Stage = 0};
    pthread_t Thread;
    KDPC Extra;
    RUNS Runs = {0};

    (void)State;
    StartAttached(2, MachineFlags);
    Order = (ORDER){0};
    Thread = StartThread(MixedThread, &Mixed);
    for (ULONG Index = 1; Index < DPCS; Index += 2) {
        CountOne(&Mixed.Stage);
        AwaitCount(&Mixed.Stage, Index + 1);
        InsertInOrder(Mixed.Dpc, 1, Index, Index + 1);
        if (Index == 5) {
            /* A remove empties the inbox from here. */
            KeInitializeDpc(&Extra, RecordRun, &Runs);
            KeSetTargetProcessorDpc(&Extra, 1);
            assert_true(KeInsertQueueDpc(&Extra, NULL, NULL));
            assert_true(KeRemoveQueueDpc(&Extra));
        }
    }
    CountOne(&Mixed.Stage);
    JoinThread(Thread);
    CheckOrder();
    assert_int_equal(CountOf(&Runs.Count), 0);
    StopMachine();
}

static ULONG RequestOf(ULONG Processor)
{
    return __atomic_load_n(&PcrOf(Processor)->Request, __ATOMIC_SEQ_CST);
}

static void AwaitUnwatched(ULONG Processor)
{
    while (__atomic_load_n(&PcrOf(Processor)->DpcInbox, __ATOMIC_SEQ_CST) >> 63 != 0) {
        sched_yield();
    }
}

/* Inserts one DPC for a processor that is held, with the given limits. TRUE: nobody was asked to run it. */
static BOOLEAN IsLeft(ULONG Target, ULONG Residence, KDPC_IMPORTANCE Importance, ULONG Queued, LONG MaximumDepth)
{
    HOLDER Holder;
    RUNS Runs = {0};
    KDPC Before[DPCS];
    KDPC Dpc;
    ULONG Request;

    StartHolder(&Holder, Target, Residence);
    AwaitUnwatched(Target);
    PcrOf(Target)->Prcb->MaximumDpcQueueDepth = MANY;
    for (ULONG Index = 0; Index < Queued; Index += 1) {
        KeInitializeDpc(&Before[Index], RecordRun, &Runs);
        KeSetTargetProcessorDpc(&Before[Index], (CCHAR)Target);
        KeSetImportanceDpc(&Before[Index], MediumHighImportance);
        KeInsertQueueDpc(&Before[Index], NULL, NULL);
    }
    PcrOf(Target)->Prcb->MaximumDpcQueueDepth = MaximumDepth;
    /* As if all of these had asked for nothing: the DPC finds the queue deep, the request bits clear. */
    __atomic_fetch_and(&PcrOf(Target)->Request, ~(ULONG)(KPCR_REQUEST_DISPATCH | KPCR_REQUEST_LAZY), __ATOMIC_SEQ_CST);
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    KeSetTargetProcessorDpc(&Dpc, (CCHAR)Target);
    KeSetImportanceDpc(&Dpc, Importance);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    Request = RequestOf(Target);
    assert_int_equal(CountOf(&Runs.Count), 0);
    assert_true((Request & (KPCR_REQUEST_DISPATCH | KPCR_REQUEST_LAZY)) != 0);
    EndHolder(&Holder);
    AwaitCount(&Runs.Count, Queued + 1);
    assert_int_equal(Runs.Processor, Target);
    return (Request & KPCR_REQUEST_LAZY) != 0;
}

/* Processor 1 has a resident, processor 2 has none. */
static void pitfall_4_for_another_processor(void **State)
{
    (void)State;
    StartAttached(4, MachineFlags);

    assert_false(IsLeft(1, 1, HighImportance, 0, MANY));
    assert_false(IsLeft(1, 1, MediumHighImportance, 0, MANY));
    assert_true(IsLeft(1, 1, MediumImportance, 0, MANY));
    assert_true(IsLeft(1, 1, LowImportance, 0, MANY));
    for (KDPC_IMPORTANCE Importance = LowImportance; Importance <= MediumImportance; Importance += 1) {
        assert_true(IsLeft(1, 1, Importance, 3, 4));
        assert_false(IsLeft(1, 1, Importance, 4, 4));
        assert_true(IsLeft(1, 1, Importance, 0, 1));
        assert_false(IsLeft(1, 1, Importance, 0, 0));
        assert_false(IsLeft(2, 3, Importance, 0, MANY));
    }
    assert_false(IsLeft(2, 3, HighImportance, 0, MANY));
    assert_false(IsLeft(2, 3, MediumHighImportance, 0, MANY));
    StopMachine();
}

static void pitfall_4_the_default_limits_are_depth_4_and_rate_3(void **State)
{
    (void)State;
    StartAttached(2, MachineFlags);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        assert_int_equal(PcrOf(Index)->Prcb->MaximumDpcQueueDepth, 4);
        assert_int_equal(PcrOf(Index)->Prcb->MinimumDpcRate, 3);
    }
    StopMachine();
}

/* Inserts a DPC for this processor at DISPATCH_LEVEL. TRUE: nobody was asked to run it. The lower does anyway. */
static BOOLEAN IsLeftHere(KDPC_IMPORTANCE Importance, ULONG Queued)
{
    RUNS Runs = {0};
    KDPC Dpc[DPCS];
    KIRQL OldIrql;
    ULONG Request;

    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    for (ULONG Index = 0; Index <= Queued; Index += 1) {
        KeInitializeDpc(&Dpc[Index], RecordRun, &Runs);
        KeSetImportanceDpc(&Dpc[Index], Index == Queued ? Importance : MediumHighImportance);
        assert_true(KeInsertQueueDpc(&Dpc[Index], NULL, NULL));
    }
    Request = RequestOf(0);
    assert_int_equal(Runs.Count, 0);
    KeLowerIrql(OldIrql);
    assert_int_equal(Runs.Count, Queued + 1);
    return (Request & KPCR_REQUEST_LAZY) != 0;
}

static void pitfall_4_for_this_processor(void **State)
{
    KPRCB_CONFIG Config = {
        .Size = sizeof(Config), .ProcessorCount = 2, .Flags = MachineFlags, .TimeIncrement = 10000000};
    PKPRCB Prcb;

    (void)State;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Prcb = KeGetCurrentPrcb();
    Prcb->MinimumDpcRate = 0; /* no rate is under it */
    Prcb->MaximumDpcQueueDepth = 4;
    assert_false(IsLeftHere(HighImportance, 0));
    assert_false(IsLeftHere(MediumHighImportance, 0));
    assert_false(IsLeftHere(MediumImportance, 0));
    assert_true(IsLeftHere(LowImportance, 0));
    assert_true(IsLeftHere(LowImportance, 3));
    assert_false(IsLeftHere(LowImportance, 4));
    Prcb->MaximumDpcQueueDepth = 0;
    assert_false(IsLeftHere(LowImportance, 0));
    Prcb->MaximumDpcQueueDepth = 4;
    Prcb->MinimumDpcRate = 0xFFFFFFFF; /* every rate is */
    assert_false(IsLeftHere(LowImportance, 0));
    assert_false(IsLeftHere(MediumImportance, 0));
    StopMachine();
}

/*
 * The rate is worked out anew as a tick has passed; a tick is a second here, and the ticks are counted back by hand. A
 * second more or less halves it.
 */
static void pitfall_4_the_request_rate_follows_the_count(void **State)
{
    KPRCB_CONFIG Config = {
        .Size = sizeof(Config), .ProcessorCount = 2, .Flags = MachineFlags, .TimeIncrement = 10000000};
    PKPRCB Prcb;

    (void)State;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Prcb = KeGetCurrentPrcb();
    assert_int_equal(Prcb->DpcRequestRate, 0);
    assert_false(IsLeftHere(LowImportance, 0));
    assert_true(Prcb->DpcLastTick != 0);

    Prcb->DpcLastTick -= 1;
    Prcb->DpcLastCount = Prcb->DpcData[DPC_NORMAL].DpcCount - 8000;
    assert_true(IsLeftHere(LowImportance, 0));
    assert_int_equal(Prcb->DpcLastCount, Prcb->DpcData[DPC_NORMAL].DpcCount - 1);
    assert_true(Prcb->DpcRequestRate <= 4000 && Prcb->DpcRequestRate >= 3);

    Prcb->DpcLastTick -= 33; /* more than the rate has bits */
    assert_false(IsLeftHere(LowImportance, 0));
    assert_int_equal(Prcb->DpcRequestRate, 0);
    StopMachine();
}

/* Below DISPATCH_LEVEL. The thread does nothing more, so the clock has the idle thread run it. */
static void pitfall_4_a_low_dpc_that_nobody_asks_for_runs_by_the_clock(void **State)
{
    RUNS Runs = {0};
    KDPC Dpc;
    PKTHREAD Idle;

    (void)State;
    StartAttached(2, MachineFlags);
    KeGetCurrentPrcb()->MinimumDpcRate = 0;
    KeGetCurrentPrcb()->MaximumDpcQueueDepth = MANY;
    Idle = KeGetCurrentPrcb()->IdleThread;
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    KeSetImportanceDpc(&Dpc, LowImportance);
    /* It may be this thread after all, if a tick falls into the insert; not every time. */
    for (ULONG Round = 1;; Round += 1) {
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        AwaitCount(&Runs.Count, Round);
        assert_int_equal(Runs.Processor, 0);
        if (Runs.Thread == Idle) {
            break;
        }
        assert_true(Round < 100);
    }
    StopMachine();
}

#define LOW_PROCESSORS 8

typedef struct _COMPUTE {
    ULONG Processor;
    ULONG volatile *Ready;
    ULONG volatile *Done;
} COMPUTE;

static void *ComputeThread(void *Context)
{
    COMPUTE *Compute = Context;

    if (KprcbAttachThread(Compute->Processor) != STATUS_SUCCESS) {
        abort();
    }
    CountOne(Compute->Ready);
    AwaitCount(Compute->Done, 1); /* no call of the library */
    return NULL;
}

static void pitfall_4_low_dpcs_to_all_processors_finish_though_nobody_calls_the_library(void **State)
{
    COMPUTE Compute[LOW_PROCESSORS];
    pthread_t Thread[LOW_PROCESSORS];
    RUNS Runs[LOW_PROCESSORS] = {{0}};
    KDPC Dpc[LOW_PROCESSORS];
    ULONG volatile Ready = 0;
    ULONG volatile Done = 0;

    (void)State;
    StartAttached(LOW_PROCESSORS, MachineFlags);
    for (ULONG Index = 1; Index < LOW_PROCESSORS; Index += 1) {
        Compute[Index] = (COMPUTE){.Processor = Index, .Ready = &Ready, .Done = &Done};
        Thread[Index] = StartThread(ComputeThread, &Compute[Index]);
    }
    AwaitCount(&Ready, LOW_PROCESSORS - 1);
    for (ULONG Round = 1; Round <= 5; Round += 1) {
        for (ULONG Index = 0; Index < LOW_PROCESSORS; Index += 1) {
            PcrOf(Index)->Prcb->MinimumDpcRate = 0;
            PcrOf(Index)->Prcb->MaximumDpcQueueDepth = MANY;
            KeInitializeDpc(&Dpc[Index], RecordRun, &Runs[Index]);
            KeSetTargetProcessorDpc(&Dpc[Index], (CCHAR)Index);
            KeSetImportanceDpc(&Dpc[Index], LowImportance);
            assert_true(KeInsertQueueDpc(&Dpc[Index], NULL, NULL));
        }
        for (ULONG Index = 0; Index < LOW_PROCESSORS; Index += 1) {
            AwaitCount(&Runs[Index].Count, Round);
            assert_int_equal(Runs[Index].Processor, Index);
        }
    }
    CountOne(&Done);
    for (ULONG Index = 1; Index < LOW_PROCESSORS; Index += 1) {
        JoinThread(Thread[Index]);
    }
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(pitfall_3_and_4_high_goes_to_the_head_on_this_processor),
        cmocka_unit_test(pitfall_3_and_4_high_goes_to_the_head_on_another_processor),
        cmocka_unit_test(pitfall_3_and_4_inserts_of_two_processors_keep_their_order),
        cmocka_unit_test(pitfall_4_for_another_processor),
        cmocka_unit_test(pitfall_4_the_default_limits_are_depth_4_and_rate_3),
        cmocka_unit_test(pitfall_4_for_this_processor),
        cmocka_unit_test(pitfall_4_the_request_rate_follows_the_count),
        cmocka_unit_test(pitfall_4_a_low_dpc_that_nobody_asks_for_runs_by_the_clock),
        cmocka_unit_test(pitfall_4_low_dpcs_to_all_processors_finish_though_nobody_calls_the_library),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
