/*
 * test_readerbias.c - src/ke/readerbias.c: EX_SPIN_LOCK whose readers do not count themselves.
 *
 * KPRCB_EXPECT_INTRUDER=1 turns the race round, for a library built with KPRCB_BREAK_READER_BIAS: 0 if a reader was
 * inside with a writer, 1 if none was, 77 if the host cannot show it (one CPU, or no membarrier).
 */
#include "rwspinlocktest.h"

#include <unistd.h>

#include "ki.h"

#define BIASED KPRCB_RW_BIASED
#define ENOUGH 1000 /* reads that bias a lock */
#define LINES 6
#define WRITES 20000
#define SANITIZED_WRITES 300
#define EXPECTED_WRITES 1000000
#define CONVERTS 20000

static void ReadOften(PEX_SPIN_LOCK SpinLock, ULONG Reads)
{
    for (ULONG Read = 0; Read < Reads; Read += 1) {
        ExReleaseSpinLockShared(SpinLock, ExAcquireSpinLockShared(SpinLock));
    }
}

static int SetUpBiased(void **State)
{
    KiBiasPart = 0;
    (void)SetUp(State);
    ReadOften(&RwLock, ENOUGH);
    assert_int_equal(Word(), BIASED);
    return 0;
}

static PVOID SharedLock(ULONG Processor)
{
    return __atomic_load_n(&KiProcessor(Processor)->PrcbData.SharedLock, __ATOMIC_ACQUIRE);
}

static void a_resident_is_not_counted(void **State)
{
    EX_SPIN_LOCK Other = BIASED;
    KIRQL OldIrql;

    (void)State;
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    assert_int_equal(OldIrql, PASSIVE_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    assert_int_equal(Word(), BIASED);
    assert_ptr_equal(SharedLock(0), (PVOID)&RwLock);
    ExAcquireSpinLockSharedAtDpcLevel(&Other);
    assert_int_equal(Other, BIASED + READER);
    assert_ptr_equal(SharedLock(0), (PVOID)&RwLock);
    ExReleaseSpinLockShared(&RwLock, DISPATCH_LEVEL);
    assert_null(SharedLock(0));
    ExReleaseSpinLockShared(&Other, OldIrql);
    assert_int_equal(Other, BIASED);
    assert_int_equal(Word(), BIASED);
}

static void each_release_knows_it(void **State)
{
    KIRQL OldIrql;

    (void)State;
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    ExReleaseSpinLockSharedFromDpcLevel(&RwLock);
    assert_null(SharedLock(0));
    assert_int_equal(Word(), BIASED);
    ExAcquireSpinLockSharedAtDpcLevel(&RwLock);
    assert_null(SharedLock(0));
    assert_int_equal(Word(), BIASED + READER);
    ExReleaseSpinLockShared(&RwLock, OldIrql);
    assert_int_equal(Word(), BIASED);
}

static void a_writer_ends_it(void **State)
{
    KIRQL OldIrql;

    (void)State;
    OldIrql = ExAcquireSpinLockExclusive(&RwLock);
    assert_int_equal(Word(), OWNED);
    ExReleaseSpinLockExclusive(&RwLock, OldIrql);
    assert_int_equal(Word(), 0);
    ReadOften(&RwLock, ENOUGH);
    assert_int_equal(Word(), BIASED);
}

static void a_lock_that_is_written_stays_unbiased_for_a_while(void **State)
{
    KIRQL OldIrql;

    (void)State;
    KiBiasPart = 0x10000000;
    OldIrql = ExAcquireSpinLockExclusive(&RwLock);
    ExReleaseSpinLockExclusive(&RwLock, OldIrql);
    ReadOften(&RwLock, ENOUGH);
    assert_int_equal(Word(), 0);
}

static void pitfall_24_a_waiting_writer_blocks_new_readers_here_too(void **State)
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
    assert_int_equal(Word() & ~(WAITER - 1), OWNED);
    assert_int_equal(Reader.Held, 0);
    EndHelper(&Writer);
    AwaitCount(&Reader.Held, 1);
    EndHelper(&Reader);
}

