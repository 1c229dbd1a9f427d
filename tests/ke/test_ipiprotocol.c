/*
 * test_ipiprotocol.c - how requests and packets travel in each version of NT, seen in the members of the KPRCB, and who
 * waits for whom.
 */
#include "ipitest.h"

#include "ki.h"

static int AsFlags(void **State)
{
    UNREFERENCED_PARAMETER(State);
    TestVersion = "3.51";
    return 0;
}

static int AsBits(void **State)
{
    UNREFERENCED_PARAMETER(State);
    TestVersion = "4.0-late";
    return 0;
}

static int AsMailbox(void **State)
{
    UNREFERENCED_PARAMETER(State);
    TestVersion = "10.0";
    return 0;
}

static VOID SendCounting(KAFFINITY Targets, ULONG_PTR Context)
{
    KiIpiSendPacket(Targets, CountingWorker, Broadcast, Context, (PULONG)&Runs);
}

static BOOLEAN IsAsked(ULONG Processor)
{
    return (Load(&ProcessorAt(Processor)->Request) & KPCR_REQUEST_IPI) != 0;
}

/* --- The members --- */

static void flags_a_packet_is_the_machines_and_its_target_notes_the_number(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(3);
    PKPRCB There = PrcbAt(1);
    TARGET Target = {0};
    ULONG Last;

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    StartTarget(&Target, 1);
    SendCounting(1 | 2 | ~(KAFFINITY)7, 42);
    assert_true(IsAsked(1));
    assert_false(IsAsked(2));
    assert_int_equal(Requests(There), 0);
    assert_int_equal(There->IpiLastPacket, 0);
    assert_int_equal(There->RequestSummary, 0);
    assert_null(There->SignalDone);
    assert_null(ProcessorAt(1)->Mailbox);
    assert_int_equal(TargetSet(PrcbAt(0)), 0);
    LetPoll(&Target);
    KiIpiStallOnPacketTargets(2);
    assert_int_equal(Runs, 1);
    assert_int_equal(RunMask, 2);
    assert_int_equal(LastContext, 42);
    Last = There->IpiLastPacket;
    assert_int_not_equal(Last, 0);
    SendCounting(2, 43);
    KiIpiStallOnPacketTargets(2);
    assert_int_equal(There->IpiLastPacket, Last + 1);
    assert_int_equal(PrcbAt(2)->IpiLastPacket, 0);
    EndTarget(&Target);
    End(OldIrql);
}

