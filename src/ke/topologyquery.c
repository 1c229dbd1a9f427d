/*
 * topologyquery.c - KeQueryLogicalProcessorRelationship.
 *
 * The number of active processors is read once, and every record follows from it and from constants, so that all
 * records of a call agree with each other while processors are added.
 *
 * Tests: tests/ke/test_topologyquery.c.
 */
#include "topology.h"

/* Where records go. What does not fit is counted, not written. */
typedef struct _KI_RECORDS {
    PUCHAR Buffer;
    ULONG Size;
    ULONG Required;
    ULONG Count;   /* active processors */
    ULONG Subject; /* the processor asked for, or INVALID_PROCESSOR_INDEX: all */
} KI_RECORDS, *PKI_RECORDS;

/* A zeroed record of Size bytes, or NULL. */
static PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX KiNewRecord(PKI_RECORDS Records, ULONG Relationship, SIZE_T Size)
{
    PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Record = NULL;

    if (Records->Buffer != NULL && Records->Required + Size <= Records->Size) {
        Record = (PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX)(Records->Buffer + Records->Required);
        __builtin_memset(Record, 0, Size);
        Record->Relationship = (LOGICAL_PROCESSOR_RELATIONSHIP)Relationship;
        Record->Size = (ULONG)Size;
    }
    Records->Required += (ULONG)Size;
    return Record;
}

static SIZE_T KiRecordSize(SIZE_T Header, ULONG Groups)
{
    return offsetof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX, Processor) + Header + Groups * sizeof(GROUP_AFFINITY);
}

static USHORT KiGroupOf(ULONG Index)
{
    return (USHORT)(Index / KiMachine.GroupSize);
}

/* Index is the lowest active processor of the unit, in its group if units are split by groups. */
static BOOLEAN KiBeginsUnit(PKI_RECORDS Records, ULONG Unit, ULONG Index, BOOLEAN Split)
{
    if (!Split) {
        return KiUnitLeader(Unit, Index) == Index;
    }
    return (ULONG)__builtin_ctzll(KiUnitMask(Unit, Index, KiGroupOf(Index), Records->Count)) ==
           Index % KiMachine.GroupSize;
}

/* Packages, dies and modules may span groups. */
static VOID KiWriteWhole(PKI_RECORDS Records, ULONG Relationship, ULONG Unit, ULONG Index)
{
    GROUP_AFFINITY Masks[KPRCB_MAXIMUM_GROUPS];
    PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Record;
    USHORT Groups = 0;

    for (USHORT Group = 0; KiCountInGroup(Records->Count, Group) != 0; Group += 1) {
        KAFFINITY Mask = KiUnitMask(Unit, Index, Group, Records->Count);

        if (Mask != 0) {
            Masks[Groups] = (GROUP_AFFINITY){.Mask = Mask, .Group = Group};
            Groups += 1;
        }
    }
    Record = KiNewRecord(Records, Relationship, KiRecordSize(offsetof(PROCESSOR_RELATIONSHIP, GroupMask), Groups));
    if (Record != NULL) {
        Record->Processor.GroupCount = Groups;
        __builtin_memcpy(Record->Processor.GroupMask, Masks, Groups * sizeof(GROUP_AFFINITY));
    }
}

static VOID KiWriteCore(PKI_RECORDS Records, ULONG Index)
{
    PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Record =
        KiNewRecord(Records, RelationProcessorCore, KiRecordSize(offsetof(PROCESSOR_RELATIONSHIP, GroupMask), 1));
    KAFFINITY Mask = KiUnitMask(KiUnitCore, Index, KiGroupOf(Index), Records->Count);

    if (Record != NULL) {
        Record->Processor.Flags = (Mask & (Mask - 1)) != 0 ? LTP_PC_SMT : 0;
        Record->Processor.GroupCount = 1;
        Record->Processor.GroupMask[0].Mask = Mask;
        Record->Processor.GroupMask[0].Group = KiGroupOf(Index);
    }
}

