/*
 * dpc.h - KDPC: deferred procedure calls, ordinary and threaded, and calls to every processor.
 *
 * A DPC waits in the queue of one processor and runs there at DISPATCH_LEVEL, on whatever thread owns the processor:
 * on the way down to below DISPATCH_LEVEL, or on the idle thread if nobody owns it. It leaves the queue before its
 * routine starts, so the routine may queue it again, free it, or find it running on another processor.
 *
 * A threaded DPC runs at PASSIVE_LEVEL in the DPC thread of its processor, unless threaded DPCs are switched off, or the
 * version has none (before 5.2), or the host refuses the thread: then it runs as an ordinary one. Its routine must
 * therefore be right at both levels. It may not wait, not even at PASSIVE_LEVEL: where the library waits, that is bug
 * check ATTEMPTED_SWITCH_FROM_DPC. Of the locks it uses the ForDpc forms. Ordinary DPCs of its processor interrupt it.
 *
 * A routine that returns at another level than it was called at: bug check IRQL_UNEXPECTED_VALUE; on a free build the
 * level is put right.
 */
#ifndef KPRCB_DPC_H
#define KPRCB_DPC_H

#include <kprcb/irql.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum _KDPC_IMPORTANCE { LowImportance, MediumImportance, HighImportance, MediumHighImportance } KDPC_IMPORTANCE;

/* KDPC.Type */
#define DpcObject 19
#define ThreadedDpcObject 24

/*
 * KeInitializeDpc (WDK: same). Not queued, medium importance, no target: the processor that inserts. Any IRQL. Never
 * on a queued DPC.
 */
KPRCB_API VOID KeInitializeDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext);

/*
 * KeInitializeThreadedDpc (WDK: same; version 5.2). The same for a threaded DPC. Any IRQL.
 */
KPRCB_API VOID KeInitializeThreadedDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext);

/*
 * KprcbSetThreadedDpcs: switches threaded DPCs on or off on all processors (NT: ThreadDpcEnable in the registry), for
 * the inserts that follow; those that are queued run as they were queued. They are on from the start, but for the flag
 * KPRCB_NO_THREADED_DPCS. IRQL < DISPATCH_LEVEL.
 *   STATUS_SUCCESS
 *   STATUS_NOT_SUPPORTED           the machine's version has no threaded DPCs
 *   STATUS_INVALID_DEVICE_STATE    the caller's IRQL is DISPATCH_LEVEL or above
 */
KPRCB_API NTSTATUS KprcbSetThreadedDpcs(BOOLEAN Enable);

/*
 * KeSetImportanceDpc (WDK: same). For the inserts that follow. High: to the head, run now. MediumHigh: to the tail,
 * run now, on a remote target too. Medium: to the tail, run now if local. Low: to the tail, run when the depth of the
 * queue exceeds MaximumDpcQueueDepth, the request rate is under MinimumDpcRate, or by the next clock tick. A threaded
 * one is always run now; high goes to the head. Any IRQL.
 */
KPRCB_API VOID KeSetImportanceDpc(PRKDPC Dpc, KDPC_IMPORTANCE Importance);

/*
 * KeSetTargetProcessorDpc (WDK: same). For the inserts that follow: processor Number of group 0. A number without an
 * active processor is ignored. Any IRQL.
 */
KPRCB_API VOID KeSetTargetProcessorDpc(PRKDPC Dpc, CCHAR Number);

/*
 * KeSetTargetProcessorDpcEx (WDK: same). Any IRQL. STATUS_SUCCESS, or STATUS_INVALID_PARAMETER: no such processor, or
 * Reserved is not zero; then the target stays.
 */
KPRCB_API NTSTATUS KeSetTargetProcessorDpcEx(PRKDPC Dpc, PPROCESSOR_NUMBER ProcNumber);

