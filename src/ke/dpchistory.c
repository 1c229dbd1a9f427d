/*
 * dpchistory.c - how often and how long each DPC routine has run, for each processor.
 *
 * A table of a fixed size from routine to count, total and longest time, open addressing. The owner of the processor alone
 * changes it, on each DPC; anyone reads it, rarely. So it is no matter for read-copy-update: every word is written by a
 * plain store of one thread, and entries stay where they are until a cleanup.
 *
 * As a table has got full, the owner queues DpcRuntimeHistoryHashTableCleanupDpc to itself, which moves the entries that
 * matter to the other of two tables: those that have run since the last cleanup and have taken the mean time or more, at
 * most half of what there is room for. What comes meanwhile is not recorded.
 *
 *   word                           written by                                 read by, ordering
 *   KPRCB.DpcRuntimeHistory-       KprcbSetDpcHistory, under KiMachineLock    the owner: release / acquire. Tables stay until
 *   HashTable                                                                 the machine stops
 *   entry: Total, Longest, Count   the owner, in this order, release          readers in the opposite order, acquire: the runs
 *                                                                             that Count tells are in Total, and so is Longest
 *   entry: Routine                 the owner, release                         readers, acquire; NULL ends a search
 *   Sequence                       the owner: odd during a cleanup            readers: before and after, as a sequence lock.
 *                                                                             All that it guards is stored by release and
 *                                                                             loaded by acquire, which orders it against these
 *   Current                        the owner, in a cleanup, release           readers, acquire
 *
 * Times are the host's time stamps, and become nanoseconds in the query by what both clocks have run since the machine
 * got its first table. They are not CPU time: a routine that loses its CPU, or is interrupted, is charged for that.
 *
 * Tests: tests/ke/test_dpchistory.c, tests/stress/stress_dpchistory.c.
 */
#include "dpcqueue.h"

#define KI_HISTORY_BITS 10
#define KI_HISTORY_ENTRIES (1u << KI_HISTORY_BITS)
#define KI_HISTORY_FULL (KI_HISTORY_ENTRIES / 4 * 3)

typedef struct _KI_HISTORY_ENTRY {
    PKDEFERRED_ROUTINE volatile Routine;
    ULONGLONG volatile Count;
    ULONGLONG volatile Total; /* time stamps */
    ULONGLONG volatile Longest;
    ULONG Turn; /* the one in which it ran last; the owner alone */
} KI_HISTORY_ENTRY, *PKI_HISTORY_ENTRY;

