/*
 * test_ipi.c - request bits and packets: KiIpiSend, KiIpiSendPacket and its kin, HalRequestIpi, KiIpiServiceRoutine,
 * as far as every version of NT agrees. Where they differ is in test_ipiprotocol.c, rendezvous calls in test_ipicall.c.
 */
#include "ipitest.h"

/* --- Packets --- */

static void a_packet_reaches_processors_that_nobody_owns(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(6);

    UNREFERENCED_PARAMETER(State);
    for (ULONG Round = 1; Round <= 50; Round += 1) {
        ResetRuns();
        KiIpiSendPacket(~(KAFFINITY)0, CountingWorker, Broadcast, Round, (PULONG)&Runs);
        KiIpiStallOnPacketTargets(~(KAFFINITY)0);
        assert_int_equal(Runs, 5);
        assert_int_equal(RunMask, 0x3E);
        assert_int_equal(LastContext, Round);
    }
    End(OldIrql);
}

static void a_packet_for_nobody_needs_no_wait(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(2);

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    KiIpiSendPacket(1 | 4 | 8, CountingWorker, Broadcast, 1, (PULONG)&Runs);
    KiIpiStallOnPacketTargets(1);
    assert_int_equal(Runs, 0);
    End(OldIrql);
}

static void targets_are_those_of_the_senders_group(void **State)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 5, .GroupSize = 2, .Flags = TestFlags};
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(State);
    WrongLine = 0;
    Config.Version = TestVersion;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < 5; Index += 1) {
        assert_int_equal(KprcbAttachThread(Index), STATUS_SUCCESS);
        OldIrql = KeRaiseIrqlToDpcLevel();
        ResetRuns();
        KiIpiSendPacket(~(KAFFINITY)0, CountingWorker, Broadcast, 1, (PULONG)&Runs);
        KiIpiStallOnPacketTargets(~(KAFFINITY)0);
        assert_int_equal(RunMask, Index == 4 ? 0 : 1u << (Index ^ 1));
        KeLowerIrql(OldIrql);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

/* Two packets, the target silent meanwhile: were the second not held back, it would overwrite the first. */

static ULONG volatile FirstSent;

static VOID PollLate(VOID)
{
    AwaitCount(&FirstSent, 1);
    for (ULONG Turn = 0; Turn < 2000; Turn += 1) {
        sched_yield(); /* time for a sender that does not wait */
    }
}

static VOID OrderedWorker(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Context, PVOID Count)
{
    UNREFERENCED_PARAMETER(Function);
    Check(__atomic_add_fetch((ULONG volatile *)Count, 1, __ATOMIC_ACQ_REL) == (ULONG_PTR)Context);
    KiIpiSignalPacketDone(PacketContext);
}

static void a_second_packet_waits_for_the_first(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(2);
    TARGET Target = {.AtPoll = PollLate};

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    FirstSent = 0;
    StartTarget(&Target, 1);
    LetPoll(&Target);
    KiIpiSendPacket(2, OrderedWorker, Broadcast, 1, (PULONG)&Runs);
    CountOne(&FirstSent);
    KiIpiSendPacket(2, OrderedWorker, Broadcast, 2, (PULONG)&Runs);
    assert_in_range(Load(&Runs), 1, 2);
    KiIpiStallOnPacketTargets(2);
    assert_int_equal(Runs, 2);
    EndTarget(&Target);
    End(OldIrql);
}

static ULONG volatile BeforeStall, AfterStall;

static VOID StallingWorker(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID ReverseStall, PVOID Unused)
{
    UNREFERENCED_PARAMETER(Function);
    UNREFERENCED_PARAMETER(Unused);
    CountOne(&BeforeStall);
    KiIpiSignalPacketDoneAndStall(PacketContext, ReverseStall);
    Check(KeGetCurrentIrql() == IPI_LEVEL);
    CountOne(&AfterStall);
}

static void done_and_stall_holds_the_targets_until_reverse_stall_changes(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(4);
    PKPRCB Here = PrcbAt(0);

    UNREFERENCED_PARAMETER(State);
    for (ULONG Round = 1; Round <= 20; Round += 1) {
        BeforeStall = AfterStall = 0;
        KiIpiSendPacket(0xE, StallingWorker, NULL, (ULONG_PTR)&Here->ReverseStall, NULL);
        KiIpiStallOnPacketTargets(0xE);
        assert_int_equal(BeforeStall, 3);
        for (ULONG Turn = 0; Turn < 50; Turn += 1) {
            assert_int_equal(Load(&AfterStall), 0);
            sched_yield();
        }
        __atomic_store_n(&Here->ReverseStall, Round, __ATOMIC_RELEASE);
        AwaitCount(&AfterStall, 3);
    }
    End(OldIrql);
}

#define SENDERS 3
#define PACKETS_EACH 300

typedef struct _SENDER {
    ULONG Processor;
    ULONG volatile *Gate;
    ULONG volatile Received;
    pthread_t Thread;
} SENDER;

static VOID SenderWorker(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Context, PVOID Received)
{
    UNREFERENCED_PARAMETER(Function);
    Check(KeGetCurrentProcessorNumberEx(NULL) == 0);
    Check(KeGetCurrentIrql() == IPI_LEVEL);
    Check(__atomic_add_fetch((ULONG volatile *)Received, 1, __ATOMIC_ACQ_REL) == (ULONG_PTR)Context);
    KiIpiSignalPacketDone(PacketContext);
}

static void *SenderThread(void *Context)
{
    SENDER *Sender = Context;

    Check(KprcbAttachThread(Sender->Processor) == STATUS_SUCCESS);
    MeetAtGate(Sender->Gate, SENDERS);
    for (ULONG Packet = 1; Packet <= PACKETS_EACH; Packet += 1) {
        KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

        KiIpiSendPacket(1, SenderWorker, NULL, Packet, (PULONG)&Sender->Received);
        if (Packet % 2 == 0) {
            KiIpiStallOnPacketTargets(1);
            Check(Load(&Sender->Received) == Packet);
        }
        KeLowerIrql(OldIrql);
    }
    return NULL;
}

static void packets_of_several_senders_to_one_target_queue_up(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(SENDERS + 1);
    SENDER Senders[SENDERS];
    ULONG volatile Gate = 0;

    UNREFERENCED_PARAMETER(State);
    for (ULONG Index = 0; Index < SENDERS; Index += 1) {
        Senders[Index] = (SENDER){.Processor = Index + 1, .Gate = &Gate};
        Senders[Index].Thread = StartThread(SenderThread, &Senders[Index]);
    }
    for (ULONG Index = 0; Index < SENDERS; Index += 1) {
        while (Load(&Senders[Index].Received) < PACKETS_EACH) {
            YieldProcessor();
            sched_yield();
        }
    }
    for (ULONG Index = 0; Index < SENDERS; Index += 1) {
        JoinThread(Senders[Index].Thread);
        assert_int_equal(Senders[Index].Received, PACKETS_EACH);
    }
    End(OldIrql);
}

static void senders_that_target_each_other_do_not_wait_for_ever(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(2);
    SENDER Sender = {.Processor = 1};
    ULONG volatile Gate = SENDERS;

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    Sender.Gate = &Gate;
    Sender.Thread = StartThread(SenderThread, &Sender);
    for (ULONG Packet = 1; Packet <= PACKETS_EACH; Packet += 1) {
        KiIpiSendPacket(2, OrderedWorker, NULL, Packet, (PULONG)&Runs);
    }
    KiIpiStallOnPacketTargets(2);
    assert_int_equal(Runs, PACKETS_EACH);
    while (Load(&Sender.Received) < PACKETS_EACH) {
        YieldProcessor();
        sched_yield();
    }
    JoinThread(Sender.Thread);
    End(OldIrql);
}

/* --- Request bits --- */

static VOID CountDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    Check(KeGetCurrentIrql() == DISPATCH_LEVEL);
    CountOne(Context);
}

