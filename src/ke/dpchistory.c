/*
 * dpchistory.c - how often and how long each DPC routine has run, for each processor.
 *
 * A hash table of a processor has an entry for each routine. The owner of the processor alone adds, counts and removes, at
 * DISPATCH_LEVEL; queries walk the table in a read section. The DPC thread takes its processor for a moment to record a
 * threaded DPC.
 *
 * When there are KI_HISTORY_FULL entries or more, the owner queues DpcRuntimeHistoryHashTableCleanupDpc to itself, which
 * removes all but those that matter: those that have run since the last cleanup and have taken the mean time or more, at
 * most half of KI_HISTORY_FULL.
 *
 * Memory: entries come from chunks of pages, so that the owner waits for nothing. An entry that is removed comes back when
 * no query can see it any more, from the thread that the HAL has for that; it adds a chunk when the last one is half used.
 * A run for which there is no entry at all is counted in Lost: when the owner has needed a chunk of new entries before that
 * thread has run once, there is no memory, or all chunks are in use.
 *
 *   word                           written by                                 read by, ordering
 *   KPRCB.DpcRuntimeHistory-       KprcbSetDpcHistory, under KiMachineLock    the owner: release / acquire. Tables stay until
 *   HashTable                                                                 the machine stops
 *   entry: Total, Longest, Count   the owner, in this order, release          readers in the opposite order, acquire: the runs
 *                                                                             that Count tells are in Total, and so is Longest
 *   entry: Routine                 the owner, before it adds the entry;       readers, relaxed: the table orders it
 *                                  NULL by who gives it back
 *   Returned                       who gives back: pushes by compare-         the owner takes all by exchange, acquire
 *                                  exchange, release
 *   Chunks[0]                      who makes the history                      as KPRCB.DpcRuntimeHistoryHashTable
 *   Chunks[1...]                   who gives back, release; stay              the owner, acquire
 *   Grow                           the owner: TRUE; who gives back: FALSE     who gives back; a hint
 *   Chunk, Carved, Lost            the owner, relaxed                         a look from outside
 *   all others                     the owner alone
 *
 * That no query sees an entry reused: the owner removes it from the table before it hands it to the HAL, which waits for
 * the end of all read sections that there are by then, and queries touch entries in read sections alone. The owner needs no
 * read section to use what it has looked up: nobody else removes.
 *
 * Times are the host's time stamps, and become nanoseconds in the query by what both clocks have run since the machine
 * got its first table. They are not CPU time: a routine that loses its CPU, or is interrupted, is charged for that.
 *
 * Tests: tests/ke/test_dpchistory.c, tests/stress/stress_dpchistory.c.
 */
#include "dpcqueue.h"

#include <string.h>

#define KI_HISTORY_FULL 768
#define KI_HISTORY_BUCKETS 1024
#define KI_HISTORY_CHUNK 1536 /* entries */
#define KI_HISTORY_CHUNKS 16

typedef struct _KI_HISTORY_ENTRY {
    HAL_HASH_NODE Node;
    PKDEFERRED_ROUTINE volatile Routine;
    ULONGLONG volatile Count;
    ULONGLONG volatile Total; /* time stamps */
    ULONGLONG volatile Longest;
    ULONG Turn; /* the one in which it ran last */
} KI_HISTORY_ENTRY, *PKI_HISTORY_ENTRY;

typedef struct _KPRCB_DPC_HISTORY {
    PHAL_HASH_TABLE Table;
    ULONG Used;            /* entries in it */
    ULONG Turn;            /* cleanups so far */
    PHAL_HASH_NODE Free;   /* entries that have come back */
    ULONG volatile Chunk;  /* the one that new entries come from, */
    ULONG volatile Carved; /* and how many have */
    ULONG volatile Lost;   /* runs */
    KDPC Cleanup;
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) PHAL_HASH_NODE volatile Returned;
    PKI_HISTORY_ENTRY volatile Chunks[KI_HISTORY_CHUNKS];
    BOOLEAN volatile Grow;
} KPRCB_DPC_HISTORY, *PKPRCB_DPC_HISTORY;

