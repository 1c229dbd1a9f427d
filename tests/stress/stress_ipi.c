/*
 * stress_ipi.c - rendezvous calls, packets and freezes while DPCs, raises, lowers and locks go on around them, in each
 * version's protocol.
 *
 * Each caller's worker counts by processor, so a rendezvous that left one out, ran it twice, or ran one while another
 * was still at work is found by its number. Invariants: every rendezvous reaches every processor once and one
 * rendezvous runs at a time; every packet runs on each of its targets once, in the sender's order; every DPC that was
 * inserted runs once; the locks' counts are exact; while a processor holds the others nothing moves on them, and what
 * moved before is visible.
 */
#include "support/check.h"

#define MAXIMUM 16
#define DPCS 4
#define VERSIONS 3

typedef struct _ACTOR {
    ULONG Index;
    ULONG Operations;
    ULONG Calls;
    ULONG Packets;
    ULONG PacketTargets;
    ULONG Locked;
    ULONG Freezes;
    ULONG volatile Inserted;
    ULONG volatile DpcRuns;
    ULONG volatile Visits[MAXIMUM]; /* rendezvous of this actor, by processor */
    ULONG volatile PacketRuns;
    ULONG volatile Last[MAXIMUM]; /* the packet of this actor that ran last there */
    KDPC Dpcs[DPCS];
    pthread_t Thread;
} ACTOR;

static const char *StressVersion; /* of NT */
static ULONG Processors, ActorCount;
static ULONG volatile Gate;
static ACTOR Actors[MAXIMUM];
static ACTOR DpcActor; /* for the rendezvous of DPCs */
static ULONG volatile DpcCalls;

/* Only inside a rendezvous, which no other may overlap: the first processor enters, the last leaves. */
static ULONG volatile Entered;
static ACTOR *volatile Calling;

static KSPIN_LOCK SpinLock, QueuedLock;
static ULONG SpinCount, QueuedCount; /* their locks */

/* What the owners of each processor have done: no atomics, a freeze alone orders them with who reads. */
static struct {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG Count;
} Moves[MAXIMUM];

static void Move(void)
{
    Moves[KeGetCurrentProcessorNumberEx(NULL)].Count += 1;
}

static ULONG CountMoves(void)
{
    ULONG Sum = 0;

    for (ULONG Index = 0; Index < Processors; Index += 1) {
        Sum += Moves[Index].Count;
    }
    return Sum;
}

static void FreezeAll(ACTOR *Actor, ULONG Random)
{
    BOOLEAN Enable = KeFreezeExecution(NULL, NULL);
    BOOLEAN Inner = (Random & 0x100) != 0 && KeFreezeExecution(NULL, NULL);
    ULONG Before = CountMoves();

    for (ULONG Turn = Random >> 24; Turn != 0; Turn -= 1) {
        YieldProcessor();
    }
    Check(!Inner);
    Check(CountMoves() == Before);
    if ((Random & 0x100) != 0) {
        KeThawExecution(Inner);
    }
    Move();
    KeThawExecution(Enable);
    Actor->Freezes += 1;
}

