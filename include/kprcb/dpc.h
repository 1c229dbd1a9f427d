/*
 * dpc.h - KDPC: deferred procedure calls.
 *
 * A DPC waits in the queue of one processor and runs there at DISPATCH_LEVEL, on whatever thread owns the processor:
 * on the way down to below DISPATCH_LEVEL, or on the idle thread if nobody owns it. It leaves the queue before its
 * routine starts, so the routine may queue it again, free it, or find it running on another processor.
 */
#ifndef KPRCB_DPC_H
#define KPRCB_DPC_H

#include <kprcb/irql.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum _KDPC_IMPORTANCE { LowImportance, MediumImportance, HighImportance, MediumHighImportance } KDPC_IMPORTANCE;

typedef VOID KDEFERRED_ROUTINE(struct _KDPC *Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2);
typedef KDEFERRED_ROUTINE *PKDEFERRED_ROUTINE;

#define DPC_NORMAL 0
#define DPC_THREADED 1

/* KDPC.Type */
#define DpcObject 19
#define ThreadedDpcObject 24

/* The list entry follows NTDDI_VERSION as in the WDK: a LIST_ENTRY before Windows 8.1. One library serves both. */
typedef struct _KDPC {
    union {
        ULONG TargetInfoAsUlong;
        struct {
            UCHAR Type;
            UCHAR Importance;
            USHORT volatile Number; /* processor index + 1; 0: the processor that inserts */
        };
    };
#if defined(NTDDI_VERSION) && NTDDI_VERSION < 0x06030000
    LIST_ENTRY DpcListEntry;
#else
    SINGLE_LIST_ENTRY DpcListEntry;
    KAFFINITY ProcessorHistory;
#endif
    PKDEFERRED_ROUTINE DeferredRoutine;
    PVOID DeferredContext;
    PVOID SystemArgument1;
    PVOID SystemArgument2;
    PVOID volatile DpcData; /* the KDPC_DATA in which it is queued, or NULL */
} KDPC, *PKDPC, *PRKDPC;

KPRCB_STATIC_ASSERT(sizeof(KDPC) == (sizeof(void *) == 8 ? 64 : 32), "KDPC as the WDK lays it out");

/*
 * KeInitializeDpc (WDK: same). Not queued, medium importance, no target: the processor that inserts. Any IRQL. Never
 * on a queued DPC.
 */
KPRCB_API VOID KeInitializeDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext);

/*
 * KeSetImportanceDpc (WDK: same). For the inserts that follow. High: to the head, run now. MediumHigh: to the tail,
 * run now, on a remote target too. Medium: to the tail, run now if local. Low: to the tail, run when the depth of the
 * queue exceeds MaximumDpcQueueDepth, the request rate is under MinimumDpcRate, or by the next clock tick. Any IRQL.
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
 * processor has run when the call returns, unless of low importance. Any IRQL.
 */
KPRCB_API BOOLEAN KeInsertQueueDpc(PRKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2);

/*
 * KeRemoveQueueDpc (WDK: same). TRUE: it was queued, is so no longer, and its routine will not run for that insert.
 * FALSE: it was not queued; its routine may be running. To take a DPC from another processor that runs its DPCs at that
 * time costs a barrier over all threads. Any IRQL.
 */
KPRCB_API BOOLEAN KeRemoveQueueDpc(PRKDPC Dpc);

/*
 * KeFlushQueuedDpcs (WDK: same). Returns when every DPC queued on any processor before the call has run to its end.
 * Later inserts are not waited for. PASSIVE_LEVEL; elsewhere bug check IRQL_NOT_LESS_OR_EQUAL.
 */
KPRCB_API VOID KeFlushQueuedDpcs(VOID);

/*
 * KeIsExecutingDpc (Windows 10, version 1803). Non-zero while the current processor runs a DPC. IRQL >= DISPATCH_LEVEL;
 * below it the answer is always zero.
 */
KPRCB_API LOGICAL KeIsExecutingDpc(VOID);

/*
 * KiDispatchInterrupt (internal to NT; NT 3.50). The DISPATCH_LEVEL software interrupt: runs the queued DPCs of the
 * current processor. IRQL DISPATCH_LEVEL; elsewhere bug check IRQL_NOT_GREATER_OR_EQUAL. Inside a DPC it does
 * nothing.
 */
KPRCB_API VOID KiDispatchInterrupt(VOID);

#ifdef __cplusplus
}
#endif

#endif
