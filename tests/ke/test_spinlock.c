/*
 * test_spinlock.c - include/kprcb/spinlock.h: the lock word and the levels of every form, on checked and free builds.
 * Misuse: test_spinlockmisuse.c.
 */
#include "spinlocktest.h"

static void each_form_keeps_word_and_level(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        const FORM *Form = &Forms[Index];

        for (KIRQL From = Form->Raises ? PASSIVE_LEVEL : DISPATCH_LEVEL;
             From <= (Form->Raises ? DISPATCH_LEVEL : HIGH_LEVEL); From += 1) {
            KIRQL Base, Old;

            Lock = 0x5A5A;
            KeInitializeSpinLock(&Lock);
            assert_int_equal(LockWord(&Lock), 0);
            KeRaiseIrql(From, &Base);
            for (ULONG Round = 0; Round < 3; Round += 1) {
                Old = Form->Acquire();
                assert_int_equal(Old, From);
                assert_int_equal(KeGetCurrentIrql(), Form->Raises ? DISPATCH_LEVEL : From);
                assert_true(LockWord(&Lock) == HeldValue());
                Form->Release(Old);
                assert_int_equal(LockWord(&Lock), 0);
                assert_int_equal(KeGetCurrentIrql(), From);
            }
            KeLowerIrql(Base);
        }
    }
}

static void forms_mix_on_one_lock(void **State)
{
    (void)State;
    for (ULONG Taken = 0; Taken < FORMS; Taken += 1) {
        for (ULONG Left = 0; Left < FORMS; Left += 1) {
            KIRQL Base, Old;

            KeRaiseIrql(DISPATCH_LEVEL, &Base);
            Old = Forms[Taken].Acquire();
            Forms[Left].Release(Old);
            assert_int_equal(LockWord(&Lock), 0);
            assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
            KeLowerIrql(Base);
        }
    }
}

static void pitfall_23_test_spin_lock_is_true_for_free(void **State)
{
    KIRQL Old;

    (void)State;
    for (KIRQL Level = PASSIVE_LEVEL; Level <= HIGH_LEVEL; Level += 1) {
        KeRaiseIrql(Level, &Old);
        assert_true(KeTestSpinLock(&Lock));
        assert_true(KeTestSpinLock(&Lock));
        assert_int_equal(LockWord(&Lock), 0);
        assert_int_equal(KeGetCurrentIrql(), Level);
        KeLowerIrql(Old);
    }
    KeAcquireSpinLock(&Lock, &Old);
    for (KIRQL Level = DISPATCH_LEVEL; Level <= HIGH_LEVEL; Level += 1) {
        KIRQL Inner;

        KeRaiseIrql(Level, &Inner);
        assert_false(KeTestSpinLock(&Lock));
        assert_int_equal(KeGetCurrentIrql(), Level);
        KeLowerIrql(Inner);
    }
    KeReleaseSpinLock(&Lock, Old);
    assert_true(KeTestSpinLock(&Lock));
}

static void try_fails_on_a_held_lock_and_changes_nothing(void **State)
{
    HOLDER Holder = {0, 0};
    pthread_t Thread = StartThread(HoldLock, &Holder);
    KSPIN_LOCK Word;

    (void)State;
    AwaitCount(&Holder.Held, 1);
    Word = LockWord(&Lock);
    for (KIRQL Level = DISPATCH_LEVEL; Level <= HIGH_LEVEL; Level += 1) {
        KIRQL Old;

        KeRaiseIrql(Level, &Old);
        assert_false(KeTryToAcquireSpinLockAtDpcLevel(&Lock));
        assert_int_equal(KeGetCurrentIrql(), Level);
        assert_true(LockWord(&Lock) == Word);
        KeLowerIrql(Old);
    }
    CountOne(&Holder.Go);
    JoinThread(Thread);
    /* The caller's own counts as held, too. */
    KeRaiseIrqlToDpcLevel();
    assert_true(KeTryToAcquireSpinLockAtDpcLevel(&Lock));
    assert_false(KeTryToAcquireSpinLockAtDpcLevel(&Lock));
    assert_true(LockWord(&Lock) == HeldValue());
    KeReleaseSpinLock(&Lock, PASSIVE_LEVEL);
    assert_int_equal(LockWord(&Lock), 0);
}

static VOID TakeLockInDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Argument1, (void)Argument2;
    KeAcquireSpinLockAtDpcLevel(&Lock);
    CountOne((ULONG volatile *)Context);
    KeReleaseSpinLockFromDpcLevel(&Lock);
}

static void release_frees_the_lock_then_runs_what_is_pending(void **State)
{
    static const KIRQL Bases[] = {PASSIVE_LEVEL, APC_LEVEL};

    (void)State;
    for (ULONG Case = 0; Case < 6; Case += 1) {
        const FORM *Form = &Forms[Case % 3];
        ULONG volatile Runs = 0;
        KIRQL Base, Old;
        KDPC Dpc;

        KeInitializeDpc(&Dpc, TakeLockInDpc, (PVOID)&Runs);
        KeRaiseIrql(Bases[Case / 3], &Base);
        Old = Form->Acquire();
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        assert_int_equal(Runs, 0);
        Form->Release(Old);
        assert_int_equal(Runs, 1);
        KeLowerIrql(Base);
    }
}

