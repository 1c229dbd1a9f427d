/*
 * test_dpccall.c - KeGenericCallDpc, KeSignalCallDpcDone, KeSignalCallDpcSynchronize.
 */
#include "dpctest.h"

#include "ki.h"

#define MOST 40
#define ROUNDS 20
#define CALLS 200
#define CALLERS 3

/* What each processor has seen. */
typedef struct _CALL {
    ULONG volatile Ran[MOST];
    ULONG volatile Entered;
    ULONG volatile Ended;
    ULONG volatile Wrong;
    ULONG Processors;
    ULONG Rounds;
    ULONG volatile Came[ROUNDS];
    ULONG volatile Winners[ROUNDS];
    ULONG Single; /* by the winners alone */
} CALL;

static VOID CountRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    CALL *Call = Context;
    ULONG Processor = KeGetCurrentProcessorIndex();

    UNREFERENCED_PARAMETER(Argument2);
    CountOne(&Call->Ran[Processor]);
    if (KeGetCurrentIrql() != DISPATCH_LEVEL || KeIsExecutingDpc() == 0 || Dpc != &KeGetCurrentPrcb()->CallDpc) {
        CountOne(&Call->Wrong);
    }
    CountOne(&Call->Ended);
    KeSignalCallDpcDone(Argument1);
}

static void CallEverywhere(ULONG Processors, KIRQL Irql)
{
    CALL Call = {.Processors = Processors};
    KIRQL OldIrql;

    StartAttached(Processors, MachineFlags);
    KeRaiseIrql(Irql, &OldIrql);
    for (ULONG Round = 1; Round <= 5; Round += 1) {
        KeGenericCallDpc(CountRoutine, &Call);
        assert_int_equal(Call.Ended, Round * Processors);
        for (ULONG Index = 0; Index < Processors; Index += 1) {
            assert_int_equal(Call.Ran[Index], Round);
        }
        assert_int_equal(KeGetCurrentIrql(), Irql);
    }
    KeLowerIrql(OldIrql);
    assert_int_equal(Call.Wrong, 0);
    StopMachine();
}

static void TestItRunsOnceOnEveryProcessor(void **State)
{
    (void)State;
    CallEverywhere(1, PASSIVE_LEVEL);
    CallEverywhere(2, APC_LEVEL);
    CallEverywhere(3, PASSIVE_LEVEL);
    CallEverywhere(MOST, PASSIVE_LEVEL);
}

/* All come before any goes on; the winner is alone between two meetings. */
static VOID MeetRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    CALL *Call = Context;

    UNREFERENCED_PARAMETER(Dpc);
    for (ULONG Round = 0; Round < ROUNDS; Round += 1) {
        CountOne(&Call->Came[Round]);
        if (KeSignalCallDpcSynchronize(Argument2)) {
            CountOne(&Call->Winners[Round]);
            Call->Single += 1;
        }
        if (CountOf(&Call->Came[Round]) % Call->Processors != 0) {
            CountOne(&Call->Wrong);
        }
        KeSignalCallDpcSynchronize(Argument2);
    }
    CountOne(&Call->Ended);
    KeSignalCallDpcDone(Argument1);
}

static void Meet(ULONG Processors)
{
    CALL Call = {.Processors = Processors};

    StartAttached(Processors, MachineFlags);
    for (ULONG Round = 1; Round <= 10; Round += 1) {
        KeGenericCallDpc(MeetRoutine, &Call);
        assert_int_equal(Call.Ended, Round * Processors);
        assert_int_equal(Call.Single, Round * ROUNDS);
        for (ULONG Index = 0; Index < ROUNDS; Index += 1) {
            assert_int_equal(Call.Came[Index], Round * Processors);
            assert_int_equal(Call.Winners[Index], Round);
        }
    }
    assert_int_equal(Call.Wrong, 0);
    StopMachine();
}

static void TestTheBarrierHoldsAllAndOneWins(void **State)
{
    (void)State;
    Meet(1);
    Meet(2);
    Meet(4);
    Meet(17);
}

static ULONG volatile InCall;

