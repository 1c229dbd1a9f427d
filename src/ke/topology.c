/*
 * topology.c - where each processor is: its core, caches, package and node; what the KPRCB tells of that.
 *
 * A template says for each of Period processors which has the lowest index among those with which it shares a unit. It
 * is made of the host's CPUs, or of KPRCB_CONFIG.Topology, as the machine starts, and constant from then on. Processors
 * beyond the Period repeat it, with units of their own but for nodes, which the host has once.
 *
 *   words                                       written by                                     read by
 *   templates, nodes but for Affinity.Mask      KprcbStart                                     everyone
 *   sets of a KPRCB                             its creator, before the processor is active;   everyone, relaxed
 *                                               then an adder, under the addition lock, OR
 *   KNODE.Affinity.Mask                         the same                                       everyone, relaxed
 *
 * The adder stores a bit into the sets of others after the new processor is active, so no set names one that is not. What
 * must agree with the count at each moment is computed from the count, not from the sets (topologyquery.c).
 *
 * Tests: tests/ke/test_topology.c.
 */
#include "topology.h"

#define KI_CORE_CACHE 2 /* the highest level of which each core of a configured topology has its own */

typedef struct _KI_TEMPLATE {
    USHORT Leader[KiUnitCount];
} KI_TEMPLATE, *PKI_TEMPLATE;

KPRCB_STATIC_ASSERT(KPRCB_MAXIMUM_CACHES == HAL_CPU_CACHES, "the host tells of as many caches");

static struct {
    ULONG Period;
    ULONG Packages; /* one more than the highest package number of the template */
    PKI_TEMPLATE Templates;
    PKI_NODE Nodes;
    ULONG NodeCount;
    KI_SHAPE Shape; /* Threads 0: that of the host */
} KiTopology;

/* --- The template --- */

static BOOLEAN KiSharesOnHost(ULONG Unit, const HAL_CPU *One, const HAL_CPU *Two)
{
    ULONG Slot = Unit - KiUnitCache;

    switch (Unit) {
    case KiUnitCore:
        return One->Sibling == Two->Sibling;
    case KiUnitModule:
        return One->Module == Two->Module;
    case KiUnitDie:
        return One->Package == Two->Package && One->Die == Two->Die;
    case KiUnitPackage:
        return One->Package == Two->Package;
    case KiUnitNode:
        return One->Node == Two->Node;
    default:
        return Slot < One->CacheCount && Slot < Two->CacheCount && One->Cache[Slot].Level == Two->Cache[Slot].Level &&
               One->Cache[Slot].Type == Two->Cache[Slot].Type && One->Cache[Slot].Sharer == Two->Cache[Slot].Sharer;
    }
}

static VOID KiMakeHostTemplate(ULONG Index)
{
    const HAL_CPU *Cpu = HalProcessor(Index);

    if (Cpu->Package >= KiTopology.Packages) {
        KiTopology.Packages = Cpu->Package + 1;
    }
    for (ULONG Unit = 0; Unit < KiUnitCount; Unit += 1) {
        ULONG Leader = 0;

        while (Leader < Index && !KiSharesOnHost(Unit, HalProcessor(Leader), Cpu)) {
            Leader += 1;
        }
        KiTopology.Templates[Index].Leader[Unit] = (USHORT)Leader;
    }
}

/* How many processors in sequence share a unit in a configured topology. The first caches are a core's, others a package's. */
static ULONG KiUnitSpan(ULONG Unit)
{
    const KI_SHAPE *Shape = &KiTopology.Shape;
    ULONG Package = Shape->Threads * Shape->Cores;
    ULONG Slot = Unit - KiUnitCache;

    if (Unit == KiUnitNode) {
        return Package * Shape->Packages;
    }
    if (Unit == KiUnitCore || Unit == KiUnitModule) {
        return Shape->Threads;
    }
    if (Unit >= KiUnitCache &&
        (Slot >= HalProcessor(0)->CacheCount || HalProcessor(0)->Cache[Slot].Level <= KI_CORE_CACHE)) {
        return Shape->Threads;
    }
    return Package;
}

