/*
 * test_identify.c - src/ke/identify.c against cpuid dumps of 120 real processors and against broken ones.
 *
 * tests/data/cpuid/README.md tells where the dumps come from and how the expected values were worked out. The folder
 * is found beside this source file, or by the environment variable KPRCB_TEST_DATA (the folder tests/data).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "identify.h"

#define MAXIMUM_LEAVES 4096

typedef struct {
    char Processor[64];
    ULONG Leaf, Subleaf;
    HAL_CPUID Registers;
} LEAF;

typedef struct {
    const char *Processor;
    ULONG LeafLimit; /* only the first so many leaves of the dump are there */
    ULONG Asked;     /* leaves that the dump does not have */
} DUMP;

static LEAF Leaves[MAXIMUM_LEAVES];
static ULONG LeafCount;

static FILE *OpenData(const char *Name)
{
    char Path[4096];
    const char *Folder = getenv("KPRCB_TEST_DATA");
    const char *End = strstr(__FILE__, "tests/ke/");
    FILE *File;

    if (Folder != NULL) {
        snprintf(Path, sizeof(Path), "%s/cpuid/%s", Folder, Name);
    } else {
        assert_non_null(End);
        snprintf(Path, sizeof(Path), "%.*stests/data/cpuid/%s", (int)(End - __FILE__), __FILE__, Name);
    }
    File = fopen(Path, "r");
    if (File == NULL) {
        fail_msg("cannot open %s", Path);
    }
    return File;
}

static int LoadDumps(void **State)
{
    FILE *File = OpenData("dumps.tsv");
    char Line[256];
    unsigned Word[6];

    (void)State;
    assert_non_null(fgets(Line, sizeof(Line), File));
    while (fgets(Line, sizeof(Line), File) != NULL) {
        LEAF *Leaf = &Leaves[LeafCount];

        assert_true(LeafCount < MAXIMUM_LEAVES);
        assert_int_equal(sscanf(Line, "%63[^\t]\t%x\t%x\t%x\t%x\t%x\t%x", Leaf->Processor, &Word[0], &Word[1], &Word[2],
                                &Word[3], &Word[4], &Word[5]),
                         7);
        Leaf->Leaf = Word[0];
        Leaf->Subleaf = Word[1];
        Leaf->Registers = (HAL_CPUID){Word[2], Word[3], Word[4], Word[5]};
        LeafCount++;
    }
    fclose(File);
    return LeafCount > 2000 ? 0 : -1;
}

static BOOLEAN ReadDump(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    DUMP *Dump = Context;
    ULONG Seen = 0;

    for (ULONG Index = 0; Index < LeafCount; Index++) {
        if (strcmp(Leaves[Index].Processor, Dump->Processor) == 0 && Seen++ < Dump->LeafLimit &&
            Leaves[Index].Leaf == Leaf && Leaves[Index].Subleaf == Subleaf) {
            *Registers = Leaves[Index].Registers;
            return TRUE;
        }
    }
    Dump->Asked++;
    return FALSE;
}

/* Everything is overwritten: what stays 0xA5 was forgotten. */
static void Identify(PKPRCB Prcb, const char *Processor, ULONG LeafLimit)
{
    DUMP Dump = {Processor, LeafLimit, 0};

    memset(Prcb, 0xA5, sizeof(*Prcb));
    KiIdentifyProcessor(Prcb, ReadDump, &Dump);
}

static const char *VendorName(UCHAR Vendor)
{
    switch (Vendor) {
    case CPU_INTEL:
        return "CPU_INTEL";
    case CPU_AMD:
        return "CPU_AMD";
    case CPU_CYRIX:
        return "CPU_CYRIX";
    case CPU_TRANSMETA:
        return "CPU_TRANSMETA";
    case CPU_VIA:
        return "CPU_VIA";
    case CPU_RISE:
        return "CPU_RISE";
    case CPU_UNKNOWN:
        return "CPU_UNKNOWN";
    default:
        return "?";
    }
}

static void TestEveryDumpGivesTheExpectedMembers(void **State)
{
    FILE *File = OpenData("expected.tsv");
    char Line[512];
    ULONG Processors = 0;
    ULONG Wrong = 0;
    KPRCB Prcb;

    (void)State;
    assert_non_null(fgets(Line, sizeof(Line), File));
    while (fgets(Line, sizeof(Line), File) != NULL) {
        char Actual[512];
        char Vendor[13];
        char Name[64];

        Line[strcspn(Line, "\n")] = 0;
        assert_int_equal(sscanf(Line, "%63[^\t]", Name), 1);
        Identify(&Prcb, Name, MAXIMUM_LEAVES);
        memcpy(Vendor, Prcb.VendorString, sizeof(Vendor));
        assert_int_equal(Vendor[12], 0);
        for (char *Blank = Vendor; (Blank = strchr(Blank, ' ')) != NULL;) {
            *Blank = '~';
        }
        snprintf(Actual, sizeof(Actual), "%s\t%s\t%s\t%u\t%u\t%u\t%u\t%u\t%u\t%u\t%u\t%08X\t%llX", Name, Vendor,
                 VendorName(Prcb.CpuVendor), (UCHAR)Prcb.CpuType, Prcb.CpuModel, Prcb.CpuStepping,
                 (unsigned)Prcb.CFlushSize, Prcb.CoresPerPhysicalProcessor, Prcb.LogicalProcessorsPerPhysicalProcessor,
                 Prcb.LogicalProcessorsPerCore, Prcb.InitialApicId, (unsigned)Prcb.ProcessorSignature,
                 (unsigned long long)Prcb.FeatureBits);
        if (strcmp(Actual, Line) != 0) {
            print_error("expected %s\n     got %s\n", Line, Actual);
            Wrong++;
        }
        assert_int_equal(Prcb.CpuID, 1);
        assert_true(Prcb.UpdateSignature.QuadPart == 0);
        Processors++;
    }
    fclose(File);
    assert_int_equal(Processors, 120);
    assert_int_equal(Wrong, 0);
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
    KiIdentifyHost(&Prcb);
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
        cmocka_unit_test(TestEveryDumpGivesTheExpectedMembers),
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
