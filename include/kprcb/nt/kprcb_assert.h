/*
 * kprcb_assert.h - assertions, PAGED_CODE and fail fast (WDK: wdm.h, ntddk.h).
 *
 * DBG chooses, as in the WDK: 1 checks, 0 compiles the conditions away, but for NT_VERIFY, RTL_VERIFY and
 * NT_FRE_ASSERT. If the driver's build does not define DBG, it is 0 with NDEBUG and 1 without. Checks are expressions
 * and yield TRUE or FALSE; with DBG 0 those that vanish yield nothing.
 *
 * A failed check does what an unhandled assertion does in NT: bug check KMODE_EXCEPTION_NOT_HANDLED (0x1E) with
 * STATUS_ASSERTION_FAILURE, the address, and, unlike NT, the address of the condition's text. A test catches it with
 * KprcbCatchBugCheck. To do something else, define KPRCB_ASSERTION_FAILED(Text), an expression of type BOOLEAN, before
 * this header:
 *
 *     #define KPRCB_ASSERTION_FAILED(Text) (__builtin_trap(), FALSE)
 *
 * Test: tests/nt/test_assert.c.
 */
#ifndef KPRCB_NT_ASSERT_H
#define KPRCB_NT_ASSERT_H

#include <kprcb/bugcheck.h>
#include <kprcb/irql.h>
#include <kprcb/nt/ntstatus.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef DBG
#ifdef NDEBUG
#define DBG 0
#else
#define DBG 1
#endif
#endif

#ifndef KPRCB_ASSERTION_FAILED
FORCEINLINE BOOLEAN KprcbAssertionFailed(const char *Text)
{
    KeBugCheckEx(KMODE_EXCEPTION_NOT_HANDLED, (ULONG_PTR)STATUS_ASSERTION_FAILURE,
                 (ULONG_PTR)__builtin_return_address(0), (ULONG_PTR)Text, 0);
    return FALSE;
}
#define KPRCB_ASSERTION_FAILED(Text) KprcbAssertionFailed(Text)
#endif

/* A condition that holds. A function, so that a check may stand as a statement without a warning. */
FORCEINLINE BOOLEAN KprcbAssertionHolds(VOID)
{
    return TRUE;
}

FORCEINLINE BOOLEAN KprcbIsTrue(BOOLEAN Condition)
{
    return Condition;
}

#define KPRCB_CHECK(Condition, Text)                                                                                   \
    (__builtin_expect(!!(Condition), 1) ? KprcbAssertionHolds() : KPRCB_ASSERTION_FAILED(Text))
#define KPRCB_EVALUATE(Condition) KprcbIsTrue((Condition) ? TRUE : FALSE)

#define NT_FRE_ASSERT(Condition) KPRCB_CHECK(Condition, #Condition)
#define NT_FRE_ASSERTMSG(Text, Condition) KPRCB_CHECK(Condition, Text)

#if DBG
#define NT_ASSERT(Condition) KPRCB_CHECK(Condition, #Condition)
#define NT_ASSERTMSG(Text, Condition) KPRCB_CHECK(Condition, Text)
#define NT_VERIFY(Condition) KPRCB_CHECK(Condition, #Condition)
#define NT_VERIFYMSG(Text, Condition) KPRCB_CHECK(Condition, Text)
#define RTL_VERIFY(Condition) KPRCB_CHECK(Condition, #Condition)
#define RTL_VERIFYMSG(Text, Condition) KPRCB_CHECK(Condition, Text)
#ifndef ASSERT
#define ASSERT(Condition) KPRCB_CHECK(Condition, #Condition)
#endif
#ifndef ASSERTMSG
#define ASSERTMSG(Text, Condition) KPRCB_CHECK(Condition, Text)
#endif
#else
#define NT_ASSERT(Condition) ((VOID)0)
#define NT_ASSERTMSG(Text, Condition) ((VOID)0)
#define NT_VERIFY(Condition) KPRCB_EVALUATE(Condition)
#define NT_VERIFYMSG(Text, Condition) KPRCB_EVALUATE(Condition)
#define RTL_VERIFY(Condition) KPRCB_EVALUATE(Condition)
#define RTL_VERIFYMSG(Text, Condition) KPRCB_EVALUATE(Condition)
#ifndef ASSERT
#define ASSERT(Condition) ((VOID)0)
#endif
#ifndef ASSERTMSG
#define ASSERTMSG(Text, Condition) ((VOID)0)
#endif
#endif