static void bits_a_packet_is_in_the_sender_and_names_it_at_the_target(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(3);
    PKPRCB Here = PrcbAt(0);
    PKPRCB There = PrcbAt(1);
    TARGET Target = {0};

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    StartTarget(&Target, 1);
    /* Its own processor is left out, those that are not active are ignored. */
    SendCounting(1 | 2 | ~(KAFFINITY)7, 42);
    assert_int_equal(Runs, 0);
    assert_int_equal(TargetSet(Here), 2);
    assert_ptr_equal(Here->CurrentPacket[0], Broadcast);
    assert_ptr_equal(Here->CurrentPacket[1], (PVOID)42);
    assert_ptr_equal(Here->CurrentPacket[2], (PVOID)&Runs);
    assert_ptr_equal(Here->WorkerRoutine, CountingWorker);
    assert_ptr_equal(There->SignalDone, Here);
    assert_int_equal(Load(&There->RequestSummary), IPI_PACKET_READY);
    assert_true(IsAsked(1));
    assert_null(PrcbAt(2)->SignalDone);
    assert_null(ProcessorAt(1)->Mailbox);
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

static void mailbox_a_packet_is_in_the_senders_mailbox_and_counted(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(4);
    PKPRCB Here = PrcbAt(0);
    PKPRCB There = PrcbAt(1);
    REQUEST_MAILBOX *Mailbox = &There->RequestMailbox[0];
    TARGET Targets[2] = {{0}};

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    StartTarget(&Targets[0], 1);
    StartTarget(&Targets[1], 2);
    SendCounting(1 | 2 | 4 | ~(KAFFINITY)15, 42);
    assert_int_equal(__atomic_load_n(&Here->TargetCount, __ATOMIC_ACQUIRE), 2);
    assert_int_equal(TargetSet(Here), 6);
    assert_ptr_equal(ProcessorAt(1)->Mailbox, Mailbox);
    assert_null(Mailbox->Next);
    assert_int_equal(Mailbox->RequestSummary, IPI_PACKET_READY);
    assert_ptr_equal(Mailbox->RequestPacket.CurrentPacket[0], Broadcast);
    assert_ptr_equal(Mailbox->RequestPacket.CurrentPacket[1], (PVOID)42);
    assert_ptr_equal(Mailbox->RequestPacket.CurrentPacket[2], (PVOID)&Runs);
    assert_ptr_equal(Mailbox->RequestPacket.WorkerRoutine, CountingWorker);
    assert_ptr_equal(ProcessorAt(2)->Mailbox, &PrcbAt(2)->RequestMailbox[0]);
    assert_null(ProcessorAt(3)->Mailbox);
    assert_null(There->SignalDone);
    assert_int_equal(Load(&There->RequestSummary), 0);
    LetPoll(&Targets[1]);
    while (__atomic_load_n(&Here->TargetCount, __ATOMIC_ACQUIRE) == 2) {
        sched_yield();
    }
    assert_int_equal(Runs, 1);
    LetPoll(&Targets[0]);
    KiIpiStallOnPacketTargets(6);
    assert_int_equal(Here->TargetCount, 0);
    assert_null(ProcessorAt(1)->Mailbox);
    assert_int_equal(Runs, 2);
    assert_int_equal(RunMask, 6);
    EndTarget(&Targets[0]);
    EndTarget(&Targets[1]);
    End(OldIrql);
}

/* --- Who waits for whom --- */

typedef struct _OTHER {
    ULONG Processor;
    KAFFINITY Targets;
    ULONG volatile Sending, Sent;
    pthread_t Thread;
} OTHER;

static void *OtherSender(void *Context)
{
    OTHER *Other = Context;
    KIRQL OldIrql;

    Check(KprcbAttachThread(Other->Processor) == STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    CountOne(&Other->Sending);
    SendCounting(Other->Targets, Other->Processor);
    CountOne(&Other->Sent);
    KiIpiStallOnPacketTargets(Other->Targets);
    KeLowerIrql(OldIrql);
    return NULL;
}

static void StartOther(OTHER *Other)
{
    Other->Thread = StartThread(OtherSender, Other);
    AwaitCount(&Other->Sending, 1);
}

static void GiveTime(OTHER *Other)
{
    for (ULONG Turn = 0; Turn < 2000; Turn += 1) {
        assert_int_equal(Load(&Other->Sent), 0);
        sched_yield();
    }
}

/* The first packet's target is silent; the second has another target, which nobody owns. */
static void flags_one_packet_at_a_time_on_the_whole_machine(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(4);
    TARGET Target = {0};
    OTHER Other = {.Processor = 2, .Targets = 8};

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    StartTarget(&Target, 1);
    SendCounting(2, 1);
    StartOther(&Other);
    GiveTime(&Other);
    assert_int_equal(Load(&Runs), 0);
    LetPoll(&Target);
    AwaitCount(&Other.Sent, 1);
    assert_true((Load(&RunMask) & 2) != 0);
    KiIpiStallOnPacketTargets(2);
    JoinThread(Other.Thread);
    assert_int_equal(Runs, 2);
    assert_int_equal(RunMask, 2 | 8);
    EndTarget(&Target);
    End(OldIrql);
}

static void bits_a_second_sender_waits_only_for_a_target_that_it_shares(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(4);
    TARGET Target = {0};
    OTHER Elsewhere = {.Processor = 2, .Targets = 8};
    OTHER Same = {.Processor = 2, .Targets = 2};

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    StartTarget(&Target, 1);
    SendCounting(2, 1);
    StartOther(&Elsewhere);
    JoinThread(Elsewhere.Thread);
    assert_int_equal(RunMask, 8);
    StartOther(&Same);
    GiveTime(&Same);
    LetPoll(&Target);
    KiIpiStallOnPacketTargets(2);
    JoinThread(Same.Thread);
    assert_int_equal(Runs, 3);
    EndTarget(&Target);
    End(OldIrql);
}

static ULONG volatile Order[4];

static VOID OrderWorker(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Number, PVOID Unused)
{
    UNREFERENCED_PARAMETER(Function);
    UNREFERENCED_PARAMETER(Unused);
    Order[Runs] = (ULONG)(ULONG_PTR)Number;
    CountOne(&Runs);
    KiIpiSignalPacketDone(PacketContext);
}

static void *OrderedSender(void *Context)
{
    OTHER *Other = Context;
    KIRQL OldIrql;

    Check(KprcbAttachThread(Other->Processor) == STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    KiIpiSendPacket(Other->Targets, OrderWorker, NULL, Other->Processor, NULL);
    CountOne(&Other->Sent);
    KiIpiStallOnPacketTargets(Other->Targets);
    KeLowerIrql(OldIrql);
    return NULL;
}

static void mailbox_senders_to_one_target_do_not_wait_and_are_served_in_turn(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(5);
    PKPRCB There = PrcbAt(1);
    TARGET Target = {0};
    OTHER Others[3] = {{.Processor = 3}, {.Processor = 2}, {.Processor = 4}};

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    StartTarget(&Target, 1);
    KiIpiSendPacket(2, OrderWorker, NULL, 0, NULL);
    for (ULONG Index = 0; Index < ARRAYSIZE(Others); Index += 1) {
        Others[Index].Targets = 2;
        Others[Index].Thread = StartThread(OrderedSender, &Others[Index]);
        AwaitCount(&Others[Index].Sent, 1);
        assert_ptr_equal(ProcessorAt(1)->Mailbox, &There->RequestMailbox[Others[Index].Processor]);
    }
    assert_ptr_equal(ProcessorAt(1)->Mailbox->Next, &There->RequestMailbox[2]);
    assert_int_equal(Load(&Runs), 0);
    LetPoll(&Target);
    KiIpiStallOnPacketTargets(2);
    for (ULONG Index = 0; Index < ARRAYSIZE(Others); Index += 1) {
        JoinThread(Others[Index].Thread);
    }
    assert_int_equal(Runs, 4);
    assert_int_equal(Order[0], 0);
    assert_int_equal(Order[1], 3);
    assert_int_equal(Order[2], 2);
    assert_int_equal(Order[3], 4);
    EndTarget(&Target);
    End(OldIrql);
}

/* --- A request that comes while a packet's worker runs --- */

static ULONG volatile WorkerTurn;
static UCHAR Nesting;

static VOID InterruptedWorker(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Context, PVOID Unused)
{
    PKPRCB Prcb = KeGetCurrentPrcb();

    UNREFERENCED_PARAMETER(Function);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Unused);
    CountOne(&Runs);
    if (Load(&WorkerTurn) != 0) {
        KiIpiSignalPacketDone(PacketContext);
        return;
    }
    CountOne(&WorkerTurn);
    while (Requests(Prcb) != IPI_DPC) {
        sched_yield();
    }
    Nesting = Prcb->NestingLevel;
    Check(Prcb->IpiFrame == NULL);
    Check(KiIpiServiceRoutine((PKTRAP_FRAME)&WorkerTurn, NULL) == TRUE);
    Check(Prcb->IpiFrame == NULL);
    Check(Requests(Prcb) == 0);
    Check(Prcb->NestingLevel == Nesting);
    KiIpiSignalPacketDone(PacketContext);
}

/* As to 3.51: the packet is still there, and its target has not said that it is done. */
static void a_packet_is_not_served_twice(void **State)
{
    static const char *const Versions[] = {"3.51", "4.0-late", "10.0"};

    UNREFERENCED_PARAMETER(State);
    for (ULONG Index = 0; Index < ARRAYSIZE(Versions); Index += 1) {
        KIRQL OldIrql;

        TestVersion = Versions[Index];
        OldIrql = OwnProcessorZero(2);
        ResetRuns();
        WorkerTurn = 0;
        KiIpiSendPacket(2, InterruptedWorker, NULL, 0, NULL);
        AwaitCount(&WorkerTurn, 1);
        KiIpiSend(2, IPI_DPC);
        KiIpiStallOnPacketTargets(2);
        assert_int_equal(Runs, 1);
        assert_int_equal(Nesting, 1);
        End(OldIrql);
    }
}

/* --- NestingLevel, IpiFrame and the counts --- */

static UCHAR InnerNesting;
static PVOID InnerFrame;

static VOID InnerWorker(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Context, PVOID Unused)
{
    UNREFERENCED_PARAMETER(Function);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Unused);
    InnerNesting = KeGetCurrentPrcb()->NestingLevel;
    InnerFrame = KeGetCurrentPrcb()->IpiFrame;
    CountOne(&Runs);
    KiIpiSignalPacketDone(PacketContext);
}

static VOID OuterWorker(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Context, PVOID Unused)
{
    UNREFERENCED_PARAMETER(Function);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Unused);
    CountOne(&WorkerTurn);
    while (!IsAsked(1)) {
        sched_yield();
    }
    Check(KiIpiServiceRoutine((PKTRAP_FRAME)&WorkerTurn, NULL) == TRUE);
    KiIpiSignalPacketDone(PacketContext);
}

