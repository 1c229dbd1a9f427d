/*
 * tourtext.c - tells what the tour found, as text and as JSON. Test: tests/kd/test_command.c.
 */
#include "tour.h"

#include <inttypes.h>

#define ROWS 16 /* of a list of processors at most */

static void KdSay(const char *Text)
{
    KdWrap(0, 0, Text);
}

static ULONG KdRows(const KD_TOUR *Tour)
{
    return Tour->Processors > ROWS ? ROWS : Tour->Processors;
}

static void KdSayRest(const KD_TOUR *Tour)
{
    if (Tour->Processors > ROWS) {
        printf("  ... and %lu more\n", (unsigned long)(Tour->Processors - ROWS));
    }
}

static void KdTellMachine(const KD_TOUR *Tour)
{
    printf("kprcb %s: a machine of %lu logical processors in %lu group%s, %s build\n\n", KprcbVersion(),
           (unsigned long)Tour->Processors, (unsigned long)Tour->Groups, Tour->Groups == 1 ? "" : "s",
           (Tour->BuildType & PRCB_BUILD_DEBUG) != 0 ? "checked" : "free");
    KdSay("WHAT A LOGICAL PROCESSOR IS. To the NT kernel a processor is a block of memory, the KPRCB (kernel processor "
          "control block) inside a KPCR, together with the right to write it. Here a process has as many as it asks "
          "for, whatever the host has. Each has an idle thread, placed on a host CPU, and an interrupt request level, "
          "the IRQL. Below DISPATCH_LEVEL (2) the level is the thread's, and any number of threads may call one "
          "processor home. A thread that raises to DISPATCH_LEVEL or above takes the processor: from then on at most "
          "that one thread runs there, until it lowers. What other processors want of it waits for that moment: "
          "deferred procedure calls (DPCs) in its queue, inter-processor interrupts (IPIs) in its request words.");
    printf("\n1. THE PROCESSORS, as cpuid describes them (kprcb prcb N shows the whole block)\n\n");
    printf("  Number Group:No HostCPU VendorString  CpuType CpuModel Stepping   MHz CFlushSize Cores ApicId\n");
    for (ULONG Index = 0; Index < KdRows(Tour); Index++) {
        const KD_TOUR_PROCESSOR *Block = &Tour->Block[Index];
        char Host[16] = "any";

        if (Block->HostProcessor != KPRCB_NOT_PINNED) {
            snprintf(Host, sizeof(Host), "%lu", (unsigned long)Block->HostProcessor);
        }
        printf("  %6lu %5u:%-2u %7s %-12s     0x%02X     0x%02X        %X %5lu %10lu %5u %6u\n",
               (unsigned long)Block->Number, Block->Group, Block->GroupIndex, Host,
               Block->CpuID != 0 ? Block->VendorString : "(no cpuid)", Block->CpuType, Block->CpuModel,
               Block->CpuStepping, (unsigned long)Block->MHz, (unsigned long)Block->CFlushSize, Block->Cores,
               Block->InitialApicId);
    }
    KdSayRest(Tour);
}

static void KdTellLevel(const char *When, const KD_TOUR_LEVEL *Level)
{
    const char *Thread = Level->Current ? "this thread" : Level->Idle ? "IdleThread" : "another thread";

    printf("  %-34s %4u  %-17s %8lu  %s\n", When, Level->Irql, Thread, (unsigned long)Level->DpcCount,
           Level->Ran != 0 ? "has run" : "not yet");
}

static void KdTellRaise(const KD_TOUR *Tour)
{
    printf("\n2. RAISE AND LOWER, on processor %lu, with a DPC queued in between\n\n", (unsigned long)Tour->Home);
    printf("  %-34s %4s  %-17s %8s  %s\n", "", "IRQL", "CurrentThread", "DpcCount", "the DPC");
    KdTellLevel("before", &Tour->Before);
    KdTellLevel("after KeRaiseIrql(DISPATCH_LEVEL)", &Tour->Raised);
    KdTellLevel("after KeLowerIrql", &Tour->After);
    putchar('\n');
    KdSay("At DISPATCH_LEVEL the thread owns the processor, so the DPC waits. KeLowerIrql runs it before it returns.");
}

