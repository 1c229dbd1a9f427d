/*
 * identifyrules.c - the rules of KiIdentifyProcessorAs for each version of NT, as data.
 *
 * Emulates how the 32-bit kernels of 3.10 to Windows 10 version 2004 read cpuid. A label stands for the last service
 * pack of its layout, except that 4.0 has one more: its layout turns with SP4, its rules turn with SP4 and SP6.
 * 4.0-early is up to SP3, 4.0-sp4 is SP4 and SP5, 4.0-late is SP6. Elsewhere early and late part at XP SP2, Server 2003
 * SP1 and Vista SP1.
 *
 * Where the public descriptions differ among themselves, the more exact one is followed:
 *   Family 6 of Intel takes the extended model from 5.1-late and 5.2-late on; 5.1-early and 5.2-early know it for family
 *   15 only.
 *   CMPXCHG8B is for three vendors only in 4.0-early, not in all of 4.0.
 *
 * Deviations:
 *   3.50 and 3.51 keep their feature bits elsewhere than in the KPRCB; here FeatureBits has them. They drop V86_VIS
 *   after having found it, so it is clear.
 *   4.0 infers CR4 of AMD from PSE and PGE where it takes these from AMD, that is from SP4 on. That 4.0 distrusts
 *   early processors of AMD is not known, so it trusts them.
 *   5.0 has no FAST_SYSCALL: it knows the bit, and sets it nowhere.
 *   NX_BIT comes with 5.2-late. The descriptions do not say that 5.1-late has it.
 *   AMDK6MTRR is for model 8 from stepping 8 on and for model 9, not for model 13.
 *   SLAT (0x04000000) is found for AMD, where cpuid tells it, and not for Intel, where model-specific registers do.
 *   0x08000000 comes from such registers for both, and what 0x00400000 means is not public: both stay clear.
 *
 * Test: tests/ke/test_identifyrules.c.
 */
#include "identify.h"

#define INTEL KI_VENDOR(CPU_INTEL)
#define AMD KI_VENDOR(CPU_AMD)
#define CYRIX KI_VENDOR(CPU_CYRIX)
#define TRANSMETA KI_VENDOR(CPU_TRANSMETA)
#define CENTAUR KI_VENDOR(CPU_VIA)
#define RISE KI_VENDOR(CPU_RISE)

/* Leaf 1 edx. */
#define VME 0x00000002
#define PSE 0x00000008
#define TSC 0x00000010
#define MCE 0x00000080
#define CX8 0x00000100
#define SEP 0x00000800
#define MTRR 0x00001000
#define PGE 0x00002000
#define CMOV 0x00008000
#define PAT 0x00010000
#define CLFSH 0x00080000
#define DS 0x00200000
#define MMX 0x00800000
#define FXSR 0x01000000
#define SSE 0x02000000
#define SSE2 0x04000000
#define HTT 0x10000000

#define ANY_FAMILY 0, 0xFFFFFFFF
#define ANY_STEP 0, 0xFFFFFFFF
#define FAMILY_FROM(First) First, 0xFFFFFFFF
#define FAMILY_TO(Last) 0, Last
#define FAMILY(Family) Family, Family
#define STEP_FROM(First) First, 0xFFFFFFFF
#define STEP_TO(Last) 0, Last

/* --- feature bits that are bits of cpuid --- */

static const KI_FEATURE_RULE KiFeatures350[] = {
    {"RDTSC", KF_RDTSC, KiWordLeaf1Edx, TSC, INTEL | AMD},
    {"CR4", KF_CR4, KiWordLeaf1Edx, MCE, INTEL},
    {0},
};

static const KI_FEATURE_RULE KiFeatures40[] = {
    {"V86_VIS", KF_V86_VIS, KiWordLeaf1Edx, VME, INTEL | AMD | CYRIX},
    {"RDTSC", KF_RDTSC, KiWordLeaf1Edx, TSC, INTEL | AMD | CYRIX},
    {"CR4", KF_CR4, KiWordLeaf1Edx, VME, INTEL | AMD | CYRIX},
    {"MTRR", KF_MTRR, KiWordLeaf1Edx, MTRR, INTEL},
    {"MMX", KF_MMX, KiWordLeaf1Edx, MMX, INTEL | AMD | CYRIX},
    {0},
};

