/*
 * identify.c - identification of a processor by cpuid, as NT's 32-bit kernel does it, into the KPRCB.
 *
 * Emulates the rules of the newest version (Windows 10 version 2004). Rules of other versions are more tables of
 * KI_IDENTIFY_RULES; the procedure stays one.
 *
 * Deviations:
 *   UpdateSignature is zero: NT reads model-specific register 0x8B, which a process cannot.
 *   Feature bits that NT reads from model-specific registers (0x04000000, 0x08000000) or that are not known in public
 *   (0x00400000) stay clear.
 *   A CPU that hides CMPXCHG8B until a model-specific register is written (Transmeta, Centaur) counts as NT
 *   counts it after having written the register.
 *   CoresPerPhysicalProcessor of AMD counts what leaf 0x80000008 counts, which since family 0x17 is threads. The
 *   field there that tells the width of the APIC id's core part is not used: it grew beyond the number of processors.
 *   A number of cores beyond 128 is 128, the largest power of two that the member holds.
 *
 * Nothing here is shared between threads: a processor identifies itself while it starts.
 *
 * Test: tests/ke/test_identify.c.
 */
#include "identify.h"

#define LEAF1_EBX_APIC_ID(Ebx) ((UCHAR)((Ebx) >> 24))
#define LEAF1_EBX_LOGICAL(Ebx) (((Ebx) >> 16) & 0xFF)
#define LEAF1_EBX_CLFLUSH(Ebx) (((Ebx) >> 8) & 0xFF)
#define LEAF1_EDX_HTT 0x10000000
#define LEAF1_EDX_CX8 0x00000100
#define LEAF1_EDX_SEP 0x00000800

#define ANY_VENDOR 0

static const struct {
    char String[13];
    UCHAR Vendor;
} KiVendors[] = {
    {"GenuineIntel", CPU_INTEL},     {"AuthenticAMD", CPU_AMD}, {"CyrixInstead", CPU_CYRIX},
    {"GenuineTMx86", CPU_TRANSMETA}, {"CentaurHauls", CPU_VIA}, {"RiseRiseRise", CPU_RISE},
};

static const KI_FEATURE_RULE KiNewestFeatures[] = {
    {KF_V86_VIS, KiWordLeaf1Edx, 0x00000002, ANY_VENDOR},
    {KF_RDTSC, KiWordLeaf1Edx, 0x00000010, ANY_VENDOR},
    {KF_CR4, KiWordLeaf1Edx, 0x00000002 | 0x00000008 | 0x00002000, ANY_VENDOR},
    {KF_CMOV, KiWordLeaf1Edx, 0x00008000, ANY_VENDOR},
    {KF_GLOBAL_PAGE, KiWordLeaf1Edx, 0x00002000, ANY_VENDOR},
    {KF_LARGE_PAGE, KiWordLeaf1Edx, 0x00000008, ANY_VENDOR},
    {KF_MTRR, KiWordLeaf1Edx, 0x00001000, ANY_VENDOR},
    {KF_CMPXCHG8B, KiWordLeaf1Edx, LEAF1_EDX_CX8, ANY_VENDOR},
    {KF_MMX, KiWordLeaf1Edx, 0x00800000, ANY_VENDOR},
    {KF_PAT, KiWordLeaf1Edx, 0x00010000, ANY_VENDOR},
    {KF_FXSR, KiWordLeaf1Edx, 0x01000000, ANY_VENDOR},
    {KF_FAST_SYSCALL, KiWordLeaf1Edx, LEAF1_EDX_SEP, ANY_VENDOR},
    {KF_XMMI, KiWordLeaf1Edx, 0x02000000, ANY_VENDOR},
    {KF_XMMI64, KiWordLeaf1Edx, 0x04000000, ANY_VENDOR},
    {KF_DTS, KiWordLeaf1Edx, 0x00200000, ANY_VENDOR},
    {KI_FEATURE_CLFSH, KiWordLeaf1Edx, 0x00080000, ANY_VENDOR},
    {KI_FEATURE_SSE3, KiWordLeaf1Ecx, 0x00000001, ANY_VENDOR},
    {KI_FEATURE_RDRAND, KiWordLeaf1Ecx, 0x40000000, ANY_VENDOR},
    {KI_FEATURE_ACNT2, KiWordLeaf6Ecx, 0x00000002, KI_VENDOR(CPU_INTEL)},
    {KI_FEATURE_HDC, KiWordLeaf6Eax, 0x00002000, KI_VENDOR(CPU_INTEL)},
    {KI_FEATURE_SMEP, KiWordLeaf7Ebx, 0x00000080, KI_VENDOR(CPU_INTEL) | KI_VENDOR(CPU_AMD)},
    {KI_FEATURE_CLFLUSHOPT, KiWordLeaf7Ebx, 0x00800000, KI_VENDOR(CPU_INTEL)},
    {KF_3DNOW, KiWordExtended1Edx, 0x80000000, KI_VENDOR(CPU_AMD)},
    {KF_NX_BIT, KiWordExtended1Edx, 0x00100000, ANY_VENDOR},
    {KI_FEATURE_RDTSCP, KiWordExtended1Edx, 0x08000000, ANY_VENDOR},
};

