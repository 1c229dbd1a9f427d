/*
 * test_dpcthreadrun.c - src/ke/dpcthread.c: what a threaded DPC may and may not do, and the life of the DPC threads.
 */
#include "dpcthreadtest.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "ki.h"
#include "support/child.h"

#define PAIRS 500

static KSPIN_LOCK Lock;
static KLOCK_QUEUE_HANDLE Handle;

/* Inserts a threaded DPC for processor 1 and waits for it. */
typedef struct _CASE {
    PKDEFERRED_ROUTINE Routine;
    PVOID Context;
    PVOID Argument1;
} CASE;

static VOID InsertAndFlush(PVOID Context)
{
    CASE *Case = Context;
    KDPC Dpc;

    InitializeThreaded(&Dpc, Case->Routine, Case->Context, 1);
    KeInsertQueueDpc(&Dpc, Case->Argument1, NULL);
    KeFlushQueuedDpcs();
}

static VOID AtDpcLevelRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument2);
    if (Argument1 == NULL) {
        KeAcquireSpinLockAtDpcLevel(&Lock);
        KeReleaseSpinLockFromDpcLevel(&Lock);
    } else {
        KeAcquireInStackQueuedSpinLockAtDpcLevel(&Lock, &Handle);
        KeReleaseInStackQueuedSpinLockFromDpcLevel(&Handle);
    }
    CountOne(Context);
}

static void TestPitfall7AtDpcLevelLocksAreForbidden(void **State)
{
    ULONG volatile Count = 0;

    (void)State;
    StartAttached(2, MachineFlags);
    KeInitializeSpinLock(&Lock);
    for (ULONG_PTR Queued = 0; Queued < 2; Queued += 1) {
        CASE Case = {AtDpcLevelRoutine, (PVOID)&Count, Number(Queued)};

        assert_int_equal(CaughtCode(InsertAndFlush, &Case), IRQL_NOT_GREATER_OR_EQUAL);
        assert_int_equal(CountOf(&Count), Queued);
        /* Switched off, they are right. */
        KprcbSetThreadedDpcs(FALSE);
        assert_int_equal(CaughtCode(InsertAndFlush, &Case), 0);
        assert_int_equal(CountOf(&Count), Queued + 1);
        KprcbSetThreadedDpcs(TRUE);
        assert_true(KeTestSpinLock(&Lock));
    }
    StopMachine();
}

/* The levels inside, and after. */
static KIRQL Levels[4];
static ULONG volatile Pairs;

static VOID ForDpcRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    for (ULONG Pair = 0; Pair < PAIRS; Pair += 1) {
        OldIrql = KeAcquireSpinLockForDpc(&Lock);
        Levels[0] = KeGetCurrentIrql();
        Pairs += 1;
        KeReleaseSpinLockForDpc(&Lock, OldIrql);
        Levels[1] = KeGetCurrentIrql();
    }
    KeAcquireInStackQueuedSpinLockForDpc(Context, &Handle);
    Levels[2] = KeGetCurrentIrql();
    KeReleaseInStackQueuedSpinLockForDpc(&Handle);
    Levels[3] = KeGetCurrentIrql();
}

static void TestPitfall7ForDpcLocksRaiseWhenTheyMust(void **State)
{
    KSPIN_LOCK Queued;

    (void)State;
    StartAttached(2, MachineFlags);
    KeInitializeSpinLock(&Lock);
    KeInitializeSpinLock(&Queued);
    for (ULONG Threaded = 0; Threaded < 2; Threaded += 1) {
        CASE Case = {ForDpcRoutine, &Queued, NULL};
        KIRQL Outside = Threaded != 0 ? PASSIVE_LEVEL : DISPATCH_LEVEL;

        Pairs = 0;
        KprcbSetThreadedDpcs(Threaded != 0);
        InsertAndFlush(&Case);
        assert_int_equal(Pairs, PAIRS);
        assert_int_equal(Levels[0], DISPATCH_LEVEL);
        assert_int_equal(Levels[1], Outside);
        assert_int_equal(Levels[2], DISPATCH_LEVEL);
        assert_int_equal(Levels[3], Outside);
    }
    StopMachine();
}

