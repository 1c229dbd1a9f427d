/*
 * kidpc.h - the part of the door ki.h that is about DPCs; ki.h includes it.
 */
#ifndef KIDPC_H
#define KIDPC_H

/* --- dpc.c, dpcqueue.c --- */
/* Runs the DPCs of the processor that the caller owns, until none is left. IRQL DISPATCH_LEVEL, not in a DPC. */
VOID KiRetireDpcs(KPRCB_THREAD_BLOCK *Block);
BOOLEAN KiDpcsQueued(PKPCR Pcr);
/* Nothing is queued for Pcr and no DPC runs there. */
BOOLEAN KiDpcsIdle(PKPCR Pcr);
/* The idle thread begins, and ends, to look at the inbox whatever Request says; it looks once more after the end. */
VOID KiWatchInbox(PKPCR Pcr);
VOID KiUnwatchInbox(PKPCR Pcr);
BOOLEAN KiInboxFilled(PKPCR Pcr);
/* Begins to fetch the DPC that was posted last. */
VOID KiFetchInbox(PKPCR Pcr);
/* Moves what came by the inbox to the list. DpcLock held. */
VOID KiEmptyInbox(PKPCR Pcr, PKDPC_DATA Data);
/* Brings DpcRequestRate up to date. DpcLock held. */
VOID KiUpdateDpcRate(PKPRCB Prcb);

/* --- dpcthread.c: threaded DPCs --- */
/* For the idle thread, which has found KPCR_REQUEST_THREAD. IRQL < DISPATCH_LEVEL. */
VOID KiServeThreadRequest(PKPCR Pcr);
/* Ends those of the first Count processors. Nothing is queued, and the idle threads have ended. */
VOID KiStopDpcThreads(ULONG Count);
/* For a processor that has just become active: the switch may have changed meanwhile. IRQL < DISPATCH_LEVEL. */
VOID KiFollowThreadedSwitch(PKPCR Pcr);
/* No threaded DPC is queued for Pcr and none runs there; asked before KiDpcsIdle, since one may become a normal DPC. */
BOOLEAN KiThreadedDpcsIdle(PKPCR Pcr);
/* Queues a DPC as a threaded one whatever its type and the switch. IRQL >= DISPATCH_LEVEL, or bound to no processor. */
BOOLEAN KiInsertThreadedDpc(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, PKDPC Dpc, PVOID Argument1, PVOID Argument2);
/* The caller is about to wait, which is a bug check in a threaded DPC. */
VOID KiCheckMayWait(KPRCB_THREAD_BLOCK *Block);

/* --- dpccall.c --- */
VOID KiInitializeCallDpc(PKPRCB Prcb);
/* Nobody is inside KeGenericCallDpc: for the child of a fork. */
VOID KiAbandonDpcCalls(VOID);

/* --- dpcwatchdog.c --- */
VOID KiResetDpcWatchdog(VOID);
VOID KiResetDpcWatch(PKPRCB Prcb);
/* Looks at the owners of all processors, if that is due. The clock only. */
VOID KiRunDpcWatchdog(VOID);
/* ns until the next look is due, at least 1; 0: there is none. The clock only. */
ULONGLONG KiDpcWatchdogTimeout(VOID);
/*
 * One look: Owner, of that host id, owns Pcr, or nobody if it is NULL, and has used Time ns of CPU time. TRUE: it exceeds
 * a limit.
 */
BOOLEAN KiWatchProcessor(PKPCR Pcr, PKTHREAD Owner, LONG HostId, ULONGLONG Time);
/* The caller has let Pcr go, and found WATCHED or OVERDUE. */
VOID KiEndWatchedTime(PKPCR Pcr);
/* The owner found OVERDUE: a bug check, if it is true still. */
VOID KiTakeDpcViolation(KPRCB_THREAD_BLOCK *Block);

/* --- dpccapture.c --- */
/* The machine starts, MaximumProcessors and Signals known. FALSE: no memory. */
BOOLEAN KiStartCaptures(VOID);
VOID KiFreeCaptures(VOID);
/* For the child of a fork. */
VOID KiAbandonCaptures(VOID);
VOID KiResetCaptures(PKPRCB Prcb);
/* From now on an interrupt of Owner captures its stack, once; NULL: no one's. KI_WATCH.Lock held. */
VOID KiAskForCapture(PKPRCB Prcb, PKTHREAD Owner, ULONG DpcTicks, ULONG Ticks);
BOOLEAN KiCaptureIsAsked(PKPRCB Prcb);
/* The caller, an owner, was interrupted, wherever it was. */
VOID KiTakeCapture(KPRCB_THREAD_BLOCK *Block, PVOID Frame);
/* Those of processors that have not been let go since, to stderr. */
VOID KiPrintCaptures(VOID);

/* --- dpchistory.c --- */
/* What the environment asks for; KiMachineLock held, as for the next one. */
NTSTATUS KiStartDpcHistory(VOID);
VOID KiFreeDpcHistory(VOID);
/* Pcr has just become active. Without memory it has no history. */
VOID KiFollowDpcHistory(PKPCR Pcr);
/* There are no tables: for the child of a fork. */
VOID KiAbandonDpcHistory(VOID);
/* One run, in the host's time stamps. The owner only, IRQL DISPATCH_LEVEL, after a table has been there. */
VOID KiRecordDpc(PKPRCB Prcb, PKDEFERRED_ROUTINE Routine, ULONGLONG Elapsed);

/* --- dpcfigures.c --- */
VOID KiInitializeDpcFigures(PKPRCB Prcb);
/* A tick at which DPCs wait that asked for no interrupt. The clock only. */
VOID KiTuneDpcQueue(PKPCR Pcr);
/* Ticks have passed at which nothing waited. DpcLock held. */
VOID KiCreditQuietTicks(PKPRCB Prcb, ULONG Ticks);

/* DPC_REQUEST_NORMAL_ bits. The owner only. */
static inline VOID KiSetNormalDpcState(PKPRCB Prcb, LONG State)
{
    __atomic_store_n(&Prcb->NormalDpcState, (SHORT)State, __ATOMIC_RELAXED);
}

/* DPCs run on the way down that nobody had to ask for. The owner only. */
static inline VOID KiCountDpcBypass(PKPRCB Prcb)
{
    if (KiMachine.Profile->BypassCounts) {
        __atomic_store_n(&Prcb->DpcBypassCount, Prcb->DpcBypassCount + 1, __ATOMIC_RELAXED);
    }
}

/* The same for APCs, of a thread that need not own the processor. */
static inline VOID KiCountApcBypass(PKPRCB Prcb)
{
    if (KiMachine.Profile->BypassCounts) {
        __atomic_fetch_add(&Prcb->ApcBypassCount, 1, __ATOMIC_RELAXED);
    }
}

#endif
