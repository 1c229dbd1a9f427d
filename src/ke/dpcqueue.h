/* dpcqueue.h - what dpc.c needs of dpcqueue.c. */
#ifndef DPCQUEUE_H
#define DPCQUEUE_H

#include "ki.h"

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
BOOLEAN KiTakeDpc(PKDPC_DATA Data, PKPRCB_DPC_CALL Call);
/*
 * The same without DpcLock, for the owner while it runs DPCs and after it has held DpcLock once meanwhile. FALSE also if
 * a remover is at work, or the host has no membarrier.
 */
BOOLEAN KiTakeUnlocked(PKPCR Pcr, PKDPC_DATA Data, PKPRCB_DPC_CALL Call);
/* Around what a thread does to the list that holds DpcLock, but not the processor. */
VOID KiStopTakes(PKPCR Pcr);
VOID KiAllowTakes(PKPCR Pcr);
/* Takes a DPC back. DpcLock held. FALSE: it is not in the list. */
BOOLEAN KiUnlistDpc(PKDPC_DATA Data, PKDPC Dpc);
/* DPCs in the inbox. An estimate. */
ULONG KiInboxCount(PKPCR Pcr);

/* --- dpcslot.c --- */

typedef enum _KI_SLOT_STATE { KiSlotClosed, KiSlotOpen, KiSlotFilling, KiSlotFull, KiSlotRevoked } KI_SLOT_STATE;

/* Puts a DPC that is not queued into the slot of another processor, if that is open. Interrupts masked. */
BOOLEAN KiFillSlot(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, PKDPC Dpc, PVOID Argument1, PVOID Argument2);
/* Takes it out, for the owner of the processor. FALSE: the slot is not full. */
BOOLEAN KiTakeSlot(PKPCR Pcr, PKPRCB_DPC_CALL Call);

#endif