static const KI_FEATURE_RULE KiFeatures40Early[] = {
    {"CR4", KF_CR4, KiWordLeaf1Edx, PSE | PGE, INTEL | CYRIX},
    {"CMOV", KF_CMOV, KiWordLeaf1Edx, CMOV, INTEL | CYRIX},
    {"GLOBAL_PAGE", KF_GLOBAL_PAGE, KiWordLeaf1Edx, PGE, INTEL | CYRIX},
    {"LARGE_PAGE", KF_LARGE_PAGE, KiWordLeaf1Edx, PSE, INTEL | CYRIX},
    {"CMPXCHG8B", KF_CMPXCHG8B, KiWordLeaf1Edx, CX8, INTEL | AMD | CYRIX},
    {0},
};

static const KI_FEATURE_RULE KiFeatures40Sp4[] = {
    {"CR4", KF_CR4, KiWordLeaf1Edx, PSE | PGE, INTEL | AMD | CYRIX},
    {"CMOV", KF_CMOV, KiWordLeaf1Edx, CMOV, INTEL | AMD | CYRIX},
    {"GLOBAL_PAGE", KF_GLOBAL_PAGE, KiWordLeaf1Edx, PGE, INTEL | AMD | CYRIX},
    {"LARGE_PAGE", KF_LARGE_PAGE, KiWordLeaf1Edx, PSE, INTEL | AMD | CYRIX},
    {"CMPXCHG8B", KF_CMPXCHG8B, KiWordLeaf1Edx, CX8, KI_ANY_VENDOR},
    {0},
};

static const KI_FEATURE_RULE KiFeatures50[] = {
    {"V86_VIS", KF_V86_VIS, KiWordLeaf1Edx, VME, KI_ANY_VENDOR},
    {"RDTSC", KF_RDTSC, KiWordLeaf1Edx, TSC, KI_ANY_VENDOR},
    {"CR4", KF_CR4, KiWordLeaf1Edx, VME | PSE | PGE, KI_ANY_VENDOR},
    {"CMOV", KF_CMOV, KiWordLeaf1Edx, CMOV, KI_ANY_VENDOR},
    {"GLOBAL_PAGE", KF_GLOBAL_PAGE, KiWordLeaf1Edx, PGE, KI_ANY_VENDOR},
    {"LARGE_PAGE", KF_LARGE_PAGE, KiWordLeaf1Edx, PSE, KI_ANY_VENDOR},
    {"MTRR", KF_MTRR, KiWordLeaf1Edx, MTRR, KI_ANY_VENDOR},
    {"CMPXCHG8B", KF_CMPXCHG8B, KiWordLeaf1Edx, CX8, KI_ANY_VENDOR},
    {"MMX", KF_MMX, KiWordLeaf1Edx, MMX, KI_ANY_VENDOR},
    {"PAT", KF_PAT, KiWordLeaf1Edx, PAT, KI_ANY_VENDOR},
    {"FXSR", KF_FXSR, KiWordLeaf1Edx, FXSR, KI_ANY_VENDOR},
    {"XMMI", KF_XMMI, KiWordLeaf1Edx, SSE, KI_ANY_VENDOR},
    {"3DNOW", KF_3DNOW, KiWordExtended1Edx, 0x80000000, AMD},
    {0},
};

static const KI_FEATURE_RULE KiFeatures51[] = {
    {"FAST_SYSCALL", KF_FAST_SYSCALL, KiWordLeaf1Edx, SEP, KI_ANY_VENDOR},
    {"XMMI64", KF_XMMI64, KiWordLeaf1Edx, SSE2, KI_ANY_VENDOR},
    {"DTS", KF_DTS, KiWordLeaf1Edx, DS, KI_ANY_VENDOR},
    {0},
};

static const KI_FEATURE_RULE KiFeatures51Only[] = {
    {"htt", KI_FEATURE_HTT, KiWordLeaf1Edx, HTT, KI_ANY_VENDOR},
    {0},
};