/* No routine of another call runs meanwhile. */
static VOID AloneRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    CALL *Call = Context;

    UNREFERENCED_PARAMETER(Dpc);
    if (KeSignalCallDpcSynchronize(Argument2)) {
        if (__atomic_fetch_add(&InCall, 1, __ATOMIC_ACQ_REL) != 0) {
            CountOne(&Call->Wrong);
        }
    }
    if (KeSignalCallDpcSynchronize(Argument2)) {
        __atomic_fetch_sub(&InCall, 1, __ATOMIC_ACQ_REL);
    }
    CountOne(&Call->Ended);
    KeSignalCallDpcDone(Argument1);
}

static void *CallerThread(void *Context)
{
    CALL *Call = Context;
    ULONG Before;

    for (ULONG Count = 0; Count < CALLS; Count += 1) {
        Before = CountOf(&Call->Ended);
        KeGenericCallDpc(AloneRoutine, Call);
        if (CountOf(&Call->Ended) < Before + Call->Processors) {
            CountOne(&Call->Wrong);
        }
    }
    return NULL;
}

static void TestCallsAreSerialised(void **State)
{
    CALL Call = {.Processors = 3};
    pthread_t Threads[CALLERS];

    (void)State;
    InCall = 0;
    StartMachine(3, MachineFlags);
    for (ULONG Index = 0; Index < CALLERS; Index += 1) {
        Threads[Index] = StartThread(CallerThread, &Call);
    }
    for (ULONG Index = 0; Index < CALLERS; Index += 1) {
        JoinThread(Threads[Index]);
    }
    assert_int_equal(Call.Ended, CALLERS * CALLS * 3);
    assert_int_equal(Call.Wrong, 0);
    assert_int_equal(InCall, 0);
    StopMachine();
}

static void *WaitingCaller(void *Context)
{
    CALL *Call = Context;

    KeGenericCallDpc(CountRoutine, Call);
    CountOne(&Call->Entered);
    return NULL;
}

/* The caller waits for a processor that somebody owns, in the end asleep. */
static void TestItWaitsForAProcessorThatIsOwned(void **State)
{
    CALL Call = {.Processors = 2};
    HOLDER Holder;
    pthread_t Thread;

    (void)State;
    StartMachine(2, MachineFlags);
    StartHolder(&Holder, 1, 1);
    Thread = StartThread(WaitingCaller, &Call);
    AwaitCount(&Call.Ran[0], 1);
    for (ULONG Yield = 0; Yield < 2000; Yield += 1) {
        sched_yield();
    }
    assert_int_equal(CountOf(&Call.Entered), 0);
    assert_int_equal(CountOf(&Call.Ran[1]), 0);
    EndHolder(&Holder);
    JoinThread(Thread);
    assert_int_equal(Call.Ran[1], 1);
    StopMachine();
}

static ULONG volatile Added;

/* All wait inside the call until a processor was added. */
static VOID AwaitAdditionRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    CALL *Call = Context;

    UNREFERENCED_PARAMETER(Dpc);
    CountOne(&Call->Entered);
    AwaitCount(&Added, 1);
    KeSignalCallDpcSynchronize(Argument2);
    CountOne(&Call->Ran[KeGetCurrentProcessorIndex()]);
    CountOne(&Call->Ended);
    KeSignalCallDpcDone(Argument1);
}

static void *AwaitAdditionThread(void *Context)
{
    KeGenericCallDpc(AwaitAdditionRoutine, Context);
    return NULL;
}

static void TestAProcessorAddedMeanwhileHasNoPart(void **State)
{
    KPRCB_CONFIG Config = Configuration(2, 0, MachineFlags);
    CALL Call = {.Processors = 2};
    CALL After = {.Processors = 3};
    pthread_t Thread;

    (void)State;
    Added = 0;
    Config.MaximumProcessorCount = 3;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    Thread = StartThread(AwaitAdditionThread, &Call);
    AwaitCount(&Call.Entered, 2);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    CountOne(&Added);
    JoinThread(Thread);
    assert_int_equal(Call.Ended, 2);
    assert_int_equal(Call.Ran[2], 0);
    KeGenericCallDpc(CountRoutine, &After);
    assert_int_equal(After.Ended, 3);
    assert_int_equal(After.Ran[2], 1);
    assert_int_equal(After.Wrong, 0);
    StopMachine();
}

