/*
 * test_dpcfigures.c - the depth that follows the rate, DpcRequestSummary, the bypass counts, and KeShouldYieldProcessor.
 */
#include "ke/dpctest.h"

#include "ki.h"

/* A tick is a second: none passes unless the test says so. */
static PKPRCB StartSlow(const char *Version)
{
    KPRCB_CONFIG Config = Configuration(2, 0, MachineFlags);

    Config.TimeIncrement = 10000000;
    Config.Version = Version;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    return KeGetCurrentPrcb();
}

static KDPC Dpc;
static RUNS Runs;

static void Queue(KDPC_IMPORTANCE Importance)
{
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    KeSetImportanceDpc(&Dpc, Importance);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
}

/* --- The depth --- */

static void quiet_ticks_let_the_depth_rise_to_where_it_started(void **State)
{
    PKPRCB Prcb = StartSlow(NULL);

    (void)State;
    assert_int_equal(Prcb->AdjustDpcThreshold, 20);
    assert_int_equal(Prcb->MaximumDpcQueueDepth, 4);
    Prcb->MaximumDpcQueueDepth = 1;
    KiCreditQuietTicks(Prcb, 19);
    assert_int_equal(Prcb->AdjustDpcThreshold, 1);
    assert_int_equal(Prcb->MaximumDpcQueueDepth, 1);
    KiCreditQuietTicks(Prcb, 1);
    assert_int_equal(Prcb->AdjustDpcThreshold, 20);
    assert_int_equal(Prcb->MaximumDpcQueueDepth, 2);
    KiCreditQuietTicks(Prcb, 25);
    assert_int_equal(Prcb->AdjustDpcThreshold, 15);
    assert_int_equal(Prcb->MaximumDpcQueueDepth, 3);
    KiCreditQuietTicks(Prcb, 0xFFFFFFFF);
    assert_int_equal(Prcb->MaximumDpcQueueDepth, 4);
    StopMachine();
}

static void ticks_at_which_dpcs_wait_let_it_fall_while_the_rate_is_low(void **State)
{
    PKPRCB Prcb = StartSlow(NULL);
    KIRQL OldIrql;

    (void)State;
    Prcb->MinimumDpcRate = 0;
    OldIrql = KeRaiseIrqlToDpcLevel();
    Queue(LowImportance);
    Prcb->AdjustDpcThreshold = 5;
    Prcb->DpcRequestRate = 19;
    KiTuneDpcQueue(KeGetPcr());
    assert_int_equal(Prcb->MaximumDpcQueueDepth, 3);
    assert_int_equal(Prcb->AdjustDpcThreshold, 20);
    Prcb->DpcRequestRate = 20;
    KiTuneDpcQueue(KeGetPcr());
    assert_int_equal(Prcb->MaximumDpcQueueDepth, 3);
    Prcb->DpcRequestRate = 0;
    for (ULONG Tick = 0; Tick < 5; Tick += 1) {
        KiTuneDpcQueue(KeGetPcr());
    }
    assert_int_equal(Prcb->MaximumDpcQueueDepth, 1);
    KeLowerIrql(OldIrql);
    StopMachine();
}

static void up_to_3_50_the_depth_stays(void **State)
{
    PKPRCB Prcb = StartSlow("3.50");
    KIRQL OldIrql;

    (void)State;
    Prcb->MinimumDpcRate = 0;
    OldIrql = KeRaiseIrqlToDpcLevel();
    Queue(LowImportance);
    KiTuneDpcQueue(KeGetPcr());
    assert_int_equal(Prcb->MaximumDpcQueueDepth, 4);
    Prcb->MaximumDpcQueueDepth = 2;
    KiCreditQuietTicks(Prcb, 1000);
    assert_int_equal(Prcb->MaximumDpcQueueDepth, 2);
    KeLowerIrql(OldIrql);
    StopMachine();
}

