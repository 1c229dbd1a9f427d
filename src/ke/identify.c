/*
 * identify.c - identification of a processor by cpuid, as NT's 32-bit kernel does it, into the KPRCB.
 *
 * Emulates what all versions have in common; where they differ, a value of KI_IDENTIFY_RULES tells (identifyrules.c).
 * A processor of the library goes by the rules of the newest version.
 *
 * Deviations:
 *   UpdateSignature is what the host tells of the revision of the microcode, put where NT finds it in model-specific
 *   register 0x8B, which a process cannot read. It is zero for a record, and where the host does not tell.
 *   A CPU that hides CMPXCHG8B until a model-specific register is written (Transmeta, Centaur) counts as NT
 *   counts it after having written the register. A maximum leaf that firmware has lowered to 3 stays lowered, though NT
 *   raises it again from 6.0 on.
 *   CoresPerPhysicalProcessor of AMD counts what leaf 0x80000008 counts, which since family 0x17 is threads. The
 *   field there that tells the width of the APIC id's core part is not used: it grew beyond the number of processors.
 *   A number of cores beyond 128 is 128, the largest power of two that the member holds, and 255 in versions that do
 *   not round.
 *   LogicalProcessorsPerCore is computed alike in all versions that have it; how NT does it is not public.
 *   A CPU whose cpuid has no leaf 1 is an 80486 (4, 3, 0) to versions that ask for that leaf: of the older
 *   processors that NT tells apart by their defects, it is the one without. A CPU that has cpuid is no 80386.
 *   Versions that take leaf 1 for granted find nothing if it is missing nonetheless.
 *   A CPU without usable cpuid has no feature bits, WORKING_PTE included.
 *   identifyrules.c has those of single versions.
 *
 * Nothing here is shared between threads: a processor identifies itself while it starts.
 *
 * Test: tests/ke/test_identify.c, tests/ke/test_identifyrules.c.
 */
#include "identify.h"

#define LEAF1_EBX_APIC_ID(Ebx) ((UCHAR)((Ebx) >> 24))
#define LEAF1_EBX_LOGICAL(Ebx) (((Ebx) >> 16) & 0xFF)
#define LEAF1_EBX_CLFLUSH(Ebx) (((Ebx) >> 8) & 0xFF)
#define LEAF1_EDX_HTT 0x10000000

static const struct {
    char String[13];
    UCHAR Vendor;
} KiVendors[] = {
    {"GenuineIntel", CPU_INTEL},     {"AuthenticAMD", CPU_AMD}, {"CyrixInstead", CPU_CYRIX},
    {"GenuineTMx86", CPU_TRANSMETA}, {"CentaurHauls", CPU_VIA}, {"RiseRiseRise", CPU_RISE},
};

BOOLEAN KiReadLeaf(PKI_CPUID Cpuid, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    ULONG Highest = Leaf < 0x80000000 ? Cpuid->Highest : Cpuid->HighestExtended;

    *Registers = (HAL_CPUID){0};
    if (Leaf > Highest || !Cpuid->Source(Cpuid->Context, Leaf, Subleaf, Registers)) {
        *Registers = (HAL_CPUID){0};
        return FALSE;
    }
    return TRUE;
}

static VOID KiStoreVendor(PKPRCB Prcb, PKI_CPUID Cpuid, const HAL_CPUID *Leaf0, const KI_IDENTIFY_RULES *Rules)
{
    const ULONG Words[3] = {Leaf0->Ebx, Leaf0->Edx, Leaf0->Ecx};
    UCHAR String[12];

    for (ULONG Index = 0; Index < 12; Index++) {
        String[Index] = (UCHAR)(Words[Index / 4] >> (8 * (Index % 4)));
    }
    Cpuid->Vendor = CPU_UNKNOWN;
    for (ULONG Index = 0; Index < ARRAYSIZE(KiVendors); Index++) {
        if ((Rules->Vendors & KI_VENDOR(KiVendors[Index].Vendor)) != 0 &&
            __builtin_memcmp(String, KiVendors[Index].String, sizeof(String)) == 0) {
            Cpuid->Vendor = KiVendors[Index].Vendor;
        }
    }
    if ((Rules->Members & KI_MEMBER_VENDOR_STRING) != 0) {
        __builtin_memcpy(Prcb->VendorString, String, sizeof(String));
    }
    if ((Rules->Members & KI_MEMBER_CPU_VENDOR) != 0) {
        Prcb->CpuVendor = Cpuid->Vendor;
    }
}