static ULONG_PTR CountIpi(ULONG_PTR Context)
{
    CountOne((ULONG volatile *)Context);
    return 0;
}

static ULONG volatile Ipis;

/* Processor 0 sends an IPI to those that wait at the barrier. */
static VOID IpiRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    if (KeGetCurrentProcessorIndex() == 0) {
        (void)KeIpiGenericCall(CountIpi, (ULONG_PTR)&Ipis);
    }
    KeSignalCallDpcSynchronize(Argument2);
    KeSignalCallDpcDone(Argument1);
}

static void TestThoseWhoWaitAtTheBarrierServeIpis(void **State)
{
    (void)State;
    Ipis = 0;
    StartAttached(3, MachineFlags);
    for (ULONG Round = 1; Round <= 50; Round += 1) {
        KeGenericCallDpc(IpiRoutine, NULL);
        assert_int_equal(Ipis, 3 * Round);
    }
    StopMachine();
}

static VOID CallAt(PVOID Context)
{
    KIRQL OldIrql;

    KeRaiseIrql(*(KIRQL *)Context, &OldIrql);
    KeGenericCallDpc(CountRoutine, NULL);
    KeLowerIrql(OldIrql);
}

static VOID SignalDone(PVOID Context)
{
    KeSignalCallDpcDone(Context);
}

static VOID Synchronize(PVOID Context)
{
    (VOID) KeSignalCallDpcSynchronize(Context);
}

static VOID TwiceRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument2);
    KeSignalCallDpcDone(Argument1);
    if (KeGetCurrentProcessorIndex() == *(ULONG *)Context) {
        KeSignalCallDpcDone(Argument1);
    }
}

static VOID CallTwice(PVOID Context)
{
    KeGenericCallDpc(TwiceRoutine, Context);
    KeFlushQueuedDpcs();
}

static VOID CallNothing(PVOID Context)
{
    KeGenericCallDpc(NULL, Context);
}

static void TestDoneTwiceIsABugCheck(void **State)
{
    CALL After = {.Processors = 2};

    (void)State;
    StartAttached(2, MachineFlags);
    for (ULONG Processor = 0; Processor < 2; Processor += 1) {
        assert_int_equal(CaughtCode(CallTwice, &Processor), TIMER_OR_DPC_INVALID);
        KeGenericCallDpc(CountRoutine, &After);
        assert_int_equal(After.Ended, 2 * (Processor + 1));
    }
    StopMachine();
}

static void TestMisuseIsABugCheck(void **State)
{
    static const KIRQL Wrong[] = {DISPATCH_LEVEL, SYNCH_LEVEL, HIGH_LEVEL};
    ULONG Words[8] = {0};

    (void)State;
    StartAttached(2, MachineFlags);
    for (ULONG Index = 0; Index < ARRAYSIZE(Wrong); Index += 1) {
        assert_int_equal(CaughtCode(CallAt, (PVOID)&Wrong[Index]), IRQL_NOT_LESS_OR_EQUAL);
    }
    assert_int_equal(CaughtCode(SignalDone, Words), IRQL_NOT_GREATER_OR_EQUAL);
    assert_int_equal(CaughtCode(Synchronize, Words), IRQL_NOT_GREATER_OR_EQUAL);
    assert_int_equal(CaughtCode(CallNothing, NULL), TIMER_OR_DPC_INVALID);
    StopMachine();
}

/* --- what a routine may do with its arguments --- */

typedef enum _FOUL {
    NotDone,
    DoneOfNothing,
    DoneOfAnother,
    SynchronizeAnother,
    SynchronizeWhenDone,
    FoulsInCall,
    DoneAfterCall = FoulsInCall,
    DoneOfNothingAfterCall,
    SynchronizeAfterCall,
    Fouls
} FOUL;

static PVOID LastArgument1, LastArgument2; /* of processor 0 */
static ULONG Another[64];                  /* what a foul must not touch */

