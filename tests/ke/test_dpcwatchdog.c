/*
 * test_dpcwatchdog.c - limits, counts, violations and how each is told.
 *
 * Counts are tested by looks with a CPU time of the test's own, on machines whose clock does not look.
 */
#include <unistd.h>

#include "ke/dpcwatchdogtest.h"
#include "support/child.h"

/* --- Limits --- */

static void HasLimits(KPRCB_CONFIG *Config, ULONG Timeout, ULONG Period)
{
    assert_int_equal(KprcbStart(Config), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        assert_int_equal(KiProcessor(Index)->PrcbData.DpcTimeLimit, Timeout);
        assert_int_equal(KiProcessor(Index)->PrcbData.DpcWatchdogPeriod, Period);
        assert_int_equal(__atomic_load_n(&KiProcessor(Index)->PrcbData.DpcWatchdogCount, __ATOMIC_RELAXED), Period);
    }
    StopMachine();
}

static void the_version_and_the_configuration_set_the_limits(void **State)
{
    KPRCB_CONFIG Config = Limits(0, 0);

    (void)State;
    HasLimits(&Config, 20000, 120000);
    Config.Version = "6.2";
    HasLimits(&Config, 20000, 30000);
    Config.Version = "6.0-early";
    HasLimits(&Config, 20000, 30000);
    Config.TimeIncrement = 100000;
    HasLimits(&Config, 2000, 3000);
    Config = Limits(15, KPRCB_NO_DPC_TIMEOUT);
    Config.TimeIncrement = 100000;
    HasLimits(&Config, 2, 0);
    Config = Limits(15, 25);
    Config.Version = "5.2-late"; /* has no watchdog */
    HasLimits(&Config, 0, 0);
    setenv("KPRCB_DPC_TIMEOUT", "70", 1);
    setenv("KPRCB_DPC_WATCHDOG_PERIOD", "4294967295", 1);
    setenv("KPRCB_PROCESSORS", "2", 1);
    HasLimits(NULL, 70, 0);
    setenv("KPRCB_DPC_TIMEOUT", "long", 1);
    assert_int_equal(KprcbStart(NULL), STATUS_INVALID_PARAMETER);
    unsetenv("KPRCB_DPC_TIMEOUT");
    unsetenv("KPRCB_DPC_WATCHDOG_PERIOD");
    unsetenv("KPRCB_PROCESSORS");
}

/* --- Counts --- */

static void time_at_dispatch_level_counts_until_the_processor_is_let_go(void **State)
{
    PKPRCB Prcb = StartUnwatched();
    ULONG Sequence = Prcb->DpcWatchdogSequenceNumber;
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    (void)State;
    assert_false(Look(100));
    assert_int_equal(Prcb->DpcWatchdogCount, PERIOD);
    assert_int_equal(Prcb->DpcWatchdogSequenceNumber, Sequence + 1);
    assert_false(Look(107));
    assert_int_equal(Prcb->DpcWatchdogCount, PERIOD - 7);
    assert_false(Look(100 + PERIOD - 1));
    assert_int_equal(Prcb->DpcWatchdogCount, 1);
    assert_false(Look(3)); /* a clock that was read before */
    assert_int_equal(Prcb->DpcWatchdogCount, 1);
    assert_int_equal(Prcb->DpcTimeCount, 0);
    assert_int_equal(Prcb->DpcWatchdogSequenceNumber, Sequence + 1);
    KeLowerIrql(OldIrql);
    assert_int_equal(WatchBits(), 0);

    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_false(Look(1000));
    assert_int_equal(Prcb->DpcWatchdogCount, PERIOD);
    assert_int_equal(Prcb->DpcWatchdogSequenceNumber, Sequence + 2);
    KeLowerIrql(OldIrql);
    assert_false(KiWatchProcessor(KeGetPcr(), NULL, 0, 0));
    assert_int_equal(Prcb->DpcWatchdogCount, PERIOD);
    StopMachine();
}

