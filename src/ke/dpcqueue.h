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

/* Begins to fetch a DPC, which may straddle two cache lines, for writing. */
static inline VOID KiFetchDpc(PKDPC Dpc)
{
    HalPrefetchForWrite(Dpc);
    HalPrefetchForWrite((PUCHAR)Dpc + sizeof(*Dpc) - 1);
}

/* Marks a DPC as queued in Data. FALSE: it is queued already. The caller fills its arguments and links it. */
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
/* Takes a DPC back. DpcLock held. FALSE: it is not in the list. */
BOOLEAN KiUnlistDpc(PKDPC_DATA Data, PKDPC Dpc);
/* DPCs in the inbox. An estimate. */
ULONG KiInboxCount(PKPCR Pcr);

#endif
