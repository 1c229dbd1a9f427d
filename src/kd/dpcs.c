/*
 * dpcs.c - `kprcb dpcs [N]`: the queues of DPCs of each processor, what waits in them and what runs.
 *
 * The list and the inbox are followed while the machine takes DPCs off them. A KDPC that is in a queue points to it
 * (KDPC.DpcData): one that does not has left, and the rest of the chain is not this queue's. Test: tests/kd/test_live.c.
 */
#include "dpchistory.h"

#include <inttypes.h>
#include <string.h>

#define MAXIMUM_DPCS 256 /* shown of one queue */
#define TO_HEAD 1        /* in a link of the inbox */

/*
 * Numbers of the KPRCB that tell of DPCs, by their NT names; members that the target lacks are left out. None is
 * negative, but for LONGs for a moment, which are shown as such.
 */
static const struct {
    KD_FIELD_INDEX Field;
    const char *Name;
} KdNumbers[] = {
    {KdKPRCB_MaximumDpcQueueDepth, "MaximumDpcQueueDepth"},
    {KdKPRCB_MinimumDpcRate, "MinimumDpcRate"},
    {KdKPRCB_DpcRequestRate, "DpcRequestRate"},
    {KdKPRCB_DpcRoutineActive, "DpcRoutineActive"},
    {KdKPRCB_ThreadDpcEnable, "ThreadDpcEnable"},
    {KdKPRCB_DpcThreadRequested, "DpcThreadRequested"},
    {KdKPRCB_DpcThreadActive, "DpcThreadActive"},
    {KdKPRCB_DpcBypassCount, "DpcBypassCount"},
    {KdKPRCB_AdjustDpcThreshold, "AdjustDpcThreshold"},
    {KdKPRCB_DpcTimeCount, "DpcTimeCount"},
    {KdKPRCB_DpcTimeLimit, "DpcTimeLimit"},
    {KdKPRCB_DpcWatchdogPeriod, "DpcWatchdogPeriod"},
    {KdKPRCB_DpcWatchdogCount, "DpcWatchdogCount"},
    {KdKPRCB_ThreadWatchdogPeriod, "ThreadWatchdogPeriod"},
    {KdKPRCB_ThreadWatchdogCount, "ThreadWatchdogCount"},
    {KdKPRCB_DpcWatchdogProfileSingleDpcThreshold, "DpcWatchdogProfileSingleDpcThreshold"},
    {KdKPRCB_DpcWatchdogProfileCumulativeDpcThreshold, "DpcWatchdogProfileCumulativeDpcThreshold"},
};

static const char *const KdQueueNames[] = {"normal", "threaded"};

typedef struct _KD_QUEUED {
    ULONGLONG Address;
    BOOLEAN Inbox;
    UCHAR Dpc[1024];
} KD_QUEUED;

typedef struct _KD_QUEUE {
    ULONG Index;
    ULONGLONG Address; /* of the KDPC_DATA */
    ULONGLONG First;   /* of the list */
    LONG Depth;
    ULONG Count;
    ULONG InboxCount;
    ULONGLONG Inbox; /* the KDPC posted last */
    ULONGLONG Active;
    ULONG PerSecond; /* DPCs run */
} KD_QUEUE;

static ULONG KdQueueCount(const KD_TARGET *Target)
{
    return Target->Fields[KdKPRCB_DpcData].Size / Target->Sizes[KdSizeOfKDPC_DATA];
}

static ULONG KdCountOfQueue(const KD_TARGET *Target, const KD_SAMPLE *Sample, ULONG Processor, ULONG Index)
{
    const UCHAR *Data = KdPrcb(Target, Sample, Processor) + Target->Fields[KdKPRCB_DpcData].Offset +
                        (size_t)Index * Target->Sizes[KdSizeOfKDPC_DATA];

    return (ULONG)KdGet(Target, Data, KdKDPC_DATA_DpcCount);
}

