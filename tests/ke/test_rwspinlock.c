/*
 * test_rwspinlock.c - include/kprcb/rwspinlock.h: EX_SPIN_LOCK.
 */
#include "rwspinlocktest.h"

/* --- one thread --- */

static void the_word_tells_who_holds_it(void **State)
{
    KIRQL OldIrql;

    (void)State;
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    assert_int_equal(OldIrql, PASSIVE_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    assert_int_equal(Word(), READER);
    ExReleaseSpinLockShared(&RwLock, OldIrql);
    assert_int_equal(Word(), 0);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    OldIrql = ExAcquireSpinLockExclusive(&RwLock);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    assert_int_equal(Word(), OWNED);
    ExReleaseSpinLockExclusive(&RwLock, OldIrql);
}

static void every_level_below_comes_back(void **State)
{
    (void)State;
    for (KIRQL Level = PASSIVE_LEVEL; Level <= DISPATCH_LEVEL; Level += 1) {
        KIRQL Before, OldIrql;

        KeRaiseIrql(Level, &Before);
        OldIrql = ExAcquireSpinLockShared(&RwLock);
        assert_int_equal(OldIrql, Level);
        ExReleaseSpinLockShared(&RwLock, OldIrql);
        assert_int_equal(KeGetCurrentIrql(), Level);
        OldIrql = ExAcquireSpinLockExclusive(&RwLock);
        assert_int_equal(OldIrql, Level);
        ExReleaseSpinLockExclusive(&RwLock, OldIrql);
        assert_int_equal(KeGetCurrentIrql(), Level);
        KeLowerIrql(Before);
    }
}

static void the_dpc_level_forms_leave_the_level(void **State)
{
    KIRQL OldIrql;

    (void)State;
    KeRaiseIrql(SYNCH_LEVEL, &OldIrql);
    ExAcquireSpinLockSharedAtDpcLevel(&RwLock);
    assert_int_equal(Word(), READER);
    assert_int_equal(KeGetCurrentIrql(), SYNCH_LEVEL);
    ExReleaseSpinLockSharedFromDpcLevel(&RwLock);
    ExAcquireSpinLockExclusiveAtDpcLevel(&RwLock);
    assert_int_equal(Word(), OWNED);
    ExReleaseSpinLockExclusiveFromDpcLevel(&RwLock);
    assert_int_equal(KeGetCurrentIrql(), SYNCH_LEVEL);
    KeLowerIrql(OldIrql);
}

static void two_locks_are_released_in_any_order(void **State)
{
    EX_SPIN_LOCK Other = 0;
    KIRQL OldIrql;

    (void)State;
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    ExAcquireSpinLockExclusiveAtDpcLevel(&Other);
    ExReleaseSpinLockExclusiveFromDpcLevel(&Other);
    ExAcquireSpinLockSharedAtDpcLevel(&Other);
    assert_int_equal(Word(), READER);
    ExReleaseSpinLockSharedFromDpcLevel(&Other);
    ExReleaseSpinLockShared(&RwLock, OldIrql);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    ExAcquireSpinLockExclusiveAtDpcLevel(&RwLock);
    ExAcquireSpinLockSharedAtDpcLevel(&Other);
    ExReleaseSpinLockExclusiveFromDpcLevel(&RwLock);
    assert_int_equal(Other, READER);
    ExReleaseSpinLockSharedFromDpcLevel(&Other);
    assert_int_equal(Other, 0);
    KeLowerIrql(OldIrql);
}

/* --- others --- */

static void readers_share(void **State)
{
    HELPER Other;
    KIRQL OldIrql;

    (void)State;
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    StartHelper(&Other, 1, FALSE);
    AwaitCount(&Other.Held, 1);
    assert_int_equal(Word(), 2 * READER);
    ExReleaseSpinLockShared(&RwLock, OldIrql);
    assert_int_equal(Word(), READER);
    EndHelper(&Other);
}

static void pitfall_24_a_waiting_writer_blocks_new_readers(void **State)
{
    HELPER Writer, Reader;
    KIRQL OldIrql;

    (void)State;
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    StartHelper(&Writer, 1, TRUE);
    AwaitWord(WAITER, WAITER);
    StartHelper(&Reader, 2, FALSE);
    for (ULONG Yield = 0; Yield < 30; Yield += 1) {
        sched_yield();
    }
    assert_int_equal(Reader.Held, 0);
    assert_int_equal(Writer.Held, 0);
    ExReleaseSpinLockShared(&RwLock, OldIrql);
    AwaitCount(&Writer.Held, 1);
    assert_int_equal(Reader.Held, 0);
    EndHelper(&Writer);
    AwaitCount(&Reader.Held, 1);
    EndHelper(&Reader);
}

static void pitfall_24_the_only_reader_can_convert(void **State)
{
    KIRQL OldIrql;

    (void)State;
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    assert_true(ExTryConvertSharedSpinLockExclusive(&RwLock));
    assert_int_equal(Word(), OWNED);
    ExReleaseSpinLockExclusive(&RwLock, OldIrql);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    ExAcquireSpinLockSharedAtDpcLevel(&RwLock);
    assert_true(ExTryConvertSharedSpinLockExclusive(&RwLock));
    ExReleaseSpinLockExclusiveFromDpcLevel(&RwLock);
    KeLowerIrql(OldIrql);
}

static void pitfall_24_no_convert_beside_a_reader_or_before_a_writer(void **State)
{
    HELPER Other;
    KIRQL OldIrql;

    (void)State;
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    StartHelper(&Other, 1, FALSE);
    AwaitCount(&Other.Held, 1);
    assert_false(ExTryConvertSharedSpinLockExclusive(&RwLock));
    EndHelper(&Other);
    StartHelper(&Other, 1, TRUE);
    AwaitWord(WAITER, WAITER);
    assert_false(ExTryConvertSharedSpinLockExclusive(&RwLock));
    assert_int_equal(Word(), WAITER + READER);
    ExReleaseSpinLockShared(&RwLock, OldIrql);
    AwaitCount(&Other.Held, 1);
    EndHelper(&Other);
}

/* --- misuse --- */

typedef VOID STEP(VOID);

static VOID AcquireTwiceShared(VOID)
{
    (VOID) ExAcquireSpinLockShared(&RwLock);
    ExAcquireSpinLockSharedAtDpcLevel(&RwLock);
}

static VOID AcquireSharedThenExclusive(VOID)
{
    (VOID) ExAcquireSpinLockShared(&RwLock);
    (VOID) ExAcquireSpinLockExclusive(&RwLock);
}

static VOID AcquireExclusiveThenShared(VOID)
{
    (VOID) ExAcquireSpinLockExclusive(&RwLock);
    (VOID) ExAcquireSpinLockShared(&RwLock);
}

static VOID AcquireTwiceExclusive(VOID)
{
    (VOID) ExAcquireSpinLockExclusive(&RwLock);
    ExAcquireSpinLockExclusiveAtDpcLevel(&RwLock);
}

static VOID ReleaseSharedOfExclusive(VOID)
{
    ExReleaseSpinLockShared(&RwLock, ExAcquireSpinLockExclusive(&RwLock));
}

static VOID ReleaseExclusiveOfShared(VOID)
{
    ExReleaseSpinLockExclusive(&RwLock, ExAcquireSpinLockShared(&RwLock));
}

static VOID ReleaseFree(VOID)
{
    ExReleaseSpinLockShared(&RwLock, KeRaiseIrqlToDpcLevel());
}

static VOID ReleaseSharedAfterConvert(VOID)
{
    KIRQL OldIrql = ExAcquireSpinLockShared(&RwLock);

    if (ExTryConvertSharedSpinLockExclusive(&RwLock)) {
        ExReleaseSpinLockShared(&RwLock, OldIrql);
    }
}

static VOID ConvertFree(VOID)
{
    (VOID) KeRaiseIrqlToDpcLevel();
    (VOID) ExTryConvertSharedSpinLockExclusive(&RwLock);
}

static VOID AcquireBelowDispatch(VOID)
{
    ExAcquireSpinLockSharedAtDpcLevel(&RwLock);
}

static VOID RunStep(PVOID Context)
{
    (*(STEP **)Context)();
}

static void misuse_is_a_bug_check_on_a_checked_build(void **State)
{
    static const struct {
        STEP *Step;
        ULONG Code;
    } Cases[] = {
        {AcquireTwiceShared, SPIN_LOCK_ALREADY_OWNED},
        {AcquireSharedThenExclusive, SPIN_LOCK_ALREADY_OWNED},
        {AcquireTwiceExclusive, SPIN_LOCK_ALREADY_OWNED},
        {AcquireExclusiveThenShared, SPIN_LOCK_ALREADY_OWNED},
        {ReleaseSharedOfExclusive, SPIN_LOCK_NOT_OWNED},
        {ReleaseExclusiveOfShared, SPIN_LOCK_NOT_OWNED},
        {ReleaseSharedAfterConvert, SPIN_LOCK_NOT_OWNED},
        {ReleaseFree, SPIN_LOCK_NOT_OWNED},
        {ConvertFree, SPIN_LOCK_NOT_OWNED},
    };

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Cases); Index += 1) {
        STEP *Step = Cases[Index].Step;
        KPRCB_BUGCHECK BugCheck;

        assert_true(KprcbCatchBugCheck(RunStep, &Step, &BugCheck));
        assert_int_equal(BugCheck.Code, Cases[Index].Code);
        assert_true(BugCheck.Parameter[0] == (ULONG_PTR)&RwLock);
        assert_int_equal(Word(), 0);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    }
}