static void *SendInner(void *Context)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Context);
    Check(KprcbAttachThread(2) == STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    KiIpiSendPacket(2, InnerWorker, NULL, 0, NULL);
    KiIpiStallOnPacketTargets(2);
    KeLowerIrql(OldIrql);
    return NULL;
}

static void a_packet_inside_another_counts_two(void **State)
{
    KIRQL OldIrql = OwnProcessorZero(3);
    pthread_t Thread;

    UNREFERENCED_PARAMETER(State);
    ResetRuns();
    WorkerTurn = 0;
    InnerFrame = NULL;
    KiIpiSendPacket(2, OuterWorker, NULL, 0, NULL);
    AwaitCount(&WorkerTurn, 1);
    Thread = StartThread(SendInner, NULL);
    KiIpiStallOnPacketTargets(2);
    JoinThread(Thread);
    assert_int_equal(Runs, 1);
    assert_int_equal(InnerNesting, 2);
    assert_ptr_equal(InnerFrame, &WorkerTurn);
    while (__atomic_load_n(&ProcessorAt(1)->Owner, __ATOMIC_ACQUIRE) != NULL) {
        sched_yield();
    }
    assert_int_equal(PrcbAt(1)->NestingLevel, 0);
    assert_null(PrcbAt(1)->IpiFrame);
    End(OldIrql);
}

