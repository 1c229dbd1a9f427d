/*
 * test_identifyrules.c - each version's rules on cpuid of 120 real processors, and where rules of versions part.
 *
 * tests/data/cpuid/README.md tells how the expected values were worked out, which was not from the C tables.
 */
#include "support/cpuiddata.h"

static const char *const Labels[] = {
    "3.10",      "3.50",     "3.51",      "4.0-early", "4.0-sp4", "4.0-late", "5.0",  "5.1-early", "5.1-late",
    "5.2-early", "5.2-late", "6.0-early", "6.0-late",  "6.1",     "6.2",      "6.3",  "10.0",      "1511",
    "1607",      "1703",     "1709",      "1803",      "1809",    "1903",     "2004",
};

static void TestEveryVersionIsFoundByItsLabel(void **State)
{
    (void)State;
    assert_int_equal(KiIdentifyRulesCount, ARRAYSIZE(Labels));
    for (ULONG Index = 0; Index < ARRAYSIZE(Labels); Index++) {
        assert_ptr_equal(KiFindIdentifyRules(Labels[Index]), &KiIdentifyRules[Index]);
        assert_string_equal(KiIdentifyRules[Index].Version, Labels[Index]);
    }
    assert_null(KiFindIdentifyRules(""));
    assert_null(KiFindIdentifyRules("4.0"));
    assert_null(KiFindIdentifyRules("2004 "));
}

/* --- every dump --- */

static const char *VendorName(UCHAR Vendor)
{
    static const char *const Names[] = {"NONE", "INTEL", "AMD", "CYRIX", "TRANSMETA", "VIA", "RISE", "UNKNOWN"};

    return Vendor < ARRAYSIZE(Names) ? Names[Vendor] : "?";
}

static void FormatMembers(const KPRCB *Prcb, char *Text, size_t Size)
{
    char Vendor[14];

    memcpy(Vendor, Prcb->VendorString, 13);
    assert_int_equal(Vendor[12], 0);
    for (char *Blank = Vendor; (Blank = strchr(Blank, ' ')) != NULL;) {
        *Blank = '~';
    }
    snprintf(Text, Size, "%s\t%s\t%d\t%u\t%u\t%u\t%u\t%u\t%u\t%u\t%u\t%08X\t%llX", Vendor[0] != 0 ? Vendor : "-",
             VendorName(Prcb->CpuVendor), Prcb->CpuID, (UCHAR)Prcb->CpuType, Prcb->CpuModel, Prcb->CpuStepping,
             (unsigned)Prcb->CFlushSize, Prcb->CoresPerPhysicalProcessor, Prcb->LogicalProcessorsPerPhysicalProcessor,
             Prcb->LogicalProcessorsPerCore, Prcb->InitialApicId, (unsigned)Prcb->ProcessorSignature,
             (unsigned long long)Prcb->FeatureBits);
}

static void TestEveryDumpGivesTheExpectedMembersInEveryVersion(void **State)
{
    FILE *File = OpenData("expected.tsv");
    char Line[512];
    ULONG Compared = 0;
    ULONG Wrong = 0;

    (void)State;
    assert_non_null(fgets(Line, sizeof(Line), File));
    while (fgets(Line, sizeof(Line), File) != NULL) {
        char Name[64], First[16], Last[16];
        int Start = 0;
        const KI_IDENTIFY_RULES *Rules;
        const KI_IDENTIFY_RULES *LastRules;

        Line[strcspn(Line, "\n")] = 0;
        assert_int_equal(sscanf(Line, "%63[^\t]\t%15[^\t]\t%15[^\t]\t%n", Name, First, Last, &Start), 3);
        Rules = KiFindIdentifyRules(First);
        LastRules = KiFindIdentifyRules(Last);
        assert_true(Rules != NULL && LastRules != NULL && Rules <= LastRules);
        for (; Rules <= LastRules; Rules++, Compared++) {
            DUMP Dump = {Name, MAXIMUM_LEAVES, 0};
            char Actual[512];
            KPRCB Prcb;

            memset(&Prcb, 0xA5, sizeof(Prcb));
            KiIdentifyProcessorAs(&Prcb, ReadDump, &Dump, Rules);
            FormatMembers(&Prcb, Actual, sizeof(Actual));
            if (strcmp(Actual, Line + Start) != 0) {
                print_error("%s by %s:\nexpected %s\n     got %s\n", Name, Rules->Version, Line + Start, Actual);
                Wrong++;
            }
            assert_true(Prcb.UpdateSignature.QuadPart == 0);
        }
    }
    fclose(File);
    assert_int_equal(Compared, 120 * ARRAYSIZE(Labels));
    assert_int_equal(Wrong, 0);
}

