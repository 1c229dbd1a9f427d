/*
 * test_freeze.c - KeFreezeExecution and KeThawExecution: whom they stop, at which levels, and what ends a freeze.
 *
 * While all others are frozen nothing may move there: a counter that an owner drives is read before and after the test's
 * thread has given its CPU away many times.
 */
#include "support/check.h"

#include <string.h>

#include "ipiprotocol.h"

static ULONG TestFlags;
static const char *TestVersion; /* of NT */

#define PROCESSORS 4

static ULONG Load(ULONG volatile *Word)
{
    return __atomic_load_n(Word, __ATOMIC_ACQUIRE);
}

static ULONG Frozen(ULONG Index)
{
    return Load(&KiProcessor(Index)->PrcbData.IpiFrozen);
}

static void GiveTime(void)
{
    for (ULONG Turn = 0; Turn < 500; Turn += 1) {
        sched_yield();
    }
}

/* The test's thread, as the resident of processor 0. */
static void Begin(ULONG Flags)
{
    WrongLine = 0;
    StartMachineAs(TestVersion, PROCESSORS, TestFlags | Flags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
}

static void End(void)
{
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
        assert_int_equal(Frozen(Index), 0);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void CheckOthersFrozen(void)
{
    for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
        ULONG Expected = Index == KeGetCurrentProcessorNumberEx(NULL) ? FREEZE_OWNER : TARGET_FROZEN;

        Check(Frozen(Index) == Expected);
    }
}

/* --- Owners --- */

typedef struct _OWNER {
    ULONG Processor;
    KIRQL Level;
    BOOLEAN Polls;
    ULONG volatile Ready, Stop;
    ULONG volatile Turns;
    pthread_t Thread;
} OWNER;

static void *OwnerThread(void *Context)
{
    OWNER *Owner = Context;
    KIRQL OldIrql;

    Check(KprcbAttachThread(Owner->Processor) == STATUS_SUCCESS);
    KeRaiseIrql(Owner->Level, &OldIrql);
    CountOne(&Owner->Ready);
    while (Load(&Owner->Stop) == 0) {
        CountOne(&Owner->Turns);
        if (Owner->Polls) {
            YieldProcessor();
            Check(KeGetCurrentIrql() == Owner->Level);
        }
    }
    KeLowerIrql(OldIrql);
    Check(KeGetCurrentIrql() == PASSIVE_LEVEL);
    return NULL;
}

static void StartOwner(OWNER *Owner, ULONG Processor, KIRQL Level, BOOLEAN Polls)
{
    *Owner = (OWNER){.Processor = Processor, .Level = Level, .Polls = Polls};
    Owner->Thread = StartThread(OwnerThread, Owner);
    AwaitCount(&Owner->Ready, 1);
}

static void EndOwner(OWNER *Owner)
{
    CountOne(&Owner->Stop);
    JoinThread(Owner->Thread);
}

/* Freezes, and looks at what the owners do. */
static void FreezeOwners(OWNER *Owners, ULONG Count)
{
    ULONG Before[PROCESSORS];
    BOOLEAN Enable = KeFreezeExecution(NULL, NULL);

    CheckOthersFrozen();
    for (ULONG Index = 0; Index < Count; Index += 1) {
        Before[Index] = Load(&Owners[Index].Turns);
    }
    GiveTime();
    for (ULONG Index = 0; Index < Count; Index += 1) {
        assert_int_equal(Load(&Owners[Index].Turns), Before[Index]);
    }
    KeThawExecution(Enable);
    for (ULONG Index = 0; Index < Count; Index += 1) {
        AwaitCount(&Owners[Index].Turns, Before[Index] + 1);
    }
}

static void owners_that_poll_stop_at_every_level(void **State)
{
    static const KIRQL Levels[] = {DISPATCH_LEVEL, IPI_LEVEL, HIGH_LEVEL};
    OWNER Owners[ARRAYSIZE(Levels)];

    UNREFERENCED_PARAMETER(State);
    Begin(KPRCB_NO_SIGNALS);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        StartOwner(&Owners[Index], Index + 1, Levels[Index], TRUE);
    }
    for (ULONG Round = 0; Round < 10; Round += 1) {
        FreezeOwners(Owners, ARRAYSIZE(Owners));
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        EndOwner(&Owners[Index]);
        assert_int_equal(KiProcessor(Index + 1)->PrcbData.NestingLevel, 0);
    }
    End();
}