static VOID KiMakeTemplates(VOID)
{
    for (ULONG Index = 0; Index < KiTopology.Period; Index += 1) {
        if (KiTopology.Shape.Threads == 0) {
            KiMakeHostTemplate(Index);
            continue;
        }
        for (ULONG Unit = 0; Unit < KiUnitCount; Unit += 1) {
            KiTopology.Templates[Index].Leader[Unit] = (USHORT)(Index - Index % KiUnitSpan(Unit));
        }
    }
}

ULONG KiUnitLeader(ULONG Unit, ULONG Index)
{
    ULONG Place = Index % KiTopology.Period;
    ULONG Leader = KiTopology.Templates[Place].Leader[Unit];

    return Unit == KiUnitNode ? Leader : Index - Place + Leader;
}

KAFFINITY KiUnitMask(ULONG Unit, ULONG Index, USHORT Group, ULONG Count)
{
    ULONG Leader = KiUnitLeader(Unit, Index);
    ULONG First = Group * KiMachine.GroupSize;
    ULONG Last = First + KiCountInGroup(Count, Group);
    ULONG Round = Leader - Leader % KiTopology.Period;
    KAFFINITY Mask = 0;

    /* Other rounds have other units, but for nodes. */
    if (Unit != KiUnitNode && Last > Round + KiTopology.Period) {
        Last = Round + KiTopology.Period;
    }
    for (ULONG Other = First > Leader ? First : Leader; Other < Last; Other += 1) {
        if (KiUnitLeader(Unit, Other) == Leader) {
            Mask |= (KAFFINITY)1 << (Other - First);
        }
    }
    return Mask;
}

const HAL_CPU *KiCachesOf(ULONG Index)
{
    return HalProcessor(KiTopology.Shape.Threads != 0 ? 0 : Index % KiTopology.Period);
}

/* --- Nodes --- */

static PKI_NODE KiNodeOf(ULONG Index)
{
    ULONG Leader = KiUnitLeader(KiUnitNode, Index);
    ULONG Group = Index / KiMachine.GroupSize;
    PKI_NODE Node = KiTopology.Nodes;

    while (Node < &KiTopology.Nodes[KiTopology.NodeCount] &&
           (Node->Leader != Leader || Node->Node.Affinity.Group != Group)) {
        Node += 1;
    }
    return Node;
}

/* A node's first processor founds it. */
static VOID KiFoundNode(PKI_NODE Node, ULONG Index)
{
    ULONG Leader = KiUnitLeader(KiUnitNode, Index);
    PKI_NODE Primary = KiTopology.Nodes;

    while (Primary < Node && Primary->Leader != Leader) {
        Primary += 1;
    }
    Node->Leader = Leader;
    Node->Node.Affinity.Group = (USHORT)(Index / KiMachine.GroupSize);
    Node->Node.NodeNumber = (USHORT)(Node - KiTopology.Nodes);
    Node->Node.PrimaryNodeNumber = (USHORT)(Primary - KiTopology.Nodes);
    Node->Node.Color = (UCHAR)Node->Node.NodeNumber;
    Node->Node.ProximityId =
        KiTopology.Shape.Threads == 0 ? HalProcessor(Leader)->Node : Leader / KiUnitSpan(KiUnitNode);
    KiTopology.NodeCount += 1;
}

static VOID KiMakeNodes(VOID)
{
    for (ULONG Index = 0; Index < KiMachine.MaximumProcessors; Index += 1) {
        PKI_NODE Node = KiNodeOf(Index);

        if (Node == &KiTopology.Nodes[KiTopology.NodeCount]) {
            KiFoundNode(Node, Index);
        }
        Node->MaximumMask |= (KAFFINITY)1 << Index % KiMachine.GroupSize;
        Node->Node.MaximumProcessors += 1;
    }
}

