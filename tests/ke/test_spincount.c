/*
 * test_spincount.c - SpinLockAcquireCount, SpinLockContentionCount and SpinLockSpinCount of the KPRCB.
 */
#include "support/check.h"

#include "ki.h"

#define ENOUGH 16384 /* steps after which a waiter says what it waits for */

static KSPIN_LOCK SpinLock, QueuedLock;
static EX_SPIN_LOCK RwLock;

static int SetUp(void **State)
{
    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    return 0;
}

static int TearDown(void **State)
{
    (void)State;
    StopMachine();
    return 0;
}

static PKPRCB Prcb(ULONG Index)
{
    return &KiProcessor(Index)->PrcbData;
}

static ULONG Read(ULONG *Counter)
{
    return __atomic_load_n(Counter, __ATOMIC_RELAXED);
}

/* --- each kind, by one that holds it until another has waited long --- */

typedef struct _KIND {
    VOID (*Acquire)(PKLOCK_QUEUE_HANDLE Handle);
    VOID (*Release)(PKLOCK_QUEUE_HANDLE Handle);
    VOID (*Await)(PKLOCK_QUEUE_HANDLE Handle);
    VOID (*End)(PKLOCK_QUEUE_HANDLE Handle);
} KIND;

static VOID AcquireSpin(PKLOCK_QUEUE_HANDLE Handle)
{
    KeAcquireSpinLock(&SpinLock, &Handle->OldIrql);
}

static VOID ReleaseSpin(PKLOCK_QUEUE_HANDLE Handle)
{
    KeReleaseSpinLock(&SpinLock, Handle->OldIrql);
}

static VOID AcquireQueued(PKLOCK_QUEUE_HANDLE Handle)
{
    KeAcquireInStackQueuedSpinLock(&QueuedLock, Handle);
}

static VOID ReleaseQueued(PKLOCK_QUEUE_HANDLE Handle)
{
    KeReleaseInStackQueuedSpinLock(Handle);
}

static VOID AcquireShared(PKLOCK_QUEUE_HANDLE Handle)
{
    Handle->OldIrql = ExAcquireSpinLockShared(&RwLock);
}

static VOID ReleaseShared(PKLOCK_QUEUE_HANDLE Handle)
{
    ExReleaseSpinLockShared(&RwLock, Handle->OldIrql);
}

static VOID AcquireExclusive(PKLOCK_QUEUE_HANDLE Handle)
{
    Handle->OldIrql = ExAcquireSpinLockExclusive(&RwLock);
}

static VOID ReleaseExclusive(PKLOCK_QUEUE_HANDLE Handle)
{
    ExReleaseSpinLockExclusive(&RwLock, Handle->OldIrql);
}

static const KIND Kinds[] = {
    {AcquireSpin, ReleaseSpin, AcquireSpin, ReleaseSpin},
    {AcquireQueued, ReleaseQueued, AcquireQueued, ReleaseQueued},
    {AcquireExclusive, ReleaseExclusive, AcquireShared, ReleaseShared},
    {AcquireShared, ReleaseShared, AcquireExclusive, ReleaseExclusive},
};

static ULONG volatile Held;

static void *HoldUntilAwaited(void *Context)
{
    const KIND *Kind = Context;
    PKTHREAD Waiter = Prcb(0)->CurrentThread;
    ULONG Acquired = Read(&Prcb(1)->SpinLockAcquireCount);
    KLOCK_QUEUE_HANDLE Handle;

    Check(KprcbAttachThread(1) == STATUS_SUCCESS);
    Kind->Acquire(&Handle);
    CountOne(&Held);
    while (__atomic_load_n(&Waiter->WaitReason, __ATOMIC_ACQUIRE) == NULL) {
        sched_yield();
    }
    Check(Read(&Prcb(1)->SpinLockContentionCount) == 0);
    Check(Read(&Prcb(1)->SpinLockSpinCount) == 0);
    Kind->Release(&Handle);
    Check(Read(&Prcb(1)->SpinLockAcquireCount) == Acquired + 1);
    Check(KprcbDetachThread() == STATUS_SUCCESS);
    return NULL;
}

static void a_wait_is_counted_on_the_waiters_processor(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Kinds); Index += 1) {
        ULONG Contended = Read(&Prcb(0)->SpinLockContentionCount);
        ULONG Spins = Read(&Prcb(0)->SpinLockSpinCount);
        ULONG Acquired = Read(&Prcb(0)->SpinLockAcquireCount);
        KLOCK_QUEUE_HANDLE Handle;
        pthread_t Holder;

        Held = 0;
        Holder = StartThread(HoldUntilAwaited, (void *)&Kinds[Index]);
        AwaitCount(&Held, 1);
        Kinds[Index].Await(&Handle);
        assert_int_equal(Read(&Prcb(0)->SpinLockContentionCount), Contended + 1);
        assert_true(Read(&Prcb(0)->SpinLockSpinCount) - Spins >= ENOUGH);
        Kinds[Index].End(&Handle);
        assert_int_equal(Read(&Prcb(0)->SpinLockAcquireCount), Acquired + 1);
        JoinThread(Holder);
        assert_int_equal(WrongLine, 0);
    }
}

static void a_free_lock_is_no_contention(void **State)
{
    ULONG Acquired = Read(&Prcb(0)->SpinLockAcquireCount);
    KIRQL OldIrql;

    (void)State;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    for (ULONG Round = 0; Round < 10; Round += 1) {
        KeAcquireSpinLockAtDpcLevel(&SpinLock);
        assert_true(!KeTryToAcquireSpinLockAtDpcLevel(&SpinLock));
        KeReleaseSpinLockFromDpcLevel(&SpinLock);
        ExAcquireSpinLockSharedAtDpcLevel(&RwLock);
        ExReleaseSpinLockSharedFromDpcLevel(&RwLock);
    }
    KeLowerIrql(OldIrql);
    assert_int_equal(Read(&Prcb(0)->SpinLockAcquireCount), Acquired + 20);
    assert_int_equal(Read(&Prcb(0)->SpinLockContentionCount), 0);
    assert_int_equal(Read(&Prcb(0)->SpinLockSpinCount), 0);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup_teardown(a_wait_is_counted_on_the_waiters_processor, SetUp, TearDown),
        cmocka_unit_test_setup_teardown(a_free_lock_is_no_contention, SetUp, TearDown),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
