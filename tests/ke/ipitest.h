/*
 * ipitest.h - what the tests of requests and packets share.
 *
 * A target is a thread that owns its processor and does not poll until it is told to, so that what a sender leaves in
 * the KPRCBs can be looked at. The machines run without signals.
 */
#ifndef IPITEST_H
#define IPITEST_H

#include "support/check.h"

static ULONG TestFlags;
static const char *TestVersion; /* of NT */

static inline ULONG Load(ULONG volatile *Word)
{
    return __atomic_load_n(Word, __ATOMIC_ACQUIRE);
}

static inline PKPCR ProcessorAt(ULONG Index)
{
    PKPCR Here = KeGetPcr();

    return Here - Here->Prcb->Number + Index;
}

static inline PKPRCB PrcbAt(ULONG Index)
{
    return ProcessorAt(Index)->Prcb;
}

/* To 3.51 requests are flags. */
static inline BOOLEAN HasFlags(void)
{
    return TestVersion != NULL && TestVersion[0] == '3';
}

/* The IPI_APC and IPI_DPC that wait at a processor, in the words of its version. */
static inline ULONG Requests(PKPRCB Prcb)
{
    if (!HasFlags()) {
        return Load(&Prcb->RequestSummary);
    }
    return (__atomic_load_n(&Prcb->IpiCommands[IPI_COMMAND_APC], __ATOMIC_ACQUIRE) ? IPI_APC : 0u) |
           (__atomic_load_n(&Prcb->IpiCommands[IPI_COMMAND_DPC], __ATOMIC_ACQUIRE) ? IPI_DPC : 0u);
}

static inline void PostDpcRequest(PKPRCB Prcb)
{
    if (HasFlags()) {
        __atomic_store_n(&Prcb->IpiCommands[IPI_COMMAND_DPC], TRUE, __ATOMIC_SEQ_CST);
    } else {
        __atomic_fetch_or(&Prcb->RequestSummary, IPI_DPC, __ATOMIC_SEQ_CST);
    }
}

static inline KAFFINITY TargetSet(PKPRCB Prcb)
{
    return __atomic_load_n(&Prcb->TargetSet, __ATOMIC_ACQUIRE);
}

/* --- A thread that owns a processor: silent until Poll, then polling until Stop --- */

typedef struct _TARGET {
    ULONG Processor;
    ULONG volatile Ready;
    ULONG volatile Poll;
    ULONG volatile Stop;
    VOID (*AtPoll)(VOID);
    pthread_t Thread;
} TARGET;

static inline void *TargetThread(void *Context)
{
    TARGET *Target = Context;
    KIRQL OldIrql;

    Check(KprcbAttachThread(Target->Processor) == STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    CountOne(&Target->Ready);
    AwaitCount(&Target->Poll, 1);
    if (Target->AtPoll != NULL) {
        Target->AtPoll();
    }
    while (Load(&Target->Stop) == 0) {
        YieldProcessor();
    }
    KeLowerIrql(OldIrql);
    return NULL;
}

static inline void StartTarget(TARGET *Target, ULONG Processor)
{
    Target->Processor = Processor;
    Target->Thread = StartThread(TargetThread, Target);
    AwaitCount(&Target->Ready, 1);
}

static inline void LetPoll(TARGET *Target)
{
    CountOne(&Target->Poll);
}

static inline void EndTarget(TARGET *Target)
{
    CountOne(&Target->Poll);
    CountOne(&Target->Stop);
    JoinThread(Target->Thread);
}

/* The test's thread, as the resident of processor 0, at DISPATCH_LEVEL. */
static inline KIRQL OwnProcessorZero(ULONG Processors)
{
    WrongLine = 0;
    StartMachineAs(TestVersion, Processors, TestFlags | KPRCB_NO_SIGNALS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    return KeRaiseIrqlToDpcLevel();
}

static inline void End(KIRQL OldIrql)
{
    KeLowerIrql(OldIrql);
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

/* --- Workers --- */

static ULONG volatile Runs;
static ULONG volatile RunMask;
static ULONG volatile LastContext;

static inline ULONG_PTR Broadcast(ULONG_PTR Context)
{
    Check(KeGetCurrentIrql() == IPI_LEVEL);
    __atomic_store_n(&LastContext, (ULONG)Context, __ATOMIC_RELEASE);
    __atomic_fetch_or(&RunMask, 1u << KeGetCurrentProcessorNumberEx(NULL), __ATOMIC_ACQ_REL);
    return 0;
}

static inline VOID CountingWorker(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Context, PVOID Count)
{
    ((PKIPI_BROADCAST_WORKER)Function)((ULONG_PTR)Context);
    CountOne(Count);
    KiIpiSignalPacketDone(PacketContext);
}

static inline void ResetRuns(void)
{
    Runs = RunMask = LastContext = 0;
}

/* Runs the tests as each version, and the newest once more without membarrier. */
#define RUN_AS_EACH_VERSION(Tests, Failed)                                                                             \
    do {                                                                                                               \
        static const char *const Versions[] = {"3.51", "4.0-late", "10.0", "2004"};                                    \
                                                                                                                       \
        for (ULONG Round = 0; Round <= ARRAYSIZE(Versions); Round += 1) {                                              \
            TestFlags = Round == ARRAYSIZE(Versions) ? KPRCB_NO_MEMBARRIER : 0;                                        \
            TestVersion = TestFlags != 0 ? NULL : Versions[Round];                                                     \
            (Failed) +=                                                                                                \
                cmocka_run_group_tests_name(TestFlags != 0 ? "no membarrier" : TestVersion, Tests, NULL, NULL);        \
        }                                                                                                              \
    } while (0)

#endif
