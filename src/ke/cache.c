/*
 * cache.c - the caches of a processor by cpuid, into KPRCB.Cache and CacheCount.
 *
 * Emulates versions 6.0 and later, whose KPRCB has these members. Leaf 4 tells of the caches where a processor has that
 * leaf; from 6.2 on leaf 0x8000001D does, where AMD's topology extensions are announced. What they do not tell of comes
 * from the one-byte descriptors of leaf 2 for Intel, from 6.2 on for Centaur too, and from leaves 0x80000005 and
 * 0x80000006 for AMD. On a CPU either of the first two is complete, and the others are not asked. In a record it may be
 * cut off, and then the others fill up what it lacks.
 *
 * Deviations:
 *   From which leaves NT fills these members is not public. The vendors of leaf 2 and of AMD's leaves are those for which
 *   NT finds the second-level cache of the KPCR. 0x8000001D is younger than 6.1, hence not known to it.
 *   A descriptor means what Intel says it means, where NT's reading of it for the KPCR differs in some.
 *   The order of the caches is by level, of one level data, instructions, trace, unified. A sixth one is left out.
 *   CacheSharing is the library's own.
 *
 * Nothing here is shared between threads: a processor identifies itself while it starts.
 *
 * Test: tests/ke/test_cache.c.
 */
#include "identify.h"

/* A list of caches ends with one of type 0. No CPU has as many. */
#define KI_MAXIMUM_SUBLEAF 16

#define KB(Number) ((ULONG)(Number) << 10)
#define MB(Number) ((ULONG)(Number) << 20)

typedef struct _KI_DESCRIPTOR {
    UCHAR Descriptor;
    CACHE_DESCRIPTOR Cache;
} KI_DESCRIPTOR;

