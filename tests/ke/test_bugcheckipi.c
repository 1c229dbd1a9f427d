/*
 * test_bugcheckipi.c - bug checks of IPI workers, on the caller's processor and on others, and of a thread that
 * serves an IPI while it waits for a lock.
 *
 * Threads other than the test's report by Check.
 */
#include "support/check.h"

#include <string.h>

#include "ki.h"

#define CODE 0xE0001234u

static ULONG TestFlags;

/* The test's thread becomes the resident of processor 0. */
static void Begin(ULONG Processors)
{
    WrongLine = 0;
    StartMachine(Processors, TestFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
}

/* The machine is as good as before, and can be stopped. */
static void End(void)
{
    KIRQL OldIrql;

    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_int_equal(KprcbThread.HeldCount, 0);
    assert_int_equal(KprcbThread.Masked, 0);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeLowerIrql(OldIrql);
    KeFlushQueuedDpcs();
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void AssertCaught(VOID (*Routine)(PVOID), PVOID Context, ULONG Code, ULONG_PTR Parameter)
{
    KPRCB_BUGCHECK BugCheck = {0};
    KIRQL Irql = KeGetCurrentIrql();

    assert_true(KprcbCatchBugCheck(Routine, Context, &BugCheck));
    assert_int_equal(BugCheck.Code, Code);
    assert_int_equal(BugCheck.Parameter[0], Parameter);
    assert_int_equal(KeGetCurrentIrql(), Irql);
}

static VOID Fail(PVOID Context)
{
    KeBugCheckEx(CODE, (ULONG_PTR)Context, 2, 3, 4);
}

static ULONG volatile Held, LetGo;

/* --- IPI workers --- */

static ULONG volatile FailMask, Workers, Returned;

static ULONG_PTR FailOnSome(ULONG_PTR Context)
{
    ULONG Number = KeGetCurrentProcessorNumberEx(NULL);

    CountOne(&Workers);
    if ((FailMask >> Number & 1) != 0) {
        Fail((PVOID)Context);
    }
    return Context;
}

static VOID CallAll(PVOID Context)
{
    Workers = Returned = 0;
    Check(KeIpiGenericCall(FailOnSome, (ULONG_PTR)Context) == (ULONG_PTR)Context);
    Check(KeGetCurrentIrql() == PASSIVE_LEVEL);
    Check(Workers == 3);
    CountOne(&Returned);
}

/* Owns processor 1, without a catcher. */
static void *PollThread(void *Context)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Context);
    Check(KprcbAttachThread(1) == STATUS_SUCCESS);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    CountOne(&Held);
    while (__atomic_load_n(&LetGo, __ATOMIC_ACQUIRE) == 0) {
        YieldProcessor();
        Check(KeGetCurrentIrql() == DISPATCH_LEVEL);
    }
    KeLowerIrql(OldIrql);
    return NULL;
}

static VOID PollRoutine(PVOID Context)
{
    (void)PollThread(Context);
}

/* The same, with a catcher, which is where its processor's bug check goes. */
static void *CatchThread(void *Context)
{
    KPRCB_BUGCHECK BugCheck = {0};

    Check(KprcbCatchBugCheck(PollRoutine, Context, &BugCheck));
    Check(BugCheck.Code == CODE);
    Check(KeGetCurrentIrql() == PASSIVE_LEVEL);
    return NULL;
}

static void a_worker_of_a_rendezvous_on_another_processor(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Begin(3);
    for (ULONG Round = 0; Round < 3; Round += 1) {
        pthread_t Thread = {0};

        Held = LetGo = 0;
        if (Round > 0) {
            Thread = StartThread(Round == 1 ? PollThread : CatchThread, NULL);
            AwaitCount(&Held, 1);
        }
        FailMask = 2;
        if (Round < 2) {
            AssertCaught(CallAll, (PVOID)6, CODE, 6);
        } else {
            assert_false(KprcbCatchBugCheck(CallAll, (PVOID)6, NULL));
        }
        assert_int_equal(Returned, 1);
        FailMask = 0;
        CallAll((PVOID)8);
        CountOne(&LetGo);
        if (Round > 0) {
            JoinThread(Thread);
        }
    }
    End();
}

static void a_worker_of_a_rendezvous_on_the_caller_or_everywhere(void **State)
{
    static const ULONG Masks[] = {1, 5, 7};

    UNREFERENCED_PARAMETER(State);
    Begin(3);
    for (ULONG Round = 0; Round < 60; Round += 1) {
        FailMask = Masks[Round % ARRAYSIZE(Masks)];
        AssertCaught(CallAll, (PVOID)6, CODE, 6);
        assert_int_equal(Workers, 3);
        assert_int_equal(Returned, 0);
        FailMask = 0;
        CallAll((PVOID)8);
    }
    End();
}

/* A packet's worker that bug checks, before or after it has told the sender that it is done. */

static ULONG volatile SecondSent, SecondRan;

static VOID PacketWorker(PKIPI_CONTEXT PacketContext, PVOID DoneFirst, PVOID Context, PVOID Unused)
{
    UNREFERENCED_PARAMETER(Unused);
    if (DoneFirst != NULL) {
        KiIpiSignalPacketDone(PacketContext);
        AwaitCount(&SecondSent, 1);
    }
    Fail(Context);
}

