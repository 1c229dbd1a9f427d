/*
 * bench_machine.c - start of a large machine, one DPC to each of its processors, stop; and its memory.
 */
#include "peers.h"

#include <kprcb/kprcb.h>
#include <stdlib.h>

#define PROCESSORS 1024

static KDPC *Dpcs;
static uint32_t Ran __attribute__((aligned(128)));

static VOID CountRoutine(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    (void)Dpc, (void)DeferredContext, (void)SystemArgument1, (void)SystemArgument2;
    __atomic_add_fetch(&Ran, 1, __ATOMIC_RELEASE);
}

/* From start to stop. Resident (may be NULL): the memory in KiB while all processors run. Returns ns; 0: it failed. */
static double Once(const BENCH_ROW *Row, double *Resident)
{
    uint64_t Start = BenchNow();

    if (!BenchStartMachine(Row, PROCESSORS)) {
        return 0;
    }
    Ran = 0;
    for (ULONG i = 0; i < PROCESSORS; i++) {
        PROCESSOR_NUMBER Target;

        KeGetProcessorNumberFromIndex(i, &Target);
        KeInitializeDpc(&Dpcs[i], CountRoutine, NULL);
        KeSetTargetProcessorDpcEx(&Dpcs[i], &Target);
        KeSetImportanceDpc(&Dpcs[i], MediumHighImportance);
        KeInsertQueueDpc(&Dpcs[i], NULL, NULL);
    }
    KeFlushQueuedDpcs(); /* waits for the ends of the routines, without which there is no stop */
    if (__atomic_load_n(&Ran, __ATOMIC_ACQUIRE) != PROCESSORS) {
        BenchFail(Row, "%u of %d DPCs ran", __atomic_load_n(&Ran, __ATOMIC_RELAXED), PROCESSORS);
    }
    if (Resident != NULL) {
        *Resident = BenchResidentKib();
    }
    BenchStopMachine(Row);
    return (double)(BenchNow() - Start);
}

static double MachineSample(void *Context, double Seconds)
{
    (void)Seconds;
    return Once(Context, NULL);
}

static double ThreadsSample(void *Context, double Seconds)
{
    double Ns = PeerThreadsOnce(PROCESSORS);

    (void)Seconds;
    if (Ns < 0) {
        BenchFail(Context, "%d threads could not be created", PROCESSORS);
    }
    return Ns;
}

static void Machine(const BENCH_ROW *Row)
{
    BENCH_PLAN Plan = BenchTrendPlan(PROCESSORS, PROCESSORS);
    BENCH_SIDE Sides[] = {{"machine", MachineSample, (void *)(uintptr_t)Row, NULL},
                          {"pthreads", ThreadsSample, (void *)(uintptr_t)Row, NULL}};
    BENCH_RESULT *Result;
    double Before, During = 0;

    Dpcs = calloc(PROCESSORS, sizeof(*Dpcs));
    if (Dpcs == NULL) {
        BenchFail(Row, "no memory");
        return;
    }
    /* Before any sample: the C library keeps the stacks of threads that ended, and would hand them out again. */
    Before = BenchResidentKib();
    if (Once(Row, &During) > 0 && BenchCompare(Row, &Plan, Sides, 2, &Result) > 0) {
        Result->Kib = (During - Before) / PROCESSORS;
        BenchNote(Result, "resident memory %.1f KiB a processor, target 64", Result->Kib);
    }
    free(Dpcs);
}

const BENCH_ROW BenchMachineRows[] = {
    {"machine.1024",
     "start of 1,024 processors, one DPC to each, stop; one thread created, woken and joined for each",
     {{"pthreads", 1.25, 0}},
     Machine,
     0},
    {0}};