static void KdTellDpcs(const KD_TOUR *Tour)
{
    printf("\n3. A DPC TO EACH PROCESSOR: what its routine found in the KPRCB while it ran\n\n");
    printf("  Target  Ran on  IRQL  DpcRoutineActive  ActiveDpc   DpcCount  CurrentThread  DpcStack\n");
    for (ULONG Index = 0; Index < KdRows(Tour); Index++) {
        const KD_TOUR_DPC *Found = &Tour->Dpc[Index];

        if (Found->RanOn == KD_NOWHERE) {
            printf("  %6lu   never\n", (unsigned long)Index);
            continue;
        }
        printf("  %6lu  %6lu  %4u  %-16s  %-10s  %8lu  %-13s  %p\n", (unsigned long)Index, (unsigned long)Found->RanOn,
               Found->Irql, Found->Active ? "TRUE" : "FALSE", Found->Own ? "this one" : "not this",
               (unsigned long)Found->DpcCount, Found->Idle ? "IdleThread" : "the caller's", Found->DpcStack);
    }
    KdSayRest(Tour);
    putchar('\n');
    KdSay(
        "A DPC for the caller's own processor runs on the caller's thread, before KeInsertQueueDpc returns. Nobody "
        "owned the other processors, so their idle threads took them and ran the DPC. Had somebody owned one, the DPC "
        "would have waited for that owner to lower.");
}

static void KdTellIpi(const KD_TOUR *Tour)
{
    printf("\n4. KeIpiGenericCall: the same routine on every processor, none of them doing anything else\n\n");
    printf("  Processor  KPRCB.Number  IRQL  turn\n");
    for (ULONG Index = 0; Index < KdRows(Tour); Index++) {
        printf("  %9lu  %12lu  %4u  %4lu\n", (unsigned long)Index, (unsigned long)Tour->Ipi[Index].Number,
               Tour->Ipi[Index].Irql, (unsigned long)Tour->Ipi[Index].Arrival);
    }
    KdSayRest(Tour);
    printf("\n%lu of %lu processors ran it at IPI_LEVEL (%d), each after all had arrived. Called on processor %lu.\n",
           (unsigned long)Tour->Arrivals, (unsigned long)Tour->Processors, IPI_LEVEL, (unsigned long)Tour->IpiResult);
}

static void KdTellHandOver(const KD_TOUR *Tour)
{
    printf("\n5. A QUEUED SPIN LOCK HANDED OVER: numbered lock %d, LockQueueMasterLock\n\n", KD_TOUR_LOCK);
    if (Tour->Waiters == 0) {
        KdSay("This machine has one processor, so nobody waits for a lock. Try kprcb tour --processors 4.");
        return;
    }
    KdSay("Each processor has one entry for this lock in KPRCB.LockQueue. The first owned the lock while the others "
          "queued; then it released.");
    printf("\n  Queued  Processor  LockQueue[%d].Lock says  LockQueue[%d].Next leads to  Owned as\n", KD_TOUR_LOCK,
           KD_TOUR_LOCK);
    for (ULONG Index = 0; Index < Tour->Waiters; Index++) {
        const KD_TOUR_WAITER *Waiter = &Tour->Waiter[Index];
        char Next[32] = "nobody";

        if (Waiter->Successor != KD_NOWHERE) {
            snprintf(Next, sizeof(Next), "processor %lu", (unsigned long)Waiter->Successor);
        }
        printf("  %6lu  %9lu  %-22s  %-26s  %8lu\n", (unsigned long)Index, (unsigned long)Waiter->Processor,
               KdLockState(Waiter->LockBits), Next, (unsigned long)Waiter->Owned);
    }
    putchar('\n');
    KdSay("The order of owning is the order of queueing. Each waiter spins on its own entry, in its own cache line.");
}

void KdTellTour(const KD_TOUR *Tour)
{
    KdTellMachine(Tour);
    KdTellRaise(Tour);
    KdTellDpcs(Tour);
    KdTellIpi(Tour);
    KdTellHandOver(Tour);
}