static void owners_that_never_poll_are_interrupted(void **State)
{
#ifdef __SANITIZE_THREAD__
    UNREFERENCED_PARAMETER(State);
    skip(); /* ThreadSanitizer holds signals back */
#else
    static const KIRQL Levels[] = {DISPATCH_LEVEL, IPI_LEVEL, HIGH_LEVEL};
    OWNER Owners[ARRAYSIZE(Levels)];

    UNREFERENCED_PARAMETER(State);
    Begin(0);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        StartOwner(&Owners[Index], Index + 1, Levels[Index], FALSE);
    }
    for (ULONG Round = 0; Round < 3; Round += 1) {
        FreezeOwners(Owners, ARRAYSIZE(Owners));
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        EndOwner(&Owners[Index]);
    }
    End();
#endif
}

/* --- Processors that nobody owns --- */

static ULONG volatile DpcRuns;

static VOID CountDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(&DpcRuns);
}

static void *RaiseThread(void *Context)
{
    Check(KprcbAttachThread(1) == STATUS_SUCCESS);
    CountOne(Context);
    AwaitCount(Context, 2);
    KeLowerIrql(KeRaiseIrqlToDpcLevel());
    CountOne(Context);
    return NULL;
}

static void idle_threads_hold_the_others(void **State)
{
    KDPC Dpc;

    UNREFERENCED_PARAMETER(State);
    Begin(0);
    KeInitializeDpc(&Dpc, CountDpc, NULL);
    KeSetImportanceDpc(&Dpc, HighImportance);
    for (ULONG Round = 0; Round < 20; Round += 1) {
        ULONG volatile Steps = 0;
        pthread_t Thread;
        BOOLEAN Enable;

        DpcRuns = 0;
        Thread = StartThread(RaiseThread, (void *)&Steps);
        AwaitCount(&Steps, 1);
        Enable = KeFreezeExecution((PKTRAP_FRAME)&Dpc, NULL);
        assert_true(Enable);
        assert_int_equal(KeGetCurrentIrql(), HIGH_LEVEL);
        CheckOthersFrozen();
        assert_ptr_equal(KeGetCurrentPrcb()->IpiFrame, &Dpc);
        KeSetTargetProcessorDpc(&Dpc, (CCHAR)(1 + Round % 3));
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        CountOne(&Steps);
        GiveTime();
        assert_int_equal(DpcRuns, 0);
        assert_int_equal(Steps, 2);
        KeThawExecution(Enable);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
        assert_null(KeGetCurrentPrcb()->IpiFrame);
        AwaitCount(&DpcRuns, 1);
        JoinThread(Thread);
        assert_int_equal(Steps, 3);
    }
    End();
}

static void freezes_nest_and_the_level_comes_back(void **State)
{
    static const KIRQL Levels[] = {PASSIVE_LEVEL, APC_LEVEL, DISPATCH_LEVEL, IPI_LEVEL, HIGH_LEVEL};

    UNREFERENCED_PARAMETER(State);
    Begin(0);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        BOOLEAN Enable, Inner;
        KIRQL OldIrql = KfRaiseIrql(Levels[Index]);

        Enable = KeFreezeExecution(NULL, NULL);
        assert_int_equal(Enable, Levels[Index] < HIGH_LEVEL);
        Inner = KeFreezeExecution(NULL, NULL);
        assert_false(Inner);
        KeThawExecution(Inner);
        CheckOthersFrozen();
        assert_int_equal(KeGetCurrentIrql(), HIGH_LEVEL);
        KeThawExecution(Enable);
        assert_int_equal(KeGetCurrentIrql(), Levels[Index]);
        KeLowerIrql(OldIrql);
    }
    End();
}

/* --- Several that freeze --- */

static ULONG Exclusive; /* while all others are frozen */

