/*
 * test_identify.c - src/ke/identify.c by the newest version's rules, on cpuid of real processors and of broken ones.
 *
 * tests/data/cpuid/README.md tells where the dumps come from. test_identifyrules.c compares them all.
 */
#include "support/cpuiddata.h"

/* Everything is overwritten: what stays 0xA5 was forgotten. */
static void Identify(PKPRCB Prcb, const char *Processor, ULONG LeafLimit)
{
    DUMP Dump = {Processor, LeafLimit, 0};

    memset(Prcb, 0xA5, sizeof(*Prcb));
    KiIdentifyProcessor(Prcb, ReadDump, &Dump);
}

/* Rules with an edge, each worked out by hand from the dump's words. */

static void TestFamilySixTakesTheExtendedModelFromIntelAndCentaurOnly(void **State)
{
    KPRCB Prcb;

    (void)State;
    Identify(&Prcb, "GenuineIntel00306A9_IvyBridge_CPUID", MAXIMUM_LEAVES);
    assert_int_equal(Prcb.CpuModel, 0x3A);
    Identify(&Prcb, "CentaurHauls0040672_CNS_04_CPUID", MAXIMUM_LEAVES);
    assert_int_equal(Prcb.CpuModel, 0x47);
    Identify(&Prcb, "CentaurHauls00307B1_ZXE_CPUID", MAXIMUM_LEAVES); /* family 7 */
    assert_int_equal(Prcb.CpuModel, 0xB);
}

static void TestFamilyFifteenAddsTheExtendedFamily(void **State)
{
    KPRCB Prcb;

    (void)State;
    Identify(&Prcb, "AuthenticAMD0870F10_K17_Matisse_01_CPUID", MAXIMUM_LEAVES);
    assert_int_equal(Prcb.CpuType, 0x17);
    assert_int_equal(Prcb.CpuModel, 0x71);
    assert_int_equal(Prcb.CpuStepping, 0);
    assert_int_equal(Prcb.CpuStep, 0x7100);
    Identify(&Prcb, "GenuineIntel0000F43_P4EE_Prescott_CPUID", MAXIMUM_LEAVES);
    assert_int_equal(Prcb.CpuType, 15);
}

static void TestCoresComeFromLeafFourOrAmdsLeafAndAreRoundedUp(void **State)
{
    KPRCB Prcb;

    (void)State;
    Identify(&Prcb, "GenuineIntel00206C2_Gulftown_01_CPUID", MAXIMUM_LEAVES); /* 3C004121: 15 + 1 */
    assert_int_equal(Prcb.CoresPerPhysicalProcessor, 16);
    Identify(&Prcb, "AuthenticAMD0800F82_K17_PinnacleRidge_01_CPUID", MAXIMUM_LEAVES); /* 400B: 11 + 1 */
    assert_int_equal(Prcb.CoresPerPhysicalProcessor, 16);
    /* 80BF: 192, which rounds beyond a UCHAR */
    Identify(&Prcb, "AuthenticAMD0A10F81_K19_StormPeak_01_CPUID", MAXIMUM_LEAVES);
    assert_int_equal(Prcb.CoresPerPhysicalProcessor, 128);
    Identify(&Prcb, "GenuineIntel0000F24_P4_Northwood_CPUID", MAXIMUM_LEAVES); /* no leaf 4 */
    assert_int_equal(Prcb.CoresPerPhysicalProcessor, 1);
}

static void TestSepAndWorkingPteAreDistrustedOnEarlyP6(void **State)
{
    KPRCB Prcb;

    (void)State;
    Identify(&Prcb, "GenuineIntel0000617_P6_CPUID", MAXIMUM_LEAVES); /* edx 0000FBFF */
    assert_int_equal(Prcb.FeatureBits & (KF_FAST_SYSCALL | KF_WORKING_PTE | KF_CMOV), KF_CMOV);
    Identify(&Prcb, "GenuineIntel0000651_P2_Covington_CPUID", MAXIMUM_LEAVES);
    assert_int_equal(Prcb.FeatureBits & (KF_FAST_SYSCALL | KF_WORKING_PTE), KF_FAST_SYSCALL | KF_WORKING_PTE);
    /* The same steppings of another vendor. */
    Identify(&Prcb, "Vortex86 SoC0000611_Vortex86DX3_CPUID", MAXIMUM_LEAVES);
    assert_int_equal(Prcb.FeatureBits & (KF_FAST_SYSCALL | KF_WORKING_PTE), KF_FAST_SYSCALL | KF_WORKING_PTE);
}

