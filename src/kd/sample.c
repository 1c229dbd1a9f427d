/*
 * sample.c - one look at a machine in another process: its processors, threads, held locks and hot locks.
 *
 * The target goes on meanwhile, so a sample is no snapshot. What it takes care of:
 *
 *   processors   each is read twice; unless the words of ownership are the same, again, a few times. Steady tells.
 *   threads      the list is walked without its lock. Memory of threads is not given back while the machine runs, so
 *                every read succeeds; an entry that was taken out meanwhile leads to another list. Each entry must point
 *                back to the one before, and the heads are known; else the walk begins anew, a few times, and what the
 *                last one found is shown as incomplete.
 *   held locks   lie in thread-local storage, which may be gone; the block must point back to its thread.
 *   all          afterwards the debugger data block must be there still, and of the same start.
 *
 * Test: tests/kd/test_target.c.
 */
#include "target.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WALKS 8
#define READS 4

ULONGLONG KdPcrAddress(const KD_TARGET *Target, ULONG Index)
{
    return Target->Values[KdKiProcessors] + (ULONGLONG)Index * Target->Sizes[KdSizeOfKPCR];
}

LONG KdProcessorOf(const KD_TARGET *Target, ULONGLONG Address)
{
    ULONGLONG Offset = Address - Target->Values[KdKiProcessors];
    ULONGLONG Index = Offset / Target->Sizes[KdSizeOfKPCR];

    if (Index >= Target->Values[KdKiMaximumProcessors] || Offset % Target->Sizes[KdSizeOfKPCR] != 0) {
        return -1;
    }
    return (LONG)Index;
}

static ULONG KdResidentIrql(const KD_TARGET *Target, const UCHAR *Pcr)
{
    return (ULONG)KdGet(Target, Pcr + Target->Fields[KdKPCR_PrcbData].Offset, KdKPRCB_ResidentIrql);
}

static BOOLEAN KdSameOwnership(const KD_TARGET *Target, const UCHAR *First, const UCHAR *Second)
{
    static const KD_FIELD_INDEX Words[] = {KdKPCR_Irql, KdKPCR_Request, KdKPCR_Owner, KdKPCR_Resident};

    for (ULONG Index = 0; Index < ARRAYSIZE(Words); Index++) {
        if (KdGet(Target, First, Words[Index]) != KdGet(Target, Second, Words[Index])) {
            return FALSE;
        }
    }
    return KdResidentIrql(Target, First) == KdResidentIrql(Target, Second);
}

static BOOLEAN KdReadProcessors(const KD_TARGET *Target, PKD_SAMPLE Sample)
{
    size_t Size = Target->Sizes[KdSizeOfKPCR];
    UCHAR *Second = malloc(Size);
    BOOLEAN Read = Second != NULL;

    /* One call for all, and then one for each that is looked at again. */
    Read = Read && KdReadTarget(Target, KdPcrAddress(Target, 0), Sample->Processors, Size * Sample->ProcessorCount);
    for (ULONG Index = 0; Index < Sample->ProcessorCount && Read; Index++) {
        UCHAR *Pcr = Sample->Processors + Size * Index;

        for (ULONG Try = 0; Try < READS && Sample->Steady[Index] == 0 && Read; Try++) {
            Read = KdReadTarget(Target, KdPcrAddress(Target, Index), Second, Size);
            Sample->Steady[Index] = Read && KdSameOwnership(Target, Pcr, Second);
            if (Read) {
                memcpy(Pcr, Second, Size);
            }
        }
    }
    free(Second);
    return Read;
}

/* --- locks --- */

