/*
 * view.c - what `kprcb irql`, `dpcs`, `locks` and `prcb --pid` share: choosing the target, its head line, names.
 *
 * Test: tests/kd/test_live.c.
 */
#include "target.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

ULONGLONG KdRate(ULONG Now, ULONG Before, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous)
{
    ULONGLONG Elapsed = Sample->Time - Previous->Time;

    return Elapsed == 0 ? 0 : (ULONGLONG)(ULONG)(Now - Before) * 1000000000u / Elapsed;
}

void KdNameThread(const KD_SAMPLE *Sample, ULONGLONG Address, char *Text, size_t Size)
{
    const KD_THREAD *Thread = KdFindThread(Sample, Address);

    if (Address == 0) {
        snprintf(Text, Size, "-");
    } else if (Thread == NULL) {
        snprintf(Text, Size, "0x%" PRIx64, Address);
    } else {
        snprintf(Text, Size, "%ld %s", (long)Thread->HostId, Thread->Name);
    }
}

void KdJsonThread(const KD_SAMPLE *Sample, const char *Name, ULONGLONG Address)
{
    const KD_THREAD *Thread = KdFindThread(Sample, Address);

    if (Address == 0) {
        KdJsonNull(Name);
        return;
    }
    KdJsonOpen(Name, '{');
    KdJsonHex("thread", Address);
    if (Thread != NULL) {
        KdJsonSigned("hostId", Thread->HostId);
        KdJsonString("name", Thread->Name);
    }
    KdJsonClose('}');
}

void KdNameAddress(PKD_TARGET Target, ULONGLONG Address, char *Text, size_t Size)
{
    char Symbol[96];

    KdSymbolize(Target, Address, Symbol, sizeof(Symbol));
    snprintf(Text, Size, "0x%" PRIx64 "%s%s", Address, Symbol[0] != 0 ? " " : "", Symbol);
}

void KdJsonAddress(PKD_TARGET Target, const char *Name, ULONGLONG Address)
{
    char Symbol[96];
    char SymbolName[32];

    KdJsonHex(Name, Address);
    KdSymbolize(Target, Address, Symbol, sizeof(Symbol));
    if (Symbol[0] != 0) {
        snprintf(SymbolName, sizeof(SymbolName), "%sSymbol", Name);
        KdJsonString(SymbolName, Symbol);
    }
}

static void KdJsonHead(const KD_TARGET *Target, const KD_SAMPLE *Sample)
{
    KdJsonString("version", KprcbVersion());
    KdJsonOpen("process", '{');
    KdJsonNumber("pid", Target->Pid);
    KdJsonString("name", Target->Process);
    KdJsonString("library", Target->Header.Library);
    KdJsonString("behavesLike", Target->Header.Version);
    KdJsonBoolean("checked", Target->Values[KdKiChecked] != 0);
    KdJsonClose('}');
    KdJsonNumber("time", Sample->Time);
    KdJsonNumber("processorCount", Sample->ProcessorCount);
}

void KdShow(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, const KD_VIEW *View, BOOLEAN Json)
{
    KD_VIEW Own = *View;

    Own.Last = Own.Last < Sample->ProcessorCount ? Own.Last : Sample->ProcessorCount - 1;
    if (Json) {
        KdJsonOpen(NULL, '{');
        KdJsonHead(Target, Sample);
        View->Json(Target, Sample, Previous, &Own);
        KdJsonClose('}');
        return;
    }
    KdPrint("Process %lu (%s): libkprcb %s as %s, %s, %lu processor%s\n", (unsigned long)Target->Pid, Target->Process,
            Target->Header.Library, Target->Header.Version, Target->Values[KdKiChecked] != 0 ? "checked" : "free",
            (unsigned long)Sample->ProcessorCount, Sample->ProcessorCount == 1 ? "" : "s");
    View->Text(Target, Sample, Previous, &Own);
}

static int KdShowOnce(PKD_TARGET Target, const KD_VIEW *View, const KD_OPTIONS *Options)
{
    KD_SAMPLE Sample;

    if (!KdTakeSample(Target, &Sample)) {
        KdComplain("process %lu: %s", (unsigned long)Target->Pid, KdTargetEnd(Target));
        return KD_FAILED;
    }
    KdShow(Target, &Sample, NULL, View, Options->Json);
    KdFreeSample(&Sample);
    return KD_OK;
}

static int KdViewTarget(const KD_OPTIONS *Options, ULONG Pid, LONG Processor, KD_VIEW *View)
{
    static KD_TARGET Target;
    int Result = KdOpenTarget(Pid, &Target);
    ULONG Processors;

    if (Result != KD_OK) {
        return Result;
    }
    Processors = KdTargetProcessors(&Target);
    View->First = Processor >= 0 ? (ULONG)Processor : 0;
    View->Last = Processor >= 0 ? (ULONG)Processor : KPRCB_MAXIMUM_PROCESSORS;
    if (Processors == 0) {
        KdComplain("process %lu: %s", (unsigned long)Pid, KdTargetEnd(&Target));
        Result = KD_FAILED;
    } else if (View->First >= Processors) {
        KdComplain("%s: there is no processor %lu; that machine has processors 0 to %lu", View->Name,
                   (unsigned long)View->First, (unsigned long)Processors - 1);
        Result = KD_USAGE;
    } else if (View->OwnLayout && !Target.SameLayout) {
        KdComplain("process %lu runs libkprcb %s, whose KPRCB this command (%s) does not know: use the kprcb of that",
                   (unsigned long)Pid, Target.Header.Library, KprcbVersion());
        Result = KD_FAILED;
    } else {
        Result = Options->Watch != 0 ? KdWatch(&Target, View, Options) : KdShowOnce(&Target, View, Options);
    }
    KdCloseTarget(&Target);
    return Result;
}

int KdRunView(const KD_OPTIONS *Options, int Count, char **Arguments, const KD_VIEW *View)
{
    KD_VIEW Own = *View;
    ULONG Number = 0;
    int Result;
    int Stopped;

    if (Count > (View->OneProcessor ? 1 : 0)) {
        KdComplain("%s: '%s' is one argument too many", View->Name, Arguments[Count - 1]);
        return KD_USAGE;
    }
    if (Count == 1 && !KdParseNumber(Arguments[0], KPRCB_MAXIMUM_PROCESSORS - 1, &Number)) {
        KdComplain("%s: '%s' is not the number of a processor", View->Name, Arguments[0]);
        return KD_USAGE;
    }
    if (Options->Pid != 0) {
        return KdViewTarget(Options, Options->Pid, Count == 1 ? (LONG)Number : -1, &Own);
    }
    Result = KdStartMachine(Options, 0);
    if (Result != KD_OK) {
        return Result;
    }
    Result = KdViewTarget(Options, (ULONG)getpid(), Count == 1 ? (LONG)Number : -1, &Own);
    Stopped = KdStopMachine();
    return Result != KD_OK ? Result : Stopped;
}
