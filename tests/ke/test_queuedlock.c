/*
 * test_queuedlock.c - include/kprcb/queuedlock.h: word and node in every state, the levels of every form, order of
 * arrival, the hand-over to a successor that has not linked; on checked and free builds. Misuse:
 * test_queuedlockmisuse.c.
 */
#include "queuedlocktest.h"

static void each_form_keeps_word_node_and_level(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        const FORM *Form = &Forms[Index];

        for (KIRQL From = Form->Lowest; From <= Form->Highest; From += 1) {
            KIRQL Base;

            KeRaiseIrql(From, &Base);
            for (ULONG Round = 0; Round < 3; Round += 1) {
                VISIT Visit;

                PrepareVisit(Form, &Visit);
                assert_int_equal(LockWord(Visit.SpinLock), 0);
                Form->Acquire(&Visit);
                assert_int_equal(Visit.Old, From);
                assert_int_equal(KeGetCurrentIrql(), From > Form->Held ? From : Form->Held);
                assert_true(LockWord(Visit.SpinLock) == (KSPIN_LOCK)Visit.Node);
                assert_true(NodeLock(Visit.Node) == ((ULONG_PTR)Visit.SpinLock | LOCK_QUEUE_OWNER));
                assert_null(NodeNext(Visit.Node));
                assert_false(KeTestSpinLock(Visit.SpinLock));
                Form->Release(&Visit);
                assert_int_equal(LockWord(Visit.SpinLock), 0);
                ExpectNodeAtRest(Form, &Visit);
                assert_int_equal(KeGetCurrentIrql(), From);
            }
            KeLowerIrql(Base);
        }
    }
}

static void numbered_locks_are_one_a_number_with_a_node_a_processor(void **State)
{
    (void)State;
    for (ULONG Number = 0; Number < LockQueueMaximumLock; Number += 1) {
        PKSPIN_LOCK SpinLock = NumberedLock(Number);
        KIRQL Old;

        for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
            assert_true(NodeLock(&Processor(Index)->LockQueue[Number]) == (ULONG_PTR)SpinLock);
        }
        for (ULONG Other = 0; Other < Number; Other += 1) {
            assert_ptr_not_equal(SpinLock, NumberedLock(Other));
        }
        Old = KeAcquireQueuedSpinLock((KSPIN_LOCK_QUEUE_NUMBER)Number);
        assert_int_equal(Old, PASSIVE_LEVEL);
        assert_true(LockWord(SpinLock) == (KSPIN_LOCK)&Processor(0)->LockQueue[Number]);
        KeReleaseQueuedSpinLock((KSPIN_LOCK_QUEUE_NUMBER)Number, Old);
        assert_int_equal(LockWord(SpinLock), 0);
    }
}

static void locks_nest_and_are_released_in_any_order(void **State)
{
    (void)State;
    for (ULONG Order = 0; Order < 2; Order += 1) {
        static KSPIN_LOCK Locks[3 * KPRCB_HELD_LOCKS];
        KLOCK_QUEUE_HANDLE Handles[3 * KPRCB_HELD_LOCKS];
        enum { Count = 3 * KPRCB_HELD_LOCKS };
        KIRQL Base;

        KeRaiseIrql(DISPATCH_LEVEL, &Base);
        for (ULONG Index = 0; Index < Count; Index += 1) {
            KeAcquireInStackQueuedSpinLockAtDpcLevel(&Locks[Index], &Handles[Index]);
        }
        for (ULONG Index = 0; Index < Count; Index += 1) {
            ULONG Pick = Order == 0 ? Count - 1 - Index : Index;

            assert_true(LockWord(&Locks[Pick]) == (KSPIN_LOCK)&Handles[Pick].LockQueue);
            KeReleaseInStackQueuedSpinLockFromDpcLevel(&Handles[Pick]);
            assert_int_equal(LockWord(&Locks[Pick]), 0);
        }
        KeLowerIrql(Base);
    }
}

static VOID TakeLockInDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    KLOCK_QUEUE_HANDLE Handle;

    (void)Dpc, (void)Argument1, (void)Argument2;
    KeAcquireInStackQueuedSpinLockForDpc(&Lock, &Handle);
    KeReleaseInStackQueuedSpinLockForDpc(&Handle);
    KeReleaseQueuedSpinLock(NUMBER, KeAcquireQueuedSpinLock(NUMBER));
    if (KeGetCurrentIrql() == DISPATCH_LEVEL) {
        CountOne((ULONG volatile *)Context);
    }
}

static void release_hands_over_then_runs_what_is_pending(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        ULONG volatile Runs = 0;
        VISIT Visit;
        KDPC Dpc;

        if (Forms[Index].Lowest == PASSIVE_LEVEL) {
            KeInitializeDpc(&Dpc, TakeLockInDpc, (PVOID)&Runs);
            PrepareVisit(&Forms[Index], &Visit);
            Forms[Index].Acquire(&Visit);
            assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
            assert_int_equal(Runs, 0);
            Forms[Index].Release(&Visit);
            assert_int_equal(Runs, 1);
        }
    }
}