PKI_NODE KiFindNode(ULONG Number)
{
    return Number < KiTopology.NodeCount ? &KiTopology.Nodes[Number] : NULL;
}

ULONG KiNodeCount(VOID)
{
    return KiTopology.NodeCount;
}

KAFFINITY KiActiveNodeMask(PKI_NODE Node, ULONG Count)
{
    ULONG InGroup = KiCountInGroup(Count, Node->Node.Affinity.Group);

    return InGroup == 0 ? 0 : Node->MaximumMask & ~(KAFFINITY)0 >> (8 * sizeof(KAFFINITY) - InGroup);
}

/* --- Start and end --- */

static SIZE_T KiTemplateBytes(VOID)
{
    return KiTopology.Period * sizeof(KI_TEMPLATE);
}

static SIZE_T KiNodeBytes(VOID)
{
    return (KiMachine.MaximumProcessors + 1) * sizeof(KI_NODE);
}

BOOLEAN KiStartTopology(VOID)
{
    KiTopology.Shape = KiMachine.Shape;
    KiTopology.Period = KiMachine.HostProcessors;
    if (KiMachine.Shape.Threads != 0) {
        KiTopology.Period = KiShapeSize(&KiMachine.Shape);
    }
    KiTopology.Templates = HalAllocatePages(KiTemplateBytes());
    KiTopology.Nodes = HalAllocatePages(KiNodeBytes());
    if (KiTopology.Templates == NULL || KiTopology.Nodes == NULL) {
        return FALSE;
    }
    KiMakeTemplates();
    KiMakeNodes();
    return TRUE;
}

VOID KiFreeTopology(VOID)
{
    if (KiTopology.Templates != NULL) {
        HalFreePages(KiTopology.Templates, KiTemplateBytes());
    }
    if (KiTopology.Nodes != NULL) {
        HalFreePages(KiTopology.Nodes, KiNodeBytes());
    }
    KiAbandonTopology();
}

VOID KiAbandonTopology(VOID)
{
    KiTopology.Templates = NULL;
    KiTopology.Nodes = NULL;
    KiTopology.Period = KiTopology.Packages = KiTopology.NodeCount = 0;
}

/* --- The KPRCB --- */

static VOID KiAddToSet(KAFFINITY volatile *Set, KAFFINITY Member)
{
    __atomic_fetch_or(Set, Member, __ATOMIC_RELAXED);
}

static PKI_TEMPLATE KiTemplateOf(PKPRCB Prcb)
{
    return &KiTopology.Templates[Prcb->Number % KiTopology.Period];
}

/* One learns of Other, which is of the same round of templates and may be itself. */
static VOID KiMeetProcessor(PKPRCB One, PKPRCB Other)
{
    const USHORT *Mine = KiTemplateOf(One)->Leader;
    const USHORT *Its = KiTemplateOf(Other)->Leader;
    ULONG Caches = KiCachesOf(One->Number)->CacheCount;

    if (Mine[KiUnitPackage] == Its[KiUnitPackage]) {
        KiAddToSet(&One->PackageProcessorSet.Bitmap[Other->Group], Other->GroupSetMember);
    }
    if (One->Group != Other->Group) {
        return;
    }
    if (Mine[KiUnitCore] == Its[KiUnitCore]) {
        KiAddToSet(&One->CoreProcessorSet, Other->GroupSetMember);
        KiAddToSet(&One->MultiThreadProcessorSet, Other->GroupSetMember);
    }
    for (ULONG Slot = 0; Slot < Caches; Slot += 1) {
        if (Mine[KiUnitCache + Slot] == Its[KiUnitCache + Slot]) {
            KiAddToSet(&One->CacheProcessorMask[Slot], Other->GroupSetMember);
        }
    }
}