static VOID WaitRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument2);
    if (Argument1 == NULL) {
        KeFlushQueuedDpcs();
    } else {
        KeGenericCallDpc(RecordRun, NULL);
    }
    CountOne(Context);
}

static void TestPitfall7WaitingIsABugCheckEvenAtPassiveLevel(void **State)
{
    ULONG volatile Count = 0;

    (void)State;
    StartAttached(2, MachineFlags);
    for (ULONG_PTR How = 0; How < 2; How += 1) {
        CASE Case = {WaitRoutine, (PVOID)&Count, Number(How)};

        assert_int_equal(CaughtCode(InsertAndFlush, &Case), ATTEMPTED_SWITCH_FROM_DPC);
    }
    assert_int_equal(CountOf(&Count), 0);
    StopMachine();
}

typedef struct _INTERRUPTED {
    RUNS Runs;
    KDPC Normal;
    ULONG Seen[3];
} INTERRUPTED;

/* Raised, it is lowering that runs the ordinary DPC; else the processor's owner or idle thread, meanwhile. */
static VOID InterruptedRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    INTERRUPTED *Interrupted = Context;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeInsertQueueDpc(&Interrupted->Normal, NULL, NULL);
    Interrupted->Seen[0] = Interrupted->Runs.Count;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeInsertQueueDpc(&Interrupted->Normal, NULL, NULL);
    Interrupted->Seen[1] = Interrupted->Runs.Count;
    KeLowerIrql(OldIrql);
    Interrupted->Seen[2] = Interrupted->Runs.Count;
}

static void TestOrdinaryDpcsInterruptThreadedOnes(void **State)
{
    INTERRUPTED Interrupted = {.Seen = {0}};
    CASE Case = {InterruptedRoutine, &Interrupted, NULL};
    RUNS Runs = {0};
    BUSY Busy;
    KDPC Dpc;

    (void)State;
    StartAttached(2, MachineFlags);
    KeInitializeDpc(&Interrupted.Normal, RecordRun, &Interrupted.Runs);
    InsertAndFlush(&Case);
    assert_int_equal(Interrupted.Seen[0], 1);
    assert_int_equal(Interrupted.Seen[1], 1);
    assert_int_equal(Interrupted.Seen[2], 2);
    assert_int_equal(Interrupted.Runs.Irql, DISPATCH_LEVEL);
    assert_int_equal(Interrupted.Runs.Processor, 1);

    StartBusy(&Busy, 1);
    KeInitializeDpc(&Dpc, RecordRun, &Runs);
    SetTarget(&Dpc, 1);
    KeSetImportanceDpc(&Dpc, MediumHighImportance);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    AwaitCount(&Runs.Count, 1);
    assert_int_equal(CountOf(&Busy.Ended), 0);
    EndBusy(&Busy);
    StopMachine();
}

typedef struct _EXECUTING {
    LOGICAL Executing[2]; /* at the level of the routine, and raised */
    PVOID Stack;
} EXECUTING;

static VOID ExecutingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    EXECUTING *Executing = Context;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Executing->Executing[0] = KeIsExecutingDpc();
    KeRaiseIrql(HIGH_LEVEL, &OldIrql);
    Executing->Executing[1] = KeIsExecutingDpc();
    KeLowerIrql(OldIrql);
    Executing->Stack = KeGetCurrentPrcb()->DpcStack;
}