static ULONG_PTR Visit(ULONG_PTR Context)
{
    ACTOR *Actor = (ACTOR *)Context;
    ULONG Number = KeGetCurrentProcessorNumberEx(NULL);
    ACTOR *Nobody = NULL;

    Check(KeGetCurrentIrql() == IPI_LEVEL);
    if (!__atomic_compare_exchange_n(&Calling, &Nobody, Actor, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        Check(Nobody == Actor);
    }
    Move();
    CountOne(&Actor->Visits[Number]);
    if (__atomic_add_fetch(&Entered, 1, __ATOMIC_ACQ_REL) % Processors == 0) {
        __atomic_store_n(&Calling, NULL, __ATOMIC_RELEASE);
    }
    return (ULONG_PTR)KeGetCurrentThread();
}

static void CallAll(ACTOR *Actor)
{
    Actor->Calls += 1;
    Check(KeIpiGenericCall(Visit, (ULONG_PTR)Actor) == (ULONG_PTR)KeGetCurrentThread());
    for (ULONG Index = 0; Index < Processors; Index += 1) {
        Check(__atomic_load_n(&Actor->Visits[Index], __ATOMIC_ACQUIRE) == Actor->Calls);
    }
}

static VOID PacketWorker(PKIPI_CONTEXT PacketContext, PVOID Context, PVOID Number, PVOID Unused)
{
    ACTOR *Actor = Context;
    ULONG Here = KeGetCurrentProcessorNumberEx(NULL);

    UNREFERENCED_PARAMETER(Unused);
    Check(KeGetCurrentIrql() == IPI_LEVEL);
    Check(__atomic_exchange_n(&Actor->Last[Here], (ULONG)(ULONG_PTR)Number, __ATOMIC_ACQ_REL) < (ULONG_PTR)Number);
    Move();
    CountOne(&Actor->PacketRuns);
    KiIpiSignalPacketDone(PacketContext);
}

static void SendPacket(ACTOR *Actor, ULONG Random)
{
    KAFFINITY Others = (((KAFFINITY)1 << Processors) - 1) & ~((KAFFINITY)1 << Actor->Index);
    KAFFINITY Targets = (Random >> 8) & Others;

    Actor->Packets += 1;
    Actor->PacketTargets += (ULONG)__builtin_popcountll(Targets);
    KiIpiSendPacket(Targets, PacketWorker, (PKIPI_BROADCAST_WORKER)(ULONG_PTR)Actor, Actor->Packets, NULL);
    if ((Random & 0x80) != 0) {
        KiIpiStallOnPacketTargets(Targets);
        Check(__atomic_load_n(&Actor->PacketRuns, __ATOMIC_ACQUIRE) == Actor->PacketTargets);
    }
}

static VOID CountDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    ACTOR *Actor = Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument2);
    Check(KeGetCurrentIrql() == DISPATCH_LEVEL);
    Move();
    CountOne(&Actor->DpcRuns);
    if (Argument1 != NULL) {
        CountOne(&DpcCalls);
        (void)KeIpiGenericCall(Visit, (ULONG_PTR)&DpcActor);
    }
}

static void InsertDpc(ACTOR *Actor, ULONG Random)
{
    KDPC *Dpc = &Actor->Dpcs[Random >> 4 & (DPCS - 1)];

    /* Some of them make a rendezvous themselves. */
    if (KeInsertQueueDpc(Dpc, (Random >> 20 & 0xF) == 0 ? Actor : NULL, NULL)) {
        CountOne(&Actor->Inserted);
    }
}

static void TakeLocks(ACTOR *Actor)
{
    KLOCK_QUEUE_HANDLE Handle;
    KIRQL OldIrql;

    KeAcquireSpinLock(&SpinLock, &OldIrql);
    SpinCount += 1;
    Move();
    KeAcquireInStackQueuedSpinLockAtDpcLevel(&QueuedLock, &Handle);
    QueuedCount += 1;
    KeReleaseInStackQueuedSpinLockFromDpcLevel(&Handle);
    KeReleaseSpinLock(&SpinLock, OldIrql);
    Actor->Locked += 1;
}

static void Act(ACTOR *Actor, ULONG Random)
{
    KIRQL OldIrql;

    switch (Random & 7) {
    case 0:
        CallAll(Actor);
        break;
    case 1:
        KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
        CallAll(Actor);
        KeLowerIrql(OldIrql);
        break;
    case 2:
    case 3:
        KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
        SendPacket(Actor, Random);
        KeLowerIrql(OldIrql);
        break;
    case 4:
        InsertDpc(Actor, Random);
        break;
    case 5:
        TakeLocks(Actor);
        break;
    case 6:
        KeRaiseIrql(SYNCH_LEVEL, &OldIrql);
        InsertDpc(Actor, Random);
        KeLowerIrql(OldIrql);
        break;
    default:
        if ((Random & 0x18) == 0) {
            FreezeAll(Actor, Random);
        }
        KiIpiSend((KAFFINITY)(Random >> 8), IPI_DPC);
        break;
    }
}

static void *ActorThread(void *Context)
{
    ACTOR *Actor = Context;
    ULONG Random = 0x9E3779B9u + Actor->Index;

    Check(KprcbAttachThread(Actor->Index) == STATUS_SUCCESS);
    MeetAtGate(&Gate, ActorCount);
    for (ULONG Operation = 0; Operation < Actor->Operations; Operation += 1) {
        Act(Actor, NextRandom(&Random));
    }
    return NULL;
}