static KDPC LazyDpc;
static ULONG volatile ServiceTurn;

static VOID ServiceByHand(VOID)
{
    PKPCR Pcr = KeGetPcr();

    Check(KiIpiServiceRoutine(NULL, NULL) == FALSE);
    CountOne(&ServiceTurn);
    AwaitCount(&ServiceTurn, 2);
    Check(Requests(Pcr->Prcb) == IPI_DPC);
    Check(KiIpiServiceRoutine(NULL, NULL) == TRUE);
    Check(Requests(Pcr->Prcb) == 0);
    Check((Load(&Pcr->Request) & (KPCR_REQUEST_IPI | KPCR_REQUEST_DISPATCH)) == KPCR_REQUEST_DISPATCH);
    Check(KiIpiServiceRoutine(NULL, NULL) == FALSE);
    Check(Runs == 0);
    CountOne(&ServiceTurn);
}

static void ipi_dpc_becomes_a_software_interrupt_that_the_lower_takes(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(2);
    TARGET Target = {.AtPoll = ServiceByHand};

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    ServiceTurn = 0;
    StartTarget(&Target, 1);
    KeInitializeDpc(&LazyDpc, CountDpc, (PVOID)&Runs);
    KeSetImportanceDpc(&LazyDpc, LowImportance);
    KeSetTargetProcessorDpc(&LazyDpc, 1);
    assert_true(KeInsertQueueDpc(&LazyDpc, NULL, NULL));
    LetPoll(&Target);
    AwaitCount(&ServiceTurn, 1);
    KiIpiSend(2, IPI_DPC);
    KiIpiSend(2 | ~(KAFFINITY)3, IPI_DPC); /* merges with the first */
    CountOne(&ServiceTurn);
    AwaitCount(&ServiceTurn, 3);
    assert_int_equal(Load(&Runs), 0);
    EndTarget(&Target);
    assert_int_equal(Load(&Runs), 1);
    End(OldIrql);
}

