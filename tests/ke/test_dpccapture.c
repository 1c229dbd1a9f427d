/*
 * test_dpccapture.c - when the DPC watchdog captures a stack, of whom, and where the captures go.
 *
 * Looks have a CPU time of the test's own, the clock does not look, and the test interrupts itself.
 */
#include "ke/dpcwatchdogtest.h"
#include "support/child.h"

#define CAPTURE 32 /* pointers */
#define CAPTURES 16
#define SINGLE 5 /* ticks */
#define CUMULATIVE 30

/* --- Thresholds --- */

static void HasThresholds(KPRCB_CONFIG *Config, ULONG Single, ULONG Cumulative)
{
    assert_int_equal(KprcbStart(Config), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        PKPRCB Prcb = &KiProcessor(Index)->PrcbData;

        assert_int_equal(Prcb->DpcWatchdogProfileSingleDpcThreshold, Single);
        assert_int_equal(Prcb->DpcWatchdogProfileCumulativeDpcThreshold, Cumulative);
        assert_int_equal(Prcb->DpcWatchdogProfile != NULL, Single != 0 || Cumulative != 0);
        assert_ptr_equal(Prcb->DpcWatchdogProfileCurrentEmptyCapture, Prcb->DpcWatchdogProfile);
        assert_true(Index == 0 || Prcb->DpcWatchdogProfile == NULL ||
                    Prcb->DpcWatchdogProfile - KiProcessor(0)->PrcbData.DpcWatchdogProfile == CAPTURES * CAPTURE);
    }
    StopMachine();
}

static void the_version_and_the_configuration_set_the_thresholds(void **State)
{
    KPRCB_CONFIG Config = Limits(0, 0);

    (void)State;
    HasThresholds(&Config, 10000, 60000);
    Config.DpcTimeout = 15;
    Config.DpcWatchdogPeriod = KPRCB_NO_DPC_TIMEOUT;
    HasThresholds(&Config, 8, 0);
    Config.DpcWatchdogProfileCumulativeDpcThreshold = 70;
    HasThresholds(&Config, 8, 70);
    Config.TimeIncrement = 100000;
    Config.DpcWatchdogProfileSingleDpcThreshold = KPRCB_NO_DPC_TIMEOUT;
    HasThresholds(&Config, 0, 7);
    Config.Version = "1703";
    HasThresholds(&Config, 0, 7);
    Config.Version = "1607"; /* has none */
    HasThresholds(&Config, 0, 0);
    setenv("KPRCB_PROCESSORS", "2", 1);
    setenv("KPRCB_DPC_WATCHDOG_PROFILE_SINGLE_DPC_THRESHOLD", "90", 1);
    setenv("KPRCB_DPC_WATCHDOG_PROFILE_CUMULATIVE_DPC_THRESHOLD", "4294967295", 1);
    HasThresholds(NULL, 90, 0);
    unsetenv("KPRCB_PROCESSORS");
    unsetenv("KPRCB_DPC_WATCHDOG_PROFILE_SINGLE_DPC_THRESHOLD");
    unsetenv("KPRCB_DPC_WATCHDOG_PROFILE_CUMULATIVE_DPC_THRESHOLD");
}

static void there_are_none_without_interrupts(void **State)
{
    KPRCB_CONFIG Config = Limits(0, 0);

    (void)State;
    Config.Flags |= KPRCB_NO_SIGNALS;
    HasThresholds(&Config, 0, 0);
    Config.DpcWatchdogProfileSingleDpcThreshold = 5;
    HasThresholds(&Config, 0, 0);
}

/* --- Captures --- */

/* As StartUnwatched, with thresholds on processor 0. */
static PKPRCB StartCapturing(void)
{
    KPRCB_CONFIG Config = Limits(KPRCB_NO_DPC_TIMEOUT, KPRCB_NO_DPC_TIMEOUT);
    PKPRCB Prcb;

    Config.DpcWatchdogProfileSingleDpcThreshold = SINGLE;
    Config.DpcWatchdogProfileCumulativeDpcThreshold = CUMULATIVE;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    KiStopClock();
    Prcb = KeGetCurrentPrcb();
    Prcb->DpcTimeLimit = LIMIT;
    Prcb->DpcWatchdogPeriod = PERIOD;
    return Prcb;
}

static void StopCapturing(void)
{
    assert_int_equal(KiStartClock(), STATUS_SUCCESS);
    StopMachine();
}