/* A node that lies in a KPRCB is that of a numbered lock. */
static LONG KdLockNumber(const KD_TARGET *Target, ULONGLONG Node)
{
    ULONG Stride = Target->Sizes[KdSizeOfKPCR];
    ULONGLONG Offset = Node - Target->Values[KdKiProcessors];
    ULONG First = Target->Fields[KdKPCR_PrcbData].Offset + Target->Fields[KdKPRCB_LockQueue].Offset;
    ULONGLONG Within = Offset % Stride;

    if (Offset / Stride >= Target->Values[KdKiMaximumProcessors] || Within < First ||
        Within >= First + Target->Fields[KdKPRCB_LockQueue].Size) {
        return -1;
    }
    return (LONG)((Within - First) / Target->Sizes[KdSizeOfKSPIN_LOCK_QUEUE]);
}

static void KdReadHeld(const KD_TARGET *Target, ULONGLONG Entry, KD_HELD *Held)
{
    UCHAR Node[256];

    *Held = (KD_HELD){.Address = Entry & ~3ull, .Number = -1};
    switch (Entry & 3) {
    case 0:
        Held->Kind = KdSpinLock;
        break;
    case 2:
        Held->Kind = KdExclusiveSpinLock;
        break;
    case 3:
        Held->Kind = KdSharedSpinLock;
        break;
    default:
        Held->Kind = KdQueuedSpinLock;
        Held->Node = Held->Address;
        Held->Address = 0;
        Held->Number = KdLockNumber(Target, Held->Node);
        if (KdReadTarget(Target, Held->Node, Node, Target->Sizes[KdSizeOfKSPIN_LOCK_QUEUE])) {
            ULONGLONG Lock = KdGet(Target, Node, KdKSPIN_LOCK_QUEUE_Lock);

            Held->Address = Lock & ~3ull;
            Held->Waits = (Lock & LOCK_QUEUE_WAIT) != 0;
        }
        break;
    }
}

static void KdReadBlock(const KD_TARGET *Target, ULONGLONG Address, PKD_THREAD Thread)
{
    UCHAR *Block = malloc(Target->Sizes[KdSizeOfKPRCB_THREAD_BLOCK]);
    const KD_FIELD *Held = &Target->Fields[KdKPRCB_THREAD_BLOCK_Held];
    ULONG Count;

    if (Block == NULL || !KdReadTarget(Target, Address, Block, Target->Sizes[KdSizeOfKPRCB_THREAD_BLOCK]) ||
        KdGet(Target, Block, KdKPRCB_THREAD_BLOCK_Thread) != Thread->Address) {
        free(Block);
        return;
    }
    Thread->BlockRead = TRUE;
    Thread->Irql = (KIRQL)KdGet(Target, Block, KdKPRCB_THREAD_BLOCK_Irql);
    Thread->Pcr = KdGet(Target, Block, KdKPRCB_THREAD_BLOCK_Pcr);
    Thread->HeldSurplus = (ULONG)KdGet(Target, Block, KdKPRCB_THREAD_BLOCK_HeldSurplus);
    Count = (ULONG)KdGet(Target, Block, KdKPRCB_THREAD_BLOCK_HeldCount);
    for (ULONG Index = 0; Index < Count && Index < Held->Size / sizeof(ULONG_PTR) && Index < KD_MAXIMUM_HELD; Index++) {
        ULONG_PTR Entry;

        memcpy(&Entry, Block + Held->Offset + Index * sizeof(Entry), sizeof(Entry));
        /* The count is raised before the entry is stored. */
        if (Entry != 0 && (PVOID)Entry != KI_NO_LOCK) {
            KdReadHeld(Target, Entry, &Thread->Held[Thread->HeldCount]);
            Thread->HeldCount++;
        }
    }
    free(Block);
}

/* --- threads --- */