static KD_QUEUE KdQueryQueue(const KD_TARGET *Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous,
                             ULONG Processor, ULONG Index)
{
    ULONG Offset = Target->Fields[KdKPRCB_DpcData].Offset + Index * Target->Sizes[KdSizeOfKDPC_DATA];
    const UCHAR *Data = KdPrcb(Target, Sample, Processor) + Offset;
    KD_QUEUE Queue = {.Index = Index};

    Queue.Address = KdPcrAddress(Target, Processor) + Target->Fields[KdKPCR_PrcbData].Offset + Offset;
    Queue.First = KdGet(Target, Data, KdKDPC_DATA_DpcList);
    Queue.Depth = (LONG)KdGet(Target, Data, KdKDPC_DATA_DpcQueueDepth);
    Queue.Count = (ULONG)KdGet(Target, Data, KdKDPC_DATA_DpcCount);
    Queue.Active = KdGet(Target, Data, KdKDPC_DATA_ActiveDpc);
    if (Index == DPC_NORMAL) {
        ULONGLONG Inbox = KdGet(Target, KdPcr(Target, Sample, Processor), KdKPCR_DpcInbox);

        Queue.Inbox = Inbox & Target->Values[KdKiInboxPointer];
        Queue.InboxCount = (ULONG)(Inbox / Target->Values[KdKiInboxOne] & Target->Values[KdKiInboxFull]);
    }
    if (KdBefore(Previous, Processor) != NULL) {
        Queue.PerSecond =
            (ULONG)KdRate(Queue.Count, KdCountOfQueue(Target, Previous, Processor, Index), Sample, Previous);
    }
    return Queue;
}

typedef void KD_EACH_DPC(PKD_TARGET Target, const KD_QUEUED *Queued);

/* Returns how many it has shown. Link: of the first DPC's list entry. */
static ULONG KdFollow(PKD_TARGET Target, const KD_QUEUE *Queue, ULONGLONG Link, BOOLEAN Inbox, ULONG Most,
                      KD_EACH_DPC *Each)
{
    ULONG Entry = Target->Fields[KdKDPC_DpcListEntry].Offset;
    KD_QUEUED Queued = {.Inbox = Inbox};
    ULONG Shown = 0;

    /* The inbox has the address of the KDPC itself, the list that of its entry. */
    while (Shown < Most && (Link & ~(ULONGLONG)TO_HEAD) != 0) {
        Queued.Address = Inbox ? Link & ~(ULONGLONG)TO_HEAD : Link - Entry;
        if (!KdReadTarget(Target, Queued.Address, Queued.Dpc, Target->Sizes[KdSizeOfKDPC]) ||
            KdGet(Target, Queued.Dpc, KdKDPC_DpcData) != Queue->Address) {
            break;
        }
        Each(Target, &Queued);
        Shown++;
        Link = KdGet(Target, Queued.Dpc, KdKDPC_DpcListEntry);
    }
    return Shown;
}

/* In the order in which they will run, but for the inbox, whose DPCs come last first. */
static ULONG KdEachDpc(PKD_TARGET Target, const KD_QUEUE *Queue, KD_EACH_DPC *Each)
{
    ULONG Shown = KdFollow(Target, Queue, Queue->First, FALSE, MAXIMUM_DPCS, Each);

    return Shown + KdFollow(Target, Queue, Queue->Inbox, TRUE, MAXIMUM_DPCS - Shown, Each);
}

static const char *KdImportanceName(ULONGLONG Importance)
{
    static const char *const Names[] = {"low", "medium", "high", "medium high"};

    return Importance < ARRAYSIZE(Names) ? Names[Importance] : "?";
}

static const char *KdQueueName(ULONG Index)
{
    return Index < ARRAYSIZE(KdQueueNames) ? KdQueueNames[Index] : "?";
}

static ULONGLONG KdWaiting(const KD_QUEUE *Queue)
{
    return (Queue->Depth > 0 ? (ULONGLONG)Queue->Depth : 0) + Queue->InboxCount;
}

static LONGLONG KdNumber32(const KD_TARGET *Target, const KD_SAMPLE *Sample, ULONG Processor, ULONG Number)
{
    return (LONG)KdGet(Target, KdPrcb(Target, Sample, Processor), KdNumbers[Number].Field);
}

/* --- text --- */