/*
 * KeInsertQueueDpc (WDK: same). TRUE: queued now. FALSE: it was queued already and nothing changed, its arguments
 * included; the run that is due sees all that the caller has stored before. Below DISPATCH_LEVEL a DPC for the current
 * processor has run when the call returns, unless of low importance or threaded. Any IRQL.
 */
KPRCB_API BOOLEAN KeInsertQueueDpc(PRKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2);

/*
 * KeRemoveQueueDpc (WDK: same). TRUE: it was queued, is so no longer, and its routine will not run for that insert.
 * FALSE: it was not queued; its routine may be running. To take a DPC from another processor that runs its DPCs at that
 * time costs a barrier over all threads. Any IRQL.
 */
KPRCB_API BOOLEAN KeRemoveQueueDpc(PRKDPC Dpc);

/*
 * KeFlushQueuedDpcs (WDK: same). Returns when every DPC queued on any processor before the call has run to its end,
 * threaded ones too. Later inserts are not waited for. PASSIVE_LEVEL; elsewhere bug check IRQL_NOT_LESS_OR_EQUAL. Not in
 * a threaded DPC.
 */
KPRCB_API VOID KeFlushQueuedDpcs(VOID);

/*
 * KeIsExecutingDpc (Windows 10, version 1803). Non-zero inside a DPC; from 6.0 on inside a threaded one too. To 5.1 it
 * is the address on the stack at which DPCs were entered, 32 bits of it, from 5.2 on 1. Any IRQL; below DISPATCH_LEVEL
 * it is zero, but for threaded DPCs.
 */
KPRCB_API LOGICAL KeIsExecutingDpc(VOID);

/*
 * Ticks of CPU time. A limit of 0: there is none, and the count beside it is 0. KeQueryDpcWatchdogInformation tells more.
 */
typedef struct _KDPC_WATCHDOG_INFORMATION {
    ULONG DpcTimeLimit;     /* for one DPC */
    ULONG DpcTimeCount;     /* what is left of that for the DPC that runs */
    ULONG DpcWatchdogLimit; /* for a processor that stays at DISPATCH_LEVEL or above */
    ULONG DpcWatchdogCount; /* what is left of that */
    ULONG Reserved;
} KDPC_WATCHDOG_INFORMATION, *PKDPC_WATCHDOG_INFORMATION;

KPRCB_STATIC_ASSERT(sizeof(KDPC_WATCHDOG_INFORMATION) == 20, "KDPC_WATCHDOG_INFORMATION as the WDK lays it out");

/*
 * KeQueryDpcWatchdogInformation (WDK: same). The limits of the DPC watchdog, and how far the current processor is from
 * them; units: clock ticks (KPRCB_CONFIG.TimeIncrement) of CPU time of the calling thread, counted from the first look
 * of the clock, or the first call, since the DPC began or the level was raised. A limit exceeded is bug check
 * DPC_WATCHDOG_VIOLATION (0, ticks, limit) or (1, limit), on the owner's next poll of the library, or delivered to a
 * catcher; machines before 6.2 write a line to stderr instead, those before 6.0 have no limits. KPRCB_CONFIG.DpcTimeout
 * and DpcWatchdogPeriod set them. A threaded DPC at PASSIVE_LEVEL has none. IRQL >= DISPATCH_LEVEL. STATUS_SUCCESS;
 * STATUS_UNSUCCESSFUL below DISPATCH_LEVEL, and then nothing is stored.
 */
KPRCB_API NTSTATUS KeQueryDpcWatchdogInformation(PKDPC_WATCHDOG_INFORMATION WatchdogInformation);

/*
 * KeShouldYieldProcessor (WDK: same). Non-zero: a thread should go below DISPATCH_LEVEL soon, a DPC should leave the
 * rest of its work to a thread. That is so while DPCs or IPIs wait for the current processor, another thread waits for
 * it, or more than half of a limit of the DPC watchdog is used up. It changes nothing. IRQL >= DISPATCH_LEVEL; below it
 * bug check IRQL_NOT_GREATER_OR_EQUAL, or zero on a free build.
 */