static const KI_FEATURE_RULE KiFeatures52Late[] = {
    {"NX_BIT", KF_NX_BIT, KiWordExtended1Edx, 0x00100000, KI_ANY_VENDOR},
    {0},
};

static const KI_FEATURE_RULE KiFeatures60[] = {
    {"clfsh", KI_FEATURE_CLFSH, KiWordLeaf1Edx, CLFSH, KI_ANY_VENDOR},
    {"sse3", KI_FEATURE_SSE3, KiWordLeaf1Ecx, 0x00000001, KI_ANY_VENDOR},
    {0},
};

static const KI_FEATURE_RULE KiFeatures60Only[] = {
    {"channels", KI_FEATURE_CHANNELS, KiWordLeaf1Ecx, 0x00010000, INTEL},
    {0},
};

static const KI_FEATURE_RULE KiFeatures61[] = {
    {"acnt2", KI_FEATURE_ACNT2, KiWordLeaf6Ecx, 0x00000002, INTEL},
    {0},
};

static const KI_FEATURE_RULE KiFeatures62[] = {
    {"smep", KI_FEATURE_SMEP, KiWordLeaf7Ebx, 0x00000080, INTEL},
    {"slat", KI_FEATURE_SLAT, KiWordExtendedAEdx, 0x00000001, AMD},
    {0},
};

static const KI_FEATURE_RULE KiFeatures63[] = {
    {"rdrand", KI_FEATURE_RDRAND, KiWordLeaf1Ecx, 0x40000000, KI_ANY_VENDOR},
    {0},
};

static const KI_FEATURE_RULE KiFeatures100[] = {
    {"smep", KI_FEATURE_SMEP, KiWordLeaf7Ebx, 0x00000080, AMD},
    {"rdtscp", KI_FEATURE_RDTSCP, KiWordExtended1Edx, 0x08000000, KI_ANY_VENDOR},
    {"clflushopt", KI_FEATURE_CLFLUSHOPT, KiWordLeaf7Ebx, 0x00800000, INTEL},
    {"hdc", KI_FEATURE_HDC, KiWordLeaf6Eax, 0x00002000, INTEL},
    {0},
};

/* --- flags of leaf 1 edx that it distrusts, or can switch on --- */

static const KI_STEP_RULE KiFlags50[] = {
    {NULL, AMD, FAMILY_TO(4), ANY_STEP, PSE | PGE | CMOV, 0},
    {0},
};

static const KI_STEP_RULE KiFlags51[] = {
    {NULL, INTEL, FAMILY_TO(5), ANY_STEP, SEP, 0},
    {NULL, INTEL, FAMILY(6), STEP_TO(0x0302), SEP, 0},
    {NULL, TRANSMETA, FAMILY_FROM(5), STEP_FROM(0x0402), 0, CX8},
    {NULL, CENTAUR, FAMILY_FROM(5), ANY_STEP, 0, CX8},
    {NULL, RISE, ANY_FAMILY, ANY_STEP, 0, CX8},
    {0},
};

static const KI_STEP_RULE KiFlags51To61[] = {
    {NULL, AMD, FAMILY(5), STEP_TO(0x0103), PGE, 0},
    {0},
};

/* --- feature bits by vendor and stepping --- */

/* The early steppings of the P6 family are those for which NT flushes translation buffers synchronously. */
static const KI_STEP_RULE KiSteps50[] = {
    {"WORKING_PTE", KI_ANY_VENDOR, ANY_FAMILY, ANY_STEP, 0, KF_WORKING_PTE},
    {NULL, INTEL, FAMILY(6), 0x0100, 0x0109, KF_WORKING_PTE, 0},
    {NULL, INTEL, FAMILY(6), 0x0300, 0x0304, KF_WORKING_PTE, 0},
    {0},
};

static const KI_STEP_RULE KiSteps50To61[] = {
    {"AMDK6MTRR", AMD, FAMILY(5), 0x0808, 0x090F, 0, KF_AMDK6MTRR},
    {0},
};

static const KI_STEP_RULE KiSteps61[] = {
    {"intel", INTEL, ANY_FAMILY, ANY_STEP, 0, KI_FEATURE_INTEL},
    {"amd", AMD, FAMILY_FROM(5), ANY_STEP, 0, KI_FEATURE_AMD},
    {0},
};