/* The clock's own tick. The depth cannot rise meanwhile, for it is more than it started with. */
static void the_clock_tunes_the_queue_at_which_a_dpc_waits(void **State)
{
    PKPRCB Prcb;
    ULONG Round = 0;

    (void)State;
    StartAttached(2, MachineFlags);
    Prcb = KeGetCurrentPrcb();
    Prcb->MinimumDpcRate = 0;
    Prcb->MaximumDpcQueueDepth = 1000;
    do {
        ULONG Before = __atomic_load_n(&Runs.Count, __ATOMIC_ACQUIRE);

        Round += 1;
        Queue(LowImportance);
        AwaitCount(&Runs.Count, Before + 1);
    } while (__atomic_load_n(&Prcb->MaximumDpcQueueDepth, __ATOMIC_RELAXED) == 1000 && Round < 100);
    assert_true(__atomic_load_n(&Prcb->MaximumDpcQueueDepth, __ATOMIC_RELAXED) < 1000);
    StopMachine();
}

/* --- DpcRequestSummary --- */

static VOID RecordSummary(PKDPC Unused, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Unused);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    *(LONG *)Context = KeGetCurrentPrcb()->DpcRequestSummary;
}

static VOID FailInDpc(PKDPC Unused, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Unused);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeBugCheck(MANUALLY_INITIATED_CRASH);
}

static VOID QueueFailure(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeInitializeDpc(&Dpc, FailInDpc, NULL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
}

static void the_summary_says_what_the_owner_knows(void **State)
{
    PKPRCB Prcb = StartSlow(NULL);
    LONG Inside = 0;
    KIRQL OldIrql;

    (void)State;
    Prcb->MinimumDpcRate = 0;
    assert_int_equal(Prcb->DpcRequestSummary, 0);
    OldIrql = KeRaiseIrqlToDpcLevel();
    Queue(LowImportance);
    assert_int_equal(Prcb->DpcRequestSummary, DPC_REQUEST_NORMAL_PRESENT);
    assert_true(KeRemoveQueueDpc(&Dpc));
    KeInitializeDpc(&Dpc, RecordSummary, &Inside);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    assert_int_equal(Prcb->DpcRequestSummary, DPC_REQUEST_NORMAL_PRESENT | DPC_REQUEST_NORMAL_REQUESTED);
    assert_int_equal(Prcb->NormalDpcState, Prcb->DpcRequestSlot[0]);
    KeLowerIrql(OldIrql);
    assert_int_equal(Inside & DPC_REQUEST_NORMAL_ACTIVE, DPC_REQUEST_NORMAL_ACTIVE);
    assert_int_equal(Prcb->DpcRequestSummary, 0);
    assert_int_equal(CaughtCode(QueueFailure, NULL), MANUALLY_INITIATED_CRASH);
    assert_int_equal(Prcb->DpcRequestSummary, 0);
    StopMachine();
}

static ULONG ThreadState(PKPRCB Prcb)
{
    return (ULONG)(USHORT)__atomic_load_n(&Prcb->ThreadDpcState, __ATOMIC_RELAXED) << 16;
}

static VOID RecordThreadState(PKDPC Unused, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Unused);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    __atomic_store_n((ULONG volatile *)Context, ThreadState(KeGetCurrentPrcb()), __ATOMIC_RELEASE);
}

static void its_high_half_says_what_the_dpc_thread_does(void **State)
{
    PKPRCB Prcb = StartSlow(NULL);
    ULONG volatile Inside = 0;

    (void)State;
    KeInitializeThreadedDpc(&Dpc, RecordThreadState, (PVOID)&Inside);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    KeFlushQueuedDpcs();
    assert_int_equal(Inside, DPC_REQUEST_THREAD_ACTIVE | DPC_REQUEST_THREAD_REQUESTED);
    while (ThreadState(Prcb) != 0) {
        sched_yield(); /* the thread has run the last one and will see that */
    }
    StopMachine();
}

/* --- The bypass counts --- */

static ULONG Apcs;

