/*
 * bench_cpuid.c - identification of the CPU by cpuid, beside the same cpuid instructions alone.
 *
 * In a virtual machine each of them traps, and is all that counts. The identification is internal: this file sees
 * src/ke/identify.h, and the benchmark is linked with its sources.
 */
#include "bench.h"

#include "identify.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

#define MAXIMUM_ASKED 64

typedef struct {
    ULONG Leaf, Subleaf;
    HAL_CPUID Registers;
} ASKED;

/* What an identification of this CPU asks for, and is told. */
static ASKED Asked[MAXIMUM_ASKED];
static ULONG AskedCount;
static volatile ULONG Sink;

static BOOLEAN AskHost(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    UNREFERENCED_PARAMETER(Context);
    return HalCpuid(Leaf, Subleaf, Registers);
}

static BOOLEAN AskAndRecord(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    BOOLEAN Known = AskHost(Context, Leaf, Subleaf, Registers);

    if (AskedCount < MAXIMUM_ASKED) {
        Asked[AskedCount++] = (ASKED){Leaf, Subleaf, *Registers};
    }
    return Known;
}

/* The record in order, as the questions come in the same order. */
static BOOLEAN AskRecord(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    ULONG *Next = Context;

    UNREFERENCED_PARAMETER(Leaf);
    UNREFERENCED_PARAMETER(Subleaf);
    *Registers = Asked[*Next].Registers;
    *Next = (*Next + 1) % AskedCount;
    return TRUE;
}

static inline void Identify(void *Context)
{
    KPRCB *Prcb = Context;

    KiIdentifyProcessor(Prcb, AskHost, NULL);
}

static double IdentifySample(void *Context, double Seconds)
{
    return BenchLoop(Identify, Context, Seconds, 1);
}

static inline void IdentifyRecord(void *Context)
{
    ULONG Next = 0;

    KiIdentifyProcessor(Context, AskRecord, &Next);
}

static inline void Instructions(void *Context)
{
    ULONG Sum = 0;

    (void)Context;
    for (ULONG Index = 0; Index < AskedCount; Index++) {
        unsigned Eax, Ebx, Ecx, Edx;

        __cpuid_count(Asked[Index].Leaf, Asked[Index].Subleaf, Eax, Ebx, Ecx, Edx);
        Sum += Eax ^ Ebx ^ Ecx ^ Edx;
    }
    Sink = Sum;
}

static double InstructionsSample(void *Context, double Seconds)
{
    return BenchLoop(Instructions, Context, Seconds, 1);
}

static void Probe(const BENCH_ROW *Row)
{
    static KPRCB Prcb;
    BENCH_PLAN Plan = BenchPlan(1, 0);
    BENCH_SIDE Sides[] = {{"identify", IdentifySample, &Prcb, NULL}, {"cpuid", InstructionsSample, NULL, NULL}};
    BENCH_RESULT *Result;
    HAL_CPUID Leaf0;

    if (!HalCpuid(0, 0, &Leaf0)) {
        BenchSkip(Row, "this CPU has no cpuid");
        return;
    }
    AskedCount = 0;
    KiIdentifyProcessor(&Prcb, AskAndRecord, NULL);
    if (AskedCount == MAXIMUM_ASKED) {
        BenchFail(Row, "more than %d leaves were asked for", MAXIMUM_ASKED - 1);
        return;
    }
    if (BenchCompare(Row, &Plan, Sides, 2, &Result) > 0) {
        BenchNote(Result, "%u cpuid instructions; from a record in memory %.0f ns", (unsigned)AskedCount,
                  BenchLoop(IdentifyRecord, &Prcb, 0.01, 64));
    }
}
#else
static void Probe(const BENCH_ROW *Row)
{
    BenchSkip(Row, "this CPU has no cpuid");
}
#endif

const BENCH_ROW BenchCpuidRows[] = {
    {"cpuid.probe",
     "identification of one CPU into its KPRCB; as many cpuid instructions by the compiler's <cpuid.h>",
     {{"cpuid", 1.25, 0}},
     Probe,
     0},
    {0}};
