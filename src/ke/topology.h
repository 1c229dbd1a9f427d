/*
 * topology.h - what topology.c and topologyquery.c share.
 */
#ifndef KE_TOPOLOGY_H
#define KE_TOPOLOGY_H

#include "ki.h"

/* What processors have in common. Of KiUnitCache there are KPRCB_MAXIMUM_CACHES, by level. */
typedef enum _KI_UNIT {
    KiUnitCore,
    KiUnitModule,
    KiUnitDie,
    KiUnitPackage,
    KiUnitNode,
    KiUnitCache,
    KiUnitCount = KiUnitCache + KPRCB_MAXIMUM_CACHES
} KI_UNIT;

typedef struct _KI_NODE {
    KNODE Node;
    ULONG Leader; /* KiUnitLeader of its processors */
    KAFFINITY MaximumMask;
} KI_NODE, *PKI_NODE;

/*
 * The lowest index of the processors that have a unit in common, active or not; a unit that is split by groups (all but
 * packages, dies and modules) has one leader all the same. The index itself where there is no such unit.
 */
ULONG KiUnitLeader(ULONG Unit, ULONG Index);
/* The first Count processors of a group that have the unit in common with Index. */
KAFFINITY KiUnitMask(ULONG Unit, ULONG Index, USHORT Group, ULONG Count);
/* The caches of a processor, in the order of KiUnitCache. */
const HAL_CPU *KiCachesOf(ULONG Index);
/* NULL: no such node. */
PKI_NODE KiFindNode(ULONG Number);
KAFFINITY KiActiveNodeMask(PKI_NODE Node, ULONG Count);
ULONG KiNodeCount(VOID);

#endif
