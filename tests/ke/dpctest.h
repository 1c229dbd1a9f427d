/*
 * dpctest.h - what the tests of src/ke/dpc*.c share: a routine that records its run, and threads that hold a processor.
 */
#ifndef DPCTEST_H
#define DPCTEST_H

#include <stdio.h>

#include "support/support.h"

/* The last run of a DPC. Written by RecordRun before it counts; read after AwaitCount, or by the thread that ran it. */
typedef struct _RUNS {
    ULONG volatile Count;
    PVOID Argument1;
    PVOID Argument2;
    ULONG Processor;
    PKTHREAD Thread;
    KIRQL Irql;
    BOOLEAN Executing;
} RUNS;

static inline VOID RecordRun(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    RUNS *Runs = (RUNS *)Context;

    UNREFERENCED_PARAMETER(Dpc);
    Runs->Argument1 = Argument1;
    Runs->Argument2 = Argument2;
    Runs->Processor = KeGetCurrentProcessorIndex();
    Runs->Thread = KeGetCurrentThread();
    Runs->Irql = KeGetCurrentIrql();
    Runs->Executing = KeIsExecutingDpc() != 0;
    CountOne(&Runs->Count);
}

static inline ULONG CountOf(ULONG volatile *Count)
{
    return __atomic_load_n(Count, __ATOMIC_ACQUIRE);
}

static inline PVOID Number(ULONG_PTR Value)
{
    return (PVOID)Value;
}

/* KPCR of a processor, from any thread: the machine's processors are one array. */
static inline PKPCR PcrOf(ULONG Index)
{
    return KeGetPcr() + ((LONG)Index - (LONG)KeGetCurrentProcessorIndex());
}

/* A thread that owns a processor at DISPATCH_LEVEL from StartHolder to EndHolder. */
typedef struct _HOLDER {
    ULONG Processor;
    ULONG Residence; /* where the thread is attached; its affinity is Processor */
    ULONG volatile Ready;
    ULONG volatile Released;
    pthread_t Thread;
} HOLDER;

static inline void *HolderThread(void *Context)
{
    HOLDER *Holder = (HOLDER *)Context;
    KIRQL OldIrql;

    if (KprcbAttachThread(Holder->Residence) != STATUS_SUCCESS) {
        abort();
    }
    if (Holder->Residence != Holder->Processor) {
        KeSetSystemAffinityThreadEx((KAFFINITY)1 << Holder->Processor);
    }
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    if (KeGetCurrentProcessorIndex() != Holder->Processor) {
        abort();
    }
    CountOne(&Holder->Ready);
    AwaitCount(&Holder->Released, 1);
    KeLowerIrql(OldIrql);
    return NULL;
}

static inline void StartHolder(HOLDER *Holder, ULONG Processor, ULONG Residence)
{
    *Holder = (HOLDER){.Processor = Processor, .Residence = Residence};
    Holder->Thread = StartThread(HolderThread, Holder);
    AwaitCount(&Holder->Ready, 1);
}

/* On return all that was queued to the processor has run, or runs on its idle thread. */
static inline void EndHolder(HOLDER *Holder)
{
    CountOne(&Holder->Released);
    JoinThread(Holder->Thread);
}

/* A machine with the calling thread resident on processor 0. */
static inline void StartAttached(ULONG Processors, ULONG Flags)
{
    StartMachine(Processors, Flags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
}

static inline ULONG CaughtCode(VOID (*Routine)(PVOID), PVOID Context)
{
    KPRCB_BUGCHECK BugCheck = {0};

    return KprcbCatchBugCheck(Routine, Context, &BugCheck) ? BugCheck.Code : 0;
}

/* Runs a group of tests on machines with membarrier and on machines without. */
static ULONG MachineFlags;

static inline int RunInMode(ULONG Flags, const char *Name, const struct CMUnitTest *Tests, size_t Count)
{
    MachineFlags = Flags;
    return _cmocka_run_group_tests(Name, Tests, Count, NULL, NULL);
}

static inline int RunInBothModes(const struct CMUnitTest *Tests, size_t Count)
{
    int Failed = RunInMode(0, "membarrier", Tests, Count);

    return Failed + RunInMode(KPRCB_NO_MEMBARRIER, "exchange", Tests, Count);
}

#endif