static void TestHiddenCmpxchg8bIsFound(void **State)
{
    KPRCB Prcb;

    (void)State;
    Identify(&Prcb, "RiseRiseRise0000504_mP6_CPUID", MAXIMUM_LEAVES); /* edx 00800011 */
    assert_true((Prcb.FeatureBits & KF_CMPXCHG8B) != 0);
}

/* A processor of two leaves. */
typedef struct {
    const char *Vendor;
    ULONG Signature, Edx;
} MADE_UP;

static BOOLEAN ReadMadeUp(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    const MADE_UP *MadeUp = Context;

    (void)Subleaf;
    if (Leaf == 0) {
        Registers->Eax = 1;
        memcpy(&Registers->Ebx, MadeUp->Vendor, 4);
        memcpy(&Registers->Edx, MadeUp->Vendor + 4, 4);
        memcpy(&Registers->Ecx, MadeUp->Vendor + 8, 4);
    } else {
        *Registers = (HAL_CPUID){.Eax = MadeUp->Signature, .Edx = MadeUp->Edx};
    }
    return Leaf <= 1;
}

static ULONGLONG MadeUpFeatures(const char *Vendor, ULONG Signature, ULONG Edx)
{
    MADE_UP MadeUp = {Vendor, Signature, Edx};
    KPRCB Prcb;

    KiIdentifyProcessor(&Prcb, ReadMadeUp, &MadeUp);
    return Prcb.FeatureBits;
}

static void TestTheLastDistrustedSteppingIsTheLast(void **State)
{
    const ULONG All = 0xFFFFFFFF;

    (void)State;
    assert_true((MadeUpFeatures("GenuineIntel", 0x632, All) & KF_FAST_SYSCALL) == 0);
    assert_true((MadeUpFeatures("GenuineIntel", 0x633, All) & KF_FAST_SYSCALL) != 0);
    assert_true((MadeUpFeatures("GenuineIntel", 0x5FF, All) & KF_FAST_SYSCALL) == 0);
    assert_true((MadeUpFeatures("AuthenticAMD", 0x632, All) & KF_FAST_SYSCALL) != 0);

    assert_true((MadeUpFeatures("GenuineIntel", 0x619, All) & KF_WORKING_PTE) == 0);
    assert_true((MadeUpFeatures("GenuineIntel", 0x61A, All) & KF_WORKING_PTE) != 0);
    assert_true((MadeUpFeatures("GenuineIntel", 0x634, All) & KF_WORKING_PTE) == 0);
    assert_true((MadeUpFeatures("GenuineIntel", 0x635, All) & KF_WORKING_PTE) != 0);
    assert_true((MadeUpFeatures("GenuineIntel", 0x651, All) & KF_WORKING_PTE) != 0);

    assert_true((MadeUpFeatures("AuthenticAMD", 0x4F4, All) & (KF_LARGE_PAGE | KF_GLOBAL_PAGE | KF_CMOV)) == 0);
    assert_true((MadeUpFeatures("AuthenticAMD", 0x501, All) & KF_LARGE_PAGE) != 0);

    assert_true((MadeUpFeatures("GenuineTMx86", 0x541, 0) & KF_CMPXCHG8B) == 0);
    assert_true((MadeUpFeatures("GenuineTMx86", 0x542, 0) & KF_CMPXCHG8B) != 0);
    assert_true((MadeUpFeatures("CentaurHauls", 0x541, 0) & KF_CMPXCHG8B) != 0);
    assert_true((MadeUpFeatures("GenuineIntel", 0x541, 0) & KF_CMPXCHG8B) == 0);
}

static void TestTruncatedDumpsGiveDefaults(void **State)
{
    KPRCB Prcb;

    (void)State;
    Identify(&Prcb, "GenuineIntel00406E3_Skylake_CPUID", 0);
    assert_int_equal(Prcb.CpuID, 0);
    assert_int_equal(Prcb.CpuType, 0);
    assert_int_equal(Prcb.CpuStep, 0);
    assert_int_equal(Prcb.CpuVendor, 0);
    assert_int_equal(Prcb.VendorString[0], 0);
    assert_int_equal(Prcb.CFlushSize, 0);
    assert_int_equal(Prcb.CoresPerPhysicalProcessor, 1);
    assert_int_equal(Prcb.LogicalProcessorsPerCore, 1);
    assert_int_equal(Prcb.LogicalProcessorsPerPhysicalProcessor, 1);
    assert_true(Prcb.FeatureBits == 0 && Prcb.ProcessorSignature == 0 && Prcb.UpdateSignature.QuadPart == 0);

    Identify(&Prcb, "GenuineIntel00406E3_Skylake_CPUID", 1);
    assert_string_equal((char *)Prcb.VendorString, "GenuineIntel");
    assert_int_equal(Prcb.CpuVendor, CPU_INTEL);
    assert_int_equal(Prcb.CpuID, 0);

    Identify(&Prcb, "GenuineIntel00406E3_Skylake_CPUID", 2);
    assert_int_equal(Prcb.CpuID, 1);
    assert_int_equal(Prcb.CpuModel, 0x4E);
    assert_int_equal(Prcb.CoresPerPhysicalProcessor, 1);
    assert_true((Prcb.FeatureBits & (KF_XMMI64 | KF_NX_BIT)) == KF_XMMI64);

    for (ULONG Limit = 0; Limit < LeafCount; Limit++) {
        Identify(&Prcb, Leaves[Limit].Processor, Limit % 20);
    }
}

