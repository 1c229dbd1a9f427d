/*
 * locks.c - `kprcb locks`: who owns and awaits which lock, what each thread holds and waits for, and the hot locks.
 *
 * A lock is known by the threads that hold it or queue for it; one that nobody has does not appear. Test:
 * tests/kd/test_live.c.
 */
#include "target.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef enum _KD_ROLE { KdRoleOwns, KdRoleQueued, KdRoleSpins } KD_ROLE;

/* One thread at one lock. */
typedef struct _KD_AT_LOCK {
    ULONGLONG Lock;
    KD_ROLE Role;
    const KD_THREAD *Thread;
    const KD_HELD *Held; /* NULL: it spins, and WaitReason says for what */
} KD_AT_LOCK;

static const char *KdKindName(KD_LOCK_KIND Kind)
{
    static const char *const Names[] = {"spin lock", "queued spin lock", "reader/writer spin lock",
                                        "reader/writer spin lock"};

    return Names[Kind];
}

static const char *KdHowName(const KD_HELD *Held)
{
    if (Held->Waits) {
        return "queued";
    }
    return Held->Kind == KdExclusiveSpinLock ? "exclusive" : Held->Kind == KdSharedSpinLock ? "shared" : "owner";
}

static int KdCompareAtLock(const void *Left, const void *Right)
{
    const KD_AT_LOCK *A = Left, *B = Right;

    if (A->Lock != B->Lock) {
        return A->Lock < B->Lock ? -1 : 1;
    }
    return (int)A->Role - (int)B->Role;
}