/* --- Order of arrival --- */

static void QueueAll(BOOLEAN Numbered, ULONG Round)
{
    const FORM *Own = &Forms[Numbered ? 3 : Round % 3];
    WAITER Waiters[PROCESSORS - 1];
    pthread_t Threads[PROCESSORS - 1];
    ULONG volatile Order = 0;
    PKSPIN_LOCK_QUEUE Before;
    VISIT Visit;
    KIRQL Base;

    memset(Waiters, 0, sizeof(Waiters));
    KeRaiseIrql(DISPATCH_LEVEL, &Base);
    PrepareVisit(Own, &Visit);
    Own->Acquire(&Visit);
    Before = Visit.Node;
    for (ULONG Index = 0; Index < PROCESSORS - 1; Index += 1) {
        WAITER *Waiter = &Waiters[Index];

        Waiter->Form = &Forms[Numbered ? 3 + (Index + Round) % 2 : (Index + Round) % 3];
        Waiter->Processor = 1 + (Index * 3 + Round) % (PROCESSORS - 1); /* 3 and 7 have no common factor */
        Waiter->Base = Waiter->Form->Lowest > (Index + Round) % 3 ? Waiter->Form->Lowest : (KIRQL)((Index + Round) % 3);
        Waiter->Order = &Order;
        Threads[Index] = StartWaiter(Waiter, QueueForLock, Before);
        assert_true(NodeLock(Waiter->Visit.Node) == ((ULONG_PTR)Visit.SpinLock | LOCK_QUEUE_WAIT));
        assert_true(NodeLock(Visit.Node) == ((ULONG_PTR)Visit.SpinLock | LOCK_QUEUE_OWNER));
        Before = Waiter->Visit.Node;
    }
    assert_int_equal(Order, 0);
    Own->Release(&Visit);
    KeLowerIrql(Base);
    for (ULONG Index = 0; Index < PROCESSORS - 1; Index += 1) {
        WAITER *Waiter = &Waiters[Index];

        JoinThread(Threads[Index]);
        assert_int_equal(Waiter->Turn, Index);
        assert_true(Waiter->LockWhileOwned == ((ULONG_PTR)Visit.SpinLock | LOCK_QUEUE_OWNER));
        assert_int_equal(Waiter->Visit.Old, Waiter->Base);
        assert_int_equal(Waiter->LevelAfter, Waiter->Base);
        ExpectNodeAtRest(Waiter->Form, &Waiter->Visit);
    }
    assert_int_equal(LockWord(Visit.SpinLock), 0);
}

static void pitfall_23_in_stack_waiters_own_in_order_of_arrival(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < 9; Round += 1) {
        QueueAll(FALSE, Round);
    }
}

static void pitfall_23_numbered_waiters_own_in_order_of_arrival(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < 6; Round += 1) {
        QueueAll(TRUE, Round);
    }
}

/* Who releases and acquires again comes behind everyone who waits. */
static void pitfall_23_an_owner_that_comes_again_queues_last(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < 6; Round += 1) {
        const FORM *Form = &Forms[Round % 3 == 2 ? 3 : Round % 3];
        WAITER Waiters[2];
        pthread_t Threads[2];
        ULONG volatile Order = 0;
        VISIT First, Second;

        memset(Waiters, 0, sizeof(Waiters));
        KeRaiseIrqlToDpcLevel();
        PrepareVisit(Form, &First);
        PrepareVisit(Form, &Second);
        Form->Acquire(&First);
        for (ULONG Index = 0; Index < 2; Index += 1) {
            Waiters[Index] = (WAITER){.Form = Form, .Processor = Index + 1, .Order = &Order};
            Threads[Index] =
                StartWaiter(&Waiters[Index], QueueForLock, Index == 0 ? First.Node : Waiters[0].Visit.Node);
        }
        Form->Release(&First);
        Form->Acquire(&Second);
        assert_int_equal(Order, 2);
        Form->Release(&Second);
        KeLowerIrql(PASSIVE_LEVEL);
        JoinThread(Threads[0]);
        JoinThread(Threads[1]);
    }
}

/* --- A successor that has exchanged itself into the word and has not linked --- */