static VOID KiWriteCache(PKI_RECORDS Records, ULONG Slot, ULONG Index)
{
    PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Record =
        KiNewRecord(Records, RelationCache, KiRecordSize(offsetof(CACHE_RELATIONSHIP, GroupMask), 1));
    static const UCHAR Types[] = {
        [HalUnifiedCache] = CacheUnified, [HalInstructionCache] = CacheInstruction, [HalDataCache] = CacheData};
    const HAL_CACHE *Cache = &KiCachesOf(Index)->Cache[Slot];

    if (Record != NULL) {
        Record->Cache.Level = Cache->Level;
        Record->Cache.Associativity =
            (UCHAR)(Cache->Ways < CACHE_FULLY_ASSOCIATIVE ? Cache->Ways : CACHE_FULLY_ASSOCIATIVE - 1);
        Record->Cache.LineSize = (USHORT)(Cache->LineSize <= 0xFFFF ? Cache->LineSize : 0);
        Record->Cache.CacheSize = Cache->Size;
        Record->Cache.Type = (PROCESSOR_CACHE_TYPE)Types[Cache->Type];
        Record->Cache.GroupCount = 1;
        Record->Cache.GroupMask.Mask = KiUnitMask(KiUnitCache + Slot, Index, KiGroupOf(Index), Records->Count);
        Record->Cache.GroupMask.Group = KiGroupOf(Index);
    }
}

/* A routine for each relationship writes what there is of it for a processor, unless an earlier one has written it. */
static VOID KiRelateWhole(PKI_RECORDS Records, ULONG Relationship, ULONG Unit, ULONG Index)
{
    if (Records->Subject == Index || KiBeginsUnit(Records, Unit, Index, FALSE)) {
        KiWriteWhole(Records, Relationship, Unit, Index);
    }
}

static VOID KiRelateCore(PKI_RECORDS Records, ULONG Index)
{
    if (Records->Subject == Index || KiBeginsUnit(Records, KiUnitCore, Index, TRUE)) {
        KiWriteCore(Records, Index);
    }
}

static VOID KiRelateCaches(PKI_RECORDS Records, ULONG Index)
{
    for (ULONG Slot = 0; Slot < KiCachesOf(Index)->CacheCount; Slot += 1) {
        if (Records->Subject == Index || KiBeginsUnit(Records, KiUnitCache + Slot, Index, TRUE)) {
            KiWriteCache(Records, Slot, Index);
        }
    }
}

static VOID KiWriteNodes(PKI_RECORDS Records, ULONG Relationship)
{
    PKNODE Only =
        Records->Subject == INVALID_PROCESSOR_INDEX ? NULL : KiProcessor(Records->Subject)->PrcbData.ParentNode;

    for (ULONG Number = 0; Number < KiNodeCount(); Number += 1) {
        PKI_NODE Node = KiFindNode(Number);
        KAFFINITY Mask = KiActiveNodeMask(Node, Records->Count);
        PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Record;

        if (Mask == 0 || (Only != NULL && Only != &Node->Node)) {
            continue;
        }
        Record = KiNewRecord(Records, Relationship, KiRecordSize(offsetof(NUMA_NODE_RELATIONSHIP, GroupMask), 1));
        if (Record != NULL) {
            Record->NumaNode.NodeNumber = Number;
            Record->NumaNode.GroupCount = 1;
            Record->NumaNode.GroupMask.Mask = Mask;
            Record->NumaNode.GroupMask.Group = Node->Node.Affinity.Group;
        }
    }
}

