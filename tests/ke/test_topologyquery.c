/*
 * test_topologyquery.c - KeQueryLogicalProcessorRelationship: the records of each relationship, their sizes, and buffers
 * that are too small.
 */
#include <string.h>

#include "support/check.h"

#include "topology.h"

#define BUFFER 65536

static union {
    SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX First;
    UCHAR Bytes[BUFFER];
} Buffer;

static PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Records[1024];
static ULONG RecordCount;

static void Start(const char *Topology, ULONG Processors, ULONG Maximum, ULONG GroupSize)
{
    KPRCB_CONFIG Config = Configuration(Processors, GroupSize, 0);

    Config.MaximumProcessorCount = Maximum;
    Config.Topology = Topology;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
}

/* Walks the records by their sizes. */
static void Split(ULONG Length)
{
    RecordCount = 0;
    for (ULONG Offset = 0; Offset < Length; RecordCount += 1) {
        Records[RecordCount] = (PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX)&Buffer.Bytes[Offset];
        assert_true(Records[RecordCount]->Size >= 8 && Records[RecordCount]->Size <= Length - Offset);
        Offset += Records[RecordCount]->Size;
    }
}

/* As the WDK says: first the length, then the records; and with each length in between, nothing. */
static void Query(PPROCESSOR_NUMBER Number, LOGICAL_PROCESSOR_RELATIONSHIP Relationship)
{
    ULONG Needed = 0;
    ULONG Length;
    NTSTATUS Status = KeQueryLogicalProcessorRelationship(Number, Relationship, NULL, &Needed);

    assert_int_equal(Status, Needed == 0 ? STATUS_SUCCESS : STATUS_INFO_LENGTH_MISMATCH);
    assert_true(Needed < BUFFER);
    memset(Buffer.Bytes, 0xA5, sizeof(Buffer.Bytes));
    for (ULONG Short = 1; Short < Needed; Short += Needed < 500 ? 1 : 97) {
        Length = Short;
        assert_int_equal(KeQueryLogicalProcessorRelationship(Number, Relationship, &Buffer.First, &Length),
                         STATUS_INFO_LENGTH_MISMATCH);
        assert_int_equal(Length, Needed);
        assert_int_equal(Buffer.Bytes[Short], 0xA5);
    }
    Length = Needed;
    assert_int_equal(KeQueryLogicalProcessorRelationship(Number, Relationship, &Buffer.First, &Length), STATUS_SUCCESS);
    assert_int_equal(Length, Needed);
    assert_int_equal(Buffer.Bytes[Needed], 0xA5);
    Length = BUFFER;
    assert_int_equal(KeQueryLogicalProcessorRelationship(Number, Relationship, &Buffer.First, &Length), STATUS_SUCCESS);
    assert_int_equal(Length, Needed);
    Split(Needed);
}

static void ExpectMask(const GROUP_AFFINITY *Found, USHORT Group, KAFFINITY Mask)
{
    assert_true(Found->Mask == Mask);
    assert_int_equal(Found->Group, Group);
    assert_true(Found->Reserved[0] == 0 && Found->Reserved[1] == 0 && Found->Reserved[2] == 0);
}

static void ExpectRecord(ULONG Index, ULONG Relationship, ULONG Size)
{
    assert_true(Index < RecordCount);
    assert_int_equal(Records[Index]->Relationship, Relationship);
    assert_int_equal(Records[Index]->Size, Size);
}

/* Of one group. */
static void ExpectProcessors(ULONG Index, ULONG Relationship, UCHAR Flags, KAFFINITY Mask)
{
    ExpectRecord(Index, Relationship, 32 + sizeof(GROUP_AFFINITY));
    assert_int_equal(Records[Index]->Processor.Flags, Flags);
    assert_int_equal(Records[Index]->Processor.EfficiencyClass, 0);
    assert_int_equal(Records[Index]->Processor.GroupCount, 1);
    ExpectMask(Records[Index]->Processor.GroupMask, 0, Mask);
}

/* --- Each relationship, two nodes of one package with three cores of two processors --- */