static void KdReadThread(const KD_TARGET *Target, const UCHAR *Bytes, PKD_THREAD Thread)
{
    ULONGLONG Block = KdGet(Target, Bytes, KdKTHREAD_Block);
    ULONGLONG Reason = KdGet(Target, Bytes, KdKTHREAD_WaitReason);
    char File[32];

    Thread->HostId = (LONG)KdGet(Target, Bytes, KdKTHREAD_HostId);
    Thread->Kind = (UCHAR)KdGet(Target, Bytes, KdKTHREAD_Kind);
    Thread->WorksAt = KdGet(Target, Bytes, KdKTHREAD_WorksAt);
    Thread->RestAt = KdGet(Target, Bytes, KdKTHREAD_RestAt);
    if (Reason != 0) {
        Thread->WaitObject = KdGet(Target, Bytes, KdKTHREAD_WaitObject);
        KdReadTargetText(Target, Reason, Thread->WaitReason, sizeof(Thread->WaitReason));
    }
    if (Block != 0) {
        KdReadBlock(Target, Block, Thread);
    }
    if (Thread->Kind == KiMachineThread) {
        strcpy(Thread->Name, KdGet(Target, Bytes, KdKTHREAD_ThreadedFor) != 0 ? "dpc" : "idle");
    } else if (Thread->HostId > 0) {
        snprintf(File, sizeof(File), "task/%ld/comm", (long)Thread->HostId);
        if (!KdReadProcLine(Target->Pid, File, Thread->Name, sizeof(Thread->Name))) {
            Thread->Name[0] = 0;
        }
    }
}

static PKD_THREAD KdNewThread(PKD_SAMPLE Sample)
{
    if (Sample->ThreadCount >= KD_MAXIMUM_THREADS) {
        return NULL;
    }
    /* Doubles at each power of two. */
    if ((Sample->ThreadCount & (Sample->ThreadCount - 1)) == 0) {
        ULONG Room = Sample->ThreadCount != 0 ? 2 * Sample->ThreadCount : 1;
        PKD_THREAD Threads = realloc(Sample->Threads, Room * sizeof(*Threads));

        if (Threads == NULL) {
            return NULL;
        }
        Sample->Threads = Threads;
    }
    memset(&Sample->Threads[Sample->ThreadCount], 0, sizeof(*Sample->Threads));
    return &Sample->Threads[Sample->ThreadCount++];
}

/* One walk. FALSE: the list changed, or is not one. */
static BOOLEAN KdWalkThreads(const KD_TARGET *Target, UCHAR *Bytes, PKD_SAMPLE Sample)
{
    ULONG Links = Target->Fields[KdKTHREAD_ThreadListEntry].Offset;
    ULONGLONG Head = Target->Values[KdKiThreadListHead];
    ULONGLONG Before = Head;
    ULONG_PTR Link[2]; /* Flink, Blink */

    Sample->ThreadCount = 0;
    if (!KdReadTarget(Target, Head, Link, sizeof(Link))) {
        return FALSE;
    }
    while (Link[0] != Head) {
        ULONGLONG Entry = Link[0];
        PKD_THREAD Thread;

        if (Entry == Target->Values[KdKiFreeThreadListHead] || Entry < Links ||
            !KdReadTarget(Target, Entry - Links, Bytes, Target->Sizes[KdSizeOfKTHREAD])) {
            return FALSE;
        }
        memcpy(Link, Bytes + Links, sizeof(Link));
        if (Link[1] != Before) {
            return FALSE;
        }
        Thread = KdNewThread(Sample);
        if (Thread == NULL) {
            return FALSE;
        }
        Thread->Address = Entry - Links;
        KdReadThread(Target, Bytes, Thread);
        Before = Entry;
    }
    return Link[1] == Before || Before != Head;
}

static BOOLEAN KdReadThreads(const KD_TARGET *Target, PKD_SAMPLE Sample)
{
    UCHAR *Bytes = malloc(Target->Sizes[KdSizeOfKTHREAD]);

    if (Bytes == NULL) {
        return FALSE;
    }
    for (ULONG Walk = 0; Walk < WALKS && !Sample->ThreadsComplete; Walk++) {
        Sample->ThreadsComplete = KdWalkThreads(Target, Bytes, Sample);
        /* Too many: a further walk finds no fewer. */
        if (Sample->ThreadCount >= KD_MAXIMUM_THREADS) {
            break;
        }
    }
    free(Bytes);
    return TRUE;
}

