/*
 * test_ipicallowner.c - KeIpiGenericCall reaches owners that poll, that compute, that block in the host.
 */
#include "ipicalltest.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

/* --- Threads that own processors --- */

typedef struct _OWNER {
    ULONG Processor;
    void (*Behaviour)(struct _OWNER *);
    ULONG volatile Ready;
    ULONG volatile Visited; /* set by OwnerWorker on this processor */
    pthread_t Thread;
    PKSPIN_LOCK Lock;
    int Pipe;
} OWNER;

static void *OwnerThread(void *Context)
{
    OWNER *Owner = Context;

    Check(KprcbAttachThread(Owner->Processor) == STATUS_SUCCESS);
    Owner->Behaviour(Owner);
    Check(KeGetCurrentIrql() == PASSIVE_LEVEL);
    return NULL;
}

static void StartOwner(OWNER *Owner)
{
    Owner->Ready = 0;
    Owner->Visited = 0;
    Owner->Thread = StartThread(OwnerThread, Owner);
}

static void YieldAbove(OWNER *Owner)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    CountOne(&Owner->Ready);
    while (!Stopped()) {
        YieldProcessor();
    }
    KeLowerIrql(OldIrql);
}

static void StallAbove(OWNER *Owner)
{
    KIRQL OldIrql = KeRaiseIrqlToSynchLevel();

    CountOne(&Owner->Ready);
    while (!Stopped()) {
        KeStallExecutionProcessor(20);
    }
    KeLowerIrql(OldIrql);
}

static void SpinForLock(OWNER *Owner)
{
    KIRQL OldIrql;

    CountOne(&Owner->Ready);
    KeAcquireSpinLock(Owner->Lock, &OldIrql);
    KeReleaseSpinLock(Owner->Lock, OldIrql);
}

static void QueueForLock(OWNER *Owner)
{
    KLOCK_QUEUE_HANDLE Handle;

    CountOne(&Owner->Ready);
    KeAcquireInStackQueuedSpinLock(Owner->Lock + 1, &Handle);
    KeReleaseInStackQueuedSpinLock(&Handle);
}

static void ComputeBelow(OWNER *Owner)
{
    ULONG Turns = 1;

    CountOne(&Owner->Ready);
    while (!Stopped()) {
        (void)NextRandom(&Turns);
    }
}

/*
 * ThreadSanitizer holds a signal back until the thread calls something that it intercepts, and one that arrives in
 * read() until that returns; it lets one through at once in epoll_wait.
 */
static void LetSignalsThrough(void)
{
    if (UNDER_TSAN) {
        struct stat Unused;

        (void)stat("/", &Unused);
    }
}

static void AwaitReadable(int File)
{
    if (UNDER_TSAN) {
        struct epoll_event Event = {.events = EPOLLIN};
        int Epoll = epoll_create1(0);

        Check(Epoll >= 0 && epoll_ctl(Epoll, EPOLL_CTL_ADD, File, &Event) == 0);
        while (epoll_wait(Epoll, &Event, 1, -1) < 0 && errno == EINTR) {
        }
        close(Epoll);
    }
}

/* Leaves only when the worker has run on its processor, and never calls the library. */
static void ComputeUntilVisited(OWNER *Owner)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
    ULONG Turns = 1;

    CountOne(&Owner->Ready);
    while (__atomic_load_n(&Owner->Visited, __ATOMIC_ACQUIRE) == 0) {
        (void)NextRandom(&Turns);
        LetSignalsThrough();
    }
    KeLowerIrql(OldIrql);
}

static void ReadAbove(OWNER *Owner)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
    char Byte = 0;

    CountOne(&Owner->Ready);
    AwaitReadable(Owner->Pipe);
    Check(read(Owner->Pipe, &Byte, 1) == 1);
    Check(Byte == 'x');
    Check(__atomic_load_n(&Owner->Visited, __ATOMIC_ACQUIRE) != 0);
    KeLowerIrql(OldIrql);
}

/* Computes for a while after the caller has begun; the worker must not run before the level is lowered. */
static void ComputeAlone(OWNER *Owner)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    CountOne(&Owner->Ready);
    while ((__atomic_load_n(&KeGetPcr()->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_IPI) == 0) {
        sched_yield();
    }
    for (ULONG Turn = 0; Turn < 2000; Turn += 1) {
        Check(__atomic_load_n(&Current, __ATOMIC_ACQUIRE) == NULL);
        sched_yield();
    }
    KeLowerIrql(OldIrql);
}

static OWNER *volatile VisitedOwners[8];

static ULONG_PTR OwnerWorker(ULONG_PTR Argument)
{
    OWNER *Owner = VisitedOwners[KeGetCurrentProcessorNumberEx(NULL)];

    if (Owner != NULL) {
        Check(KeGetCurrentIrql() == IPI_LEVEL);
        __atomic_store_n(&Owner->Visited, 1, __ATOMIC_RELEASE);
    }
    return Argument;
}