static void test_cores_packages_dies_modules(void **State)
{
    (void)State;
    Start("2:1:3:2", 11, 12, 0);
    Query(NULL, RelationProcessorCore);
    assert_int_equal(RecordCount, 6);
    for (ULONG Core = 0; Core < 5; Core += 1) {
        ExpectProcessors(Core, RelationProcessorCore, LTP_PC_SMT, (KAFFINITY)3 << 2 * Core);
    }
    ExpectProcessors(5, RelationProcessorCore, 0, 0x400); /* the other is not active */
    Query(NULL, RelationProcessorPackage);
    assert_int_equal(RecordCount, 2);
    ExpectProcessors(0, RelationProcessorPackage, 0, 0x3F);
    ExpectProcessors(1, RelationProcessorPackage, 0, 0x7C0);
    Query(NULL, RelationProcessorDie);
    assert_int_equal(RecordCount, 2);
    ExpectProcessors(1, RelationProcessorDie, 0, 0x7C0);
    Query(NULL, RelationProcessorModule);
    assert_int_equal(RecordCount, 6);
    ExpectProcessors(4, RelationProcessorModule, 0, 0x300);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    Query(NULL, RelationProcessorCore);
    assert_int_equal(RecordCount, 6);
    ExpectProcessors(5, RelationProcessorCore, LTP_PC_SMT, 0xC00);
    StopMachine();
}

static void test_nodes(void **State)
{
    static const LOGICAL_PROCESSOR_RELATIONSHIP Names[] = {RelationNumaNode, RelationNumaNodeEx};

    (void)State;
    Start("3:1:3:2", 11, 18, 0);
    for (ULONG Which = 0; Which < 2; Which += 1) {
        Query(NULL, Names[Which]);
        assert_int_equal(RecordCount, 2); /* the third has no active processor */
        for (ULONG Node = 0; Node < 2; Node += 1) {
            ExpectRecord(Node, Names[Which], 32 + sizeof(GROUP_AFFINITY));
            assert_int_equal(Records[Node]->NumaNode.NodeNumber, Node);
            assert_int_equal(Records[Node]->NumaNode.GroupCount, 1);
            ExpectMask(&Records[Node]->NumaNode.GroupMask, 0, Node == 0 ? 0x3F : 0x7C0);
        }
    }
    StopMachine();
}

static void test_caches(void **State)
{
    ULONG Slots, Expected = 0;

    (void)State;
    Start("1:2:3:2", 0, 0, 0);
    Slots = HalProcessor(0)->CacheCount;
    for (ULONG Slot = 0; Slot < Slots; Slot += 1) {
        Expected += HalProcessor(0)->Cache[Slot].Level <= 2 ? 6 : 2;
    }
    Query(NULL, RelationCache);
    assert_int_equal(RecordCount, Expected);
    for (ULONG Index = 0; Index < RecordCount; Index += 1) {
        const CACHE_RELATIONSHIP *Cache = &Records[Index]->Cache;
        ULONG First = (ULONG)__builtin_ctzll(Cache->GroupMask.Mask);
        ULONG Slot = 0;

        ExpectRecord(Index, RelationCache, 40 + sizeof(GROUP_AFFINITY));
        assert_int_equal(Cache->GroupCount, 1);
        ExpectMask(&Cache->GroupMask, 0, (Cache->Level <= 2 ? (KAFFINITY)3 : (KAFFINITY)0x3F) << First);
        while (Slot < Slots && (HalProcessor(0)->Cache[Slot].Level != Cache->Level ||
                                HalProcessor(0)->Cache[Slot].Size != Cache->CacheSize)) {
            Slot += 1;
        }
        assert_true(Slot < Slots);
        assert_int_equal(Cache->LineSize, HalProcessor(0)->Cache[Slot].LineSize);
        assert_true(Cache->Associativity == HalProcessor(0)->Cache[Slot].Ways || Cache->Associativity == 0xFE);
    }
    StopMachine();
}