static ULONG_PTR Nothing(ULONG_PTR Context)
{
    return Context;
}

static VOID DpcNothing(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
}

static void sends_are_counted_by_kind_at_the_sender(void **State)
{
    static const char *const Versions[] = {"3.51", "4.0-late", "10.0"};

    UNREFERENCED_PARAMETER(State);
    for (ULONG Index = 0; Index < ARRAYSIZE(Versions); Index += 1) {
        TARGET Target = {0};
        PKPRCB Prcb;
        KIRQL OldIrql;
        KDPC Dpc;

        TestVersion = Versions[Index];
        OldIrql = OwnProcessorZero(4);
        Prcb = PrcbAt(0);
        ResetRuns();
        SendCounting(2 | 4, 1);
        KiIpiStallOnPacketTargets(2 | 4);
        assert_int_equal(Prcb->IpiSendRequestRoutineCount, 1);
        (void)KeIpiGenericCall(Nothing, 0);
        (void)KeIpiGenericCall(Nothing, 0);
        assert_int_equal(Prcb->IpiSendRequestBroadcastCount, 2);
        assert_int_equal(Prcb->IpiSendRequestRoutineCount, 1);
        assert_int_equal(Prcb->IpiSendSoftwareInterruptCount, 0);
        KiIpiSend(2 | 4 | 8, IPI_DPC);
        assert_int_equal(Prcb->IpiSendSoftwareInterruptCount, 3);
        /* One for a DPC that asks another processor, none for one that asks its own. */
        StartTarget(&Target, 1);
        KeInitializeDpc(&Dpc, DpcNothing, NULL);
        KeSetImportanceDpc(&Dpc, HighImportance);
        KeSetTargetProcessorDpc(&Dpc, 1);
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        EndTarget(&Target);
        assert_int_equal(Prcb->IpiSendSoftwareInterruptCount, 4);
        KeLowerIrql(OldIrql);
        KeFlushQueuedDpcs();
        KeSetTargetProcessorDpc(&Dpc, 0);
        OldIrql = KeRaiseIrqlToDpcLevel();
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        KeLowerIrql(OldIrql);
        OldIrql = KeRaiseIrqlToDpcLevel();
        assert_int_equal(Prcb->IpiSendRequestRoutineCount, 1);
        End(OldIrql);
    }
}