/* The lowest index that has anything in common with Index but the node. It is of the same round of templates. */
static ULONG KiFirstRelative(PKPRCB Prcb)
{
    const USHORT *Leaders = KiTemplateOf(Prcb)->Leader;
    ULONG First = Prcb->Number % KiTopology.Period;
    ULONG Round = Prcb->Number - First;

    for (ULONG Unit = 0; Unit < KiUnitCount; Unit += 1) {
        if (Unit != KiUnitNode && Leaders[Unit] < First) {
            First = Leaders[Unit];
        }
    }
    return Round + First;
}

static ULONG KiPackageId(ULONG Index)
{
    ULONG Place = Index % KiTopology.Period;

    if (KiTopology.Shape.Threads != 0) {
        return Index / KiUnitSpan(KiUnitPackage);
    }
    return Index / KiTopology.Period * KiTopology.Packages + HalProcessor(Place)->Package;
}

VOID KiPlaceProcessor(PKPRCB Prcb)
{
    ULONG Index = Prcb->Number;
    ULONG Core = KiUnitLeader(KiUnitCore, Index);
    ULONG FirstOfGroup = Prcb->Group * KiMachine.GroupSize;

    Prcb->ParentNode = &KiNodeOf(Index)->Node;
    Prcb->NodeColor = Prcb->ParentNode->Color;
    Prcb->PackageId = KiPackageId(Index);
    Prcb->MultiThreadProcessorSet = Prcb->CoreProcessorSet = 0;
    __builtin_memset((PVOID)Prcb->CacheProcessorMask, 0, sizeof(Prcb->CacheProcessorMask));
    __builtin_memset(&Prcb->PackageProcessorSet, 0, sizeof(Prcb->PackageProcessorSet));
    Prcb->PackageProcessorSet.Size = KPRCB_MAXIMUM_GROUPS;
    Prcb->PackageProcessorSet.Count = (USHORT)KiMachine.MaximumGroups;
    for (ULONG Other = KiFirstRelative(Prcb); Other <= Index; Other += 1) {
        KiMeetProcessor(Prcb, &KiProcessor(Other)->PrcbData);
    }
    /* Indices of a core need not follow each other. */
    Core = Core > FirstOfGroup ? Core : FirstOfGroup;
    while (KiUnitLeader(KiUnitCore, Core) != KiUnitLeader(KiUnitCore, Index)) {
        Core += 1;
    }
    Prcb->MultiThreadSetMaster = &KiProcessor(Core)->PrcbData;
}

VOID KiAnnounceProcessor(PKPRCB Prcb)
{
    for (ULONG Other = KiFirstRelative(Prcb); Other < Prcb->Number; Other += 1) {
        KiMeetProcessor(&KiProcessor(Other)->PrcbData, Prcb);
    }
    KiAddToSet(&Prcb->ParentNode->Affinity.Mask, Prcb->GroupSetMember);
}

/* --- Configuration --- */

ULONG KiShapeSize(const KI_SHAPE *Shape)
{
    return Shape->Nodes * Shape->Packages * Shape->Cores * Shape->Threads;
}

/* 0: no number from 1 to KPRCB_MAXIMUM_PROCESSORS. */
static ULONG KiReadShapeNumber(const char **Text)
{
    ULONG Number = 0;

    while (**Text >= '0' && **Text <= '9' && Number <= KPRCB_MAXIMUM_PROCESSORS) {
        Number = Number * 10 + (ULONG)(**Text - '0');
        *Text += 1;
    }
    return Number <= KPRCB_MAXIMUM_PROCESSORS ? Number : 0;
}

BOOLEAN KiReadShape(const char *Text, KI_SHAPE *Shape)
{
    ULONG *const Numbers[] = {&Shape->Nodes, &Shape->Packages, &Shape->Cores, &Shape->Threads};
    ULONG Size = 1;

    for (ULONG Index = 0; Index < ARRAYSIZE(Numbers); Index += 1) {
        if (Index != 0 && *Text++ != ':') {
            return FALSE;
        }
        *Numbers[Index] = KiReadShapeNumber(&Text);
        if (*Numbers[Index] == 0 || Size * *Numbers[Index] > KPRCB_MAXIMUM_PROCESSORS) {
            return FALSE;
        }
        Size *= *Numbers[Index];
    }
    return *Text == '\0';
}