/* --- the versions --- */

#define MEMBERS_40 (KI_MEMBER_VENDOR_STRING | KI_MEMBER_FEATURE_BITS | KI_MEMBER_UPDATE_SIGNATURE)
#define MEMBERS_51 (MEMBERS_40 | KI_MEMBER_INITIAL_APIC_ID | KI_MEMBER_LOGICAL_PROCESSORS)
#define MEMBERS_60 (MEMBERS_51 | KI_MEMBER_CPU_VENDOR | KI_MEMBER_CFLUSH_SIZE | KI_MEMBER_CORES | KI_MEMBER_CACHE)
#define MEMBERS_1809 (MEMBERS_60 | KI_MEMBER_PROCESSOR_SIGNATURE)

#define VENDORS_51 (INTEL | AMD | CYRIX | TRANSMETA | CENTAUR)

#define FEATURES_63 KiFeatures50, KiFeatures51, KiFeatures52Late, KiFeatures60, KiFeatures61, KiFeatures62, KiFeatures63

#define WINDOWS_10(Label, LabelMembers)                                                                                \
    {                                                                                                                  \
        .Version = (Label), .Members = (LabelMembers), .Vendors = VENDORS_51 | RISE, .HighestLeaf = 0xFFFFFFFF,        \
        .FamilyMask = 0xF, .ExtendedFamily = TRUE, .ExtendedModel = TRUE, .ExtendedModelVendors = INTEL | CENTAUR,     \
        .RoundCores = TRUE, .UpdateVendors = INTEL | AMD, .DescriptorVendors = INTEL | CENTAUR,                        \
        .ExtendedCaches = TRUE, .Flags = {KiFlags50, KiFlags51}, .Features = {FEATURES_63, KiFeatures100},             \
        .Steps = {KiSteps50, KiSteps61},                                                                               \
    }

