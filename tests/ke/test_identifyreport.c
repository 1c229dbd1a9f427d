/*
 * test_identifyreport.c - identification of CPUs without cpuid, from reports as hal makes them of ARM machines, and the
 * UpdateSignature of those with cpuid.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "identify.h"

static KPRCB IdentifyReport(const char *Version, const HAL_CPU_REPORT *Report)
{
    KPRCB Prcb;

    memset(&Prcb, 0xA5, sizeof(Prcb));
    KiIdentifyReportedAs(&Prcb, Report, KiFindIdentifyRules(Version));
    return Prcb;
}

static HAL_CPU_REPORT NeoverseN1(void)
{
    HAL_CPU_REPORT Report = {.Midr = 0x413FD0C1, .Architecture = 8, .FlushSize = 64, .PackageThreads = 80};

    Report.CoreThreads = 1;
    Report.CacheCount = 3;
    Report.Caches[0] = (HAL_CACHE){HalUnifiedCache, 2, 8, 64, 1 << 20, 1, 0};
    Report.Caches[1] = (HAL_CACHE){HalInstructionCache, 1, 4, 64, 64 << 10, 1, 0};
    Report.Caches[2] = (HAL_CACHE){HalDataCache, 1, 4, 64, 64 << 10, 1, 0};
    return Report;
}

static void TestAnArmProcessorIsNamed(void **State)
{
    HAL_CPU_REPORT Report = NeoverseN1();
    KPRCB Prcb = IdentifyReport("2004", &Report);

    (void)State;
    assert_int_equal(Prcb.CpuID, 0);
    assert_int_equal(Prcb.CpuType, 8);
    assert_int_equal(Prcb.CpuModel, 0x0C);
    assert_int_equal(Prcb.CpuStepping, 0x31);
    assert_int_equal(Prcb.CpuVendor, CPU_UNKNOWN);
    assert_string_equal((char *)Prcb.VendorString, "ARM");
    assert_int_equal(Prcb.ProcessorSignature, 0x413FD0C1);
    assert_int_equal(Prcb.CFlushSize, 64);
    assert_int_equal(Prcb.CoresPerPhysicalProcessor, 80);
    assert_int_equal(Prcb.LogicalProcessorsPerCore, 1);
    assert_int_equal(Prcb.LogicalProcessorsPerPhysicalProcessor, 80);
    assert_int_equal(Prcb.InitialApicId, 0);
    assert_true(Prcb.FeatureBits == 0 && Prcb.UpdateSignature.QuadPart == 0);
    assert_int_equal(Prcb.Number, 0xA5A5A5A5); /* left alone */
    assert_int_equal(Prcb.MHz, 0xA5A5A5A5);
}

static void TestItsCachesAreOrdered(void **State)
{
    HAL_CPU_REPORT Report = NeoverseN1();
    KPRCB Prcb = IdentifyReport("2004", &Report);

    (void)State;
    assert_int_equal(Prcb.CacheCount, 3);
    assert_int_equal(Prcb.Cache[0].Type, CacheData);
    assert_int_equal(Prcb.Cache[1].Type, CacheInstruction);
    assert_int_equal(Prcb.Cache[2].Type, CacheUnified);
    assert_int_equal(Prcb.Cache[2].Level, 2);
    assert_int_equal(Prcb.Cache[2].Associativity, 8);
    assert_int_equal(Prcb.Cache[2].LineSize, 64);
    assert_int_equal(Prcb.Cache[2].Size, 1 << 20);
    assert_int_equal(KiCacheSharing(&Prcb, 2), 1);
    Report.Caches[0].Ways = 300;
    Report.Caches[0].LineSize = 0x10000;
    Report.Caches[0].Sharing = 0x10000;
    Prcb = IdentifyReport("2004", &Report);
    assert_int_equal(Prcb.Cache[2].Associativity, 254);
    assert_int_equal(Prcb.Cache[2].LineSize, 0);
    assert_int_equal(KiCacheSharing(&Prcb, 2), 0xFFFF);
}

static void TestVersionsKeepWhatTheyHave(void **State)
{
    HAL_CPU_REPORT Report = NeoverseN1();
    KPRCB Prcb = IdentifyReport("5.2-late", &Report);

    (void)State;
    assert_int_equal(Prcb.CpuType, 8);
    assert_int_equal(Prcb.CpuVendor, 0);
    assert_int_equal(Prcb.CacheCount, 0);
    assert_int_equal(Prcb.CFlushSize, 0);
    assert_int_equal(Prcb.CoresPerPhysicalProcessor, 1);
    assert_int_equal(Prcb.LogicalProcessorsPerPhysicalProcessor, 80);
    assert_int_equal(Prcb.ProcessorSignature, 0);
    Prcb = IdentifyReport("3.10", &Report);
    assert_int_equal(Prcb.VendorString[0], 0);
    assert_int_equal(Prcb.LogicalProcessorsPerPhysicalProcessor, 1);
}