static VOID CountApc(VOID)
{
    Apcs += 1;
}

static void CountBypasses(const char *Version, ULONG Expected)
{
    PKPRCB Prcb = StartSlow(Version);
    KIRQL OldIrql;

    Queue(MediumImportance); /* runs on the way down from the insert */
    assert_int_equal(Prcb->DpcBypassCount, Expected);
    HalRequestSoftwareInterrupt(DISPATCH_LEVEL);
    assert_int_equal(Prcb->DpcBypassCount, Expected);

    Apcs = 0;
    KiSetApcInterrupt(CountApc);
    HalRequestSoftwareInterrupt(APC_LEVEL);
    assert_int_equal(Apcs, 1);
    assert_int_equal(Prcb->ApcBypassCount, 0);
    KeRaiseIrql(APC_LEVEL, &OldIrql);
    HalRequestSoftwareInterrupt(APC_LEVEL);
    assert_int_equal(Apcs, 1);
    KeLowerIrql(OldIrql);
    assert_int_equal(Apcs, 2);
    assert_int_equal(Prcb->ApcBypassCount, Expected);
    OldIrql = KeRaiseIrqlToDpcLevel();
    HalRequestSoftwareInterrupt(APC_LEVEL);
    KeLowerIrql(OldIrql);
    assert_int_equal(Apcs, 3);
    assert_int_equal(Prcb->ApcBypassCount, 2 * Expected);
    KiSetApcInterrupt(NULL);
    StopMachine();
}

static void bypasses_count_from_3_51_to_5_0(void **State)
{
    (void)State;
    CountBypasses("3.50", 0);
    CountBypasses("3.51", 1);
    CountBypasses("5.0", 1);
    CountBypasses("5.1-early", 0);
    CountBypasses(NULL, 0);
}

/* --- KeShouldYieldProcessor --- */

static BOOLEAN Advised(void)
{
    return KeShouldYieldProcessor() != 0;
}

static void nothing_is_advised_without_a_reason(void **State)
{
    KIRQL OldIrql;

    (void)State;
    (void)StartSlow(NULL);
    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_false(Advised());
    Queue(MediumImportance);
    assert_true(Advised());
    assert_true(Advised()); /* it has changed nothing */
    assert_true(KeRemoveQueueDpc(&Dpc));
    assert_false(Advised());
    KeLowerIrql(OldIrql);
    StopMachine();
}

typedef struct _OTHER {
    BOOLEAN Packet;
    ULONG volatile Done;
} OTHER;

static void *AskFromProcessor1(void *Context)
{
    OTHER *Other = Context;
    KIRQL OldIrql;

    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    if (Other->Packet) {
        OldIrql = KeRaiseIrqlToDpcLevel();
        KiIpiSend(1, IPI_APC);
        KeLowerIrql(OldIrql);
    } else {
        KeInitializeDpc(&Dpc, RecordRun, &Runs);
        KeSetTargetProcessorDpc(&Dpc, 0);
        KeSetImportanceDpc(&Dpc, HighImportance);
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    }
    CountOne(&Other->Done);
    return NULL;
}

static void another_processor_that_asks_for_something_is_a_reason(void **State)
{
    (void)State;
    for (ULONG Packet = 0; Packet < 2; Packet += 1) {
        OTHER Other = {.Packet = (BOOLEAN)Packet};
        pthread_t Thread;
        KIRQL OldIrql;

        (void)StartSlow(NULL);
        OldIrql = KeRaiseIrqlToDpcLevel();
        assert_false(Advised());
        Thread = StartThread(AskFromProcessor1, &Other);
        AwaitCount(&Other.Done, 1);
        assert_true(Advised());
        KeLowerIrql(OldIrql);
        JoinThread(Thread);
        OldIrql = KeRaiseIrqlToDpcLevel();
        assert_false(Advised());
        KeLowerIrql(OldIrql);
        StopMachine();
    }
}