static void pitfall_23_release_waits_for_a_successor_that_has_not_linked(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        KSPIN_LOCK_QUEUE Successor;
        OWNER Owner = {.Form = &Forms[Index]};
        pthread_t Thread = StartThread(OwnThenRelease, &Owner);
        PKSPIN_LOCK SpinLock;
        KSPIN_LOCK Tail, Before;

        AwaitCount(&Owner.Owns, 1);
        SpinLock = Owner.Visit.SpinLock;
        Successor.Next = NULL;
        Successor.Lock = (PKSPIN_LOCK)((ULONG_PTR)SpinLock | LOCK_QUEUE_WAIT);
        Before = __atomic_exchange_n(SpinLock, (KSPIN_LOCK)&Successor, __ATOMIC_ACQ_REL);
        assert_true(Before == (KSPIN_LOCK)Owner.Visit.Node);
        CountOne(&Owner.Go);
        /* The owner spins, so it answers; it cannot have left the release. */
        KeRaiseIrqlToDpcLevel();
        for (ULONG Poll = 0; Poll < 3; Poll += 1) {
            KiIpiSendPacket(2, Pong, NULL, 0, NULL);
            KiIpiStallOnPacketTargets(2);
        }
        KeLowerIrql(PASSIVE_LEVEL);
        assert_int_equal(__atomic_load_n(&Owner.Done, __ATOMIC_ACQUIRE), 0);
        assert_true(LockWord(SpinLock) == (KSPIN_LOCK)&Successor);
        assert_true(NodeLock(&Successor) == ((ULONG_PTR)SpinLock | LOCK_QUEUE_WAIT));
        __atomic_store_n(&Owner.Visit.Node->Next, &Successor, __ATOMIC_RELEASE);
        JoinThread(Thread);
        assert_true(NodeLock(&Successor) == ((ULONG_PTR)SpinLock | LOCK_QUEUE_OWNER));
        ExpectNodeAtRest(Owner.Form, &Owner.Visit);
        Tail = __atomic_exchange_n(SpinLock, 0, __ATOMIC_ACQ_REL);
        assert_true(Tail == (KSPIN_LOCK)&Successor);
    }
}

/* --- One attempt --- */

static void ExpectTryToFail(KIRQL Level)
{
    PKSPIN_LOCK_QUEUE Node = &KeGetCurrentPrcb()->LockQueue[NUMBER];
    ULONG_PTR Before = NodeLock(Node);
    KSPIN_LOCK Word = LockWord(NumberedLock(NUMBER));
    KIRQL Old = UNWRITTEN, Base;

    KeRaiseIrql(Level, &Base);
    assert_false(KeTryToAcquireQueuedSpinLock(NUMBER, &Old));
    assert_int_equal(Old, UNWRITTEN);
    assert_int_equal(KeGetCurrentIrql(), Level);
    assert_true(NodeLock(Node) == Before);
    assert_true(LockWord(NumberedLock(NUMBER)) == Word);
    KeLowerIrql(Base);
}

static void try_owns_only_if_nobody_owns_or_waits(void **State)
{
    OWNER Owner = {.Form = &Forms[3]};
    pthread_t Thread = StartThread(OwnThenRelease, &Owner);
    KIRQL Old;

    (void)State;
    AwaitCount(&Owner.Owns, 1);
    for (KIRQL Level = PASSIVE_LEVEL; Level <= DISPATCH_LEVEL; Level += 1) {
        ExpectTryToFail(Level);
    }
    CountOne(&Owner.Go);
    JoinThread(Thread);
    /* The caller's own lock is busy, too; the node stays as it is. */
    assert_true(KeTryToAcquireQueuedSpinLock(NUMBER, &Old));
    assert_int_equal(Old, PASSIVE_LEVEL);
    ExpectTryToFail(DISPATCH_LEVEL);
    assert_true(NodeLock(&KeGetCurrentPrcb()->LockQueue[NUMBER]) ==
                ((ULONG_PTR)NumberedLock(NUMBER) | LOCK_QUEUE_OWNER));
    KeReleaseQueuedSpinLock(NUMBER, Old);
    assert_int_equal(LockWord(NumberedLock(NUMBER)), 0);
}

static int RunGroup(ULONG Flags)
{
    static const struct CMUnitTest Tests[] = {
        cmocka_unit_test(each_form_keeps_word_node_and_level),
        cmocka_unit_test(numbered_locks_are_one_a_number_with_a_node_a_processor),
        cmocka_unit_test(locks_nest_and_are_released_in_any_order),
        cmocka_unit_test(release_hands_over_then_runs_what_is_pending),
        cmocka_unit_test(pitfall_23_in_stack_waiters_own_in_order_of_arrival),
        cmocka_unit_test(pitfall_23_numbered_waiters_own_in_order_of_arrival),
        cmocka_unit_test(pitfall_23_an_owner_that_comes_again_queues_last),
        cmocka_unit_test(pitfall_23_release_waits_for_a_successor_that_has_not_linked),
        cmocka_unit_test(try_owns_only_if_nobody_owns_or_waits),
    };

    MachineFlags = Flags | KPRCB_NO_SIGNALS; /* an IPI is served by a poll, which shows where its owner is */
    return cmocka_run_group_tests_name((Flags & KPRCB_FREE_BUILD) != 0 ? "free build" : "checked build", Tests, SetUp,
                                       TearDown);
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
