/*
 * test_cache.c - src/ke/cache.c on cpuid of 120 real processors by each version's rules, and on made-up ones.
 *
 * tests/data/cpuid/README.md tells how the expected values were worked out, which was not from the C tables.
 */
#include "support/cpuiddata.h"

static const char *TypeLetter(PROCESSOR_CACHE_TYPE Type)
{
    static const char *const Letters[] = {
        [CacheData] = "D", [CacheInstruction] = "I", [CacheTrace] = "T", [CacheUnified] = "U"};

    return (unsigned)Type < ARRAYSIZE(Letters) ? Letters[Type] : "?";
}

static void FormatCaches(const KPRCB *Prcb, char *Text, size_t Size)
{
    size_t Length = 0;

    snprintf(Text, Size, "-");
    for (ULONG Index = 0; Index < Prcb->CacheCount; Index++) {
        const CACHE_DESCRIPTOR *Cache = &Prcb->Cache[Index];

        Length += (size_t)snprintf(Text + Length, Size - Length, "%sL%u%s:%lu:%u:%u:%lu", Index != 0 ? " " : "",
                                   Cache->Level, TypeLetter(Cache->Type), (unsigned long)Cache->Size,
                                   Cache->Associativity, Cache->LineSize, (unsigned long)KiCacheSharing(Prcb, Index));
    }
}

/* Whatever is behind the last cache is zero. */
static void AssertEndIsEmpty(const KPRCB *Prcb)
{
    static const CACHE_DESCRIPTOR Empty;

    assert_true(Prcb->CacheCount <= ARRAYSIZE(Prcb->Cache));
    for (ULONG Index = Prcb->CacheCount; Index < ARRAYSIZE(Prcb->Cache); Index++) {
        assert_memory_equal(&Prcb->Cache[Index], &Empty, sizeof(Empty));
        assert_int_equal(Prcb->CacheSharing[Index], 0);
        assert_int_equal(KiCacheSharing(Prcb, Index), 0);
    }
    assert_int_equal(KiCacheSharing(Prcb, ARRAYSIZE(Prcb->Cache)), 0);
    assert_int_equal(KiCacheSharing(Prcb, 0xFFFFFFFF), 0);
}

static ULONG CompareDump(const char *Name, const KI_IDENTIFY_RULES *Rules, const char *Expected)
{
    DUMP Dump = {Name, MAXIMUM_LEAVES, 0};
    char Actual[512];
    KPRCB Prcb;

    memset(&Prcb, 0xA5, sizeof(Prcb));
    KiIdentifyProcessorAs(&Prcb, ReadDump, &Dump, Rules);
    AssertEndIsEmpty(&Prcb);
    FormatCaches(&Prcb, Actual, sizeof(Actual));
    if (strcmp(Actual, Expected) != 0) {
        print_error("%s by %s:\nexpected %s\n     got %s\n", Name, Rules->Version, Expected, Actual);
        return 1;
    }
    return 0;
}

static void TestEveryDumpGivesTheExpectedCachesInEveryVersion(void **State)
{
    FILE *File = OpenData("caches.tsv");
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
            Wrong += CompareDump(Name, Rules, Line + Start);
        }
    }
    fclose(File);
    assert_int_equal(Compared, 120 * 14);
    assert_int_equal(Wrong, 0);
}

static void TestVersionsBeforeVistaHaveNone(void **State)
{
    const KI_IDENTIFY_RULES *Vista = KiFindIdentifyRules("6.0-early");

    (void)State;
    for (const KI_IDENTIFY_RULES *Rules = KiIdentifyRules; Rules < Vista; Rules++) {
        assert_int_equal(CompareDump("GenuineIntel0000617_P6_CPUID", Rules, "-"), 0);
        assert_int_equal(CompareDump("GenuineIntel00206C2_Gulftown_01_CPUID", Rules, "-"), 0);
    }
}

