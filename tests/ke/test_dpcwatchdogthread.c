/*
 * test_dpcwatchdogthread.c - the DPC watchdog and threads: the period of 6.0 and 6.1 for a thread at DISPATCH_LEVEL, and
 * threaded DPCs.
 */
#include "ke/dpcthreadtest.h"
#include "ke/dpcwatchdogtest.h"
#include "support/child.h"

/* --- The thread's period --- */

static void HasPeriod(const char *Version, ULONG Asked, ULONG Ticks)
{
    KPRCB_CONFIG Config = Limits(0, 0);

    Config.Version = Version;
    Config.ThreadWatchdogPeriod = Asked;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        PKPRCB Prcb = &KiProcessor(Index)->PrcbData;

        assert_int_equal(Prcb->ThreadWatchdogPeriod, Ticks);
        assert_int_equal(__atomic_load_n(&Prcb->ThreadWatchdogCount, __ATOMIC_RELAXED), Ticks);
    }
    StopMachine();
}

static void a_thread_has_a_period_in_6_0_and_6_1(void **State)
{
    (void)State;
    HasPeriod("5.2-late", 40, 0);
    HasPeriod("6.0-early", 0, 30000);
    HasPeriod("6.0-late", 40, 40);
    HasPeriod("6.1", KPRCB_NO_DPC_TIMEOUT, 0);
    HasPeriod("6.2", 40, 0);
    HasPeriod(NULL, 0, 0);
    setenv("KPRCB_VERSION", "6.1", 1);
    setenv("KPRCB_THREAD_WATCHDOG_PERIOD", "70", 1);
    setenv("KPRCB_PROCESSORS", "2", 1);
    assert_int_equal(KprcbStart(NULL), STATUS_SUCCESS);
    assert_int_equal(KiProcessor(1)->PrcbData.ThreadWatchdogPeriod, 70);
    StopMachine();
    unsetenv("KPRCB_VERSION");
    unsetenv("KPRCB_THREAD_WATCHDOG_PERIOD");
    unsetenv("KPRCB_PROCESSORS");
}

typedef struct _COUNTS {
    LONG Thread[2], Processor[2];
} COUNTS;

static VOID CountingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    COUNTS *Counts = (COUNTS *)Context;
    PKPRCB Prcb = KeGetCurrentPrcb();
    static const ULONG Looks[] = {9, 12};

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    for (ULONG Index = 0; Index < ARRAYSIZE(Looks); Index += 1) {
        (void)Look(Looks[Index]);
        Counts->Thread[Index] = Prcb->ThreadWatchdogCount;
        Counts->Processor[Index] = Prcb->DpcWatchdogCount;
    }
}

static void it_does_not_count_dpcs(void **State)
{
    PKPRCB Prcb = StartUnwatchedAs("6.1");
    COUNTS Counts = {{0}, {0}};
    KIRQL OldIrql;
    KDPC Dpc;

    (void)State;
    Prcb->ThreadWatchdogPeriod = 20;
    KeInitializeDpc(&Dpc, CountingRoutine, &Counts);
    OldIrql = KeRaiseIrqlToDpcLevel();
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    assert_false(Look(0));
    assert_int_equal(Prcb->ThreadWatchdogCount, 20);
    assert_false(Look(5));
    assert_int_equal(Prcb->ThreadWatchdogCount, 15);
    KeLowerIrql(OldIrql);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        assert_int_equal(Counts.Thread[Index], 15);
    }
    assert_int_equal(Counts.Processor[0], PERIOD - 9);
    assert_int_equal(Counts.Processor[1], PERIOD - 12);

    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_false(Look(100));
    assert_int_equal(Prcb->ThreadWatchdogCount, 20); /* anew */
    assert_false(Look(109));
    assert_false(KeShouldYieldProcessor());
    assert_false(Look(111));
    assert_true(KeShouldYieldProcessor());
    assert_true(Look(120));
    assert_int_equal(Prcb->ThreadWatchdogCount, 0);
    assert_int_equal(Prcb->DpcWatchdogCount, PERIOD - 20);
    KeLowerIrql(OldIrql);
    StopMachine();
}