static void TestKeIsExecutingDpcByVersion(void **State)
{
    static const char *const Versions[] = {"3.51", "5.1-late", "5.2-early", "6.0-early", "2004"};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Versions); Index += 1) {
        EXECUTING Normal = {.Stack = NULL};
        EXECUTING Threaded = {.Stack = NULL};
        KDPC Dpc;
        KIRQL OldIrql;

        StartMachineAs(Versions[Index], 2, MachineFlags);
        assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
        KeInitializeDpc(&Dpc, ExecutingRoutine, &Normal);
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        InitializeThreaded(&Dpc, ExecutingRoutine, &Threaded, 1);
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        KeFlushQueuedDpcs();
        if (Index < 2) {
            assert_true(Normal.Executing[0] != 0 && Normal.Executing[0] != 1);
            assert_int_equal(Normal.Executing[0], (ULONG)(ULONG_PTR)Normal.Stack);
            assert_int_equal(Threaded.Executing[0], (ULONG)(ULONG_PTR)Threaded.Stack); /* an ordinary one */
        } else {
            assert_int_equal(Normal.Executing[0], 1);
            assert_int_equal(Threaded.Executing[0], Index > 2);
        }
        assert_int_equal(Normal.Executing[1], Normal.Executing[0]);
        assert_int_equal(Threaded.Executing[1], Threaded.Executing[0]);
        KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
        assert_int_equal(KeIsExecutingDpc(), 0);
        KeLowerIrql(OldIrql);
        assert_int_equal(KeIsExecutingDpc(), 0);
        StopMachine();
    }
}

/* Returns at the level of its argument, with a lock if that is DISPATCH_LEVEL. */
static VOID WrongLevelRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument2);
    if (Argument1 == Number(DISPATCH_LEVEL)) {
        KeAcquireSpinLock(&Lock, &OldIrql);
    } else {
        KfRaiseIrql((KIRQL)(ULONG_PTR)Argument1);
    }
    CountOne(Context);
}

static void TestAThreadedDpcThatReturnsAtAnotherLevelIsABugCheck(void **State)
{
    static const KIRQL Wrong[] = {APC_LEVEL, DISPATCH_LEVEL, SYNCH_LEVEL, HIGH_LEVEL};

    (void)State;
    for (ULONG Free = 0; Free < 2; Free += 1) {
        ULONG volatile Count = 0;
        RUNS Runs = {0};
        CASE Good = {RecordRun, &Runs, NULL};

        StartAttached(2, MachineFlags | (Free != 0 ? KPRCB_FREE_BUILD : 0));
        KeInitializeSpinLock(&Lock);
        for (ULONG Index = 0; Index < ARRAYSIZE(Wrong); Index += 1) {
            CASE Case = {WrongLevelRoutine, (PVOID)&Count, Number(Wrong[Index])};

            assert_int_equal(CaughtCode(InsertAndFlush, &Case), Free != 0 ? 0 : IRQL_UNEXPECTED_VALUE);
            assert_int_equal(CountOf(&Count), Index + 1);
            assert_true(Free != 0 || KeTestSpinLock(&Lock)); /* unwound, on a checked build */
            KeInitializeSpinLock(&Lock);
            /* The thread goes on, at its level. */
            InsertAndFlush(&Good);
            assert_int_equal(CountOf(&Runs.Count), Index + 1);
            assert_int_equal(Runs.Irql, PASSIVE_LEVEL);
            assert_int_equal(Runs.Processor, 1);
            while (!KiThreadedDpcsIdle(PcrOf(1))) {
                sched_yield();
            }
            assert_null(PcrOf(1)->Prcb->DpcData[DPC_THREADED].ActiveDpc);
        }
        StopMachine();
    }
}

static VOID CrashRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4);
}

/* An ordinary DPC that crashes while the DPC thread lowers its level takes nothing with it. */
static VOID CrashInsideRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    KDPC Crash;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeInitializeDpc(&Crash, CrashRoutine, NULL);
    KeInsertQueueDpc(&Crash, NULL, NULL);
    CountOne(Context);
}

static void TestABugCheckInAThreadedDpcIsDelivered(void **State)
{
    ULONG volatile Count = 0;
    CASE Crash = {CrashRoutine, NULL, NULL};
    CASE Inside = {CrashInsideRoutine, (PVOID)&Count, NULL};

    (void)State;
    StartAttached(2, MachineFlags);
    for (ULONG Round = 1; Round <= 5; Round += 1) {
        assert_int_equal(CaughtCode(InsertAndFlush, &Crash), MANUALLY_INITIATED_CRASH);
        assert_int_equal(CaughtCode(InsertAndFlush, &Inside), MANUALLY_INITIATED_CRASH);
        KeFlushQueuedDpcs();
        assert_int_equal(CountOf(&Count), Round);
    }
    StopMachine();
}

