/*
 * test_uniprocessor.c - KPRCB_UNIPROCESSOR: what may be configured, and spin locks that only raise IRQL.
 */
#include "support/check.h"

#define GARBAGE 0x5A5A5A5A /* what a lock's word says all the time */
#define NUMBER LockQueueMasterLock
#define THREADS 4

static ULONG MachineFlags;
static KSPIN_LOCK SpinLock;
static EX_SPIN_LOCK RwLock;
static KLOCK_QUEUE_HANDLE Handle;

static int SetUp(void **State)
{
    (void)State;
    SpinLock = GARBAGE;
    RwLock = GARBAGE;
    StartMachine(1, KPRCB_UNIPROCESSOR | MachineFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    return 0;
}

static int TearDown(void **State)
{
    (void)State;
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_int_equal(SpinLock, GARBAGE);
    assert_int_equal(RwLock, GARBAGE);
    StopMachine();
    return 0;
}

static NTSTATUS TryToStart(ULONG Processors, ULONG Maximum)
{
    KPRCB_CONFIG Config = Configuration(Processors, 0, KPRCB_UNIPROCESSOR);
    NTSTATUS Status;

    Config.MaximumProcessorCount = Maximum;
    Status = KprcbStart(&Config);
    if (NT_SUCCESS(Status)) {
        assert_int_equal(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), 1);
        StopMachine();
    }
    return Status;
}

