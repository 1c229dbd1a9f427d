/*
 * test_acquirecount.c - SpinLockAcquireCount: every acquire on the processor, inline or out of line, however the
 * processor's owner came by it. Each test runs with membarrier, hence with inline acquires, and without.
 */
#include "support/check.h"

#include "ki.h"

#define ROUNDS 100
#define PROCESSORS 2
#define THREADS 4

static ULONG TestFlags;
static KSPIN_LOCK SpinLock, QueuedLock, OtherLock;
static EX_SPIN_LOCK RwLock, ReadLock;

static int SetUp(void **State)
{
    (void)State;
    WrongLine = 0;
    RwLock = 0;
    ReadLock = (TestFlags & KPRCB_UNIPROCESSOR) != 0 ? 0 : KPRCB_RW_BIASED;
    StartMachine((TestFlags & KPRCB_UNIPROCESSOR) != 0 ? 1 : PROCESSORS, TestFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    return 0;
}

static int TearDown(void **State)
{
    (void)State;
    StopMachine();
    return 0;
}

static ULONG Count(ULONG Processor)
{
    return __atomic_load_n(&KiProcessor(Processor)->PrcbData.SpinLockAcquireCount, __ATOMIC_RELAXED);
}

/* --- Each routine --- */

static void SpinPair(void)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&SpinLock, &OldIrql);
    KeReleaseSpinLock(&SpinLock, OldIrql);
}

static void QueuedPair(void)
{
    KLOCK_QUEUE_HANDLE Handle;

    KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle);
    KeReleaseInStackQueuedSpinLock(&Handle);
}

static void ExclusivePair(void)
{
    KIRQL OldIrql = ExAcquireSpinLockExclusive(&RwLock);

    ExReleaseSpinLockExclusive(&RwLock, OldIrql);
}

static void SharedPair(void)
{
    KIRQL OldIrql = ExAcquireSpinLockShared(&RwLock);

    ExReleaseSpinLockShared(&RwLock, OldIrql);
}

static void BiasedSharedPair(void)
{
    KIRQL OldIrql = ExAcquireSpinLockShared(&ReadLock);

    ExReleaseSpinLockShared(&ReadLock, OldIrql);
}

static void SpinPairForDpc(void)
{
    KIRQL OldIrql = KeAcquireSpinLockForDpc(&SpinLock);

    KeReleaseSpinLockForDpc(&SpinLock, OldIrql);
}

static void QueuedPairForDpc(void)
{
    KLOCK_QUEUE_HANDLE Handle;

    KeAcquireInStackQueuedSpinLockForDpc(&QueuedLock, &Handle);
    KeReleaseInStackQueuedSpinLockForDpc(&Handle);
}

static void NumberedPair(void)
{
    KIRQL OldIrql = KeAcquireQueuedSpinLock(LockQueueMasterLock);

    KeReleaseQueuedSpinLock(LockQueueMasterLock, OldIrql);
}

static void NumberedPairAtSynch(void)
{
    KIRQL OldIrql = KeAcquireQueuedSpinLockRaiseToSynch(LockQueueMasterLock);

    KeReleaseQueuedSpinLock(LockQueueMasterLock, OldIrql);
}

static void SpinPairAtDpcLevel(void)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    KeAcquireSpinLockAtDpcLevel(&SpinLock);
    KeReleaseSpinLockFromDpcLevel(&SpinLock);
    KeLowerIrql(OldIrql);
}

static void QueuedPairAtDpcLevel(void)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
    KLOCK_QUEUE_HANDLE Handle;

    KeAcquireInStackQueuedSpinLockAtDpcLevel(&QueuedLock, &Handle);
    KeReleaseInStackQueuedSpinLockFromDpcLevel(&Handle);
    KeLowerIrql(OldIrql);
}