const KD_THREAD *KdFindThread(const KD_SAMPLE *Sample, ULONGLONG Address)
{
    for (ULONG Index = 0; Index < Sample->ThreadCount && Address != 0; Index++) {
        if (Sample->Threads[Index].Address == Address) {
            return &Sample->Threads[Index];
        }
    }
    return NULL;
}

/* --- hot locks --- */

static BOOLEAN KdReadSlots(const KD_TARGET *Target, PKD_SAMPLE Sample)
{
    size_t Size = Target->Sizes[KdSizeOfKI_SLOT];
    ULONG Count = (ULONG)Target->Values[KdKiSlotCount];
    UCHAR *Slots;

    if (Count == 0 || !KdHas(Target, KdKI_SLOT_Worker)) {
        return TRUE;
    }
    Slots = malloc(Size * Count);
    Sample->Slots = malloc(Count * sizeof(*Sample->Slots));
    if (Slots == NULL || Sample->Slots == NULL) {
        free(Slots);
        return FALSE;
    }
    if (KdReadTarget(Target, Target->Values[KdKiSlots], Slots, Size * Count)) {
        for (ULONG Index = 0; Index < Count; Index++) {
            ULONGLONG Worker = KdGet(Target, Slots + Size * Index, KdKI_SLOT_Worker);

            if (Worker != 0) {
                Sample->Slots[Sample->SlotCount++] =
                    (KD_SLOT){.Index = Index,
                              .Address = Target->Values[KdKiSlots] + Size * Index,
                              .Worker = Worker,
                              .LastTurn = KdGet(Target, Slots + Size * Index, KdKI_SLOT_LastTurn)};
            }
        }
    }
    free(Slots);
    return TRUE;
}

BOOLEAN KdTakeSample(PKD_TARGET Target, PKD_SAMPLE Sample)
{
    struct timespec Now;

    memset(Sample, 0, sizeof(*Sample));
    clock_gettime(CLOCK_MONOTONIC, &Now);
    Sample->Time = (ULONGLONG)Now.tv_sec * 1000000000u + (ULONGLONG)Now.tv_nsec;
    Sample->ProcessorCount = KdTargetProcessors(Target);
    Sample->Processors = malloc((size_t)Sample->ProcessorCount * Target->Sizes[KdSizeOfKPCR]);
    Sample->Steady = calloc(Sample->ProcessorCount, 1);
    if (Sample->ProcessorCount == 0 || Sample->Processors == NULL || Sample->Steady == NULL ||
        !KdReadProcessors(Target, Sample) || !KdReadThreads(Target, Sample) || !KdReadSlots(Target, Sample) ||
        !KdTargetRuns(Target)) {
        KdFreeSample(Sample);
        return FALSE;
    }
    return TRUE;
}

void KdFreeSample(PKD_SAMPLE Sample)
{
    free(Sample->Processors);
    free(Sample->Steady);
    free(Sample->Threads);
    free(Sample->Slots);
    memset(Sample, 0, sizeof(*Sample));
}

KD_OWNED KdQueryOwner(const KD_TARGET *Target, const UCHAR *Pcr, PULONGLONG Owner, PULONG Irql)
{
    ULONG ResidentIrql = KdResidentIrql(Target, Pcr);
    ULONGLONG Resident = KdGet(Target, Pcr, KdKPCR_Resident);

    *Owner = KdGet(Target, Pcr, KdKPCR_Owner);
    *Irql = ResidentIrql;
    if (Resident != 0 && ResidentIrql >= DISPATCH_LEVEL) {
        *Owner = Resident;
        return KdOwnedByBias;
    }
    if (*Owner != 0) {
        *Irql = (ULONG)KdGet(Target, Pcr, KdKPCR_Irql);
        return KdOwnedByToken;
    }
    return KdNotOwned;
}
