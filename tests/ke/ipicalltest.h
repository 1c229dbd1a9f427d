/*
 * ipicalltest.h - a KeIpiGenericCall that checks itself, whatever the processors are doing.
 *
 * The worker looks at the level of every processor as it starts, and the caller looks at what all of them left behind as
 * the call returns. Threads other than the test's own report by Check, since a failed assertion of cmocka may only leave
 * the thread that runs the test.
 */
#ifndef IPICALLTEST_H
#define IPICALLTEST_H

#include "support/check.h"

#define MAXIMUM 1024
#define RESULT_BASE 5000

static ULONG TestFlags;
static const char *TestVersion; /* of NT */
static ULONG volatile Stop;

static inline BOOLEAN Stopped(void)
{
    return __atomic_load_n(&Stop, __ATOMIC_ACQUIRE) != 0;
}

static inline int Setup(void **State)
{
    UNREFERENCED_PARAMETER(State);
    WrongLine = 0;
    Stop = 0;
    return 0;
}

static inline PKPCR ProcessorAt(ULONG Index)
{
    PKPCR Here = KeGetPcr();

    return Here - Here->Prcb->Number + Index;
}

/* Not for the eyes of ThreadSanitizer: a display of words that their owner writes. */
__attribute__((no_sanitize("thread"))) static BOOLEAN IsAtIpiLevel(PKPCR Pcr)
{
    return Pcr->Irql == IPI_LEVEL || Pcr->PrcbData.ResidentIrql == IPI_LEVEL;
}

/* --- A call that checks itself --- */

typedef enum _VISIT { NotVisited, Inside, Finished } VISIT;

typedef struct _CALL {
    ULONG Processors;
    ULONG CallerProcessor;
    PKTHREAD Caller;
    ULONG volatile FinishedCount;
    ULONG volatile Visits[MAXIMUM];
} CALL;

/* The call that is under way. NULL -> call by the first worker that runs, -> NULL by the last. */
static CALL *volatile Current;

static inline ULONG_PTR Visit(ULONG_PTR Argument)
{
    CALL *Call = (CALL *)Argument;
    ULONG Number = KeGetCurrentProcessorNumberEx(NULL);
    CALL *Before = NULL;

    Check(KeGetCurrentIrql() == IPI_LEVEL);
    if (!__atomic_compare_exchange_n(&Current, &Before, Call, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        Check(Before == Call);
    }
    for (ULONG Index = 0; Index < Call->Processors; Index += 1) {
        BOOLEAN Above = IsAtIpiLevel(ProcessorAt(Index));

        /* The level first: a processor that has finished may be on its way down. */
        Check(Above || __atomic_load_n(&Call->Visits[Index], __ATOMIC_SEQ_CST) == Finished);
    }
    Check(__atomic_exchange_n(&Call->Visits[Number], Inside, __ATOMIC_SEQ_CST) == NotVisited);
    if (KeGetCurrentThread() == Call->Caller) {
        Call->CallerProcessor = Number;
    } else {
        sched_yield(); /* so that a caller who does not wait is found out */
    }
    if (__atomic_add_fetch(&Call->FinishedCount, 1, __ATOMIC_SEQ_CST) == Call->Processors) {
        __atomic_store_n(&Current, NULL, __ATOMIC_SEQ_CST);
    }
    __atomic_exchange_n(&Call->Visits[Number], Finished, __ATOMIC_SEQ_CST);
    return RESULT_BASE + Number;
}

static inline void CallAndCheck(ULONG Processors)
{
    CALL *Call = calloc(1, sizeof(*Call));
    KIRQL Irql = KeGetCurrentIrql();
    ULONG_PTR Result;

    Call->Processors = Processors;
    Call->Caller = KeGetCurrentThread();
    Result = KeIpiGenericCall(Visit, (ULONG_PTR)Call);
    for (ULONG Index = 0; Index < Processors; Index += 1) {
        Check(__atomic_load_n(&Call->Visits[Index], __ATOMIC_SEQ_CST) == Finished);
    }
    Check(Call->FinishedCount == Processors);
    Check(Result == RESULT_BASE + Call->CallerProcessor);
    Check(KeGetCurrentIrql() == Irql);
    free(Call);
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
