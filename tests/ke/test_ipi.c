/*
 * test_ipi.c - request bits and packets: KiIpiSend, KiIpiSendPacket and its kin, HalRequestIpi, KiIpiServiceRoutine.
 *
 * A target is a thread that owns its processor and does not poll until it is told to, so that what a sender leaves in
 * the KPRCBs can be looked at. The machines run without signals. Rendezvous calls are in test_ipicall.c.
 */
#include "support/check.h"

static ULONG TestFlags;

static ULONG Load(ULONG volatile *Word)
{
    return __atomic_load_n(Word, __ATOMIC_ACQUIRE);
}

static PKPCR ProcessorAt(ULONG Index)
{
    PKPCR Here = KeGetPcr();

    return Here - Here->Prcb->Number + Index;
}

static PKPRCB PrcbAt(ULONG Index)
{
    return ProcessorAt(Index)->Prcb;
}

static KAFFINITY TargetSet(PKPRCB Prcb)
{
    return __atomic_load_n(&Prcb->TargetSet, __ATOMIC_ACQUIRE);
}

/* --- A thread that owns a processor: silent until Poll, then polling until Stop --- */

typedef struct _TARGET {
    ULONG Processor;
    ULONG volatile Ready;
    ULONG volatile Poll;
    ULONG volatile Stop;
    VOID (*AtPoll)(VOID);
    pthread_t Thread;
} TARGET;

static void *TargetThread(void *Context)
{
    TARGET *Target = Context;
    KIRQL OldIrql;

    Check(KprcbAttachThread(Target->Processor) == STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    CountOne(&Target->Ready);
    AwaitCount(&Target->Poll, 1);
    if (Target->AtPoll != NULL) {
        Target->AtPoll();
    }
    while (Load(&Target->Stop) == 0) {
        YieldProcessor();
    }
    KeLowerIrql(OldIrql);
    return NULL;
}

static void StartTarget(TARGET *Target, ULONG Processor)
{
    Target->Processor = Processor;
    Target->Thread = StartThread(TargetThread, Target);
    AwaitCount(&Target->Ready, 1);
}

static void LetPoll(TARGET *Target)
{
    CountOne(&Target->Poll);
}

static void EndTarget(TARGET *Target)
{
    CountOne(&Target->Poll);
    CountOne(&Target->Stop);
    JoinThread(Target->Thread);
}

/* The test's thread, as the resident of processor 0, at DISPATCH_LEVEL. */
static KIRQL OwnProcessorZero(ULONG Processors)
{
    WrongLine = 0;
    StartMachine(Processors, TestFlags | KPRCB_NO_SIGNALS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    return KeRaiseIrqlToDpcLevel();
}

static void End(KIRQL OldIrql)
{
    KeLowerIrql(OldIrql);
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

/* --- Workers --- */

static ULONG volatile Runs;
static ULONG volatile RunMask;
static ULONG volatile LastContext;

static ULONG_PTR Broadcast(ULONG_PTR Context)
{
    Check(KeGetCurrentIrql() == IPI_LEVEL);
    __atomic_store_n(&LastContext, (ULONG)Context, __ATOMIC_RELEASE);
    __atomic_fetch_or(&RunMask, 1u << KeGetCurrentProcessorNumberEx(NULL), __ATOMIC_ACQ_REL);
    return 0;
}

static VOID CountingWorker(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Context, PVOID Count)
{
    ((PKIPI_BROADCAST_WORKER)Function)((ULONG_PTR)Context);
    CountOne(Count);
    KiIpiSignalPacketDone(PacketContext);
}

static void ResetRuns(void)
{
    Runs = RunMask = LastContext = 0;
}

/* --- Packets --- */

static void a_packet_is_seen_in_the_prcb_members(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(3);
    PKPRCB Here = PrcbAt(0);
    PKPRCB There = PrcbAt(1);
    TARGET Target = {0};

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    StartTarget(&Target, 1);
    /* Its own processor is left out, those that are not active are ignored. */
    KiIpiSendPacket(1 | 2 | ~(KAFFINITY)7, CountingWorker, Broadcast, 42, (PULONG)&Runs);
    assert_int_equal(Runs, 0);
    assert_int_equal(TargetSet(Here), 2);
    assert_ptr_equal(Here->CurrentPacket[0], Broadcast);
    assert_ptr_equal(Here->CurrentPacket[1], (PVOID)42);
    assert_ptr_equal(Here->CurrentPacket[2], (PVOID)&Runs);
    assert_ptr_equal(Here->WorkerRoutine, CountingWorker);
    assert_ptr_equal(There->SignalDone, Here);
    assert_int_equal(Load(&There->RequestSummary), IPI_PACKET_READY);
    assert_int_not_equal(Load(&ProcessorAt(1)->Request) & KPCR_REQUEST_IPI, 0);
    assert_null(PrcbAt(2)->SignalDone);
    LetPoll(&Target);
    KiIpiStallOnPacketTargets(2);
    assert_int_equal(TargetSet(Here), 0);
    assert_null(There->SignalDone);
    assert_int_equal(Load(&There->RequestSummary), 0);
    assert_int_equal(Runs, 1);
    assert_int_equal(RunMask, 2);
    assert_int_equal(LastContext, 42);
    EndTarget(&Target);
    End(OldIrql);
}

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
    assert_int_equal(TargetSet(PrcbAt(0)), 0);
    assert_int_equal(Runs, 0);
    End(OldIrql);
}

static void targets_are_those_of_the_senders_group(void **State)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 5, .GroupSize = 2, .Flags = TestFlags};
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(State);
    WrongLine = 0;
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
        Check(PrcbAt(0)->CurrentPacket[1] == (PVOID)1);
        sched_yield();
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
    PKPRCB Sender = PacketContext;

    UNREFERENCED_PARAMETER(Function);
    Check(KeGetCurrentProcessorNumberEx(NULL) == 0);
    Check(KeGetCurrentIrql() == IPI_LEVEL);
    Check(Sender->CurrentPacket[1] == Context);
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
    Check(Load(&Pcr->Prcb->RequestSummary) == IPI_DPC);
    Check(KiIpiServiceRoutine(NULL, NULL) == TRUE);
    Check(Load(&Pcr->Prcb->RequestSummary) == 0);
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
        __atomic_fetch_or(&PrcbAt(Index)->RequestSummary, IPI_DPC, __ATOMIC_SEQ_CST);
    }
    HalRequestIpi(2 | ~(KAFFINITY)7);
    while (Load(&PrcbAt(1)->RequestSummary) != 0) {
        sched_yield();
    }
    assert_int_equal(Load(&PrcbAt(2)->RequestSummary), IPI_DPC);
    HalRequestIpi(4);
    while (Load(&PrcbAt(2)->RequestSummary) != 0) {
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
    StartMachine(2, TestFlags);
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
        cmocka_unit_test(a_packet_is_seen_in_the_prcb_members),
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
    int Failed = cmocka_run_group_tests_name("membarrier", Tests, NULL, NULL);

    TestFlags = KPRCB_NO_MEMBARRIER;
    return Failed + cmocka_run_group_tests_name("no membarrier", Tests, NULL, NULL);
}