static VOID SecondWorker(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Context, PVOID Unused)
{
    UNREFERENCED_PARAMETER(Function);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Unused);
    for (ULONG Turn = 0; Turn < 2000; Turn += 1) {
        sched_yield(); /* time for a sender that does not wait */
    }
    CountOne(&SecondRan);
    KiIpiSignalPacketDone(PacketContext);
}

static VOID SendPackets(PVOID Context)
{
    KIRQL OldIrql;

    SecondSent = SecondRan = 0;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KiIpiSendPacket(2, PacketWorker, Context, 6, NULL);
    KiIpiStallOnPacketTargets(2);
    KiIpiSendPacket(2, SecondWorker, NULL, 0, NULL);
    CountOne(&SecondSent);
    KiIpiStallOnPacketTargets(2);
    Check(SecondRan == 1);
    KeLowerIrql(OldIrql);
}

static void a_packet_worker_leaves_no_sender_waiting(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Begin(2);
    AssertCaught(SendPackets, NULL, CODE, 6);
    AssertCaught(SendPackets, (PVOID)FailOnSome, CODE, 6);
    End();
}

/* --- Workers that do not keep the rules --- */

static ULONG Misbehaving; /* the processor */

static ULONG_PTR EndAt(ULONG_PTR Level)
{
    if (KeGetCurrentProcessorNumberEx(NULL) == Misbehaving) {
        if (Level == IPI_LEVEL) {
            (void)KeFreezeExecution(NULL, NULL);
        } else if (Level > IPI_LEVEL) {
            (void)KfRaiseIrql((KIRQL)Level);
        } else {
            KeLowerIrql(DISPATCH_LEVEL);
            KeLowerIrql((KIRQL)Level);
        }
    }
    return 0;
}

static VOID CallToEndAt(PVOID Level)
{
    (void)KeIpiGenericCall(EndAt, (ULONG_PTR)Level);
}

static ULONG_PTR Unexpected(ULONG Irql)
{
    return (ULONG_PTR)Irql << 16 | IPI_LEVEL << 8;
}

static void a_worker_ends_at_the_level_at_which_it_began(void **State)
{
    /* What they end at; IPI_LEVEL: they freeze. */
    static const KIRQL Levels[] = {PASSIVE_LEVEL, DISPATCH_LEVEL, IPI_LEVEL, HIGH_LEVEL};
    pthread_t Thread;

    UNREFERENCED_PARAMETER(State);
    Begin(3);
    Held = LetGo = 0;
    Thread = StartThread(PollThread, NULL); /* processor 1; nobody owns processor 2 */
    AwaitCount(&Held, 1);
    for (ULONG Round = 0; Round < ARRAYSIZE(Levels) * 3; Round += 1) {
        KIRQL Level = Levels[Round % ARRAYSIZE(Levels)];

        Misbehaving = Round / ARRAYSIZE(Levels);
        AssertCaught(CallToEndAt, (PVOID)(ULONG_PTR)Level, IRQL_UNEXPECTED_VALUE,
                     Unexpected(Level == IPI_LEVEL ? HIGH_LEVEL : Level));
        CallAll((PVOID)8);
    }
    CountOne(&LetGo);
    JoinThread(Thread);
    End();
}

typedef enum _DONE { DoneTwice, DoneNull, NotDone, DoneOfAnother } DONE;

static VOID WronglyDone(PKIPI_CONTEXT PacketContext, PVOID Done, PVOID Context, PVOID Unused)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Unused);
    switch ((DONE)(ULONG_PTR)Done) {
    case DoneTwice:
        KiIpiSignalPacketDone(PacketContext);
        KiIpiSignalPacketDone(PacketContext);
        break;
    case DoneNull:
        KiIpiSignalPacketDone(NULL);
        break;
    case DoneOfAnother:
        KiIpiSignalPacketDone(KeGetCurrentPrcb());
        break;
    default:
        break;
    }
}

static VOID SendWronglyDone(PVOID Done)
{
    KIRQL OldIrql;

    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KiIpiSendPacket(2, WronglyDone, Done, 0, NULL);
    KiIpiStallOnPacketTargets(2);
    for (;;) {
        YieldProcessor(); /* the bug check may come after the sender was told */
    }
}

static VOID DoneOutside(PVOID Context)
{
    KiIpiSignalPacketDone(Context);
}

static VOID SendNull(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeRaiseIrqlToDpcLevel();
    KiIpiSendPacket(2, NULL, NULL, 0, NULL);
}

static VOID CallNull(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    (void)KeIpiGenericCall(NULL, 0);
}