static void KdPrintDpc(PKD_TARGET Target, const KD_QUEUED *Queued)
{
    char Routine[128];

    KdNameAddress(Target, KdGet(Target, Queued->Dpc, KdKDPC_DeferredRoutine), Routine, sizeof(Routine));
    KdPrint("    %s  0x%" PRIx64 "  %s\n            context 0x%" PRIx64 ", arguments 0x%" PRIx64 " 0x%" PRIx64
            ", %s importance\n",
            Queued->Inbox ? "inbox" : "list ", Queued->Address, Routine,
            KdGet(Target, Queued->Dpc, KdKDPC_DeferredContext), KdGet(Target, Queued->Dpc, KdKDPC_SystemArgument1),
            KdGet(Target, Queued->Dpc, KdKDPC_SystemArgument2),
            KdImportanceName(KdGet(Target, Queued->Dpc, KdKDPC_Importance)));
}

static void KdPrintQueue(PKD_TARGET Target, const KD_QUEUE *Queue, BOOLEAN Rate)
{
    ULONG Shown;

    if (Queue->Index != DPC_NORMAL && KdWaiting(Queue) == 0 && Queue->Count == 0 && Queue->Active == 0) {
        return;
    }
    KdPrint("  %s: %ld waiting, %lu in the inbox, %lu run", KdQueueName(Queue->Index), (long)Queue->Depth,
            (unsigned long)Queue->InboxCount, (unsigned long)Queue->Count);
    if (Rate) {
        KdPrint(" (%lu/s)", (unsigned long)Queue->PerSecond);
    }
    KdPrint("\n");
    if (Queue->Active != 0) {
        UCHAR Dpc[1024];
        char Routine[128] = "";

        /* Its routine may have given its memory back. */
        if (KdReadTarget(Target, Queue->Active, Dpc, Target->Sizes[KdSizeOfKDPC])) {
            KdNameAddress(Target, KdGet(Target, Dpc, KdKDPC_DeferredRoutine), Routine, sizeof(Routine));
        }
        KdPrint("    runs   0x%" PRIx64 "  %s\n", Queue->Active, Routine);
    }
    Shown = KdEachDpc(Target, Queue, KdPrintDpc);
    if (KdWaiting(Queue) > Shown) {
        KdPrint("    %" PRIu64 " more\n", KdWaiting(Queue) - Shown);
    }
}

static void KdPrintNumbers(const KD_TARGET *Target, const KD_SAMPLE *Sample, ULONG Index)
{
    char Text[1024];
    size_t Length = (size_t)snprintf(Text, sizeof(Text), "Processor %lu:", (unsigned long)Index);

    for (ULONG Number = 0; Number < ARRAYSIZE(KdNumbers) && Length < sizeof(Text); Number++) {
        if (KdHas(Target, KdNumbers[Number].Field)) {
            Length += (size_t)snprintf(Text + Length, sizeof(Text) - Length, "%s %s %" PRId64, Number != 0 ? "," : "",
                                       KdNumbers[Number].Name, KdNumber32(Target, Sample, Index, Number));
        }
    }
    KdPrint("\n");
    KdWrap(0, 2, Text);
}

static void KdDpcsText(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, const KD_VIEW *View)
{
    for (ULONG Index = View->First; Index <= View->Last; Index++) {
        KdPrintNumbers(Target, Sample, Index);
        for (ULONG Queue = 0; Queue < KdQueueCount(Target); Queue++) {
            KD_QUEUE Query = KdQueryQueue(Target, Sample, Previous, Index, Queue);

            KdPrintQueue(Target, &Query, Previous != NULL);
        }
        KdPrintHistory(Target, Sample, Index);
    }
}

/* --- JSON --- */

static void KdJsonDpc(PKD_TARGET Target, const KD_QUEUED *Queued)
{
    KdJsonOpen(NULL, '{');
    KdJsonHex("dpc", Queued->Address);
    KdJsonString("in", Queued->Inbox ? "inbox" : "list");
    KdJsonAddress(Target, "routine", KdGet(Target, Queued->Dpc, KdKDPC_DeferredRoutine));
    KdJsonHex("context", KdGet(Target, Queued->Dpc, KdKDPC_DeferredContext));
    KdJsonHex("argument1", KdGet(Target, Queued->Dpc, KdKDPC_SystemArgument1));
    KdJsonHex("argument2", KdGet(Target, Queued->Dpc, KdKDPC_SystemArgument2));
    KdJsonString("importance", KdImportanceName(KdGet(Target, Queued->Dpc, KdKDPC_Importance)));
    KdJsonNumber("type", KdGet(Target, Queued->Dpc, KdKDPC_Type));
    KdJsonNumber("number", KdGet(Target, Queued->Dpc, KdKDPC_Number));
    KdJsonClose('}');
}

