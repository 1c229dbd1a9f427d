/*
 * dpcqueue.c - the DPC queue of a processor: inbox, list, and their lock.
 *
 * A DPC from another processor goes to the inbox, by one compare-exchange; one from the processor itself goes to the
 * list. The inbox is one word, so that inserters never wait for the processor:
 *
 *   bits 0-47    the KDPC inserted last (user addresses have 47 or 48 bits), its DpcListEntry.Next the one before it
 *   bits 48-62   how many there are, up to 32,767
 *   bit 63       the idle thread watches this word: whoever posts need ask for nothing
 *
 *   word               written by                                       read by               ordering
 *   KDPC.DpcData       NULL -> queue by the inserter, compare-exchange;  inserters, KeRemove-  the claim: whoever sets it alone
 *                      -> NULL by who takes it off the list,             QueueDpc              fills and links the DPC; NULL is a
 *                      under DpcLock or as below                                              release, after the last access, and
 *                                                                                             before the routine by a full barrier
 *   DpcInbox           inserters, compare-exchange (release);           holder of DpcLock     emptying is an acquire
 *                      the holder of DpcLock, AND; WATCHED: the
 *                      idle thread, OR and AND
 *   DpcList,           holder of DpcLock, or the owner as below         holder of DpcLock
 *   DpcQueueDepth                                                       anyone (estimate)
 *   DpcTaking          the owner, 1 while it takes without DpcLock      removers              release / acquire; the store of 1,
 *                                                                                             then the load of TakesStopped, by
 *                                                                                             HalProcessBarrier
 *   TakesStopped       removers that do not own the processor, + and -   the owner            seq_cst, then HalProcessBarrier;
 *                                                                                             release / acquire
 *   FenceTakes         an inserter 0 -> ASKED, after its                 the owner, inserters seq_cst
 *                      HalProcessBarrier -> SET; the owner -> 0 of the
 *                      next turn
 *
 * While an owner runs DPCs it takes all but the first without DpcLock: a locked operation would wait for whatever the
 * last routine has written. A remover that finds DpcRoutineActive raises TakesStopped, and after the barrier either
 * sees DpcTaking and waits, or the owner sees TakesStopped and comes for DpcLock. It does so before it acquires DpcLock,
 * which an owner may want. One that does not find DpcRoutineActive under DpcLock holds it before the owner's first
 * take, which waits for that. Without membarrier the owner always takes DpcLock.
 *
 * An inserter that is told that the DPC is queued already relies on the routine to see what it stored before. So
 * between the store of NULL to DpcData and the routine there must be a full barrier: the owner executes one after each
 * take while FenceTakes is set, or without membarrier; else the inserter executes HalProcessBarrier. In either case the
 * inserter looks at DpcData again after a full barrier of its own. It sets FenceTakes, so that the next ones need not
 * ask every thread. The DPC thread of a processor executes such a barrier after each take (dpcthread.c).
 *
 * Bit 0 of a link in the inbox says that the DPC behind it goes to the head. Importance is read once, by the
 * inserter, since KeSetImportanceDpc must not affect a queued DPC.
 *
 * Deviation: DpcQueueDepth counts a DPC from another processor once the owner has emptied the inbox; depth decisions
 * add the count in the inbox. DpcCount counts DPCs as they leave the queue.
 *
 * Tests: tests/ke/test_dpc.c, tests/ke/test_dpctake.c, tests/stress/stress_dpc.c.
 */
#include "dpcqueue.h"

#define KI_INBOX_POINTER 0xFFFFFFFFFFFFull
#define KI_INBOX_ONE (1ull << 48)
#define KI_INBOX_COUNT(Inbox) ((ULONG)((Inbox) >> 48 & 0x7FFF))
#define KI_INBOX_FULL 0x7FFF
#define KI_INBOX_WATCHED (1ull << 63)
#define KI_TO_HEAD 1
#define KI_LONGEST_STRIDE 1024
#define KI_FENCE_ASKED 1 /* the barrier may not have passed the owner yet */
#define KI_FENCE_SET 2
#define KI_FENCE_STATE 3
#define KI_FENCE_TURN 4      /* above the state: how often the owner has ended it */
#define KI_FENCED_TAKES 4096 /* takes followed by a barrier, after one insert of a queued DPC */

static PKDPC KiInboxPointer(ULONGLONG Inbox)
{
    return (PKDPC)(ULONG_PTR)(Inbox & KI_INBOX_POINTER);
}

