/*
 * irqltest.h - what test_irql.c and test_irqlmisuse.c share: the machine, the level as others see it, a DPC that
 * records its run.
 */
#ifndef IRQLTEST_H
#define IRQLTEST_H

#include "support/support.h"

static ULONG MachineFlags;
static ULONG MachineProcessors;

#define UNWRITTEN 0xEE

static inline int SetUp(void **State)
{
    (void)State;
    StartMachine(MachineProcessors, MachineFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    return 0;
}

static inline int TearDown(void **State)
{
    (void)State;
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    StopMachine();
    return 0;
}

/* The level that others see on the calling thread's processor. */
static inline ULONG ProcessorLevel(void)
{
    PKPCR Pcr = KeGetPcr();

    return __atomic_load_n(&Pcr->Owner, __ATOMIC_ACQUIRE) != NULL
               ? Pcr->Irql
               : __atomic_load_n(&Pcr->PrcbData.ResidentIrql, __ATOMIC_ACQUIRE);
}

static inline BOOLEAN ProcessorIsFree(void)
{
    PKPCR Pcr = KeGetPcr();

    return __atomic_load_n(&Pcr->Owner, __ATOMIC_ACQUIRE) == NULL &&
           __atomic_load_n(&Pcr->PrcbData.ResidentIrql, __ATOMIC_ACQUIRE) < DISPATCH_LEVEL;
}

static inline void ExpectLevel(KIRQL Irql)
{
    assert_int_equal(KeGetCurrentIrql(), Irql);
    if (Irql >= DISPATCH_LEVEL) {
        assert_int_equal(ProcessorLevel(), Irql);
        assert_ptr_equal(KeGetCurrentPrcb()->CurrentThread, KeGetCurrentThread());
    } else {
        assert_true(ProcessorIsFree());
    }
}

typedef struct {
    ULONG volatile Runs;
    ULONG Level, Processor;
    BOOLEAN Owned;
} RUN;

static inline VOID RecordDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    RUN *Run = Context;

    (void)Dpc, (void)Argument1, (void)Argument2;
    Run->Level = KeGetCurrentIrql();
    Run->Processor = KeGetCurrentProcessorNumberEx(NULL);
    Run->Owned = ProcessorLevel() == DISPATCH_LEVEL;
    CountOne(&Run->Runs);
}

#endif