KPRCB_API LOGICAL KeShouldYieldProcessor(VOID);

/*
 * KprcbSetDpcHistory: TRUE: from now on each processor records for each DPC routine how often and how long it ran, which
 * costs two time stamps a DPC; FALSE: no longer, but what there is stays. At the start of a machine it is off, unless the
 * environment has KPRCB_DPC_HISTORY=1. IRQL < DISPATCH_LEVEL. STATUS_SUCCESS; STATUS_INSUFFICIENT_RESOURCES: no memory
 * for the tables (112 KiB a processor), nothing has changed; STATUS_INVALID_DEVICE_STATE: at DISPATCH_LEVEL or above.
 */
KPRCB_API NTSTATUS KprcbSetDpcHistory(BOOLEAN Enable);

typedef struct _KPRCB_DPC_RUNTIME {
    PKDEFERRED_ROUTINE Routine;
    ULONGLONG Count;
    ULONGLONG TotalTime;   /* ns, from the call of the routine to its return; not CPU time */
    ULONGLONG LongestTime; /* ns, of one run */
} KPRCB_DPC_RUNTIME;

/*
 * KprcbQueryDpcHistory: what the processor has recorded, in no order: up to Capacity entries to Entries, and how many
 * there are to *Count; none if it never was on. A DPC counts as it ends, threaded or not. After 768 routines a processor
 * forgets those that have not run lately or took less than the mean. Any IRQL. STATUS_SUCCESS; STATUS_BUFFER_TOO_SMALL: there are more than
 * Capacity; STATUS_INVALID_PARAMETER: no such processor, *Count is 0.
 */
KPRCB_API NTSTATUS KprcbQueryDpcHistory(ULONG ProcessorIndex, KPRCB_DPC_RUNTIME *Entries, ULONG Capacity, ULONG *Count);

/*
 * KiDispatchInterrupt (internal to NT; NT 3.50). The DISPATCH_LEVEL software interrupt: runs the queued DPCs of the
 * current processor. IRQL DISPATCH_LEVEL; elsewhere bug check IRQL_NOT_GREATER_OR_EQUAL. Inside a DPC it does
 * nothing.
 */
KPRCB_API VOID KiDispatchInterrupt(VOID);

/*
 * KeGenericCallDpc (no WDK page; NT 5.1). Runs Routine as a DPC on every processor, on
 * the caller's too, and returns when each has called KeSignalCallDpcDone. One call at a time; processors that are added
 * meanwhile have no part in it. IRQL <= APC_LEVEL, elsewhere bug check IRQL_NOT_LESS_OR_EQUAL; not in a threaded DPC.
 */
KPRCB_API VOID KeGenericCallDpc(PKDEFERRED_ROUTINE Routine, PVOID Context);

/*
 * KeSignalCallDpcDone (the same). Called once by each routine of a KeGenericCallDpc as its last act, with its
 * SystemArgument1. A routine that returns without it, a second time, or another argument: bug check
 * TIMER_OR_DPC_INVALID; on a free build the caller waits for ever, is let go too early, or memory is damaged.
 * DISPATCH_LEVEL.
 */
KPRCB_API VOID KeSignalCallDpcDone(PVOID SystemArgument1);

/*
 * KeSignalCallDpcSynchronize (the same). Waits until all routines of a KeGenericCallDpc have called it, with their
 * SystemArgument2. May be called again, by all as often. TRUE for one of them in each round, zero for the others.
 * Elsewhere, or after KeSignalCallDpcDone: bug check TIMER_OR_DPC_INVALID. DISPATCH_LEVEL.
 */
KPRCB_API LOGICAL KeSignalCallDpcSynchronize(PVOID SystemArgument2);

#ifdef __cplusplus
}
#endif

#endif
