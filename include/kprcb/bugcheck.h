/*
 * bugcheck.h - KeBugCheck, its codes, and catching one in a test.
 *
 * A bug check that nobody catches writes a report to stderr (code, its name, the four parameters, processor, IRQL,
 * thread, locks held, stack) and calls abort().
 */
#ifndef KPRCB_BUGCHECK_H
#define KPRCB_BUGCHECK_H

#include <kprcb/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INVALID_SOFTWARE_INTERRUPT 0x00000007
#define IRQL_NOT_DISPATCH_LEVEL 0x00000008
#define IRQL_NOT_GREATER_OR_EQUAL 0x00000009
#define IRQL_NOT_LESS_OR_EQUAL 0x0000000A
#define SPIN_LOCK_ALREADY_OWNED 0x0000000F
#define SPIN_LOCK_NOT_OWNED 0x00000010
#define KERNEL_APC_PENDING_DURING_EXIT 0x00000020
#define KMODE_EXCEPTION_NOT_HANDLED 0x0000001E
#define PHASE0_INITIALIZATION_FAILED 0x00000031
#define SPIN_LOCK_INIT_FAILURE 0x00000081
#define ATTEMPTED_SWITCH_FROM_DPC 0x000000B8
#define TIMER_OR_DPC_INVALID 0x000000C7
#define IRQL_UNEXPECTED_VALUE 0x000000C8
#define MANUALLY_INITIATED_CRASH 0x000000E2
#define DPC_WATCHDOG_VIOLATION 0x00000133
#define KERNEL_SECURITY_CHECK_FAILURE 0x00000139

typedef struct _KPRCB_BUGCHECK {
    ULONG Code;
    ULONG_PTR Parameter[4];
} KPRCB_BUGCHECK;

/*
 * KeBugCheckEx (WDK: same). Does not return to its caller: goes to the innermost KprcbCatchBugCheck of this thread.
 * On a thread without one, what it runs for the machine (a DPC, an IPI worker) is dropped, and the bug check goes to
 * the catcher entered last on any thread. Without a catcher, or anything to drop: reports and aborts. Any IRQL.
 */
KPRCB_API DECLSPEC_NORETURN VOID KeBugCheckEx(ULONG BugCheckCode, ULONG_PTR BugCheckParameter1,
                                              ULONG_PTR BugCheckParameter2, ULONG_PTR BugCheckParameter3,
                                              ULONG_PTR BugCheckParameter4);

/* KeBugCheck (WDK: same). KeBugCheckEx with four zeros. */
KPRCB_API DECLSPEC_NORETURN VOID KeBugCheck(ULONG BugCheckCode);

/*
 * KprcbCatchBugCheck: runs Routine(Context). FALSE: it returned. TRUE: it bug checked, or a thread without a catcher
 * did while it ran; *Result (may be NULL) has the code and parameters. Then the caller's IRQL is what it was, the
 * locks that the unwound thread had taken since are released and named on stderr, and its processor is let go.
 *
 * Routine is left by longjmp: what it allocated stays allocated. A bug check of another thread ends Routine when
 * Routine waits or spins in the library, or when it returns. IRQL < DISPATCH_LEVEL. Calls nest.
 */
KPRCB_API BOOLEAN KprcbCatchBugCheck(VOID (*Routine)(PVOID), PVOID Context, KPRCB_BUGCHECK *Result);

/* KprcbBugCheckName: "SPIN_LOCK_NOT_OWNED" for 0x10; NULL for a code that the library does not know. Any IRQL. */
KPRCB_API const char *KprcbBugCheckName(ULONG Code);

/*
 * KprcbSetHangReport: a spin or a wait of the library that makes no progress for Milliseconds writes who waits for
 * what and who holds it to stderr, and again each time the period doubles. 0: never. The default is 10,000, or what
 * the environment variable KPRCB_HANG_REPORT says. Any IRQL.
 */
KPRCB_API VOID KprcbSetHangReport(ULONG Milliseconds);

#ifdef __cplusplus
}
#endif

#endif
