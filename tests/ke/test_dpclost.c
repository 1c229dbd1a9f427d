/*
 * test_dpclost.c - DPCs that were once lost, or run on after the machine had stopped. A lost one shows as a hang.
 */
#include "support/support.h"

#include "ki.h"

#define ROUNDS 200

static ULONG volatile Ran, Entered, Go;

static VOID Count(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(Context);
}

static VOID Prepare(PKDPC Dpc, PKDEFERRED_ROUTINE Routine, CCHAR Processor, KDPC_IMPORTANCE Importance)
{
    KeInitializeDpc(Dpc, Routine, (PVOID)&Ran);
    KeSetTargetProcessorDpc(Dpc, Processor);
    KeSetImportanceDpc(Dpc, Importance);
}

static void Begin(ULONG Processors)
{
    Ran = Entered = Go = 0;
    StartMachine(Processors, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
}

/*
 * The poster found the inbox watched and asked for nothing; then a remove moves what is left in the inbox to the
 * list.
 */
static void a_remove_while_the_idle_thread_watches(void **State)
{
    KDPC First, Removed, Left;
    ULONG Expected = 0;
    ULONG Seed = 1;

    UNREFERENCED_PARAMETER(State);
    Begin(2);
    Prepare(&First, Count, 1, MediumImportance);
    Prepare(&Removed, Count, 1, MediumImportance);
    Prepare(&Left, Count, 1, HighImportance);
    for (ULONG Round = 0; Round < (TEST_SANITIZED ? ROUNDS : 50 * ROUNDS); Round += 1) {
        KIRQL OldIrql;

        KeInsertQueueDpc(&First, NULL, NULL); /* the idle thread watches afterwards, where it may */
        Expected += 1;
        AwaitCount(&Ran, Expected);
        for (ULONG Pauses = NextRandom(&Seed) % 256; Pauses != 0; Pauses -= 1) {
            HalPause();
        }
        KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
        KeInsertQueueDpc(&Removed, NULL, NULL);
        KeInsertQueueDpc(&Left, NULL, NULL);
        Expected += KeRemoveQueueDpc(&Removed) ? 1 : 2;
        KeLowerIrql(OldIrql);
        AwaitCount(&Ran, Expected);
    }
    StopMachine();
}

static VOID BugCheck(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4);
}

static KDPC Good, Bad;

/* Left by the bug check alone. */
static VOID PostGoodThenBad(PVOID Expected)
{
    KeInsertQueueDpc(&Good, NULL, NULL);
    AwaitCount(&Ran, (ULONG)(ULONG_PTR)Expected);
    KeInsertQueueDpc(&Bad, NULL, NULL);
    for (;;) {
        YieldProcessor();
    }
}

static void a_bug_check_on_a_watching_idle_thread(void **State)
{
    ULONG Expected = 0;

    UNREFERENCED_PARAMETER(State);
    Begin(2);
    Prepare(&Good, Count, 1, MediumImportance);
    Prepare(&Bad, BugCheck, 1, MediumImportance);
    for (ULONG Round = 0; Round < ROUNDS; Round += 1) {
        KPRCB_BUGCHECK Result;

        Expected += 1;
        assert_true(KprcbCatchBugCheck(PostGoodThenBad, (PVOID)(ULONG_PTR)Expected, &Result));
        assert_int_equal(Result.Code, MANUALLY_INITIATED_CRASH);
        KeInsertQueueDpc(&Good, NULL, NULL);
        Expected += 1;
        AwaitCount(&Ran, Expected);
    }
    StopMachine();
}

static VOID LowerInside(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(&Entered);
    AwaitCount(&Go, 1);
    KeLowerIrql(PASSIVE_LEVEL);
    if (Argument1 != NULL) {
        KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4);
    }
}

static VOID LetGoAndAwaitBugCheck(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    CountOne(&Go);
    for (;;) {
        YieldProcessor();
    }
}

/*
 * A routine that lowers its level, with more to do for its processor; the bug check comes, by its return or by
 * itself.
 */
