/*
 * stress_addprocessor.c - processors are added while DPCs, IPIs, rendezvous and enumerations go on.
 *
 * Each round starts a small machine with room, and two adders fill it while actors work on whatever is there.
 * Invariants: every DPC that was inserted runs once, on its target; a rendezvous runs on each active processor exactly
 * once, all of them see the same count for as long as it lasts, and meanwhile nobody is in the middle of a section at
 * DISPATCH_LEVEL anywhere; counts and masks only grow and agree; whatever processor a count admits is complete; records of
 * relationships name each active processor once, and sets of the KPRCB none that is not active.
 *
 * Interrupts by signal are off, so that a section without a poll is whole to every rendezvous.
 */
#include "support/check.h"

#include "ki.h"

#define MAXIMUM 12
#define ACTORS 4
#define DPCS 4
#define PATIENCE (1u << 24) /* looks at what others must do, before the test fails instead of waiting for ever */

typedef struct _ACTOR {
    ULONG Random;
    ULONG Operations;
    ULONG Seen; /* the count at the last look */
    ULONG volatile Inserted;
    ULONG volatile Ran;
    KDPC Dpcs[DPCS];
    ULONG volatile Targets[DPCS]; /* of the last insert, plus 1; 0: it has run */
    pthread_t Thread;
} ACTOR;

static ULONG First, GroupSize;
static ACTOR Actors[ACTORS];
static ULONG volatile Gate, Progress, Calls, Waited;
static ULONG volatile Inside[MAXIMUM]; /* somebody is in a section there */

/* --- Rendezvous --- */

typedef struct _CALL {
    ULONG volatile Count; /* active processors, by the first that comes */
    ULONG volatile Checked;
    ULONG volatile Visits[MAXIMUM];
} CALL;

static ULONG_PTR Visit(ULONG_PTR Context)
{
    CALL *Call = (CALL *)Context;
    ULONG Count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    ULONG Unset = 0;
    ULONG Looks = 0;

    if (!__atomic_compare_exchange_n(&Call->Count, &Unset, Count, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        Check(Unset == Count);
    }
    CountOne(&Call->Visits[KeGetCurrentProcessorNumberEx(NULL)]);
    for (ULONG Index = 0; Index < MAXIMUM; Index += 1) {
        Check(__atomic_load_n(&Inside[Index], __ATOMIC_ACQUIRE) == 0);
    }
    /* Nobody leaves before all have looked. */
    CountOne(&Call->Checked);
    while (__atomic_load_n(&Call->Checked, __ATOMIC_ACQUIRE) < Count && Looks < PATIENCE) {
        Looks += 1;
        if (Looks % 64 == 0) {
            sched_yield();
        }
    }
    Check(Looks < PATIENCE);
    Check(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) == Count);
    return Count;
}

static void CallAll(void)
{
    ULONG Before = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    CALL Call = {0};
    ULONG Count = (ULONG)KeIpiGenericCall(Visit, (ULONG_PTR)&Call);

    Check(Count >= Before && Count <= KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS));
    for (ULONG Index = 0; Index < MAXIMUM; Index += 1) {
        Check(Call.Visits[Index] == (Index < Count ? 1 : 0));
    }
    CountOne(&Calls);
}

/* --- Sections, DPCs, counts --- */

static void WorkInSection(void)
{
    KIRQL OldIrql;
    ULONG Number;

    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    Number = KeGetCurrentPrcb()->Number;
    Check(__atomic_exchange_n(&Inside[Number], 1, __ATOMIC_ACQ_REL) == 0);
    for (ULONG Step = 0; Step < 20; Step += 1) {
        HalPause();
    }
    __atomic_store_n(&Inside[Number], 0, __ATOMIC_RELEASE);
    KeLowerIrql(OldIrql);
}

static VOID CountDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    ACTOR *Actor = Context;
    ULONG Target = __atomic_exchange_n((ULONG volatile *)Argument1, 0, __ATOMIC_ACQ_REL);

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument2);
    Check(Target == KeGetCurrentProcessorNumberEx(NULL) + 1);
    CountOne(&Actor->Ran);
}

static void InsertDpc(ACTOR *Actor, ULONG Random)
{
    ULONG Number = Random % DPCS;
    ULONG Target = (Random >> 4) % KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    PROCESSOR_NUMBER Processor;

    if (__atomic_load_n(&Actor->Targets[Number], __ATOMIC_ACQUIRE) != 0) {
        return; /* still queued; what is its target must not change */
    }
    Check(KeGetProcessorNumberFromIndex(Target, &Processor) == STATUS_SUCCESS);
    Check(KeSetTargetProcessorDpcEx(&Actor->Dpcs[Number], &Processor) == STATUS_SUCCESS);
    Actor->Targets[Number] = Target + 1;
    Check(KeInsertQueueDpc(&Actor->Dpcs[Number], (PVOID)&Actor->Targets[Number], NULL));
    CountOne(&Actor->Inserted);
}