/* --- The host's interrupt --- */

static PVOID volatile SeenFrame;

static inline ULONG_PTR NoteFrame(ULONG_PTR Context)
{
    if (KeGetCurrentProcessorNumberEx(NULL) == 1) {
        __atomic_store_n(&SeenFrame, KeGetCurrentPrcb()->IpiFrame, __ATOMIC_RELEASE);
    }
    return Context;
}

static void in_the_hosts_interrupt_ipi_frame_is_what_it_interrupted(void **State)
{
#if TEST_SANITIZED
    UNREFERENCED_PARAMETER(State);
    skip(); /* ThreadSanitizer holds signals back */
#else
    TARGET Target = {0};
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(State);
    WrongLine = 0;
    SeenFrame = NULL;
    StartMachineAs("10.0", 2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    StartTarget(&Target, 1);
    (void)KeIpiGenericCall(NoteFrame, 0);
    assert_non_null(SeenFrame);
    assert_null(PrcbAt(1)->IpiFrame);
    EndTarget(&Target);
    End(OldIrql);
#endif
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup(flags_a_packet_is_the_machines_and_its_target_notes_the_number, AsFlags),
        cmocka_unit_test_setup(bits_a_packet_is_in_the_sender_and_names_it_at_the_target, AsBits),
        cmocka_unit_test_setup(mailbox_a_packet_is_in_the_senders_mailbox_and_counted, AsMailbox),
        cmocka_unit_test_setup(flags_one_packet_at_a_time_on_the_whole_machine, AsFlags),
        cmocka_unit_test_setup(bits_a_second_sender_waits_only_for_a_target_that_it_shares, AsBits),
        cmocka_unit_test_setup(mailbox_senders_to_one_target_do_not_wait_and_are_served_in_turn, AsMailbox),
        cmocka_unit_test(a_packet_is_not_served_twice),
        cmocka_unit_test_setup(a_packet_inside_another_counts_two, AsBits),
        cmocka_unit_test_setup(a_packet_inside_another_counts_two, AsMailbox),
        cmocka_unit_test(sends_are_counted_by_kind_at_the_sender),
        cmocka_unit_test(in_the_hosts_interrupt_ipi_frame_is_what_it_interrupted),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