static VOID KiStoreSignature(PKPRCB Prcb, PKI_CPUID Cpuid, ULONG Eax, const KI_IDENTIFY_RULES *Rules)
{
    ULONG Family = (Eax >> 8) & Rules->FamilyMask;
    ULONG Model = (Eax >> 4) & 0xF;

    if (Rules->ExtendedModel &&
        (Family == 15 || (Family == 6 && (Rules->ExtendedModelVendors & KI_VENDOR(Cpuid->Vendor)) != 0))) {
        Model |= (Eax >> 12) & 0xF0;
    }
    if (Rules->ExtendedFamily && Family == 15) {
        Family += (Eax >> 20) & 0xFF;
    }
    Cpuid->Family = Family;
    Cpuid->Step = Model << 8 | (Eax & 0xF);
    Prcb->CpuID = 1;
    Prcb->CpuType = (CHAR)Family;
    Prcb->CpuModel = (UCHAR)Model;
    Prcb->CpuStepping = Eax & 0xF;
    if ((Rules->Members & KI_MEMBER_PROCESSOR_SIGNATURE) != 0) {
        Prcb->ProcessorSignature = Eax;
    }
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
    ULONG Most = Rules->RoundCores ? 128 : 255;
    ULONG Logical = 1;

    if ((Leaf1->Edx & LEAF1_EDX_HTT) != 0 && LEAF1_EBX_LOGICAL(Leaf1->Ebx) != 0) {
        Logical = LEAF1_EBX_LOGICAL(Leaf1->Ebx);
    }
    if ((Rules->Members & KI_MEMBER_LOGICAL_PROCESSORS) != 0) {
        Prcb->LogicalProcessorsPerPhysicalProcessor = (UCHAR)Logical;
    }
    if ((Rules->Members & KI_MEMBER_CORES) == 0) {
        return;
    }
    if (Cpuid->Vendor != CPU_AMD) {
        if (KiReadLeaf(Cpuid, 4, 0, &Registers)) {
            Cores = (Registers.Eax >> 26) + 1;
        }
    } else if (KiReadLeaf(Cpuid, 0x80000008, 0, &Registers)) {
        Cores = (Registers.Ecx & 0xFF) + 1;
    }
    if (Rules->RoundCores) {
        Cores = KiRoundUpToPowerOfTwo(Cores);
    }
    Cores = Cores > Most ? Most : Cores;
    Prcb->CoresPerPhysicalProcessor = (UCHAR)Cores;
    Prcb->LogicalProcessorsPerCore = (UCHAR)(KiRoundUpToPowerOfTwo(Logical) / Cores);
    if (Prcb->LogicalProcessorsPerCore == 0) {
        Prcb->LogicalProcessorsPerCore = 1;
    }
}

static BOOLEAN KiIsAmong(ULONG Vendors, PKI_CPUID Cpuid)
{
    return Vendors == KI_ANY_VENDOR || (Vendors & KI_VENDOR(Cpuid->Vendor)) != 0;
}

static ULONGLONG KiApplySteps(ULONGLONG Bits, PKI_CPUID Cpuid, const KI_STEP_RULE *const *Lists)
{
    for (; *Lists != NULL; Lists++) {
        for (const KI_STEP_RULE *Rule = *Lists; (Rule->Clear | Rule->Set) != 0; Rule++) {
            if (KiIsAmong(Rule->Vendors, Cpuid) && Cpuid->Family >= Rule->FirstFamily &&
                Cpuid->Family <= Rule->LastFamily && Cpuid->Step >= Rule->FirstStep && Cpuid->Step <= Rule->LastStep) {
                Bits = (Bits & ~Rule->Clear) | Rule->Set;
            }
        }
    }
    return Bits;
}

static VOID KiStoreFeatures(PKPRCB Prcb, PKI_CPUID Cpuid, const HAL_CPUID *Leaf1, const KI_IDENTIFY_RULES *Rules)
{
    ULONG Words[KiWordMaximum] = {0};
    ULONGLONG Bits = 0;
    HAL_CPUID Registers;

    Words[KiWordLeaf1Ecx] = Leaf1->Ecx;
    Words[KiWordLeaf1Edx] = (ULONG)KiApplySteps(Leaf1->Edx, Cpuid, Rules->Flags);
    KiReadLeaf(Cpuid, 6, 0, &Registers);
    Words[KiWordLeaf6Eax] = Registers.Eax;
    Words[KiWordLeaf6Ecx] = Registers.Ecx;
    KiReadLeaf(Cpuid, 7, 0, &Registers);
    Words[KiWordLeaf7Ebx] = Registers.Ebx;
    KiReadLeaf(Cpuid, 0x80000001, 0, &Registers);
    Words[KiWordExtended1Edx] = Registers.Edx;
    KiReadLeaf(Cpuid, 0x8000000A, 0, &Registers);
    Words[KiWordExtendedAEdx] = Registers.Edx;

    for (ULONG List = 0; Rules->Features[List] != NULL; List++) {
        for (const KI_FEATURE_RULE *Rule = Rules->Features[List]; Rule->FeatureBit != 0; Rule++) {
            if ((Words[Rule->Word] & Rule->Mask) != 0 && KiIsAmong(Rule->Vendors, Cpuid)) {
                Bits |= Rule->FeatureBit;
            }
        }
    }
    Prcb->FeatureBits = KiApplySteps(Bits, Cpuid, Rules->Steps);
}

VOID KiForgetIdentification(PKPRCB Prcb)
{
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
    __builtin_memset(Prcb->Cache, 0, sizeof(Prcb->Cache));
    __builtin_memset(Prcb->CacheSharing, 0, sizeof(Prcb->CacheSharing));
    Prcb->CacheCount = 0;
}

