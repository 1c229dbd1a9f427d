/*
 * test_irql.c - include/kprcb/irql.h: levels and who owns the processor, on checked and free builds, residents
 * ordered by membarrier and by exchange. Misuse: test_irqlmisuse.c.
 */
#include "irqltest.h"

static const KIRQL Ladder[] = {APC_LEVEL, DISPATCH_LEVEL, CMCI_LEVEL, SYNCH_LEVEL, IPI_LEVEL, HIGH_LEVEL};

/* --- Levels --- */

static void levels_have_the_numbers_of_the_machine(void **State)
{
    (void)State;
    assert_int_equal(PASSIVE_LEVEL, 0);
    assert_int_equal(LOW_LEVEL, 0);
    assert_int_equal(APC_LEVEL, 1);
    assert_int_equal(DISPATCH_LEVEL, 2);
#ifdef __i386__
    assert_int_equal(SYNCH_LEVEL, 28);
    assert_int_equal(IPI_LEVEL, 29);
    assert_int_equal(HIGH_LEVEL, 31);
#else
    assert_int_equal(SYNCH_LEVEL, 12);
    assert_int_equal(IPI_LEVEL, 14);
    assert_int_equal(HIGH_LEVEL, 15);
#endif
}

static void raise_and_lower_set_every_level(void **State)
{
    (void)State;
    ExpectLevel(PASSIVE_LEVEL);
    for (KIRQL From = PASSIVE_LEVEL; From <= HIGH_LEVEL; From += 1) {
        KIRQL Outer = UNWRITTEN;

        KeRaiseIrql(From, &Outer);
        assert_int_equal(Outer, PASSIVE_LEVEL);
        for (KIRQL To = From; To <= HIGH_LEVEL; To += 1) {
            KIRQL Inner = UNWRITTEN;

            KeRaiseIrql(To, &Inner);
            assert_int_equal(Inner, From);
            ExpectLevel(To);
            KeLowerIrql(Inner);
            ExpectLevel(From);
        }
        KeLowerIrql(Outer);
        ExpectLevel(PASSIVE_LEVEL);
    }
}

static void nested_raises_return_the_level_below(void **State)
{
    enum { Steps = sizeof(Ladder) / sizeof(Ladder[0]) };
    KIRQL Old[Steps];

    (void)State;
    for (ULONG Round = 0; Round < 40; Round += 1) {
        for (ULONG Step = 0; Step < Steps; Step += 1) {
            KeRaiseIrql(Ladder[Step], &Old[Step]);
            assert_int_equal(Old[Step], Step == 0 ? PASSIVE_LEVEL : Ladder[Step - 1]);
            ExpectLevel(Ladder[Step]);
        }
        for (ULONG Step = Steps; Step != 0; Step -= 1) {
            KeLowerIrql(Old[Step - 1]);
            ExpectLevel(Old[Step - 1]);
        }
    }
}

static void raise_is_one_expression_for_constants_and_variables(void **State)
{
    KIRQL volatile Level = DISPATCH_LEVEL;
    KIRQL Old = UNWRITTEN;

    (void)State;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    assert_int_equal(Old, PASSIVE_LEVEL);
    ExpectLevel(DISPATCH_LEVEL);
    KeLowerIrql(Old);
    Old = UNWRITTEN;
    KeRaiseIrql(Level, &Old);
    assert_int_equal(Old, PASSIVE_LEVEL);
    ExpectLevel(DISPATCH_LEVEL);
    KeLowerIrql(Old);
    Old = UNWRITTEN;
    KeRaiseIrql(PASSIVE_LEVEL, &Old);
    assert_int_equal(Old, PASSIVE_LEVEL);
    ExpectLevel(PASSIVE_LEVEL);
}

static void pitfall_22_raise_to_dpc_level_at_dispatch_level_is_legal(void **State)
{
    KIRQL Old;

    (void)State;
    assert_int_equal(KeRaiseIrqlToDpcLevel(), PASSIVE_LEVEL);
    assert_int_equal(KeRaiseIrqlToDpcLevel(), DISPATCH_LEVEL);
    ExpectLevel(DISPATCH_LEVEL);
    KeLowerIrql(DISPATCH_LEVEL);
    ExpectLevel(DISPATCH_LEVEL);
    KeLowerIrql(PASSIVE_LEVEL);
    KeRaiseIrql(APC_LEVEL, &Old);
    assert_int_equal(KeRaiseIrqlToDpcLevel(), APC_LEVEL);
    ExpectLevel(DISPATCH_LEVEL);
    KeLowerIrql(APC_LEVEL);
    ExpectLevel(APC_LEVEL);
    KeLowerIrql(Old);
}

static void raise_to_synch_level_from_every_level_below(void **State)
{
    (void)State;
    for (KIRQL From = PASSIVE_LEVEL; From <= SYNCH_LEVEL; From += 1) {
        KIRQL Old;

        KeRaiseIrql(From, &Old);
        assert_int_equal(KeRaiseIrqlToSynchLevel(), From);
        ExpectLevel(SYNCH_LEVEL);
        KeLowerIrql(From);
        ExpectLevel(From);
        KeLowerIrql(Old);
    }
}