/* A thread that may run on processor 0 alone, whose resident holds it. */
static void *WantProcessor0(void *Context)
{
    KIRQL OldIrql;

    (void)KeGetCurrentThread();
    KeSetSystemAffinityThread(1);
    OldIrql = KeRaiseIrqlToDpcLevel();
    KeLowerIrql(OldIrql);
    CountOne(Context);
    return NULL;
}

static void a_thread_that_waits_for_the_processor_is_a_reason(void **State)
{
    ULONG volatile Done = 0;
    pthread_t Thread;
    KIRQL OldIrql;

    (void)State;
    (void)StartSlow(NULL);
    OldIrql = KeRaiseIrqlToDpcLevel();
    Thread = StartThread(WantProcessor0, (void *)&Done);
    while (!Advised()) {
        sched_yield();
    }
    assert_int_equal(Done, 0);
    KeLowerIrql(OldIrql);
    JoinThread(Thread);
    StopMachine();
}

static void a_limit_of_the_watchdog_that_nears_is_a_reason(void **State)
{
    KPRCB_CONFIG Config = Configuration(1, 0, MachineFlags);
    PKPRCB Prcb;
    KIRQL OldIrql;

    (void)State;
    Config.DpcTimeout = Config.DpcWatchdogPeriod = KPRCB_NO_DPC_TIMEOUT;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Prcb = KeGetCurrentPrcb();
    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_false(Advised());
    Prcb->DpcWatchdogPeriod = 100;
    (void)KiWatchProcessor(KeGetPcr(), KeGetCurrentThread(), KeGetCurrentThread()->HostId, 1000000000);
    (void)KiWatchProcessor(KeGetPcr(), KeGetCurrentThread(), KeGetCurrentThread()->HostId, 1050000000);
    assert_false(Advised());
    (void)KiWatchProcessor(KeGetPcr(), KeGetCurrentThread(), KeGetCurrentThread()->HostId, 1051000000);
    assert_true(Advised());
    Prcb->DpcWatchdogPeriod = 0;
    assert_false(Advised());
    Prcb->DpcTimeLimit = 100;
    Prcb->DpcTimeCount = 50;
    assert_false(Advised());
    Prcb->DpcTimeCount = 51;
    assert_true(Advised());
    KeLowerIrql(OldIrql);
    StopMachine();
}

static VOID AskBelow(PVOID Context)
{
    *(LOGICAL *)Context = KeShouldYieldProcessor();
}

static void below_dispatch_level_the_question_is_misuse(void **State)
{
    LOGICAL Answer = TRUE;

    (void)State;
    StartAttached(1, MachineFlags);
    assert_int_equal(CaughtCode(AskBelow, &Answer), IRQL_NOT_GREATER_OR_EQUAL);
    StopMachine();
    StartAttached(1, MachineFlags | KPRCB_FREE_BUILD);
    assert_int_equal(CaughtCode(AskBelow, &Answer), 0);
    assert_int_equal(Answer, FALSE);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(quiet_ticks_let_the_depth_rise_to_where_it_started),
        cmocka_unit_test(ticks_at_which_dpcs_wait_let_it_fall_while_the_rate_is_low),
        cmocka_unit_test(up_to_3_50_the_depth_stays),
        cmocka_unit_test(the_clock_tunes_the_queue_at_which_a_dpc_waits),
        cmocka_unit_test(the_summary_says_what_the_owner_knows),
        cmocka_unit_test(its_high_half_says_what_the_dpc_thread_does),
        cmocka_unit_test(bypasses_count_from_3_51_to_5_0),
        cmocka_unit_test(nothing_is_advised_without_a_reason),
        cmocka_unit_test(another_processor_that_asks_for_something_is_a_reason),
        cmocka_unit_test(a_thread_that_waits_for_the_processor_is_a_reason),
        cmocka_unit_test(a_limit_of_the_watchdog_that_nears_is_a_reason),
        cmocka_unit_test(below_dispatch_level_the_question_is_misuse),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