static void test_groups(void **State)
{
    const GROUP_RELATIONSHIP *Group;
    const PROCESSOR_GROUP_INFO *Infos;

    (void)State;
    Start(NULL, 7, 14, 4);
    Query(NULL, RelationGroup);
    assert_int_equal(RecordCount, 1);
    ExpectRecord(0, RelationGroup, 32 + 2 * sizeof(PROCESSOR_GROUP_INFO));
    Group = &Records[0]->Group;
    assert_int_equal(Group->MaximumGroupCount, 4);
    assert_int_equal(Group->ActiveGroupCount, 2);
    Infos = Group->GroupInfo;
    assert_int_equal(Infos[0].MaximumProcessorCount, 4);
    assert_int_equal(Infos[0].ActiveProcessorCount, 4);
    assert_true(Infos[0].ActiveProcessorMask == 15);
    assert_int_equal(Infos[1].MaximumProcessorCount, 4);
    assert_int_equal(Infos[1].ActiveProcessorCount, 3);
    assert_true(Infos[1].ActiveProcessorMask == 7);
    StopMachine();
}

static void test_a_package_spans_groups(void **State)
{
    PGROUP_AFFINITY Masks;

    (void)State;
    Start("1:1:4:2", 0, 0, 3);
    Query(NULL, RelationProcessorPackage);
    assert_int_equal(RecordCount, 1);
    ExpectRecord(0, RelationProcessorPackage, 32 + 3 * sizeof(GROUP_AFFINITY));
    assert_int_equal(Records[0]->Processor.GroupCount, 3);
    Masks = Records[0]->Processor.GroupMask;
    ExpectMask(&Masks[0], 0, 7);
    ExpectMask(&Masks[1], 1, 7);
    ExpectMask(&Masks[2], 2, 3);
    /* Cores do not: processors 2 and 3 of one core are in two groups. */
    Query(NULL, RelationProcessorCore);
    assert_int_equal(RecordCount, 5);
    Query(NULL, RelationNumaNode);
    assert_int_equal(RecordCount, 3);
    ExpectMask(&Records[2]->NumaNode.GroupMask, 2, 3);
    StopMachine();
}

/* --- One processor, all relationships, refusals --- */

static void test_of_one_processor(void **State)
{
    PROCESSOR_NUMBER Number = {.Group = 1, .Number = 1};

    (void)State;
    Start("2:1:2:2", 0, 0, 4);
    Query(&Number, RelationProcessorCore);
    assert_int_equal(RecordCount, 1);
    ExpectMask(Records[0]->Processor.GroupMask, 1, 3);
    Query(&Number, RelationProcessorPackage);
    assert_int_equal(RecordCount, 1);
    ExpectMask(Records[0]->Processor.GroupMask, 1, 15);
    Query(&Number, RelationNumaNode);
    assert_int_equal(RecordCount, 1);
    assert_int_equal(Records[0]->NumaNode.NodeNumber, 1);
    Query(&Number, RelationCache);
    assert_int_equal(RecordCount, HalProcessor(0)->CacheCount);
    for (ULONG Index = 0; Index < RecordCount; Index += 1) {
        assert_int_equal(Records[Index]->Cache.GroupMask.Group, 1);
        assert_true((Records[Index]->Cache.GroupMask.Mask & 2) != 0);
    }
    Query(&Number, RelationGroup);
    assert_int_equal(RecordCount, 1);
    assert_int_equal(Records[0]->Group.ActiveGroupCount, 2);
    Query(&Number, RelationAll);
    assert_int_equal(RecordCount, 6 + HalProcessor(0)->CacheCount);
    StopMachine();
}

static void test_all_is_every_relationship_once(void **State)
{
    static const LOGICAL_PROCESSOR_RELATIONSHIP Each[] = {
        RelationProcessorCore, RelationNumaNode,     RelationCache,          RelationProcessorPackage,
        RelationGroup,         RelationProcessorDie, RelationProcessorModule};
    static UCHAR Together[BUFFER];
    ULONG Length = 0;
    ULONG Whole = BUFFER;

    (void)State;
    Start("2:2:3:2", 0, 0, 5);
    for (ULONG Index = 0; Index < ARRAYSIZE(Each); Index += 1) {
        ULONG Part = BUFFER - Length;

        assert_int_equal(KeQueryLogicalProcessorRelationship(
                             NULL, Each[Index], (PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX)&Together[Length], &Part),
                         STATUS_SUCCESS);
        Length += Part;
    }
    assert_int_equal(KeQueryLogicalProcessorRelationship(NULL, RelationAll, &Buffer.First, &Whole), STATUS_SUCCESS);
    assert_int_equal(Whole, Length);
    assert_memory_equal(Buffer.Bytes, Together, Length);
    StopMachine();
}