/* A look of another thread, which may come while the processor is being let go. */
static void *LookFromOutside(void *Context)
{
    PKPCR Pcr = Context;
    PKTHREAD Owner = KiQueryOwner(Pcr);
    ULONGLONG Time = 0;

    assert_non_null(Owner);
    assert_true(HalThreadTimeOf(Owner->HostId, &Time));
    (void)KiWatchProcessor(Pcr, Owner, Owner->HostId, BASE + Time);
    return NULL;
}

static void looks_from_outside_count_from_the_second(void **State)
{
    PKPRCB Prcb = StartUnwatched();
    PKPCR Pcr = KeGetPcr();
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
    LONG Counts[3];

    (void)State;
    Prcb->DpcWatchdogPeriod = 1000000;
    for (ULONG Index = 0; Index < ARRAYSIZE(Counts); Index += 1) {
        ULONGLONG Start = HalThreadTime();

        JoinThread(StartThread(LookFromOutside, Pcr));
        Counts[Index] = Prcb->DpcWatchdogCount;
        while (HalThreadTime() - Start < 3 * MILLISECOND) {
        }
    }
    assert_int_equal(Counts[0], 1000000);
    assert_int_equal(Counts[1], 1000000);
    assert_true(Counts[2] <= 1000000 - 2);
    KeLowerIrql(OldIrql);
    StopMachine();
}

/* --- Violations, by looks from inside --- */

typedef struct _SCRIPT {
    ULONG Looks[3]; /* ms */
    ULONG volatile Overdue, Runs;
} SCRIPT;

static VOID LookingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    SCRIPT *Script = (SCRIPT *)Argument1;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument2);
    Script->Runs += 1;
    for (ULONG Index = 0; Index < ARRAYSIZE(Script->Looks); Index += 1) {
        Script->Overdue += Look(Script->Looks[Index]);
    }
}

/* Runs a DPC for each script in one drain. */
static VOID RunScripts(PVOID Context)
{
    static KDPC Dpcs[2];
    SCRIPT *Scripts = Context;
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    for (ULONG Index = 0; Index < ARRAYSIZE(Dpcs); Index += 1) {
        KeInitializeDpc(&Dpcs[Index], LookingRoutine, NULL);
        KeInsertQueueDpc(&Dpcs[Index], &Scripts[Index], NULL);
    }
    KeLowerIrql(OldIrql);
}

static void a_dpc_beyond_its_limit_is_a_bug_check(void **State)
{
    SCRIPT Scripts[2] = {{.Looks = {0, LIMIT, LIMIT + 1}}, {.Looks = {LIMIT + 1, LIMIT + 1, LIMIT + 1}}};
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    (void)StartUnwatched();
    assert_true(KprcbCatchBugCheck(RunScripts, Scripts, &BugCheck));
    assert_int_equal(BugCheck.Code, DPC_WATCHDOG_VIOLATION);
    assert_int_equal(BugCheck.Parameter[0], 0);
    assert_int_equal(BugCheck.Parameter[1], LIMIT + 1);
    assert_int_equal(BugCheck.Parameter[2], LIMIT);
    assert_int_equal(BugCheck.Parameter[3], 0);
    assert_int_equal(Scripts[0].Overdue, 1);
    KeFlushQueuedDpcs();
    assert_int_equal(Scripts[1].Runs, 1);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    StopMachine();
}

static void dpcs_one_after_another_have_a_limit_each(void **State)
{
    SCRIPT Scripts[2] = {{.Looks = {0, 5, LIMIT}}, {.Looks = {LIMIT, LIMIT + 5, 2 * LIMIT}}};

    (void)State;
    (void)StartUnwatched();
    RunScripts(Scripts);
    assert_int_equal(Scripts[1].Runs, 1);
    assert_int_equal(Scripts[0].Overdue + Scripts[1].Overdue, 0);
    StopMachine();
}