static VOID HopRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    KeSetSystemAffinityThreadEx(1);
    RecordRun(Dpc, Context, Argument1, Argument2);
}

static void TestTheThreadComesHomeAfterAHop(void **State)
{
    RUNS Runs = {0};
    CASE Hop = {HopRoutine, &Runs, NULL};
    CASE Look = {RecordRun, &Runs, NULL};

    (void)State;
    StartAttached(2, MachineFlags);
    for (ULONG Round = 0; Round < 3; Round += 1) {
        InsertAndFlush(&Hop);
        assert_int_equal(Runs.Processor, 0);
        InsertAndFlush(&Look);
        assert_int_equal(Runs.Processor, 1);
    }
    StopMachine();
}

static void TestAnAddedProcessorFollowsTheSwitch(void **State)
{
    KPRCB_CONFIG Config = Configuration(1, 0, MachineFlags);

    (void)State;
    Config.MaximumProcessorCount = 4;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    for (ULONG Index = 1; Index < 4; Index += 1) {
        BOOLEAN Enable = Index % 2 != 0;
        RUNS Runs = {0};
        KDPC Dpc;

        assert_int_equal(KprcbSetThreadedDpcs(Enable), STATUS_SUCCESS);
        assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
        InitializeThreaded(&Dpc, RecordRun, &Runs, Index);
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        KeFlushQueuedDpcs();
        assert_int_equal(CountOf(&Runs.Count), 1);
        assert_int_equal(Runs.Processor, Index);
        assert_int_equal(Runs.Irql, Enable ? PASSIVE_LEVEL : DISPATCH_LEVEL);
    }
    StopMachine();
}

static VOID LifeRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    NTSTATUS *Status = Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Status[0] = KprcbStop();
    Status[1] = KprcbAttachThread(0);
    Status[2] = KprcbDetachThread();
}

static void TestStopRefusesWhileTheyAreQueuedOrRun(void **State)
{
    NTSTATUS Status[3] = {0};
    CASE Life = {LifeRoutine, Status, NULL};
    RUNS Runs = {0};
    BUSY Busy;
    KDPC Dpc;

    (void)State;
    StartAttached(2, MachineFlags);
    StartBusy(&Busy, 1);
    assert_int_equal(KprcbStop(), STATUS_DEVICE_BUSY);
    InitializeThreaded(&Dpc, RecordRun, &Runs, 1);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_int_equal(KprcbStop(), STATUS_DEVICE_BUSY);
    EndBusy(&Busy);
    KeFlushQueuedDpcs();
    InsertAndFlush(&Life);
    for (ULONG Index = 0; Index < 3; Index += 1) {
        assert_int_equal(Status[Index], STATUS_INVALID_DEVICE_STATE);
    }
    StopMachine();
    /* The next machine has none until it is asked for. */
    StartAttached(2, MachineFlags);
    assert_null(PcrOf(1)->Prcb->DpcThread);
    StopMachine();
}

static VOID HangReport(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KiPrintMachine();
}

static void ReportMachine(void *Context)
{
    KPRCB_CONFIG Config = Configuration(2, 0, 0);
    CASE Case = {HangReport, NULL, NULL};

    (void)Context;
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    InsertAndFlush(&Case);
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);
}

static void TestAReportShowsAProcessorWithThreadedDpcs(void **State)
{
    CHILD Child;

    (void)State;
    RunChild(&Child, ReportMachine, NULL);
    assert_int_equal(Child.Status, 0);
    assert_non_null(strstr(Child.Output, "processor 1: owner"));
}

/* From now on the host refuses new threads. */
static void RefuseThreads(void)
{
    struct sock_filter Filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog Program = {.len = ARRAYSIZE(Filter), .filter = Filter};

    CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHILD_CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &Program) == 0);
}