static void one_processor_and_no_more(void **State)
{
    (void)State;
    assert_int_equal(TryToStart(0, 0), STATUS_SUCCESS);
    assert_int_equal(TryToStart(1, 1), STATUS_SUCCESS);
    assert_int_equal(TryToStart(2, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(TryToStart(0, 2), STATUS_INVALID_PARAMETER);
    assert_int_equal(TryToStart(1, 2), STATUS_INVALID_PARAMETER);
}

static void the_build_type_says_so(void **State)
{
    (void)State;
    assert_int_equal(KeGetCurrentPrcb()->BuildType,
                     PRCB_BUILD_UNIPROCESSOR | ((MachineFlags & KPRCB_FREE_BUILD) != 0 ? 0 : PRCB_BUILD_DEBUG));
}

/* --- each form: acquired, and released --- */

static KIRQL Old;

typedef VOID STEP(VOID);

static VOID AcquireSpin(VOID)
{
    KeAcquireSpinLock(&SpinLock, &Old);
}

static VOID ReleaseSpin(VOID)
{
    KeReleaseSpinLock(&SpinLock, Old);
}

static VOID AcquireSpinForDpc(VOID)
{
    Old = KeAcquireSpinLockForDpc(&SpinLock);
}

static VOID ReleaseSpinForDpc(VOID)
{
    KeReleaseSpinLockForDpc(&SpinLock, Old);
}

static VOID AcquireSpinAtDpcLevel(VOID)
{
    Old = KeRaiseIrqlToDpcLevel();
    KeAcquireSpinLockAtDpcLevel(&SpinLock);
}

static VOID TrySpin(VOID)
{
    Old = KeRaiseIrqlToDpcLevel();
    if (!KeTryToAcquireSpinLockAtDpcLevel(&SpinLock)) {
        abort();
    }
}

static VOID ReleaseSpinFromDpcLevel(VOID)
{
    KeReleaseSpinLockFromDpcLevel(&SpinLock);
    KeLowerIrql(Old);
}

static VOID AcquireQueued(VOID)
{
    KeAcquireInStackQueuedSpinLock(&SpinLock, &Handle);
}

static VOID ReleaseQueued(VOID)
{
    KeReleaseInStackQueuedSpinLock(&Handle);
}

static VOID AcquireQueuedForDpc(VOID)
{
    KeAcquireInStackQueuedSpinLockForDpc(&SpinLock, &Handle);
}

static VOID ReleaseQueuedForDpc(VOID)
{
    KeReleaseInStackQueuedSpinLockForDpc(&Handle);
}

static VOID AcquireNumbered(VOID)
{
    Old = KeAcquireQueuedSpinLock(NUMBER);
}

static VOID AcquireNumberedToSynch(VOID)
{
    Old = KeAcquireQueuedSpinLockRaiseToSynch(NUMBER);
}

static VOID TryNumbered(VOID)
{
    if (!KeTryToAcquireQueuedSpinLock(NUMBER, &Old)) {
        abort();
    }
}

static VOID ReleaseNumbered(VOID)
{
    KeReleaseQueuedSpinLock(NUMBER, Old);
}

static VOID AcquireShared(VOID)
{
    Old = ExAcquireSpinLockShared(&RwLock);
}

static VOID ReleaseShared(VOID)
{
    ExReleaseSpinLockShared(&RwLock, Old);
}

static VOID AcquireExclusive(VOID)
{
    Old = ExAcquireSpinLockExclusive(&RwLock);
}

static VOID Convert(VOID)
{
    Old = ExAcquireSpinLockShared(&RwLock);
    if (!ExTryConvertSharedSpinLockExclusive(&RwLock)) {
        abort();
    }
}

static VOID ReleaseExclusive(VOID)
{
    ExReleaseSpinLockExclusive(&RwLock, Old);
}

static const struct {
    STEP *Acquire, *Release;
} Forms[] = {
    {AcquireSpin, ReleaseSpin},
    {AcquireSpinForDpc, ReleaseSpinForDpc},
    {AcquireSpinAtDpcLevel, ReleaseSpinFromDpcLevel},
    {TrySpin, ReleaseSpinFromDpcLevel},
    {AcquireQueued, ReleaseQueued},
    {AcquireQueuedForDpc, ReleaseQueuedForDpc},
    {AcquireNumbered, ReleaseNumbered},
    {AcquireNumberedToSynch, ReleaseNumbered},
    {TryNumbered, ReleaseNumbered},
    {AcquireShared, ReleaseShared},
    {AcquireExclusive, ReleaseExclusive},
    {Convert, ReleaseExclusive},
};

static void CheckUntouched(void)
{
    PKSPIN_LOCK Numbered = (PKSPIN_LOCK)((ULONG_PTR)KeGetCurrentPrcb()->LockQueue[NUMBER].Lock & ~(ULONG_PTR)3);

    Check(SpinLock == GARBAGE);
    Check(RwLock == GARBAGE);
    Check(KeTestSpinLock(Numbered));
}

static void a_lock_raises_and_its_word_is_left_alone(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Forms); Index += 1) {
        Forms[Index].Acquire();
        assert_true(KeGetCurrentIrql() >= DISPATCH_LEVEL);
        CheckUntouched();
        Forms[Index].Release();
        CheckUntouched();
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
        assert_int_equal(WrongLine, 0);
    }
}

/* Each does so with every form, and with an increment that only the level guards. */
static ULONG Guarded;
static ULONG volatile Gate;

static void *Increment(void *Context)
{
    (void)Context;
    MeetAtGate(&Gate, THREADS);
    for (ULONG Round = 0; Round < 2000; Round += 1) {
        KIRQL OldIrql = KeAcquireSpinLockRaiseToDpc(&SpinLock);

        Guarded += 1;
        KeReleaseSpinLock(&SpinLock, OldIrql);
        OldIrql = ExAcquireSpinLockExclusive(&RwLock);
        Guarded += 1;
        ExReleaseSpinLockExclusive(&RwLock, OldIrql);
        CheckUntouched();
    }
    return NULL;
}

static void threads_keep_each_other_out(void **State)
{
    pthread_t Threads[THREADS];

    (void)State;
    Guarded = 0;
    Gate = 0;
    assert_int_equal(KprcbDetachThread(), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < THREADS; Index += 1) {
        Threads[Index] = StartThread(Increment, NULL);
    }
    for (ULONG Index = 0; Index < THREADS; Index += 1) {
        JoinThread(Threads[Index]);
    }
    assert_int_equal(Guarded, 2 * 2000 * THREADS);
    assert_int_equal(WrongLine, 0);
}