static void dpcs_one_after_another_share_the_period(void **State)
{
    SCRIPT Scripts[2] = {{.Looks = {0, 5, LIMIT}}, {.Looks = {PERIOD, PERIOD, PERIOD}}};
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    (void)StartUnwatched();
    assert_true(KprcbCatchBugCheck(RunScripts, Scripts, &BugCheck));
    assert_int_equal(BugCheck.Code, DPC_WATCHDOG_VIOLATION);
    assert_int_equal(BugCheck.Parameter[0], 1);
    assert_int_equal(BugCheck.Parameter[1], PERIOD);
    StopMachine();
}

static VOID LookOnAfterTheTelling(PVOID Context)
{
    BOOLEAN *Found = Context;
    PKPCR Pcr = KeGetPcr();
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    (void)Look(0);
    Found[0] = Look(PERIOD);
    Found[1] = Look(PERIOD + 1); /* nobody has told it yet */
    KiPollHolding(&KprcbThread); /* the bug check is delivered, and ends nothing */
    Found[2] = Look(3 * PERIOD);
    KeLowerIrql(OldIrql);
    OldIrql = KeRaiseIrqlToDpcLevel();
    (void)Look(4 * PERIOD);
    Found[3] = Look(5 * PERIOD);
    KiEndWatchedTime(Pcr);
    KeLowerIrql(OldIrql);
}

static void what_was_told_is_not_told_again(void **State)
{
    BOOLEAN Found[4] = {0};
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    (void)StartUnwatched();
    assert_true(KprcbCatchBugCheck(LookOnAfterTheTelling, Found, &BugCheck));
    assert_int_equal(BugCheck.Code, DPC_WATCHDOG_VIOLATION);
    assert_true(Found[0]);
    assert_true(Found[1]);
    assert_false(Found[2]);
    assert_true(Found[3]);
    StopMachine();
}

/* A violation that was found, and the processor was let go before its owner polled. */
static void a_violation_that_has_ended_is_no_bug_check(void **State)
{
    PKPCR Pcr;
    KIRQL OldIrql;

    (void)State;
    (void)StartUnwatched();
    Pcr = KeGetPcr();
    OldIrql = KeRaiseIrqlToDpcLevel();
    (void)Look(0);
    assert_true(Look(PERIOD));
    KiEndWatchedTime(Pcr);
    __atomic_fetch_or(&Pcr->Request, KPCR_REQUEST_OVERDUE, __ATOMIC_SEQ_CST); /* comes late */
    YieldProcessor();
    assert_int_equal(WatchBits(), 0);
    KeLowerIrql(OldIrql);
    StopMachine();
}

/* --- Violations that the clock finds --- */

typedef enum _MANNER { Polls, NeverPolls, AtDispatchLevel } MANNER;

typedef struct _BURNER {
    MANNER Manner;
    ULONG Processor;
    KDPC Dpc;
    ULONG volatile Stop;
} BURNER;

static VOID BurningRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    BURNER *Burner = (BURNER *)Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    while (__atomic_load_n(&Burner->Stop, __ATOMIC_ACQUIRE) == 0) {
        if (Burner->Manner == Polls) {
            YieldProcessor();
        }
    }
}

static VOID Burn(PVOID Context)
{
    BURNER *Burner = Context;

    if (Burner->Manner == AtDispatchLevel) {
        KeRaiseIrqlToDpcLevel();
    } else {
        KeInitializeDpc(&Burner->Dpc, BurningRoutine, Burner);
        KeSetTargetProcessorDpc(&Burner->Dpc, (CCHAR)Burner->Processor);
        KeSetImportanceDpc(&Burner->Dpc, HighImportance);
        KeInsertQueueDpc(&Burner->Dpc, NULL, NULL);
    }
    for (;;) {
        YieldProcessor();
    }
}

