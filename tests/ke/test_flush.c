/*
 * test_flush.c - KeInvalidateRangeAllCaches: which lines, by which instruction, and what is left of their contents.
 */
#include "support/child.h"
#include "support/support.h"

#include "flush.h"

/* --- which lines --- */

static ULONG Calls;
static ULONG_PTR CalledFirst;
static SIZE_T CalledLines;
static ULONG CalledSize;

static VOID CountFlush(ULONG_PTR First, SIZE_T Lines, ULONG LineSize)
{
    Calls += 1;
    CalledFirst = First;
    CalledLines = Lines;
    CalledSize = LineSize;
}

static void AssertRange(ULONG_PTR Base, ULONG Length, ULONG LineSize, ULONG_PTR First, SIZE_T Lines)
{
    Calls = 0;
    KiFlushRange(CountFlush, (PVOID)Base, Length, LineSize);
    assert_int_equal(Calls, 1);
    assert_int_equal(CalledFirst, First);
    assert_int_equal(CalledLines, Lines);
    assert_int_equal(CalledSize, LineSize);
}

static void test_every_line_of_a_range_is_flushed_once(void **State)
{
    (void)State;
    AssertRange(0x1000, 1, 64, 0x1000, 1);
    AssertRange(0x1000, 64, 64, 0x1000, 1);
    AssertRange(0x1000, 65, 64, 0x1000, 2);
    AssertRange(0x103F, 1, 64, 0x1000, 1);
    AssertRange(0x103F, 2, 64, 0x1000, 2);
    AssertRange(0x1001, 128, 64, 0x1000, 3);
    AssertRange(0x1010, 4096, 32, 0x1000, 129);
    AssertRange(0x1100, 1000, 256, 0x1100, 4);
    AssertRange(0x1000, 0xFFFFFFFF, 64, 0x1000, 0x4000000);
    AssertRange(0x103F, 0xFFFFFFFF, 64, 0x1000, 0x4000001);
    /* Each range against the lines of its bytes. */
    for (ULONG_PTR Base = 0x1000; Base < 0x1000 + 130; Base += 1) {
        for (ULONG Length = 1; Length < 200; Length += 1) {
            ULONG_PTR First = Base / 64;
            ULONG_PTR Last = (Base + Length - 1) / 64;

            AssertRange(Base, Length, 64, First * 64, Last - First + 1);
        }
    }
}

static void test_no_length_is_no_flush(void **State)
{
    (void)State;
    Calls = 0;
    KiFlushRange(CountFlush, (PVOID)0x1001, 0, 64);
    KiFlushRange(CountFlush, NULL, 0, 64);
    assert_int_equal(Calls, 0);
}

/* --- by which instruction --- */

static HAL_FLUSH_LINES *Choose(CHAR CpuID, ULONG CFlushSize, ULONGLONG FeatureBits)
{
    KPRCB Prcb = {0};

    Prcb.CpuID = CpuID;
    Prcb.CFlushSize = CFlushSize;
    Prcb.FeatureBits = FeatureBits;
    return KiChooseFlush(&Prcb);
}

static void test_the_instruction_is_chosen_by_the_block(void **State)
{
    (void)State;
    assert_ptr_equal(Choose(1, 64, KI_FEATURE_CLFSH), HalFlushLines);
    assert_ptr_equal(Choose(1, 64, KI_FEATURE_CLFSH | KI_FEATURE_CLFLUSHOPT), HalFlushLinesOptimized);
    assert_ptr_equal(Choose(1, 0, KI_FEATURE_CLFSH | KI_FEATURE_CLFLUSHOPT), NULL);
    assert_ptr_equal(Choose(1, 64, 0), NULL);
    assert_ptr_equal(Choose(0, 64, 0), HalFlushLines);
    assert_ptr_equal(Choose(0, 0, 0), NULL);
}

/* --- on this host --- */

static void StartAs(const char *Version)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 2, .Version = Version};

    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
}

static UCHAR Memory[8192];

static void test_contents_survive_and_the_result_is_true(void **State)
{
    static const char *const Versions[] = {"6.0-early", "6.3", "10.0", "2004"};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Versions); Index += 1) {
        BOOLEAN Can;
        KIRQL OldIrql;

        StartAs(Versions[Index]);
        Can = KiChooseFlush(KeGetCurrentPrcb()) != NULL;
        for (ULONG Length = 0; Length < sizeof(Memory) - 32; Length += 61) {
            memset(Memory, (int)Length, sizeof(Memory));
            assert_int_equal(KeInvalidateRangeAllCaches(Memory + Length % 32, Length), Can);
            for (ULONG Byte = 0; Byte < sizeof(Memory); Byte += 1) {
                assert_int_equal(Memory[Byte], (UCHAR)Length);
            }
        }
        OldIrql = KeRaiseIrqlToDpcLevel();
        assert_int_equal(KeInvalidateRangeAllCaches(Memory, sizeof(Memory)), Can);
        KeLowerIrql(OldIrql);
        assert_int_equal(KeInvalidateRangeAllCaches(NULL, 0), Can);
        StopMachine();
    }
}

static void test_clflushopt_is_for_versions_that_know_it(void **State)
{
    (void)State;
    StartAs("6.3");
    assert_ptr_not_equal(KiChooseFlush(KeGetCurrentPrcb()), HalFlushLinesOptimized);
    StopMachine();
}

static void test_a_version_before_vista_flushes_nothing(void **State)
{
    (void)State;
    StartAs("5.2-late");
    assert_false(KeInvalidateRangeAllCaches(Memory, sizeof(Memory)));
    assert_false(KeInvalidateRangeAllCaches(NULL, 0xFFFFFFFF)); /* not touched */
    StopMachine();
}

static void FlushAbove(void *Context)
{
    KIRQL OldIrql;

    KeRaiseIrql((KIRQL)(ULONG_PTR)Context, &OldIrql);
    (void)KeInvalidateRangeAllCaches(Memory, 0);
    KeLowerIrql(OldIrql);
}

static void test_above_dispatch_level_is_a_bug_check(void **State)
{
    (void)State;
    ChildSucceeds(FlushAbove, (void *)DISPATCH_LEVEL);
    ChildAborts(FlushAbove, (void *)SYNCH_LEVEL, "IRQL_NOT_LESS_OR_EQUAL");
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_every_line_of_a_range_is_flushed_once),
        cmocka_unit_test(test_no_length_is_no_flush),
        cmocka_unit_test(test_the_instruction_is_chosen_by_the_block),
        cmocka_unit_test(test_contents_survive_and_the_result_is_true),
        cmocka_unit_test(test_clflushopt_is_for_versions_that_know_it),
        cmocka_unit_test(test_a_version_before_vista_flushes_nothing),
        cmocka_unit_test(test_above_dispatch_level_is_a_bug_check),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