/* What the boxes said. */
static void TestWellKnownProcessorsHaveTheirCaches(void **State)
{
    const KI_IDENTIFY_RULES *Newest = KiFindIdentifyRules("2004");

    (void)State;
    assert_int_equal(CompareDump("GenuineIntel0000673_P3_KatmaiDP_CPUID", Newest,
                                 "L1D:16384:4:32:1 L1I:16384:4:32:1 L2U:524288:4:32:1"),
                     0);
    assert_int_equal(CompareDump("GenuineIntel0000F24_P4_Northwood_CPUID", Newest,
                                 "L1D:8192:4:64:1 L1T:12288:8:0:1 L2U:524288:8:64:1"),
                     0);
    assert_int_equal(CompareDump("AuthenticAMD0000622_K7_Pluto_CPUID", Newest,
                                 "L1D:65536:2:64:1 L1I:65536:2:64:1 L2U:524288:2:64:1"),
                     0);
    assert_int_equal(CompareDump("AuthenticAMD0870F10_K17_Matisse_01_CPUID", Newest,
                                 "L1D:32768:8:64:2 L1I:32768:8:64:2 L2U:524288:8:64:2 L3U:16777216:16:64:6"),
                     0);
}

/* --- made-up processors --- */

typedef struct {
    const char *Vendor;
    ULONG Signature;
    ULONG Ecx; /* of leaf 0x80000001 */
    HAL_CPUID Leaf2;
    HAL_CPUID Lists[10];  /* of leaf 4 and leaf 0x8000001D */
    ULONG Count;          /* of Lists; beyond it the source knows nothing */
    HAL_CPUID Five, Six;  /* leaves 0x80000005 and 0x80000006 */
    ULONG AskedForOthers; /* than the lists, by the source */
} MADE_UP;

static BOOLEAN ReadMadeUp(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    MADE_UP *MadeUp = Context;

    *Registers = (HAL_CPUID){0};
    switch (Leaf) {
    case 0:
        Registers->Eax = 4;
        memcpy(&Registers->Ebx, MadeUp->Vendor, 4);
        memcpy(&Registers->Edx, MadeUp->Vendor + 4, 4);
        memcpy(&Registers->Ecx, MadeUp->Vendor + 8, 4);
        return TRUE;
    case 1:
        Registers->Eax = MadeUp->Signature;
        return TRUE;
    case 2:
        *Registers = MadeUp->Leaf2;
        MadeUp->AskedForOthers++;
        return TRUE;
    case 4:
    case 0x8000001D:
        if (Subleaf < MadeUp->Count) {
            *Registers = MadeUp->Lists[Subleaf];
        }
        return Subleaf < MadeUp->Count;
    case 0x80000000:
        Registers->Eax = 0x8000001D;
        return TRUE;
    case 0x80000001:
        Registers->Ecx = MadeUp->Ecx;
        return TRUE;
    case 0x80000005:
        *Registers = MadeUp->Five;
        MadeUp->AskedForOthers++;
        return TRUE;
    case 0x80000006:
        *Registers = MadeUp->Six;
        MadeUp->AskedForOthers++;
        return TRUE;
    default:
        return FALSE;
    }
}

static void AssertCaches(const char *Version, MADE_UP *MadeUp, const char *Expected)
{
    char Actual[512];
    KPRCB Prcb;

    memset(&Prcb, 0xA5, sizeof(Prcb));
    MadeUp->AskedForOthers = 0;
    KiIdentifyProcessorAs(&Prcb, ReadMadeUp, MadeUp, KiFindIdentifyRules(Version));
    AssertEndIsEmpty(&Prcb);
    FormatCaches(&Prcb, Actual, sizeof(Actual));
    assert_string_equal(Actual, Expected);
}

#define CACHE_TYPE(Level, Type, Sharing) ((Sharing - 1) << 14 | (Level) << 5 | (Type))
#define GEOMETRY(Ways, Partitions, Line) ((ULONG)((Ways)-1) << 22 | ((Partitions)-1) << 12 | ((Line)-1))