static void the_wrong_level_is_a_bug_check(void **State)
{
    STEP *Step = AcquireBelowDispatch;
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    assert_true(KprcbCatchBugCheck(RunStep, &Step, &BugCheck));
    assert_int_equal(BugCheck.Code, IRQL_NOT_GREATER_OR_EQUAL);
}

static void a_wrong_release_does_nothing_on_a_free_build(void **State)
{
    HELPER Holder;
    KIRQL OldIrql;

    (void)State;
    StartHelper(&Holder, 1, TRUE);
    AwaitCount(&Holder.Held, 1);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    ExReleaseSpinLockExclusiveFromDpcLevel(&RwLock);
    ExReleaseSpinLockSharedFromDpcLevel(&RwLock);
    assert_int_equal(Word(), OWNED);
    KeLowerIrql(OldIrql);
    EndHelper(&Holder);
}

int main(void)
{
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, SetUp, TearDown)
    const struct CMUnitTest Tests[] = {
        TEST(the_word_tells_who_holds_it),
        TEST(every_level_below_comes_back),
        TEST(the_dpc_level_forms_leave_the_level),
        TEST(two_locks_are_released_in_any_order),
        TEST(readers_share),
        TEST(pitfall_24_a_waiting_writer_blocks_new_readers),
        TEST(pitfall_24_the_only_reader_can_convert),
        TEST(pitfall_24_no_convert_beside_a_reader_or_before_a_writer),
    };
    const struct CMUnitTest CheckedTests[] = {
        TEST(misuse_is_a_bug_check_on_a_checked_build),
        TEST(the_wrong_level_is_a_bug_check),
    };
    const struct CMUnitTest FreeTests[] = {TEST(a_wrong_release_does_nothing_on_a_free_build)};
    int Failed = 0;

    for (ULONG Mode = 0; Mode < 4; Mode += 1) {
        MachineFlags = (Mode & 1 ? KPRCB_NO_MEMBARRIER : 0) | (Mode & 2 ? KPRCB_FREE_BUILD : 0);
        Failed += cmocka_run_group_tests(Tests, NULL, NULL);
        Failed += (Mode & 2) != 0 ? cmocka_run_group_tests(FreeTests, NULL, NULL)
                                  : cmocka_run_group_tests(CheckedTests, NULL, NULL);
    }
    return Failed;
}