VOID KiDescribeDpcInbox(PKI_DEBUG_WRITER Writer)
{
    KiDescribe(Writer, "KiInboxPointer", KI_INBOX_POINTER, 0);
    KiDescribe(Writer, "KiInboxOne", KI_INBOX_ONE, 0);
    KiDescribe(Writer, "KiInboxFull", KI_INBOX_FULL, 0);
    KiDescribe(Writer, "KiInboxWatched", KI_INBOX_WATCHED, 0);
}

ULONG KiInboxCount(PKPCR Pcr)
{
    return KI_INBOX_COUNT(__atomic_load_n(&Pcr->DpcInbox, __ATOMIC_RELAXED));
}

/* TRUE: the DPC, seen in Data, is there still, and what the caller stored before will be seen by its routine. */
static BOOLEAN KiConfirmQueued(PKDPC Dpc, PKDPC_DATA Data)
{
    PKPCR Pcr = CONTAINING_RECORD(Data, KPCR, PrcbData.DpcData[DPC_NORMAL]);
    ULONG Fence;

    HalFullBarrier();
    if (KiIsThreadedQueue(Data)) {
        return __atomic_load_n(&Dpc->DpcData, __ATOMIC_SEQ_CST) == Data;
    }
    Fence = __atomic_load_n(&Pcr->FenceTakes, __ATOMIC_SEQ_CST);
    if (!KiMachine.Biased || (Fence & KI_FENCE_STATE) == KI_FENCE_SET) {
        return __atomic_load_n(&Dpc->DpcData, __ATOMIC_SEQ_CST) == Data;
    }
    if ((Fence & KI_FENCE_STATE) == 0 && __atomic_compare_exchange_n(&Pcr->FenceTakes, &Fence, Fence + KI_FENCE_ASKED,
                                                                     FALSE, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        Fence += KI_FENCE_ASKED;
    }
#ifndef KPRCB_BREAK_FENCE
    HalProcessBarrier();
#endif
    if ((Fence & KI_FENCE_STATE) == KI_FENCE_ASKED) {
        __atomic_compare_exchange_n(&Pcr->FenceTakes, &Fence, Fence - KI_FENCE_ASKED + KI_FENCE_SET, FALSE,
                                    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
    return __atomic_load_n(&Dpc->DpcData, __ATOMIC_SEQ_CST) == Data;
}

BOOLEAN KiClaimDpc(PKDPC Dpc, PKDPC_DATA Data)
{
    PVOID Queued;

    do {
        Queued = NULL;
        if (__atomic_compare_exchange_n(&Dpc->DpcData, &Queued, Data, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            return TRUE;
        }
    } while (!KiConfirmQueued(Dpc, Queued));
    return FALSE;
}

KI_POST KiPostDpc(PKPCR Pcr, PKDPC Dpc, BOOLEAN ToHead)
{
    ULONGLONG Before = __atomic_load_n(&Pcr->DpcInbox, __ATOMIC_RELAXED);
    ULONGLONG After;

    do {
        Dpc->DpcListEntry.Next = (PSINGLE_LIST_ENTRY)((ULONG_PTR)KiInboxPointer(Before) | (ToHead ? KI_TO_HEAD : 0));
        After = (ULONGLONG)(ULONG_PTR)Dpc |
                ((Before & ~KI_INBOX_POINTER) + (KI_INBOX_COUNT(Before) == KI_INBOX_FULL ? 0 : KI_INBOX_ONE));
    } while (!__atomic_compare_exchange_n(&Pcr->DpcInbox, &Before, After, TRUE, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    if ((Before & KI_INBOX_WATCHED) != 0) {
        return KiPostWatched;
    }
    return KiInboxPointer(Before) == NULL ? KiPostFirst : KiPostMore;
}

VOID KiWatchInbox(PKPCR Pcr)
{
    __atomic_fetch_or(&Pcr->DpcInbox, KI_INBOX_WATCHED, __ATOMIC_SEQ_CST);
}

VOID KiUnwatchInbox(PKPCR Pcr)
{
    __atomic_fetch_and(&Pcr->DpcInbox, ~KI_INBOX_WATCHED, __ATOMIC_SEQ_CST);
}

BOOLEAN KiInboxFilled(PKPCR Pcr)
{
    return KiInboxPointer(__atomic_load_n(&Pcr->DpcInbox, __ATOMIC_ACQUIRE)) != NULL;
}

VOID KiFetchInbox(PKPCR Pcr)
{
    KiFetchDpc(KiInboxPointer(__atomic_load_n(&Pcr->DpcInbox, __ATOMIC_RELAXED)));
}

VOID KiListDpc(PKDPC_DATA Data, PKDPC Dpc, BOOLEAN ToHead)
{
    PSINGLE_LIST_ENTRY Entry = (PSINGLE_LIST_ENTRY)&Dpc->DpcListEntry;

    if (Data->DpcList.ListHead.Next == NULL) {
        Entry->Next = NULL;
        Data->DpcList.ListHead.Next = Data->DpcList.LastEntry = Entry;
    } else if (ToHead) {
        Entry->Next = Data->DpcList.ListHead.Next;
        Data->DpcList.ListHead.Next = Entry;
    } else {
        Entry->Next = NULL;
        Data->DpcList.LastEntry->Next = Entry;
        Data->DpcList.LastEntry = Entry;
    }
    __atomic_store_n(&Data->DpcQueueDepth, Data->DpcQueueDepth + 1, __ATOMIC_RELEASE);
}

/*
 * The chain tells the next DPC only once the line of this one has come. Drivers keep their DPCs in arrays; where they
 * do, the ones after the next are on their way by then. A wrong guess costs a fetch.
 */
static VOID KiFetchAhead(PKDPC Dpc, LONG_PTR Stride)
{
    if (Stride >= -KI_LONGEST_STRIDE && Stride <= KI_LONGEST_STRIDE) {
        KiFetchDpc((PKDPC)((LONG_PTR)Dpc + 2 * Stride));
        KiFetchDpc((PKDPC)((LONG_PTR)Dpc + 3 * Stride));
    }
}

VOID KiEmptyInbox(PKPCR Pcr, PKDPC_DATA Data)
{
    PKDPC Dpc;
    PKDPC Oldest = NULL;

    if (!KiInboxFilled(Pcr)) {
        return;
    }
    /* The depth first: KiDpcsIdle looks at the inbox and then at the depth. */
    __atomic_store_n(&Data->DpcQueueDepth, Data->DpcQueueDepth + 1, __ATOMIC_RELAXED);
    Dpc = KiInboxPointer(__atomic_fetch_and(&Pcr->DpcInbox, KI_INBOX_WATCHED, __ATOMIC_SEQ_CST));
    while (Dpc != NULL) {
        ULONG_PTR Link;

        KiFetchDpc(Dpc);
        if (Oldest != NULL) {
            KiFetchAhead(Dpc, (LONG_PTR)Dpc - (LONG_PTR)Oldest);
        }
        Link = (ULONG_PTR)Dpc->DpcListEntry.Next;

        Dpc->DpcListEntry.Next = (PSINGLE_LIST_ENTRY)((ULONG_PTR)Oldest | (Link & KI_TO_HEAD));
        Oldest = Dpc;
        Dpc = (PKDPC)(Link & ~(ULONG_PTR)KI_TO_HEAD);
    }
    while (Oldest != NULL) {
        ULONG_PTR Link = (ULONG_PTR)Oldest->DpcListEntry.Next;

        KiListDpc(Data, Oldest, (Link & KI_TO_HEAD) != 0);
        Oldest = (PKDPC)(Link & ~(ULONG_PTR)KI_TO_HEAD);
    }
    __atomic_store_n(&Data->DpcQueueDepth, Data->DpcQueueDepth - 1, __ATOMIC_RELEASE);
}

BOOLEAN KiTakeDpc(PKDPC_DATA Data, PKI_DPC_CALL Call)
{
    PSINGLE_LIST_ENTRY Entry = Data->DpcList.ListHead.Next;
    PKDPC Dpc;

    if (Entry == NULL) {
        return FALSE;
    }
    Dpc = CONTAINING_RECORD(Entry, KDPC, DpcListEntry);
    Data->DpcList.ListHead.Next = Entry->Next;
    Call->Dpc = Dpc;
    Call->Routine = Dpc->DeferredRoutine;
    Call->Context = Dpc->DeferredContext;
    Call->Argument1 = Dpc->SystemArgument1;
    Call->Argument2 = Dpc->SystemArgument2;
    __atomic_store_n(&Data->DpcQueueDepth, Data->DpcQueueDepth - 1, __ATOMIC_RELEASE);
    __atomic_store_n(&Dpc->DpcData, NULL, __ATOMIC_RELEASE);
    return TRUE;
}

BOOLEAN KiTakeUnlocked(PKPCR Pcr, PKDPC_DATA Data, PKI_DPC_CALL Call)
{
    BOOLEAN Taken = FALSE;

    if (!KiMachine.Biased) {
        return FALSE;
    }
    __atomic_store_n(&Pcr->DpcTaking, 1, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&Pcr->TakesStopped, __ATOMIC_ACQUIRE) == 0) {
        Taken = KiTakeDpc(Data, Call);
    }
    __atomic_store_n(&Pcr->DpcTaking, 0, __ATOMIC_RELEASE);
    return Taken;
}

BOOLEAN KiTakesNeedStop(PKPCR Pcr)
{
    return KiMachine.Biased && __atomic_load_n(&Pcr->PrcbData.DpcRoutineActive, __ATOMIC_ACQUIRE);
}

VOID KiStopTakes(PKPCR Pcr)
{
    __atomic_fetch_add(&Pcr->TakesStopped, 1, __ATOMIC_SEQ_CST);
#ifndef KPRCB_BREAK_TAKE
    HalProcessBarrier();
#endif
    for (ULONG Steps = 1; __atomic_load_n(&Pcr->DpcTaking, __ATOMIC_ACQUIRE) != 0; Steps += 1) {
        KiPauseOrYield(Steps);
    }
}

VOID KiAllowTakes(PKPCR Pcr)
{
    __atomic_fetch_sub(&Pcr->TakesStopped, 1, __ATOMIC_RELEASE);
}

/* Nobody else changes FenceTakes once it is set. */
static VOID KiEndFences(PKPCR Pcr)
{
    ULONG Fence = __atomic_load_n(&Pcr->FenceTakes, __ATOMIC_RELAXED);

    if ((Fence & KI_FENCE_STATE) == KI_FENCE_SET) {
        Pcr->FencedTakes = 0;
        __atomic_store_n(&Pcr->FenceTakes, Fence - KI_FENCE_SET + KI_FENCE_TURN, __ATOMIC_SEQ_CST);
    }
}

VOID KiFenceTake(PKPCR Pcr)
{
    if (KiMachine.Biased) {
        if (__builtin_expect((__atomic_load_n(&Pcr->FenceTakes, __ATOMIC_ACQUIRE) & KI_FENCE_STATE) == 0, 1)) {
            return;
        }
        Pcr->FencedTakes += 1;
        if (Pcr->FencedTakes >= KI_FENCED_TAKES) {
            KiEndFences(Pcr);
        }
    }
#ifndef KPRCB_BREAK_FENCE
    HalFullBarrier();
#endif
}

BOOLEAN KiUnlistDpc(PKDPC_DATA Data, PKDPC Dpc)
{
    PSINGLE_LIST_ENTRY Before = &Data->DpcList.ListHead;
    PSINGLE_LIST_ENTRY Entry = (PSINGLE_LIST_ENTRY)&Dpc->DpcListEntry;

    while (Before->Next != NULL && Before->Next != Entry) {
        Before = Before->Next;
    }
    if (Before->Next == NULL) {
        return FALSE;
    }
    Before->Next = Entry->Next;
    if (Data->DpcList.LastEntry == Entry) {
        Data->DpcList.LastEntry = Before;
    }
    __atomic_store_n(&Data->DpcQueueDepth, Data->DpcQueueDepth - 1, __ATOMIC_RELEASE);
    __atomic_store_n(&Dpc->DpcData, NULL, __ATOMIC_RELEASE);
    return TRUE;
}

BOOLEAN KiDpcsQueued(PKPCR Pcr)
{
    return KiInboxFilled(Pcr) ||
           __atomic_load_n(&Pcr->PrcbData.DpcData[DPC_NORMAL].DpcQueueDepth, __ATOMIC_ACQUIRE) != 0;
}

/*
 * A DPC goes inbox, list, routine, and this looks in the same order, so one that was queued before cannot slip by:
 * the owner raises the depth before it empties the inbox, and sets DpcRoutineActive before it lowers the depth.
 */
BOOLEAN KiDpcsIdle(PKPCR Pcr)
{
    return !KiDpcsQueued(Pcr) && !__atomic_load_n(&Pcr->PrcbData.DpcRoutineActive, __ATOMIC_ACQUIRE);
}

VOID KiUpdateDpcRate(PKPRCB Prcb)
{
    ULONG Tick = (ULONG)(HalMonotonicTime() / 100 / KiMachine.TimeIncrement);
    ULONG Elapsed = Tick - Prcb->DpcLastTick;
    ULONG Count = __atomic_load_n(&Prcb->DpcData[DPC_NORMAL].DpcCount, __ATOMIC_RELAXED); /* the clock calls too */

    if (Elapsed == 0) {
        return;
    }
    KiCreditQuietTicks(Prcb, Elapsed);
    Prcb->DpcLastTick = Tick;
    Prcb->DpcRequestRate = (Count - Prcb->DpcLastCount + Prcb->DpcRequestRate) / 2;
    Prcb->DpcLastCount = Count;
    Prcb->DpcRequestRate = Elapsed > 32 ? 0 : Prcb->DpcRequestRate >> (Elapsed - 1);
}