const KI_IDENTIFY_RULES KiIdentifyRules[] = {
    {
        .Version = "3.10",
        .HighestLeaf = 3,
        .FamilyMask = 7,
    },
    {
        .Version = "3.50",
        .Members = KI_MEMBER_VENDOR_STRING,
        .Vendors = INTEL | AMD,
        .LowestLeaf = 1,
        .HighestLeaf = 3,
        .FamilyMask = 7,
        .Features = {KiFeatures350},
    },
    {
        .Version = "3.51",
        .Members = KI_MEMBER_VENDOR_STRING,
        .Vendors = INTEL | AMD,
        .LowestLeaf = 1,
        .HighestLeaf = 3,
        .FamilyMask = 7,
        .Features = {KiFeatures350},
    },
    {
        .Version = "4.0-early",
        .Members = MEMBERS_40,
        .Vendors = INTEL | AMD | CYRIX,
        .LowestLeaf = 1,
        .HighestLeaf = 3,
        .FamilyMask = 7,
        .UpdateVendors = INTEL,
        .Features = {KiFeatures40, KiFeatures40Early},
    },
    {
        .Version = "4.0-sp4",
        .Members = MEMBERS_40,
        .Vendors = INTEL | AMD | CYRIX,
        .LowestLeaf = 1,
        .HighestLeaf = 3,
        .FamilyMask = 7,
        .UpdateVendors = INTEL,
        .Features = {KiFeatures40, KiFeatures40Sp4},
    },
    {
        .Version = "4.0-late",
        .Members = MEMBERS_40,
        .Vendors = INTEL | AMD | CYRIX,
        .LowestLeaf = 1,
        .HighestLeaf = 0xFFFFFFFF,
        .FamilyMask = 0xF,
        .UpdateVendors = INTEL,
        .Features = {KiFeatures40, KiFeatures40Sp4},
    },
    {
        .Version = "5.0",
        .Members = MEMBERS_40,
        .Vendors = INTEL | AMD | CYRIX,
        .LowestLeaf = 1,
        .HighestLeaf = 0xFFFFFFFF,
        .FamilyMask = 0xF,
        .UpdateVendors = INTEL,
        .Flags = {KiFlags50},
        .Features = {KiFeatures50},
        .Steps = {KiSteps50, KiSteps50To61},
    },
    {
        .Version = "5.1-early",
        .Members = MEMBERS_51,
        .Vendors = VENDORS_51,
        .LowestLeaf = 1,
        .HighestLeaf = 0xFFFFFFFF,
        .FamilyMask = 0xF,
        .ExtendedFamily = TRUE,
        .ExtendedModel = TRUE,
        .UpdateVendors = INTEL,
        .Flags = {KiFlags50, KiFlags51, KiFlags51To61},
        .Features = {KiFeatures50, KiFeatures51, KiFeatures51Only},
        .Steps = {KiSteps50, KiSteps50To61},
    },
    {
        .Version = "5.1-late",
        .Members = MEMBERS_51,
        .Vendors = VENDORS_51 | RISE,
        .LowestLeaf = 1,
        .HighestLeaf = 0xFFFFFFFF,
        .FamilyMask = 0xF,
        .ExtendedFamily = TRUE,
        .ExtendedModel = TRUE,
        .ExtendedModelVendors = INTEL,
        .UpdateVendors = INTEL,
        .Flags = {KiFlags50, KiFlags51, KiFlags51To61},
        .Features = {KiFeatures50, KiFeatures51, KiFeatures51Only},
        .Steps = {KiSteps50, KiSteps50To61},
    },
    {
        .Version = "5.2-early",
        .Members = MEMBERS_51,
        .Vendors = VENDORS_51,
        .LowestLeaf = 1,
        .HighestLeaf = 0xFFFFFFFF,
        .FamilyMask = 0xF,
        .ExtendedFamily = TRUE,
        .ExtendedModel = TRUE,
        .UpdateVendors = INTEL,
        .Flags = {KiFlags50, KiFlags51, KiFlags51To61},
        .Features = {KiFeatures50, KiFeatures51},
        .Steps = {KiSteps50, KiSteps50To61},
    },
    {
        .Version = "5.2-late",
        .Members = MEMBERS_51,
        .Vendors = VENDORS_51 | RISE,
        .LowestLeaf = 1,
        .HighestLeaf = 0xFFFFFFFF,
        .FamilyMask = 0xF,
        .ExtendedFamily = TRUE,
        .ExtendedModel = TRUE,
        .ExtendedModelVendors = INTEL,
        .UpdateVendors = INTEL,
        .Flags = {KiFlags50, KiFlags51, KiFlags51To61},
        .Features = {KiFeatures50, KiFeatures51, KiFeatures52Late},
        .Steps = {KiSteps50, KiSteps50To61},
    },
    {
        .Version = "6.0-early",
        .Members = MEMBERS_60,
        .Vendors = VENDORS_51 | RISE,
        .LowestLeaf = 1,
        .HighestLeaf = 0xFFFFFFFF,
        .FamilyMask = 0xF,
        .ExtendedFamily = TRUE,
        .ExtendedModel = TRUE,
        .ExtendedModelVendors = INTEL,
        .UpdateVendors = INTEL,
        .DescriptorVendors = INTEL,
        .Flags = {KiFlags50, KiFlags51, KiFlags51To61},
        .Features = {KiFeatures50, KiFeatures51, KiFeatures52Late, KiFeatures60, KiFeatures60Only},
        .Steps = {KiSteps50, KiSteps50To61},
    },
    {
        .Version = "6.0-late",
        .Members = MEMBERS_60,
        .Vendors = VENDORS_51 | RISE,
        .LowestLeaf = 1,
        .HighestLeaf = 0xFFFFFFFF,
        .FamilyMask = 0xF,
        .ExtendedFamily = TRUE,
        .ExtendedModel = TRUE,
        .ExtendedModelVendors = INTEL,
        .UpdateVendors = INTEL,
        .DescriptorVendors = INTEL,
        .Flags = {KiFlags50, KiFlags51, KiFlags51To61},
        .Features = {KiFeatures50, KiFeatures51, KiFeatures52Late, KiFeatures60, KiFeatures60Only},
        .Steps = {KiSteps50, KiSteps50To61},
    },
    {
        .Version = "6.1",
        .Members = MEMBERS_60,
        .Vendors = VENDORS_51 | RISE,
        .LowestLeaf = 1,
        .HighestLeaf = 0xFFFFFFFF,
        .FamilyMask = 0xF,
        .ExtendedFamily = TRUE,
        .ExtendedModel = TRUE,
        .ExtendedModelVendors = INTEL,
        .RoundCores = TRUE,
        .UpdateVendors = INTEL,
        .DescriptorVendors = INTEL,
        .Flags = {KiFlags50, KiFlags51, KiFlags51To61},
        .Features = {KiFeatures50, KiFeatures51, KiFeatures52Late, KiFeatures60, KiFeatures61},
        .Steps = {KiSteps50, KiSteps50To61, KiSteps61},
    },
    {
        .Version = "6.2",
        .Members = MEMBERS_60,
        .Vendors = VENDORS_51 | RISE,
        .LowestLeaf = 1,
        .HighestLeaf = 0xFFFFFFFF,
        .FamilyMask = 0xF,
        .ExtendedFamily = TRUE,
        .ExtendedModel = TRUE,
        .ExtendedModelVendors = INTEL | CENTAUR,
        .RoundCores = TRUE,
        .UpdateVendors = INTEL | AMD,
        .DescriptorVendors = INTEL | CENTAUR,
        .ExtendedCaches = TRUE,
        .Flags = {KiFlags50, KiFlags51},
        .Features = {KiFeatures50, KiFeatures51, KiFeatures52Late, KiFeatures60, KiFeatures61, KiFeatures62},
        .Steps = {KiSteps50, KiSteps61},
    },
    {
        .Version = "6.3",
        .Members = MEMBERS_60,
        .Vendors = VENDORS_51 | RISE,
        .HighestLeaf = 0xFFFFFFFF,
        .FamilyMask = 0xF,
        .ExtendedFamily = TRUE,
        .ExtendedModel = TRUE,
        .ExtendedModelVendors = INTEL | CENTAUR,
        .RoundCores = TRUE,
        .UpdateVendors = INTEL | AMD,
        .DescriptorVendors = INTEL | CENTAUR,
        .ExtendedCaches = TRUE,
        .Flags = {KiFlags50, KiFlags51},
        .Features = {FEATURES_63},
        .Steps = {KiSteps50, KiSteps61},
    },
    WINDOWS_10("10.0", MEMBERS_60),
    WINDOWS_10("1511", MEMBERS_60),
    WINDOWS_10("1607", MEMBERS_60),
    WINDOWS_10("1703", MEMBERS_60),
    WINDOWS_10("1709", MEMBERS_60),
    WINDOWS_10("1803", MEMBERS_60),
    WINDOWS_10("1809", MEMBERS_1809),
    WINDOWS_10("1903", MEMBERS_1809),
    WINDOWS_10("2004", MEMBERS_1809),
};

const ULONG KiIdentifyRulesCount = ARRAYSIZE(KiIdentifyRules);

const KI_IDENTIFY_RULES *KiFindIdentifyRules(const char *Version)
{
    for (ULONG Index = 0; Index < KiIdentifyRulesCount; Index++) {
        if (__builtin_strcmp(KiIdentifyRules[Index].Version, Version) == 0) {
            return &KiIdentifyRules[Index];
        }
    }
    return NULL;
}

const char *KiFeatureName(const KI_IDENTIFY_RULES *Rules, ULONGLONG FeatureBit)
{
    for (ULONG List = 0; Rules->Features[List] != NULL; List++) {
        for (const KI_FEATURE_RULE *Rule = Rules->Features[List]; Rule->FeatureBit != 0; Rule++) {
            if (Rule->FeatureBit == FeatureBit) {
                return Rule->Name;
            }
        }
    }
    for (ULONG List = 0; Rules->Steps[List] != NULL; List++) {
        for (const KI_STEP_RULE *Rule = Rules->Steps[List]; (Rule->Clear | Rule->Set) != 0; Rule++) {
            if (Rule->Set == FeatureBit) {
                return Rule->Name;
            }
        }
    }
    return NULL;
}