/*
 * Guard of these: KiMachineLock. An element that is set stays until the machine stops, and by then so does KiHistoryStart.
 */
static PKPRCB_DPC_HISTORY volatile KiHistories[KPRCB_MAXIMUM_PROCESSORS];
static struct {
    ULONGLONG Stamp;
    ULONGLONG Time;
} KiHistoryStart;
static BOOLEAN KiHistoryIsOn;

/* --- Entries: where they come from, and how they come back --- */

static PKI_HISTORY_ENTRY KiAllocateChunk(VOID)
{
    return HalAllocatePages(KI_HISTORY_CHUNK * sizeof(KI_HISTORY_ENTRY));
}

static VOID KiGrowHistory(PKPRCB_DPC_HISTORY History)
{
    for (ULONG Index = 1; Index < KI_HISTORY_CHUNKS; Index += 1) {
        if (History->Chunks[Index] == NULL) {
            __atomic_store_n(&History->Chunks[Index], KiAllocateChunk(), __ATOMIC_RELEASE);
            return;
        }
    }
}

/* No reader has the entry any more. The HAL's thread. */
static VOID KiReturnEntry(PVOID Context, PHAL_HASH_NODE Node)
{
    PKPRCB_DPC_HISTORY History = Context;
    PHAL_HASH_NODE First = __atomic_load_n(&History->Returned, __ATOMIC_RELAXED);

    __atomic_store_n(&CONTAINING_RECORD(Node, KI_HISTORY_ENTRY, Node)->Routine, NULL, __ATOMIC_RELAXED);
    do {
        Node->Next = First;
    } while (!__atomic_compare_exchange_n(&History->Returned, &First, Node, TRUE, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    if (__atomic_load_n(&History->Grow, __ATOMIC_RELAXED)) {
        __atomic_store_n(&History->Grow, FALSE, __ATOMIC_RELAXED);
        KiGrowHistory(History);
    }
}

/* One that was never used. NULL: there is none. */
static PKI_HISTORY_ENTRY KiCarveEntry(PKPRCB_DPC_HISTORY History)
{
    ULONG Next = History->Chunk + 1;
    PKI_HISTORY_ENTRY More =
        Next < KI_HISTORY_CHUNKS ? __atomic_load_n(&History->Chunks[Next], __ATOMIC_ACQUIRE) : NULL;

    if (More == NULL && History->Carved >= KI_HISTORY_CHUNK / 2) {
        __atomic_store_n(&History->Grow, TRUE, __ATOMIC_RELAXED);
    }
    if (History->Carved == KI_HISTORY_CHUNK) {
        if (More == NULL) {
            return NULL;
        }
        __atomic_store_n(&History->Carved, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&History->Chunk, Next, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&History->Carved, History->Carved + 1, __ATOMIC_RELAXED);
    return &History->Chunks[History->Chunk][History->Carved - 1];
}

static PKI_HISTORY_ENTRY KiTakeEntry(PKPRCB_DPC_HISTORY History)
{
    PHAL_HASH_NODE Node = History->Free;

    if (Node == NULL && __atomic_load_n(&History->Returned, __ATOMIC_RELAXED) != NULL) {
        Node = __atomic_exchange_n(&History->Returned, NULL, __ATOMIC_ACQUIRE);
    }
    if (Node == NULL) {
        return KiCarveEntry(History);
    }
    History->Free = Node->Next;
    return CONTAINING_RECORD(Node, KI_HISTORY_ENTRY, Node);
}

VOID KiDescribeDpcHistory(PKI_DEBUG_WRITER Writer)
{
    KI_DESCRIBE_SIZE(Writer, KPRCB_DPC_HISTORY);
    KI_DESCRIBE_MEMBER(Writer, KPRCB_DPC_HISTORY, Chunk);
    KI_DESCRIBE_MEMBER(Writer, KPRCB_DPC_HISTORY, Carved);
    KI_DESCRIBE_MEMBER(Writer, KPRCB_DPC_HISTORY, Lost);
    KI_DESCRIBE_MEMBER(Writer, KPRCB_DPC_HISTORY, Chunks);
    KI_DESCRIBE_SIZE(Writer, KI_HISTORY_ENTRY);
    KI_DESCRIBE_MEMBER(Writer, KI_HISTORY_ENTRY, Routine);
    KI_DESCRIBE_MEMBER(Writer, KI_HISTORY_ENTRY, Count);
    KI_DESCRIBE_MEMBER(Writer, KI_HISTORY_ENTRY, Total);
    KI_DESCRIBE_MEMBER(Writer, KI_HISTORY_ENTRY, Longest);
    KiDescribe(Writer, "KiHistoryChunk", KI_HISTORY_CHUNK, 0);
    KI_DESCRIBE_ADDRESS(Writer, "KiHistoryStart", &KiHistoryStart);
}

/* --- Recording --- */

/* The upper half of a product depends on all bits of the address. */
static ULONG_PTR KiHashRoutine(PKDEFERRED_ROUTINE Routine)
{
    return (ULONG_PTR)((ULONGLONG)(ULONG_PTR)Routine * 0x9E3779B97F4A7C15ull >> 32);
}

static BOOLEAN KiMatchRoutine(const HAL_HASH_NODE *Node, const VOID *Key)
{
    const KI_HISTORY_ENTRY *Entry = CONTAINING_RECORD(Node, const KI_HISTORY_ENTRY, Node);

    return __atomic_load_n(&Entry->Routine, __ATOMIC_RELAXED) == *(const PKDEFERRED_ROUTINE *)Key;
}

/* In a read section. */
static PKI_HISTORY_ENTRY KiAddHistory(PKPRCB_DPC_HISTORY History, PKDEFERRED_ROUTINE Routine)
{
    PKI_HISTORY_ENTRY Entry = KiTakeEntry(History);

    if (History->Used >= KI_HISTORY_FULL) {
        (VOID) KeInsertQueueDpc(&History->Cleanup, NULL, NULL);
    }
    if (Entry == NULL) {
        __atomic_store_n(&History->Lost, History->Lost + 1, __ATOMIC_RELAXED);
        return NULL;
    }
    History->Used += 1;
    __atomic_store_n(&Entry->Total, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&Entry->Longest, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&Entry->Count, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&Entry->Routine, Routine, __ATOMIC_RELAXED);
    HalAddToTable(History->Table, KiHashRoutine(Routine), &Entry->Node);
    return Entry;
}

/* NULL: there is no memory for it. */
static PKI_HISTORY_ENTRY KiFindHistory(PKPRCB Prcb, PKPRCB_DPC_HISTORY History, PKDEFERRED_ROUTINE Routine)
{
    PHAL_HASH_NODE Node;
    PKI_HISTORY_ENTRY Entry;

    HalBeginRead();
    Node = HalFindInTable(History->Table, KiHashRoutine(Routine), KiMatchRoutine, &Routine);
    Entry = Node != NULL ? CONTAINING_RECORD(Node, KI_HISTORY_ENTRY, Node) : KiAddHistory(History, Routine);
    HalEndRead();
    Prcb->CurrentDpcRuntimeHistoryCached = (ULONG_PTR)Entry;
    return Entry;
}

VOID KiRecordDpc(PKPRCB Prcb, PKDEFERRED_ROUTINE Routine, ULONGLONG Elapsed)
{
    PKPRCB_DPC_HISTORY History = KiHistories[Prcb->Number];
    PKI_HISTORY_ENTRY Entry = (PKI_HISTORY_ENTRY)(ULONG_PTR)Prcb->CurrentDpcRuntimeHistoryCached;

    if (Entry == NULL || Entry->Routine != Routine) {
        Entry = KiFindHistory(Prcb, History, Routine);
        if (Entry == NULL) {
            return;
        }
    }
    Entry->Turn = History->Turn;
    __atomic_store_n(&Entry->Total, Entry->Total + Elapsed, __ATOMIC_RELEASE);
    if (Elapsed > Entry->Longest) {
        __atomic_store_n(&Entry->Longest, Elapsed, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&Entry->Count, Entry->Count + 1, __ATOMIC_RELEASE);
}

VOID KiCallTimed(PKPRCB Prcb, const KI_DPC_CALL *Call)
{
    ULONGLONG Start = HalTimeStamp();
    ULONGLONG End;

    __atomic_store_n(&Prcb->CurrentDpcStartTime, Start, __ATOMIC_RELAXED);
    Call->Routine(Call->Dpc, Call->Context, Call->Argument1, Call->Argument2);
    End = HalTimeStamp();
    /* A routine that has lowered its level does not own the processor any more. */
    if (KprcbThread.Irql == DISPATCH_LEVEL && &KprcbThread.Pcr->PrcbData == Prcb) {
        __atomic_store_n(&Prcb->CurrentDpcStartTime, 0, __ATOMIC_RELAXED);
        KiRecordDpc(Prcb, Call->Routine, End > Start ? End - Start : 0);
    }
}

VOID KiCallThreadedTimed(KPRCB_THREAD_BLOCK *Block, PKPRCB Prcb, const KI_DPC_CALL *Call)
{
    ULONGLONG Start = HalTimeStamp();
    ULONGLONG End;
    KIRQL OldIrql;

    Call->Routine(Call->Dpc, Call->Context, Call->Argument1, Call->Argument2);
    End = HalTimeStamp();
    if (Block->Irql != PASSIVE_LEVEL) {
        return; /* a bug check, by the caller */
    }
    if (Block->Thread->SystemAffinityActive) {
        KeRevertToUserAffinityThread();
    }
    OldIrql = KeRaiseIrqlToDpcLevel();
    if (&Block->Pcr->PrcbData == Prcb) {
        KiRecordDpc(Prcb, Call->Routine, End > Start ? End - Start : 0);
    }
    KeLowerIrql(OldIrql);
}

/* --- The cleanup --- */

static PKI_HISTORY_ENTRY KiEntryOf(PHAL_HASH_NODE Node)
{
    return Node != NULL ? CONTAINING_RECORD(Node, KI_HISTORY_ENTRY, Node) : NULL;
}

static ULONGLONG KiMeanTotal(PKPRCB_DPC_HISTORY History)
{
    HAL_HASH_ITERATOR Iterator;
    ULONGLONG Mean = 0;

    for (PHAL_HASH_NODE Node = HalFirstInTable(History->Table, &Iterator); Node != NULL;
         Node = HalNextInTable(History->Table, &Iterator)) {
        Mean += KiEntryOf(Node)->Total / History->Used;
    }
    return Mean;
}

static VOID KiCleanHistory(PKPRCB Prcb, PKPRCB_DPC_HISTORY History)
{
    HAL_HASH_ITERATOR Iterator;
    PKI_HISTORY_ENTRY Entry;
    ULONGLONG Mean;
    ULONG Kept = 0;

    HalBeginRead();
    Mean = KiMeanTotal(History);
    for (Entry = KiEntryOf(HalFirstInTable(History->Table, &Iterator)); Entry != NULL;
         Entry = KiEntryOf(HalNextInTable(History->Table, &Iterator))) {
        if (Kept < KI_HISTORY_FULL / 2 && Entry->Turn == History->Turn && Entry->Total >= Mean) {
            Kept += 1;
        } else {
            (VOID) HalRemoveFromTable(History->Table, &Entry->Node);
        }
    }
    HalEndRead();
    History->Used = Kept;
    History->Turn += 1;
    Prcb->CurrentDpcRuntimeHistoryCached = 0;
}

static VOID KiCleanupRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    PKPRCB_DPC_HISTORY History = CONTAINING_RECORD(Dpc, KPRCB_DPC_HISTORY, Cleanup);

    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    if (History->Used >= KI_HISTORY_FULL) {
        KiCleanHistory(Context, History);
    }
}

/* --- On and off --- */

static VOID KiFreeHistory(PKPRCB_DPC_HISTORY History)
{
    if (History->Table != NULL) {
        HalDestroyHashTable(History->Table);
    }
    for (ULONG Index = 0; Index < KI_HISTORY_CHUNKS; Index += 1) {
        HalFreePages(History->Chunks[Index], KI_HISTORY_CHUNK * sizeof(KI_HISTORY_ENTRY));
    }
    HalFreePages(History, sizeof(*History));
}

static PKPRCB_DPC_HISTORY KiCreateHistory(VOID)
{
    PKPRCB_DPC_HISTORY History = HalAllocatePages(sizeof(*History));

    if (History == NULL) {
        return NULL;
    }
    History->Chunks[0] = KiAllocateChunk();
    if (History->Chunks[0] != NULL) {
        History->Table = HalCreateHashTable(KI_HISTORY_BUCKETS, KiReturnEntry, History);
    }
    if (History->Table == NULL) {
        KiFreeHistory(History);
        return NULL;
    }
    return History;
}

/* KiMachineLock held. */
static BOOLEAN KiEquipProcessor(PKPRCB Prcb)
{
    PKPRCB_DPC_HISTORY History = KiHistories[Prcb->Number];

    if (History == NULL) {
        History = KiCreateHistory();
        if (History == NULL) {
            return FALSE;
        }
        KeInitializeDpc(&History->Cleanup, KiCleanupRoutine, Prcb);
        History->Cleanup.Number = (USHORT)(Prcb->Number + 1);
        Prcb->DpcRuntimeHistoryHashTableCleanupDpc = &History->Cleanup;
        __atomic_store_n(&KiHistories[Prcb->Number], History, __ATOMIC_RELEASE);
    }
    return TRUE;
}

/* KiMachineLock held. */
static NTSTATUS KiSwitchDpcHistory(BOOLEAN Enable)
{
    if (Enable && KiHistoryStart.Time == 0) {
        KiHistoryStart.Stamp = HalTimeStamp();
        KiHistoryStart.Time = HalMonotonicTime();
    }
    for (ULONG Index = 0; Enable && Index < KiProcessorCount(); Index += 1) {
        if (!KiEquipProcessor(&KiProcessor(Index)->PrcbData)) {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
    }
    KiHistoryIsOn = Enable;
    for (ULONG Index = 0; Index < KiProcessorCount(); Index += 1) {
        __atomic_store_n(&KiProcessor(Index)->PrcbData.DpcRuntimeHistoryHashTable, Enable ? KiHistories[Index] : NULL,
                         __ATOMIC_RELEASE);
    }
    return STATUS_SUCCESS;
}

VOID KiFollowDpcHistory(PKPCR Pcr)
{
    HalAcquireMutex(&KiMachineLock);
    if (KiHistoryIsOn && KiEquipProcessor(&Pcr->PrcbData)) {
        __atomic_store_n(&Pcr->PrcbData.DpcRuntimeHistoryHashTable, KiHistories[Pcr->PrcbData.Number],
                         __ATOMIC_RELEASE);
    }
    HalReleaseMutex(&KiMachineLock);
}

NTSTATUS KiStartDpcHistory(VOID)
{
    const char *Text = HalEnvironment("KPRCB_DPC_HISTORY");
    BOOLEAN On = Text != NULL && strcmp(Text, "1") == 0;

    if (Text != NULL && !On && *Text != '\0' && strcmp(Text, "0") != 0) {
        HalPrint("kprcb: KPRCB_DPC_HISTORY=%s is neither 0 nor 1\n", Text);
        return STATUS_INVALID_PARAMETER;
    }
    return KiSwitchDpcHistory(On);
}

VOID KiFreeDpcHistory(VOID)
{
    for (ULONG Index = 0; Index < KPRCB_MAXIMUM_PROCESSORS; Index += 1) {
        if (KiHistories[Index] != NULL) {
            KiFreeHistory(KiHistories[Index]);
        }
    }
    KiAbandonDpcHistory();
}

VOID KiAbandonDpcHistory(VOID)
{
    for (ULONG Index = 0; Index < KPRCB_MAXIMUM_PROCESSORS; Index += 1) {
        KiHistories[Index] = NULL;
    }
    KiHistoryStart.Time = 0;
    KiHistoryIsOn = FALSE;
}

NTSTATUS KprcbSetDpcHistory(BOOLEAN Enable)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    NTSTATUS Status;

    if (Block->Irql >= DISPATCH_LEVEL) {
        return STATUS_INVALID_DEVICE_STATE;
    }
    HalAcquireMutex(&KiMachineLock);
    Status = KiSwitchDpcHistory(Enable);
    HalReleaseMutex(&KiMachineLock);
    return Status;
}

/* --- The query --- */

/* ns that a time stamp stands for. */
static double KiStampTime(VOID)
{
    ULONGLONG Stamps = HalTimeStamp() - KiHistoryStart.Stamp;
    ULONGLONG Time = HalMonotonicTime() - KiHistoryStart.Time;

    return Stamps != 0 ? (double)Time / (double)Stamps : 0;
}

/* Copies what there is room for, and returns how many there are. */
static ULONG KiCopyHistory(PHAL_HASH_TABLE Table, KPRCB_DPC_RUNTIME *Entries, ULONG Capacity, double Scale)
{
    HAL_HASH_ITERATOR Iterator;
    ULONG Found = 0;

    for (PHAL_HASH_NODE Node = HalFirstInTable(Table, &Iterator); Node != NULL;
         Node = HalNextInTable(Table, &Iterator)) {
        const KI_HISTORY_ENTRY *Entry = CONTAINING_RECORD(Node, const KI_HISTORY_ENTRY, Node);
        ULONGLONG Count = __atomic_load_n(&Entry->Count, __ATOMIC_ACQUIRE);

        /* One that has just been added has not been counted yet. */
        if (Count == 0) {
            continue;
        }
        if (Found < Capacity) {
            Entries[Found].Routine = __atomic_load_n(&Entry->Routine, __ATOMIC_RELAXED);
            Entries[Found].Count = Count;
            Entries[Found].LongestTime =
                (ULONGLONG)((double)__atomic_load_n(&Entry->Longest, __ATOMIC_ACQUIRE) * Scale);
            Entries[Found].TotalTime = (ULONGLONG)((double)__atomic_load_n(&Entry->Total, __ATOMIC_ACQUIRE) * Scale);
        }
        Found += 1;
    }
    return Found;
}

NTSTATUS KprcbQueryDpcHistory(ULONG ProcessorIndex, KPRCB_DPC_RUNTIME *Entries, ULONG Capacity, ULONG *Count)
{
    PKPRCB_DPC_HISTORY History;
    double Scale;

    (VOID) KiEnter();
    *Count = 0;
    if (ProcessorIndex >= KiProcessorCount()) {
        return STATUS_INVALID_PARAMETER;
    }
    History = __atomic_load_n(&KiHistories[ProcessorIndex], __ATOMIC_ACQUIRE);
    if (History == NULL) {
        return STATUS_SUCCESS;
    }
    Scale = KiStampTime();
    HalBeginRead();
    *Count = KiCopyHistory(History->Table, Entries, Capacity, Scale);
    HalEndRead();
    return *Count <= Capacity ? STATUS_SUCCESS : STATUS_BUFFER_TOO_SMALL;
}