/* --- What waits for a lower --- */

static void lowering_below_dispatch_level_runs_pending_dpcs_first(void **State)
{
    static const KIRQL Ends[] = {PASSIVE_LEVEL, APC_LEVEL};
    static const KIRQL Tops[] = {DISPATCH_LEVEL, SYNCH_LEVEL, HIGH_LEVEL};

    (void)State;
    for (ULONG Case = 0; Case < 6; Case += 1) {
        KIRQL Base, Old, Inner;
        RUN Run = {0, 0, 99, FALSE};
        KDPC Dpc;

        KeInitializeDpc(&Dpc, RecordDpc, &Run);
        KeRaiseIrql(Ends[Case % 2], &Base);
        KeRaiseIrql(DISPATCH_LEVEL, &Old);
        KeRaiseIrql(Tops[Case / 2], &Inner);
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        assert_int_equal(Run.Runs, 0);
        KeLowerIrql(Inner);
        assert_int_equal(Run.Runs, 0);
        KeLowerIrql(Old);
        assert_int_equal(Run.Runs, 1);
        assert_int_equal(Run.Level, DISPATCH_LEVEL);
        assert_int_equal(Run.Processor, 0);
        assert_true(Run.Owned);
        ExpectLevel(Ends[Case % 2]);
        KeLowerIrql(Base);
    }
}

static VOID CountPing(PKIPI_CONTEXT PacketContext, PVOID Parameter1, PVOID Parameter2, PVOID Parameter3)
{
    (void)Parameter2, (void)Parameter3;
    CountOne((ULONG volatile *)Parameter1);
    KiIpiSignalPacketDone(PacketContext);
}

static ULONG volatile Pings;

static void *PingProcessorZero(void *Context)
{
    KIRQL Old;

    (void)Context;
    if (KprcbAttachThread(1) != STATUS_SUCCESS) {
        abort();
    }
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    KiIpiSendPacket(1, CountPing, (PKIPI_BROADCAST_WORKER)(ULONG_PTR)&Pings, 0, NULL);
    KiIpiStallOnPacketTargets(1);
    KeLowerIrql(Old);
    return NULL;
}

