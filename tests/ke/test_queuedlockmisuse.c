/*
 * test_queuedlockmisuse.c - include/kprcb/queuedlock.h: what a checked build takes for a bug check, what a free build
 * does instead, and what unwinding does to a queue.
 */
#include "queuedlocktest.h"

/* --- Misuse --- */

typedef struct {
    KIRQL Level;
    const FORM *Acquire[2];
    VISIT Visits[2];
    const FORM *Release;
    VISIT *Released; /* NULL: the first of Visits */
    ULONG Reached;
} MISUSE;

static VOID Misuse(PVOID Context)
{
    MISUSE *This = Context;
    KIRQL Old;

    KeRaiseIrql(This->Level, &Old);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        if (This->Acquire[Index] != NULL) {
            PrepareVisit(This->Acquire[Index], &This->Visits[Index]);
            This->Acquire[Index]->Acquire(&This->Visits[Index]);
            This->Reached += 1;
        }
    }
    if (This->Release != NULL) {
        This->Release->Release(This->Released != NULL ? This->Released : &This->Visits[0]);
        This->Reached += 1;
    }
}

static void ExpectBugCheck(MISUSE *This, ULONG Code, ULONG Reached, ULONG_PTR Parameter1, ULONG_PTR Parameter2)
{
    KPRCB_BUGCHECK Result = {0};

    assert_true(KprcbCatchBugCheck(Misuse, This, &Result));
    assert_int_equal(Result.Code, Code);
    assert_int_equal(This->Reached, Reached);
    assert_true(Result.Parameter[0] == Parameter1);
    assert_true(Result.Parameter[1] == Parameter2);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_int_equal(__atomic_load_n(&KeGetPcr()->PrcbData.ResidentIrql, __ATOMIC_ACQUIRE), PASSIVE_LEVEL);
    assert_null(__atomic_load_n(&KeGetPcr()->Owner, __ATOMIC_ACQUIRE));
}

static void acquiring_again_is_a_bug_check(void **State)
{
    (void)State;
    for (ULONG First = 0; First < FORMS; First += 1) {
        for (ULONG Second = 0; Second < FORMS; Second += 1) {
            MISUSE This = {.Acquire = {&Forms[First], &Forms[Second]}};

            if (Forms[First].Numbered == Forms[Second].Numbered && !Forms[Second].Tries &&
                Forms[First].Held <= Forms[Second].Highest) {
                This.Level = Forms[First].Lowest;
                PrepareVisit(&Forms[Second], &This.Visits[1]);
                ExpectBugCheck(&This, SPIN_LOCK_ALREADY_OWNED, 1, (ULONG_PTR)This.Visits[1].SpinLock,
                               (ULONG_PTR)This.Visits[1].Node);
                assert_int_equal(LockWord(This.Visits[0].SpinLock), 0); /* the catch has passed it on */
                ExpectNodeAtRest(&Forms[First], &This.Visits[0]);
            }
        }
    }
}

static void releasing_a_handle_that_does_not_own_is_a_bug_check(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        MISUSE Twice = {.Level = DISPATCH_LEVEL, .Release = &Forms[Index]};
        MISUSE Never = Twice;
        KIRQL Old;

        PrepareVisit(&Forms[Index], &Never.Visits[0]);
        Never.Visits[0].Handle = (KLOCK_QUEUE_HANDLE){{NULL, NULL}, PASSIVE_LEVEL};
        ExpectBugCheck(&Never, SPIN_LOCK_NOT_OWNED, 0, NodeLock(Never.Visits[0].Node), (ULONG_PTR)Never.Visits[0].Node);
        KeRaiseIrql(DISPATCH_LEVEL, &Old);
        PrepareVisit(&Forms[Index], &Twice.Visits[0]);
        Forms[Index].Acquire(&Twice.Visits[0]);
        Forms[Index].Release(&Twice.Visits[0]);
        KeLowerIrql(Old);
        ExpectBugCheck(&Twice, SPIN_LOCK_NOT_OWNED, 0, (ULONG_PTR)Twice.Visits[0].SpinLock,
                       (ULONG_PTR)Twice.Visits[0].Node);
        assert_int_equal(LockWord(Twice.Visits[0].SpinLock), 0);
    }
}

static void releasing_the_handle_of_another_thread_is_a_bug_check(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < 3; Index += 1) {
        OWNER Owner = {.Form = &Forms[Index]};
        pthread_t Thread = StartThread(OwnThenRelease, &Owner);
        MISUSE This = {.Level = DISPATCH_LEVEL, .Release = &Forms[Index], .Released = &Owner.Visit};

        AwaitCount(&Owner.Owns, 1);
        ExpectBugCheck(&This, SPIN_LOCK_NOT_OWNED, 0, (ULONG_PTR)&Lock, (ULONG_PTR)Owner.Visit.Node);
        assert_true(LockWord(&Lock) == (KSPIN_LOCK)Owner.Visit.Node);
        assert_true(NodeLock(Owner.Visit.Node) == ((ULONG_PTR)&Lock | LOCK_QUEUE_OWNER));
        CountOne(&Owner.Go);
        JoinThread(Thread);
        assert_int_equal(LockWord(&Lock), 0);
    }
}