static void locks_are_released_in_any_order(void **State)
{
    KSPIN_LOCK Locks[20];
    KIRQL OldIrql;

    (void)State;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    for (ULONG Index = 0; Index < ARRAYSIZE(Locks); Index += 1) {
        Locks[Index] = GARBAGE;
        KeAcquireSpinLockAtDpcLevel(&Locks[Index]);
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Locks); Index += 1) {
        KeReleaseSpinLockFromDpcLevel(&Locks[Index]);
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Locks); Index += 1) {
        assert_int_equal(Locks[Index], GARBAGE);
    }
    KeLowerIrql(OldIrql);
    AcquireSpin();
    ReleaseSpin();
}

static void a_try_of_a_lock_that_the_caller_holds_fails(void **State)
{
    (void)State;
    AcquireSpin();
    assert_false(KeTryToAcquireSpinLockAtDpcLevel(&SpinLock));
    ReleaseSpin();
}

/* --- misuse --- */

typedef struct {
    STEP *First, *Second;
    ULONG Code;
} MISUSE;

static VOID Nothing(VOID)
{
}

static VOID Raise(VOID)
{
    Old = KeRaiseIrqlToDpcLevel();
}

static VOID Misuse(PVOID Context)
{
    const MISUSE *Case = Context;

    Case->First();
    Case->Second();
}

static void misuse_is_a_bug_check_on_a_checked_build(void **State)
{
    static MISUSE Cases[] = {
        {AcquireSpin, AcquireSpinAtDpcLevel, SPIN_LOCK_ALREADY_OWNED},
        {AcquireQueued, AcquireSpinAtDpcLevel, SPIN_LOCK_ALREADY_OWNED},
        {AcquireSpin, AcquireQueued, SPIN_LOCK_ALREADY_OWNED},
        {AcquireNumbered, AcquireNumbered, SPIN_LOCK_ALREADY_OWNED},
        {AcquireShared, AcquireShared, SPIN_LOCK_ALREADY_OWNED},
        {AcquireExclusive, AcquireShared, SPIN_LOCK_ALREADY_OWNED},
        {Raise, ReleaseSpin, SPIN_LOCK_NOT_OWNED},
        {Raise, ReleaseSpinFromDpcLevel, SPIN_LOCK_NOT_OWNED},
        {Raise, ReleaseQueued, SPIN_LOCK_NOT_OWNED},
        {Raise, ReleaseNumbered, SPIN_LOCK_NOT_OWNED},
        {Raise, ReleaseShared, SPIN_LOCK_NOT_OWNED},
        {AcquireShared, ReleaseExclusive, SPIN_LOCK_NOT_OWNED},
        {Nothing, ReleaseSpin, IRQL_NOT_GREATER_OR_EQUAL},
    };

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Cases); Index += 1) {
        KPRCB_BUGCHECK BugCheck;

        assert_true(KprcbCatchBugCheck(Misuse, &Cases[Index], &BugCheck));
        assert_int_equal(BugCheck.Code, Cases[Index].Code);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
        CheckUntouched();
        assert_int_equal(WrongLine, 0);
    }
    a_lock_raises_and_its_word_is_left_alone(State);
}

int main(void)
{
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, SetUp, TearDown)
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(one_processor_and_no_more),    TEST(the_build_type_says_so),
        TEST(a_lock_raises_and_its_word_is_left_alone), TEST(threads_keep_each_other_out),
        TEST(locks_are_released_in_any_order),          TEST(a_try_of_a_lock_that_the_caller_holds_fails),
    };
    const struct CMUnitTest CheckedTests[] = {TEST(misuse_is_a_bug_check_on_a_checked_build)};
    int Failed = 0;

    for (ULONG Mode = 0; Mode < 4; Mode += 1) {
        MachineFlags = (Mode & 1 ? KPRCB_NO_MEMBARRIER : 0) | (Mode & 2 ? KPRCB_FREE_BUILD : 0);
        Failed += cmocka_run_group_tests(Tests, NULL, NULL);
        if ((Mode & 2) == 0) {
            Failed += cmocka_run_group_tests(CheckedTests, NULL, NULL);
        }
    }
    return Failed;
}