static BOOLEAN AllOnes(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    (void)Context;
    (void)Leaf;
    (void)Subleaf;
    *Registers = (HAL_CPUID){0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF};
    return TRUE;
}

static void TestNonsenseIsSurvived(void **State)
{
    KPRCB Prcb;

    (void)State;
    memset(&Prcb, 0xA5, sizeof(Prcb));
    KiIdentifyProcessor(&Prcb, AllOnes, NULL);
    assert_int_equal(Prcb.CpuVendor, CPU_UNKNOWN);
    assert_int_equal(Prcb.VendorString[12], 0);
    assert_int_equal(Prcb.CoresPerPhysicalProcessor, 64);
    assert_int_equal(Prcb.LogicalProcessorsPerCore, 4);
    assert_true((Prcb.FeatureBits & KF_NX_BIT) == 0); /* FFFFFFFF is no limit of extended leaves */
}

static void TestOtherMembersAreLeftAlone(void **State)
{
    KPRCB Prcb;

    (void)State;
    Identify(&Prcb, "GenuineIntel00406E3_Skylake_CPUID", MAXIMUM_LEAVES);
    assert_int_equal(Prcb.Number, 0xA5A5A5A5);
    assert_int_equal(Prcb.MHz, 0xA5A5A5A5);
    assert_int_equal(Prcb.BuildType, 0xA5A5);
    assert_int_equal(Prcb.NestingLevel, 0xA5);
}

static void TestACopyHasAllThatWasIdentified(void **State)
{
    const char *Name = "GenuineIntel00206C2_Gulftown_01_CPUID";
    KPRCB First;
    KPRCB Second;

    (void)State;
    Identify(&First, Name, MAXIMUM_LEAVES);
    First.MHz = 2400;
    First.Number = 1;
    memset(&Second, 0xA5, sizeof(Second));
    KiCopyIdentification(&Second, &First);
    assert_int_equal(Second.Number, 0xA5A5A5A5);
    Second.Number = 1;
    assert_memory_equal(&First, &Second, sizeof(KPRCB));
}

static void TestTheHostIsIdentified(void **State)
{
    HAL_CPUID Registers;
    KPRCB Prcb;

    (void)State;
    memset(&Prcb, 0xA5, sizeof(Prcb));
    KiIdentifyHostAs(&Prcb, KiFindIdentifyRules("2004"));
    assert_true(Prcb.CoresPerPhysicalProcessor >= 1);
    if (!HalCpuid(0, 0, &Registers)) {
        assert_int_equal(Prcb.CpuID, 0);
        assert_int_equal(Prcb.VendorString[0], 0);
    } else {
        assert_int_equal(Prcb.CpuID, 1);
        assert_int_equal(strlen((char *)Prcb.VendorString), 12);
        assert_true((Prcb.FeatureBits & KF_CMPXCHG8B) != 0);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestFamilySixTakesTheExtendedModelFromIntelAndCentaurOnly),
        cmocka_unit_test(TestFamilyFifteenAddsTheExtendedFamily),
        cmocka_unit_test(TestCoresComeFromLeafFourOrAmdsLeafAndAreRoundedUp),
        cmocka_unit_test(TestSepAndWorkingPteAreDistrustedOnEarlyP6),
        cmocka_unit_test(TestHiddenCmpxchg8bIsFound),
        cmocka_unit_test(TestTheLastDistrustedSteppingIsTheLast),
        cmocka_unit_test(TestTruncatedDumpsGiveDefaults),
        cmocka_unit_test(TestNonsenseIsSurvived),
        cmocka_unit_test(TestOtherMembersAreLeftAlone),
        cmocka_unit_test(TestACopyHasAllThatWasIdentified),
        cmocka_unit_test(TestTheHostIsIdentified),
    };

    return cmocka_run_group_tests(Tests, LoadDumps, NULL);
}