/* It aborts for another reason, to show that the watchdog has spoken and gone on. */
static void StayAs61(void *Context)
{
    KPRCB_CONFIG Config = Limits(KPRCB_NO_DPC_TIMEOUT, KPRCB_NO_DPC_TIMEOUT);
    PKPRCB Prcb;
    KIRQL OldIrql;

    (void)Context;
    Config.Version = "6.1";
    Config.ThreadWatchdogPeriod = 5;
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(KprcbAttachThread(0) == STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    Prcb = KeGetCurrentPrcb();
    while (__atomic_load_n(&Prcb->ThreadWatchdogCount, __ATOMIC_RELAXED) != 0) {
        YieldProcessor();
    }
    KeLowerIrql(OldIrql);
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS); /* the clock has said what it had to say */
    KeBugCheck(MANUALLY_INITIATED_CRASH);
}

static void a_thread_that_exceeds_it_is_reported(void **State)
{
    (void)State;
    ChildAborts(StayAs61, NULL, "a thread at DISPATCH_LEVEL or above for 5 ticks");
    ChildAborts(StayAs61, NULL, "MANUALLY_INITIATED_CRASH");
}

/* --- Threaded DPCs --- */

typedef struct _WORK {
    BOOLEAN Raises;
    KDPC Dpc;
    ULONG volatile Stop; /* an interrupt may tell of the violation, and then nothing ends it */
    ULONG volatile Ended;
} WORK;

/* Far more time than the limits allow; where one holds, the bug check ends it. */
static VOID WorkingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    WORK *Work = (WORK *)Context;
    ULONGLONG Start = HalThreadTime();
    KIRQL OldIrql = KeGetCurrentIrql();

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    if (Work->Raises) {
        OldIrql = KeRaiseIrqlToDpcLevel();
    }
    while (CountOf(&Work->Stop) == 0 &&
           (KeGetCurrentIrql() >= DISPATCH_LEVEL || HalThreadTime() - Start < 200 * MILLISECOND)) {
        YieldProcessor();
    }
    KeLowerIrql(OldIrql);
    CountOne(&Work->Ended);
}

/* Waits where a bug check that is delivered ends it. */
static VOID RunWork(PVOID Context)
{
    WORK *Work = Context;

    KeInitializeThreadedDpc(&Work->Dpc, WorkingRoutine, Work);
    SetTarget(&Work->Dpc, 1);
    KeInsertQueueDpc(&Work->Dpc, NULL, NULL);
    while (CountOf(&Work->Ended) == 0) {
        YieldProcessor();
    }
}

static KPRCB_BUGCHECK Violate(KPRCB_CONFIG *Config, BOOLEAN Raises)
{
    WORK Work = {.Raises = Raises};
    KPRCB_BUGCHECK BugCheck;

    assert_int_equal(KprcbStart(Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    assert_true(KprcbCatchBugCheck(RunWork, &Work, &BugCheck));
    CountOne(&Work.Stop);
    assert_int_equal(BugCheck.Code, DPC_WATCHDOG_VIOLATION);
    KeFlushQueuedDpcs();
    StopMachine();
    return BugCheck;
}

static void a_threaded_dpc_has_no_limit_of_its_own(void **State)
{
    KPRCB_CONFIG Config = Limits(10, 10);
    WORK Work = {.Raises = FALSE};
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    assert_false(KprcbCatchBugCheck(RunWork, &Work, &BugCheck));
    KeFlushQueuedDpcs();
    StopMachine();

    BugCheck = Violate(&Config, TRUE);
    assert_int_equal(BugCheck.Parameter[0], 1); /* as any thread that stays there */
    assert_int_equal(BugCheck.Parameter[1], 10);
}

static void without_a_thread_it_has_that_of_a_dpc(void **State)
{
    KPRCB_CONFIG Config = Limits(10, KPRCB_NO_DPC_TIMEOUT);
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    Config.Flags |= KPRCB_NO_THREADED_DPCS;
    BugCheck = Violate(&Config, FALSE);
    assert_int_equal(BugCheck.Parameter[0], 0);
    assert_int_equal(BugCheck.Parameter[2], 10);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(a_thread_has_a_period_in_6_0_and_6_1),
        cmocka_unit_test(it_does_not_count_dpcs),
        cmocka_unit_test(a_thread_that_exceeds_it_is_reported),
        cmocka_unit_test(a_threaded_dpc_has_no_limit_of_its_own),
        cmocka_unit_test(without_a_thread_it_has_that_of_a_dpc),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