/* clang-format off */
static const KI_DESCRIPTOR KiDescriptors[] = {
    {0x06, {1, 4, 32, KB(8), CacheInstruction}},
    {0x08, {1, 4, 32, KB(16), CacheInstruction}},
    {0x09, {1, 4, 64, KB(32), CacheInstruction}},
    {0x0A, {1, 2, 32, KB(8), CacheData}},
    {0x0C, {1, 4, 32, KB(16), CacheData}},
    {0x0D, {1, 4, 64, KB(16), CacheData}},
    {0x0E, {1, 6, 64, KB(24), CacheData}},
    {0x1D, {2, 2, 64, KB(128), CacheUnified}},
    {0x21, {2, 8, 64, KB(256), CacheUnified}},
    {0x22, {3, 4, 64, KB(512), CacheUnified}},
    {0x23, {3, 8, 64, MB(1), CacheUnified}},
    {0x24, {2, 16, 64, MB(1), CacheUnified}},
    {0x25, {3, 8, 64, MB(2), CacheUnified}},
    {0x29, {3, 8, 64, MB(4), CacheUnified}},
    {0x2C, {1, 8, 64, KB(32), CacheData}},
    {0x30, {1, 8, 64, KB(32), CacheInstruction}},
    {0x39, {2, 4, 64, KB(128), CacheUnified}},
    {0x3A, {2, 6, 64, KB(192), CacheUnified}},
    {0x3B, {2, 2, 64, KB(128), CacheUnified}},
    {0x3C, {2, 4, 64, KB(256), CacheUnified}},
    {0x3D, {2, 6, 64, KB(384), CacheUnified}},
    {0x3E, {2, 4, 64, KB(512), CacheUnified}},
    {0x41, {2, 4, 32, KB(128), CacheUnified}},
    {0x42, {2, 4, 32, KB(256), CacheUnified}},
    {0x43, {2, 4, 32, KB(512), CacheUnified}},
    {0x44, {2, 4, 32, MB(1), CacheUnified}},
    {0x45, {2, 4, 32, MB(2), CacheUnified}},
    {0x46, {3, 4, 64, MB(4), CacheUnified}},
    {0x47, {3, 8, 64, MB(8), CacheUnified}},
    {0x48, {2, 12, 64, MB(3), CacheUnified}},
    {0x49, {2, 16, 64, MB(4), CacheUnified}}, /* of the third level for family 15, model 6 */
    {0x4A, {3, 12, 64, MB(6), CacheUnified}},
    {0x4B, {3, 16, 64, MB(8), CacheUnified}},
    {0x4C, {3, 12, 64, MB(12), CacheUnified}},
    {0x4D, {3, 16, 64, MB(16), CacheUnified}},
    {0x4E, {2, 24, 64, MB(6), CacheUnified}},
    {0x60, {1, 8, 64, KB(16), CacheData}},
    {0x66, {1, 4, 64, KB(8), CacheData}},
    {0x67, {1, 4, 64, KB(16), CacheData}},
    {0x68, {1, 4, 64, KB(32), CacheData}},
    {0x70, {1, 8, 0, KB(12), CacheTrace}},
    {0x71, {1, 8, 0, KB(16), CacheTrace}},
    {0x72, {1, 8, 0, KB(32), CacheTrace}},
    {0x78, {2, 4, 64, MB(1), CacheUnified}},
    {0x79, {2, 8, 64, KB(128), CacheUnified}},
    {0x7A, {2, 8, 64, KB(256), CacheUnified}},
    {0x7B, {2, 8, 64, KB(512), CacheUnified}},
    {0x7C, {2, 8, 64, MB(1), CacheUnified}},
    {0x7D, {2, 8, 64, MB(2), CacheUnified}},
    {0x7F, {2, 2, 64, KB(512), CacheUnified}},
    {0x80, {2, 8, 64, KB(512), CacheUnified}},
    {0x82, {2, 8, 32, KB(256), CacheUnified}},
    {0x83, {2, 8, 32, KB(512), CacheUnified}},
    {0x84, {2, 8, 32, MB(1), CacheUnified}},
    {0x85, {2, 8, 32, MB(2), CacheUnified}},
    {0x86, {2, 4, 64, KB(512), CacheUnified}},
    {0x87, {2, 8, 64, MB(1), CacheUnified}},
    {0xD0, {3, 4, 64, KB(512), CacheUnified}},
    {0xD1, {3, 4, 64, MB(1), CacheUnified}},
    {0xD2, {3, 4, 64, MB(2), CacheUnified}},
    {0xD6, {3, 8, 64, MB(1), CacheUnified}},
    {0xD7, {3, 8, 64, MB(2), CacheUnified}},
    {0xD8, {3, 8, 64, MB(4), CacheUnified}},
    {0xDC, {3, 12, 64, KB(1536), CacheUnified}},
    {0xDD, {3, 12, 64, MB(3), CacheUnified}},
    {0xDE, {3, 12, 64, MB(6), CacheUnified}},
    {0xE2, {3, 16, 64, MB(2), CacheUnified}},
    {0xE3, {3, 16, 64, MB(4), CacheUnified}},
    {0xE4, {3, 16, 64, MB(8), CacheUnified}},
    {0xEA, {3, 24, 64, MB(12), CacheUnified}},
    {0xEB, {3, 24, 64, MB(18), CacheUnified}},
    {0xEC, {3, 24, 64, MB(24), CacheUnified}},
};
/* clang-format on */

/* Of leaf 0x80000006. 0: no such cache, or the code is reserved or refers to another leaf. */
static const UCHAR KiAssociativity[16] = {0, 1, 2, 3, 4, 6, 8, 0, 16, 0, 32, 48, 64, 96, 128, CACHE_FULLY_ASSOCIATIVE};

/* The lower, the earlier in KPRCB.Cache. */
static ULONG KiCacheRank(const CACHE_DESCRIPTOR *Cache)
{
    static const UCHAR Ranks[] = {[CacheData] = 0, [CacheInstruction] = 1, [CacheTrace] = 2, [CacheUnified] = 3};

    return Cache->Level * 4u + Ranks[Cache->Type];
}