/* --- processors that are not among the dumps --- */

typedef struct {
    const char *Vendor;
    ULONG Highest, Signature, Ecx, Edx;
    ULONG AmdSvm; /* edx of leaf 0x8000000A */
    ULONG Ebx;
    ULONG Extended; /* eax of leaf 0x80000000; 0: 0x8000000A */
} MADE_UP;

static BOOLEAN ReadMadeUp(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    const MADE_UP *MadeUp = Context;

    (void)Subleaf;
    *Registers = (HAL_CPUID){0};
    switch (Leaf) {
    case 0:
        Registers->Eax = MadeUp->Highest;
        memcpy(&Registers->Ebx, MadeUp->Vendor, 4);
        memcpy(&Registers->Edx, MadeUp->Vendor + 4, 4);
        memcpy(&Registers->Ecx, MadeUp->Vendor + 8, 4);
        return TRUE;
    case 1:
        *Registers = (HAL_CPUID){.Eax = MadeUp->Signature, .Ebx = MadeUp->Ebx, .Ecx = MadeUp->Ecx, .Edx = MadeUp->Edx};
        return TRUE;
    case 6:
        *Registers = (HAL_CPUID){.Eax = 0x2000, .Ecx = 2};
        return TRUE;
    case 7:
        Registers->Ebx = 0x00800080;
        return TRUE;
    case 0x80000000:
        Registers->Eax = MadeUp->Extended != 0 ? MadeUp->Extended : 0x8000000A;
        return TRUE;
    case 0x8000000A:
        Registers->Edx = MadeUp->AmdSvm;
        return TRUE;
    default:
        return FALSE;
    }
}

static KPRCB IdentifyMadeUp(const char *Version, MADE_UP MadeUp)
{
    const KI_IDENTIFY_RULES *Rules = KiFindIdentifyRules(Version);
    KPRCB Prcb;

    assert_non_null(Rules);
    memset(&Prcb, 0xA5, sizeof(Prcb));
    KiIdentifyProcessorAs(&Prcb, ReadMadeUp, &MadeUp, Rules);
    return Prcb;
}

static ULONGLONG MadeUpFeatures(const char *Version, const char *Vendor, ULONG Signature, ULONG Edx)
{
    MADE_UP MadeUp = {.Vendor = Vendor, .Highest = 1, .Signature = Signature, .Edx = Edx};

    return IdentifyMadeUp(Version, MadeUp).FeatureBits;
}

static void TestTooManyLeavesMakeAPentiumWithoutCpuidBeforeSp6(void **State)
{
    static const char *const Early[] = {"3.10", "3.50", "3.51", "4.0-early", "4.0-sp4"};
    MADE_UP MadeUp = {.Vendor = "GenuineIntel", .Highest = 4, .Signature = 0x6F6, .Edx = 0xFFFFFFFF};
    KPRCB Prcb;

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Early); Index++) {
        MadeUp.Highest = 4;
        Prcb = IdentifyMadeUp(Early[Index], MadeUp);
        assert_int_equal(Prcb.CpuID, 0);
        assert_int_equal(Prcb.CpuType, 5);
        assert_int_equal(Prcb.CpuStep, 0);
        assert_int_equal(Prcb.VendorString[0], 0);
        assert_true(Prcb.FeatureBits == 0);
        MadeUp.Highest = 3;
        Prcb = IdentifyMadeUp(Early[Index], MadeUp);
        assert_int_equal(Prcb.CpuID, 1);
        assert_int_equal(Prcb.CpuType, 6);
    }
    MadeUp.Highest = 4;
    assert_int_equal(IdentifyMadeUp("4.0-late", MadeUp).CpuID, 1);
}

