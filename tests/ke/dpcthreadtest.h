/*
 * dpcthreadtest.h - what the tests of threaded DPCs share: a threaded DPC that keeps the DPC thread of a processor.
 */
#ifndef DPCTHREADTEST_H
#define DPCTHREADTEST_H

#include "dpctest.h"

#define YIELDS 500 /* what does not wait is over within these */

typedef struct _BUSY {
    KDPC Dpc;
    ULONG volatile Entered;
    ULONG volatile Released;
    ULONG volatile Ended;
} BUSY;

static inline void YieldALot(void)
{
    for (ULONG Yield = 0; Yield < YIELDS; Yield += 1) {
        sched_yield();
    }
}

static inline VOID BusyRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    BUSY *Busy = Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(&Busy->Entered);
    AwaitCount(&Busy->Released, 1);
    YieldALot();
    CountOne(&Busy->Ended);
}

static inline void SetTarget(PKDPC Dpc, ULONG Index)
{
    PROCESSOR_NUMBER Number;

    if (KeGetProcessorNumberFromIndex(Index, &Number) != STATUS_SUCCESS ||
        KeSetTargetProcessorDpcEx(Dpc, &Number) != STATUS_SUCCESS) {
        abort();
    }
}

/* On return the DPC thread of the processor is inside the routine, until EndBusy. */
static inline void StartBusy(BUSY *Busy, ULONG Processor)
{
    *Busy = (BUSY){.Entered = 0};
    KeInitializeThreadedDpc(&Busy->Dpc, BusyRoutine, Busy);
    SetTarget(&Busy->Dpc, Processor);
    assert_true(KeInsertQueueDpc(&Busy->Dpc, NULL, NULL));
    AwaitCount(&Busy->Entered, 1);
}

static inline void ReleaseBusy(BUSY *Busy)
{
    CountOne(&Busy->Released);
}

static inline void EndBusy(BUSY *Busy)
{
    ReleaseBusy(Busy);
    AwaitCount(&Busy->Ended, 1);
}

static inline void InitializeThreaded(PKDPC Dpc, PKDEFERRED_ROUTINE Routine, PVOID Context, ULONG Processor)
{
    KeInitializeThreadedDpc(Dpc, Routine, Context);
    SetTarget(Dpc, Processor);
}

#endif