static __attribute__((noinline)) void InterruptMe(void)
{
    HalInterruptThread(HalCurrentThreadId());
    (void)HalMonotonicTime(); /* where ThreadSanitizer lets it in */
}

/* Captures so far, if there were fewer than 16. */
static ULONG Captures(PKPRCB Prcb)
{
    return (ULONG)(Prcb->DpcWatchdogProfileCurrentEmptyCapture - Prcb->DpcWatchdogProfile) / CAPTURE;
}

/* Looks, is interrupted, and returns how many captures there are now. */
static ULONG LookAndCapture(ULONG Milliseconds)
{
    (void)Look(Milliseconds);
    InterruptMe();
    return Captures(KeGetCurrentPrcb());
}

static BOOLEAN HasAddress(PVOID const *Capture, PVOID Address)
{
    for (ULONG Index = 3; Index < CAPTURE && Capture[Index] != NULL; Index += 1) {
        if (Capture[Index] == Address) {
            return TRUE;
        }
    }
    return FALSE;
}

static __attribute__((noinline)) PVOID CaptureHere(void)
{
    InterruptMe();
    return __builtin_extract_return_addr(__builtin_return_address(0));
}

static void the_stack_is_captured_once_a_look_from_the_threshold_on(void **State)
{
    PKPRCB Prcb = StartCapturing();
    PVOID *First = Prcb->DpcWatchdogProfile;
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
    PVOID Caller;

    (void)State;
    assert_int_equal(LookAndCapture(0), 0);
    assert_int_equal(LookAndCapture(CUMULATIVE - 1), 0);
    (void)Look(CUMULATIVE);
    assert_int_equal(Captures(Prcb), 0);
    Caller = CaptureHere();
    assert_int_equal(Captures(Prcb), 1);
    assert_int_equal((ULONG_PTR)First[0], Prcb->DpcWatchdogSequenceNumber);
    assert_int_equal((ULONG_PTR)First[1], 0);
    assert_int_equal((ULONG_PTR)First[2], CUMULATIVE);
    assert_true(HasAddress(First, Caller));
    InterruptMe();
    assert_int_equal(Captures(Prcb), 1);
    KiMaskInterrupts(&KprcbThread); /* it asks for no lock */
    InterruptMe();
    (void)Look(CUMULATIVE + 1);
    InterruptMe();
    KiUnmaskInterrupts(&KprcbThread);
    assert_int_equal(Captures(Prcb), 2);
    assert_int_equal((ULONG_PTR)First[CAPTURE + 2], CUMULATIVE + 1);
    KeLowerIrql(OldIrql);

    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_int_equal(LookAndCapture(1000), 2);
    assert_int_equal(LookAndCapture(1000 + CUMULATIVE), 3);
    assert_int_equal((ULONG_PTR)First[2 * CAPTURE], (ULONG_PTR)First[0] + 1);
    KeLowerIrql(OldIrql);
    StopCapturing();
}

static VOID CapturedRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    ULONG *Counts = (ULONG *)Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Counts[0] = LookAndCapture(2);
    Counts[1] = LookAndCapture(2 + SINGLE - 1);
    Counts[2] = LookAndCapture(2 + SINGLE);
}

static void a_dpc_has_a_threshold_of_its_own(void **State)
{
    PKPRCB Prcb = StartCapturing();
    ULONG Counts[3] = {9, 9, 9};
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
    KDPC Dpc;

    (void)State;
    (void)Look(0);
    KeInitializeDpc(&Dpc, CapturedRoutine, Counts);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeLowerIrql(OldIrql);
    assert_int_equal(Counts[0], 0);
    assert_int_equal(Counts[1], 0);
    assert_int_equal(Counts[2], 1);
    assert_int_equal((ULONG_PTR)Prcb->DpcWatchdogProfile[1], SINGLE);
    assert_int_equal((ULONG_PTR)Prcb->DpcWatchdogProfile[2], 2 + SINGLE);
    StopCapturing();
}

static void sixteen_captures_are_used_in_turn(void **State)
{
    PKPRCB Prcb = StartCapturing();
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    (void)State;
    (void)Look(0);
    for (ULONG Index = 0; Index < CAPTURES; Index += 1) {
        assert_int_equal(LookAndCapture(CUMULATIVE + Index), (Index + 1) % CAPTURES);
    }
    assert_int_equal(LookAndCapture(CUMULATIVE + CAPTURES), 1);
    assert_int_equal((ULONG_PTR)Prcb->DpcWatchdogProfile[2], CUMULATIVE + CAPTURES);
    assert_int_equal((ULONG_PTR)Prcb->DpcWatchdogProfile[CAPTURE + 2], CUMULATIVE + 1);
    assert_null(KiProcessor(1)->PrcbData.DpcWatchdogProfile[0]);
    KeLowerIrql(OldIrql);
    StopCapturing();
}

