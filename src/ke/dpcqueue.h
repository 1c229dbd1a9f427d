/* dpcqueue.h - what dpc.c needs of dpcqueue.c. */
#ifndef DPCQUEUE_H
#define DPCQUEUE_H

#include "ki.h"

/* What is left of a DPC once it is off the queue and may be gone. */
typedef struct _KI_DPC_CALL {
    PKDPC Dpc;
    PKDEFERRED_ROUTINE Routine;
    PVOID Context;
    PVOID Argument1;
    PVOID Argument2;
} KI_DPC_CALL, *PKI_DPC_CALL;

/* dpchistory.c: runs a DPC while DpcRuntimeHistoryHashTable is not NULL, and records how long that took. */
VOID KiCallTimed(PKPRCB Prcb, const KI_DPC_CALL *Call);
/* The same for a threaded one, in the DPC thread of Prcb. */
VOID KiCallThreadedTimed(KPRCB_THREAD_BLOCK *Block, PKPRCB Prcb, const KI_DPC_CALL *Call);

/* Begins to fetch a DPC, which may straddle two cache lines, for writing. */
static inline VOID KiFetchDpc(PKDPC Dpc)
{
    HalPrefetchForWrite(Dpc);
    HalPrefetchForWrite((PUCHAR)Dpc + sizeof(*Dpc) - 1);
}

/*
 * Tells the two queues of a processor apart by where they lie in the KPCR, which begins a page.
 */
static inline BOOLEAN KiIsThreadedQueue(PKDPC_DATA Data)
{
    return (ULONG_PTR)Data % 4096 == offsetof(KPCR, PrcbData.DpcData[DPC_THREADED]) % 4096;
}

/*
 * Marks a DPC as queued in Data. FALSE: it is queued already, and its routine will see what the caller has stored. The
 * caller fills its arguments and links it.
 */
BOOLEAN KiClaimDpc(PKDPC Dpc, PKDPC_DATA Data);
/* Links a claimed DPC into the inbox. */
typedef enum _KI_POST {
    KiPostFirst,  /* the inbox was empty */
    KiPostMore,   /* it was not */
    KiPostWatched /* the idle thread watches it */
} KI_POST;

KI_POST KiPostDpc(PKPCR Pcr, PKDPC Dpc, BOOLEAN ToHead);
/* Links a claimed DPC into the list. DpcLock held. */
VOID KiListDpc(PKDPC_DATA Data, PKDPC Dpc, BOOLEAN ToHead);
/* Takes the first DPC off the list. DpcLock held. FALSE: there is none. */
BOOLEAN KiTakeDpc(PKDPC_DATA Data, PKI_DPC_CALL Call);
/*
 * The same without DpcLock, for the owner while it runs DPCs and after it has held DpcLock once meanwhile. FALSE also if
 * a remover is at work, or the host has no membarrier.
 */
BOOLEAN KiTakeUnlocked(PKPCR Pcr, PKDPC_DATA Data, PKI_DPC_CALL Call);
/* After each take, before the routine: what an inserter relies on that has found the DPC queued. */
VOID KiFenceTake(PKPCR Pcr);
/*
 * A thread that does not own Pcr and wants to change the list stops takes first if KiTakesNeedStop, then acquires
 * DpcLock, and asks KiTakesNeedStop again if it has not. KiAllowTakes: after DpcLock is released.
 */
BOOLEAN KiTakesNeedStop(PKPCR Pcr);
VOID KiStopTakes(PKPCR Pcr);
VOID KiAllowTakes(PKPCR Pcr);
/* Takes a DPC back. DpcLock held. FALSE: it is not in the list. */
BOOLEAN KiUnlistDpc(PKDPC_DATA Data, PKDPC Dpc);
/* DPCs in the inbox. An estimate. */
ULONG KiInboxCount(PKPCR Pcr);

#endif