const KI_IDENTIFY_RULES KiNewestIdentifyRules = {
    .Version = "2004",
    .FamilyMask = 0xF,
    .ExtendedFamily = TRUE,
    .ExtendedModel = TRUE,
    .ExtendedModelVendors = KI_VENDOR(CPU_INTEL) | KI_VENDOR(CPU_VIA),
    .HighestLeaf = 0xFFFFFFFF,
    .Cores = TRUE,
    .RoundCores = TRUE,
    .Features = KiNewestFeatures,
    .FeatureCount = ARRAYSIZE(KiNewestFeatures),
};

/* One processor's cpuid, with the two limits that tell which leaves may be asked for. */
typedef struct _KI_CPUID {
    KI_CPUID_SOURCE *Source;
    PVOID Context;
    ULONG Highest;
    ULONG HighestExtended;
} KI_CPUID, *PKI_CPUID;

/* Zeros for a leaf beyond the limits: CPUs answer those with the data of another leaf. */
static BOOLEAN KiReadLeaf(PKI_CPUID Cpuid, ULONG Leaf, PHAL_CPUID Registers)
{
    ULONG Highest = Leaf < 0x80000000 ? Cpuid->Highest : Cpuid->HighestExtended;

    *Registers = (HAL_CPUID){0};
    if (Leaf > Highest || !Cpuid->Source(Cpuid->Context, Leaf, 0, Registers)) {
        *Registers = (HAL_CPUID){0};
        return FALSE;
    }
    return TRUE;
}

static VOID KiStoreVendor(PKPRCB Prcb, const HAL_CPUID *Leaf0)
{
    const ULONG Words[3] = {Leaf0->Ebx, Leaf0->Edx, Leaf0->Ecx};

    for (ULONG Index = 0; Index < 12; Index++) {
        Prcb->VendorString[Index] = (UCHAR)(Words[Index / 4] >> (8 * (Index % 4)));
    }
    Prcb->CpuVendor = CPU_UNKNOWN;
    for (ULONG Index = 0; Index < ARRAYSIZE(KiVendors); Index++) {
        if (__builtin_memcmp(Prcb->VendorString, KiVendors[Index].String, 12) == 0) {
            Prcb->CpuVendor = KiVendors[Index].Vendor;
        }
    }
}

static VOID KiStoreSignature(PKPRCB Prcb, ULONG Eax, const KI_IDENTIFY_RULES *Rules)
{
    ULONG Family = (Eax >> 8) & Rules->FamilyMask;
    ULONG Model = (Eax >> 4) & 0xF;

    if (Rules->ExtendedModel &&
        (Family == 15 || (Family == 6 && (Rules->ExtendedModelVendors & KI_VENDOR(Prcb->CpuVendor)) != 0))) {
        Model |= (Eax >> 12) & 0xF0;
    }
    if (Rules->ExtendedFamily && Family == 15) {
        Family += (Eax >> 20) & 0xFF;
    }
    Prcb->ProcessorSignature = Eax;
    Prcb->CpuID = 1;
    Prcb->CpuType = (CHAR)Family;
    Prcb->CpuModel = (UCHAR)Model;
    Prcb->CpuStepping = Eax & 0xF;
}

static ULONG KiRoundUpToPowerOfTwo(ULONG Number)
{
    ULONG Power = 1;

    while (Power < Number) {
        Power <<= 1;
    }
    return Power;
}