static void TestLeafOneIsAskedForFrom350To62(void **State)
{
    MADE_UP MadeUp = {.Vendor = "GenuineIntel", .Highest = 0, .Signature = 0x513};
    KPRCB Prcb;

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Labels); Index++) {
        BOOLEAN Asks = Index >= 1 && Index <= 14;

        Prcb = IdentifyMadeUp(Labels[Index], MadeUp);
        assert_int_equal(Prcb.CpuID, !Asks);
        assert_int_equal(Prcb.CpuType, Asks ? 4 : 5);
        assert_int_equal(Prcb.CpuStep, Asks ? 0x0300 : 0x0103);
    }
}

static void TestTheFamilyIsThreeBitsBeforeSp6(void **State)
{
    MADE_UP MadeUp = {.Vendor = "AuthenticAMD", .Highest = 1, .Signature = 0x00810F12};

    (void)State;
    assert_int_equal(IdentifyMadeUp("4.0-sp4", MadeUp).CpuType, 7);
    assert_int_equal(IdentifyMadeUp("4.0-late", MadeUp).CpuType, 15);
    assert_int_equal(IdentifyMadeUp("5.0", MadeUp).CpuType, 15);
    assert_int_equal(IdentifyMadeUp("5.0", MadeUp).CpuModel, 1);
    assert_int_equal(IdentifyMadeUp("5.1-early", MadeUp).CpuType, 0x17);
    assert_int_equal(IdentifyMadeUp("5.1-early", MadeUp).CpuModel, 0x11);
}

static void TestSixTakesTheExtendedModelByVendorAndServicePack(void **State)
{
    MADE_UP Intel = {.Vendor = "GenuineIntel", .Highest = 1, .Signature = 0x000306A9};
    MADE_UP Centaur = {.Vendor = "CentaurHauls", .Highest = 1, .Signature = 0x000306A9};

    (void)State;
    assert_int_equal(IdentifyMadeUp("5.1-early", Intel).CpuModel, 0xA);
    assert_int_equal(IdentifyMadeUp("5.1-late", Intel).CpuModel, 0x3A);
    assert_int_equal(IdentifyMadeUp("5.2-early", Intel).CpuModel, 0xA);
    assert_int_equal(IdentifyMadeUp("5.2-late", Intel).CpuModel, 0x3A);
    assert_int_equal(IdentifyMadeUp("6.1", Centaur).CpuModel, 0xA);
    assert_int_equal(IdentifyMadeUp("6.2", Centaur).CpuModel, 0x3A);
}

static void TestFlagsOfAmdAndOthersAreTakenStepByStep(void **State)
{
    const ULONG Pages = 0x00000008 | 0x00002000 | 0x00008000;
    const ULONGLONG PageBits = KF_LARGE_PAGE | KF_GLOBAL_PAGE | KF_CMOV | KF_CR4;

    (void)State;
    assert_true(MadeUpFeatures("4.0-early", "AuthenticAMD", 0x611, Pages) == 0);
    assert_true(MadeUpFeatures("4.0-sp4", "AuthenticAMD", 0x611, Pages) == PageBits);
    assert_true(MadeUpFeatures("4.0-late", "CentaurHauls", 0x611, Pages) == 0);
    assert_true(MadeUpFeatures("5.0", "CentaurHauls", 0x611, Pages) == (PageBits | KF_WORKING_PTE));
    assert_true(MadeUpFeatures("5.0", "AuthenticAMD", 0x4FF, Pages) == KF_WORKING_PTE);
    assert_true((MadeUpFeatures("5.0", "AuthenticAMD", 0x513, 0x2000) & KF_GLOBAL_PAGE) != 0);
    assert_true((MadeUpFeatures("5.1-early", "AuthenticAMD", 0x513, 0x2000) & KF_GLOBAL_PAGE) == 0);
    assert_true((MadeUpFeatures("6.1", "AuthenticAMD", 0x513, 0x2000) & KF_GLOBAL_PAGE) == 0);
    assert_true((MadeUpFeatures("6.1", "AuthenticAMD", 0x514, 0x2000) & KF_GLOBAL_PAGE) != 0);
    assert_true((MadeUpFeatures("6.2", "AuthenticAMD", 0x513, 0x2000) & KF_GLOBAL_PAGE) != 0);
    assert_true(MadeUpFeatures("4.0-early", "CentaurHauls", 0x541, 0x100) == 0);
    assert_true(MadeUpFeatures("4.0-sp4", "CentaurHauls", 0x541, 0x100) == KF_CMPXCHG8B);
    assert_true(MadeUpFeatures("3.51", "GenuineIntel", 0x517, 0x80) == KF_CR4);
    assert_true(MadeUpFeatures("3.51", "AuthenticAMD", 0x517, 0x80) == 0);
    assert_true(MadeUpFeatures("4.0-early", "GenuineIntel", 0x517, 0x80) == 0);
}