static VOID KiIdentify(PKPRCB Prcb, PKI_CPUID Cpuid, const KI_IDENTIFY_RULES *Rules)
{
    HAL_CPUID Leaf0;
    HAL_CPUID Leaf1;
    HAL_CPUID Extended0;

    KiForgetIdentification(Prcb);
    if (!KiReadLeaf(Cpuid, 0, 0, &Leaf0)) {
        return;
    }
    if (Leaf0.Eax > Rules->HighestLeaf) {
        Prcb->CpuType = 5;
        return;
    }
    if (Leaf0.Eax < Rules->LowestLeaf) {
        Prcb->CpuType = 4;
        Prcb->CpuModel = 3;
        return;
    }
    KiStoreVendor(Prcb, Cpuid, &Leaf0, Rules);
    Cpuid->Highest = Leaf0.Eax != 0 ? Leaf0.Eax : 1;
    if (!KiReadLeaf(Cpuid, 1, 0, &Leaf1)) {
        return;
    }
    KiStoreSignature(Prcb, Cpuid, Leaf1.Eax, Rules);
    if ((Rules->Members & KI_MEMBER_CFLUSH_SIZE) != 0) {
        Prcb->CFlushSize = 8 * LEAF1_EBX_CLFLUSH(Leaf1.Ebx);
    }
    if ((Rules->Members & KI_MEMBER_INITIAL_APIC_ID) != 0) {
        Prcb->InitialApicId = LEAF1_EBX_APIC_ID(Leaf1.Ebx);
    }
    if ((Cpuid->Vendor != CPU_AMD || Cpuid->Family >= 5) && KiReadLeaf(Cpuid, 0x80000000, 0, &Extended0) &&
        Extended0.Eax > 0x80000000 && Extended0.Eax <= 0x800000FF) {
        Cpuid->HighestExtended = Extended0.Eax;
    }
    KiStoreTopology(Prcb, Cpuid, &Leaf1, Rules);
    KiStoreFeatures(Prcb, Cpuid, &Leaf1, Rules);
    if ((Rules->Members & KI_MEMBER_CACHE) != 0) {
        KiStoreCaches(Prcb, Cpuid, Rules);
    }
}

VOID KiIdentifyProcessorAs(PKPRCB Prcb, KI_CPUID_SOURCE *Source, PVOID Context, const KI_IDENTIFY_RULES *Rules)
{
    KI_CPUID Cpuid = {.Source = Source, .Context = Context, .HighestExtended = 0x80000000};

    KiIdentify(Prcb, &Cpuid, Rules);
}

VOID KiIdentifyProcessor(PKPRCB Prcb, KI_CPUID_SOURCE *Source, PVOID Context)
{
    KiIdentifyProcessorAs(Prcb, Source, Context, &KiIdentifyRules[KiIdentifyRulesCount - 1]);
}

static BOOLEAN KiHostCpuid(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    UNREFERENCED_PARAMETER(Context);
    return HalCpuid(Leaf, Subleaf, Registers);
}

VOID KiStoreUpdateSignature(PKPRCB Prcb, UCHAR Vendor, ULONG Family, ULONG Revision, const KI_IDENTIFY_RULES *Rules)
{
    if ((Rules->Members & KI_MEMBER_UPDATE_SIGNATURE) == 0 || (Rules->UpdateVendors & KI_VENDOR(Vendor)) == 0) {
        return;
    }
    /* Where the register has it. */
    if (Vendor == CPU_INTEL && Family >= 6) {
        Prcb->UpdateSignature.QuadPart = (LONGLONG)((ULONGLONG)Revision << 32);
    } else if (Vendor == CPU_AMD && Family >= 15) {
        Prcb->UpdateSignature.QuadPart = Revision;
    }
}

BOOLEAN KiIdentifyHostAs(PKPRCB Prcb, const KI_IDENTIFY_RULES *Rules)
{
    KI_CPUID Cpuid = {.Source = KiHostCpuid, .HighestExtended = 0x80000000};
    ULONG HostProcessor = HalCurrentProcessor();
    HAL_CPU_REPORT Report;
    HAL_CPUID Leaf0;

    if (!HalCpuid(0, 0, &Leaf0)) {
        HalReportProcessor(HostProcessor, &Report);
        KiIdentifyReportedAs(Prcb, &Report, Rules);
        return FALSE;
    }
    KiIdentify(Prcb, &Cpuid, Rules);
    KiStoreUpdateSignature(Prcb, Cpuid.Vendor, Cpuid.Family, HalProcessorMicrocode(HostProcessor), Rules);
    return TRUE;
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
    __builtin_memcpy(Prcb->Cache, From->Cache, sizeof(Prcb->Cache));
    __builtin_memcpy(Prcb->CacheSharing, From->CacheSharing, sizeof(Prcb->CacheSharing));
    Prcb->CacheCount = From->CacheCount;
    Prcb->MHz = From->MHz;
}