static void lowering_serves_pending_ipis_first(void **State)
{
    static const KIRQL Tops[] = {IPI_LEVEL, HIGH_LEVEL};

    (void)State;
    for (ULONG Case = 0; Case < 4; Case += 1) {
        KIRQL Old, Inner;
        pthread_t Sender;

        Pings = 0;
        KeRaiseIrql(Case < 2 ? PASSIVE_LEVEL : SYNCH_LEVEL, &Old);
        KeRaiseIrql(Tops[Case % 2], &Inner);
        Sender = StartThread(PingProcessorZero, NULL);
        while ((__atomic_load_n(&KeGetPcr()->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_IPI) == 0) {
            YieldProcessor();
            sched_yield();
        }
        assert_int_equal(__atomic_load_n(&Pings, __ATOMIC_ACQUIRE), 0);
        KeLowerIrql(Inner);
        assert_int_equal(__atomic_load_n(&Pings, __ATOMIC_ACQUIRE), 1);
        KeLowerIrql(Old);
        JoinThread(Sender);
    }
}

/* --- Waiting for the processor; these run on a machine of one processor --- */

typedef struct {
    KIRQL Base;         /* the other thread's level before it raises */
    BOOLEAN ByLowering; /* free build: it lowers upward */
    KIRQL Old;          /* shared */
    ULONG volatile Owns, Go, Done;
} RIVAL;

static void *OwnProcessorToo(void *Context)
{
    RIVAL *Rival = Context;
    KIRQL Base;

    KeRaiseIrql(Rival->Base, &Base);
    if (Rival->ByLowering) {
        KeLowerIrql(DISPATCH_LEVEL);
        Rival->Old = Rival->Base;
    } else {
        KeRaiseIrql(DISPATCH_LEVEL, &Rival->Old);
    }
    CountOne(&Rival->Owns);
    while (__atomic_load_n(&Rival->Go, __ATOMIC_ACQUIRE) == 0) {
        sched_yield();
    }
    CountOne(&Rival->Done);
    KeLowerIrql(Rival->Old);
    KeLowerIrql(Base);
    return NULL;
}

/* Waits until somebody who does not own the processor wants it. */
static void AwaitRival(PKPCR Pcr, PKTHREAD Owner)
{
    PKTHREAD Holder;

    do {
        Holder = __atomic_load_n(&Pcr->Owner, __ATOMIC_ACQUIRE);
        sched_yield();
    } while ((Holder == NULL || Holder == Owner) && __atomic_load_n(&Pcr->TokenWaiters, __ATOMIC_ACQUIRE) == 0);
    for (ULONG Pause = 0; Pause < 100; Pause += 1) {
        sched_yield();
    }
}

static void ContendForProcessor(BOOLEAN ByLowering)
{
    for (ULONG Round = 0; Round < 60; Round += 1) {
        RIVAL Rival = {.Base = Round % 2 ? APC_LEVEL : PASSIVE_LEVEL, .ByLowering = ByLowering, .Old = UNWRITTEN};
        KIRQL Base;
        pthread_t Thread;

        KeRaiseIrql(Round % 2 ? PASSIVE_LEVEL : APC_LEVEL, &Base);
        KeRaiseIrql(DISPATCH_LEVEL, &Rival.Old);
        Thread = StartThread(OwnProcessorToo, &Rival);
        AwaitRival(KeGetPcr(), KeGetCurrentThread());
        assert_int_equal(__atomic_load_n(&Rival.Owns, __ATOMIC_ACQUIRE), 0);
        assert_int_equal(Rival.Old, Round % 2 ? PASSIVE_LEVEL : APC_LEVEL);
        KeLowerIrql(Rival.Old);
        assert_int_equal(KeGetCurrentIrql(), Round % 2 ? PASSIVE_LEVEL : APC_LEVEL);
        AwaitCount(&Rival.Owns, 1);
        /* Now the other one owns, and this thread waits until it lets go. */
        CountOne(&Rival.Go);
        KeRaiseIrql(DISPATCH_LEVEL, &Rival.Old);
        assert_int_equal(__atomic_load_n(&Rival.Done, __ATOMIC_ACQUIRE), 1);
        assert_int_equal(Rival.Old, Round % 2 ? PASSIVE_LEVEL : APC_LEVEL);
        KeLowerIrql(Rival.Old);
        KeLowerIrql(Base);
        JoinThread(Thread);
    }
}

static void pitfall_22_old_irql_is_written_after_the_processor_is_owned(void **State)
{
    (void)State;
    ContendForProcessor(FALSE);
}

static void *StayAtApcLevel(void *Context)
{
    ULONG volatile *Gate = Context;
    KIRQL Old;

    KeRaiseIrql(APC_LEVEL, &Old);
    MeetAtGate(&Gate[0], 2);
    MeetAtGate(&Gate[1], 2);
    KeLowerIrql(Old);
    return NULL;
}

static void below_dispatch_level_the_level_belongs_to_the_thread(void **State)
{
    ULONG volatile Gate[2] = {0, 0};
    pthread_t Thread;

    (void)State;
    Thread = StartThread(StayAtApcLevel, (void *)Gate);
    MeetAtGate(&Gate[0], 2);
    ExpectLevel(PASSIVE_LEVEL);
    assert_int_equal(KeRaiseIrqlToDpcLevel(), PASSIVE_LEVEL);
    ExpectLevel(DISPATCH_LEVEL);
    KeLowerIrql(PASSIVE_LEVEL);
    MeetAtGate(&Gate[1], 2);
    JoinThread(Thread);
}

static void free_build_lowering_upward_waits_for_the_processor(void **State)
{
    (void)State;
    ContendForProcessor(TRUE);
}

static int RunTwoProcessors(ULONG Flags)
{
    static const struct CMUnitTest Tests[] = {
        cmocka_unit_test(levels_have_the_numbers_of_the_machine),
        cmocka_unit_test(raise_and_lower_set_every_level),
        cmocka_unit_test(nested_raises_return_the_level_below),
        cmocka_unit_test(raise_is_one_expression_for_constants_and_variables),
        cmocka_unit_test(pitfall_22_raise_to_dpc_level_at_dispatch_level_is_legal),
        cmocka_unit_test(raise_to_synch_level_from_every_level_below),
        cmocka_unit_test(lowering_below_dispatch_level_runs_pending_dpcs_first),
        cmocka_unit_test(lowering_serves_pending_ipis_first),
    };

    MachineProcessors = 2;
    MachineFlags = Flags;
    return cmocka_run_group_tests_name("two processors", Tests, SetUp, TearDown);
}

static int RunOneProcessor(ULONG Flags)
{
    static const struct CMUnitTest Checked[] = {
        cmocka_unit_test(pitfall_22_old_irql_is_written_after_the_processor_is_owned),
        cmocka_unit_test(below_dispatch_level_the_level_belongs_to_the_thread),
    };
    static const struct CMUnitTest Free[] = {
        cmocka_unit_test(free_build_lowering_upward_waits_for_the_processor),
    };

    MachineProcessors = 1;
    MachineFlags = Flags;
    return (Flags & KPRCB_FREE_BUILD) != 0
               ? cmocka_run_group_tests_name("free build, one processor", Free, SetUp, TearDown)
               : cmocka_run_group_tests_name("checked build, one processor", Checked, SetUp, TearDown);
}

int main(void)
{
    static const ULONG Flags[] = {0, KPRCB_NO_MEMBARRIER, KPRCB_FREE_BUILD, KPRCB_FREE_BUILD | KPRCB_NO_MEMBARRIER};
    int Failed = 0;

    for (ULONG Index = 0; Index < 4; Index += 1) {
        Failed += RunTwoProcessors(Flags[Index]);
        Failed += RunOneProcessor(Flags[Index]);
    }
    return Failed;
}