static void KdJsonLevel(const char *Name, const KD_TOUR_LEVEL *Level)
{
    KdJsonOpen(Name, '{');
    KdJsonNumber("irql", Level->Irql);
    KdJsonBoolean("currentThreadIsCaller", Level->Current);
    KdJsonBoolean("currentThreadIsIdleThread", Level->Idle);
    KdJsonNumber("dpcCount", Level->DpcCount);
    KdJsonBoolean("dpcHasRun", Level->Ran != 0);
    KdJsonClose('}');
}

static void KdJsonProcessor(const KD_TOUR *Tour, ULONG Index)
{
    const KD_TOUR_PROCESSOR *Block = &Tour->Block[Index];
    const KD_TOUR_DPC *Dpc = &Tour->Dpc[Index];
    const KD_TOUR_IPI *Ipi = &Tour->Ipi[Index];

    KdJsonOpen(NULL, '{');
    KdJsonNumber("index", Index);
    KdJsonNumber("group", Block->Group);
    KdJsonNumber("number", Block->GroupIndex);
    if (Block->HostProcessor != KPRCB_NOT_PINNED) {
        KdJsonNumber("hostProcessor", Block->HostProcessor);
    }
    KdJsonHex("prcb", (ULONG_PTR)Block->Prcb);
    KdJsonString("vendorString", Block->VendorString);
    KdJsonString("cpuVendor", KdVendorName(Block->CpuVendor));
    KdJsonNumber("cpuType", Block->CpuType);
    KdJsonNumber("cpuModel", Block->CpuModel);
    KdJsonNumber("cpuStepping", Block->CpuStepping);
    KdJsonNumber("mhz", Block->MHz);
    KdJsonNumber("cFlushSize", Block->CFlushSize);
    KdJsonNumber("coresPerPhysicalProcessor", Block->Cores);
    KdJsonNumber("initialApicId", Block->InitialApicId);
    KdJsonOpen("dpc", '{');
    KdJsonBoolean("ran", Dpc->RanOn != KD_NOWHERE);
    KdJsonNumber("ranOn", Dpc->RanOn);
    KdJsonNumber("irql", Dpc->Irql);
    KdJsonBoolean("dpcRoutineActive", Dpc->Active);
    KdJsonBoolean("activeDpcIsThis", Dpc->Own);
    KdJsonBoolean("onIdleThread", Dpc->Idle);
    KdJsonNumber("dpcCount", Dpc->DpcCount);
    KdJsonClose('}');
    KdJsonOpen("ipi", '{');
    KdJsonNumber("number", Ipi->Number);
    KdJsonNumber("irql", Ipi->Irql);
    KdJsonNumber("turn", Ipi->Arrival);
    KdJsonClose('}');
    KdJsonClose('}');
}

void KdTellTourJson(const KD_TOUR *Tour)
{
    KdJsonOpen(NULL, '{');
    KdJsonString("version", KprcbVersion());
    KdJsonNumber("processorCount", Tour->Processors);
    KdJsonNumber("groupCount", Tour->Groups);
    KdJsonBoolean("checked", (Tour->BuildType & PRCB_BUILD_DEBUG) != 0);
    KdJsonOpen("processors", '[');
    for (ULONG Index = 0; Index < Tour->Processors; Index++) {
        KdJsonProcessor(Tour, Index);
    }
    KdJsonClose(']');
    KdJsonOpen("raise", '{');
    KdJsonNumber("processor", Tour->Home);
    KdJsonLevel("before", &Tour->Before);
    KdJsonLevel("raised", &Tour->Raised);
    KdJsonLevel("after", &Tour->After);
    KdJsonClose('}');
    KdJsonNumber("ipiCalledOn", Tour->IpiResult);
    KdJsonOpen("handOver", '[');
    for (ULONG Index = 0; Index < Tour->Waiters; Index++) {
        KdJsonOpen(NULL, '{');
        KdJsonNumber("processor", Tour->Waiter[Index].Processor);
        KdJsonString("state", KdLockState(Tour->Waiter[Index].LockBits));
        if (Tour->Waiter[Index].Successor != KD_NOWHERE) {
            KdJsonNumber("next", Tour->Waiter[Index].Successor);
        }
        KdJsonNumber("owned", Tour->Waiter[Index].Owned);
        KdJsonClose('}');
    }
    KdJsonClose(']');
    KdJsonClose('}');
}
