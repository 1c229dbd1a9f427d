/*
 * test_topology.c - where processors are: the members of the KPRCB that tell it, and the queries of nodes.
 */
#include "support/check.h"

#include "topology.h"

static void Start(const char *Topology, ULONG Processors, ULONG Maximum, ULONG GroupSize)
{
    KPRCB_CONFIG Config = Configuration(Processors, GroupSize, 0);

    Config.MaximumProcessorCount = Maximum;
    Config.Topology = Topology;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
}

static PKPRCB PrcbOf(ULONG Index)
{
    return &KiProcessor(Index)->PrcbData;
}

static BOOLEAN Names(KAFFINITY Set, ULONG Index)
{
    return (Set >> PrcbOf(Index)->GroupIndex & 1) != 0;
}

/* The processors From to From + Count - 1 of a group of 64. */
static KAFFINITY Range(ULONG From, ULONG Count)
{
    return (~(KAFFINITY)0 >> (8 * sizeof(KAFFINITY) - Count)) << From;
}

/* --- The host's topology --- */

static const HAL_CPU *HostOf(ULONG Index)
{
    return HalProcessor(Index % KiMachine.HostProcessors);
}

/* In a machine of one group. */
static void CheckPairOnHost(ULONG One, ULONG Two)
{
    const HAL_CPU *First = HostOf(One), *Second = HostOf(Two);
    BOOLEAN SameRound = One / KiMachine.HostProcessors == Two / KiMachine.HostProcessors;
    BOOLEAN SamePackage = SameRound && First->Package == Second->Package;

    assert_int_equal(Names(PrcbOf(One)->CoreProcessorSet, Two), SameRound && First->Sibling == Second->Sibling);
    assert_true(PrcbOf(One)->MultiThreadProcessorSet == PrcbOf(One)->CoreProcessorSet);
    assert_int_equal(Names(PrcbOf(One)->PackageProcessorSet.Bitmap[0], Two), SamePackage);
    assert_int_equal(PrcbOf(One)->PackageId == PrcbOf(Two)->PackageId, SamePackage);
    assert_int_equal(PrcbOf(One)->ParentNode == PrcbOf(Two)->ParentNode, First->Node == Second->Node);
    assert_int_equal(Names(PrcbOf(One)->ParentNode->Affinity.Mask, Two), First->Node == Second->Node);
    for (ULONG Slot = 0; Slot < First->CacheCount && Slot < Second->CacheCount; Slot += 1) {
        assert_int_equal(Names(PrcbOf(One)->CacheProcessorMask[Slot], Two),
                         SameRound && First->Cache[Slot].Level == Second->Cache[Slot].Level &&
                             First->Cache[Slot].Type == Second->Cache[Slot].Type &&
                             First->Cache[Slot].Sharer == Second->Cache[Slot].Sharer);
    }
}

static void test_sets_tell_what_the_host_shares(void **State)
{
    ULONG Hosts = HalInitializeProcessors();
    ULONG Counts[] = {1, Hosts, Hosts + 1, 3 * Hosts};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Counts) && Counts[Index] <= KPRCB_GROUP_SIZE; Index += 1) {
        Start(NULL, Counts[Index], 0, 0);
        for (ULONG One = 0; One < Counts[Index]; One += 1) {
            for (ULONG Two = 0; Two < Counts[Index]; Two += 1) {
                CheckPairOnHost(One, Two);
            }
            assert_ptr_equal(PrcbOf(One)->MultiThreadSetMaster,
                             PrcbOf((ULONG)__builtin_ctzll(PrcbOf(One)->CoreProcessorSet)));
            assert_int_equal(PrcbOf(One)->ParentNode->ProximityId, HostOf(One)->Node);
        }
        StopMachine();
    }
}

