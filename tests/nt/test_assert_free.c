/*
 * test_assert_free.c - kprcb_assert.h with DBG 0 and a hook of the program's own: what vanishes, what stays.
 */
static int Failures;

static unsigned char CountFailure(void)
{
    Failures++;
    return 0;
}

#undef DBG
#define DBG 0
#define KPRCB_ASSERTION_FAILED(Text) ((void)(Text), CountFailure())
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

/* The names in the condition need not exist on a free build. */
static void AssertionsVanish(void **State)
{
    (void)State;
    ASSERT(NoSuchVariable == 1);
    NT_ASSERT(NoSuchVariable == 1);
    ASSERTMSG("text", NoSuchVariable == 1);
    assert_int_equal(Failures, 0);
}

static void VerifyStays(void **State)
{
    (void)State;
    Evaluations = 0;
    NT_VERIFY(Evaluate(0));
    assert_int_equal(NT_VERIFY(Evaluate(2)), TRUE);
    assert_int_equal(RTL_VERIFY(Evaluate(0)), FALSE);
    assert_int_equal(Evaluations, 3);
    assert_int_equal(Failures, 0);
}

static void FreAssertCallsTheHook(void **State)
{
    (void)State;
    Failures = 0;
    assert_int_equal(NT_FRE_ASSERT(Evaluate(1)), TRUE);
    assert_int_equal(Failures, 0);
    assert_int_equal(NT_FRE_ASSERT(Evaluate(0)), FALSE);
    assert_int_equal(Failures, 1);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(AssertionsVanish),
        cmocka_unit_test(VerifyStays),
        cmocka_unit_test(FreAssertCallsTheHook),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