static void TestAnyOfThreeFlagsTells40OfCr4(void **State)
{
    static const char *const Vendors[] = {"GenuineIntel", "CyrixInstead", "AuthenticAMD"};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Vendors); Index++) {
        BOOLEAN Amd = Index == 2;

        assert_true(MadeUpFeatures("4.0-early", Vendors[Index], 0x513, 0x0002) == (KF_V86_VIS | KF_CR4));
        assert_true(MadeUpFeatures("4.0-early", Vendors[Index], 0x513, 0x0008) == (Amd ? 0 : KF_LARGE_PAGE | KF_CR4));
        assert_true(MadeUpFeatures("4.0-early", Vendors[Index], 0x513, 0x2000) == (Amd ? 0 : KF_GLOBAL_PAGE | KF_CR4));
        assert_true(MadeUpFeatures("4.0-sp4", Vendors[Index], 0x513, 0x0002) == (KF_V86_VIS | KF_CR4));
        assert_true(MadeUpFeatures("4.0-sp4", Vendors[Index], 0x513, 0x0008) == (KF_LARGE_PAGE | KF_CR4));
        assert_true(MadeUpFeatures("4.0-sp4", Vendors[Index], 0x513, 0x2000) == (KF_GLOBAL_PAGE | KF_CR4));
    }
    assert_true(MadeUpFeatures("4.0-late", "CentaurHauls", 0x541, 0x200A) == 0);
}

static void TestHiddenCmpxchg8bIsFoundByVersion(void **State)
{
    (void)State;
    assert_true((MadeUpFeatures("5.0", "CentaurHauls", 0x541, 0) & KF_CMPXCHG8B) == 0);
    assert_true((MadeUpFeatures("5.1-early", "CentaurHauls", 0x541, 0) & KF_CMPXCHG8B) != 0);
    assert_true((MadeUpFeatures("5.1-early", "RiseRiseRise", 0x504, 0) & KF_CMPXCHG8B) == 0);
    assert_true((MadeUpFeatures("5.1-late", "RiseRiseRise", 0x504, 0) & KF_CMPXCHG8B) != 0);
    assert_true((MadeUpFeatures("5.2-early", "RiseRiseRise", 0x504, 0) & KF_CMPXCHG8B) == 0);
    assert_true((MadeUpFeatures("5.2-late", "RiseRiseRise", 0x504, 0) & KF_CMPXCHG8B) != 0);
}

static void TestK6MtrrIsForModelEightSteppingEightToModelNine(void **State)
{
    (void)State;
    assert_true((MadeUpFeatures("5.0", "AuthenticAMD", 0x587, 0) & KF_AMDK6MTRR) == 0);
    assert_true((MadeUpFeatures("5.0", "AuthenticAMD", 0x588, 0) & KF_AMDK6MTRR) != 0);
    assert_true((MadeUpFeatures("6.1", "AuthenticAMD", 0x59F, 0) & KF_AMDK6MTRR) != 0);
    assert_true((MadeUpFeatures("6.1", "AuthenticAMD", 0x5A0, 0) & KF_AMDK6MTRR) == 0);
    assert_true((MadeUpFeatures("6.2", "AuthenticAMD", 0x591, 0) & KF_AMDK6MTRR) == 0);
}