static void LowerInsideWithWork(BOOLEAN Crash)
{
    KPRCB_BUGCHECK Result;
    KDPC Lowering, Pending;

    Begin(2);
    Prepare(&Lowering, LowerInside, 1, MediumImportance);
    Prepare(&Pending, Count, 1, HighImportance);
    KeInsertQueueDpc(&Lowering, Crash ? &Result : NULL, NULL);
    AwaitCount(&Entered, 1);
    KeInsertQueueDpc(&Pending, NULL, NULL);
    KiRequest(KiProcessor(1), KPCR_REQUEST_DISPATCH);
    assert_true(KprcbCatchBugCheck(LetGoAndAwaitBugCheck, NULL, &Result));
    assert_int_equal(Result.Code, Crash ? MANUALLY_INITIATED_CRASH : IRQL_UNEXPECTED_VALUE);
    AwaitCount(&Ran, 1);
    KeInsertQueueDpc(&Pending, NULL, NULL);
    AwaitCount(&Ran, 2);
    StopMachine();
}

static void a_routine_that_lowers_with_work_pending(void **State)
{
    UNREFERENCED_PARAMETER(State);
    LowerInsideWithWork(FALSE);
}

static void a_bug_check_in_a_routine_that_has_lowered(void **State)
{
    UNREFERENCED_PARAMETER(State);
    LowerInsideWithWork(TRUE);
}

static KDPC Chain[3];

static VOID NextInChain(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(&Entered);
    for (ULONG Turn = 0; Turn < 50; Turn += 1) {
        sched_yield(); /* time for a stop that does not wait */
    }
    if (Dpc != &Chain[2]) {
        KeInsertQueueDpc(Dpc + 1, NULL, NULL);
    }
    CountOne(Context);
}

/* Each DPC queues the next on a processor that the stop may have looked at already. */
static void a_stop_while_dpcs_queue_each_other(void **State)
{
    UNREFERENCED_PARAMETER(State);
    for (ULONG Round = 0; Round < ROUNDS; Round += 1) {
        Ran = Entered = 0;
        StartMachine(3, 0);
        Prepare(&Chain[0], NextInChain, 2, MediumHighImportance);
        Prepare(&Chain[1], NextInChain, 1, MediumHighImportance);
        Prepare(&Chain[2], NextInChain, 2, MediumHighImportance);
        KeInsertQueueDpc(&Chain[0], NULL, NULL);
        AwaitCount(&Entered, 1);
        StopMachine();
        assert_int_equal(Ran, 3);
    }
}

/* The poster relied on the idle thread, which watches; then the owner empties the inbox for a DPC that has time. */
static void *PostHigh(void *Context)
{
    KeSetSystemAffinityThreadEx(4);
    KeInsertQueueDpc(Context, NULL, NULL);
    KprcbDetachThread();
    return NULL;
}

static void a_patient_insert_finds_an_urgent_post(void **State)
{
    KDPC Urgent, Patient;
    PKPCR Pcr;

    UNREFERENCED_PARAMETER(State);
    Begin(3);
    Pcr = KiProcessor(1);
    Pcr->PrcbData.MinimumDpcRate = 0; /* so that the patient one is left for later */
    Prepare(&Urgent, Count, 1, HighImportance);
    KeInitializeDpc(&Patient, Count, (PVOID)&Ran);
    KeSetImportanceDpc(&Patient, LowImportance);
    KeInsertQueueDpc(&Urgent, NULL, NULL); /* starts the idle thread */
    AwaitCount(&Ran, 1);
    KeSetSystemAffinityThreadEx(2);
    while ((__atomic_load_n(&Pcr->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_PARKED) == 0) {
        sched_yield();
    }
    KiWatchInbox(Pcr); /* the idle thread sleeps, so nobody looks */
    JoinThread(StartThread(PostHigh, &Urgent));
    assert_int_equal(Ran, 1);
    KeInsertQueueDpc(&Patient, NULL, NULL);
    assert_int_equal(Ran, 3);
    KiUnwatchInbox(Pcr);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(a_remove_while_the_idle_thread_watches),
        cmocka_unit_test(a_bug_check_on_a_watching_idle_thread),
        cmocka_unit_test(a_routine_that_lowers_with_work_pending),
        cmocka_unit_test(a_bug_check_in_a_routine_that_has_lowered),
        cmocka_unit_test(a_patient_insert_finds_an_urgent_post),
        cmocka_unit_test(a_stop_while_dpcs_queue_each_other),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