static void pitfall_24_the_only_reader_can_convert_here_too(void **State)
{
    KIRQL OldIrql;

    (void)State;
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    assert_true(ExTryConvertSharedSpinLockExclusive(&RwLock));
    assert_int_equal(Word(), OWNED);
    assert_null(SharedLock(0));
    ExReleaseSpinLockExclusive(&RwLock, OldIrql);
    assert_int_equal(Word(), 0);
    ReadOften(&RwLock, ENOUGH);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    ExAcquireSpinLockSharedAtDpcLevel(&RwLock);
    assert_int_equal(Word(), BIASED + READER);
    assert_true(ExTryConvertSharedSpinLockExclusive(&RwLock));
    assert_int_equal(Word(), OWNED);
    ExReleaseSpinLockExclusive(&RwLock, OldIrql);
    assert_int_equal(Word(), 0);
}

static void ConvertInVain(LONG Before)
{
    assert_int_equal(Word(), Before);
    assert_false(ExTryConvertSharedSpinLockExclusive(&RwLock));
    assert_int_equal(Word(), Before);
}

static void pitfall_24_no_convert_beside_a_reader_or_before_a_writer_here_too(void **State)
{
    HELPER Other;
    KIRQL OldIrql, Raised;

    (void)State;
    StartHelper(&Other, 1, FALSE);
    AwaitCount(&Other.Held, 1);
    assert_ptr_equal(SharedLock(1), (PVOID)&RwLock);
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    ConvertInVain(BIASED);
    ExReleaseSpinLockShared(&RwLock, OldIrql);
    KeRaiseIrql(DISPATCH_LEVEL, &Raised);
    ExAcquireSpinLockSharedAtDpcLevel(&RwLock);
    ConvertInVain(BIASED + READER);
    ExReleaseSpinLockSharedFromDpcLevel(&RwLock);
    KeLowerIrql(Raised);
    EndHelper(&Other);
    OldIrql = ExAcquireSpinLockShared(&RwLock);
    StartHelper(&Other, 1, TRUE);
    AwaitWord(WAITER, WAITER);
    ConvertInVain(BIASED + WAITER);
    ExReleaseSpinLockShared(&RwLock, OldIrql);
    AwaitCount(&Other.Held, 1);
    EndHelper(&Other);
}

/* What a writer does that comes while a reader converts, and finds no reader that is not counted. */
static void *EndBiasUnderConvert(void *Context)
{
    ULONG volatile *Stop = Context;

    while (__atomic_load_n(Stop, __ATOMIC_ACQUIRE) == 0) {
        if (Word() == BIASED + READER + WAITER) {
            __atomic_fetch_add(&RwLock, WAITER, __ATOMIC_RELAXED);
            __atomic_fetch_and(&RwLock, ~BIASED, __ATOMIC_RELEASE);
            while ((Word() & (OWNED | READER)) != 0) {
                sched_yield();
            }
            __atomic_fetch_sub(&RwLock, WAITER, __ATOMIC_RELEASE);
        }
        sched_yield();
    }
    return NULL;
}

static void a_convert_owns_though_a_writer_has_ended_the_bias(void **State)
{
    ULONG volatile Stop = 0;
    pthread_t Writer = StartThread(EndBiasUnderConvert, (void *)&Stop);

    (void)State;
    for (ULONG Round = 0; Round < CONVERTS; Round += 1) {
        LONG Free = 0;
        KIRQL OldIrql;

        __atomic_compare_exchange_n(&RwLock, &Free, BIASED, FALSE, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
        ExAcquireSpinLockSharedAtDpcLevel(&RwLock);
        if (ExTryConvertSharedSpinLockExclusive(&RwLock)) {
            LONG After = Word();

            __atomic_store_n(&Stop, (After & OWNED) == 0, __ATOMIC_RELEASE);
            ExReleaseSpinLockExclusive(&RwLock, OldIrql);
            assert_true((After & OWNED) != 0);
        } else {
            ExReleaseSpinLockShared(&RwLock, OldIrql);
        }
        AwaitWord(WAITER, 0);
    }
    CountOne(&Stop);
    JoinThread(Writer);
}

static VOID BugCheckAsReader(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    (VOID) ExAcquireSpinLockShared(&RwLock);
    KeBugCheck(MANUALLY_INITIATED_CRASH);
}

static VOID ReleaseTwice(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    ReadOften(&RwLock, 1);
    ExReleaseSpinLockShared(&RwLock, KeRaiseIrqlToDpcLevel());
}

static void a_bug_check_releases_it(void **State)
{
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    assert_true(KprcbCatchBugCheck(BugCheckAsReader, NULL, &BugCheck));
    assert_null(SharedLock(0));
    assert_int_equal(Word(), BIASED);
    assert_true(KprcbCatchBugCheck(ReleaseTwice, NULL, &BugCheck));
    assert_int_equal(BugCheck.Code, SPIN_LOCK_NOT_OWNED);
    assert_int_equal(Word(), BIASED);
}

static void it_outlasts_the_machine(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < 2; Round += 1) {
        StopMachine();
        RwLock = BIASED;
        StartMachine(3, KPRCB_NO_MEMBARRIER);
        if (Round == 0) {
            ReadOften(&RwLock, ENOUGH);
        }
        ExReleaseSpinLockExclusive(&RwLock, ExAcquireSpinLockExclusive(&RwLock));
        assert_int_equal(Word(), 0);
        ReadOften(&RwLock, ENOUGH);
        assert_int_equal(Word(), 0);
    }
}