/* No thread can be created: what is queued for it runs at DISPATCH_LEVEL. */
static void RunWithoutThreads(void *Context)
{
    KPRCB_CONFIG Config = Configuration(2, 0, 0);
    RUNS Runs[8] = {{0}};
    KDPC Dpc[8];

    (void)Context;
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS && KprcbAttachThread(0) == STATUS_SUCCESS);
    RefuseThreads();
    for (ULONG Round = 1; Round <= 3; Round += 1) {
        for (ULONG Index = 0; Index < 8; Index += 1) {
            InitializeThreaded(&Dpc[Index], RecordRun, &Runs[Index], Index % 2);
            CHILD_CHECK(KeInsertQueueDpc(&Dpc[Index], Number(Round), NULL));
        }
        KeFlushQueuedDpcs();
        for (ULONG Index = 0; Index < 8; Index += 1) {
            CHILD_CHECK(Runs[Index].Count == Round && Runs[Index].Argument1 == Number(Round));
            CHILD_CHECK(Runs[Index].Irql == DISPATCH_LEVEL && Runs[Index].Processor == Index % 2);
        }
        CHILD_CHECK(PcrOf(1)->Prcb->DpcThread == NULL);
    }
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);
}

static void TestWhereTheHostRefusesTheThreadTheyRunAtDispatchLevel(void **State)
{
    (void)State;
#ifdef __SANITIZE_THREAD__
    skip(); /* as in test_fork.c */
#endif
    ChildSucceeds(RunWithoutThreads, NULL);
}

static void UseAfterFork(void *Context)
{
    KPRCB_CONFIG Config = Configuration(3, 0, 0);
    RUNS Runs = {0};
    CASE Case = {RecordRun, &Runs, NULL};

    (void)Context;
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    InsertAndFlush(&Case);
    CHILD_CHECK(Runs.Count == 1 && Runs.Irql == PASSIVE_LEVEL && Runs.Processor == 1);
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);
}

static void TestTheChildOfAForkHasDpcThreadsOfItsOwn(void **State)
{
    RUNS Runs = {0};
    CASE Case = {RecordRun, &Runs, NULL};

    (void)State;
#ifdef __SANITIZE_THREAD__
    skip(); /* as in test_fork.c */
#endif
    StartAttached(2, MachineFlags);
    InsertAndFlush(&Case);
    while (PcrOf(1)->Prcb->DpcGate.SignalState != 2 ||
           (__atomic_load_n(&PcrOf(1)->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_PARKED) == 0) {
        sched_yield(); /* AddressSanitizer may wait for a lock of a thread that did not sleep */
    }
    ChildSucceeds(UseAfterFork, NULL);
    InsertAndFlush(&Case);
    assert_int_equal(CountOf(&Runs.Count), 2);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestPitfall7AtDpcLevelLocksAreForbidden),
        cmocka_unit_test(TestPitfall7ForDpcLocksRaiseWhenTheyMust),
        cmocka_unit_test(TestPitfall7WaitingIsABugCheckEvenAtPassiveLevel),
        cmocka_unit_test(TestOrdinaryDpcsInterruptThreadedOnes),
        cmocka_unit_test(TestKeIsExecutingDpcByVersion),
        cmocka_unit_test(TestAThreadedDpcThatReturnsAtAnotherLevelIsABugCheck),
        cmocka_unit_test(TestABugCheckInAThreadedDpcIsDelivered),
        cmocka_unit_test(TestTheThreadComesHomeAfterAHop),
        cmocka_unit_test(TestAnAddedProcessorFollowsTheSwitch),
        cmocka_unit_test(TestStopRefusesWhileTheyAreQueuedOrRun),
        cmocka_unit_test(TestAReportShowsAProcessorWithThreadedDpcs),
        cmocka_unit_test(TestWhereTheHostRefusesTheThreadTheyRunAtDispatchLevel),
        cmocka_unit_test(TestTheChildOfAForkHasDpcThreadsOfItsOwn),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
