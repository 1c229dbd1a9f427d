/*
 * identifyreport.c - identification of a processor that has no cpuid, by what the host's system tells of it, into the
 * KPRCB.
 *
 * Emulates, as far as the members of the 32-bit KPRCB reach, how NT names an ARM processor: family 8 for the eighth
 * architecture, the part number for a model, variant and revision for a stepping.
 *
 * Deviations:
 *   CpuModel has the low eight bits of the part number. ProcessorSignature has the whole MIDR_EL1.
 *   VendorString is the implementer's short name, CpuVendor CPU_UNKNOWN: CPU_VENDORS has no such vendors.
 *   FeatureBits is zero: its bits are those of x86. UpdateSignature and InitialApicId are zero.
 *   CFlushSize is the line size of the instruction that KeInvalidateRangeAllCaches executes.
 *
 * Nothing here is shared between threads: a processor identifies itself while it starts.
 *
 * Test: tests/ke/test_identifyreport.c.
 */
#include "identify.h"

static const struct {
    UCHAR Implementer;
    char Name[13];
} KiImplementers[] = {
    {0x41, "ARM"},    {0x42, "Broadcom"}, {0x43, "Cavium"},    {0x46, "Fujitsu"}, {0x48, "HiSilicon"},
    {0x4E, "NVIDIA"}, {0x50, "APM"},      {0x51, "Qualcomm"},  {0x53, "Samsung"}, {0x56, "Marvell"},
    {0x61, "Apple"},  {0x69, "Intel"},    {0x6D, "Microsoft"}, {0x70, "Phytium"}, {0xC0, "Ampere"},
};

static VOID KiStoreReportedIdentity(PKPRCB Prcb, const HAL_CPU_REPORT *Report, const KI_IDENTIFY_RULES *Rules)
{
    UCHAR Implementer = (UCHAR)(Report->Midr >> 24);
    UCHAR Variant = Report->Midr >> 20 & 0xF;
    UCHAR Revision = Report->Midr & 0xF;

    Prcb->CpuType = (CHAR)Report->Architecture;
    Prcb->CpuModel = (UCHAR)(Report->Midr >> 4);
    Prcb->CpuStepping = (UCHAR)(Variant << 4 | Revision);
    if ((Rules->Members & KI_MEMBER_PROCESSOR_SIGNATURE) != 0) {
        Prcb->ProcessorSignature = Report->Midr;
    }
    if ((Rules->Members & KI_MEMBER_CPU_VENDOR) != 0 && Report->Midr != 0) {
        Prcb->CpuVendor = CPU_UNKNOWN;
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(KiImplementers); Index += 1) {
        if ((Rules->Members & KI_MEMBER_VENDOR_STRING) != 0 && KiImplementers[Index].Implementer == Implementer) {
            __builtin_memcpy(Prcb->VendorString, KiImplementers[Index].Name, sizeof(Prcb->VendorString));
        }
    }
}

static UCHAR KiAtMost255(ULONG Number)
{
    return (UCHAR)(Number < 255 ? Number : 255);
}

static VOID KiStoreReportedTopology(PKPRCB Prcb, const HAL_CPU_REPORT *Report, const KI_IDENTIFY_RULES *Rules)
{
    ULONG Threads = Report->CoreThreads != 0 ? Report->CoreThreads : 1;
    ULONG Package = Report->PackageThreads > Threads ? Report->PackageThreads : Threads;

    if ((Rules->Members & KI_MEMBER_LOGICAL_PROCESSORS) != 0) {
        Prcb->LogicalProcessorsPerPhysicalProcessor = KiAtMost255(Package);
    }
    if ((Rules->Members & KI_MEMBER_CORES) != 0) {
        Prcb->LogicalProcessorsPerCore = KiAtMost255(Threads);
        Prcb->CoresPerPhysicalProcessor = KiAtMost255(Package / Threads);
    }
}

static VOID KiStoreReportedCaches(PKPRCB Prcb, const HAL_CPU_REPORT *Report)
{
    static const UCHAR Types[] = {
        [HalUnifiedCache] = CacheUnified, [HalInstructionCache] = CacheInstruction, [HalDataCache] = CacheData};

    for (ULONG Index = 0; Index < Report->CacheCount; Index += 1) {
        const HAL_CACHE *Reported = &Report->Caches[Index];
        CACHE_DESCRIPTOR Cache = {.Level = Reported->Level, .Size = Reported->Size};
        ULONG Ways = Reported->Ways;

        Cache.Type = (PROCESSOR_CACHE_TYPE)Types[Reported->Type];
        Cache.Associativity = (UCHAR)(Ways < CACHE_FULLY_ASSOCIATIVE ? Ways : CACHE_FULLY_ASSOCIATIVE - 1);
        Cache.LineSize = (USHORT)(Reported->LineSize <= 0xFFFF ? Reported->LineSize : 0);
        KiAddCache(Prcb, &Cache, Reported->Sharing <= 0xFFFF ? Reported->Sharing : 0xFFFF);
    }
}

VOID KiIdentifyReportedAs(PKPRCB Prcb, const HAL_CPU_REPORT *Report, const KI_IDENTIFY_RULES *Rules)
{
    KiForgetIdentification(Prcb);
    KiStoreReportedIdentity(Prcb, Report, Rules);
    if ((Rules->Members & KI_MEMBER_CFLUSH_SIZE) != 0) {
        Prcb->CFlushSize = Report->FlushSize;
    }
    KiStoreReportedTopology(Prcb, Report, Rules);
    if ((Rules->Members & KI_MEMBER_CACHE) != 0) {
        KiStoreReportedCaches(Prcb, Report);
    }
}