/* Without a tick for a second, the DPC of low importance waits for the IPI. */
static void ipi_dpc_makes_a_dpc_of_low_importance_run_on_the_idle_thread(void **State)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 2, .Flags = TestFlags, .TimeIncrement = 10000000};
    ULONG Interrupts;
    KDPC Dpc;

    UNREFERENCED_PARAMETER(State);
    WrongLine = 0;
    ResetRuns();
    Config.Version = TestVersion;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    PrcbAt(0)->MinimumDpcRate = 0;
    Interrupts = PrcbAt(0)->InterruptCount;
    KeInitializeDpc(&Dpc, CountDpc, (PVOID)&Runs);
    KeSetImportanceDpc(&Dpc, LowImportance);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    KiIpiSend(1, IPI_DPC);
    AwaitCount(&Runs, 1);
    KeFlushQueuedDpcs();
    KeLowerIrql(KeRaiseIrqlToDpcLevel());
    assert_int_equal(PrcbAt(0)->InterruptCount, Interrupts + 1);
    assert_int_equal(Runs, 1);
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void hal_request_ipi_makes_a_processor_look_at_its_request_summary(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(3);

    UNREFERENCED_PARAMETER(State);
    for (ULONG Index = 1; Index < 3; Index += 1) {
        PostDpcRequest(PrcbAt(Index));
    }
    HalRequestIpi(2 | ~(KAFFINITY)7);
    while (Requests(PrcbAt(1)) != 0) {
        sched_yield();
    }
    assert_int_equal(Requests(PrcbAt(2)), IPI_DPC);
    HalRequestIpi(4);
    while (Requests(PrcbAt(2)) != 0) {
        sched_yield();
    }
    End(OldIrql);
}

/* --- Wrong levels --- */

static VOID SendBelow(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KiIpiSendPacket(2, CountingWorker, Broadcast, 1, (PULONG)&Runs);
}

static VOID StallBelow(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KiIpiStallOnPacketTargets(2);
}

static VOID ServiceBelow(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KiIpiServiceRoutine(NULL, NULL);
}

static void below_dispatch_level_packets_are_bug_checks(void **State)
{
    static VOID (*const Routines[])(PVOID) = {SendBelow, StallBelow, ServiceBelow};

    UNREFERENCED_PARAMETER(State);
    WrongLine = 0;
    StartMachineAs(TestVersion, 2, TestFlags);
    for (ULONG Index = 0; Index < ARRAYSIZE(Routines); Index += 1) {
        KPRCB_BUGCHECK BugCheck = {0};

        assert_true(KprcbCatchBugCheck(Routines[Index], NULL, &BugCheck));
        assert_int_equal(BugCheck.Code, IRQL_NOT_GREATER_OR_EQUAL);
        assert_int_equal(BugCheck.Parameter[0], PASSIVE_LEVEL);
        assert_int_equal(BugCheck.Parameter[1], DISPATCH_LEVEL);
    }
    KiIpiSend(3, IPI_DPC); /* any level */
    KeFlushQueuedDpcs();
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(a_packet_reaches_processors_that_nobody_owns),
        cmocka_unit_test(a_packet_for_nobody_needs_no_wait),
        cmocka_unit_test(targets_are_those_of_the_senders_group),
        cmocka_unit_test(a_second_packet_waits_for_the_first),
        cmocka_unit_test(done_and_stall_holds_the_targets_until_reverse_stall_changes),
        cmocka_unit_test(packets_of_several_senders_to_one_target_queue_up),
        cmocka_unit_test(senders_that_target_each_other_do_not_wait_for_ever),
        cmocka_unit_test(ipi_dpc_becomes_a_software_interrupt_that_the_lower_takes),
        cmocka_unit_test(ipi_dpc_makes_a_dpc_of_low_importance_run_on_the_idle_thread),
        cmocka_unit_test(hal_request_ipi_makes_a_processor_look_at_its_request_summary),
        cmocka_unit_test(below_dispatch_level_packets_are_bug_checks),
    };
    int Failed = 0;

    RUN_AS_EACH_VERSION(Tests, Failed);
    return Failed;
}