static void Flush(ACTOR *Actor)
{
    KeFlushQueuedDpcs();
    Check(__atomic_load_n(&Actor->Ran, __ATOMIC_ACQUIRE) == Actor->Inserted);
}

static void CheckComplete(ULONG Index)
{
    PKPRCB Prcb = KiProcessor(Index)->Prcb;
    PROCESSOR_NUMBER Number;

    Check(Prcb == &KiProcessor(Index)->PrcbData && Prcb->Number == Index && Prcb->IdleThread != NULL);
    Check(Prcb->Group == Index / GroupSize && Prcb->GroupSetMember == (KAFFINITY)1 << Index % GroupSize);
    Check(Prcb->LockQueue[LockQueueMaximumLock - 1].Lock != NULL && Prcb->VendorString[0] != 0);
    Check(KeGetProcessorNumberFromIndex(Index, &Number) == STATUS_SUCCESS);
    Check(Number.Group == Prcb->Group && Number.Number == Prcb->GroupIndex);
}

static ULONG CountOfMasks(void)
{
    ULONG Count = 0;
    KAFFINITY Mask;

    for (USHORT Group = 0; Group < KeQueryMaximumGroupCount(); Group += 1) {
        Mask = KeQueryGroupAffinity(Group);
        Check((Mask & (Mask + 1)) == 0);
        Count += (ULONG)__builtin_popcountll(Mask);
    }
    return Count;
}

/* How many processors the records of a relationship name. */
static ULONG CountOfRecords(LOGICAL_PROCESSOR_RELATIONSHIP Relationship)
{
    union {
        SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Record;
        UCHAR Bytes[4096];
    } Buffer;
    ULONG Length = sizeof(Buffer);
    ULONG Count = 0;

    Check(KeQueryLogicalProcessorRelationship(NULL, Relationship, &Buffer.Record, &Length) == STATUS_SUCCESS);
    for (ULONG Offset = 0; Offset < Length;) {
        PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Record =
            (PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX)&Buffer.Bytes[Offset];

        for (ULONG Group = 0; Relationship != RelationNumaNode && Group < Record->Processor.GroupCount; Group += 1) {
            Count += (ULONG)__builtin_popcountll(Record->Processor.GroupMask[Group].Mask);
        }
        if (Relationship == RelationNumaNode) {
            Count += (ULONG)__builtin_popcountll(Record->NumaNode.GroupMask.Mask);
        }
        Offset += Record->Size;
    }
    return Count;
}

static ULONG CountOfNodes(void)
{
    ULONG Count = 0;

    for (ULONG Node = 0; Node <= KeQueryHighestNodeNumber(); Node += 1) {
        Count += KeQueryNodeActiveProcessorCount((USHORT)Node);
    }
    return Count;
}

static void LookAtTopology(ACTOR *Actor)
{
    static const LOGICAL_PROCESSOR_RELATIONSHIP Whole[] = {RelationProcessorCore, RelationProcessorPackage,
                                                           RelationNumaNode, RelationProcessorDie};
    ULONG Before = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    PKPRCB Prcb = KiProcessor(Actor->Random % Before)->Prcb;
    ULONG Records = CountOfRecords(Whole[(Actor->Random >> 8) % ARRAYSIZE(Whole)]);
    ULONG Nodes = CountOfNodes();
    KAFFINITY Core = __atomic_load_n(&Prcb->CoreProcessorSet, __ATOMIC_RELAXED);
    KAFFINITY Package = __atomic_load_n(&Prcb->PackageProcessorSet.Bitmap[Prcb->Group], __ATOMIC_RELAXED);
    KAFFINITY Node = __atomic_load_n(&Prcb->ParentNode->ProcessorMask, __ATOMIC_RELAXED);
    KAFFINITY Active = KeQueryGroupAffinity(Prcb->Group);
    ULONG After = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);

    Check(Records >= Before && Nodes >= Records && Nodes <= After);
    Check((Core & ~Active) == 0 && (Package & ~Active) == 0 && (Node & ~Active) == 0);
    Check((Core & ~Package) == 0 && (Core & Prcb->GroupSetMember) != 0);
}

