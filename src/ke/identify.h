/*
 * identify.h - what cpuid tells of a processor, as the KPRCB keeps it.
 */
#ifndef KE_IDENTIFY_H
#define KE_IDENTIFY_H

#include <kprcb/prcb.h>

#include "hal.h"

/* Answers a leaf. FALSE: this processor, or this record of one, does not have it. */
typedef BOOLEAN KI_CPUID_SOURCE(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers);

/* KPRCB.FeatureBits of the 32-bit kernel. Microsoft's names where they are public. */
#define KF_V86_VIS 0x00000001ULL
#define KF_RDTSC 0x00000002ULL
#define KF_CR4 0x00000004ULL
#define KF_CMOV 0x00000008ULL
#define KF_GLOBAL_PAGE 0x00000010ULL
#define KF_LARGE_PAGE 0x00000020ULL
#define KF_MTRR 0x00000040ULL
#define KF_CMPXCHG8B 0x00000080ULL
#define KF_MMX 0x00000100ULL
#define KF_WORKING_PTE 0x00000200ULL
#define KF_PAT 0x00000400ULL
#define KF_FXSR 0x00000800ULL
#define KF_FAST_SYSCALL 0x00001000ULL
#define KF_XMMI 0x00002000ULL
#define KF_3DNOW 0x00004000ULL
#define KF_AMDK6MTRR 0x00008000ULL /* versions 5.0 to 6.1 */
#define KF_XMMI64 0x00010000ULL
#define KF_DTS 0x00020000ULL
#define KF_NX_BIT 0x20000000ULL

/* Bits whose names are not public. */
#define KI_FEATURE_HTT 0x00040000ULL /* version 5.1 only */
#define KI_FEATURE_CLFSH 0x00040000ULL
#define KI_FEATURE_SSE3 0x00080000ULL
#define KI_FEATURE_CHANNELS 0x00100000ULL /* version 6.0 only */
#define KI_FEATURE_AMD 0x00100000ULL
#define KI_FEATURE_ACNT2 0x00200000ULL
#define KI_FEATURE_INTEL 0x00800000ULL
#define KI_FEATURE_SMEP 0x01000000ULL
#define KI_FEATURE_RDRAND 0x02000000ULL
#define KI_FEATURE_SLAT 0x04000000ULL
#define KI_FEATURE_RDTSCP 0x100000000ULL
#define KI_FEATURE_CLFLUSHOPT 0x200000000ULL
#define KI_FEATURE_HDC 0x400000000ULL

/* The registers that feature bits are read from. */
typedef enum _KI_FEATURE_WORD {
    KiWordLeaf1Ecx,
    KiWordLeaf1Edx,
    KiWordLeaf6Eax,
    KiWordLeaf6Ecx,
    KiWordLeaf7Ebx,
    KiWordExtended1Edx,
    KiWordExtendedAEdx,
    KiWordMaximum
} KI_FEATURE_WORD;

#define KI_VENDOR(Vendor) (1U << (Vendor))
#define KI_ANY_VENDOR 0

/* FeatureBit is set if one of the bits of Mask is, and the vendor is among Vendors. A list ends with FeatureBit 0. */
typedef struct _KI_FEATURE_RULE {
    const char *Name; /* capital letters: Microsoft's, without KF_ */
    ULONGLONG FeatureBit;
    KI_FEATURE_WORD Word;
    ULONG Mask;
    ULONG Vendors; /* KI_VENDOR() bits */
} KI_FEATURE_RULE;

/*
 * For a processor of Vendors whose family is from FirstFamily to LastFamily and whose model and stepping, taken as one
 * number, are from FirstStep to LastStep: bits that are cleared, and bits that are set. A list ends with both zero.
 */
typedef struct _KI_STEP_RULE {
    const char *Name; /* of the feature bit in Set; NULL if it has one already */
    ULONG Vendors;
    ULONG FirstFamily, LastFamily;
    ULONG FirstStep, LastStep;
    ULONGLONG Clear, Set;
} KI_STEP_RULE;

/* Members that not every version's KPRCB has. */
#define KI_MEMBER_VENDOR_STRING 0x0001
#define KI_MEMBER_FEATURE_BITS 0x0002
#define KI_MEMBER_UPDATE_SIGNATURE 0x0004
#define KI_MEMBER_INITIAL_APIC_ID 0x0008
#define KI_MEMBER_LOGICAL_PROCESSORS 0x0010
#define KI_MEMBER_CPU_VENDOR 0x0020
#define KI_MEMBER_CFLUSH_SIZE 0x0040
#define KI_MEMBER_CORES 0x0080
#define KI_MEMBER_PROCESSOR_SIGNATURE 0x0100
#define KI_MEMBER_CACHE 0x0200

#define KI_RULE_LISTS 9