/* cpuid tells which caches there are, the host who shares them: the same ones in the same order. */
static void test_masks_of_caches_follow_the_order_of_caches(void **State)
{
    const HAL_CPU *Cpu;
    PKPRCB Prcb;

    (void)State;
    Start(NULL, 1, 0, 0);
    Cpu = HalProcessor(0);
    Prcb = PrcbOf(0);
    for (ULONG Slot = 0; Prcb->CacheCount == Cpu->CacheCount && Slot < Prcb->CacheCount; Slot += 1) {
        assert_int_equal(Prcb->Cache[Slot].Level, Cpu->Cache[Slot].Level);
    }
    for (ULONG Slot = 0; Slot < KPRCB_MAXIMUM_CACHES; Slot += 1) {
        assert_true(Prcb->CacheProcessorMask[Slot] == (Slot < Cpu->CacheCount ? 1 : 0));
    }
    StopMachine();
}

/* --- A configured one --- */

static void test_a_configured_topology_is_filled_in_order(void **State)
{
    (void)State;
    Start("2:2:2:2", 0, 0, 0);
    assert_int_equal(KeQueryActiveProcessorCount(NULL), 16);
    for (ULONG Index = 0; Index < 16; Index += 1) {
        PKPRCB Prcb = PrcbOf(Index);
        KAFFINITY Core = Range(Index & ~1u, 2), Package = Range(Index & ~3u, 4);

        assert_true(Prcb->CoreProcessorSet == Core && Prcb->MultiThreadProcessorSet == Core);
        assert_ptr_equal(Prcb->MultiThreadSetMaster, PrcbOf(Index & ~1u));
        assert_true(Prcb->PackageProcessorSet.Bitmap[0] == Package);
        assert_int_equal(Prcb->PackageProcessorSet.Count, 1);
        assert_int_equal(Prcb->PackageProcessorSet.Size, KPRCB_MAXIMUM_GROUPS);
        assert_int_equal(Prcb->PackageId, Index / 4);
        assert_int_equal(Prcb->ParentNode->NodeNumber, Index / 8);
        assert_int_equal(Prcb->ParentNode->PrimaryNodeNumber, Index / 8);
        assert_int_equal(Prcb->ParentNode->ProximityId, Index / 8);
        assert_int_equal(Prcb->ParentNode->MaximumProcessors, 8);
        assert_int_equal(Prcb->NodeColor, Index / 8);
        assert_true(Prcb->ParentNode->ProcessorMask == Range(Index & ~7u, 8));
        for (ULONG Slot = 0; Slot < HalProcessor(0)->CacheCount; Slot += 1) {
            assert_true(Prcb->CacheProcessorMask[Slot] == (HalProcessor(0)->Cache[Slot].Level <= 2 ? Core : Package));
        }
    }
    StopMachine();
}

static void test_members_of_cpuid_follow_a_configured_topology(void **State)
{
    static const struct {
        const char *Version;
        UCHAR Cores, PerCore, PerPackage;
    } Versions[] = {
        {"2004", 4, 2, 6}, {"6.1", 4, 2, 6}, {"6.0-early", 3, 2, 6}, {"5.1-late", 1, 1, 6}, {"4.0-late", 1, 1, 1}};
    KPRCB_CONFIG Config = Configuration(0, 0, 0);

    (void)State;
    Config.Topology = "1:1:3:2"; /* cores go up to a power of two from 6.1 on */
    for (ULONG Index = 0; Index < ARRAYSIZE(Versions); Index += 1) {
        Config.Version = Versions[Index].Version;
        Config.ProcessorCount = 4;
        Config.MaximumProcessorCount = 6;
        assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
        assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
        assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
        for (ULONG Number = 0; Number < 6; Number += 1) {
            assert_int_equal(PrcbOf(Number)->CoresPerPhysicalProcessor, Versions[Index].Cores);
            assert_int_equal(PrcbOf(Number)->LogicalProcessorsPerCore, Versions[Index].PerCore);
            assert_int_equal(PrcbOf(Number)->LogicalProcessorsPerPhysicalProcessor, Versions[Index].PerPackage);
            assert_int_equal(PrcbOf(Number)->PackageId, 0);
        }
        StopMachine();
    }
}