/* These compare as the others do; in NT they only print, for which the library has no routine. */
#define RTL_SOFT_ASSERT(Condition) KPRCB_EVALUATE(Condition)
#define RTL_SOFT_ASSERTMSG(Text, Condition) KPRCB_EVALUATE(Condition)
#define RTL_SOFT_VERIFY(Condition) KPRCB_EVALUATE(Condition)
#define NT_ANALYSIS_ASSUME(Condition) ((VOID)0)
#define NT_ASSERT_ASSUME(Condition) NT_ASSERT(Condition)
#define NT_ASSERT_ACTION(Condition) NT_ASSERT(Condition)
#define NT_ASSERT_NOASSUME(Condition) NT_ASSERT(Condition)
#define ASSERT_ALWAYS(Condition) NT_FRE_ASSERT(Condition)

/* PAGED_CODE (WDK: same): the caller must be at or below APC_LEVEL. */
#define PAGED_ASSERT(Condition) NT_ASSERT(Condition)
#define PAGED_CODE() PAGED_ASSERT(KeGetCurrentIrql() <= APC_LEVEL)
#define PAGED_CODE_LOCKED() ((VOID)0)

/* The library prints nothing for a driver: KdPrint and its kin, with their arguments, compile to nothing. */
#define KdPrint(Arguments) ((VOID)0)
#define KdPrintEx(Arguments) ((VOID)0)
#define vKdPrintEx(Arguments) ((VOID)0)
#define KdBreakPoint() ((VOID)0)

/* --- Fail fast: bug check KERNEL_SECURITY_CHECK_FAILURE (0x139), the code first --- */

#define FAST_FAIL_LEGACY_GS_VIOLATION 0
#define FAST_FAIL_VTGUARD_CHECK_FAILURE 1
#define FAST_FAIL_STACK_COOKIE_CHECK_FAILURE 2
#define FAST_FAIL_CORRUPT_LIST_ENTRY 3
#define FAST_FAIL_INCORRECT_STACK 4
#define FAST_FAIL_INVALID_ARG 5
#define FAST_FAIL_GS_COOKIE_INIT 6
#define FAST_FAIL_FATAL_APP_EXIT 7
#define FAST_FAIL_RANGE_CHECK_FAILURE 8
#define FAST_FAIL_UNSAFE_REGISTRY_ACCESS 9
#define FAST_FAIL_GUARD_ICALL_CHECK_FAILURE 10
#define FAST_FAIL_GUARD_WRITE_CHECK_FAILURE 11
#define FAST_FAIL_INVALID_FIBER_SWITCH 12
#define FAST_FAIL_INVALID_SET_OF_CONTEXT 13
#define FAST_FAIL_INVALID_REFERENCE_COUNT 14
#define FAST_FAIL_INVALID_JUMP_BUFFER 18
#define FAST_FAIL_MRDATA_MODIFIED 19
#define FAST_FAIL_CERTIFICATION_FAILURE 20
#define FAST_FAIL_INVALID_EXCEPTION_CHAIN 21
#define FAST_FAIL_CRYPTO_LIBRARY 22
#define FAST_FAIL_INVALID_CALL_IN_DLL_CALLOUT 23
#define FAST_FAIL_INVALID_IMAGE_BASE 24
#define FAST_FAIL_INVALID_FAST_FAIL_CODE 0xFFFFFFFF

FORCEINLINE DECLSPEC_NORETURN VOID KprcbFailFast(ULONG Code)
{
    KeBugCheckEx(KERNEL_SECURITY_CHECK_FAILURE, Code, 0, 0, 0);
}

/*
 * RtlFailFast (WDK: same). Any IRQL. The macro __fastfail stands before clang's intrinsic, whose trap is Windows'
 * own.
 */
#define RtlFailFast(Code) KprcbFailFast(Code)
#define __fastfail(Code) KprcbFailFast(Code)

#ifdef __cplusplus
}
#endif

#endif