static void a_worker_tells_its_sender_once(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Begin(3);
    for (ULONG Round = 0; Round < 40; Round += 1) {
        DONE Done = (DONE)(Round % 4);
        KPRCB_BUGCHECK BugCheck = {0};

        assert_true(KprcbCatchBugCheck(SendWronglyDone, (PVOID)(ULONG_PTR)Done, &BugCheck));
        assert_int_equal(BugCheck.Code, INVALID_SOFTWARE_INTERRUPT);
        CallAll((PVOID)8);
    }
    AssertCaught(DoneOutside, NULL, INVALID_SOFTWARE_INTERRUPT, 0);
    AssertCaught(DoneOutside, KiProcessor(0)->Prcb, INVALID_SOFTWARE_INTERRUPT, (ULONG_PTR)KiProcessor(0)->Prcb);
    AssertCaught(SendNull, NULL, INVALID_SOFTWARE_INTERRUPT, 0);
    AssertCaught(CallNull, NULL, INVALID_SOFTWARE_INTERRUPT, 0);
    CallAll((PVOID)8);
    End();
}

/* --- A thread that serves an IPI while it waits --- */

static KSPIN_LOCK QueuedLock;
static ULONG volatile Queued, Sent;
static ULONG HostProcessors;

static void *HoldQueue(void *Context)
{
    KLOCK_QUEUE_HANDLE Handle;

    UNREFERENCED_PARAMETER(Context);
    Check(KprcbAttachThread(1) == STATUS_SUCCESS);
    KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle);
    CountOne(&Held);
    while (__atomic_load_n(&LetGo, __ATOMIC_ACQUIRE) == 0) {
        YieldProcessor();
        sched_yield();
    }
    KeReleaseInStackQueuedSpinLock(&Handle);
    return NULL;
}

/* On a processor that shares a CPU with processor 0. */
static void *QueueFirst(void *Context)
{
    KLOCK_QUEUE_HANDLE Handle;

    UNREFERENCED_PARAMETER(Context);
    Check(KprcbAttachThread(HostProcessors) == STATUS_SUCCESS);
    KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle);
    KeReleaseInStackQueuedSpinLock(&Handle);
    return NULL;
}

static VOID OnlyFail(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Context, PVOID Unused)
{
    UNREFERENCED_PARAMETER(PacketContext);
    UNREFERENCED_PARAMETER(Function);
    UNREFERENCED_PARAMETER(Unused);
    CountOne(&LetGo);
    Fail(Context);
}

static void *SendToZero(void *Context)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Context);
    Check(KprcbAttachThread(HostProcessors + 1) == STATUS_SUCCESS);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    CountOne(&Sent);
    AwaitCount(&Queued, 1);
    KiIpiSendPacket(1, OnlyFail, NULL, 6, NULL);
    KiIpiStallOnPacketTargets(1);
    KeLowerIrql(OldIrql);
    return NULL;
}

static VOID QueueSecond(PVOID Context)
{
    KLOCK_QUEUE_HANDLE Handle;

    UNREFERENCED_PARAMETER(Context);
    memset(&Handle, 0xFF, sizeof(Handle));
    KeRaiseIrqlToDpcLevel();
    CountOne(&Queued);
    KeAcquireInStackQueuedSpinLockAtDpcLevel(&QueuedLock, &Handle);
    for (;;) {
        YieldProcessor();
    }
}

/* Where processors outnumber CPUs, a waiter serves IPIs before it is in the queue. */
static void a_worker_on_a_thread_that_is_about_to_queue(void **State)
{
    UNREFERENCED_PARAMETER(State);
    HostProcessors = HalInitializeProcessors();
    HostProcessors = HostProcessors > 1 ? HostProcessors : 2; /* processors 0 and 1 are taken */
    Begin(HostProcessors + 2 > 8 ? HostProcessors + 2 : 8);
    for (ULONG Round = 0; Round < 5; Round += 1) {
        KSPIN_LOCK Last;
        pthread_t Holder, First, Sender;

        Held = LetGo = Queued = Sent = 0;
        Holder = StartThread(HoldQueue, NULL);
        AwaitCount(&Held, 1);
        Last = __atomic_load_n(&QueuedLock, __ATOMIC_ACQUIRE);
        First = StartThread(QueueFirst, NULL);
        while (__atomic_load_n(&QueuedLock, __ATOMIC_ACQUIRE) == Last) {
            sched_yield();
        }
        Sender = StartThread(SendToZero, NULL);
        AwaitCount(&Sent, 1);
        AssertCaught(QueueSecond, NULL, CODE, 6);
        JoinThread(Sender);
        JoinThread(First);
        JoinThread(Holder);
        assert_int_equal(QueuedLock, 0);
    }
    End();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(a_worker_of_a_rendezvous_on_another_processor),
        cmocka_unit_test(a_worker_of_a_rendezvous_on_the_caller_or_everywhere),
        cmocka_unit_test(a_packet_worker_leaves_no_sender_waiting),
        cmocka_unit_test(a_worker_ends_at_the_level_at_which_it_began),
        cmocka_unit_test(a_worker_tells_its_sender_once),
        cmocka_unit_test(a_worker_on_a_thread_that_is_about_to_queue),
    };
    int Failed = cmocka_run_group_tests_name("membarrier", Tests, NULL, NULL);

    TestFlags = KPRCB_NO_MEMBARRIER;
    return Failed + cmocka_run_group_tests_name("no membarrier", Tests, NULL, NULL);
}