/* How one version of NT reads cpuid. */
typedef struct _KI_IDENTIFY_RULES {
    const char *Version;
    ULONG Members;                            /* KI_MEMBER bits: the others stay as on a CPU without cpuid */
    ULONG Vendors;                            /* KI_VENDOR() bits of the vendor strings that it knows */
    ULONG LowestLeaf;                         /* cpuid is usable only if leaf 0 tells of this leaf ... */
    ULONG HighestLeaf;                        /* ... and of none above this one */
    ULONG FamilyMask;                         /* of leaf 1 eax, after shifting out model and stepping */
    BOOLEAN ExtendedFamily;                   /* family 15 takes bits 20-27 */
    BOOLEAN ExtendedModel;                    /* family 15 takes bits 16-19 */
    ULONG ExtendedModelVendors;               /* whose family 6 does so too */
    BOOLEAN RoundCores;                       /* CoresPerPhysicalProcessor goes up to a power of two */
    ULONG UpdateVendors;                      /* whose UpdateSignature it reads, from some family on */
    ULONG DescriptorVendors;                  /* whose leaf 2 tells of caches */
    BOOLEAN ExtendedCaches;                   /* it knows leaf 0x8000001D */
    const KI_STEP_RULE *Flags[KI_RULE_LISTS]; /* what it makes of leaf 1 edx before it reads features; ends with NULL */
    const KI_FEATURE_RULE *Features[KI_RULE_LISTS];
    const KI_STEP_RULE *Steps[KI_RULE_LISTS]; /* feature bits by vendor, family, model and stepping */
} KI_IDENTIFY_RULES;

/* --- identifyrules.c --- */

/* Oldest first. */
extern const KI_IDENTIFY_RULES KiIdentifyRules[];
extern const ULONG KiIdentifyRulesCount;

/* By the label of the version, such as "5.1-late". NULL: there is no such version. */
const KI_IDENTIFY_RULES *KiFindIdentifyRules(const char *Version);
/* The name of a single feature bit in that version. NULL: it has none. */
const char *KiFeatureName(const KI_IDENTIFY_RULES *Rules, ULONGLONG FeatureBit);

/* --- identify.c --- */

/*
 * One processor's cpuid, with the two limits that tell which leaves may be asked for; and what the rules make of who it
 * is. Not every version keeps the vendor in the KPRCB.
 */
typedef struct _KI_CPUID {
    KI_CPUID_SOURCE *Source;
    PVOID Context;
    ULONG Highest;
    ULONG HighestExtended;
    UCHAR Vendor;
    ULONG Family;
    ULONG Step; /* model and stepping as one number */
} KI_CPUID, *PKI_CPUID;

/* FALSE, and zeros, for a leaf beyond the limits (CPUs answer those with the data of another leaf) or unknown to Source. */
BOOLEAN KiReadLeaf(PKI_CPUID Cpuid, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers);

/*
 * Fills CpuType, CpuID, CpuStep, CFlushSize, CoresPerPhysicalProcessor, LogicalProcessorsPerCore,
 * LogicalProcessorsPerPhysicalProcessor, CpuVendor, VendorString, InitialApicId, ProcessorSignature, FeatureBits,
 * UpdateSignature, Cache, CacheCount and CacheSharing of a KPRCB, and touches no other member. Whatever Source does not
 * know is as on a CPU without it.
 */
VOID KiIdentifyProcessorAs(PKPRCB Prcb, KI_CPUID_SOURCE *Source, PVOID Context, const KI_IDENTIFY_RULES *Rules);

/* The same by the newest version's rules. */
VOID KiIdentifyProcessor(PKPRCB Prcb, KI_CPUID_SOURCE *Source, PVOID Context);

/*
 * The same, by any version's rules, for the CPU that the caller runs on; the caller is pinned there. FALSE: the CPU has
 * no cpuid, and the members say what the host tells of it.
 */
BOOLEAN KiIdentifyHostAs(PKPRCB Prcb, const KI_IDENTIFY_RULES *Rules);

/* UpdateSignature of a processor whose microcode has this revision, for the vendors of which the version reads it. */
VOID KiStoreUpdateSignature(PKPRCB Prcb, UCHAR Vendor, ULONG Family, ULONG Revision, const KI_IDENTIFY_RULES *Rules);

/* All members as on a CPU of which nothing is known. */
VOID KiForgetIdentification(PKPRCB Prcb);

/* Copies what KiIdentifyProcessor fills, and MHz, from a processor that has been identified. */
VOID KiCopyIdentification(PKPRCB Prcb, const KPRCB *From);

/* --- identifyreport.c --- */

/* The same for a CPU without cpuid, from what the host tells of it. */
VOID KiIdentifyReportedAs(PKPRCB Prcb, const HAL_CPU_REPORT *Report, const KI_IDENTIFY_RULES *Rules);

/* --- cache.c --- */

/* Adds a cache at its place, unless there is one of its level and type or no room. */
VOID KiAddCache(PKPRCB Prcb, const CACHE_DESCRIPTOR *Cache, ULONG Sharing);

/* Fills Cache, CacheCount and CacheSharing. What KiStoreTopology fills is there already. */
VOID KiStoreCaches(PKPRCB Prcb, PKI_CPUID Cpuid, const KI_IDENTIFY_RULES *Rules);

/*
 * How many ids of logical processors share cache Index, from 0: those processors share it whose APIC ids are equal once
 * the ids are shifted right by the logarithm of this number, rounded up to a power of two. Not all ids need be in use.
 * 0: cpuid does not tell, or there is no such cache. Without cpuid it is the number of the host's CPUs that share it.
 */
ULONG KiCacheSharing(const KPRCB *Prcb, ULONG Index);

#endif