typedef struct _KPRCB_DPC_HISTORY {
    ULONG volatile Sequence;
    ULONG volatile Current; /* the table in use */
    ULONG Used;             /* entries of it; like the next two the owner's alone */
    ULONG Turn;             /* cleanups so far */
    ULONG Lost;             /* runs that found no room */
    KDPC Cleanup;
    KI_HISTORY_ENTRY Tables[2][KI_HISTORY_ENTRIES];
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

/* The entry of Routine, or the free one where it belongs. There is always a free one. */
static PKI_HISTORY_ENTRY KiFindHistory(PKI_HISTORY_ENTRY Table, PKDEFERRED_ROUTINE Routine)
{
    ULONG Index = (ULONG)(((ULONGLONG)(ULONG_PTR)Routine * 0x9E3779B97F4A7C15ull) >> (64 - KI_HISTORY_BITS));

    while (Table[Index].Routine != NULL && Table[Index].Routine != Routine) {
        Index = (Index + 1) % KI_HISTORY_ENTRIES;
    }
    return &Table[Index];
}

static PKI_HISTORY_ENTRY KiAddHistory(PKPRCB Prcb, PKPRCB_DPC_HISTORY History, PKDEFERRED_ROUTINE Routine)
{
    PKI_HISTORY_ENTRY Entry = KiFindHistory(History->Tables[History->Current], Routine);

    if (Entry->Routine == NULL) {
        if (History->Used >= KI_HISTORY_FULL) {
            History->Lost += 1;
            (VOID) KeInsertQueueDpc(&History->Cleanup, NULL, NULL);
            return NULL;
        }
        History->Used += 1;
        __atomic_store_n(&Entry->Routine, Routine, __ATOMIC_RELEASE);
    }
    Prcb->CurrentDpcRuntimeHistoryCached = (ULONG_PTR)Entry;
    return Entry;
}

VOID KiRecordDpc(PKPRCB Prcb, PKDEFERRED_ROUTINE Routine, ULONGLONG Elapsed)
{
    PKPRCB_DPC_HISTORY History = KiHistories[Prcb->Number];
    PKI_HISTORY_ENTRY Entry = (PKI_HISTORY_ENTRY)(ULONG_PTR)Prcb->CurrentDpcRuntimeHistoryCached;

    if (Entry == NULL || Entry->Routine != Routine) {
        Entry = KiAddHistory(Prcb, History, Routine);
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

/* --- The cleanup --- */

static ULONGLONG KiMeanTotal(PKI_HISTORY_ENTRY Table, ULONG Used)
{
    ULONGLONG Mean = 0;

    for (ULONG Index = 0; Index < KI_HISTORY_ENTRIES; Index += 1) {
        Mean += Table[Index].Total / Used;
    }
    return Mean;
}

static VOID KiEmptyTable(PKI_HISTORY_ENTRY Table)
{
    for (ULONG Index = 0; Index < KI_HISTORY_ENTRIES; Index += 1) {
        __atomic_store_n(&Table[Index].Routine, NULL, __ATOMIC_RELEASE);
        __atomic_store_n(&Table[Index].Total, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&Table[Index].Longest, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&Table[Index].Count, 0, __ATOMIC_RELEASE);
    }
}

static VOID KiMoveHistory(PKI_HISTORY_ENTRY To, const KI_HISTORY_ENTRY *From)
{
    To->Turn = From->Turn;
    __atomic_store_n(&To->Total, From->Total, __ATOMIC_RELEASE);
    __atomic_store_n(&To->Longest, From->Longest, __ATOMIC_RELEASE);
    __atomic_store_n(&To->Count, From->Count, __ATOMIC_RELEASE);
    __atomic_store_n(&To->Routine, From->Routine, __ATOMIC_RELEASE);
}

static VOID KiCleanHistory(PKPRCB Prcb, PKPRCB_DPC_HISTORY History)
{
    PKI_HISTORY_ENTRY Old = History->Tables[History->Current];
    PKI_HISTORY_ENTRY New = History->Tables[1 - History->Current];
    ULONGLONG Mean = KiMeanTotal(Old, History->Used);
    ULONG Kept = 0;

    /* A reader in an interrupt would wait for its own thread. */
    KiMaskInterrupts(&KprcbThread);
    __atomic_store_n(&History->Sequence, History->Sequence + 1, __ATOMIC_RELAXED);
    KiEmptyTable(New);
    for (ULONG Index = 0; Index < KI_HISTORY_ENTRIES && Kept < KI_HISTORY_FULL / 2; Index += 1) {
        if (Old[Index].Routine != NULL && Old[Index].Turn == History->Turn && Old[Index].Total >= Mean) {
            KiMoveHistory(KiFindHistory(New, Old[Index].Routine), &Old[Index]);
            Kept += 1;
        }
    }
    History->Used = Kept;
    History->Turn += 1;
    Prcb->CurrentDpcRuntimeHistoryCached = 0;
    __atomic_store_n(&History->Current, 1 - History->Current, __ATOMIC_RELEASE);
    __atomic_store_n(&History->Sequence, History->Sequence + 1, __ATOMIC_RELEASE);
    KiUnmaskInterrupts(&KprcbThread);
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

/* KiMachineLock held. */
static BOOLEAN KiEquipProcessor(PKPRCB Prcb)
{
    PKPRCB_DPC_HISTORY History = KiHistories[Prcb->Number];

    if (History == NULL) {
        History = HalAllocatePages(sizeof(*History));
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

    return KiSwitchDpcHistory(Text != NULL && *Text != '\0' && *Text != '0');
}

VOID KiFreeDpcHistory(VOID)
{
    for (ULONG Index = 0; Index < KPRCB_MAXIMUM_PROCESSORS; Index += 1) {
        if (KiHistories[Index] != NULL) {
            HalFreePages(KiHistories[Index], sizeof(KPRCB_DPC_HISTORY));
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
static ULONG KiCopyHistory(const KI_HISTORY_ENTRY *Table, KPRCB_DPC_RUNTIME *Entries, ULONG Capacity, double Scale)
{
    ULONG Found = 0;

    for (ULONG Index = 0; Index < KI_HISTORY_ENTRIES; Index += 1) {
        const KI_HISTORY_ENTRY *Entry = &Table[Index];
        PKDEFERRED_ROUTINE Routine = __atomic_load_n(&Entry->Routine, __ATOMIC_ACQUIRE);
        ULONGLONG Count = __atomic_load_n(&Entry->Count, __ATOMIC_ACQUIRE);

        /* One that has just been added has not been counted yet. */
        if (Routine == NULL || Count == 0) {
            continue;
        }
        if (Found < Capacity) {
            Entries[Found].Routine = Routine;
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
    ULONG Sequence;
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
    for (ULONG Steps = 1;; Steps += 1) {
        Sequence = __atomic_load_n(&History->Sequence, __ATOMIC_ACQUIRE);
        if (Sequence % 2 == 0) {
            ULONG Current = __atomic_load_n(&History->Current, __ATOMIC_ACQUIRE);

            *Count = KiCopyHistory(History->Tables[Current], Entries, Capacity, Scale);
            if (__atomic_load_n(&History->Sequence, __ATOMIC_RELAXED) == Sequence) {
                break;
            }
        }
        KiPauseOrYield(Steps);
    }
    return *Count <= Capacity ? STATUS_SUCCESS : STATUS_BUFFER_TOO_SMALL;
}