static void test_invalid_parameters(void **State)
{
    PROCESSOR_NUMBER Bad[] = {{.Number = 3}, {.Group = 1}, {.Number = 0, .Reserved = 1}};
    static const ULONG BadRelationships[] = {8, 0xFFFE, 0x10000, 0xFFFFFFFF};
    ULONG Length = BUFFER;

    (void)State;
    Start(NULL, 3, 0, 0);
    for (ULONG Index = 0; Index < ARRAYSIZE(Bad); Index += 1) {
        assert_int_equal(KeQueryLogicalProcessorRelationship(&Bad[Index], RelationAll, &Buffer.First, &Length),
                         STATUS_INVALID_PARAMETER);
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(BadRelationships); Index += 1) {
        assert_int_equal(KeQueryLogicalProcessorRelationship(
                             NULL, (LOGICAL_PROCESSOR_RELATIONSHIP)BadRelationships[Index], &Buffer.First, &Length),
                         STATUS_INVALID_PARAMETER);
    }
    assert_int_equal(Length, BUFFER);
    StopMachine();
}

static VOID QueryTooHigh(PVOID Context)
{
    KIRQL OldIrql;

    KeRaiseIrql(SYNCH_LEVEL, &OldIrql);
    (void)KeQueryLogicalProcessorRelationship(NULL, RelationAll, NULL, Context);
}

static void test_up_to_dispatch_level(void **State)
{
    KPRCB_BUGCHECK BugCheck;
    ULONG Length = BUFFER;
    KIRQL OldIrql;

    (void)State;
    Start(NULL, 2, 0, 0);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    assert_int_equal(KeQueryLogicalProcessorRelationship(NULL, RelationAll, &Buffer.First, &Length), STATUS_SUCCESS);
    KeLowerIrql(OldIrql);
    assert_true(KprcbCatchBugCheck(QueryTooHigh, &Length, &BugCheck));
    assert_int_equal(BugCheck.Code, IRQL_NOT_LESS_OR_EQUAL);
    StopMachine();
}

/* --- The same as the KPRCB tells --- */

static void CheckAgainstSets(ULONG Processors)
{
    for (ULONG Index = 0; Index < Processors; Index += 1) {
        PKPRCB Prcb = &KiProcessor(Index)->PrcbData;
        PROCESSOR_NUMBER Number = {.Group = Prcb->Group, .Number = Prcb->GroupIndex};

        Query(&Number, RelationProcessorCore);
        ExpectMask(Records[0]->Processor.GroupMask, Prcb->Group, Prcb->CoreProcessorSet);
        Query(&Number, RelationNumaNode);
        ExpectMask(&Records[0]->NumaNode.GroupMask, Prcb->Group, Prcb->ParentNode->Affinity.Mask);
        Query(&Number, RelationProcessorPackage);
        for (ULONG Group = 0; Group < Records[0]->Processor.GroupCount; Group += 1) {
            const GROUP_AFFINITY *Mask = &Records[0]->Processor.GroupMask[Group];

            assert_true(Mask->Mask == Prcb->PackageProcessorSet.Bitmap[Mask->Group]);
        }
        Query(&Number, RelationCache);
        for (ULONG Slot = 0; Slot < RecordCount; Slot += 1) {
            ExpectMask(&Records[Slot]->Cache.GroupMask, Prcb->Group, Prcb->CacheProcessorMask[Slot]);
        }
    }
}

static void test_records_agree_with_the_members_of_the_kprcb(void **State)
{
    (void)State;
    Start("2:1:3:2", 3, 12, 5);
    for (ULONG Count = 3; Count < 12; Count += 1) {
        CheckAgainstSets(Count);
        assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    }
    CheckAgainstSets(12);
    StopMachine();
    Start(NULL, 9, 0, 4);
    CheckAgainstSets(9);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_cores_packages_dies_modules),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_caches),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_a_package_spans_groups),
        cmocka_unit_test(test_of_one_processor),
        cmocka_unit_test(test_all_is_every_relationship_once),
        cmocka_unit_test(test_invalid_parameters),
        cmocka_unit_test(test_up_to_dispatch_level),
        cmocka_unit_test(test_records_agree_with_the_members_of_the_kprcb),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