static void *FreezerThread(void *Context)
{
    ULONG Rounds = TEST_SANITIZED ? 100 : 500;

    Check(KprcbAttachThread((ULONG)(ULONG_PTR)Context) == STATUS_SUCCESS);
    for (ULONG Round = 0; Round < Rounds; Round += 1) {
        BOOLEAN Enable = KeFreezeExecution(NULL, NULL);

        CheckOthersFrozen();
        Exclusive += 1;
        KeThawExecution(Enable);
    }
    return NULL;
}

static void of_several_one_wins_and_the_others_are_frozen(void **State)
{
    pthread_t Threads[3];

    UNREFERENCED_PARAMETER(State);
    Begin(0);
    Exclusive = 0;
    for (ULONG Index = 0; Index < ARRAYSIZE(Threads); Index += 1) {
        Threads[Index] = StartThread(FreezerThread, (void *)(ULONG_PTR)(Index + 1));
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Threads); Index += 1) {
        JoinThread(Threads[Index]);
    }
    assert_int_equal(Exclusive, (TEST_SANITIZED ? 100 : 500) * ARRAYSIZE(Threads));
    End();
}

/* --- While a rendezvous waits for the one that freezes --- */

static ULONG volatile Visits, Calls;

static ULONG_PTR Visit(ULONG_PTR Context)
{
    CountOne(&Visits);
    return Context;
}

static void *CallThread(void *Context)
{
    UNREFERENCED_PARAMETER(Context);
    Check(KprcbAttachThread(1) == STATUS_SUCCESS);
    (void)KeIpiGenericCall(Visit, 0);
    CountOne(&Calls);
    return NULL;
}

static void processors_in_a_rendezvous_that_is_not_complete_freeze(void **State)
{
    UNREFERENCED_PARAMETER(State);
    for (ULONG Round = 0; Round < 4; Round += 1) {
        pthread_t Thread;
        KIRQL OldIrql;
        BOOLEAN Enable;

        Begin(Round % 2 == 0 ? 0 : KPRCB_NO_SIGNALS);
        Visits = Calls = 0;
        OldIrql = KfRaiseIrql(HIGH_LEVEL);
        Thread = StartThread(CallThread, NULL);
        for (ULONG Index = 1; Index < PROCESSORS; Index += 1) {
            PKPCR Pcr = KiProcessor(Index);

            while (__atomic_load_n(&Pcr->Irql, __ATOMIC_RELAXED) != IPI_LEVEL &&
                   __atomic_load_n(&Pcr->PrcbData.ResidentIrql, __ATOMIC_RELAXED) != IPI_LEVEL) {
                sched_yield();
            }
        }
        Enable = KeFreezeExecution(NULL, NULL);
        CheckOthersFrozen();
        assert_int_equal(Visits, 0);
        KeThawExecution(Enable);
        KeLowerIrql(OldIrql);
        JoinThread(Thread);
        assert_int_equal(Visits, PROCESSORS);
        assert_int_equal(Calls, 1);
        End();
    }
}

/* --- Bug checks --- */

static VOID Thaw(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeThawExecution(TRUE);
}

static VOID FreezeAndFail(PVOID Context)
{
    for (ULONG Depth = 0; Depth < (ULONG)(ULONG_PTR)Context; Depth += 1) {
        (void)KeFreezeExecution(NULL, NULL);
    }
    CheckOthersFrozen();
    KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4);
}

static void a_bug_check_of_the_one_that_froze_thaws(void **State)
{
    KPRCB_BUGCHECK BugCheck = {0};

    UNREFERENCED_PARAMETER(State);
    Begin(0);
    for (ULONG Depth = 1; Depth < 3; Depth += 1) {
        assert_true(KprcbCatchBugCheck(FreezeAndFail, (PVOID)(ULONG_PTR)Depth, &BugCheck));
        assert_int_equal(BugCheck.Code, MANUALLY_INITIATED_CRASH);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
        for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
            assert_int_equal(Frozen(Index), 0);
        }
        Visits = 0;
        (void)KeIpiGenericCall(Visit, 0);
        assert_int_equal(Visits, PROCESSORS);
    }
    End();
}