static void test_groups_split_cores_and_nodes_but_no_packages(void **State)
{
    static const KAFFINITY Cores[8] = {3, 3, 4, 1, 6, 6, 1, 2}; /* cores {0 1} {2|3} {4 5} {6 7}, groups of 3 */

    (void)State;
    Start("1:1:4:2", 0, 0, 3);
    for (ULONG Index = 0; Index < 8; Index += 1) {
        PKPRCB Prcb = PrcbOf(Index);

        assert_true(Prcb->CoreProcessorSet == (Index < 6 ? Cores[Index] : 3));
        assert_ptr_equal(Prcb->MultiThreadSetMaster, PrcbOf(Index == 3 ? 3 : Index & ~1u));
        assert_true(Prcb->PackageProcessorSet.Bitmap[0] == 7 && Prcb->PackageProcessorSet.Bitmap[1] == 7 &&
                    Prcb->PackageProcessorSet.Bitmap[2] == 3);
        assert_int_equal(Prcb->PackageProcessorSet.Count, 3);
        assert_int_equal(Prcb->ParentNode->NodeNumber, Index / 3);
        assert_int_equal(Prcb->ParentNode->PrimaryNodeNumber, 0);
        assert_int_equal(Prcb->ParentNode->ProximityId, 0);
        assert_int_equal(Prcb->ParentNode->Affinity.Group, Index / 3);
        assert_int_equal(Prcb->ParentNode->MaximumProcessors, Index < 6 ? 3 : 2);
    }
    StopMachine();
}

/* --- Adding --- */

static ULONG Starts, Completions;

static VOID LookAtSets(PVOID Context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change, PNTSTATUS Status)
{
    ULONG Number = Change->NtNumber;
    BOOLEAN There = Change->State == KeProcessorAddCompleteNotify;

    (void)Context, (void)Status;
    *(There ? &Completions : &Starts) += 1;
    for (ULONG Index = 0; Index < Number; Index += 1) {
        PKPRCB Prcb = PrcbOf(Index);

        Check(((Prcb->CoreProcessorSet >> Number & 1) != 0) == (There && Index / 2 == Number / 2));
        Check(((Prcb->PackageProcessorSet.Bitmap[0] >> Number & 1) != 0) == (There && Index / 4 == Number / 4));
        Check(((Prcb->ParentNode->Affinity.Mask >> Number & 1) != 0) == (There && Index / 4 == Number / 4));
    }
}

