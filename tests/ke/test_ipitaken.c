/*
 * test_ipitaken.c - packets from 10.0 that a target has taken and not run yet, as one more comes: a service inside
 * another, and a worker that a bug check ends.
 *
 * Processor 1 is sent two packets before it polls. The worker of the first waits for a third.
 */
#include "ipitest.h"

#include "ki.h"

#define CODE 0xE0001234u

static BOOLEAN FirstFails;
static ULONG volatile Begun, ThirdSent, Silent, MayPoll;

static VOID First(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Context, PVOID Unused)
{
    UNREFERENCED_PARAMETER(Function);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Unused);
    CountOne(&Begun);
    AwaitCount(&ThirdSent, 1);
    if (FirstFails) {
        KeBugCheckEx(CODE, 0, 0, 0, 0);
    }
    Check(KiIpiServiceRoutine(NULL, NULL));
    Check(Load(&Runs) == 2);
    KiIpiSignalPacketDone(PacketContext);
}

static VOID Poll(PVOID Context)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    UNREFERENCED_PARAMETER(Context);
    CountOne(&Silent);
    AwaitCount(&MayPoll, 1);
    YieldProcessor();
    KeLowerIrql(OldIrql);
}

static void *PollThread(void *Context)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Context);
    Check(KprcbAttachThread(1) == STATUS_SUCCESS);
    Check(KprcbCatchBugCheck(Poll, NULL, NULL) == FirstFails);
    OldIrql = KeRaiseIrqlToDpcLevel();
    YieldProcessor();
    Check(Load(&Runs) == 2);
    KeLowerIrql(OldIrql);
    return NULL;
}

typedef struct _SENDER {
    ULONG Processor;
    ULONG volatile *After;
    ULONG volatile *Sent;
} SENDER;

static void *SendThread(void *Context)
{
    SENDER *Sender = Context;
    KIRQL OldIrql;

    Check(KprcbAttachThread(Sender->Processor) == STATUS_SUCCESS);
    AwaitCount(Sender->After, 1);
    OldIrql = KeRaiseIrqlToDpcLevel();
    KiIpiSendPacket(2, CountingWorker, Broadcast, 7, (PULONG)&Runs);
    CountOne(Sender->Sent);
    KiIpiStallOnPacketTargets(2);
    KeLowerIrql(OldIrql);
    return NULL;
}

static void a_third_packet_is_run_with_the_second(void **State)
{
    ULONG volatile SecondSent = 0;
    SENDER Second = {.Processor = 2, .After = &Silent, .Sent = &SecondSent};
    SENDER Third = {.Processor = 3, .After = &Begun, .Sent = &ThirdSent};
    pthread_t Threads[3];
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(State);
    for (ULONG Round = 0; Round < 2; Round += 1) {
        FirstFails = Round == 1;
        Begun = ThirdSent = Silent = MayPoll = SecondSent = 0;
        ResetRuns();
        OldIrql = OwnProcessorZero(4);
        Threads[0] = StartThread(PollThread, NULL);
        AwaitCount(&Silent, 1);
        KiIpiSendPacket(2, First, NULL, 0, NULL);
        Threads[1] = StartThread(SendThread, &Second);
        Threads[2] = StartThread(SendThread, &Third);
        AwaitCount(&SecondSent, 1);
        CountOne(&MayPoll);
        JoinThread(Threads[0]);
        KiIpiSend(2, IPI_DPC); /* or a packet that was forgotten would keep the test from its end */
        JoinThread(Threads[1]);
        JoinThread(Threads[2]);
        KiIpiStallOnPacketTargets(2);
        assert_int_equal(Runs, 2);
        End(OldIrql);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(a_third_packet_is_run_with_the_second),
    };
    int Failed;

    TestVersion = "10.0";
    Failed = cmocka_run_group_tests_name(TestVersion, Tests, NULL, NULL);
    TestFlags = KPRCB_NO_MEMBARRIER;
    TestVersion = "2004";
    return Failed + cmocka_run_group_tests_name("2004, no membarrier", Tests, NULL, NULL);
}
