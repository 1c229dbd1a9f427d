/*
 * target.h - a machine in another process, read without stopping it.
 *
 * A target is found by the pages that debugdata.h of src/ke describes. Whatever comes from it may be wrong: it changes
 * while it is read, may end, and may lie. So sizes, counts and offsets are checked once, when it is opened; every read
 * may fail; every walk over a list ends.
 */
#ifndef KD_TARGET_H
#define KD_TARGET_H

#include "kd.h"
#include "ki.h"

/*
 * What the reader wants of the target's structures. A member that is NEEDED must be there and lie in its structure;
 * without the others something is not shown.
 */
#define KD_STRUCTURES(Row)                                                                                             \
    Row(KPCR, 65536) Row(KPRCB, 65536) Row(KTHREAD, 16384) Row(KPRCB_THREAD_BLOCK, 16384) Row(KSPIN_LOCK_QUEUE, 256)   \
        Row(KDPC_DATA, 1024) Row(KDPC, 1024) Row(KI_SLOT, 1024) Row(KPRCB_DPC_HISTORY, 4096)                           \
            Row(KI_HISTORY_ENTRY, 256)

/* clang-format off */
#define KD_FIELDS(Needed, Optional) \
    Needed(KPCR, Irql) \
    Needed(KPCR, Request) \
    Needed(KPCR, DpcInbox) \
    Needed(KPCR, Owner) \
    Needed(KPCR, Resident) \
    Needed(KPCR, PrcbData) \
    Optional(KPCR, HostProcessor) \
    Optional(KPCR, TokenWaiters) \
    Optional(KPCR, TokenHeir) \
    Needed(KPRCB, Number) \
    Needed(KPRCB, ResidentIrql) \
    Needed(KPRCB, Group) \
    Needed(KPRCB, GroupIndex) \
    Needed(KPRCB, CurrentThread) \
    Needed(KPRCB, IdleThread) \
    Needed(KPRCB, RequestSummary) \
    Needed(KPRCB, LockQueue) \
    Needed(KPRCB, DpcData) \
    Optional(KPRCB, DpcThread) \
    Optional(KPRCB, DpcThreadRequested) \
    Optional(KPRCB, DpcThreadActive) \
    Optional(KPRCB, ThreadDpcEnable) \
    Optional(KPRCB, DpcBypassCount) \
    Optional(KPRCB, AdjustDpcThreshold) \
    Optional(KPRCB, DpcTimeCount) \
    Optional(KPRCB, DpcTimeLimit) \
    Optional(KPRCB, DpcWatchdogPeriod) \
    Optional(KPRCB, DpcWatchdogCount) \
    Optional(KPRCB, ThreadWatchdogPeriod) \
    Optional(KPRCB, ThreadWatchdogCount) \
    Optional(KPRCB, DpcWatchdogProfileSingleDpcThreshold) \
    Optional(KPRCB, DpcWatchdogProfileCumulativeDpcThreshold) \
    Needed(KPRCB, DpcRoutineActive) \
    Optional(KPRCB, InterruptCount) \
    Optional(KPRCB, DpcRequestRate) \
    Optional(KPRCB, MinimumDpcRate) \
    Optional(KPRCB, MaximumDpcQueueDepth) \
    Optional(KPRCB, SignalDone) \
    Needed(KTHREAD, ThreadListEntry) \
    Needed(KTHREAD, Block) \
    Needed(KTHREAD, HostId) \
    Needed(KTHREAD, Kind) \
    Optional(KTHREAD, ThreadedFor) \
    Needed(KTHREAD, WaitReason) \
    Needed(KTHREAD, WaitObject) \
    Optional(KTHREAD, RestAt) \
    Optional(KTHREAD, WorksAt) \
    Needed(KPRCB_THREAD_BLOCK, Thread) \
    Needed(KPRCB_THREAD_BLOCK, Pcr) \
    Needed(KPRCB_THREAD_BLOCK, Irql) \
    Needed(KPRCB_THREAD_BLOCK, HeldCount) \
    Needed(KPRCB_THREAD_BLOCK, Held) \
    Optional(KPRCB_THREAD_BLOCK, HeldSurplus) \
    Needed(KSPIN_LOCK_QUEUE, Lock) \
    Needed(KDPC_DATA, DpcList) \
    Needed(KDPC_DATA, DpcQueueDepth) \
    Needed(KDPC_DATA, DpcCount) \
    Needed(KDPC_DATA, ActiveDpc) \
    Needed(KDPC, DpcListEntry) \
    Needed(KDPC, DeferredRoutine) \
    Needed(KDPC, DeferredContext) \
    Needed(KDPC, SystemArgument1) \
    Needed(KDPC, SystemArgument2) \
    Needed(KDPC, Type) \
    Needed(KDPC, Importance) \
    Needed(KDPC, Number) \
    Needed(KDPC, DpcData) \
    Optional(KPRCB, DpcRuntimeHistoryHashTable) \
    Needed(KPRCB_DPC_HISTORY, Chunk) \
    Needed(KPRCB_DPC_HISTORY, Carved) \
    Needed(KPRCB_DPC_HISTORY, Lost) \
    Needed(KPRCB_DPC_HISTORY, Chunks) \
    Needed(KI_HISTORY_ENTRY, Routine) \
    Needed(KI_HISTORY_ENTRY, Count) \
    Needed(KI_HISTORY_ENTRY, Total) \
    Needed(KI_HISTORY_ENTRY, Longest) \
    Optional(KI_SLOT, Worker) \
    Optional(KI_SLOT, LastTurn)