static void ExclusivePairAtDpcLevel(void)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    ExAcquireSpinLockExclusiveAtDpcLevel(&RwLock);
    ExReleaseSpinLockExclusiveFromDpcLevel(&RwLock);
    KeLowerIrql(OldIrql);
}

static void SharedPairAtDpcLevel(void)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    ExAcquireSpinLockSharedAtDpcLevel(&RwLock);
    ExReleaseSpinLockSharedFromDpcLevel(&RwLock);
    KeLowerIrql(OldIrql);
}

/* Those that may find the lock taken. */
static void (*const WaitingPairs[])(void) = {
    SpinPair,       QueuedPair,       ExclusivePair,      SharedPair,           BiasedSharedPair,
    SpinPairForDpc, QueuedPairForDpc, SpinPairAtDpcLevel, QueuedPairAtDpcLevel, ExclusivePairAtDpcLevel,
    NumberedPair,   SharedPairAtDpcLevel,
};

static void each_routine_counts_one(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(WaitingPairs); Index += 1) {
        for (ULONG Round = 0; Round < ROUNDS; Round += 1) {
            ULONG Before = Count(0);

            WaitingPairs[Index]();
            assert_int_equal(Count(0), Before + 1);
        }
    }
}

static void inline_acquires_are_counted(void **State)
{
    (void)State;
    SpinPair();
    if ((TestFlags & (KPRCB_NO_MEMBARRIER | KPRCB_UNIPROCESSOR)) != 0 || KprcbThread.Fast == NULL) {
        skip();
    }
    for (ULONG Index = 0; Index < 5; Index += 1) {
        ULONG Before = Count(0);

        for (ULONG Round = 0; Round < ROUNDS; Round += 1) {
            WaitingPairs[Index]();
            assert_non_null(KprcbThread.Fast);
        }
        assert_int_equal(Count(0), Before + ROUNDS);
    }
}

static void attempts_count_if_they_succeed(void **State)
{
    ULONG Before = Count(0);
    KIRQL OldIrql, Inner;

    (void)State;
    NumberedPairAtSynch();
    assert_int_equal(Count(0), Before + 1);
    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_true(KeTryToAcquireSpinLockAtDpcLevel(&SpinLock));
    assert_int_equal(Count(0), Before + 2);
    assert_false(KeTryToAcquireSpinLockAtDpcLevel(&SpinLock));
    KeReleaseSpinLockFromDpcLevel(&SpinLock);
    KeLowerIrql(OldIrql);
    assert_true(KeTryToAcquireQueuedSpinLock(LockQueueMasterLock, &OldIrql));
    assert_int_equal(Count(0), Before + 3);
    assert_false(KeTryToAcquireQueuedSpinLock(LockQueueMasterLock, &Inner));
    KeReleaseQueuedSpinLock(LockQueueMasterLock, OldIrql);
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    assert_true(ExTryConvertSharedSpinLockExclusive(&RwLock));
    ExReleaseSpinLockExclusive(&RwLock, OldIrql);
    assert_int_equal(Count(0), Before + 4);
}

/* --- Releases that are not those of the acquire's kind --- */

static void locks_released_out_of_order_are_counted(void **State)
{
    ULONG Before = Count(0);
    KIRQL OldIrql, Lower;

    (void)State;
    KeAcquireSpinLock(&SpinLock, &OldIrql);
    KeAcquireSpinLockAtDpcLevel(&OtherLock);
    KeReleaseSpinLockFromDpcLevel(&SpinLock);
    KeReleaseSpinLock(&OtherLock, OldIrql);
    assert_int_equal(Count(0), Before + 2);
    KeAcquireSpinLock(&SpinLock, &OldIrql);
    KeReleaseSpinLockFromDpcLevel(&SpinLock);
    KeLowerIrql(OldIrql);
    assert_int_equal(Count(0), Before + 3);
    KeAcquireSpinLock(&SpinLock, &OldIrql);
    KeRaiseIrql(HIGH_LEVEL, &Lower);
    KeReleaseSpinLockFromDpcLevel(&SpinLock);
    KeLowerIrql(Lower);
    KeLowerIrql(OldIrql);
    assert_int_equal(Count(0), Before + 4);
    SpinPair();
    assert_int_equal(Count(0), Before + 5);
}

