/*
 * test_assert.c - kprcb_assert.h on a checked build: values of assertions, what a failure does, PAGED_CODE, fail fast.
 */
#undef NDEBUG
#undef DBG
#define DBG 1
#include <wdm.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static int Evaluations;

static int Evaluate(int Value)
{
    Evaluations++;
    return Value;
}

static void AssertionsYieldTrueAndEvaluateOnce(void **State)
{
    (void)State;
    Evaluations = 0;
    assert_int_equal(NT_ASSERT(Evaluate(4)), TRUE);
    assert_int_equal(NT_VERIFY(Evaluate(4)), TRUE);
    assert_int_equal(ASSERT(Evaluate(4)), TRUE);
    assert_int_equal(NT_ASSERTMSG("text", Evaluate(4)), TRUE);
    assert_int_equal(NT_FRE_ASSERT(Evaluate(4)), TRUE);
    assert_int_equal(RTL_VERIFY(Evaluate(4)), TRUE);
    assert_int_equal(RTL_SOFT_ASSERT(Evaluate(0)), FALSE);
    ASSERTMSG("text", Evaluate(4));
    assert_int_equal(Evaluations, 8);
    KdPrint(("%d\n", Evaluate(1)));
    assert_int_equal(Evaluations, 8);
}

static VOID FailAssert(PVOID Context)
{
    ASSERT(Context == NULL);
}

static VOID FailNtAssert(PVOID Context)
{
    NT_ASSERT(Context == NULL);
}

static VOID FailVerify(PVOID Context)
{
    if (NT_VERIFY(Context == NULL)) {
        fail();
    }
}

static VOID FailPaged(PVOID Context)
{
    KIRQL OldIrql;

    (void)Context;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    PAGED_CODE();
    KeLowerIrql(OldIrql);
}

static VOID FailFast(PVOID Context)
{
    (void)Context;
    RtlFailFast(FAST_FAIL_INVALID_REFERENCE_COUNT);
}

static VOID FailFastIntrinsic(PVOID Context)
{
    (void)Context;
    __fastfail(FAST_FAIL_INVALID_ARG);
}

static void ExpectAssertion(VOID (*Routine)(PVOID), const char *Text)
{
    KPRCB_BUGCHECK BugCheck;

    assert_true(KprcbCatchBugCheck(Routine, &BugCheck, &BugCheck));
    assert_int_equal(BugCheck.Code, KMODE_EXCEPTION_NOT_HANDLED);
    assert_true(BugCheck.Parameter[0] == (ULONG_PTR)STATUS_ASSERTION_FAILURE);
    assert_string_equal((const char *)BugCheck.Parameter[2], Text);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

static void FailuresAreBugChecks(void **State)
{
    (void)State;
    ExpectAssertion(FailAssert, "Context == NULL");
    ExpectAssertion(FailNtAssert, "Context == NULL");
    ExpectAssertion(FailVerify, "Context == NULL");
}

static void PagedCode(void **State)
{
    KPRCB_BUGCHECK BugCheck;
    KIRQL OldIrql;

    (void)State;
    PAGED_CODE();
    KeRaiseIrql(APC_LEVEL, &OldIrql);
    PAGED_CODE();
    KeLowerIrql(OldIrql);
    assert_true(KprcbCatchBugCheck(FailPaged, NULL, &BugCheck));
    assert_int_equal(BugCheck.Code, KMODE_EXCEPTION_NOT_HANDLED);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

static void FailFasts(void **State)
{
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    assert_true(KprcbCatchBugCheck(FailFast, NULL, &BugCheck));
    assert_int_equal(BugCheck.Code, KERNEL_SECURITY_CHECK_FAILURE);
    assert_int_equal(BugCheck.Parameter[0], FAST_FAIL_INVALID_REFERENCE_COUNT);
    assert_true(KprcbCatchBugCheck(FailFastIntrinsic, NULL, &BugCheck));
    assert_int_equal(BugCheck.Code, KERNEL_SECURITY_CHECK_FAILURE);
    assert_int_equal(BugCheck.Parameter[0], FAST_FAIL_INVALID_ARG);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(AssertionsYieldTrueAndEvaluateOnce),
        cmocka_unit_test(FailuresAreBugChecks),
        cmocka_unit_test(PagedCode),
        cmocka_unit_test(FailFasts),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
