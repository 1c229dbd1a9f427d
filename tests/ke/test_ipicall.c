/*
 * test_ipicall.c - KeIpiGenericCall: that it is a rendezvous, whatever the processors are doing.
 *
 * Each call is checked from inside: the worker looks at the level of every processor as it starts, and the caller
 * looks at what all of them left behind as the call returns. Threads other than the test's own report by Check, since
 * a failed assertion of cmocka may only leave the thread that runs the test.
 */
#include "support/check.h"

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

#define MAXIMUM 1024
#define RESULT_BASE 5000

static ULONG TestFlags;
static ULONG volatile Stop;

static BOOLEAN Stopped(void)
{
    return __atomic_load_n(&Stop, __ATOMIC_ACQUIRE) != 0;
}

static int Setup(void **State)
{
    UNREFERENCED_PARAMETER(State);
    WrongLine = 0;
    Stop = 0;
    return 0;
}

static PKPCR ProcessorAt(ULONG Index)
{
    PKPCR Here = KeGetPcr();

    return Here - Here->Prcb->Number + Index;
}

/* Not for the eyes of ThreadSanitizer: a display of words that their owner writes. */
__attribute__((no_sanitize("thread"))) static BOOLEAN IsAtIpiLevel(PKPCR Pcr)
{
    return Pcr->Irql == IPI_LEVEL || Pcr->ResidentIrql == IPI_LEVEL;
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

static ULONG_PTR Visit(ULONG_PTR Argument)
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

static void CallAndCheck(ULONG Processors)
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
    while ((__atomic_load_n(&KeGetCurrentPrcb()->RequestSummary, __ATOMIC_ACQUIRE) & IPI_PACKET_READY) == 0) {
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

static void AwaitParked(ULONG Processors)
{
    for (ULONG Index = 0; Index < Processors; Index += 1) {
        while ((__atomic_load_n(&ProcessorAt(Index)->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_PARKED) == 0) {
            sched_yield();
        }
    }
}

/* --- Tests --- */

static void pitfall_32_ipi_generic_call_is_a_rendezvous(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachine(4, TestFlags);
    for (ULONG Round = 0; Round < 100; Round += 1) {
        CallAndCheck(4);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void pitfall_32_result_is_that_of_the_calling_processor(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachine(4, TestFlags);
    for (ULONG Index = 0; Index < 4; Index += 1) {
        assert_int_equal(KprcbAttachThread(Index), STATUS_SUCCESS);
        CallAndCheck(4);
        assert_int_equal(KeIpiGenericCall(Visit, (ULONG_PTR) & (CALL){.Processors = 4}), RESULT_BASE + Index);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void unowned_processors_with_parked_idle_threads(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachine(8, TestFlags);
    for (ULONG Round = 0; Round < 5; Round += 1) {
        AwaitParked(8);
        CallAndCheck(8);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

#define CALLERS 3
#define CALLS_EACH (TEST_SANITIZED ? 200 : 2000)

static void *CallerThread(void *Context)
{
    MeetAtGate(Context, CALLERS);
    for (ULONG Call = 0; Call < CALLS_EACH; Call += 1) {
        CallAndCheck(CALLERS);
    }
    return NULL;
}

static void pitfall_32_concurrent_callers_take_turns_and_serve_each_other(void **State)
{
    pthread_t Threads[CALLERS];
    ULONG volatile Gate = 0;

    UNREFERENCED_PARAMETER(State);
    StartMachine(CALLERS, TestFlags);
    for (ULONG Index = 0; Index < CALLERS; Index += 1) {
        Threads[Index] = StartThread(CallerThread, (void *)&Gate);
    }
    for (ULONG Index = 0; Index < CALLERS; Index += 1) {
        JoinThread(Threads[Index]);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static VOID CallFromDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Check(KeGetCurrentIrql() == DISPATCH_LEVEL);
    CallAndCheck(3);
    Check(KeIsExecutingDpc() != 0);
    CountOne(Context);
}

static void called_from_a_dpc(void **State)
{
    KDPC Dpc;
    ULONG volatile Ran = 0;

    UNREFERENCED_PARAMETER(State);
    StartMachine(3, TestFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    KeInitializeDpc(&Dpc, CallFromDpc, (PVOID)&Ran);
    for (ULONG Index = 0; Index < 3; Index += 1) {
        KeSetTargetProcessorDpc(&Dpc, (CCHAR)Index);
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        KeFlushQueuedDpcs();
        assert_int_equal(Ran, Index + 1);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void called_at_every_level_below_ipi_level(void **State)
{
    static const KIRQL Levels[] = {PASSIVE_LEVEL, APC_LEVEL, DISPATCH_LEVEL, SYNCH_LEVEL, IPI_LEVEL - 1};

    UNREFERENCED_PARAMETER(State);
    StartMachine(3, TestFlags);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        KIRQL OldIrql = KfRaiseIrql(Levels[Index]);

        CallAndCheck(3);
        KeLowerIrql(OldIrql);
    }
    assert_int_equal(WrongLine, 0);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    StopMachine();
}

/* Calls with what KprcbCatchBugCheck catches. */
static VOID CallAt(PVOID Context)
{
    KfRaiseIrql(*(KIRQL *)Context);
    KeIpiGenericCall(OwnerWorker, 0);
}

static void at_ipi_level_and_above_it_is_a_bug_check(void **State)
{
    static const KIRQL Levels[] = {IPI_LEVEL, HIGH_LEVEL};

    UNREFERENCED_PARAMETER(State);
    StartMachine(2, TestFlags);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        KIRQL Level = Levels[Index];
        KPRCB_BUGCHECK BugCheck = {0};

        assert_true(KprcbCatchBugCheck(CallAt, &Level, &BugCheck));
        assert_int_equal(BugCheck.Code, IRQL_NOT_LESS_OR_EQUAL);
        assert_int_equal(BugCheck.Parameter[0], Level);
        assert_int_equal(BugCheck.Parameter[1], IPI_LEVEL);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
        CallAndCheck(2);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void pitfall_32_owners_that_spin_in_the_library_are_reached(void **State)
{
    static void (*const Behaviours[])(OWNER *) = {YieldAbove, StallAbove, SpinForLock, QueueForLock};
    KSPIN_LOCK Locks[2] = {0, 0};
    KLOCK_QUEUE_HANDLE Handle;
    OWNER Owners[ARRAYSIZE(Behaviours)] = {{0}};
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(State);
    StartMachine(5, TestFlags);
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
    StartMachine(4, TestFlags);
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
    StartMachine(2, TestFlags);
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
    StartMachine(2, TestFlags);
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
    StartMachine(2, TestFlags);
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
    StartMachine(2, TestFlags | KPRCB_NO_SIGNALS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    StartOwner(&Owner);
    AwaitCount(&Owner.Ready, 1);
    CallAndCheck(2);
    JoinThread(Owner.Thread);
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void all_groups_take_part(void **State)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 5, .GroupSize = 2, .Flags = TestFlags};

    UNREFERENCED_PARAMETER(State);
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < 5; Index += 1) {
        assert_int_equal(KprcbAttachThread(Index), STATUS_SUCCESS);
        CallAndCheck(5);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void sixty_four_processors(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachine(64, TestFlags);
    for (ULONG Round = 0; Round < 20; Round += 1) {
        CallAndCheck(64);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void a_thousand_processors(void **State)
{
    UNREFERENCED_PARAMETER(State);
    StartMachine(MAXIMUM, TestFlags);
    for (ULONG Round = 0; Round < 2; Round += 1) {
        CallAndCheck(MAXIMUM);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup(pitfall_32_ipi_generic_call_is_a_rendezvous, Setup),
        cmocka_unit_test_setup(pitfall_32_result_is_that_of_the_calling_processor, Setup),
        cmocka_unit_test_setup(unowned_processors_with_parked_idle_threads, Setup),
        cmocka_unit_test_setup(pitfall_32_concurrent_callers_take_turns_and_serve_each_other, Setup),
        cmocka_unit_test_setup(called_from_a_dpc, Setup),
        cmocka_unit_test_setup(called_at_every_level_below_ipi_level, Setup),
        cmocka_unit_test_setup(at_ipi_level_and_above_it_is_a_bug_check, Setup),
        cmocka_unit_test_setup(pitfall_32_owners_that_spin_in_the_library_are_reached, Setup),
        cmocka_unit_test_setup(residents_that_compute_below_dispatch_level_do_not_delay_it, Setup),
        cmocka_unit_test_setup(an_owner_that_never_polls_is_interrupted, Setup),
        cmocka_unit_test_setup(an_owner_by_token_that_never_polls_is_interrupted, Setup),
        cmocka_unit_test_setup(an_owner_that_blocks_in_a_host_call_is_interrupted_and_goes_on, Setup),
        cmocka_unit_test_setup(without_signals_the_call_waits_until_the_owner_lowers, Setup),
        cmocka_unit_test_setup(all_groups_take_part, Setup),
        cmocka_unit_test_setup(sixty_four_processors, Setup),
        cmocka_unit_test_setup(a_thousand_processors, Setup),
    };
    int Failed = cmocka_run_group_tests_name("membarrier", Tests, NULL, NULL);

    TestFlags = KPRCB_NO_MEMBARRIER;
    return Failed + cmocka_run_group_tests_name("no membarrier", Tests, NULL, NULL);
}
