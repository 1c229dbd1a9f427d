/* test_softint.c - software interrupts by level. */
#include "support/support.h"

#include "ki.h"

static ULONG ApcRuns, DpcRuns, ApcRunsAtDpc;
static KIRQL ApcLevel;
static BOOLEAN Again;

static VOID ApcRoutine(VOID)
{
    ApcRuns += 1;
    ApcLevel = KeGetCurrentIrql();
    if (Again) {
        Again = FALSE;
        HalRequestSoftwareInterrupt(APC_LEVEL);
        assert_int_equal(ApcRuns, 1); /* not inside itself */
    }
}

static VOID DpcRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    DpcRuns += 1;
    ApcRunsAtDpc = ApcRuns;
}

static int Begin(void **State)
{
    UNREFERENCED_PARAMETER(State);
    ApcRuns = DpcRuns = 0;
    Again = FALSE;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    KiSetApcInterrupt(ApcRoutine);
    return 0;
}

static int End(void **State)
{
    UNREFERENCED_PARAMETER(State);
    KiSetApcInterrupt(NULL);
    StopMachine();
    return 0;
}

static void apc_interrupt_runs_at_once_below_apc_level(void **State)
{
    UNREFERENCED_PARAMETER(State);
    HalRequestSoftwareInterrupt(APC_LEVEL);
    assert_int_equal(ApcRuns, 1);
    assert_int_equal(ApcLevel, APC_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

static void apc_interrupt_waits_for_the_lower_below_apc_level(void **State)
{
    static const KIRQL Levels[] = {APC_LEVEL, DISPATCH_LEVEL, HIGH_LEVEL};

    UNREFERENCED_PARAMETER(State);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        KIRQL OldIrql, Inner;

        KeRaiseIrql(APC_LEVEL, &OldIrql);
        KeRaiseIrql(Levels[Index], &Inner);
        HalRequestSoftwareInterrupt(APC_LEVEL);
        HalRequestSoftwareInterrupt(APC_LEVEL);
        KeLowerIrql(Inner);
        assert_int_equal(ApcRuns, Index);
        KeLowerIrql(OldIrql);
        assert_int_equal(ApcRuns, Index + 1);
        assert_int_equal(ApcLevel, APC_LEVEL);
    }
}

static void apc_interrupt_runs_after_the_dpcs(void **State)
{
    KIRQL OldIrql;
    KDPC Dpc;

    UNREFERENCED_PARAMETER(State);
    KeInitializeDpc(&Dpc, DpcRoutine, NULL);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    HalRequestSoftwareInterrupt(APC_LEVEL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeLowerIrql(OldIrql);
    assert_int_equal(DpcRuns, 1);
    assert_int_equal(ApcRunsAtDpc, 0);
    assert_int_equal(ApcRuns, 1);
}

static void apc_interrupt_requested_inside_itself_runs_again(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Again = TRUE;
    HalRequestSoftwareInterrupt(APC_LEVEL);
    assert_int_equal(ApcRuns, 2);
}

static void a_cleared_apc_interrupt_does_not_run(void **State)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(State);
    KeRaiseIrql(APC_LEVEL, &OldIrql);
    HalRequestSoftwareInterrupt(APC_LEVEL);
    HalClearSoftwareInterrupt(APC_LEVEL);
    KeLowerIrql(OldIrql);
    assert_int_equal(ApcRuns, 0);
}

static void ipi_apc_pends_one_for_the_target(void **State)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(State);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KiIpiSend(1, IPI_APC);
    assert_int_equal(ApcRuns, 0);
    KeLowerIrql(OldIrql);
    assert_int_equal(ApcRuns, 1);
}

/* A low-importance DPC that asked for no interrupt, and a rate that asks for none. */
static void dispatch_interrupt_runs_the_dpcs(void **State)
{
    PKPRCB Prcb = KeGetCurrentPrcb();
    KDPC Dpc;

    UNREFERENCED_PARAMETER(State);
    KeInitializeDpc(&Dpc, DpcRoutine, NULL);
    KeSetImportanceDpc(&Dpc, LowImportance);
    Prcb->MinimumDpcRate = 0;
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    HalRequestSoftwareInterrupt(DISPATCH_LEVEL);
    assert_int_equal(DpcRuns, 1);
}

static ULONG Request(void)
{
    return __atomic_load_n(&KeGetPcr()->Request, __ATOMIC_RELAXED);
}

static void dispatch_interrupt_waits_for_the_lower(void **State)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(State);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    HalRequestSoftwareInterrupt(DISPATCH_LEVEL);
    assert_true((Request() & KPCR_REQUEST_DISPATCH) != 0);
    HalClearSoftwareInterrupt(DISPATCH_LEVEL);
    assert_true((Request() & KPCR_REQUEST_DISPATCH) == 0);
    HalRequestSoftwareInterrupt(DISPATCH_LEVEL);
    KeLowerIrql(OldIrql);
    assert_true((Request() & KPCR_REQUEST_DISPATCH) == 0);
}

static VOID RequestWrongLevel(PVOID Context)
{
    if (Context == NULL) {
        HalRequestSoftwareInterrupt(PASSIVE_LEVEL);
    } else {
        HalClearSoftwareInterrupt(IPI_LEVEL);
    }
}

static void another_level_is_a_bug_check(void **State)
{
    KPRCB_BUGCHECK BugCheck;

    UNREFERENCED_PARAMETER(State);
    assert_true(KprcbCatchBugCheck(RequestWrongLevel, NULL, &BugCheck));
    assert_int_equal(BugCheck.Code, INVALID_SOFTWARE_INTERRUPT);
    assert_int_equal(BugCheck.Parameter[0], PASSIVE_LEVEL);
    assert_true(KprcbCatchBugCheck(RequestWrongLevel, &BugCheck, &BugCheck));
    assert_int_equal(BugCheck.Code, INVALID_SOFTWARE_INTERRUPT);
    assert_int_equal(BugCheck.Parameter[0], IPI_LEVEL);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup_teardown(apc_interrupt_runs_at_once_below_apc_level, Begin, End),
        cmocka_unit_test_setup_teardown(apc_interrupt_waits_for_the_lower_below_apc_level, Begin, End),
        cmocka_unit_test_setup_teardown(apc_interrupt_runs_after_the_dpcs, Begin, End),
        cmocka_unit_test_setup_teardown(apc_interrupt_requested_inside_itself_runs_again, Begin, End),
        cmocka_unit_test_setup_teardown(a_cleared_apc_interrupt_does_not_run, Begin, End),
        cmocka_unit_test_setup_teardown(ipi_apc_pends_one_for_the_target, Begin, End),
        cmocka_unit_test_setup_teardown(dispatch_interrupt_runs_the_dpcs, Begin, End),
        cmocka_unit_test_setup_teardown(dispatch_interrupt_waits_for_the_lower, Begin, End),
        cmocka_unit_test_setup_teardown(another_level_is_a_bug_check, Begin, End),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
