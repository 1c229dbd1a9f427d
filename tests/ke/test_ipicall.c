/*
 * test_ipicall.c - KeIpiGenericCall: that it is a rendezvous, called from everywhere. Owners of all kinds are in
 * test_ipicallowner.c.
 */
#include "ipicalltest.h"

static void AwaitParked(ULONG Processors)
{
    for (ULONG Index = 0; Index < Processors; Index += 1) {
        while ((__atomic_load_n(&ProcessorAt(Index)->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_PARKED) == 0) {
            sched_yield();
        }
    }
}

static void pitfall_32_ipi_generic_call_is_a_rendezvous(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 4, TestFlags);
    for (ULONG Round = 0; Round < 100; Round += 1) {
        CallAndCheck(4);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void pitfall_32_result_is_that_of_the_calling_processor(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 4, TestFlags);
    for (ULONG Index = 0; Index < 4; Index += 1) {
        assert_int_equal(KprcbAttachThread(Index), STATUS_SUCCESS);
        CallAndCheck(4);
        assert_int_equal(KeIpiGenericCall(Visit, (ULONG_PTR) & (CALL){.Processors = 4}), RESULT_BASE + Index);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void unowned_processors_with_parked_idle_threads(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 8, TestFlags);
    for (ULONG Round = 0; Round < 5; Round += 1) {
        AwaitParked(8);
        CallAndCheck(8);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

#define CALLERS 3
#define CALLS_EACH (TEST_SANITIZED ? 200 : 2000)

static void *CallerThread(void *Context)
{
    MeetAtGate(Context, CALLERS);
    for (ULONG Call = 0; Call < CALLS_EACH; Call += 1) {
        CallAndCheck(CALLERS);
    }
    return NULL;
}

static void pitfall_32_concurrent_callers_take_turns_and_serve_each_other(void **State)
{
    pthread_t Threads[CALLERS];
    ULONG volatile Gate = 0;

    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, CALLERS, TestFlags);
    for (ULONG Index = 0; Index < CALLERS; Index += 1) {
        Threads[Index] = StartThread(CallerThread, (void *)&Gate);
    }
    for (ULONG Index = 0; Index < CALLERS; Index += 1) {
        JoinThread(Threads[Index]);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static VOID CallFromDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Check(KeGetCurrentIrql() == DISPATCH_LEVEL);
    CallAndCheck(3);
    Check(KeIsExecutingDpc() != 0);
    CountOne(Context);
}

static void called_from_a_dpc(void **State)
{
    KDPC Dpc;
    ULONG volatile Ran = 0;

    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 3, TestFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    KeInitializeDpc(&Dpc, CallFromDpc, (PVOID)&Ran);
    for (ULONG Index = 0; Index < 3; Index += 1) {
        KeSetTargetProcessorDpc(&Dpc, (CCHAR)Index);
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        KeFlushQueuedDpcs();
        assert_int_equal(Ran, Index + 1);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void called_at_every_level_below_ipi_level(void **State)
{
    static const KIRQL Levels[] = {PASSIVE_LEVEL, APC_LEVEL, DISPATCH_LEVEL, SYNCH_LEVEL, IPI_LEVEL - 1};

    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 3, TestFlags);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        KIRQL OldIrql = KfRaiseIrql(Levels[Index]);

        CallAndCheck(3);
        KeLowerIrql(OldIrql);
    }
    assert_int_equal(WrongLine, 0);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    StopMachine();
}

/* Calls with what KprcbCatchBugCheck catches. */
static VOID CallAt(PVOID Context)
{
    KfRaiseIrql(*(KIRQL *)Context);
    KeIpiGenericCall(Visit, 0);
}

static void at_ipi_level_and_above_it_is_a_bug_check(void **State)
{
    static const KIRQL Levels[] = {IPI_LEVEL, HIGH_LEVEL};

    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 2, TestFlags);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        KIRQL Level = Levels[Index];
        KPRCB_BUGCHECK BugCheck = {0};

        assert_true(KprcbCatchBugCheck(CallAt, &Level, &BugCheck));
        assert_int_equal(BugCheck.Code, IRQL_NOT_LESS_OR_EQUAL);
        assert_int_equal(BugCheck.Parameter[0], Level);
        assert_int_equal(BugCheck.Parameter[1], IPI_LEVEL);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
        CallAndCheck(2);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void all_groups_take_part(void **State)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 5, .GroupSize = 2, .Flags = TestFlags};

    UNREFERENCED_PARAMETER(State);
    Config.Version = TestVersion;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < 5; Index += 1) {
        assert_int_equal(KprcbAttachThread(Index), STATUS_SUCCESS);
        CallAndCheck(5);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void sixty_four_processors(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 64, TestFlags);
    for (ULONG Round = 0; Round < 20; Round += 1) {
        CallAndCheck(64);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void a_thousand_processors(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, MAXIMUM, TestFlags);
    for (ULONG Round = 0; Round < 2; Round += 1) {
        CallAndCheck(MAXIMUM);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup(pitfall_32_ipi_generic_call_is_a_rendezvous, Setup),
        cmocka_unit_test_setup(pitfall_32_result_is_that_of_the_calling_processor, Setup),
        cmocka_unit_test_setup(unowned_processors_with_parked_idle_threads, Setup),
        cmocka_unit_test_setup(pitfall_32_concurrent_callers_take_turns_and_serve_each_other, Setup),
        cmocka_unit_test_setup(called_from_a_dpc, Setup),
        cmocka_unit_test_setup(called_at_every_level_below_ipi_level, Setup),
        cmocka_unit_test_setup(at_ipi_level_and_above_it_is_a_bug_check, Setup),
        cmocka_unit_test_setup(all_groups_take_part, Setup),
        cmocka_unit_test_setup(sixty_four_processors, Setup),
        cmocka_unit_test_setup(a_thousand_processors, Setup),
    };
    int Failed = 0;

    RUN_AS_EACH_VERSION(Tests, Failed);
    return Failed;
}