static void pitfall_32_owners_that_spin_in_the_library_are_reached(void **State)
{
    static void (*const Behaviours[])(OWNER *) = {YieldAbove, StallAbove, SpinForLock, QueueForLock};
    KSPIN_LOCK Locks[2] = {0, 0};
    KLOCK_QUEUE_HANDLE Handle;
    OWNER Owners[ARRAYSIZE(Behaviours)] = {{0}};
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 5, TestFlags);
    assert_int_equal(KprcbAttachThread(4), STATUS_SUCCESS);
    KeAcquireSpinLock(&Locks[0], &OldIrql);
    KeAcquireInStackQueuedSpinLockAtDpcLevel(&Locks[1], &Handle);
    for (ULONG Index = 0; Index < ARRAYSIZE(Owners); Index += 1) {
        Owners[Index] = (OWNER){.Processor = Index, .Behaviour = Behaviours[Index], .Lock = Locks};
        StartOwner(&Owners[Index]);
        AwaitCount(&Owners[Index].Ready, 1);
    }
    /* The caller holds the locks that its targets spin for. */
    for (ULONG Round = 0; Round < 20; Round += 1) {
        CallAndCheck(5);
    }
    CountOne(&Stop);
    KeReleaseInStackQueuedSpinLockFromDpcLevel(&Handle);
    KeReleaseSpinLock(&Locks[0], OldIrql);
    for (ULONG Index = 0; Index < ARRAYSIZE(Owners); Index += 1) {
        JoinThread(Owners[Index].Thread);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void residents_that_compute_below_dispatch_level_do_not_delay_it(void **State)
{
    OWNER Owners[3] = {{0}};

    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 4, TestFlags);
    assert_int_equal(KprcbAttachThread(3), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < ARRAYSIZE(Owners); Index += 1) {
        Owners[Index] = (OWNER){.Processor = Index, .Behaviour = ComputeBelow};
        StartOwner(&Owners[Index]);
        AwaitCount(&Owners[Index].Ready, 1);
    }
    for (ULONG Round = 0; Round < 20; Round += 1) {
        CallAndCheck(4);
    }
    CountOne(&Stop);
    for (ULONG Index = 0; Index < ARRAYSIZE(Owners); Index += 1) {
        JoinThread(Owners[Index].Thread);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void CallOwner(OWNER *Owner)
{
    VisitedOwners[Owner->Processor] = Owner;
    AwaitCount(&Owner->Ready, 1);
    assert_int_equal(KeIpiGenericCall(OwnerWorker, 77), 77);
    assert_int_equal(Owner->Visited, 1);
}

static void an_owner_that_never_polls_is_interrupted(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 2, TestFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    for (ULONG Round = 0; Round < 5; Round += 1) {
        OWNER Owner = {.Processor = 1, .Behaviour = ComputeUntilVisited};

        StartOwner(&Owner);
        CallOwner(&Owner);
        JoinThread(Owner.Thread);
        VisitedOwners[1] = NULL;
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

/* Owns processor 1 by the token, beside its resident. */
static void *TokenOwnerThread(void *Context)
{
    OWNER *Owner = Context;

    KeSetSystemAffinityThread((KAFFINITY)1 << Owner->Processor);
    ComputeUntilVisited(Owner);
    return NULL;
}

static void an_owner_by_token_that_never_polls_is_interrupted(void **State)
{
    OWNER Resident = {.Processor = 1, .Behaviour = ComputeBelow};
    OWNER Owner = {.Processor = 1};

    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 2, TestFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    StartOwner(&Resident);
    AwaitCount(&Resident.Ready, 1);
    Owner.Thread = StartThread(TokenOwnerThread, &Owner);
    CallOwner(&Owner);
    JoinThread(Owner.Thread);
    CountOne(&Stop);
    JoinThread(Resident.Thread);
    VisitedOwners[1] = NULL;
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void an_owner_that_blocks_in_a_host_call_is_interrupted_and_goes_on(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 2, TestFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    for (ULONG Round = 0; Round < 5; Round += 1) {
        OWNER Owner = {.Processor = 1, .Behaviour = ReadAbove};
        int Ends[2];

        assert_int_equal(pipe(Ends), 0);
        Owner.Pipe = Ends[0];
        StartOwner(&Owner);
        CallOwner(&Owner);
        assert_int_equal(write(Ends[1], "x", 1), 1);
        JoinThread(Owner.Thread);
        VisitedOwners[1] = NULL;
        close(Ends[0]);
        close(Ends[1]);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void without_signals_the_call_waits_until_the_owner_lowers(void **State)
{
    OWNER Owner = {.Processor = 1, .Behaviour = ComputeAlone};

    UNREFERENCED_PARAMETER(State);
    StartMachineAs(TestVersion, 2, TestFlags | KPRCB_NO_SIGNALS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    StartOwner(&Owner);
    AwaitCount(&Owner.Ready, 1);
    CallAndCheck(2);
    JoinThread(Owner.Thread);
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup(pitfall_32_owners_that_spin_in_the_library_are_reached, Setup),
        cmocka_unit_test_setup(residents_that_compute_below_dispatch_level_do_not_delay_it, Setup),
        cmocka_unit_test_setup(an_owner_that_never_polls_is_interrupted, Setup),
        cmocka_unit_test_setup(an_owner_by_token_that_never_polls_is_interrupted, Setup),
        cmocka_unit_test_setup(an_owner_that_blocks_in_a_host_call_is_interrupted_and_goes_on, Setup),
        cmocka_unit_test_setup(without_signals_the_call_waits_until_the_owner_lowers, Setup),
    };
    int Failed = 0;

    RUN_AS_EACH_VERSION(Tests, Failed);
    return Failed;
}