static void only_who_froze_may_thaw(void **State)
{
    KPRCB_BUGCHECK BugCheck = {0};

    UNREFERENCED_PARAMETER(State);
    Begin(0);
    assert_true(KprcbCatchBugCheck(Thaw, NULL, &BugCheck));
    assert_int_equal(BugCheck.Code, SPIN_LOCK_NOT_OWNED);
    End();
}

/* An interrupt right after a freeze was taken, that would find the packet of a rendezvous. */

static const KI_IPI_ROUTINES *Routines;

static ULONG TakeAndInterrupt(PKPRCB Prcb, ULONG Bits)
{
    ULONG Taken = Routines->TakeRequests(Prcb, Bits);

    if ((Taken & IPI_FREEZE) != 0 && Prcb->Number == 1 && Routines->IsPacketWaiting(Prcb)) {
        __atomic_fetch_or(&KiProcessor(1)->Request, KPCR_REQUEST_IPI, __ATOMIC_SEQ_CST);
        KiHostInterrupt(NULL);
    }
    return Taken;
}

static void *CallAsTwo(void *Context)
{
    UNREFERENCED_PARAMETER(Context);
    Check(KprcbAttachThread(2) == STATUS_SUCCESS);
    (void)KeIpiGenericCall(Visit, 0);
    return NULL;
}

static void *PollOnceAskedThread(void *Context)
{
    KIRQL OldIrql;

    Check(KprcbAttachThread(1) == STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    CountOne(Context);
    /* Both wait here: the packet, and the freeze, since who freezes has frozen all that it could. */
    while (!Routines->IsPacketWaiting(&KiProcessor(1)->PrcbData) || Frozen(2) != TARGET_FROZEN) {
        sched_yield();
    }
    YieldProcessor();
    KeLowerIrql(OldIrql);
    return NULL;
}

static void an_interrupt_does_not_come_between(void **State)
{
    static KI_IPI_ROUTINES Interrupting; /* the machine uses it to its end */
    ULONG volatile Ready = 0;
    pthread_t Threads[2];
    BOOLEAN Enable;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(State);
    Begin(KPRCB_NO_SIGNALS);
    Visits = 0;
    Routines = KiMachine.Ipi;
    Interrupting = *Routines;
    Interrupting.TakeRequests = TakeAndInterrupt;
    KiMachine.Ipi = &Interrupting;
    Threads[0] = StartThread(PollOnceAskedThread, (void *)&Ready);
    AwaitCount(&Ready, 1);
    KeRaiseIrql(HIGH_LEVEL, &OldIrql); /* or the idle thread would take the processor into the rendezvous */
    Threads[1] = StartThread(CallAsTwo, NULL);
    while (!Routines->IsPacketWaiting(&KiProcessor(1)->PrcbData)) {
        sched_yield();
    }
    Enable = KeFreezeExecution(NULL, NULL);
    CheckOthersFrozen();
    KeThawExecution(Enable);
    KeLowerIrql(OldIrql);
    JoinThread(Threads[1]);
    JoinThread(Threads[0]);
    assert_int_equal(Visits, PROCESSORS);
    End();
}

static PKTHREAD volatile Adder;

static void *AddOne(void *Context)
{
    __atomic_store_n(&Adder, KeGetCurrentThread(), __ATOMIC_RELEASE);
    Check(KprcbAddProcessor(Context) == STATUS_SUCCESS);
    Check(KprcbDetachThread() == STATUS_SUCCESS);
    return NULL;
}

static BOOLEAN AwaitsThaw(void)
{
    PKTHREAD Thread = __atomic_load_n(&Adder, __ATOMIC_ACQUIRE);
    const char *Reason = Thread == NULL ? NULL : __atomic_load_n(&Thread->WaitReason, __ATOMIC_ACQUIRE);

    return Reason != NULL && strcmp(Reason, KI_THAW_REASON) == 0;
}

static void who_adds_a_processor_waits_for_the_thaw(void **State)
{
    KPRCB_CONFIG Config = Configuration(PROCESSORS, 0, TestFlags);
    PROCESSOR_NUMBER Added = {0};
    pthread_t Thread;
    BOOLEAN Enable;

    UNREFERENCED_PARAMETER(State);
    WrongLine = 0;
    Adder = NULL;
    Config.Version = TestVersion;
    Config.MaximumProcessorCount = PROCESSORS + 1;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Enable = KeFreezeExecution(NULL, NULL);
    assert_int_equal(pthread_create(&Thread, NULL, AddOne, &Added), 0);
    while (!AwaitsThaw() && KiProcessorCount() == PROCESSORS) {
        sched_yield();
    }
    assert_int_equal(KiProcessorCount(), PROCESSORS);
    CheckOthersFrozen();
    KeThawExecution(Enable);
    pthread_join(Thread, NULL);
    assert_int_equal(KiProcessorCount(), PROCESSORS + 1);
    assert_int_equal(Added.Number, PROCESSORS);
    Enable = KeFreezeExecution(NULL, NULL);
    assert_int_equal(Frozen(PROCESSORS), TARGET_FROZEN);
    KeThawExecution(Enable);
    End();
}

static VOID FreezeAndLower(PVOID Level)
{
    KIRQL OldIrql = KeGetCurrentIrql();

    if ((KIRQL)(ULONG_PTR)Level == DISPATCH_LEVEL) {
        KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    }
    (void)KeFreezeExecution(NULL, NULL);
    KeLowerIrql((KIRQL)(ULONG_PTR)Level);
    Check(FALSE);
    KeLowerIrql(OldIrql);
}

static void who_froze_may_not_lower(void **State)
{
    static const KIRQL Levels[] = {PASSIVE_LEVEL, DISPATCH_LEVEL};
    KPRCB_BUGCHECK BugCheck = {0};

    UNREFERENCED_PARAMETER(State);
    Begin(0);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        assert_true(KprcbCatchBugCheck(FreezeAndLower, (PVOID)(ULONG_PTR)Levels[Index], &BugCheck));
        assert_int_equal(BugCheck.Code, IRQL_NOT_LESS_OR_EQUAL);
        assert_int_equal(BugCheck.Parameter[0], Levels[Index]);
        Visits = 0;
        (void)KeIpiGenericCall(Visit, 0);
        assert_int_equal(Visits, PROCESSORS);
    }
    End();
}

