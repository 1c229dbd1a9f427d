/*
 * processor.h - the current processor and thread, processor and group queries, affinity, barriers and stalls.
 */
#ifndef KPRCB_PROCESSOR_H
#define KPRCB_PROCESSOR_H

#include <kprcb/irql.h>

#ifdef __cplusplus
extern "C" {
#endif

/* KprcbEnterMachine: attaches the calling thread, starting the machine if need be. For the inline routines below. */
KPRCB_API VOID KprcbEnterMachine(VOID);

FORCEINLINE PKPCR KprcbCurrentPcr(VOID)
{
    if (__builtin_expect(KprcbThread.Thread == NULL, 0)) {
        KprcbEnterMachine();
    }
    return KprcbThread.Pcr;
}

/*
 * KeGetPcr, KeGetCurrentPrcb (NT 3.10). The block of the processor that the caller owns, else of its home. It stays
 * the caller's only while the caller cannot move: at DISPATCH_LEVEL or above, or with an affinity of one processor.
 * Any IRQL.
 */
#define KeGetPcr() KprcbCurrentPcr()

FORCEINLINE PKPRCB KeGetCurrentPrcb(VOID)
{
    return KprcbCurrentPcr()->Prcb;
}

/*
 * KeGetCurrentThread (WDK: same). The calling thread, by one access. Any IRQL. KeGetCurrentPrcb()->CurrentThread is
 * not the same: between its two accesses the thread may move, and below DISPATCH_LEVEL several threads share a
 * processor.
 */
FORCEINLINE PKTHREAD KeGetCurrentThread(VOID)
{
    if (__builtin_expect(KprcbThread.Thread == NULL, 0)) {
        KprcbEnterMachine();
    }
    return KprcbThread.Thread;
}

/*
 * KeGetCurrentProcessorNumberEx (WDK: same). The system-wide index of the current processor; group and number in
 * *ProcNumber unless it is NULL. A snapshot unless the caller cannot move. Any IRQL.
 */
KPRCB_API ULONG KeGetCurrentProcessorNumberEx(PPROCESSOR_NUMBER ProcNumber);
#define KeGetCurrentProcessorIndex() KeGetCurrentProcessorNumberEx(NULL)

/*
 * KeGetCurrentProcessorNumber (WDK: same). The number within group 0; in another group some number below group 0's
 * count. Any IRQL.
 */
KPRCB_API ULONG KeGetCurrentProcessorNumber(VOID);

/* KeGetProcessorIndexFromNumber (WDK: same). The index, or INVALID_PROCESSOR_INDEX. Any IRQL. */
KPRCB_API ULONG KeGetProcessorIndexFromNumber(PPROCESSOR_NUMBER ProcNumber);

/* KeGetProcessorNumberFromIndex (WDK: same). STATUS_SUCCESS or STATUS_INVALID_PARAMETER. Any IRQL. */
KPRCB_API NTSTATUS KeGetProcessorNumberFromIndex(ULONG ProcIndex, PPROCESSOR_NUMBER ProcNumber);

/*
 * KeQueryActiveProcessorCount (WDK: same). Processors of group 0; their mask in *ActiveProcessors unless NULL. Any
 * IRQL.
 */
KPRCB_API ULONG KeQueryActiveProcessorCount(PKAFFINITY ActiveProcessors);

/* KeQueryActiveProcessorCountEx (WDK: same). Of a group, or of ALL_PROCESSOR_GROUPS; 0: no such group. Any IRQL. */
KPRCB_API ULONG KeQueryActiveProcessorCountEx(USHORT GroupNumber);

/* KeQueryActiveProcessors (WDK: same). The mask of group 0. Any IRQL. */
KPRCB_API KAFFINITY KeQueryActiveProcessors(VOID);

/* KeQueryActiveGroupCount (WDK: same). At least 1. Active counts and masks grow with KprcbAddProcessor. Any IRQL. */
KPRCB_API USHORT KeQueryActiveGroupCount(VOID);

/*
 * KeQueryMaximumProcessorCount(Ex), KeQueryMaximumGroupCount (WDK: same). With those that may still be added; constant
 * while the machine runs. Any IRQL.
 */
KPRCB_API ULONG KeQueryMaximumProcessorCount(VOID);
KPRCB_API ULONG KeQueryMaximumProcessorCountEx(USHORT GroupNumber);
KPRCB_API USHORT KeQueryMaximumGroupCount(VOID);

/* KeQueryGroupAffinity (WDK: same). The active processors of the group; 0: no such group. Any IRQL. */
KPRCB_API KAFFINITY KeQueryGroupAffinity(USHORT GroupNumber);

/* What a processor change callback is told of. */
typedef enum _KE_PROCESSOR_CHANGE_NOTIFY_STATE {
    KeProcessorAddStartNotify = 0, /* a processor is going to be added */
    KeProcessorAddCompleteNotify,  /* it is active */
    KeProcessorAddFailureNotify    /* it was not added, Status tells why */
} KE_PROCESSOR_CHANGE_NOTIFY_STATE;

typedef struct _KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT {
    KE_PROCESSOR_CHANGE_NOTIFY_STATE State;
    ULONG NtNumber; /* the system-wide index */
    NTSTATUS Status;
#if !defined(NTDDI_VERSION) || NTDDI_VERSION >= 0x06010000
    PROCESSOR_NUMBER ProcNumber;
#endif
} KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, *PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT;

/* Called at PASSIVE_LEVEL. *OperationStatus may be set to an error, by KeProcessorAddStartNotify only. */
typedef VOID PROCESSOR_CALLBACK_FUNCTION(PVOID CallbackContext, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT ChangeContext,
                                         PNTSTATUS OperationStatus);
typedef PROCESSOR_CALLBACK_FUNCTION *PPROCESSOR_CALLBACK_FUNCTION;

/* Flags of KeRegisterProcessorChangeCallback */
#define KE_PROCESSOR_CHANGE_ADD_EXISTING 1 /* tell of the processors that are there, too */

/*
 * KeRegisterProcessorChangeCallback (WDK: same). From now on the callback is told of each processor that is added: of its
 * start, and then of its completion or failure. With an error in *OperationStatus it is not added; those that were told
 * of the start, in the order of registration, are told of the failure, but for the one that set the error. Processors
 * are added one at a time, in the adder's thread.
 * With KE_PROCESSOR_CHANGE_ADD_EXISTING it is told, before the call returns, of the start of every active processor and
 * then of the completion of each; an error ends that by a failure for each one before, and there is no registration.
 * Returns a handle; NULL: no memory, such an error, no function, or unknown flags. PASSIVE_LEVEL, else a bug check.
 */
KPRCB_API PVOID KeRegisterProcessorChangeCallback(PPROCESSOR_CALLBACK_FUNCTION CallbackFunction, PVOID CallbackContext,
                                                  ULONG Flags);

/*
 * KeDeregisterProcessorChangeCallback (WDK: same). When it returns the callback does not run and is never called again.
 * Callbacks may deregister each other, and themselves: then only the call that runs is still to return. KprcbStop
 * deregisters all. PASSIVE_LEVEL. What is no handle is a bug check (KERNEL_SECURITY_CHECK_FAILURE).
 */
KPRCB_API VOID KeDeregisterProcessorChangeCallback(PVOID CallbackHandle);

/*
 * KeSetSystemAffinityThreadEx (WDK: same). Group 0. Returns the previous system affinity, 0 if the thread had its
 * user affinity. A mask without an active processor changes nothing and returns 0. At or below APC_LEVEL the thread
 * has owned a processor of the mask when the call returns; at DISPATCH_LEVEL it moves when it lowers. IRQL <=
 * DISPATCH_LEVEL.
 */
KPRCB_API KAFFINITY KeSetSystemAffinityThreadEx(KAFFINITY Affinity);

/* KeRevertToUserAffinityThreadEx (WDK: same). Takes what the matching set call returned. IRQL <= DISPATCH_LEVEL. */
KPRCB_API VOID KeRevertToUserAffinityThreadEx(KAFFINITY Affinity);

/*
 * KeSetSystemAffinityThread, KeRevertToUserAffinityThread (WDK: same). The forms that do not nest. IRQL <=
 * DISPATCH_LEVEL.
 */
KPRCB_API VOID KeSetSystemAffinityThread(KAFFINITY Affinity);
KPRCB_API VOID KeRevertToUserAffinityThread(VOID);

/*
 * KeSetSystemGroupAffinityThread (WDK: same). Inactive processors are dropped from the mask. A group out of range,
 * non-zero Reserved members or a mask with nothing active: no change. *PreviousAffinity (may be NULL) gets the
 * previous system affinity, zeros if it was the user affinity or nothing changed. Moves as
 * KeSetSystemAffinityThreadEx does. IRQL <= DISPATCH_LEVEL.
 */
KPRCB_API VOID KeSetSystemGroupAffinityThread(PGROUP_AFFINITY Affinity, PGROUP_AFFINITY PreviousAffinity);

/*
 * KeRevertToUserGroupAffinityThread (WDK: same). Zeros restore the user affinity as it is now, anything else that
 * system affinity. IRQL <= DISPATCH_LEVEL.
 */
KPRCB_API VOID KeRevertToUserGroupAffinityThread(PGROUP_AFFINITY PreviousAffinity);

/*
 * KprcbYieldProcessor, behind YieldProcessor (WDK: YieldProcessor): one step of a spin loop. An owner serves its
 * IPIs; when processors outnumber CPUs it gives its CPU away now and then. Any IRQL.
 */
KPRCB_API VOID KprcbYieldProcessor(VOID);
#define YieldProcessor() KprcbYieldProcessor()

/*
 * KeStallExecutionProcessor (WDK: same). Busy-waits at least MicroSeconds without letting go of the processor,
 * serving its IPIs. Any IRQL.
 */
KPRCB_API VOID KeStallExecutionProcessor(ULONG MicroSeconds);

/* KeMemoryBarrier (WDK: same). Loads and stores do not cross it. Any IRQL. */
FORCEINLINE VOID KeMemoryBarrier(VOID)
{
#ifdef __SANITIZE_THREAD__
    /* gcc's ThreadSanitizer does not know fences. */
    int Word = 0;

    __atomic_fetch_add(&Word, 1, __ATOMIC_SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/*
 * KeInvalidateRangeAllCaches (WDK: same; Vista). Writes the cache lines of Length bytes from BaseAddress back and drops
 * them from the caches of all processors, line by line with clflush, or clflushopt where KPRCB.FeatureBits has it,
 * CFlushSize bytes a step; on aarch64 with dc civac. It is done when the call returns. The first and the last line may
 * reach beyond the range; contents stay. TRUE: done; so is a Length of zero, at once. FALSE: the processor has no such
 * instruction, or the machine is of a version before Vista, which knows none: nothing was dropped, and the call was a
 * full memory barrier. The range must be mapped: touching what is not faults, as on NT. IRQL <= DISPATCH_LEVEL; above:
 * bug check IRQL_NOT_LESS_OR_EQUAL.
 */
KPRCB_API BOOLEAN KeInvalidateRangeAllCaches(PVOID BaseAddress, ULONG Length);

/* KeGetRecommendedSharedDataAlignment (WDK: same). Bytes. Any IRQL. */
KPRCB_API ULONG KeGetRecommendedSharedDataAlignment(VOID);

#ifdef __cplusplus
}
#endif

#endif