static void TestImplementersHaveNames(void **State)
{
    static const struct {
        ULONG Midr;
        const char *Name;
    } Known[] = {
        {0x611F0230, "Apple"},     {0x51AF8014, "Qualcomm"}, {0xC00FAC31, "Ampere"}, {0x431F0AF1, "Cavium"},
        {0x6D0FD490, "Microsoft"}, {0x000FD034, ""},         {0xFF0FD034, ""},
    };
    HAL_CPU_REPORT Report = {.Architecture = 8};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Known); Index++) {
        KPRCB Prcb;

        Report.Midr = Known[Index].Midr;
        Prcb = IdentifyReport("2004", &Report);
        assert_string_equal((char *)Prcb.VendorString, Known[Index].Name);
        assert_int_equal(Prcb.ProcessorSignature, Known[Index].Midr);
    }
}

static void TestNothingReportedIsNothingKnown(void **State)
{
    HAL_CPU_REPORT Report = {0};
    KPRCB Prcb = IdentifyReport("2004", &Report);

    (void)State;
    assert_int_equal(Prcb.CpuType, 0);
    assert_int_equal(Prcb.CpuVendor, 0);
    assert_int_equal(Prcb.CpuStep, 0);
    assert_int_equal(Prcb.CoresPerPhysicalProcessor, 1);
    assert_int_equal(Prcb.LogicalProcessorsPerCore, 1);
    assert_int_equal(Prcb.LogicalProcessorsPerPhysicalProcessor, 1);
    assert_int_equal(Prcb.CacheCount, 0);
    Report.PackageThreads = 1000;
    Report.CoreThreads = 2;
    Prcb = IdentifyReport("2004", &Report);
    assert_int_equal(Prcb.LogicalProcessorsPerPhysicalProcessor, 255);
    assert_int_equal(Prcb.CoresPerPhysicalProcessor, 255);
    assert_int_equal(Prcb.LogicalProcessorsPerCore, 2);
}

/* --- UpdateSignature --- */

static ULONGLONG Update(const char *Version, UCHAR Vendor, ULONG Family)
{
    KPRCB Prcb;

    KiForgetIdentification(&Prcb);
    KiStoreUpdateSignature(&Prcb, Vendor, Family, 0x800126E, KiFindIdentifyRules(Version));
    return (ULONGLONG)Prcb.UpdateSignature.QuadPart;
}

static void TestTheUpdateSignatureIsReadByVendorFamilyAndVersion(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < KiIdentifyRulesCount; Index++) {
        const char *Version = KiIdentifyRules[Index].Version;
        BOOLEAN Has = Index >= 3;       /* 4.0-early */
        BOOLEAN ReadsAmd = Index >= 14; /* 6.2 */

        assert_true(Update(Version, CPU_INTEL, 6) == (Has ? 0x0800126E00000000ULL : 0));
        assert_true(Update(Version, CPU_INTEL, 15) == (Has ? 0x0800126E00000000ULL : 0));
        assert_true(Update(Version, CPU_INTEL, 5) == 0);
        assert_true(Update(Version, CPU_AMD, 15) == (ReadsAmd ? 0x0800126E : 0));
        assert_true(Update(Version, CPU_AMD, 0x19) == (ReadsAmd ? 0x0800126E : 0));
        assert_true(Update(Version, CPU_AMD, 6) == 0);
        assert_true(Update(Version, CPU_VIA, 15) == 0);
        assert_true(Update(Version, CPU_UNKNOWN, 0x18) == 0);
    }
    assert_string_equal(KiIdentifyRules[3].Version, "4.0-early");
    assert_string_equal(KiIdentifyRules[14].Version, "6.2");
}

static void TestTheHostsUpdateSignatureIsItsMicrocode(void **State)
{
    ULONG Revision;
    KPRCB Prcb;

    (void)State;
    (void)HalInitializeProcessors();
    assert_true(HalPinThread(HalProcessor(0)->HostProcessor));
    Revision = HalProcessorMicrocode(HalProcessor(0)->HostProcessor);
    memset(&Prcb, 0xA5, sizeof(Prcb));
    (void)KiIdentifyHostAs(&Prcb, KiFindIdentifyRules("2004"));
    HalUnpinThread();
    if (Prcb.CpuVendor == CPU_INTEL && Prcb.CpuType >= 6) {
        assert_int_equal(Prcb.UpdateSignature.HighPart, Revision);
        assert_int_equal(Prcb.UpdateSignature.LowPart, 0);
    } else if (Prcb.CpuVendor == CPU_AMD && (UCHAR)Prcb.CpuType >= 15) {
        assert_int_equal(Prcb.UpdateSignature.LowPart, Revision);
        assert_int_equal(Prcb.UpdateSignature.HighPart, 0);
    } else {
        assert_true(Prcb.UpdateSignature.QuadPart == 0);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestAnArmProcessorIsNamed),
        cmocka_unit_test(TestItsCachesAreOrdered),
        cmocka_unit_test(TestVersionsKeepWhatTheyHave),
        cmocka_unit_test(TestImplementersHaveNames),
        cmocka_unit_test(TestNothingReportedIsNothingKnown),
        cmocka_unit_test(TestTheUpdateSignatureIsReadByVendorFamilyAndVersion),
        cmocka_unit_test(TestTheHostsUpdateSignatureIsItsMicrocode),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