/* A thread that spins for a processor is no business of this command; one that has queued has its node. */
static BOOLEAN KdSpinsForLock(const KD_TARGET *Target, const KD_THREAD *Thread)
{
    if (Thread->WaitReason[0] == 0 || Thread->WaitObject == 0 || KdProcessorOf(Target, Thread->WaitObject) >= 0) {
        return FALSE;
    }
    for (ULONG Index = 0; Index < Thread->HeldCount; Index++) {
        if (Thread->Held[Index].Address == Thread->WaitObject) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Sorted by lock. NULL: no memory. The caller frees it. */
static KD_AT_LOCK *KdCollect(const KD_TARGET *Target, const KD_SAMPLE *Sample, ULONG *Count)
{
    ULONG Room = 1;
    KD_AT_LOCK *All;

    *Count = 0;
    for (ULONG Index = 0; Index < Sample->ThreadCount; Index++) {
        Room += Sample->Threads[Index].HeldCount + 1;
    }
    All = malloc(Room * sizeof(*All));
    for (ULONG Index = 0; All != NULL && Index < Sample->ThreadCount; Index++) {
        const KD_THREAD *Thread = &Sample->Threads[Index];

        for (ULONG Lock = 0; Lock < Thread->HeldCount; Lock++) {
            const KD_HELD *Held = &Thread->Held[Lock];

            All[(*Count)++] = (KD_AT_LOCK){
                .Lock = Held->Address, .Role = Held->Waits ? KdRoleQueued : KdRoleOwns, .Thread = Thread, .Held = Held};
        }
        if (KdSpinsForLock(Target, Thread)) {
            All[(*Count)++] = (KD_AT_LOCK){.Lock = Thread->WaitObject, .Role = KdRoleSpins, .Thread = Thread};
        }
    }
    if (All != NULL) {
        qsort(All, *Count, sizeof(*All), KdCompareAtLock);
    }
    return All;
}

/* --- text --- */

static void KdPrintLock(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_AT_LOCK *All, ULONG Count)
{
    char Name[128];
    char Thread[32];

    KdNameAddress(Target, All->Lock, Name, sizeof(Name));
    KdPrint("  %s", All->Held != NULL ? KdKindName(All->Held->Kind) : All->Thread->WaitReason);
    if (All->Held != NULL && All->Held->Number >= 0) {
        KdPrint(" %s", KdLockName((ULONG)All->Held->Number));
    }
    KdPrint(" %s\n", All->Lock != 0 ? Name : "that could not be read");
    for (ULONG Index = 0; Index < Count; Index++) {
        KdNameThread(Sample, All[Index].Thread->Address, Thread, sizeof(Thread));
        KdPrint("    %-9s  %s\n", All[Index].Held != NULL ? KdHowName(All[Index].Held) : "spins", Thread);
    }
}

static void KdPrintThread(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_THREAD *Thread)
{
    char Name[128];

    if (Thread->Kind == KiMachineThread && Thread->HeldCount == 0 && Thread->WaitReason[0] == 0) {
        return;
    }
    KdNameThread(Sample, Thread->Address, Name, sizeof(Name));
    KdPrint("  %-24s", Name);
    if (Thread->BlockRead) {
        LONG Processor = KdProcessorOf(Target, Thread->Pcr);

        KdPrint(" IRQL %u, processor %ld, %lu lock%s", Thread->Irql, (long)Processor, (unsigned long)Thread->HeldCount,
                Thread->HeldCount == 1 ? "" : "s");
        if (Thread->HeldSurplus != 0) {
            KdPrint(" and %lu that are not recorded", (unsigned long)Thread->HeldSurplus);
        }
    } else {
        KdPrint(" (its block could not be read)");
    }
    KdPrint("\n");
    if (Thread->WaitReason[0] != 0) {
        KdNameAddress(Target, Thread->WaitObject, Name, sizeof(Name));
        KdPrint("    waits for %s, %s\n", Thread->WaitReason, Name);
    }
}

static void KdPrintSlots(PKD_TARGET Target, const KD_SAMPLE *Sample)
{
    char Name[32];

    (void)Target;
    if (Sample->SlotCount != 0) {
        KdPrint("\nHot locks, whose threads take turns:\n");
    }
    for (ULONG Index = 0; Index < Sample->SlotCount; Index++) {
        ULONG Others = 0;

        for (ULONG Thread = 0; Thread < Sample->ThreadCount; Thread++) {
            Others += Sample->Threads[Thread].WorksAt == Sample->Slots[Index].Address &&
                      Sample->Threads[Thread].Address != Sample->Slots[Index].Worker;
        }
        KdNameThread(Sample, Sample->Slots[Index].Worker, Name, sizeof(Name));
        KdPrint("  slot %-3lu %s works, %lu other%s lately\n", (unsigned long)Sample->Slots[Index].Index, Name,
                (unsigned long)Others, Others == 1 ? "" : "s");
    }
}

static void KdLocksText(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, const KD_VIEW *View)
{
    ULONG Count;
    KD_AT_LOCK *All = KdCollect(Target, Sample, &Count);

    (void)Previous, (void)View;
    KdPrint("\nLocks:%s\n", Count == 0 ? " none held" : "");
    for (ULONG Index = 0, Next; All != NULL && Index < Count; Index = Next) {
        for (Next = Index + 1; Next < Count && All[Next].Lock == All[Index].Lock && All[Index].Lock != 0; Next++) {
        }
        KdPrintLock(Target, Sample, &All[Index], Next - Index);
    }
    free(All);
    KdPrint("\nThreads:%s\n", Sample->ThreadsComplete ? "" : " (the list changed while it was read)");
    for (ULONG Index = 0; Index < Sample->ThreadCount; Index++) {
        KdPrintThread(Target, Sample, &Sample->Threads[Index]);
    }
    KdPrintSlots(Target, Sample);
}

/* --- JSON --- */

static void KdJsonLockNumber(const KD_HELD *Held)
{
    if (Held->Number >= 0) {
        KdJsonNumber("number", (ULONGLONG)Held->Number);
        KdJsonString("numberName", KdLockName((ULONG)Held->Number));
    }
}

static void KdJsonLock(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_AT_LOCK *All, ULONG Count)
{
    KdJsonOpen(NULL, '{');
    KdJsonAddress(Target, "lock", All->Lock);
    KdJsonString("kind", All->Held != NULL ? KdKindName(All->Held->Kind) : All->Thread->WaitReason);
    if (All->Held != NULL) {
        KdJsonLockNumber(All->Held);
    }
    KdJsonOpen("threads", '[');
    for (ULONG Index = 0; Index < Count; Index++) {
        KdJsonOpen(NULL, '{');
        KdJsonString("how", All[Index].Held != NULL ? KdHowName(All[Index].Held) : "spins");
        KdJsonThread(Sample, "thread", All[Index].Thread->Address);
        KdJsonClose('}');
    }
    KdJsonClose(']');
    KdJsonClose('}');
}

static void KdJsonHeld(PKD_TARGET Target, const KD_HELD *Held)
{
    KdJsonOpen(NULL, '{');
    KdJsonString("kind", KdKindName(Held->Kind));
    KdJsonString("how", KdHowName(Held));
    KdJsonAddress(Target, "lock", Held->Address);
    if (Held->Kind == KdQueuedSpinLock) {
        KdJsonHex("node", Held->Node);
    }
    KdJsonLockNumber(Held);
    KdJsonClose('}');
}

static void KdJsonOneThread(PKD_TARGET Target, const KD_THREAD *Thread)
{
    static const char *const Kinds[] = {"auto", "named", "machine"};
    LONG Processor = KdProcessorOf(Target, Thread->Pcr);

    KdJsonOpen(NULL, '{');
    KdJsonHex("thread", Thread->Address);
    KdJsonSigned("hostId", Thread->HostId);
    KdJsonString("name", Thread->Name);
    KdJsonString("kind", Thread->Kind < ARRAYSIZE(Kinds) ? Kinds[Thread->Kind] : "?");
    KdJsonBoolean("read", Thread->BlockRead);
    if (Thread->BlockRead) {
        KdJsonNumber("irql", Thread->Irql);
        KdJsonSigned("processor", Processor);
        KdJsonNumber("surplus", Thread->HeldSurplus);
        KdJsonOpen("holds", '[');
        for (ULONG Index = 0; Index < Thread->HeldCount; Index++) {
            KdJsonHeld(Target, &Thread->Held[Index]);
        }
        KdJsonClose(']');
    }
    if (Thread->WaitReason[0] != 0) {
        KdJsonString("waitsFor", Thread->WaitReason);
        KdJsonAddress(Target, "waitObject", Thread->WaitObject);
    }
    KdJsonClose('}');
}

static void KdJsonSlots(const KD_SAMPLE *Sample)
{
    KdJsonOpen("hotLocks", '[');
    for (ULONG Index = 0; Index < Sample->SlotCount; Index++) {
        KdJsonOpen(NULL, '{');
        KdJsonNumber("slot", Sample->Slots[Index].Index);
        KdJsonThread(Sample, "worker", Sample->Slots[Index].Worker);
        KdJsonNumber("lastTurn", Sample->Slots[Index].LastTurn);
        KdJsonOpen("others", '[');
        for (ULONG Thread = 0; Thread < Sample->ThreadCount; Thread++) {
            if (Sample->Threads[Thread].WorksAt == Sample->Slots[Index].Address &&
                Sample->Threads[Thread].Address != Sample->Slots[Index].Worker) {
                KdJsonThread(Sample, NULL, Sample->Threads[Thread].Address);
            }
        }
        KdJsonClose(']');
        KdJsonClose('}');
    }
    KdJsonClose(']');
}

static void KdLocksJson(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, const KD_VIEW *View)
{
    ULONG Count;
    KD_AT_LOCK *All = KdCollect(Target, Sample, &Count);

    (void)Previous, (void)View;
    KdJsonOpen("locks", '[');
    for (ULONG Index = 0, Next; All != NULL && Index < Count; Index = Next) {
        for (Next = Index + 1; Next < Count && All[Next].Lock == All[Index].Lock && All[Index].Lock != 0; Next++) {
        }
        KdJsonLock(Target, Sample, &All[Index], Next - Index);
    }
    free(All);
    KdJsonClose(']');
    KdJsonBoolean("threadsComplete", Sample->ThreadsComplete);
    KdJsonOpen("threads", '[');
    for (ULONG Index = 0; Index < Sample->ThreadCount; Index++) {
        KdJsonOneThread(Target, &Sample->Threads[Index]);
    }
    KdJsonClose(']');
    KdJsonSlots(Sample);
}

static int KdRunLocks(const KD_OPTIONS *Options, int Count, char **Arguments)
{
    static const KD_VIEW View = {.Name = "locks", .Text = KdLocksText, .Json = KdLocksJson};

    return KdRunView(Options, Count, Arguments, &View);
}

const KD_COMMAND KdLocksCommand = {
    .Name = "locks",
    .Arguments = "",
    .Summary = "who holds and who awaits which lock",
    .Help = "Prints each lock that a thread holds or queues for, with its threads; each thread with its IRQL,\n"
            "its processor and what it waits for; and the hot locks, whose threads take turns. A thread that\n"
            "has just begun to spin is not seen waiting yet.\n"
            "--pid=N looks at the machine of a process, without stopping it; else the command starts one of its\n"
            "own.\n"
            "With --json: an object with \"process\" and the arrays \"locks\": lock, lockSymbol, kind, number and\n"
            "numberName of a numbered one, threads (how: owner, exclusive, shared, queued, spins; thread);\n"
            "\"threads\": thread, hostId, name, kind, read and, if so, irql, processor, surplus and holds, and\n"
            "waitsFor, waitObject; \"hotLocks\": slot, worker, lastTurn, others. threadsComplete is false if the\n"
            "list of threads changed while it was read.\n",
    .Routine = KdRunLocks,
    .Looks = TRUE,
};