/* clang-format on */

#define KD_VALUES(Row)                                                                                                 \
    Row(KiProcessors) Row(KiMaximumProcessors) Row(KiProcessorCount) Row(KiChecked) Row(KiThreadListHead)              \
        Row(KiFreeThreadListHead) Row(KiInboxPointer) Row(KiInboxOne) Row(KiInboxFull) Row(KiSlots) Row(KiSlotCount)   \
            Row(KiHistoryStart) Row(KiHistoryChunk)

#define KD_ENUMERATE_STRUCTURE(Structure, Largest) KdSizeOf##Structure,
typedef enum _KD_STRUCTURE_INDEX { KD_STRUCTURES(KD_ENUMERATE_STRUCTURE) KdStructureCount } KD_STRUCTURE_INDEX;
#define KD_ENUMERATE_FIELD(Structure, Member) Kd##Structure##_##Member,
typedef enum _KD_FIELD_INDEX { KD_FIELDS(KD_ENUMERATE_FIELD, KD_ENUMERATE_FIELD) KdFieldCount } KD_FIELD_INDEX;
#define KD_ENUMERATE_VALUE(Name) Kd##Name,
typedef enum _KD_VALUE_INDEX { KD_VALUES(KD_ENUMERATE_VALUE) KdValueCount } KD_VALUE_INDEX;

typedef struct _KD_FIELD {
    ULONG Offset;
    ULONG Size; /* 0: the target does not say */
} KD_FIELD;

typedef struct _KD_TARGET {
    ULONG Pid;
    char Process[16];       /* its name */
    ULONGLONG BlockAddress; /* of the debugger data block */
    KI_DEBUG_HEADER Header;
    ULONG Sizes[KdStructureCount];
    KD_FIELD Fields[KdFieldCount];
    ULONGLONG Values[KdValueCount];
    BOOLEAN SameLayout; /* of KPCR and KPRCB, as this command's: same library version, sizes and offsets */
    struct _KD_SYMBOLS *Symbols;
} KD_TARGET, *PKD_TARGET;

/* --- target.c --- */