static void who_has_let_go_is_not_captured(void **State)
{
    PKPRCB Prcb = StartCapturing();
    PKPCR Pcr = KeGetPcr();
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    (void)State;
    (void)Look(0);
    (void)Look(CUMULATIVE);
    KeLowerIrql(OldIrql);
    InterruptMe();
    assert_int_equal(Captures(Prcb), 0);
    (void)KiWatchProcessor(Pcr, NULL, 0, 0);
    OldIrql = KeRaiseIrqlToDpcLevel();
    InterruptMe();
    assert_int_equal(Captures(Prcb), 0);
    KeLowerIrql(OldIrql);
    StopCapturing();
}

static VOID LookOnAfterTheTelling(PVOID Context)
{
    ULONG *Counts = Context;
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    (void)Look(0);
    (void)Look(PERIOD);
    KiPollHolding(&KprcbThread); /* the bug check is delivered, and ends nothing */
    Counts[0] = LookAndCapture(PERIOD + 1);
    Counts[1] = LookAndCapture(PERIOD + 2);
    KeLowerIrql(OldIrql);
}

static void what_was_told_is_captured_no_more(void **State)
{
    ULONG Counts[2] = {9, 9};
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    (void)StartCapturing();
    assert_true(KprcbCatchBugCheck(LookOnAfterTheTelling, Counts, &BugCheck));
    assert_int_equal(BugCheck.Code, DPC_WATCHDOG_VIOLATION);
    assert_int_equal(Counts[0], 0);
    assert_int_equal(Counts[1], 0);
    StopCapturing();
}

/* --- The clock's captures, and the report --- */

/* Stays, without a poll, until there is a capture; or, without interrupts, a while. */
static VOID StayingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    PKPRCB Prcb = KeGetCurrentPrcb();

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    while (Prcb->DpcWatchdogProfile != NULL && __atomic_load_n(&Prcb->DpcWatchdogProfileCurrentEmptyCapture,
                                                               __ATOMIC_RELAXED) == Prcb->DpcWatchdogProfile) {
        (void)HalMonotonicTime();
    }
    KeBugCheckEx(DPC_WATCHDOG_VIOLATION, 0, 0, 0, 0);
}

static void StayInDpc(void *Context)
{
    KPRCB_CONFIG Config = Limits(KPRCB_NO_DPC_TIMEOUT, KPRCB_NO_DPC_TIMEOUT);
    KDPC Dpc;

    Config.DpcWatchdogProfileSingleDpcThreshold = 3;
    Config.Flags |= Context != NULL ? KPRCB_NO_SIGNALS : 0;
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(KprcbAttachThread(0) == STATUS_SUCCESS);
    KeInitializeDpc(&Dpc, StayingRoutine, NULL);
    KeSetTargetProcessorDpc(&Dpc, 1);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
}

static void the_report_of_a_violation_prints_the_captures(void **State)
{
    static char WithoutSignals;
    const char *Text;
    CHILD Child;

    (void)State;
    RunChild(&Child, StayInDpc, NULL);
    assert_true(WIFSIGNALED(Child.Status) && WTERMSIG(Child.Status) == SIGABRT);
    Text = strstr(Child.Output, "processor 1, captured after ");
    assert_non_null(Text);
    assert_non_null(strstr(Text, "test_dpccapture")); /* a frame of the routine */
    RunChild(&Child, StayInDpc, &WithoutSignals);
    assert_true(WIFSIGNALED(Child.Status) && WTERMSIG(Child.Status) == SIGABRT);
    assert_non_null(strstr(Child.Output, "DPC_WATCHDOG_VIOLATION"));
    assert_null(strstr(Child.Output, "captured"));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(the_version_and_the_configuration_set_the_thresholds),
        cmocka_unit_test(there_are_none_without_interrupts),
        cmocka_unit_test(the_stack_is_captured_once_a_look_from_the_threshold_on),
        cmocka_unit_test(a_dpc_has_a_threshold_of_its_own),
        cmocka_unit_test(sixteen_captures_are_used_in_turn),
        cmocka_unit_test(who_has_let_go_is_not_captured),
        cmocka_unit_test(what_was_told_is_captured_no_more),
        cmocka_unit_test(the_report_of_a_violation_prints_the_captures),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