static VOID KiWriteGroups(PKI_RECORDS Records)
{
    ULONG Active = (Records->Count + KiMachine.GroupSize - 1) / KiMachine.GroupSize;
    PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Record =
        KiNewRecord(Records, RelationGroup,
                    offsetof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX, Group) + offsetof(GROUP_RELATIONSHIP, GroupInfo) +
                        Active * sizeof(PROCESSOR_GROUP_INFO));

    if (Record == NULL) {
        return;
    }
    Record->Group.MaximumGroupCount = (USHORT)KiMachine.MaximumGroups;
    Record->Group.ActiveGroupCount = (USHORT)Active;
    for (ULONG Group = 0; Group < Active; Group += 1) {
        PPROCESSOR_GROUP_INFO Info = &Record->Group.GroupInfo[Group];
        ULONG Count = KiCountInGroup(Records->Count, (USHORT)Group);

        Info->MaximumProcessorCount = (UCHAR)KiCountInGroup(KiMachine.MaximumProcessors, (USHORT)Group);
        Info->ActiveProcessorCount = (UCHAR)Count;
        Info->ActiveProcessorMask = ~(KAFFINITY)0 >> (8 * sizeof(KAFFINITY) - Count);
    }
}

static VOID KiRelate(PKI_RECORDS Records, ULONG Relationship, ULONG Index)
{
    switch (Relationship) {
    case RelationProcessorCore:
        KiRelateCore(Records, Index);
        break;
    case RelationCache:
        KiRelateCaches(Records, Index);
        break;
    case RelationProcessorPackage:
        KiRelateWhole(Records, Relationship, KiUnitPackage, Index);
        break;
    case RelationProcessorDie:
        KiRelateWhole(Records, Relationship, KiUnitDie, Index);
        break;
    default:
        KiRelateWhole(Records, Relationship, KiUnitModule, Index);
        break;
    }
}

static VOID KiWriteRelationship(PKI_RECORDS Records, ULONG Relationship)
{
    if (Relationship == RelationNumaNode || Relationship == RelationNumaNodeEx) {
        KiWriteNodes(Records, Relationship);
    } else if (Relationship == RelationGroup) {
        KiWriteGroups(Records);
    } else if (Records->Subject != INVALID_PROCESSOR_INDEX) {
        KiRelate(Records, Relationship, Records->Subject);
    } else {
        for (ULONG Index = 0; Index < Records->Count; Index += 1) {
            KiRelate(Records, Relationship, Index);
        }
    }
}

NTSTATUS KeQueryLogicalProcessorRelationship(PPROCESSOR_NUMBER ProcessorNumber,
                                             LOGICAL_PROCESSOR_RELATIONSHIP RelationshipType,
                                             PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Information, PULONG Length)
{
    static const UCHAR All[] = {RelationProcessorCore,    RelationNumaNode, RelationCache,
                                RelationProcessorPackage, RelationGroup,    RelationProcessorDie,
                                RelationProcessorModule};
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KI_RECORDS Records = {.Buffer = (PUCHAR)Information, .Size = *Length, .Subject = INVALID_PROCESSOR_INDEX};

    if (Block->Irql > DISPATCH_LEVEL && Block->Checked) {
        KeBugCheckEx(IRQL_NOT_LESS_OR_EQUAL, Block->Irql, DISPATCH_LEVEL, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    if (ProcessorNumber != NULL) {
        Records.Subject = KeGetProcessorIndexFromNumber(ProcessorNumber);
        if (Records.Subject == INVALID_PROCESSOR_INDEX) {
            return STATUS_INVALID_PARAMETER;
        }
    }
    if ((ULONG)RelationshipType > RelationProcessorModule && RelationshipType != RelationAll) {
        return STATUS_INVALID_PARAMETER;
    }
    Records.Count = KiProcessorCount(); /* after the look at the subject, so that it is among them */
    if (RelationshipType != RelationAll) {
        KiWriteRelationship(&Records, RelationshipType);
    } else {
        for (ULONG Index = 0; Index < ARRAYSIZE(All); Index += 1) {
            KiWriteRelationship(&Records, All[Index]);
        }
    }
    *Length = Records.Required;
    return Records.Required <= Records.Size && (Records.Buffer != NULL || Records.Required == 0)
               ? STATUS_SUCCESS
               : STATUS_INFO_LENGTH_MISMATCH;
}