VOID KiAddCache(PKPRCB Prcb, const CACHE_DESCRIPTOR *Cache, ULONG Sharing)
{
    ULONG Rank = KiCacheRank(Cache);
    ULONG Place = 0;
    ULONG Last;

    while (Place < Prcb->CacheCount && KiCacheRank(&Prcb->Cache[Place]) < Rank) {
        Place += 1;
    }
    if (Place == KPRCB_MAXIMUM_CACHES || (Place < Prcb->CacheCount && KiCacheRank(&Prcb->Cache[Place]) == Rank)) {
        return;
    }
    if (Prcb->CacheCount < KPRCB_MAXIMUM_CACHES) {
        Prcb->CacheCount += 1;
    }
    for (Last = Prcb->CacheCount - 1; Last > Place; Last -= 1) {
        Prcb->Cache[Last] = Prcb->Cache[Last - 1];
        Prcb->CacheSharing[Last] = Prcb->CacheSharing[Last - 1];
    }
    Prcb->Cache[Place] = *Cache;
    Prcb->CacheSharing[Place] = (USHORT)Sharing;
}

/* --- leaf 4 and leaf 0x8000001D, which are alike --- */

static VOID KiDecodeParameters(PKPRCB Prcb, const HAL_CPUID *Registers)
{
    static const UCHAR Types[] = {0, CacheData, CacheInstruction, CacheUnified};
    ULONG Type = Registers->Eax & 0x1F;
    ULONG Ways = (Registers->Ebx >> 22) + 1;
    ULONG Partitions = (Registers->Ebx >> 12 & 0x3FF) + 1;
    ULONG Line = (Registers->Ebx & 0xFFF) + 1;
    ULONGLONG Sets = (ULONGLONG)Registers->Ecx + 1;
    CACHE_DESCRIPTOR Cache = {.Level = (UCHAR)(Registers->Eax >> 5 & 7), .LineSize = (USHORT)Line};

    if (Type >= ARRAYSIZE(Types) || Cache.Level == 0) {
        return;
    }
    Cache.Type = (PROCESSOR_CACHE_TYPE)Types[Type];
    if ((Registers->Eax & 0x200) != 0) {
        Cache.Associativity = CACHE_FULLY_ASSOCIATIVE;
    } else {
        Cache.Associativity = (UCHAR)(Ways < CACHE_FULLY_ASSOCIATIVE ? Ways : CACHE_FULLY_ASSOCIATIVE - 1);
    }
    /* 32 bits at most before the sets, so that the test cannot overflow. */
    if (Sets > 0xFFFFFFFFu / (Ways * Partitions) / Line) {
        Cache.Size = 0xFFFFFFFF;
    } else {
        Cache.Size = (ULONG)(Sets * Ways * Partitions * Line);
    }
    KiAddCache(Prcb, &Cache, (Registers->Eax >> 14 & 0xFFF) + 1);
}

/* FALSE: the leaf tells of no caches, or of some and then it is cut off. */
static BOOLEAN KiReadParameters(PKPRCB Prcb, PKI_CPUID Cpuid, ULONG Leaf)
{
    HAL_CPUID Registers;

    for (ULONG Subleaf = 0; Subleaf < KI_MAXIMUM_SUBLEAF; Subleaf += 1) {
        if (!KiReadLeaf(Cpuid, Leaf, Subleaf, &Registers)) {
            return FALSE;
        }
        if ((Registers.Eax & 0x1F) == 0) {
            return Subleaf != 0;
        }
        KiDecodeParameters(Prcb, &Registers);
    }
    return FALSE;
}

/* --- leaf 2 --- */

static VOID KiReadDescriptors(PKPRCB Prcb, PKI_CPUID Cpuid)
{
    HAL_CPUID Registers;
    ULONG Words[4];
    /* The threads of a core share the first level; of a single core all. */
    ULONG Sharing[] = {0, Prcb->LogicalProcessorsPerCore, 0, 0};

    if (Prcb->CoresPerPhysicalProcessor == 1) {
        Sharing[1] = Sharing[2] = Sharing[3] = Prcb->LogicalProcessorsPerPhysicalProcessor;
    }
    KiReadLeaf(Cpuid, 2, 0, &Registers);
    Words[0] = Registers.Eax & ~0xFFu; /* the low byte counts how often to ask: once */
    Words[1] = Registers.Ebx;
    Words[2] = Registers.Ecx;
    Words[3] = Registers.Edx;
    for (ULONG Byte = 0; Byte < sizeof(Words); Byte += 1) {
        UCHAR Descriptor = (UCHAR)(Words[Byte / 4] >> 8 * (Byte % 4));

        if ((Words[Byte / 4] & 0x80000000) != 0) {
            continue;
        }
        for (ULONG Index = 0; Index < ARRAYSIZE(KiDescriptors); Index += 1) {
            if (KiDescriptors[Index].Descriptor == Descriptor) {
                CACHE_DESCRIPTOR Cache = KiDescriptors[Index].Cache;

                if (Descriptor == 0x49 && Cpuid->Family == 15 && Cpuid->Step >> 8 == 6) {
                    Cache.Level = 3;
                }
                KiAddCache(Prcb, &Cache, Sharing[Cache.Level]);
            }
        }
    }
}