static void TestACompleteListIsAllThatIsAsked(void **State)
{
    MADE_UP MadeUp = {.Vendor = "GenuineIntel",
                      .Signature = 0x6F6,
                      .Leaf2 = {.Edx = 0x2C04307D},
                      .Lists = {{CACHE_TYPE(1, 1, 1), GEOMETRY(8, 1, 64), 63, 0}},
                      .Count = 2};

    (void)State;
    AssertCaches("2004", &MadeUp, "L1D:32768:8:64:1");
    assert_int_equal(MadeUp.AskedForOthers, 0);
    MadeUp.Count = 1; /* cut off */
    AssertCaches("2004", &MadeUp, "L1D:32768:8:64:1 L1I:32768:8:64:1 L2U:2097152:8:64:1");
    assert_int_equal(MadeUp.AskedForOthers, 1);
    MadeUp.Count = 0;
    MadeUp.Leaf2.Edx = 0x2C;
    AssertCaches("2004", &MadeUp, "L1D:32768:8:64:1");
    MadeUp.Vendor = "Vortex86 SoC";
    AssertCaches("2004", &MadeUp, "-");
    assert_int_equal(MadeUp.AskedForOthers, 0);
    MadeUp.Count = 2;
    AssertCaches("2004", &MadeUp, "L1D:32768:8:64:1"); /* any vendor's leaf 4 */
    MadeUp.Vendor = "AuthenticAMD";
    AssertCaches("2004", &MadeUp, "-"); /* but AMD's */
}

static void TestListsAreDecodedToTheirLimits(void **State)
{
    MADE_UP MadeUp = {.Vendor = "GenuineIntel", .Signature = 0x6F6, .Count = 10};

    (void)State;
    /* By level, data before instructions; what has no known type or no level is left out. */
    MadeUp.Lists[0] = (HAL_CPUID){CACHE_TYPE(3, 3, 4096), GEOMETRY(20, 2, 64), 0xFFF, 0};
    MadeUp.Lists[1] = (HAL_CPUID){CACHE_TYPE(1, 2, 2), GEOMETRY(1, 1, 4096), 0, 0};
    MadeUp.Lists[2] = (HAL_CPUID){CACHE_TYPE(1, 4, 2), GEOMETRY(1, 1, 64), 0, 0};
    MadeUp.Lists[3] = (HAL_CPUID){CACHE_TYPE(0, 1, 2), GEOMETRY(1, 1, 64), 0, 0};
    MadeUp.Lists[4] = (HAL_CPUID){CACHE_TYPE(1, 1, 2) | 0x200, GEOMETRY(64, 1, 64), 0, 0};
    AssertCaches("6.0-early", &MadeUp, "L1D:4096:255:64:2 L1I:4096:1:4096:2 L3U:10485760:20:64:4096");
    /* More ways than the member holds, and more bytes. */
    MadeUp.Lists[0] = (HAL_CPUID){CACHE_TYPE(7, 3, 1), GEOMETRY(1024, 1024, 4096), 0xFFFFFFFF, 0};
    MadeUp.Lists[1] = (HAL_CPUID){CACHE_TYPE(6, 3, 1), GEOMETRY(255, 1, 64), 0, 0};
    MadeUp.Lists[2] = (HAL_CPUID){CACHE_TYPE(5, 3, 1), GEOMETRY(1, 1, 1), 0xFFFFFFFE, 0};
    MadeUp.Lists[3] = (HAL_CPUID){CACHE_TYPE(4, 3, 1), GEOMETRY(1, 1, 1), 0xFFFFFFFF, 0};
    MadeUp.Lists[4] = (HAL_CPUID){0};
    AssertCaches("2004", &MadeUp,
                 "L4U:4294967295:1:1:1 L5U:4294967295:1:1:1 L6U:16320:254:64:1 L7U:4294967295:254:4096:1");
    /* The first of a kind counts; the sixth, by level, is left out wherever it stands. */
    for (ULONG Level = 7; Level >= 1; Level--) {
        MadeUp.Lists[7 - Level] = (HAL_CPUID){CACHE_TYPE(Level, 3, Level), GEOMETRY(1, 1, 64), 0, 0};
    }
    MadeUp.Lists[7] = (HAL_CPUID){CACHE_TYPE(1, 3, 1), GEOMETRY(2, 1, 64), 0, 0};
    MadeUp.Lists[8] = (HAL_CPUID){CACHE_TYPE(6, 1, 1), GEOMETRY(2, 1, 64), 0, 0};
    AssertCaches("2004", &MadeUp, "L1U:64:1:64:1 L2U:64:1:64:2 L3U:64:1:64:3 L4U:64:1:64:4 L5U:64:1:64:5");
}