static VOID Pong(PKIPI_CONTEXT PacketContext, PVOID Parameter1, PVOID Parameter2, PVOID Parameter3)
{
    (void)Parameter1, (void)Parameter2, (void)Parameter3;
    KiIpiSignalPacketDone(PacketContext);
}

/* Returns when the owner of processor 1 has polled. IRQL DISPATCH_LEVEL. */
static void AwaitPollOfProcessorOne(void)
{
    KiIpiSendPacket(2, Pong, NULL, 0, NULL);
    KiIpiStallOnPacketTargets(2);
}

/* One lock, one variable for the level, as many drivers have it. */
static KIRQL SharedOld;
static ULONG volatile Waits, Finished;

static void *ShareOldIrql(void *Context)
{
    KIRQL Base, End;

    (void)Context;
    if (KprcbAttachThread(1) != STATUS_SUCCESS) {
        abort();
    }
    KeRaiseIrql(APC_LEVEL, &Base);
    CountOne(&Waits);
    KeAcquireSpinLock(&Lock, &SharedOld);
    KeReleaseSpinLock(&Lock, SharedOld);
    End = KeGetCurrentIrql();
    KeLowerIrql(Base);
    CountOne(&Finished);
    return (void *)(ULONG_PTR)End;
}

static void pitfall_22_old_irql_is_written_after_the_lock_is_owned(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < 40; Round += 1) {
        PKPCR Other = CONTAINING_RECORD(KeGetPcr()->Prcb, KPCR, PrcbData) + 1;
        void *End = NULL;
        pthread_t Thread;

        Waits = Finished = 0;
        KeAcquireSpinLock(&Lock, &SharedOld);
        Thread = StartThread(ShareOldIrql, NULL);
        AwaitCount(&Waits, 1);
        while (__atomic_load_n(&Other->PrcbData.ResidentIrql, __ATOMIC_ACQUIRE) < DISPATCH_LEVEL &&
               __atomic_load_n(&Other->Owner, __ATOMIC_ACQUIRE) == NULL) {
            sched_yield();
        }
        for (ULONG Poll = 0; Poll < 4; Poll += 1) {
            AwaitPollOfProcessorOne();
        }
        assert_int_equal(SharedOld, PASSIVE_LEVEL);
        assert_int_equal(__atomic_load_n(&Finished, __ATOMIC_ACQUIRE), 0);
        KeReleaseSpinLock(&Lock, SharedOld);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
        assert_int_equal(pthread_join(Thread, &End), 0);
        assert_int_equal((ULONG_PTR)End, APC_LEVEL);
    }
}

#define MANY (3 * KPRCB_HELD_LOCKS)

static void ReleaseManyInOrder(const UCHAR *Order)
{
    static KSPIN_LOCK Locks[MANY];

    KeRaiseIrqlToDpcLevel();
    for (ULONG Index = 0; Index < MANY; Index += 1) {
        KeAcquireSpinLockAtDpcLevel(&Locks[Index]);
    }
    for (ULONG Index = 0; Index < MANY; Index += 1) {
        assert_true(LockWord(&Locks[Order[Index]]) == HeldValue());
        KeReleaseSpinLockFromDpcLevel(&Locks[Order[Index]]);
        assert_int_equal(LockWord(&Locks[Order[Index]]), 0);
    }
    KeLowerIrql(PASSIVE_LEVEL);
}

static void many_locks_are_released_in_any_order(void **State)
{
    UCHAR Order[MANY];
    ULONG Seed = 42;

    (void)State;
    for (ULONG Index = 0; Index < MANY; Index += 1) {
        Order[Index] = (UCHAR)(MANY - 1 - Index);
    }
    ReleaseManyInOrder(Order);
    for (ULONG Index = 0; Index < MANY; Index += 1) {
        Order[Index] = (UCHAR)Index;
    }
    ReleaseManyInOrder(Order);
    for (ULONG Round = 0; Round < 50; Round += 1) {
        for (ULONG Index = MANY - 1; Index != 0; Index -= 1) {
            ULONG Pick = NextRandom(&Seed) % (Index + 1);
            UCHAR Kept = Order[Index];

            Order[Index] = Order[Pick];
            Order[Pick] = Kept;
        }
        ReleaseManyInOrder(Order);
    }
}

static int RunGroup(ULONG Flags)
{
    static const struct CMUnitTest Tests[] = {
        cmocka_unit_test(each_form_keeps_word_and_level),
        cmocka_unit_test(forms_mix_on_one_lock),
        cmocka_unit_test(pitfall_23_test_spin_lock_is_true_for_free),
        cmocka_unit_test(try_fails_on_a_held_lock_and_changes_nothing),
        cmocka_unit_test(release_frees_the_lock_then_runs_what_is_pending),
        cmocka_unit_test(pitfall_22_old_irql_is_written_after_the_lock_is_owned),
        cmocka_unit_test(many_locks_are_released_in_any_order),
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