static VOID CrashHolding(PVOID Context)
{
    KIRQL OldIrql;

    (void)Context;
    KeAcquireSpinLock(&SpinLock, &OldIrql);
    KeBugCheckEx(MANUALLY_INITIATED_CRASH, 0, 0, 0, 0);
}

static void a_lock_that_a_bug_check_released_was_acquired(void **State)
{
    ULONG Before = Count(0);
    KPRCB_BUGCHECK BugCheck;
    KIRQL OldIrql;

    (void)State;
    assert_true(KprcbCatchBugCheck(CrashHolding, NULL, &BugCheck));
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_int_equal(Count(0), Before + 1);
    SpinPair();
    assert_int_equal(Count(0), Before + 2);
    OldIrql = KeRaiseIrqlToDpcLevel();
    KeLowerIrql(OldIrql);
    assert_int_equal(Count(0), Before + 2);
}

/* --- Owners come and go --- */

static ULONG volatile Turn;

static void *VisitByTurns(void *Context)
{
    ULONG Begin = *(ULONG *)Context;

    (void)KeSetSystemAffinityThreadEx(1);
    for (ULONG Round = 0; Round < 10; Round += 1) {
        AwaitCount(&Turn, 2 * Round + 1);
        Begin += 1 << (Round + 4);
        Check(Count(0) == Begin);
        for (ULONG Index = 0; Index < ARRAYSIZE(WaitingPairs); Index += 1) {
            WaitingPairs[Index]();
        }
        Begin += ARRAYSIZE(WaitingPairs);
        Check(Count(0) == Begin);
        CountOne(&Turn);
    }
    return NULL;
}

/* Each visit ends the resident's bias, which comes back after a while that doubles. */
static void counts_outlive_bias(void **State)
{
    ULONG Begin = Count(0);
    ULONG Expected = Begin, Biased = 0;
    pthread_t Visitor;

    (void)State;
    Turn = 0;
    Visitor = StartThread(VisitByTurns, &Begin);
    for (ULONG Round = 0; Round < 10; Round += 1) {
        for (ULONG Pair = 0; Pair < 1u << (Round + 4); Pair += 1) {
            WaitingPairs[Pair % 5]();
        }
        Expected += 1u << (Round + 4);
        Check(Count(0) == Expected);
        Biased += KeGetCurrentThread()->Biased;
        CountOne(&Turn);
        AwaitCount(&Turn, 2 * Round + 2);
        Expected += ARRAYSIZE(WaitingPairs);
    }
    JoinThread(Visitor);
    assert_int_equal(Count(0), Expected);
    assert_int_equal(WrongLine, 0);
    assert_true(Biased >= 5);
}

static void each_processor_counts_its_own(void **State)
{
    ULONG Before[PROCESSORS] = {Count(0), Count(1)};

    (void)State;
    for (ULONG Round = 0; Round < ROUNDS; Round += 1) {
        WaitingPairs[Round % 5]();
        (void)KeSetSystemAffinityThreadEx(2);
        WaitingPairs[Round % 5]();
        WaitingPairs[Round % ARRAYSIZE(WaitingPairs)]();
        KeRevertToUserAffinityThreadEx(0);
    }
    assert_int_equal(Count(0), Before[0] + ROUNDS);
    assert_int_equal(Count(1), Before[1] + 2 * ROUNDS);
}

static void *ContendForAll(void *Context)
{
    ULONG Random = (ULONG)(ULONG_PTR)Context;

    for (ULONG Round = 0; Round < 50 * ROUNDS; Round += 1) {
        WaitingPairs[NextRandom(&Random) % ARRAYSIZE(WaitingPairs)]();
    }
    return NULL;
}