static void StartActor(ACTOR *Actor, ULONG Index, ULONG Operations)
{
    *Actor = (ACTOR){.Index = Index, .Operations = Operations};
    for (ULONG Dpc = 0; Dpc < DPCS; Dpc += 1) {
        KeInitializeDpc(&Actor->Dpcs[Dpc], CountDpc, Actor);
        KeSetImportanceDpc(&Actor->Dpcs[Dpc], (KDPC_IMPORTANCE)(Dpc % 4));
        if (Dpc != 0) {
            KeSetTargetProcessorDpc(&Actor->Dpcs[Dpc], (CCHAR)((Index + Dpc) % Processors));
        }
    }
    Actor->Thread = StartThread(ActorThread, Actor);
}

static void Run(ULONG ProcessorCount, ULONG Count, ULONG Flags, ULONG Operations)
{
    ULONG Rendezvous = 0;
    ULONG Locked = 0;
    ULONG Freezes = 0;

    StartMachineAs(StressVersion, ProcessorCount, Flags);
    Processors = ProcessorCount;
    ActorCount = Count;
    Gate = Entered = DpcCalls = SpinCount = QueuedCount = 0;
    DpcActor = (ACTOR){0};
    for (ULONG Index = 0; Index < Count; Index += 1) {
        StartActor(&Actors[Index], Index, Operations / Count);
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        JoinThread(Actors[Index].Thread);
    }
    KeFlushQueuedDpcs();
    for (ULONG Index = 0; Index < Count; Index += 1) {
        ACTOR *Actor = &Actors[Index];

        AwaitCount(&Actor->PacketRuns, Actor->PacketTargets);
        assert_int_equal(Actor->PacketRuns, Actor->PacketTargets);
        assert_int_equal(Actor->DpcRuns, Actor->Inserted);
        for (ULONG Processor = 0; Processor < Processors; Processor += 1) {
            assert_int_equal(Actor->Visits[Processor], Actor->Calls);
        }
        Rendezvous += Actor->Calls;
        Locked += Actor->Locked;
        Freezes += Actor->Freezes;
    }
    for (ULONG Processor = 0; Processor < Processors; Processor += 1) {
        assert_int_equal(DpcActor.Visits[Processor], DpcCalls);
    }
    assert_int_equal(Entered, (Rendezvous + DpcCalls) * Processors);
    assert_int_equal(SpinCount, Locked);
    assert_int_equal(QueuedCount, Locked);
    assert_int_equal(WrongLine, 0);
    StopMachine();
    print_message("%u processors, %u threads: %u rendezvous, %u of them in DPCs, %u freezes\n", (unsigned)Processors,
                  (unsigned)Count, (unsigned)(Rendezvous + DpcCalls), (unsigned)DpcCalls, (unsigned)Freezes);
}

/*
 * A quarter of the operations are rendezvous, each of several worker runs: they count double. The tests' parts add up to
 * 150, for each version.
 */
static ULONG Share(ULONG Part)
{
    return StressOperations() / 2 / 150 / VERSIONS * Part;
}

static void every_processor_owned(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Run(4, 4, 0, Share(40));
}

static void some_processors_without_an_owner(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Run(6, 2, 0, Share(20));
}

static void two_processors(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Run(2, 2, 0, Share(40));
}

static void without_membarrier(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Run(4, 3, KPRCB_NO_MEMBARRIER, Share(20));
}

static void without_signals(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Run(4, 4, KPRCB_NO_SIGNALS, Share(20));
}

static void far_more_processors_than_cpus(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Run(MAXIMUM, MAXIMUM, 0, Share(10));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(every_processor_owned), cmocka_unit_test(some_processors_without_an_owner),
        cmocka_unit_test(two_processors),        cmocka_unit_test(without_membarrier),
        cmocka_unit_test(without_signals),       cmocka_unit_test(far_more_processors_than_cpus),
    };

    static const char *const Versions[VERSIONS] = {"3.51", "4.0-late", "2004"};
    int Failed = 0;

    for (ULONG Index = 0; Index < VERSIONS; Index += 1) {
        StressVersion = Versions[Index];
        Failed += cmocka_run_group_tests_name(StressVersion, Tests, NULL, NULL);
    }
    return Failed;
}