static void levels_out_of_range_are_bug_checks(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        const FORM *Form = &Forms[Index];

        for (KIRQL Level = PASSIVE_LEVEL; Level <= HIGH_LEVEL; Level += 1) {
            MISUSE This = {.Level = Level, .Acquire = {Form}};

            if (Level < Form->Lowest || Level > Form->Highest) {
                ExpectBugCheck(&This, IRQL_NOT_GREATER_OR_EQUAL, 0, Level, Form->Held);
                assert_int_equal(This.Visits[0].Old, Form->Lowest == PASSIVE_LEVEL ? UNWRITTEN : Level);
                assert_int_equal(LockWord(This.Visits[0].SpinLock), 0);
            }
        }
    }
}

typedef struct {
    ULONG Number, Routine;
    KIRQL Old;
} NUMBERED_MISUSE;

static VOID UseNumber(PVOID Context)
{
    NUMBERED_MISUSE *This = Context;
    KSPIN_LOCK_QUEUE_NUMBER Number = (KSPIN_LOCK_QUEUE_NUMBER)This->Number;
    KIRQL Old = PASSIVE_LEVEL;

    switch (This->Routine) {
    case 0:
        This->Old = KeAcquireQueuedSpinLock(Number);
        break;
    case 1:
        This->Old = KeAcquireQueuedSpinLockRaiseToSynch(Number);
        break;
    case 2:
        KeTryToAcquireQueuedSpinLock(Number, &This->Old);
        break;
    default:
        KeRaiseIrql(DISPATCH_LEVEL, &Old);
        KeReleaseQueuedSpinLock(Number, Old);
    }
}

static void a_number_out_of_range_is_a_bug_check_on_either_build(void **State)
{
    static const ULONG Wild[] = {LockQueueMaximumLock, LockQueueMaximumLock + 1, 0x7FFFFFFF};

    (void)State;
    for (ULONG Index = 0; Index < 3; Index += 1) {
        for (ULONG Routine = 0; Routine < 4; Routine += 1) {
            NUMBERED_MISUSE This = {Wild[Index], Routine, UNWRITTEN};
            KPRCB_BUGCHECK Result;

            assert_true(KprcbCatchBugCheck(UseNumber, &This, &Result));
            assert_int_equal(Result.Code, SPIN_LOCK_INIT_FAILURE);
            assert_true(Result.Parameter[0] == Wild[Index]);
            assert_int_equal(This.Old, UNWRITTEN);
            assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
        }
    }
}

/* --- Unwinding and the queue --- */

typedef struct {
    const FORM *Form;
    VISIT Visit;
    WAITER Waiter;
    pthread_t Thread;
} CRASH;

static VOID CrashWithWaiter(PVOID Context)
{
    CRASH *Crash = Context;

    PrepareVisit(Crash->Form, &Crash->Visit);
    Crash->Form->Acquire(&Crash->Visit);
    Crash->Thread = StartWaiter(&Crash->Waiter, QueueForLock, Crash->Visit.Node);
    KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4);
}

static void a_caught_owner_passes_the_lock_on(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        if (Forms[Index].Lowest == PASSIVE_LEVEL) {
            ULONG volatile Order = 0;
            CRASH Crash = {
                .Form = &Forms[Index],
                .Waiter = {.Form = &Forms[Forms[Index].Numbered ? 3 : 0], .Processor = 1, .Order = &Order},
            };
            KPRCB_BUGCHECK Result;

            assert_true(KprcbCatchBugCheck(CrashWithWaiter, &Crash, &Result));
            assert_int_equal(Result.Code, MANUALLY_INITIATED_CRASH);
            assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
            JoinThread(Crash.Thread);
            assert_int_equal(Order, 1);
            assert_int_equal(LockWord(Crash.Visit.SpinLock), 0);
        }
    }
}

static VOID CrashInDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Context, (void)Argument1, (void)Argument2;
    KeBugCheckEx(MANUALLY_INITIATED_CRASH, 5, 6, 7, 8);
}