static void contention_loses_no_count(void **State)
{
    ULONG Before = Count(0) + Count(1);
    pthread_t Threads[THREADS];

    (void)State;
    for (ULONG Index = 0; Index < THREADS; Index += 1) {
        Threads[Index] = StartThread(ContendForAll, (void *)(ULONG_PTR)(Index + 1));
    }
    for (ULONG Index = 0; Index < THREADS; Index += 1) {
        JoinThread(Threads[Index]);
    }
    assert_int_equal(Count(0) + Count(1), Before + THREADS * 50 * ROUNDS);
}

/* --- Interrupts --- */

#ifndef __SANITIZE_THREAD__

static ULONG volatile Workers;

static ULONG_PTR AcquireInWorker(ULONG_PTR Argument)
{
    (void)Argument;
    KeAcquireSpinLockAtDpcLevel(&OtherLock);
    KeReleaseSpinLockFromDpcLevel(&OtherLock);
    CountOne(&Workers);
    return 0;
}

static void *CallAll(void *Context)
{
    ULONG Before = Count(1);

    Check(KprcbAttachThread(1) == STATUS_SUCCESS);
    AwaitCount(Context, 1);
    (void)KeIpiGenericCall(AcquireInWorker, 0);
    Check(Count(1) == Before + 1);
    return NULL;
}

#endif

/* The interrupted owner, who never polls, may be about to store a count that it has loaded. */
static void what_an_interrupt_acquires_is_counted(void **State)
{
    (void)State;
#ifdef __SANITIZE_THREAD__
    skip(); /* ThreadSanitizer holds signals back */
#else
    for (ULONG Round = 0; Round < 3; Round += 1) {
        ULONG Before = Count(0);
        ULONG volatile Held = 0;
        pthread_t Caller = StartThread(CallAll, (void *)&Held);
        KIRQL OldIrql;

        Workers = 0;
        KeAcquireSpinLock(&SpinLock, &OldIrql);
        CountOne(&Held);
        AwaitCount(&Workers, PROCESSORS);
        KeReleaseSpinLock(&SpinLock, OldIrql);
        assert_int_equal(Count(0), Before + 2);
        assert_int_equal(KiProcessor(0)->InterruptAcquires, 0);
        assert_int_equal(KiProcessor(0)->Request & KPCR_REQUEST_COUNT, 0);
        SpinPair();
        assert_int_equal(Count(0), Before + 3);
        JoinThread(Caller);
        assert_int_equal(WrongLine, 0);
    }
#endif
}

#define EACH(Test) cmocka_unit_test_setup_teardown(Test, SetUp, TearDown)

static int RunAll(ULONG Flags)
{
    const struct CMUnitTest Tests[] = {
        EACH(each_routine_counts_one),
        EACH(inline_acquires_are_counted),
        EACH(attempts_count_if_they_succeed),
        EACH(locks_released_out_of_order_are_counted),
        EACH(a_lock_that_a_bug_check_released_was_acquired),
        EACH(counts_outlive_bias),
        EACH(each_processor_counts_its_own),
        EACH(contention_loses_no_count),
        EACH(what_an_interrupt_acquires_is_counted),
    };

    TestFlags = Flags;
    return cmocka_run_group_tests(Tests, NULL, NULL);
}

static int RunUniprocessor(void)
{
    const struct CMUnitTest Tests[] = {
        EACH(each_routine_counts_one),
        EACH(attempts_count_if_they_succeed),
        EACH(locks_released_out_of_order_are_counted),
    };

    TestFlags = KPRCB_UNIPROCESSOR;
    return cmocka_run_group_tests(Tests, NULL, NULL);
}

int main(void)
{
    return RunAll(0) + RunAll(KPRCB_NO_MEMBARRIER) + RunUniprocessor();
}
