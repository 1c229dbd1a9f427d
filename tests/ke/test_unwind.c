/*
 * test_unwind.c - bug checks that once unwound what others still relied on: queued markers, a sender, a rendezvous, a
 * lock.
 */
#include "support/support.h"

#include <string.h>

#include "ki.h"

static ULONG volatile Held, Posted, InWorker, Catching, Stop;

static void Begin(ULONG Processors, ULONG TimeIncrement)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = Processors, .TimeIncrement = TimeIncrement};

    Held = Posted = InWorker = Catching = Stop = 0;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
}

static VOID BugCheck(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4);
}

static VOID HoldUntilStop(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(&Held);
    AwaitCount(&Stop, 1);
}

static KDPC LazyBad;

static void *PostLazyBad(void *Context)
{
    UNREFERENCED_PARAMETER(Context);
    (void)KprcbAttachThread(1);
    KeInsertQueueDpc(&LazyBad, NULL, NULL);
    CountOne(&Posted);
    return NULL;
}

static void *StopSoon(void *Context)
{
    UNREFERENCED_PARAMETER(Context);
    for (ULONG Turn = 0; Turn < 2000; Turn += 1) {
        sched_yield(); /* time for a flush that does not wait */
    }
    CountOne(&Stop);
    return NULL;
}

static VOID Flush(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeFlushQueuedDpcs();
}

/* The flush's own lower runs a DPC that bug checks, while a marker waits on another processor. */
static void a_flush_leaves_no_marker_behind(void **State)
{
    KPRCB_BUGCHECK Result;
    KDPC Holding;
    pthread_t Thread;

    UNREFERENCED_PARAMETER(State);
    Begin(3, 10000000);
    KeInitializeDpc(&LazyBad, BugCheck, NULL);
    KeSetTargetProcessorDpc(&LazyBad, 0);
    KeSetImportanceDpc(&LazyBad, LowImportance);
    KeInitializeDpc(&Holding, HoldUntilStop, NULL);
    KeSetTargetProcessorDpc(&Holding, 2);
    KeInsertQueueDpc(&Holding, NULL, NULL);
    AwaitCount(&Held, 1);
    Thread = StartThread(PostLazyBad, NULL);
    AwaitCount(&Posted, 1);
    JoinThread(Thread);
    Thread = StartThread(StopSoon, NULL);
    assert_true(KprcbCatchBugCheck(Flush, NULL, &Result));
    assert_int_equal(Result.Code, MANUALLY_INITIATED_CRASH);
    assert_int_equal(Stop, 1); /* it waited for the marker of processor 2 */
    JoinThread(Thread);
    for (ULONG Index = 0; Index < 3; Index += 1) {
        assert_null(KiProcessor(Index)->PrcbData.DpcData[DPC_NORMAL].DpcList.ListHead.Next);
    }
    StopMachine();
}

static VOID CatchUntilDelivered(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    CountOne(&Catching);
    for (;;) {
        YieldProcessor();
    }
}

static void *CatchLate(void *Context)
{
    KPRCB_BUGCHECK Result;

    UNREFERENCED_PARAMETER(Context);
    AwaitCount(&InWorker, 1);
    (void)KprcbAttachThread(1);
    return KprcbCatchBugCheck(CatchUntilDelivered, NULL, &Result) ? &LazyBad : NULL;
}

static ULONG_PTR FailOnTwo(ULONG_PTR Context)
{
    UNREFERENCED_PARAMETER(Context);
    if (KeGetCurrentProcessorNumberEx(NULL) == 2) {
        CountOne(&InWorker);
        AwaitCount(&Catching, 1);
        KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4);
    }
    return 0;
}

/* Nobody caught anything when the worker began. */
static void a_worker_that_fails_after_somebody_began_to_catch(void **State)
{
    pthread_t Thread;
    void *Caught;

    UNREFERENCED_PARAMETER(State);
    Begin(3, 0);
    Thread = StartThread(CatchLate, NULL);
    KeIpiGenericCall(FailOnTwo, 0);
    assert_int_equal(pthread_join(Thread, &Caught), 0);
    assert_non_null(Caught);
    StopMachine();
}

static ULONG_PTR FailHere(ULONG_PTR Context)
{
    if ((Context >> 4) % 3 == KeGetCurrentProcessorNumberEx(NULL) && KprcbThread.Thread->Frame != NULL) {
        KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4);
    }
    return 0;
}

static VOID CallAll(PVOID Context)
{
    KeIpiGenericCall(FailHere, (ULONG_PTR)Context);
}

static void *CallAndCatch(void *Context)
{
    ULONG Seed = (ULONG)(ULONG_PTR)Context * 77 + 1;

    (void)KprcbAttachThread((ULONG)(ULONG_PTR)Context);
    for (ULONG Round = 0; Round < 2000; Round += 1) {
        KPRCB_BUGCHECK Result;

        KprcbCatchBugCheck(CallAll, (PVOID)(ULONG_PTR)NextRandom(&Seed), &Result);
    }
    return NULL;
}

/* Workers fail on callers that are on their way out of their own calls. */
static void callers_whose_workers_fail_call_one_at_a_time(void **State)
{
    pthread_t Threads[2];

    UNREFERENCED_PARAMETER(State);
    Begin(3, 0);
    for (ULONG_PTR Index = 0; Index < 2; Index += 1) {
        Threads[Index] = StartThread(CallAndCatch, (void *)(Index + 1));
    }
    CallAndCatch((void *)0);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        JoinThread(Threads[Index]);
    }
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(a_flush_leaves_no_marker_behind),
        cmocka_unit_test(a_worker_that_fails_after_somebody_began_to_catch),
        cmocka_unit_test(callers_whose_workers_fail_call_one_at_a_time),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
