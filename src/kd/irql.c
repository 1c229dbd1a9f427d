/*
 * irql.c - `kprcb irql [N]`: who owns each processor, at which level, what it is asked for and who waits for it.
 *
 * Test: tests/kd/test_live.c.
 */
#include "target.h"

#include <string.h>

#define THREAD_WIDTH 20

/* Threads that wait for the processor, after Before; NULL: no more. */
static const KD_THREAD *KdNextWaiter(const KD_TARGET *Target, const KD_SAMPLE *Sample, ULONG Processor, ULONG *Index)
{
    for (; *Index < Sample->ThreadCount; ++*Index) {
        const KD_THREAD *Thread = &Sample->Threads[*Index];

        if (Thread->WaitReason[0] != 0 && KdProcessorOf(Target, Thread->WaitObject) == (LONG)Processor) {
            ++*Index;
            return Thread;
        }
    }
    return NULL;
}

static const char *KdOwnedName(KD_OWNED Owned)
{
    return Owned == KdNotOwned ? "free" : Owned == KdOwnedByToken ? "token" : "bias";
}

static void KdPrintWaiters(const KD_TARGET *Target, const KD_SAMPLE *Sample, ULONG Processor)
{
    const UCHAR *Pcr = KdPcr(Target, Sample, Processor);
    ULONGLONG Heir = KdGet(Target, Pcr, KdKPCR_TokenHeir);
    ULONG Next = 0;
    const KD_THREAD *Thread;
    char Name[32];

    while ((Thread = KdNextWaiter(Target, Sample, Processor, &Next)) != NULL) {
        KdNameThread(Sample, Thread->Address, Name, sizeof(Name));
        KdPrint("          %s waits for %s%s\n", Name, Thread->WaitReason,
                Thread->Address == Heir ? " and gets it next" : "");
    }
}

static void KdIrqlText(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, const KD_VIEW *View)
{
    KdPrint("\nProc Host IRQL               Owner                by    Resident             %s Asked for\n",
            Previous != NULL ? "IPIs/s " : "   IPIs");
    for (ULONG Index = View->First; Index <= View->Last; Index++) {
        const UCHAR *Pcr = KdPcr(Target, Sample, Index);
        ULONG Interrupts = (ULONG)KdGet(Target, KdPrcb(Target, Sample, Index), KdKPRCB_InterruptCount);
        ULONG Host = (ULONG)KdGet(Target, Pcr, KdKPCR_HostProcessor);
        ULONGLONG Owner;
        ULONG Irql;
        KD_OWNED Owned = KdQueryOwner(Target, Pcr, &Owner, &Irql);
        char OwnerName[32], ResidentName[32], HostName[16] = "-", Level[32], Request[256] = "";

        KdNameThread(Sample, Owner, OwnerName, sizeof(OwnerName));
        KdNameThread(Sample, KdGet(Target, Pcr, KdKPCR_Resident), ResidentName, sizeof(ResidentName));
        if (Host != KPRCB_NOT_PINNED) {
            snprintf(HostName, sizeof(HostName), "%lu", (unsigned long)Host);
        }
        snprintf(Level, sizeof(Level), "%lu %s%s", (unsigned long)Irql, KdIrqlName(Irql),
                 Sample->Steady[Index] ? "" : " ~");
        KdNameRequest(KdGet(Target, Pcr, KdKPCR_Request), Request, sizeof(Request));
        if (Previous != NULL) {
            Interrupts = 0;
        }
        if (KdBefore(Previous, Index) != NULL) {
            ULONG Before = (ULONG)KdGet(Target, KdPrcb(Target, Previous, Index), KdKPRCB_InterruptCount);

            Interrupts = (ULONG)KdRate((ULONG)KdGet(Target, KdPrcb(Target, Sample, Index), KdKPRCB_InterruptCount),
                                       Before, Sample, Previous);
        }
        KdPrint("%4lu %4s %-18.18s %-*.*s %-5s %-*.*s %7lu ", (unsigned long)Index, HostName, Level, THREAD_WIDTH,
                THREAD_WIDTH, OwnerName, KdOwnedName(Owned), THREAD_WIDTH, THREAD_WIDTH, ResidentName,
                (unsigned long)Interrupts);
        KdWrap(85, 85, Request[0] != 0 ? Request : "-");
        KdPrintWaiters(Target, Sample, Index);
    }
}

static void KdJsonBits(const char *Name, const char *Names, ULONGLONG Value,
                       void (*Say)(ULONGLONG Bits, char *Text, size_t Size))
{
    char Text[256] = "";

    Say(Value, Text, sizeof(Text));
    KdJsonHex(Name, Value);
    KdJsonString(Names, Text);
}