static VOID FoulRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    FOUL Foul = KeGetCurrentProcessorIndex() == 0 ? *(FOUL *)Context : Fouls;

    UNREFERENCED_PARAMETER(Dpc);
    if (KeGetCurrentProcessorIndex() == 0) {
        LastArgument1 = Argument1;
        LastArgument2 = Argument2;
    }
    if (Foul == DoneOfNothing || Foul == DoneOfAnother) {
        KeSignalCallDpcDone(Foul == DoneOfNothing ? NULL : Another);
    } else if (Foul == SynchronizeAnother) {
        KeSignalCallDpcSynchronize(Another);
    }
    if (Foul != NotDone) {
        KeSignalCallDpcDone(Argument1);
    }
    if (Foul == SynchronizeWhenDone) {
        KeSignalCallDpcSynchronize(Argument2);
    }
}

static VOID CommitFoul(PVOID Context)
{
    FOUL Foul = *(FOUL *)Context;
    KIRQL OldIrql;

    KeGenericCallDpc(FoulRoutine, Context);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    if (Foul == SynchronizeAfterCall) {
        KeSignalCallDpcSynchronize(LastArgument2);
    } else if (Foul >= FoulsInCall) {
        KeSignalCallDpcDone(Foul == DoneAfterCall ? LastArgument1 : NULL);
    }
    KeLowerIrql(OldIrql);
}

static void TestArgumentsOfNoCallAreABugCheck(void **State)
{
    (void)State;
    StartAttached(2, MachineFlags);
    for (ULONG Index = 0; Index < ARRAYSIZE(Another); Index += 1) {
        Another[Index] = 5;
    }
    for (FOUL Foul = NotDone; Foul < Fouls; Foul += 1) {
        CALL After = {.Processors = 2};

        assert_int_equal(CaughtCode(CommitFoul, &Foul), TIMER_OR_DPC_INVALID);
        KeGenericCallDpc(CountRoutine, &After);
        assert_int_equal(After.Ended, 2);
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Another); Index += 1) {
        assert_int_equal(Another[Index], 5);
    }
    StopMachine();
}

/* Which processor crashes, before the barrier or after it was done. */
typedef struct _CRASH {
    CALL Call;
    ULONG Processor;
    BOOLEAN Done;
} CRASH;

static VOID CrashRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    CRASH *Crash = Context;

    UNREFERENCED_PARAMETER(Dpc);
    if (KeGetCurrentProcessorIndex() == Crash->Processor) {
        if (Crash->Done) {
            KeSignalCallDpcSynchronize(Argument2);
            KeSignalCallDpcDone(Argument1);
        }
        KeBugCheckEx(MANUALLY_INITIATED_CRASH, 0, 0, 0, 0);
    }
    KeSignalCallDpcSynchronize(Argument2);
    CountOne(&Crash->Call.Ended);
    KeSignalCallDpcDone(Argument1);
}

static VOID CallCrash(PVOID Context)
{
    KeGenericCallDpc(CrashRoutine, Context);
    KeFlushQueuedDpcs(); /* the bug check may come after the routine was done */
}

static void TestABugCheckInARoutineEndsTheCall(void **State)
{
    (void)State;
    StartAttached(3, MachineFlags);
    for (ULONG Processor = 0; Processor < 3; Processor += 1) {
        for (ULONG Done = 0; Done < 2; Done += 1) {
            CRASH Crash = {.Processor = Processor, .Done = (BOOLEAN)Done};
            CALL After = {.Processors = 3};

            assert_int_equal(CaughtCode(CallCrash, &Crash), MANUALLY_INITIATED_CRASH);
            assert_int_equal(Crash.Call.Ended, 2);
            assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
            KeGenericCallDpc(CountRoutine, &After);
            assert_int_equal(After.Ended, 3);
            assert_int_equal(After.Wrong, 0);
        }
    }
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestItRunsOnceOnEveryProcessor),
        cmocka_unit_test(TestTheBarrierHoldsAllAndOneWins),
        cmocka_unit_test(TestCallsAreSerialised),
        cmocka_unit_test(TestItWaitsForAProcessorThatIsOwned),
        cmocka_unit_test(TestAProcessorAddedMeanwhileHasNoPart),
        cmocka_unit_test(TestThoseWhoWaitAtTheBarrierServeIpis),
        cmocka_unit_test(TestMisuseIsABugCheck),
        cmocka_unit_test(TestDoneTwiceIsABugCheck),
        cmocka_unit_test(TestArgumentsOfNoCallAreABugCheck),
        cmocka_unit_test(TestABugCheckInARoutineEndsTheCall),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