static void LookAtCounts(ACTOR *Actor)
{
    ULONG Before = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    ULONG Groups = KeQueryActiveGroupCount();
    ULONG Masks = CountOfMasks();
    ULONG After = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    KAFFINITY Mask;
    ULONG Legacy = KeQueryActiveProcessorCount(&Mask);

    Check(Before >= Actor->Seen && Masks >= Before && After >= Masks && After <= MAXIMUM);
    Check(Groups >= (Before + GroupSize - 1) / GroupSize && Groups <= (After + GroupSize - 1) / GroupSize);
    Check(Legacy == (ULONG)__builtin_popcountll(Mask));
    Check(KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS) == MAXIMUM);
    Actor->Seen = After;
    CheckComplete(After - 1);
    CheckComplete(Actor->Random % After);
}

static void Act(ACTOR *Actor, ULONG Random)
{
    switch (Random & 15) {
    case 0:
    case 1:
        CallAll();
        break;
    case 2:
        KiIpiSend((KAFFINITY)(Random >> 4), IPI_DPC);
        break;
    case 3:
        Flush(Actor);
        break;
    case 4:
    case 5:
        LookAtCounts(Actor);
        break;
    case 6:
        LookAtTopology(Actor);
        break;
    case 7:
    case 8:
    case 9:
    case 10:
        WorkInSection();
        break;
    default:
        InsertDpc(Actor, Random >> 4);
        break;
    }
}

static void *ActorThread(void *Context)
{
    ACTOR *Actor = Context;

    MeetAtGate(&Gate, ACTORS + 2);
    for (ULONG Operation = 0; Operation < Actor->Operations; Operation += 1) {
        Act(Actor, NextRandom(&Actor->Random));
        CountOne(&Progress);
    }
    Flush(Actor);
    return NULL;
}

/* Adds one each time that the actors have come some way, until the machine is full. */
static void *AdderThread(void *Context)
{
    ULONG Operations = *(ULONG *)Context * ACTORS;
    PROCESSOR_NUMBER Number;
    NTSTATUS Status;

    MeetAtGate(&Gate, ACTORS + 2);
    do {
        ULONG Count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);

        AwaitCount(&Progress, Operations / (MAXIMUM + 1) * (Count - First));
        Status = KprcbAddProcessor(&Number);
        if (NT_SUCCESS(Status)) {
            CheckComplete(Number.Group * GroupSize + Number.Number);
            CountOne(&Waited);
        }
    } while (NT_SUCCESS(Status));
    Check(Status == STATUS_QUOTA_EXCEEDED);
    Check(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) == MAXIMUM);
    return NULL;
}

static void RunRound(ULONG Round, ULONG Operations)
{
    KPRCB_CONFIG Config = Configuration(First, GroupSize, KPRCB_NO_SIGNALS);
    pthread_t Adders[2];

    Config.MaximumProcessorCount = MAXIMUM;
    Config.Topology = Round % 2 == 0 ? "2:1:3:2" : NULL;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    Gate = Progress = 0;
    for (ULONG Index = 0; Index < ACTORS; Index += 1) {
        ACTOR *Actor = &Actors[Index];

        *Actor = (ACTOR){.Random = (Round + 1) * 0x9E3779B9u + Index, .Operations = Operations};
        for (ULONG Number = 0; Number < DPCS; Number += 1) {
            KeInitializeDpc(&Actor->Dpcs[Number], CountDpc, Actor);
            KeSetImportanceDpc(&Actor->Dpcs[Number], (KDPC_IMPORTANCE)Number);
        }
        Actor->Thread = StartThread(ActorThread, Actor);
    }
    Adders[0] = StartThread(AdderThread, &Operations);
    Adders[1] = StartThread(AdderThread, &Operations);
    for (ULONG Index = 0; Index < ACTORS; Index += 1) {
        JoinThread(Actors[Index].Thread);
        assert_int_equal(Actors[Index].Ran, Actors[Index].Inserted);
    }
    JoinThread(Adders[0]);
    JoinThread(Adders[1]);
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void Run(ULONG Processors, ULONG Size, ULONG Operations)
{
    ULONG Rounds = 0;

    First = Processors;
    GroupSize = Size;
    Calls = Waited = 0;
    for (ULONG Done = 0; Done < Operations; Done += 600 * ACTORS) {
        RunRound(Rounds, 600);
        Rounds += 1;
    }
    assert_int_equal(Waited, Rounds * (MAXIMUM - First));
    print_message("%u rounds from %u to %u processors, %u rendezvous\n", (unsigned)Rounds, (unsigned)First,
                  (unsigned)MAXIMUM, (unsigned)Calls);
}

static void one_group(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Run(2, KPRCB_GROUP_SIZE, StressOperations() / 20);
}

static void new_groups(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Run(1, 3, StressOperations() / 20);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(one_group),
        cmocka_unit_test(new_groups),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