/* The bug check comes from a DPC on an idle processor and goes to the thread that catches, amid the queue. */
static void a_caught_waiter_takes_its_turn_and_passes_the_lock_on(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < 4; Round += 1) {
        const FORM *Form = &Forms[Round % 2 ? 3 : 0];
        ULONG volatile Order = 0;
        WAITER Caught = {.Form = Form, .Processor = 1, .Order = &Order};
        WAITER Last = {.Form = Form, .Processor = 2, .Order = &Order};
        pthread_t Threads[2];
        VISIT Visit;
        KDPC Dpc;

        KeInitializeDpc(&Dpc, CrashInDpc, NULL);
        KeSetImportanceDpc(&Dpc, HighImportance);
        KeSetTargetProcessorDpc(&Dpc, 3);
        PrepareVisit(Form, &Visit);
        Form->Acquire(&Visit);
        Threads[0] = StartWaiter(&Caught, QueueAndCatch, Visit.Node);
        Threads[1] = StartWaiter(&Last, QueueForLock, Caught.Visit.Node);
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        while (__atomic_load_n(&Caught.Block->HeldCount, __ATOMIC_ACQUIRE) != 0) {
            sched_yield();
        }
        /* It unwinds, and it waits for its turn. */
        assert_true(NodeLock(Caught.Visit.Node) == ((ULONG_PTR)Visit.SpinLock | LOCK_QUEUE_WAIT));
        assert_true(NodeLock(Last.Visit.Node) == ((ULONG_PTR)Visit.SpinLock | LOCK_QUEUE_WAIT));
        Form->Release(&Visit);
        JoinThread(Threads[0]);
        JoinThread(Threads[1]);
        assert_true(Caught.Caught);
        assert_int_equal(Caught.BugCheck.Code, MANUALLY_INITIATED_CRASH);
        assert_int_equal(Caught.BugCheck.Parameter[0], 5);
        assert_int_equal(Caught.LevelAfter, PASSIVE_LEVEL);
        assert_int_equal(Order, 1);
        assert_int_equal(Last.Turn, 0);
        assert_int_equal(LockWord(Visit.SpinLock), 0);
    }
}

static VOID Crash(PKIPI_CONTEXT PacketContext, PVOID Parameter1, PVOID Parameter2, PVOID Parameter3)
{
    (void)Parameter1, (void)Parameter2, (void)Parameter3;
    KiIpiSignalPacketDone(PacketContext);
    KeBugCheckEx(MANUALLY_INITIATED_CRASH, 9, 9, 9, 9);
}

static VOID OwnThenReleaseUnderCatch(PVOID Context)
{
    OWNER *Owner = Context;

    KeRaiseIrqlToDpcLevel();
    PrepareVisit(Owner->Form, &Owner->Visit);
    Owner->Form->Acquire(&Owner->Visit);
    CountOne(&Owner->Owns);
    while (__atomic_load_n(&Owner->Go, __ATOMIC_ACQUIRE) == 0) {
        sched_yield();
    }
    Owner->Form->Release(&Owner->Visit);
}

static void *OwnUnderCatch(void *Context)
{
    OWNER *Owner = Context;

    if (KprcbAttachThread(1) != STATUS_SUCCESS) {
        abort();
    }
    if (!KprcbCatchBugCheck(OwnThenReleaseUnderCatch, Owner, NULL)) {
        KeLowerIrql(PASSIVE_LEVEL);
    }
    return NULL;
}

/* The releaser polls while it waits for the link; what it serves bug checks; the lock still goes to the successor. */
static void a_bug_check_in_the_hand_over_does_not_lose_the_lock(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        KSPIN_LOCK_QUEUE Successor = {NULL, NULL};
        OWNER Owner = {.Form = &Forms[Index]};
        pthread_t Thread = StartThread(OwnUnderCatch, &Owner);
        PKSPIN_LOCK SpinLock;
        KSPIN_LOCK Tail;

        AwaitCount(&Owner.Owns, 1);
        SpinLock = Owner.Visit.SpinLock;
        Successor.Lock = (PKSPIN_LOCK)((ULONG_PTR)SpinLock | LOCK_QUEUE_WAIT);
        (void)__atomic_exchange_n(SpinLock, (KSPIN_LOCK)&Successor, __ATOMIC_ACQ_REL);
        CountOne(&Owner.Go);
        KeRaiseIrqlToDpcLevel();
        KiIpiSendPacket(2, Crash, NULL, 0, NULL);
        while (__atomic_load_n(&KeGetCurrentPrcb()->TargetCount, __ATOMIC_ACQUIRE) != 0) {
            sched_yield();
        }
        __atomic_store_n(&Owner.Visit.Node->Next, &Successor, __ATOMIC_RELEASE);
        KiIpiStallOnPacketTargets(2);
        KeLowerIrql(PASSIVE_LEVEL);
        JoinThread(Thread);
        Tail = __atomic_exchange_n(SpinLock, 0, __ATOMIC_ACQ_REL);
        assert_true(Tail == (KSPIN_LOCK)&Successor);
        assert_true(NodeLock(&Successor) == ((ULONG_PTR)SpinLock | LOCK_QUEUE_OWNER));
    }
}