static void KdIrqlJsonProcessor(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, ULONG Index)
{
    const UCHAR *Pcr = KdPcr(Target, Sample, Index);
    const UCHAR *Prcb = KdPrcb(Target, Sample, Index);
    ULONG Interrupts = (ULONG)KdGet(Target, Prcb, KdKPRCB_InterruptCount);
    ULONGLONG Owner;
    ULONG Irql, Next = 0;
    KD_OWNED Owned = KdQueryOwner(Target, Pcr, &Owner, &Irql);
    const KD_THREAD *Thread;

    KdJsonNumber("index", Index);
    KdJsonNumber("group", KdGet(Target, Prcb, KdKPRCB_Group));
    KdJsonNumber("number", KdGet(Target, Prcb, KdKPRCB_GroupIndex));
    KdJsonHex("pcr", KdPcrAddress(Target, Index));
    KdJsonNumber("hostProcessor", KdGet(Target, Pcr, KdKPCR_HostProcessor));
    KdJsonBoolean("steady", Sample->Steady[Index] != 0);
    KdJsonNumber("irql", Irql);
    KdJsonString("irqlName", KdIrqlName(Irql));
    KdJsonString("owned", KdOwnedName(Owned));
    KdJsonThread(Sample, "owner", Owner);
    KdJsonThread(Sample, "resident", KdGet(Target, Pcr, KdKPCR_Resident));
    KdJsonThread(Sample, "currentThread", KdGet(Target, Prcb, KdKPRCB_CurrentThread));
    KdJsonBits("request", "requestNames", KdGet(Target, Pcr, KdKPCR_Request), KdNameRequest);
    KdJsonBits("requestSummary", "requestSummaryNames", KdGet(Target, Prcb, KdKPRCB_RequestSummary), KdNameSummary);
    KdJsonNumber("tokenWaiters", KdGet(Target, Pcr, KdKPCR_TokenWaiters));
    KdJsonThread(Sample, "tokenHeir", KdGet(Target, Pcr, KdKPCR_TokenHeir));
    KdJsonOpen("waiting", '[');
    while ((Thread = KdNextWaiter(Target, Sample, Index, &Next)) != NULL) {
        KdJsonThread(Sample, NULL, Thread->Address);
    }
    KdJsonClose(']');
    KdJsonNumber("InterruptCount", Interrupts);
    if (KdBefore(Previous, Index) != NULL) {
        ULONG Before = (ULONG)KdGet(Target, KdPrcb(Target, Previous, Index), KdKPRCB_InterruptCount);

        KdJsonNumber("interruptsPerSecond", KdRate(Interrupts, Before, Sample, Previous));
    }
}

static void KdIrqlJson(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, const KD_VIEW *View)
{
    KdJsonOpen("processors", '[');
    for (ULONG Index = View->First; Index <= View->Last; Index++) {
        KdJsonOpen(NULL, '{');
        KdIrqlJsonProcessor(Target, Sample, Previous, Index);
        KdJsonClose('}');
    }
    KdJsonClose(']');
}

static int KdRunIrql(const KD_OPTIONS *Options, int Count, char **Arguments)
{
    static const KD_VIEW View = {.Name = "irql", .Text = KdIrqlText, .Json = KdIrqlJson, .OneProcessor = TRUE};

    return KdRunView(Options, Count, Arguments, &View);
}

const KD_COMMAND KdIrqlCommand = {
    .Name = "irql",
    .Arguments = "[N]",
    .Summary = "who owns each processor, at which IRQL, and who waits for it",
    .Help = "Prints of processor N, or of every processor: the host CPU, the IRQL (with ~ if it changed while\n"
            "it was read), the thread that owns the processor and whether by token or by bias, the resident,\n"
            "interrupts taken (with --watch: a second), what it is asked for, and the threads that wait for it.\n"
            "Threads by the host's id and name.\n"
            "--pid=N looks at the machine of a process, without stopping it; else the command starts one of its\n"
            "own.\n"
            "With --json: an object with \"process\" and an array \"processors\"; its objects have index, group,\n"
            "number, pcr, hostProcessor, steady, irql, irqlName, owned (free, token, bias), owner, resident,\n"
            "currentThread, request, requestNames, requestSummary, requestSummaryNames, tokenWaiters,\n"
            "tokenHeir, waiting, InterruptCount and, with --watch, interruptsPerSecond. A thread is null or an\n"
            "object of thread, hostId and name.\n",
    .Routine = KdRunIrql,
    .Looks = TRUE,
};