static void TestBitsThatChangedTheirMeaning(void **State)
{
    MADE_UP MadeUp = {.Vendor = "GenuineIntel", .Highest = 1, .Signature = 0x6F6, .Ecx = 0x00010000};

    (void)State;
    assert_true((MadeUpFeatures("5.1-late", "GenuineIntel", 0x6F6, 0x10000000) & KI_FEATURE_HTT) != 0);
    assert_true((MadeUpFeatures("5.2-early", "GenuineIntel", 0x6F6, 0x10080000) & KI_FEATURE_HTT) == 0);
    assert_true((MadeUpFeatures("6.0-early", "GenuineIntel", 0x6F6, 0x10000000) & KI_FEATURE_CLFSH) == 0);
    assert_true((MadeUpFeatures("6.0-early", "GenuineIntel", 0x6F6, 0x00080000) & KI_FEATURE_CLFSH) != 0);
    assert_true((IdentifyMadeUp("6.0-late", MadeUp).FeatureBits & KI_FEATURE_CHANNELS) != 0);
    assert_true((IdentifyMadeUp("6.1", MadeUp).FeatureBits & KI_FEATURE_CHANNELS) == 0);
    MadeUp.Vendor = "AuthenticAMD";
    assert_true((IdentifyMadeUp("6.0-late", MadeUp).FeatureBits & KI_FEATURE_CHANNELS) == 0);
    assert_true((IdentifyMadeUp("6.1", MadeUp).FeatureBits & KI_FEATURE_AMD) != 0);
}

static void TestNestedPagingIsFoundForAmdFrom62(void **State)
{
    MADE_UP MadeUp = {.Vendor = "AuthenticAMD", .Highest = 1, .Signature = 0x00100F42, .AmdSvm = 1};

    (void)State;
    assert_true((IdentifyMadeUp("6.1", MadeUp).FeatureBits & KI_FEATURE_SLAT) == 0);
    assert_true((IdentifyMadeUp("6.2", MadeUp).FeatureBits & KI_FEATURE_SLAT) != 0);
    MadeUp.Vendor = "GenuineIntel";
    assert_true((IdentifyMadeUp("6.2", MadeUp).FeatureBits & KI_FEATURE_SLAT) == 0);
}

static void TestLeavesSixAndSevenAreReadByVersionAndVendor(void **State)
{
    const ULONGLONG Bits = KI_FEATURE_ACNT2 | KI_FEATURE_HDC | KI_FEATURE_SMEP | KI_FEATURE_CLFLUSHOPT;
    MADE_UP Intel = {.Vendor = "GenuineIntel", .Highest = 7, .Signature = 0x000306A9};
    MADE_UP Amd = {.Vendor = "AuthenticAMD", .Highest = 7, .Signature = 0x00870F10};

    (void)State;
    assert_true((IdentifyMadeUp("6.0-late", Intel).FeatureBits & Bits) == 0);
    assert_true((IdentifyMadeUp("6.1", Intel).FeatureBits & Bits) == KI_FEATURE_ACNT2);
    assert_true((IdentifyMadeUp("6.2", Intel).FeatureBits & Bits) == (KI_FEATURE_ACNT2 | KI_FEATURE_SMEP));
    assert_true((IdentifyMadeUp("6.3", Intel).FeatureBits & Bits) == (KI_FEATURE_ACNT2 | KI_FEATURE_SMEP));
    assert_true((IdentifyMadeUp("10.0", Intel).FeatureBits & Bits) == Bits);
    assert_true((IdentifyMadeUp("6.3", Amd).FeatureBits & Bits) == 0);
    assert_true((IdentifyMadeUp("10.0", Amd).FeatureBits & Bits) == KI_FEATURE_SMEP);
    Intel.Highest = 5;
    assert_true((IdentifyMadeUp("10.0", Intel).FeatureBits & Bits) == 0);
}

static void TestLogicalProcessorsCountOnlyWithHtt(void **State)
{
    MADE_UP MadeUp = {.Vendor = "GenuineIntel", .Highest = 1, .Signature = 0xF29, .Ebx = 0x00020000};

    (void)State;
    assert_int_equal(IdentifyMadeUp("5.1-late", MadeUp).LogicalProcessorsPerPhysicalProcessor, 1);
    MadeUp.Edx = 0x10000000;
    assert_int_equal(IdentifyMadeUp("5.1-late", MadeUp).LogicalProcessorsPerPhysicalProcessor, 2);
    assert_int_equal(IdentifyMadeUp("5.0", MadeUp).LogicalProcessorsPerPhysicalProcessor, 1);
    MadeUp.Ebx = 0;
    assert_int_equal(IdentifyMadeUp("5.1-late", MadeUp).LogicalProcessorsPerPhysicalProcessor, 1);
}