static VOID KiStoreTopology(PKPRCB Prcb, PKI_CPUID Cpuid, const HAL_CPUID *Leaf1, const KI_IDENTIFY_RULES *Rules)
{
    HAL_CPUID Registers;
    ULONG Cores = 1;
    ULONG Logical = 1;

    if (Rules->Cores) {
        if (Prcb->CpuVendor != CPU_AMD) {
            if (KiReadLeaf(Cpuid, 4, &Registers)) {
                Cores = (Registers.Eax >> 26) + 1;
            }
        } else if (KiReadLeaf(Cpuid, 0x80000008, &Registers)) {
            Cores = (Registers.Ecx & 0xFF) + 1;
        }
        if (Rules->RoundCores) {
            Cores = KiRoundUpToPowerOfTwo(Cores);
        }
        Cores = Cores > 128 ? 128 : Cores;
    }
    if ((Leaf1->Edx & LEAF1_EDX_HTT) != 0 && LEAF1_EBX_LOGICAL(Leaf1->Ebx) != 0) {
        Logical = LEAF1_EBX_LOGICAL(Leaf1->Ebx);
    }
    Prcb->CoresPerPhysicalProcessor = (UCHAR)Cores;
    Prcb->LogicalProcessorsPerPhysicalProcessor = (UCHAR)Logical;
    Prcb->LogicalProcessorsPerCore = (UCHAR)(KiRoundUpToPowerOfTwo(Logical) / Cores);
    if (Prcb->LogicalProcessorsPerCore == 0) {
        Prcb->LogicalProcessorsPerCore = 1;
    }
}

/* The flags of leaf 1 edx as NT takes them: without those it distrusts, with those it can switch on. */
static ULONG KiTrustedFlags(PKPRCB Prcb, ULONG Edx)
{
    ULONG Family = (UCHAR)Prcb->CpuType;
    ULONG ModelStepping = Prcb->CpuModel << 8 | Prcb->CpuStepping;

    switch (Prcb->CpuVendor) {
    case CPU_INTEL:
        if (Family < 6 || (Family == 6 && ModelStepping < 0x0303)) {
            Edx &= ~(ULONG)LEAF1_EDX_SEP;
        }
        break;
    case CPU_AMD:
        if (Family < 5) {
            Edx &= ~(ULONG)(0x00000008 | 0x00002000 | 0x00008000);
        }
        break;
    case CPU_TRANSMETA:
        if (Family >= 5 && ModelStepping >= 0x0402) {
            Edx |= LEAF1_EDX_CX8;
        }
        break;
    case CPU_VIA:
        if (Family >= 5) {
            Edx |= LEAF1_EDX_CX8;
        }
        break;
    case CPU_RISE:
        Edx |= LEAF1_EDX_CX8;
        break;
    default:
        break;
    }
    return Edx;
}

/* The early steppings of the P6 family for which NT flushes translation buffers synchronously. */
static BOOLEAN KiNeedsSynchronousFlush(PKPRCB Prcb)
{
    return Prcb->CpuVendor == CPU_INTEL && Prcb->CpuType == 6 &&
           ((Prcb->CpuModel == 1 && Prcb->CpuStepping <= 9) || (Prcb->CpuModel == 3 && Prcb->CpuStepping <= 4));
}

static VOID KiStoreFeatures(PKPRCB Prcb, PKI_CPUID Cpuid, const HAL_CPUID *Leaf1, const KI_IDENTIFY_RULES *Rules)
{
    ULONG Words[KiWordMaximum] = {0};
    HAL_CPUID Registers;

    Words[KiWordLeaf1Ecx] = Leaf1->Ecx;
    Words[KiWordLeaf1Edx] = KiTrustedFlags(Prcb, Leaf1->Edx);
    KiReadLeaf(Cpuid, 6, &Registers);
    Words[KiWordLeaf6Eax] = Registers.Eax;
    Words[KiWordLeaf6Ecx] = Registers.Ecx;
    KiReadLeaf(Cpuid, 7, &Registers);
    Words[KiWordLeaf7Ebx] = Registers.Ebx;
    KiReadLeaf(Cpuid, 0x80000001, &Registers);
    Words[KiWordExtended1Edx] = Registers.Edx;

    for (ULONG Index = 0; Index < Rules->FeatureCount; Index++) {
        const KI_FEATURE_RULE *Feature = &Rules->Features[Index];

        if ((Words[Feature->Word] & Feature->Mask) != 0 &&
            (Feature->Vendors == ANY_VENDOR || (Feature->Vendors & KI_VENDOR(Prcb->CpuVendor)) != 0)) {
            Prcb->FeatureBits |= Feature->FeatureBit;
        }
    }
    if (!KiNeedsSynchronousFlush(Prcb)) {
        Prcb->FeatureBits |= KF_WORKING_PTE;
    }
    if (Prcb->CpuVendor == CPU_INTEL) {
        Prcb->FeatureBits |= KI_FEATURE_INTEL;
    }
    if (Prcb->CpuVendor == CPU_AMD && (UCHAR)Prcb->CpuType >= 5) {
        Prcb->FeatureBits |= KI_FEATURE_AMD;
    }
}