/* What cpuid would tell on such a machine, in the members that it has filled. */
VOID KiIdentifyShape(PKPRCB Prcb)
{
    const KI_SHAPE *Shape = &KiTopology.Shape;
    const KI_IDENTIFY_RULES *Rules = KiFindIdentifyRules(KiMachine.Profile->Version);
    ULONG Cores = Shape->Cores < 255 ? Shape->Cores : 255;
    ULONG Logical = Shape->Cores * Shape->Threads;

    if (Shape->Threads == 0) {
        return;
    }
    if ((Rules->Members & KI_MEMBER_LOGICAL_PROCESSORS) != 0) {
        Prcb->LogicalProcessorsPerPhysicalProcessor = (UCHAR)(Logical < 255 ? Logical : 255);
    }
    for (ULONG Slot = 0; Slot < Prcb->CacheCount; Slot += 1) {
        Prcb->CacheSharing[Slot] = (USHORT)(Prcb->Cache[Slot].Level <= KI_CORE_CACHE ? Shape->Threads : Logical);
    }
    if ((Rules->Members & KI_MEMBER_CORES) != 0) {
        ULONG Power = 1;

        while (Rules->RoundCores && Power < Cores && Power < 128) {
            Power <<= 1;
        }
        Prcb->CoresPerPhysicalProcessor = (UCHAR)(Rules->RoundCores ? Power : Cores);
        Prcb->LogicalProcessorsPerCore = (UCHAR)(Shape->Threads < 255 ? Shape->Threads : 255);
    }
}

/* --- Queries of nodes --- */

USHORT KeGetCurrentNodeNumber(VOID)
{
    return KiEnter()->Pcr->PrcbData.ParentNode->NodeNumber;
}

USHORT KeQueryHighestNodeNumber(VOID)
{
    (VOID) KiEnter();
    return (USHORT)(KiNodeCount() - 1);
}

VOID KeQueryNodeActiveAffinity(USHORT NodeNumber, PGROUP_AFFINITY Affinity, PUSHORT Count)
{
    GROUP_AFFINITY Active = {0};
    PKI_NODE Node;

    (VOID) KiEnter();
    Node = KiFindNode(NodeNumber);
    if (Node != NULL) {
        Active.Group = Node->Node.Affinity.Group;
        Active.Mask = KiActiveNodeMask(Node, KiProcessorCount());
    }
    if (Affinity != NULL) {
        *Affinity = Active;
    }
    if (Count != NULL) {
        *Count = (USHORT)__builtin_popcountll(Active.Mask);
    }
}

NTSTATUS KeQueryNodeActiveAffinity2(USHORT NodeNumber, PGROUP_AFFINITY GroupAffinities, USHORT GroupAffinitiesCount,
                                    PUSHORT GroupAffinitiesRequired)
{
    GROUP_AFFINITY Active;

    (VOID) KiEnter();
    if (KiFindNode(NodeNumber) == NULL) {
        return STATUS_INVALID_PARAMETER;
    }
    KeQueryNodeActiveAffinity(NodeNumber, &Active, NULL);
    *GroupAffinitiesRequired = Active.Mask != 0;
    if (GroupAffinitiesCount < *GroupAffinitiesRequired) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    if (Active.Mask != 0) {
        *GroupAffinities = Active;
    }
    return STATUS_SUCCESS;
}

ULONG KeQueryNodeActiveProcessorCount(USHORT NodeNumber)
{
    USHORT Count;

    KeQueryNodeActiveAffinity(NodeNumber, NULL, &Count);
    return Count;
}

USHORT KeQueryNodeMaximumProcessorCount(USHORT NodeNumber)
{
    PKI_NODE Node;

    (VOID) KiEnter();
    Node = KiFindNode(NodeNumber);
    return Node == NULL ? 0 : Node->Node.MaximumProcessors;
}
