/*
 * topology.h - how processors relate: cores, caches, dies, packages, NUMA nodes, groups.
 *
 * The topology is that of the host's CPUs, unless KPRCB_CONFIG.Topology says otherwise. If processors outnumber the
 * CPUs, they are taken to be several such hosts: cores, caches and packages come again, nodes do not. Members of the KPRCB
 * tell the same as the routines here, whatever the version of NT.
 *
 * A core, a cache or a node that spans groups counts as one in each, as NT splits nodes before Windows Server 2022. So a
 * node is in one group. Nodes are numbered by their first processor; those that have only memory are left out.
 */
#ifndef KPRCB_TOPOLOGY_H
#define KPRCB_TOPOLOGY_H

#include <kprcb/prcb.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef ANYSIZE_ARRAY
#define ANYSIZE_ARRAY 1
#endif

/* A node. Constant, but that Affinity.Mask grows by whoever adds a processor. */
typedef struct _KNODE {
    union {
        GROUP_AFFINITY Affinity;          /* the active processors */
        KAFFINITY volatile ProcessorMask; /* the same, as NT before 6.1 has it */
    };
    ULONG ProximityId; /* the host's number of the node */
    USHORT NodeNumber;
    USHORT PrimaryNodeNumber; /* the first of the nodes into which groups have split the host's */
    UCHAR MaximumProcessors;  /* with those that may still be added */
    UCHAR Color;              /* the low bits of NodeNumber */
} KNODE, *PKNODE;

typedef enum _LOGICAL_PROCESSOR_RELATIONSHIP {
    RelationProcessorCore,
    RelationNumaNode,
    RelationCache,
    RelationProcessorPackage,
    RelationGroup,
    RelationProcessorDie,
    RelationNumaNodeEx,
    RelationProcessorModule,
    RelationAll = 0xFFFF
} LOGICAL_PROCESSOR_RELATIONSHIP;

#define LTP_PC_SMT 0x1 /* PROCESSOR_RELATIONSHIP.Flags of a core with several processors */

/* Of a core, package, die or module. */
typedef struct _PROCESSOR_RELATIONSHIP {
    UCHAR Flags;
    UCHAR EfficiencyClass; /* 0 */
    UCHAR Reserved[20];
    USHORT GroupCount;
    GROUP_AFFINITY GroupMask[ANYSIZE_ARRAY];
} PROCESSOR_RELATIONSHIP, *PPROCESSOR_RELATIONSHIP;

typedef struct _NUMA_NODE_RELATIONSHIP {
    ULONG NodeNumber;
    UCHAR Reserved[18];
    USHORT GroupCount; /* 1 */
    union {
        GROUP_AFFINITY GroupMask;
        GROUP_AFFINITY GroupMasks[ANYSIZE_ARRAY];
    };
} NUMA_NODE_RELATIONSHIP, *PNUMA_NODE_RELATIONSHIP;

typedef struct _CACHE_RELATIONSHIP {
    UCHAR Level;
    UCHAR Associativity;
    USHORT LineSize; /* bytes */
    ULONG CacheSize; /* bytes */
    PROCESSOR_CACHE_TYPE Type;
    UCHAR Reserved[18];
    USHORT GroupCount; /* 1 */
    union {
        GROUP_AFFINITY GroupMask;
        GROUP_AFFINITY GroupMasks[ANYSIZE_ARRAY];
    };
} CACHE_RELATIONSHIP, *PCACHE_RELATIONSHIP;

typedef struct _PROCESSOR_GROUP_INFO {
    UCHAR MaximumProcessorCount;
    UCHAR ActiveProcessorCount;
    UCHAR Reserved[38];
    KAFFINITY ActiveProcessorMask;
} PROCESSOR_GROUP_INFO, *PPROCESSOR_GROUP_INFO;

typedef struct _GROUP_RELATIONSHIP {
    USHORT MaximumGroupCount;
    USHORT ActiveGroupCount;
    UCHAR Reserved[20];
    PROCESSOR_GROUP_INFO GroupInfo[ANYSIZE_ARRAY]; /* of the active groups */
} GROUP_RELATIONSHIP, *PGROUP_RELATIONSHIP;