static void TestDescriptorsAreReadFromValidRegistersOnly(void **State)
{
    MADE_UP MadeUp = {.Vendor = "GenuineIntel", .Signature = 0x617};

    (void)State;
    /* The low byte of eax is no descriptor, and a register with its highest bit set has none. */
    MadeUp.Leaf2 = (HAL_CPUID){.Eax = 0x00000042, .Ebx = 0x8000000A, .Ecx = 0x00000800, .Edx = 0x4000FF00};
    AssertCaches("2004", &MadeUp, "L1I:16384:4:32:1");
    MadeUp.Leaf2 = (HAL_CPUID){.Eax = 0x42000001, .Ebx = 0x0A000000};
    AssertCaches("2004", &MadeUp, "L1D:8192:2:32:1 L2U:262144:4:32:1");
    /* 0x49 is of the second level, but for family 15, model 6. */
    MadeUp.Leaf2 = (HAL_CPUID){.Eax = 0x4901};
    AssertCaches("2004", &MadeUp, "L2U:4194304:16:64:1");
    MadeUp.Signature = 0xF65;
    AssertCaches("2004", &MadeUp, "L3U:4194304:16:64:1");
    MadeUp.Signature = 0xF4A;
    AssertCaches("2004", &MadeUp, "L2U:4194304:16:64:1");
    MadeUp.Vendor = "CentaurHauls";
    AssertCaches("6.1", &MadeUp, "-");
    AssertCaches("6.2", &MadeUp, "L2U:4194304:16:64:1");
}

static void TestAmdsLeavesAreDecoded(void **State)
{
    static const UCHAR Ways[] = {0, 1, 2, 3, 4, 6, 8, 0, 16, 0, 32, 48, 64, 96, 128, 255};
    MADE_UP MadeUp = {
        .Vendor = "AuthenticAMD", .Signature = 0x00100F22, .Five = {.Ecx = 0x40FF0120, .Edx = 0x10010140}};
    char Expected[256];

    (void)State;
    for (ULONG Code = 0; Code < 16; Code++) {
        MadeUp.Six.Ecx = 0x02000140 | Code << 12;
        MadeUp.Six.Edx = 0x00080140 | Code << 12;
        snprintf(Expected, sizeof(Expected), "L1D:65536:255:32:1 L1I:16384:1:64:1");
        if (Code != 0) {
            snprintf(Expected + strlen(Expected), sizeof(Expected) - strlen(Expected),
                     " L2U:524288:%u:64:1 L3U:1048576:%u:64:1", Ways[Code], Ways[Code]);
        }
        AssertCaches("2004", &MadeUp, Expected);
    }
    MadeUp.Five = (HAL_CPUID){0};
    MadeUp.Six.Ecx = 0x0000F140; /* no bytes: no cache */
    MadeUp.Six.Edx = 0xFFFCF140;
    AssertCaches("2004", &MadeUp, "L3U:4294967295:255:64:1");
    MadeUp.Six.Edx = 0;
    MadeUp.Six.Ecx = 0x00018140; /* the Duron that says 1 KB */
    MadeUp.Signature = 0x630;
    AssertCaches("2004", &MadeUp, "L2U:65536:16:64:1");
    MadeUp.Signature = 0x631;
    AssertCaches("2004", &MadeUp, "L2U:1024:16:64:1");
}