/* --- the race --- */

static ULONG volatile Inside, Done;

/* Lines that both write: the reader's store to SharedLock waits behind these in the CPU's store buffer. */
static struct {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile Word;
} Lines[LINES];

static void WriteLines(ULONG Value)
{
    for (ULONG Line = 0; Line < LINES; Line += 1) {
        __atomic_store_n(&Lines[Line].Word, Value, __ATOMIC_RELAXED);
    }
}

static void *RacingReader(void *Context)
{
    (void)Context;
    Check(KprcbAttachThread(1) == STATUS_SUCCESS);
    while (__atomic_load_n(&Done, __ATOMIC_RELAXED) == 0) {
        KIRQL OldIrql;

        WriteLines(1);
        OldIrql = ExAcquireSpinLockShared(&RwLock);
        for (ULONG Look = 0; Look < 16; Look += 1) {
            Check(__atomic_load_n(&Inside, __ATOMIC_RELAXED) == 0);
            HalPause();
        }
        ExReleaseSpinLockShared(&RwLock, OldIrql);
    }
    Check(KprcbDetachThread() == STATUS_SUCCESS);
    return NULL;
}

/* The writer comes whenever the lock has become biased. FALSE: a reader was inside with it. */
static BOOLEAN Race(ULONG Writes)
{
    pthread_t Reader;

    KiBiasPart = 0;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Done = 0;
    WrongLine = 0;
    Reader = StartThread(RacingReader, NULL);
    for (ULONG Write = 0; Write < Writes && __atomic_load_n(&WrongLine, __ATOMIC_RELAXED) == 0; Write += 1) {
        KIRQL OldIrql;

        while ((Word() & BIASED) == 0 && __atomic_load_n(&WrongLine, __ATOMIC_RELAXED) == 0) {
            HalPause();
        }
        WriteLines(2);
        OldIrql = ExAcquireSpinLockExclusive(&RwLock);
        __atomic_store_n(&Inside, 1, __ATOMIC_RELAXED);
        for (ULONG Pause = 0; Pause < 4; Pause += 1) {
            HalPause();
        }
        __atomic_store_n(&Inside, 0, __ATOMIC_RELAXED);
        ExReleaseSpinLockExclusive(&RwLock, OldIrql);
    }
    __atomic_store_n(&Done, 1, __ATOMIC_RELAXED);
    JoinThread(Reader);
    StopMachine();
    return WrongLine == 0;
}

static void no_reader_is_inside_with_a_writer(void **State)
{
    (void)State;
    assert_true(Race(TEST_SANITIZED ? SANITIZED_WRITES : WRITES));
}

int main(void)
{
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, SetUpBiased, TearDown)
    const struct CMUnitTest Tests[] = {
        TEST(a_resident_is_not_counted),
        TEST(each_release_knows_it),
        TEST(a_writer_ends_it),
        TEST(a_lock_that_is_written_stays_unbiased_for_a_while),
        TEST(pitfall_24_a_waiting_writer_blocks_new_readers_here_too),
        TEST(pitfall_24_the_only_reader_can_convert_here_too),
        TEST(pitfall_24_no_convert_beside_a_reader_or_before_a_writer_here_too),
        TEST(a_convert_owns_though_a_writer_has_ended_the_bias),
        TEST(a_bug_check_releases_it),
        TEST(it_outlasts_the_machine),
        cmocka_unit_test(no_reader_is_inside_with_a_writer),
    };

    if (!HalInitializeBarrier() || (getenv("KPRCB_EXPECT_INTRUDER") != NULL && HalInitializeProcessors() < 2)) {
        return 77;
    }
    if (getenv("KPRCB_EXPECT_INTRUDER") != NULL) {
        _exit(Race(EXPECTED_WRITES) ? 1 : 0);
    }
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
