/*
 * test_bugcheck.c - KeBugCheckEx and KprcbCatchBugCheck: who catches what, and what is unwound.
 *
 * Bug checks of IPI workers are in test_bugcheckipi.c, those that nobody catches in test_hang.c. Threads other than
 * the test's report by Check.
 */
#include "support/check.h"

#include "ki.h"

#define CODE 0xE0001234u

static ULONG TestFlags;

/* The test's thread becomes the resident of processor 0. */
static void Begin(ULONG Processors)
{
    WrongLine = 0;
    StartMachine(Processors, TestFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
}

/* The machine is as good as before, and can be stopped. */
static void End(void)
{
    KIRQL OldIrql;

    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_int_equal(KprcbThread.HeldCount, 0);
    assert_int_equal(KprcbThread.Masked, 0);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeLowerIrql(OldIrql);
    KeFlushQueuedDpcs();
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void AssertCaught(VOID (*Routine)(PVOID), PVOID Context, ULONG Code, ULONG_PTR Parameter)
{
    KPRCB_BUGCHECK BugCheck = {0};
    KIRQL Irql = KeGetCurrentIrql();

    assert_true(KprcbCatchBugCheck(Routine, Context, &BugCheck));
    assert_int_equal(BugCheck.Code, Code);
    assert_int_equal(BugCheck.Parameter[0], Parameter);
    assert_int_equal(KeGetCurrentIrql(), Irql);
}

/* --- On this thread --- */

static VOID Fail(PVOID Context)
{
    KeBugCheckEx(CODE, (ULONG_PTR)Context, 2, 3, 4);
}

static VOID FailPlainly(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeBugCheck(CODE);
}

static VOID Succeed(PVOID Context)
{
    *(ULONG *)Context += 1;
}

static VOID FailInside(PVOID Context)
{
    AssertCaught(Fail, Context, CODE, (ULONG_PTR)Context);
    AssertCaught(Fail, Context, CODE, (ULONG_PTR)Context);
    KeBugCheckEx(CODE + 1, 9, 0, 0, 0);
}

static void the_innermost_catcher_of_the_thread_catches(void **State)
{
    KPRCB_BUGCHECK BugCheck = {0};
    ULONG Ran = 0;

    UNREFERENCED_PARAMETER(State);
    Begin(2);
    assert_false(KprcbCatchBugCheck(Succeed, &Ran, &BugCheck));
    assert_int_equal(Ran, 1);
    assert_int_equal(BugCheck.Code, 0);
    assert_true(KprcbCatchBugCheck(Fail, (PVOID)1, NULL));
    assert_true(KprcbCatchBugCheck(Fail, (PVOID)1, &BugCheck));
    assert_int_equal(BugCheck.Code, CODE);
    for (ULONG Index = 0; Index < 4; Index += 1) {
        assert_int_equal(BugCheck.Parameter[Index], Index + 1);
    }
    assert_true(KprcbCatchBugCheck(FailPlainly, NULL, &BugCheck));
    assert_int_equal(BugCheck.Parameter[0] | BugCheck.Parameter[1] | BugCheck.Parameter[2] | BugCheck.Parameter[3], 0);
    AssertCaught(FailInside, (PVOID)7, CODE + 1, 9);
    End();
}

static VOID FailAbove(PVOID Context)
{
    KfRaiseIrql(DISPATCH_LEVEL);
    KfRaiseIrql(SYNCH_LEVEL);
    KfRaiseIrql(HIGH_LEVEL);
    Fail(Context);
}

static VOID StopInside(PVOID Context)
{
    *(NTSTATUS *)Context = KprcbStop();
}

static VOID CatchAbove(PVOID Context)
{
    KeRaiseIrqlToDpcLevel();
    KprcbCatchBugCheck(Fail, Context, NULL);
}

static void level_and_processor_are_restored(void **State)
{
    NTSTATUS Status = STATUS_SUCCESS;
    PKPCR Pcr;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(State);
    Begin(2);
    Pcr = KeGetPcr();
    AssertCaught(FailAbove, (PVOID)1, CODE, 1);
    KeRaiseIrql(APC_LEVEL, &OldIrql);
    AssertCaught(FailAbove, (PVOID)1, CODE, 1);
    assert_int_equal(KeGetCurrentIrql(), APC_LEVEL);
    assert_ptr_equal(KeGetPcr(), Pcr);
    assert_false(KiIsOwned(Pcr));
    KeLowerIrql(OldIrql); /* a checked build compares with what was raised from */
    AssertCaught(CatchAbove, NULL, IRQL_NOT_LESS_OR_EQUAL, DISPATCH_LEVEL);
    assert_false(KprcbCatchBugCheck(StopInside, &Status, NULL));
    assert_int_equal(Status, STATUS_DEVICE_BUSY);
    End();
}

static KSPIN_LOCK SpinLocks[2], QueuedLock;

static VOID FailWithLocks(PVOID Context)
{
    KLOCK_QUEUE_HANDLE Handle;
    KIRQL OldIrql;

    KeAcquireSpinLock(&SpinLocks[0], &OldIrql);
    KeAcquireInStackQueuedSpinLockAtDpcLevel(&QueuedLock, &Handle);
    KeAcquireSpinLockAtDpcLevel(&SpinLocks[1]);
    (VOID)KeAcquireQueuedSpinLockRaiseToSynch(LockQueueIoCancelLock);
    Fail(Context);
}

static void locks_of_the_unwound_thread_are_released(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Begin(2);
    for (ULONG Round = 0; Round < 3; Round += 1) {
        AssertCaught(FailWithLocks, (PVOID)1, CODE, 1);
        assert_true(KeTestSpinLock(&SpinLocks[0]));
        assert_true(KeTestSpinLock(&SpinLocks[1]));
        assert_int_equal(QueuedLock, 0);
    }
    End();
}

/* --- DPCs --- */

static ULONG volatile Ran, Failing;

static VOID CountDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(&Ran);
}

static VOID FailDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeAcquireSpinLockAtDpcLevel(&SpinLocks[1]);
    CountOne(&Failing);
    Fail(Context);
}