static void TestTheTopologyExtensionsAreAskedWhereTheyAreAnnounced(void **State)
{
    MADE_UP MadeUp = {.Vendor = "AuthenticAMD",
                      .Signature = 0x00600F12,
                      .Lists = {{CACHE_TYPE(2, 3, 2), GEOMETRY(16, 1, 64), 0x7FF, 0}},
                      .Count = 2,
                      .Six = {.Ecx = 0x02006140}};

    (void)State;
    AssertCaches("2004", &MadeUp, "L2U:524288:8:64:1");
    MadeUp.Ecx = 0x00400000;
    AssertCaches("6.1", &MadeUp, "L2U:524288:8:64:1");
    AssertCaches("6.2", &MadeUp, "L2U:2097152:16:64:2");
    AssertCaches("2004", &MadeUp, "L2U:2097152:16:64:2");
    assert_int_equal(MadeUp.AskedForOthers, 0);
    MadeUp.Count = 1; /* cut off: what is known of the second level stays */
    MadeUp.Five.Ecx = 0x40020140;
    AssertCaches("2004", &MadeUp, "L1D:65536:2:64:1 L2U:2097152:16:64:2");
}

static BOOLEAN Noise(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    ULONGLONG *Seed = Context;
    ULONG *Words[] = {&Registers->Eax, &Registers->Ebx, &Registers->Ecx, &Registers->Edx};

    for (ULONG Word = 0; Word < ARRAYSIZE(Words); Word++) {
        *Seed = *Seed * 6364136223846793005u + 1442695040888963407u;
        *Words[Word] = (ULONG)(*Seed >> 32);
    }
    if (Leaf == 0 || Leaf == 0x80000000) {
        Registers->Eax = Leaf | 0x1F;
    }
    if (Leaf == 0) {
        static const char *const Vendors[] = {"GenuineIntel", "AuthenticAMD", "CentaurHauls", "HygonGenuine"};
        const char *Vendor = Vendors[*Seed >> 62];

        memcpy(&Registers->Ebx, Vendor, 4);
        memcpy(&Registers->Edx, Vendor + 4, 4);
        memcpy(&Registers->Ecx, Vendor + 8, 4);
    }
    return Subleaf < 64;
}

static void TestNoiseIsSurvived(void **State)
{
    ULONGLONG Seed = 1;

    (void)State;
    for (ULONG Round = 0; Round < 20000; Round++) {
        KPRCB Prcb;

        memset(&Prcb, 0xA5, sizeof(Prcb));
        KiIdentifyProcessorAs(&Prcb, Noise, &Seed, &KiIdentifyRules[Round % KiIdentifyRulesCount]);
        AssertEndIsEmpty(&Prcb);
        for (ULONG Index = 0; Index < Prcb.CacheCount; Index++) {
            assert_in_range(Prcb.Cache[Index].Level, 1, 7);
            assert_in_range(Prcb.Cache[Index].Type, CacheUnified, CacheTrace);
            assert_int_not_equal(Prcb.Cache[Index].Size, 0);
            assert_true(Index == 0 || Prcb.Cache[Index].Level >= Prcb.Cache[Index - 1].Level);
        }
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestEveryDumpGivesTheExpectedCachesInEveryVersion),
        cmocka_unit_test(TestVersionsBeforeVistaHaveNone),
        cmocka_unit_test(TestWellKnownProcessorsHaveTheirCaches),
        cmocka_unit_test(TestACompleteListIsAllThatIsAsked),
        cmocka_unit_test(TestListsAreDecodedToTheirLimits),
        cmocka_unit_test(TestDescriptorsAreReadFromValidRegistersOnly),
        cmocka_unit_test(TestAmdsLeavesAreDecoded),
        cmocka_unit_test(TestTheTopologyExtensionsAreAskedWhereTheyAreAnnounced),
        cmocka_unit_test(TestNoiseIsSurvived),
    };

    return cmocka_run_group_tests(Tests, LoadDumps, NULL);
}