/* --- Misuse on a free build --- */

static void free_build_a_release_by_another_thread_changes_nothing(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < 3; Index += 1) {
        ULONG volatile Order = 0;
        OWNER Owner = {.Form = &Forms[Index]};
        WAITER Waiter = {.Form = &Forms[0], .Processor = 2, .Order = &Order};
        pthread_t Threads[2];

        Threads[0] = StartThread(OwnThenRelease, &Owner);
        AwaitCount(&Owner.Owns, 1);
        Threads[1] = StartWaiter(&Waiter, QueueForLock, Owner.Visit.Node);
        KeRaiseIrqlToDpcLevel();
        KeReleaseInStackQueuedSpinLockFromDpcLevel(&Owner.Visit.Handle);
        KeReleaseInStackQueuedSpinLockFromDpcLevel(&Waiter.Visit.Handle);
        assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
        KeLowerIrql(PASSIVE_LEVEL);
        assert_true(LockWord(&Lock) == (KSPIN_LOCK)Waiter.Visit.Node);
        assert_true(NodeLock(Owner.Visit.Node) == ((ULONG_PTR)&Lock | LOCK_QUEUE_OWNER));
        assert_true(NodeLock(Waiter.Visit.Node) == ((ULONG_PTR)&Lock | LOCK_QUEUE_WAIT));
        CountOne(&Owner.Go);
        JoinThread(Threads[0]);
        JoinThread(Threads[1]);
        assert_int_equal(Order, 1);
        assert_int_equal(LockWord(&Lock), 0);
    }
}

static void free_build_at_dpc_level_forms_work_at_any_level(void **State)
{
    (void)State;
    for (KIRQL Level = PASSIVE_LEVEL; Level < DISPATCH_LEVEL; Level += 1) {
        VISIT Visit;
        KIRQL Base;

        KeRaiseIrql(Level, &Base);
        PrepareVisit(&Forms[2], &Visit);
        AcquireAtDpcLevel(&Visit);
        assert_int_equal(KeGetCurrentIrql(), Level);
        assert_true(LockWord(&Lock) == (KSPIN_LOCK)Visit.Node);
        ReleaseFromDpcLevel(&Visit);
        assert_int_equal(KeGetCurrentIrql(), Level);
        assert_int_equal(LockWord(&Lock), 0);
        KeLowerIrql(Base);
    }
}

static int RunGroup(ULONG Flags)
{
    static const struct CMUnitTest Checked[] = {
        cmocka_unit_test(acquiring_again_is_a_bug_check),
        cmocka_unit_test(releasing_a_handle_that_does_not_own_is_a_bug_check),
        cmocka_unit_test(releasing_the_handle_of_another_thread_is_a_bug_check),
        cmocka_unit_test(levels_out_of_range_are_bug_checks),
        cmocka_unit_test(a_number_out_of_range_is_a_bug_check_on_either_build),
        cmocka_unit_test(a_caught_owner_passes_the_lock_on),
        cmocka_unit_test(a_caught_waiter_takes_its_turn_and_passes_the_lock_on),
        cmocka_unit_test(a_bug_check_in_the_hand_over_does_not_lose_the_lock),
    };
    static const struct CMUnitTest Free[] = {
        cmocka_unit_test(a_number_out_of_range_is_a_bug_check_on_either_build),
        cmocka_unit_test(a_caught_owner_passes_the_lock_on),
        cmocka_unit_test(a_caught_waiter_takes_its_turn_and_passes_the_lock_on),
        cmocka_unit_test(a_bug_check_in_the_hand_over_does_not_lose_the_lock),
        cmocka_unit_test(free_build_a_release_by_another_thread_changes_nothing),
        cmocka_unit_test(free_build_at_dpc_level_forms_work_at_any_level),
    };

    MachineFlags = Flags | KPRCB_NO_SIGNALS; /* an IPI is served by a poll, which shows where its owner is */
    return (Flags & KPRCB_FREE_BUILD) != 0 ? cmocka_run_group_tests_name("free build", Free, SetUp, TearDown)
                                           : cmocka_run_group_tests_name("checked build", Checked, SetUp, TearDown);
}

int main(void)
{
    static const ULONG Flags[] = {0, KPRCB_NO_MEMBARRIER, KPRCB_FREE_BUILD, KPRCB_FREE_BUILD | KPRCB_NO_MEMBARRIER};
    int Failed = 0;

    for (ULONG Index = 0; Index < 4; Index += 1) {
        Failed += RunGroup(Flags[Index]);
    }
    return Failed;
}