static void BurnUntilCaught(MANNER Manner, ULONG Processor, ULONG Flags)
{
    KPRCB_CONFIG Config = Limits(Manner == AtDispatchLevel ? KPRCB_NO_DPC_TIMEOUT : 10,
                                 Manner == AtDispatchLevel ? 10 : KPRCB_NO_DPC_TIMEOUT);
    BURNER Burner = {.Manner = Manner, .Processor = Processor};
    KPRCB_BUGCHECK BugCheck;

    Config.Flags |= Flags;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    assert_true(KprcbCatchBugCheck(Burn, &Burner, &BugCheck));
    CountOne(&Burner.Stop);
    assert_int_equal(BugCheck.Code, DPC_WATCHDOG_VIOLATION);
    assert_int_equal(BugCheck.Parameter[0], Manner == AtDispatchLevel ? 1 : 0);
    if (Manner == AtDispatchLevel) {
        assert_int_equal(BugCheck.Parameter[1], 10);
    } else {
        assert_true(BugCheck.Parameter[1] > 10);
        assert_int_equal(BugCheck.Parameter[2], 10);
    }
    KeFlushQueuedDpcs();
    StopMachine();
}

static void an_owner_that_polls_is_stopped_where_it_is(void **State)
{
    (void)State;
    BurnUntilCaught(Polls, 0, 0);
    BurnUntilCaught(Polls, 1, 0);
    BurnUntilCaught(AtDispatchLevel, 0, 0);
}

/* By the interrupt; under ThreadSanitizer, which holds it back, by the clock. */
static void of_an_owner_that_never_polls_the_catcher_is_told(void **State)
{
    (void)State;
    BurnUntilCaught(NeverPolls, 1, 0);
    BurnUntilCaught(NeverPolls, 1, KPRCB_NO_SIGNALS);
}

static void ViolateUncaught(void *Context)
{
    KPRCB_CONFIG Config = Limits(10, 0);
    BURNER Burner = {.Manner = NeverPolls};

    Config.Flags |= Context != NULL ? KPRCB_NO_SIGNALS : 0;
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(KprcbAttachThread(0) == STATUS_SUCCESS);
    Burn(&Burner);
}

static void a_violation_that_nobody_catches_aborts(void **State)
{
    static char WithoutSignals;

    (void)State;
    ChildAborts(ViolateUncaught, NULL, "DPC_WATCHDOG_VIOLATION");
    ChildAborts(ViolateUncaught, &WithoutSignals, "DPC_WATCHDOG_VIOLATION");
}

/* It aborts for another reason, to show that the watchdog has spoken and gone on. */
static void ViolateAs61(void *Context)
{
    KPRCB_CONFIG Config = Limits(KPRCB_NO_DPC_TIMEOUT, 5);
    PKPRCB Prcb;
    KIRQL OldIrql;

    (void)Context;
    Config.Version = "6.1";
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(KprcbAttachThread(0) == STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    Prcb = KeGetCurrentPrcb();
    while (__atomic_load_n(&Prcb->DpcWatchdogCount, __ATOMIC_RELAXED) != 0) {
        YieldProcessor();
    }
    KeLowerIrql(OldIrql);
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS); /* the clock has said what it had to say */
    KeBugCheck(MANUALLY_INITIATED_CRASH);
}

static void up_to_6_1_it_only_reports(void **State)
{
    (void)State;
    ChildAborts(ViolateAs61, NULL, "at DISPATCH_LEVEL or above for 5 ticks");
    ChildAborts(ViolateAs61, NULL, "MANUALLY_INITIATED_CRASH");
}

/* --- CPU time, not time --- */

typedef struct _SLEEPER {
    int Pipe[2];
    BOOLEAN Read;
} SLEEPER;

static VOID SleepingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    SLEEPER *Sleeper = (SLEEPER *)Context;
    char Byte;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    while (read(Sleeper->Pipe[0], &Byte, 1) != 1) {
    }
    Sleeper->Read = TRUE;
}

/* The clock has looked so often that a DPC that ran all the time would have been stopped. */
static void *WakeLater(void *Context)
{
    SLEEPER *Sleeper = Context;
    ULONGLONG Start = HalThreadTime();

    while (HalThreadTime() - Start < 200 * MILLISECOND) {
    }
    return write(Sleeper->Pipe[1], "", 1) == 1 ? NULL : Context;
}