static KDPC Dpcs[3];

/* Of three DPCs of one processor the second bug checks. */
static void QueueDpcs(ULONG Processor)
{
    Ran = Failing = 0;
    for (ULONG Index = 0; Index < 3; Index += 1) {
        KeInitializeDpc(&Dpcs[Index], Index == 1 ? FailDpc : CountDpc, (PVOID)5);
        KeSetTargetProcessorDpc(&Dpcs[Index], (CCHAR)Processor);
    }
    for (ULONG Index = 0; Index < 3; Index += 1) {
        Check(KeInsertQueueDpc(&Dpcs[Index], NULL, NULL));
    }
}

static VOID QueueDpcsHere(PVOID Context)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Context);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    QueueDpcs(KeGetCurrentProcessorNumberEx(NULL));
    KeLowerIrql(OldIrql);
}

static void a_dpc_on_this_thread_is_caught_and_those_behind_it_run(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Begin(2);
    AssertCaught(QueueDpcsHere, NULL, CODE, 5);
    AwaitCount(&Ran, 2);
    assert_true(KeTestSpinLock(&SpinLocks[1]));
    assert_int_equal(KeIsExecutingDpc(), 0);
    End();
}

/* What a catcher may be doing when the bug check of a DPC of processor 1 reaches it. */

static VOID SpinYielding(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    QueueDpcs(1);
    for (;;) {
        YieldProcessor();
    }
}

static VOID SpinAbove(PVOID Context)
{
    KeRaiseIrqlToSynchLevel();
    SpinYielding(Context);
}

static VOID SpinStalling(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    QueueDpcs(1);
    for (;;) {
        KeStallExecutionProcessor(5);
    }
}

static VOID SpinForLock(PVOID Context)
{
    QueueDpcs(1);
    (VOID)KeAcquireSpinLockRaiseToDpc(Context);
    Check(FALSE);
}

static VOID Flush(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    QueueDpcs(1);
    KeFlushQueuedDpcs();
    Check(FALSE);
}

static VOID Return(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    QueueDpcs(1);
    AwaitCount(&Ran, 2);
}

static ULONG volatile Held, LetGo;

static void *HoldLock(void *Context)
{
    KIRQL OldIrql;

    Check(KprcbAttachThread(2) == STATUS_SUCCESS);
    KeAcquireSpinLock(&SpinLocks[0], &OldIrql);
    CountOne(&Held);
    AwaitCount(&LetGo, 1);
    KeReleaseSpinLock(&SpinLocks[0], OldIrql);
    return Context;
}

static pthread_t StartHolder(void)
{
    pthread_t Thread;

    Held = LetGo = 0;
    Thread = StartThread(HoldLock, NULL);
    AwaitCount(&Held, 1);
    return Thread;
}

static void EndHolder(pthread_t Thread)
{
    CountOne(&LetGo);
    JoinThread(Thread);
    assert_true(KeTestSpinLock(&SpinLocks[0]));
}

static void a_dpc_on_an_idle_thread_ends_the_wait_of_the_catcher(void **State)
{
    static VOID (*const Routines[])(PVOID) = {SpinYielding, SpinAbove, SpinStalling, SpinForLock, Flush, Return};
    pthread_t Holder;

    UNREFERENCED_PARAMETER(State);
    Begin(3);
    for (ULONG Index = 0; Index < ARRAYSIZE(Routines); Index += 1) {
        Holder = StartHolder();
        AssertCaught(Routines[Index], &SpinLocks[0], CODE, 5);
        AwaitCount(&Ran, 2);
        EndHolder(Holder);
        assert_true(KeTestSpinLock(&SpinLocks[1]));
    }
    End();
}