static void KdJsonQueue(PKD_TARGET Target, const KD_QUEUE *Queue, BOOLEAN Rate)
{
    ULONG Shown;

    KdJsonOpen(NULL, '{');
    KdJsonString("queue", KdQueueName(Queue->Index));
    KdJsonSigned("DpcQueueDepth", Queue->Depth);
    KdJsonNumber("DpcCount", Queue->Count);
    KdJsonNumber("inboxCount", Queue->InboxCount);
    if (Rate) {
        KdJsonNumber("dpcsPerSecond", Queue->PerSecond);
    }
    if (Queue->Active == 0) {
        KdJsonNull("ActiveDpc");
    } else {
        UCHAR Dpc[1024];

        KdJsonOpen("ActiveDpc", '{');
        KdJsonHex("dpc", Queue->Active);
        if (KdReadTarget(Target, Queue->Active, Dpc, Target->Sizes[KdSizeOfKDPC])) {
            KdJsonAddress(Target, "routine", KdGet(Target, Dpc, KdKDPC_DeferredRoutine));
        }
        KdJsonClose('}');
    }
    KdJsonOpen("queued", '[');
    Shown = KdEachDpc(Target, Queue, KdJsonDpc);
    KdJsonClose(']');
    KdJsonBoolean("complete", KdWaiting(Queue) == Shown);
    KdJsonClose('}');
}

static void KdDpcsJson(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, const KD_VIEW *View)
{
    KdJsonOpen("processors", '[');
    for (ULONG Index = View->First; Index <= View->Last; Index++) {
        KdJsonOpen(NULL, '{');
        KdJsonNumber("index", Index);
        for (ULONG Number = 0; Number < ARRAYSIZE(KdNumbers); Number++) {
            if (KdHas(Target, KdNumbers[Number].Field)) {
                KdJsonSigned(KdNumbers[Number].Name, KdNumber32(Target, Sample, Index, Number));
            }
        }
        KdJsonOpen("queues", '[');
        for (ULONG Queue = 0; Queue < KdQueueCount(Target); Queue++) {
            KD_QUEUE Query = KdQueryQueue(Target, Sample, Previous, Index, Queue);

            KdJsonQueue(Target, &Query, Previous != NULL);
        }
        KdJsonClose(']');
        KdJsonHistory(Target, Sample, Index);
        KdJsonClose('}');
    }
    KdJsonClose(']');
}

static int KdRunDpcs(const KD_OPTIONS *Options, int Count, char **Arguments)
{
    static const KD_VIEW View = {.Name = "dpcs", .Text = KdDpcsText, .Json = KdDpcsJson, .OneProcessor = TRUE};

    return KdRunView(Options, Count, Arguments, &View);
}

const KD_COMMAND KdDpcsCommand = {
    .Name = "dpcs",
    .Arguments = "[N]",
    .Summary = "the DPCs that wait and run on each processor",
    .Help = "Prints of processor N, or of every processor: how many DPCs wait and have run (with --watch: a\n"
            "second), the limits by which low DPCs ask for an interrupt, the DPC that runs, and each that\n"
            "waits: its KDPC, routine by name or by module and offset, context, arguments and importance; 256\n"
            "of a queue at most. While KprcbSetDpcHistory or KPRCB_DPC_HISTORY=1 has the times of routines\n"
            "recorded: the 16 that took the most.\n"
            "--pid=N looks at the machine of a process, without stopping it; else the command starts one of its\n"
            "own.\n"
            "With --json: an object with \"process\" and an array \"processors\"; its objects have index, numbers\n"
            "of the KPRCB by their names, and an array \"queues\" of queue (normal, threaded), DpcQueueDepth,\n"
            "DpcCount, inboxCount, with --watch dpcsPerSecond, ActiveDpc (null, or dpc and routine), queued and\n"
            "complete. \"queued\" lists dpc, in (list, inbox), routine, routineSymbol, context, argument1,\n"
            "argument2, importance, type and number. \"history\" (null: not recorded) has\n"
            "routines, lost (runs without memory), and in \"top\" routine, routineSymbol, count, totalTime\n"
            "and longestTime (ns).\n",
    .Routine = KdRunDpcs,
    .Looks = TRUE,
};