/* An exit code; complains. KD_OK: the caller closes it. */
int KdOpenTarget(ULONG Pid, PKD_TARGET Target);
void KdCloseTarget(PKD_TARGET Target);
/* The machine that was opened still runs. */
BOOLEAN KdTargetRuns(const KD_TARGET *Target);
/* Why it does not any more, as a line for the user. */
const char *KdTargetEnd(const KD_TARGET *Target);
/* How many processors are active: more may come. 0: it cannot be read. */
ULONG KdTargetProcessors(const KD_TARGET *Target);
/* All bytes or FALSE. */
BOOLEAN KdReadTarget(const KD_TARGET *Target, ULONGLONG Address, void *Buffer, size_t Size);
/* A string of the target, at most Size - 1 bytes of it, unprintable ones as '?'. Empty if it cannot be read. */
void KdReadTargetText(const KD_TARGET *Target, ULONGLONG Address, char *Text, size_t Size);
/* A member of a structure that has been read whole; 0 if the target does not have it. */
ULONGLONG KdGet(const KD_TARGET *Target, const UCHAR *Structure, KD_FIELD_INDEX Field);
static inline BOOLEAN KdHas(const KD_TARGET *Target, KD_FIELD_INDEX Field)
{
    return Target->Fields[Field].Size != 0;
}
/* What is no printable ASCII becomes '?': text of a target may hold a terminal's commands. */
void KdMakePrintable(char *Text);
/* The first line of a file of /proc/PID, unprintable bytes as '?'. FALSE: there is none. */
BOOLEAN KdReadProcLine(ULONG Pid, const char *File, char *Text, size_t Size);

/* --- symbol.c --- */

/*
 * "Routine+0x12", "module+0x1234", or nothing: what an address of the target is, by its mappings and the symbols of
 * the files behind them.
 */
void KdSymbolize(PKD_TARGET Target, ULONGLONG Address, char *Text, size_t Size);
void KdFreeSymbols(PKD_TARGET Target);

/* --- sample.c: a look at the whole machine --- */

#define KD_MAXIMUM_THREADS 16384
#define KD_MAXIMUM_HELD KPRCB_HELD_LOCKS

typedef enum _KD_LOCK_KIND { KdSpinLock, KdQueuedSpinLock, KdExclusiveSpinLock, KdSharedSpinLock } KD_LOCK_KIND;

/* By the two low bits of an entry of KPRCB_THREAD_BLOCK.Held. */
typedef struct _KD_HELD {
    KD_LOCK_KIND Kind;
    BOOLEAN Waits;     /* queued, not yet owner */
    ULONGLONG Address; /* of the lock; of a queued one that could not be read 0 */
    ULONGLONG Node;    /* of a queued one */
    LONG Number;       /* of a numbered one, else -1 */
} KD_HELD;

typedef struct _KD_THREAD {
    ULONGLONG Address; /* of the KTHREAD */
    LONG HostId;
    UCHAR Kind;        /* KI_THREAD_KIND */
    BOOLEAN BlockRead; /* Irql, Pcr and the locks are known */
    KIRQL Irql;
    char Name[16]; /* the host's; of a thread of the machine "idle" or "dpc" */
    ULONGLONG Pcr;
    ULONGLONG WaitObject;
    char WaitReason[64]; /* empty: it does not wait, or not for long */
    ULONGLONG WorksAt, RestAt;
    ULONG HeldSurplus;
    ULONG HeldCount;
    KD_HELD Held[KD_MAXIMUM_HELD];
} KD_THREAD, *PKD_THREAD;

typedef struct _KD_SLOT {
    ULONG Index;
    ULONGLONG Address;
    ULONGLONG Worker;
    ULONGLONG LastTurn;
} KD_SLOT;

typedef struct _KD_SAMPLE {
    ULONGLONG Time; /* ns */
    ULONG ProcessorCount;
    UCHAR *Processors; /* KPCRs, one after the other */
    UCHAR *Steady;     /* of each: 1, the words of ownership did not change while it was read */
    ULONG ThreadCount;
    PKD_THREAD Threads;
    BOOLEAN ThreadsComplete; /* the list of threads stood still while it was walked */
    ULONG SlotCount;
    KD_SLOT *Slots; /* hot locks: those that have a worker */
} KD_SAMPLE, *PKD_SAMPLE;