static void TestTheMaximumOfTheExtendedLeavesMustBePlausible(void **State)
{
    MADE_UP MadeUp = {.Vendor = "AuthenticAMD", .Highest = 1, .Signature = 0x00100F42, .AmdSvm = 1};

    (void)State;
    MadeUp.Extended = 0x800000FF;
    assert_true((IdentifyMadeUp("2004", MadeUp).FeatureBits & KI_FEATURE_SLAT) != 0);
    MadeUp.Extended = 0x80000100;
    assert_true((IdentifyMadeUp("2004", MadeUp).FeatureBits & KI_FEATURE_SLAT) == 0);
    MadeUp.Extended = 0x80000009;
    assert_true((IdentifyMadeUp("2004", MadeUp).FeatureBits & KI_FEATURE_SLAT) == 0);
    MadeUp.Extended = 0x0000000B;
    assert_true((IdentifyMadeUp("2004", MadeUp).FeatureBits & KI_FEATURE_SLAT) == 0);
}

/* --- names --- */

static void TestEveryFeatureHasANameOfItsVersion(void **State)
{
    (void)State;
    assert_string_equal(KiFeatureName(KiFindIdentifyRules("5.1-late"), 0x00040000), "htt");
    assert_null(KiFeatureName(KiFindIdentifyRules("5.2-late"), 0x00040000));
    assert_string_equal(KiFeatureName(KiFindIdentifyRules("6.0-late"), 0x00040000), "clfsh");
    assert_string_equal(KiFeatureName(KiFindIdentifyRules("6.0-late"), 0x00100000), "channels");
    assert_string_equal(KiFeatureName(KiFindIdentifyRules("2004"), KI_FEATURE_AMD), "amd");
    assert_null(KiFeatureName(KiFindIdentifyRules("3.10"), KF_RDTSC));
    for (ULONG Index = 0; Index < KiIdentifyRulesCount; Index++) {
        MADE_UP MadeUp = {
            .Vendor = "AuthenticAMD", .Highest = 3, .Signature = 0x591, .Ecx = ~0U, .Edx = ~0U, .AmdSvm = ~0U};

        for (ULONG Vendor = 0; Vendor < 2; Vendor++) {
            ULONGLONG Bits = IdentifyMadeUp(Labels[Index], MadeUp).FeatureBits;

            for (ULONG Bit = 0; Bit < 64; Bit++) {
                if ((Bits >> Bit & 1) != 0) {
                    assert_non_null(KiFeatureName(&KiIdentifyRules[Index], 1ULL << Bit));
                }
            }
            MadeUp.Vendor = "GenuineIntel";
        }
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestEveryVersionIsFoundByItsLabel),
        cmocka_unit_test(TestEveryDumpGivesTheExpectedMembersInEveryVersion),
        cmocka_unit_test(TestTooManyLeavesMakeAPentiumWithoutCpuidBeforeSp6),
        cmocka_unit_test(TestLeafOneIsAskedForFrom350To62),
        cmocka_unit_test(TestTheFamilyIsThreeBitsBeforeSp6),
        cmocka_unit_test(TestSixTakesTheExtendedModelByVendorAndServicePack),
        cmocka_unit_test(TestFlagsOfAmdAndOthersAreTakenStepByStep),
        cmocka_unit_test(TestAnyOfThreeFlagsTells40OfCr4),
        cmocka_unit_test(TestHiddenCmpxchg8bIsFoundByVersion),
        cmocka_unit_test(TestK6MtrrIsForModelEightSteppingEightToModelNine),
        cmocka_unit_test(TestBitsThatChangedTheirMeaning),
        cmocka_unit_test(TestNestedPagingIsFoundForAmdFrom62),
        cmocka_unit_test(TestLeavesSixAndSevenAreReadByVersionAndVendor),
        cmocka_unit_test(TestLogicalProcessorsCountOnlyWithHtt),
        cmocka_unit_test(TestTheMaximumOfTheExtendedLeavesMustBePlausible),
        cmocka_unit_test(TestEveryFeatureHasANameOfItsVersion),
    };

    return cmocka_run_group_tests(Tests, LoadDumps, NULL);
}