/* A record; the next one begins Size bytes behind it. */
typedef struct _SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX {
    LOGICAL_PROCESSOR_RELATIONSHIP Relationship;
    ULONG Size;
    union {
        PROCESSOR_RELATIONSHIP Processor;
        NUMA_NODE_RELATIONSHIP NumaNode;
        CACHE_RELATIONSHIP Cache;
        GROUP_RELATIONSHIP Group;
    };
} SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX, *PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX;

/*
 * KeQueryLogicalProcessorRelationship (WDK: same). Writes a record for each core, node, cache, package, group, die or
 * module that has an active processor (of all, in this order, for RelationAll), or for those alone in which the processor
 * *ProcessorNumber is, unless that is NULL. *Length: bytes at Information; receives how many are needed. All
 * records of a call are of the same moment. Caches are those that the host tells of. IRQL <= DISPATCH_LEVEL.
 *   STATUS_SUCCESS
 *   STATUS_INVALID_PARAMETER     no such processor or relationship
 *   STATUS_INFO_LENGTH_MISMATCH  *Length was too small, or Information NULL; what is at Information is undefined
 */
KPRCB_API NTSTATUS KeQueryLogicalProcessorRelationship(PPROCESSOR_NUMBER ProcessorNumber,
                                                       LOGICAL_PROCESSOR_RELATIONSHIP RelationshipType,
                                                       PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Information,
                                                       PULONG Length);

/* KeGetCurrentNodeNumber (WDK: same). The node of the current processor; a snapshot unless the caller cannot move. Any IRQL. */
KPRCB_API USHORT KeGetCurrentNodeNumber(VOID);

/* KeQueryHighestNodeNumber (WDK: same). With nodes whose processors may still be added; constant. Any IRQL. */
KPRCB_API USHORT KeQueryHighestNodeNumber(VOID);

/*
 * KeQueryNodeActiveAffinity (WDK: same). The active processors of a node and how many they are; either pointer may be NULL.
 * Zeros for a number that is no node's. Any IRQL.
 */
KPRCB_API VOID KeQueryNodeActiveAffinity(USHORT NodeNumber, PGROUP_AFFINITY Affinity, PUSHORT Count);

/*
 * KeQueryNodeActiveAffinity2 (WDK: same). The same as an array of one entry a group; a node here has one, or none before it
 * has an active processor. *GroupAffinitiesRequired receives the number. Any IRQL.
 *   STATUS_SUCCESS
 *   STATUS_INVALID_PARAMETER  no such node
 *   STATUS_BUFFER_TOO_SMALL   GroupAffinitiesCount was less
 */
KPRCB_API NTSTATUS KeQueryNodeActiveAffinity2(USHORT NodeNumber, PGROUP_AFFINITY GroupAffinities,
                                              USHORT GroupAffinitiesCount, PUSHORT GroupAffinitiesRequired);

/* KeQueryNodeActiveProcessorCount, KeQueryNodeMaximumProcessorCount (WDK: same). 0: no such node. Any IRQL. */
KPRCB_API ULONG KeQueryNodeActiveProcessorCount(USHORT NodeNumber);
KPRCB_API USHORT KeQueryNodeMaximumProcessorCount(USHORT NodeNumber);

KPRCB_STATIC_ASSERT(offsetof(PROCESSOR_RELATIONSHIP, GroupMask) == 24 && offsetof(NUMA_NODE_RELATIONSHIP, GroupMask) == 24 &&
                        offsetof(CACHE_RELATIONSHIP, GroupMask) == 32 && offsetof(GROUP_RELATIONSHIP, GroupInfo) == 24,
                    "relationships as the WDK lays them out");
KPRCB_STATIC_ASSERT(sizeof(PROCESSOR_GROUP_INFO) == 40 + sizeof(void *), "PROCESSOR_GROUP_INFO as the WDK lays it out");
KPRCB_STATIC_ASSERT(offsetof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX, Processor) == 8 &&
                        sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX) == 8 + sizeof(GROUP_RELATIONSHIP),
                    "SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX as the WDK lays it out");

#ifdef __cplusplus
}
#endif

#endif