static void test_sets_gain_a_processor_once_it_is_active(void **State)
{
    (void)State;
    Start("2:1:2:2", 1, 8, 0);
    assert_non_null(KeRegisterProcessorChangeCallback(LookAtSets, NULL, 0));
    Starts = Completions = 0;
    for (ULONG Count = 1; Count < 8; Count += 1) {
        assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
        assert_true(PrcbOf(Count)->CoreProcessorSet == Range(Count & ~1u, (Count & 1) + 1));
        assert_true(PrcbOf(Count)->PackageProcessorSet.Bitmap[0] == Range(Count & ~3u, (Count & 3) + 1));
        assert_true(PrcbOf(Count)->ParentNode->Affinity.Mask == Range(Count & ~3u, (Count & 3) + 1));
        assert_ptr_equal(PrcbOf(Count)->MultiThreadSetMaster, PrcbOf(Count & ~1u));
    }
    assert_int_equal(Starts, 7);
    assert_int_equal(Completions, 7);
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

/* --- Queries of nodes --- */

static void CheckNode(USHORT Number, USHORT Group, KAFFINITY Mask, USHORT Maximum)
{
    GROUP_AFFINITY Affinity = {.Mask = 99, .Group = 99, .Reserved = {9, 9, 9}};
    USHORT Active = (USHORT)__builtin_popcountll(Mask);
    USHORT Count = 99;

    KeQueryNodeActiveAffinity(Number, &Affinity, &Count);
    assert_true(Affinity.Mask == Mask && Affinity.Group == Group);
    assert_true(Affinity.Reserved[0] == 0 && Affinity.Reserved[1] == 0 && Affinity.Reserved[2] == 0);
    assert_int_equal(Count, Active);
    KeQueryNodeActiveAffinity(Number, NULL, NULL);
    assert_int_equal(KeQueryNodeActiveProcessorCount(Number), Active);
    assert_int_equal(KeQueryNodeMaximumProcessorCount(Number), Maximum);
    Affinity = (GROUP_AFFINITY){.Mask = 99, .Group = 99};
    assert_int_equal(KeQueryNodeActiveAffinity2(Number, &Affinity, 1, &Count), STATUS_SUCCESS);
    assert_int_equal(Count, Active != 0);
    assert_true(Active == 0 ? Affinity.Mask == 99 : Affinity.Mask == Mask && Affinity.Group == Group);
    assert_int_equal(KeQueryNodeActiveAffinity2(Number, NULL, 0, &Count),
                     Active != 0 ? STATUS_BUFFER_TOO_SMALL : STATUS_SUCCESS);
    assert_int_equal(Count, Active != 0);
}

static void test_nodes_by_number(void **State)
{
    GROUP_AFFINITY Affinity = {.Mask = 99, .Group = 99};
    USHORT Count = 99;

    (void)State;
    Start("2:1:3:1", 2, 6, 4);
    /* Node 0: processors 0-2. The other one: 3 in group 0, and 4 and 5 in group 1, where it is node 2. */
    assert_int_equal(KeQueryHighestNodeNumber(), 2);
    CheckNode(0, 0, 3, 3);
    CheckNode(1, 0, 0, 1);
    CheckNode(2, 1, 0, 2);
    for (ULONG Index = 2; Index < 6; Index += 1) {
        assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    }
    assert_int_equal(KeQueryHighestNodeNumber(), 2);
    CheckNode(0, 0, 7, 3);
    CheckNode(1, 0, 8, 1);
    CheckNode(2, 1, 3, 2);
    assert_int_equal(PrcbOf(4)->ParentNode->PrimaryNodeNumber, 1);
    assert_int_equal(PrcbOf(4)->ParentNode->ProximityId, 1);
    KeQueryNodeActiveAffinity(3, &Affinity, &Count);
    assert_true(Affinity.Mask == 0 && Affinity.Group == 0 && Count == 0);
    assert_int_equal(KeQueryNodeActiveAffinity2(3, &Affinity, 1, &Count), STATUS_INVALID_PARAMETER);
    assert_int_equal(KeQueryNodeActiveProcessorCount(3), 0);
    assert_int_equal(KeQueryNodeMaximumProcessorCount(0xFFFF), 0);
    StopMachine();
}

static void test_the_current_node(void **State)
{
    (void)State;
    Start("3:1:2:1", 0, 0, 0);
    for (ULONG Index = 0; Index < 6; Index += 1) {
        assert_int_equal(KprcbAttachThread(Index), STATUS_SUCCESS);
        assert_int_equal(KeGetCurrentNodeNumber(), Index / 2);
    }
    StopMachine();
}

static void test_many_processors_on_few_cpus_are_on_their_nodes(void **State)
{
    USHORT Nodes;
    ULONG Sum = 0;

    (void)State;
    Start(NULL, KPRCB_GROUP_SIZE + 2, 0, 0);
    Nodes = (USHORT)(KeQueryHighestNodeNumber() + 1);
    for (USHORT Number = 0; Number < Nodes; Number += 1) {
        Sum += KeQueryNodeActiveProcessorCount(Number);
        assert_int_equal(KeQueryNodeMaximumProcessorCount(Number), KeQueryNodeActiveProcessorCount(Number));
    }
    assert_int_equal(Sum, KPRCB_GROUP_SIZE + 2);
    assert_true(Nodes >= 2); /* groups split them */
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_sets_tell_what_the_host_shares),
        cmocka_unit_test(test_masks_of_caches_follow_the_order_of_caches),
        cmocka_unit_test(test_a_configured_topology_is_filled_in_order),
        cmocka_unit_test(test_members_of_cpuid_follow_a_configured_topology),
        cmocka_unit_test(test_groups_split_cores_and_nodes_but_no_packages),
        cmocka_unit_test(test_sets_gain_a_processor_once_it_is_active),
        cmocka_unit_test(test_nodes_by_number),
        cmocka_unit_test(test_the_current_node),
        cmocka_unit_test(test_many_processors_on_few_cpus_are_on_their_nodes),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