/* FALSE: the machine has stopped, or no memory; nothing is to be freed. */
BOOLEAN KdTakeSample(PKD_TARGET Target, PKD_SAMPLE Sample);
void KdFreeSample(PKD_SAMPLE Sample);
const KD_THREAD *KdFindThread(const KD_SAMPLE *Sample, ULONGLONG Address);
static inline const UCHAR *KdPcr(const KD_TARGET *Target, const KD_SAMPLE *Sample, ULONG Index)
{
    return Sample->Processors + (size_t)Index * Target->Sizes[KdSizeOfKPCR];
}
static inline const UCHAR *KdPrcb(const KD_TARGET *Target, const KD_SAMPLE *Sample, ULONG Index)
{
    return KdPcr(Target, Sample, Index) + Target->Fields[KdKPCR_PrcbData].Offset;
}
ULONGLONG KdPcrAddress(const KD_TARGET *Target, ULONG Index);
/* The processor of a KPCR's address, or -1. */
LONG KdProcessorOf(const KD_TARGET *Target, ULONGLONG Address);

typedef enum _KD_OWNED { KdNotOwned, KdOwnedByToken, KdOwnedByBias } KD_OWNED;

/* As KiQueryOwner: the resident above DISPATCH_LEVEL comes before a holder of the token that waits for it. */
KD_OWNED KdQueryOwner(const KD_TARGET *Target, const UCHAR *Pcr, PULONGLONG Owner, PULONG Irql);

/* --- view.c: what the commands that look at a target share --- */

typedef struct _KD_VIEW KD_VIEW;

/* Previous is NULL for the first sample; otherwise rates are shown. Of JSON, members of an object that is open. */
typedef void KD_SHOW(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, const KD_VIEW *View);

struct _KD_VIEW {
    const char *Name;
    KD_SHOW *Text;
    KD_SHOW *Json;
    BOOLEAN OneProcessor; /* the command may name one */
    BOOLEAN OwnLayout;    /* it shows whole structures, by this command's own description */
    /* Set by KdRunView. */
    ULONG First, Last; /* processors; those of them that there are */
};

/* Runs a command: looks at a process or a machine of its own, once or until the user or the target ends it. */
int KdRunView(const KD_OPTIONS *Options, int Count, char **Arguments, const KD_VIEW *View);
void KdShow(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, const KD_VIEW *View, BOOLEAN Json);
/* Events a second, by a counter of 32 bits. */
ULONGLONG KdRate(ULONG Now, ULONG Before, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous);
/* The sample before, if the processor was there already, else NULL. */
static inline const KD_SAMPLE *KdBefore(const KD_SAMPLE *Previous, ULONG Processor)
{
    return Previous != NULL && Processor < Previous->ProcessorCount ? Previous : NULL;
}
/* "1240 worker", "1241 idle", "0x7f..."; "-" for 0. */
void KdNameThread(const KD_SAMPLE *Sample, ULONGLONG Address, char *Text, size_t Size);
/* An object, or null for 0. */
void KdJsonThread(const KD_SAMPLE *Sample, const char *Name, ULONGLONG Address);
/* "0x7f... Symbol". */
void KdNameAddress(PKD_TARGET Target, ULONGLONG Address, char *Text, size_t Size);
/* The member Name, and Name with "Symbol" behind it where there is one. */
void KdJsonAddress(PKD_TARGET Target, const char *Name, ULONGLONG Address);

/* --- watch.c --- */

/* Shows samples until the user ends it (q, or a signal), or the target. An exit code. */
int KdWatch(PKD_TARGET Target, const KD_VIEW *View, const KD_OPTIONS *Options);

#endif