static void no_stop_while_frozen(void **State)
{
    BOOLEAN Enable;

    UNREFERENCED_PARAMETER(State);
    Begin(0);
    Enable = KeFreezeExecution(NULL, NULL);
    assert_int_equal(KprcbStop(), STATUS_INVALID_DEVICE_STATE);
    KeThawExecution(Enable);
    End();
}

int main(void)
{
    static const char *const Versions[] = {"3.51", "4.0-late", "2004"};
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(owners_that_poll_stop_at_every_level),
        cmocka_unit_test(owners_that_never_poll_are_interrupted),
        cmocka_unit_test(idle_threads_hold_the_others),
        cmocka_unit_test(freezes_nest_and_the_level_comes_back),
        cmocka_unit_test(of_several_one_wins_and_the_others_are_frozen),
        cmocka_unit_test(processors_in_a_rendezvous_that_is_not_complete_freeze),
        cmocka_unit_test(a_bug_check_of_the_one_that_froze_thaws),
        cmocka_unit_test(only_who_froze_may_thaw),
        cmocka_unit_test(who_adds_a_processor_waits_for_the_thaw),
        cmocka_unit_test(an_interrupt_does_not_come_between),
        cmocka_unit_test(who_froze_may_not_lower),
        cmocka_unit_test(no_stop_while_frozen),
    };
    int Failed = 0;

    for (ULONG Index = 0; Index < ARRAYSIZE(Versions); Index += 1) {
        TestVersion = Versions[Index];
        Failed += cmocka_run_group_tests_name(TestVersion, Tests, NULL, NULL);
    }
    TestFlags = KPRCB_NO_MEMBARRIER;
    return Failed + cmocka_run_group_tests_name("no membarrier", Tests, NULL, NULL);
}