/* --- leaves 0x80000005 and 0x80000006 --- */

static VOID KiAddFirstLevel(PKPRCB Prcb, ULONG Word, PROCESSOR_CACHE_TYPE Type)
{
    CACHE_DESCRIPTOR Cache = {1, (UCHAR)(Word >> 16), (USHORT)(Word & 0xFF), KB(Word >> 24), Type};

    if (Cache.Size != 0) {
        KiAddCache(Prcb, &Cache, Prcb->LogicalProcessorsPerCore);
    }
}

static VOID KiReadAmdLeaves(PKPRCB Prcb, PKI_CPUID Cpuid)
{
    HAL_CPUID Registers;
    CACHE_DESCRIPTOR Cache = {.Type = CacheUnified};

    KiReadLeaf(Cpuid, 0x80000005, 0, &Registers);
    KiAddFirstLevel(Prcb, Registers.Ecx, CacheData);
    KiAddFirstLevel(Prcb, Registers.Edx, CacheInstruction);

    KiReadLeaf(Cpuid, 0x80000006, 0, &Registers);
    Cache.Level = 2;
    Cache.LineSize = Registers.Ecx & 0xFF;
    Cache.Associativity = KiAssociativity[Registers.Ecx >> 12 & 0xF];
    Cache.Size = KB(Registers.Ecx >> 16);
    if (Cpuid->Family == 6 && Cpuid->Step == 0x0300) {
        Cache.Size = KB(64); /* this stepping says 1 */
    }
    if (Cache.Size != 0 && (Registers.Ecx >> 12 & 0xF) != 0) {
        KiAddCache(Prcb, &Cache, Prcb->LogicalProcessorsPerCore);
    }
    Cache.Level = 3;
    Cache.LineSize = Registers.Edx & 0xFF;
    Cache.Associativity = KiAssociativity[Registers.Edx >> 12 & 0xF];
    Cache.Size = (Registers.Edx >> 18 < 0x2000) ? KB(512) * (Registers.Edx >> 18) : 0xFFFFFFFF;
    if (Cache.Size != 0 && (Registers.Edx >> 12 & 0xF) != 0) {
        KiAddCache(Prcb, &Cache, Prcb->LogicalProcessorsPerPhysicalProcessor);
    }
}

#define LEAF_EXTENDED1_ECX_TOPOLOGY 0x00400000

VOID KiStoreCaches(PKPRCB Prcb, PKI_CPUID Cpuid, const KI_IDENTIFY_RULES *Rules)
{
    HAL_CPUID Registers;

    if (Cpuid->Vendor != CPU_AMD && KiReadParameters(Prcb, Cpuid, 4)) {
        return;
    }
    KiReadLeaf(Cpuid, 0x80000001, 0, &Registers);
    if (Rules->ExtendedCaches && (Registers.Ecx & LEAF_EXTENDED1_ECX_TOPOLOGY) != 0 &&
        KiReadParameters(Prcb, Cpuid, 0x8000001D)) {
        return;
    }
    if ((Rules->DescriptorVendors & KI_VENDOR(Cpuid->Vendor)) != 0) {
        KiReadDescriptors(Prcb, Cpuid);
    } else if (Cpuid->Vendor == CPU_AMD) {
        KiReadAmdLeaves(Prcb, Cpuid);
    }
}

ULONG KiCacheSharing(const KPRCB *Prcb, ULONG Index)
{
    return Index < Prcb->CacheCount ? Prcb->CacheSharing[Index] : 0;
}