static void a_dpc_that_does_not_run_uses_no_time(void **State)
{
    KPRCB_CONFIG Config = Limits(40, 40);
    SLEEPER Sleeper = {.Read = FALSE};
    pthread_t Waker;
    KDPC Dpc;

    (void)State;
    assert_int_equal(pipe(Sleeper.Pipe), 0);
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Waker = StartThread(WakeLater, &Sleeper);
    KeInitializeDpc(&Dpc, SleepingRoutine, &Sleeper);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    JoinThread(Waker);
    assert_true(Sleeper.Read);
    StopMachine();
}

/* --- KeQueryDpcWatchdogInformation --- */

static VOID QueryingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    KDPC_WATCHDOG_INFORMATION *Information = (KDPC_WATCHDOG_INFORMATION *)Context;
    ULONGLONG Start;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    (void)KeQueryDpcWatchdogInformation(Information);
    Start = HalThreadTime();
    while (HalThreadTime() - Start < 6 * MILLISECOND) {
    }
    (void)KeQueryDpcWatchdogInformation(Information);
}

static void the_query_tells_what_is_left(void **State)
{
    KDPC_WATCHDOG_INFORMATION Information = {1, 2, 3, 4, 5};
    KIRQL OldIrql;
    PKPRCB Prcb;
    KDPC Dpc;

    (void)State;
    Prcb = StartUnwatched();
    Prcb->DpcTimeLimit = 1000000;
    Prcb->DpcWatchdogPeriod = 2000000;
    assert_int_equal(KeQueryDpcWatchdogInformation(&Information), STATUS_UNSUCCESSFUL);
    assert_int_equal(Information.DpcTimeLimit, 1);
    KeInitializeDpc(&Dpc, QueryingRoutine, &Information);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    assert_int_equal(Information.DpcTimeLimit, 1000000);
    assert_int_equal(Information.DpcWatchdogLimit, 2000000);
    assert_int_equal(Information.Reserved, 0);
    assert_true(Information.DpcTimeCount <= 1000000 - 6 && Information.DpcTimeCount > 0);
    assert_true(Information.DpcWatchdogCount <= 2000000 - 6 && Information.DpcWatchdogCount > 1000000);

    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_int_equal(KeQueryDpcWatchdogInformation(&Information), STATUS_SUCCESS);
    assert_int_equal(Information.DpcTimeCount, 1000000); /* no DPC runs */
    Prcb->DpcTimeLimit = 0;
    Prcb->DpcWatchdogPeriod = 0;
    assert_int_equal(KeQueryDpcWatchdogInformation(&Information), STATUS_SUCCESS);
    assert_int_equal(Information.DpcTimeLimit | Information.DpcTimeCount, 0);
    assert_int_equal(Information.DpcWatchdogLimit | Information.DpcWatchdogCount, 0);
    KeLowerIrql(OldIrql);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(the_version_and_the_configuration_set_the_limits),
        cmocka_unit_test(time_at_dispatch_level_counts_until_the_processor_is_let_go),
        cmocka_unit_test(looks_from_outside_count_from_the_second),
        cmocka_unit_test(a_dpc_beyond_its_limit_is_a_bug_check),
        cmocka_unit_test(dpcs_one_after_another_have_a_limit_each),
        cmocka_unit_test(dpcs_one_after_another_share_the_period),
        cmocka_unit_test(what_was_told_is_not_told_again),
        cmocka_unit_test(a_violation_that_has_ended_is_no_bug_check),
        cmocka_unit_test(an_owner_that_polls_is_stopped_where_it_is),
        cmocka_unit_test(of_an_owner_that_never_polls_the_catcher_is_told),
        cmocka_unit_test(a_violation_that_nobody_catches_aborts),
        cmocka_unit_test(up_to_6_1_it_only_reports),
        cmocka_unit_test(a_dpc_that_does_not_run_uses_no_time),
        cmocka_unit_test(the_query_tells_what_is_left),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