static void *QueueDpcsAlone(void *Context)
{
    Check(KprcbAttachThread(1) == STATUS_SUCCESS);
    QueueDpcsHere(Context);
    Check(KeGetCurrentIrql() == PASSIVE_LEVEL);
    Check(Ran == 2);
    return NULL;
}

static VOID SpinForOther(PVOID Context)
{
    *(pthread_t *)Context = StartThread(QueueDpcsAlone, NULL);
    for (;;) {
        YieldProcessor();
    }
}

static void a_dpc_on_a_thread_without_a_catcher_leaves_that_thread_alone(void **State)
{
    pthread_t Thread;

    UNREFERENCED_PARAMETER(State);
    Begin(2);
    AssertCaught(SpinForOther, &Thread, CODE, 5);
    JoinThread(Thread);
    End();
}

/* --- In the middle of a queue --- */

typedef struct _QUEUER {
    ULONG Processor;
    ULONG volatile Owned;
    pthread_t Thread;
} QUEUER;

static PKTHREAD volatile Catcher;

static void AwaitQueue(KSPIN_LOCK Last)
{
    while (__atomic_load_n(&QueuedLock, __ATOMIC_ACQUIRE) == Last) {
        sched_yield();
    }
}

static void *QueueBehind(void *Context)
{
    QUEUER *Queuer = Context;
    KLOCK_QUEUE_HANDLE Handle;

    Check(KprcbAttachThread(Queuer->Processor) == STATUS_SUCCESS);
    KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle);
    CountOne(&Queuer->Owned);
    KeReleaseInStackQueuedSpinLock(&Handle);
    return NULL;
}

/* Holds the lock until the catcher has been unwound out of the middle of the queue and somebody waits behind it. */
static void *HoldQueue(void *Context)
{
    QUEUER Behind = {.Processor = 3};
    KLOCK_QUEUE_HANDLE Handle;
    KSPIN_LOCK Last;

    UNREFERENCED_PARAMETER(Context);
    Check(KprcbAttachThread(2) == STATUS_SUCCESS);
    KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle);
    Last = QueuedLock;
    CountOne(&Held);
    AwaitQueue(Last);
    Last = __atomic_load_n(&QueuedLock, __ATOMIC_ACQUIRE);
    Behind.Thread = StartThread(QueueBehind, &Behind);
    AwaitQueue(Last);
    QueueDpcs(1);
    AwaitCount(&Ran, 2);
    while (__atomic_load_n(&Catcher->Delivery, __ATOMIC_ACQUIRE) != NULL) {
        sched_yield();
    }
    Check(Behind.Owned == 0);
    KeReleaseInStackQueuedSpinLock(&Handle);
    JoinThread(Behind.Thread);
    Check(Behind.Owned == 1);
    return NULL;
}

static VOID QueueForLock(PVOID Context)
{
    KLOCK_QUEUE_HANDLE Handle;

    UNREFERENCED_PARAMETER(Context);
    KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle);
    Check(FALSE);
}

static void a_thread_unwound_in_a_queue_takes_its_turn_and_passes_the_lock_on(void **State)
{
    pthread_t Holder;

    UNREFERENCED_PARAMETER(State);
    Begin(4);
    Held = 0;
    Catcher = KeGetCurrentThread();
    Holder = StartThread(HoldQueue, NULL);
    AwaitCount(&Held, 1);
    AssertCaught(QueueForLock, NULL, CODE, 5);
    JoinThread(Holder);
    assert_int_equal(QueuedLock, 0);
    End();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(the_innermost_catcher_of_the_thread_catches),
        cmocka_unit_test(level_and_processor_are_restored),
        cmocka_unit_test(locks_of_the_unwound_thread_are_released),
        cmocka_unit_test(a_dpc_on_this_thread_is_caught_and_those_behind_it_run),
        cmocka_unit_test(a_dpc_on_an_idle_thread_ends_the_wait_of_the_catcher),
        cmocka_unit_test(a_dpc_on_a_thread_without_a_catcher_leaves_that_thread_alone),
        cmocka_unit_test(a_thread_unwound_in_a_queue_takes_its_turn_and_passes_the_lock_on),
    };
    int Failed = cmocka_run_group_tests_name("membarrier", Tests, NULL, NULL);

    TestFlags = KPRCB_NO_MEMBARRIER;
    return Failed + cmocka_run_group_tests_name("no membarrier", Tests, NULL, NULL);
}