VOID KiIdentifyProcessorAs(PKPRCB Prcb, KI_CPUID_SOURCE *Source, PVOID Context, const KI_IDENTIFY_RULES *Rules)
{
    KI_CPUID Cpuid = {.Source = Source, .Context = Context, .Highest = 0, .HighestExtended = 0x80000000};
    HAL_CPUID Leaf0;
    HAL_CPUID Leaf1;
    HAL_CPUID Extended0;

    Prcb->CpuType = 0;
    Prcb->CpuID = 0;
    Prcb->CpuStep = 0;
    Prcb->CFlushSize = 0;
    Prcb->CoresPerPhysicalProcessor = 1;
    Prcb->LogicalProcessorsPerCore = 1;
    Prcb->LogicalProcessorsPerPhysicalProcessor = 1;
    Prcb->CpuVendor = 0;
    __builtin_memset(Prcb->VendorString, 0, sizeof(Prcb->VendorString));
    Prcb->InitialApicId = 0;
    Prcb->ProcessorSignature = 0;
    Prcb->FeatureBits = 0;
    Prcb->UpdateSignature.QuadPart = 0;

    if (!KiReadLeaf(&Cpuid, 0, &Leaf0)) {
        return;
    }
    KiStoreVendor(Prcb, &Leaf0);
    Cpuid.Highest = Leaf0.Eax;
    if (Leaf0.Eax > Rules->HighestLeaf || !KiReadLeaf(&Cpuid, 1, &Leaf1)) {
        return;
    }
    KiStoreSignature(Prcb, Leaf1.Eax, Rules);
    Prcb->CFlushSize = 8 * LEAF1_EBX_CLFLUSH(Leaf1.Ebx);
    Prcb->InitialApicId = LEAF1_EBX_APIC_ID(Leaf1.Ebx);
    if ((Prcb->CpuVendor != CPU_AMD || (UCHAR)Prcb->CpuType >= 5) && KiReadLeaf(&Cpuid, 0x80000000, &Extended0) &&
        Extended0.Eax > 0x80000000 && Extended0.Eax <= 0x800000FF) {
        Cpuid.HighestExtended = Extended0.Eax;
    }
    KiStoreTopology(Prcb, &Cpuid, &Leaf1, Rules);
    KiStoreFeatures(Prcb, &Cpuid, &Leaf1, Rules);
}

VOID KiIdentifyProcessor(PKPRCB Prcb, KI_CPUID_SOURCE *Source, PVOID Context)
{
    KiIdentifyProcessorAs(Prcb, Source, Context, &KiNewestIdentifyRules);
}

static BOOLEAN KiHostCpuid(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    UNREFERENCED_PARAMETER(Context);
    return HalCpuid(Leaf, Subleaf, Registers);
}

VOID KiIdentifyHost(PKPRCB Prcb)
{
    KiIdentifyProcessor(Prcb, KiHostCpuid, NULL);
}

VOID KiCopyIdentification(PKPRCB Prcb, const KPRCB *From)
{
    Prcb->CpuType = From->CpuType;
    Prcb->CpuID = From->CpuID;
    Prcb->CpuStep = From->CpuStep;
    Prcb->CFlushSize = From->CFlushSize;
    Prcb->CoresPerPhysicalProcessor = From->CoresPerPhysicalProcessor;
    Prcb->LogicalProcessorsPerCore = From->LogicalProcessorsPerCore;
    Prcb->LogicalProcessorsPerPhysicalProcessor = From->LogicalProcessorsPerPhysicalProcessor;
    Prcb->CpuVendor = From->CpuVendor;
    __builtin_memcpy(Prcb->VendorString, From->VendorString, sizeof(Prcb->VendorString));
    Prcb->InitialApicId = From->InitialApicId;
    Prcb->ProcessorSignature = From->ProcessorSignature;
    Prcb->FeatureBits = From->FeatureBits;
    Prcb->UpdateSignature = From->UpdateSignature;
    Prcb->MHz = From->MHz;
}
