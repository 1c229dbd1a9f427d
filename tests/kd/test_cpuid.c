/*
 * test_cpuid.c - `kprcb cpuid` from outside: what it prints of this CPU and of dumps, by which rules, and what it refuses.
 */
#include "kd/commandtest.h"
#include "support/cpuiddata.h"

#define GULFTOWN "GenuineIntel00206C2_Gulftown_01_CPUID"
#define THREADRIPPER "AuthenticAMD0A10F81_K19_StormPeak_01_CPUID"

static char DumpPath[4096];

/* Line with --dump=(dumps.tsv) before it. */
static RESULT RunDump(const char *Line)
{
    char Words[8192];

    snprintf(Words, sizeof(Words), "cpuid --dump=%s %s", DumpPath, Line);
    return Run(Words);
}

static RESULT RunDumpWell(const char *Line)
{
    RESULT Result = RunDump(Line);

    if (Result.Exit != 0 || Result.Errors[0] != 0) {
        fail_msg("%s: exit %d, %s", Line, Result.Exit, Result.Errors);
    }
    AssertNarrow(Result.Output);
    return Result;
}

/* What stands after Member and blanks, up to the next blank or the end of the line. */
static void AssertValue(const char *Output, const char *Member, const char *Value)
{
    char Pattern[64];
    const char *Found;

    snprintf(Pattern, sizeof(Pattern), "\n  %s ", Member);
    Found = strstr(Output, Pattern);
    if (Found == NULL) {
        fail_msg("no %s in %s", Member, Output);
        return;
    }
    Found += strlen(Pattern);
    Found += strspn(Found, " ");
    if (strncmp(Found, Value, strlen(Value)) != 0 || strchr(" \n", Found[strlen(Value)]) == NULL) {
        fail_msg("%s is not %s but %.20s", Member, Value, Found);
    }
}

static void TestThisCpuIsShown(void **State)
{
    static const char *const Members[] = {
        "CpuType",
        "CpuModel",
        "CpuStepping",
        "CpuID",
        "CpuVendor",
        "VendorString",
        "CFlushSize",
        "InitialApicId",
        "CoresPerPhysicalProcessor",
        "UpdateSignature",
        "FeatureBits",
        "LogicalProcessorsPerCore",
        "ProcessorSignature",
        "LogicalProcessorsPerPhysicalProcessor",
    };
    HAL_CPUID Leaf0;
    BOOLEAN Cpuid = HalCpuid(0, 0, &Leaf0);
    RESULT Result;

    (void)State;
    Result = RunWell("cpuid");
    AssertNarrow(Result.Output);
    assert_non_null(strstr(Result.Output, "This CPU, by the rules of version 2004\n"));
    for (size_t Index = 0; Index < ARRAYSIZE(Members); Index++) {
        if (strstr(Result.Output, Members[Index]) == NULL) {
            fail_msg("%s is missing", Members[Index]);
        }
    }
    AssertValue(Result.Output, "CpuID", Cpuid ? "1" : "0");
    assert_true(!Cpuid || strstr(Result.Output, " CMPXCHG8B ") != NULL);
    assert_true((strstr(Result.Output, "It has no cpuid; this is what the host tells") != NULL) == !Cpuid);
    assert_null(strstr(Result.Output, "not in the dump"));
    Free(&Result);
    Result = RunWell("cpuid --json");
    assert_true(IsJson(Result.Output));
    assert_non_null(strstr(Result.Output, "\"processor\": \"host\""));
    assert_non_null(strstr(Result.Output, Cpuid ? "\"cpuid\": true" : "\"cpuid\": false"));
    assert_non_null(strstr(Result.Output, "\"notInDump\": []"));
    Free(&Result);
}

static void TestADumpIsShownByTheNewestRules(void **State)
{
    RESULT Result = RunDumpWell("--processor=" GULFTOWN);

    (void)State;
    assert_non_null(strstr(Result.Output, GULFTOWN ", by the rules of version 2004\n"));
    AssertValue(Result.Output, "CpuType", "6");
    AssertValue(Result.Output, "CpuModel", "44");
    AssertValue(Result.Output, "CpuStepping", "2");
    AssertValue(Result.Output, "CpuID", "1");
    AssertValue(Result.Output, "VendorString", "\"GenuineIntel\"");
    AssertValue(Result.Output, "CFlushSize", "64");
    AssertValue(Result.Output, "CoresPerPhysicalProcessor", "16");
    AssertValue(Result.Output, "LogicalProcessorsPerCore", "2");
    AssertValue(Result.Output, "LogicalProcessorsPerPhysicalProcessor", "32");
    AssertValue(Result.Output, "ProcessorSignature", "0x206c2");
    AssertValue(Result.Output, "UpdateSignature", "0x0");
    assert_non_null(strstr(Result.Output, "CPU_INTEL"));
    assert_non_null(strstr(Result.Output, "Leaf 0x6 is not in the dump"));
    Free(&Result);
}

static void TestOtherVersionsShowWhatTheyHave(void **State)
{
    RESULT Result = RunDumpWell("--as 4.0-late --processor " GULFTOWN);

    (void)State;
    assert_non_null(strstr(Result.Output, "by the rules of version 4.0-late\n"));
    AssertValue(Result.Output, "CpuModel", "12");
    AssertValue(Result.Output, "CpuID", "1");
    AssertValue(Result.Output, "CFlushSize", "-");
    AssertValue(Result.Output, "CpuVendor", "-");
    AssertValue(Result.Output, "InitialApicId", "-");
    AssertValue(Result.Output, "ProcessorSignature", "-");
    AssertValue(Result.Output, "UpdateSignature", "0x0");
    assert_non_null(strstr(Result.Output, " LARGE_PAGE"));
    assert_null(strstr(Result.Output, "XMMI"));
    Free(&Result);
    Result = RunDumpWell("--as 4.0-sp4 --processor " GULFTOWN);
    AssertValue(Result.Output, "CpuType", "5");
    AssertValue(Result.Output, "CpuID", "0");
    AssertValue(Result.Output, "VendorString", "\"\"");
    AssertValue(Result.Output, "FeatureBits", "0x0");
    Free(&Result);
    Result = RunDumpWell("--as 3.51 --processor GenuineIntel0000617_P6_CPUID");
    AssertValue(Result.Output, "FeatureBits", "0x6");
    assert_non_null(strstr(Result.Output, "elsewhere"));
    Free(&Result);
    Result = RunDumpWell("--as 3.10 --processor GenuineIntel0000617_P6_CPUID");
    AssertValue(Result.Output, "CpuID", "1");
    AssertValue(Result.Output, "VendorString", "-");
    AssertValue(Result.Output, "FeatureBits", "-");
    Free(&Result);
}

static void TestJsonHasTheMembersOfTheVersion(void **State)
{
    RESULT Result = RunDumpWell("--json --as 6.0-late --processor " THREADRIPPER);

    (void)State;
    assert_true(IsJson(Result.Output));
    assert_non_null(strstr(Result.Output, "\"processor\": \"" THREADRIPPER "\""));
    assert_non_null(strstr(Result.Output, "\"rules\": \"6.0-late\""));
    assert_non_null(strstr(Result.Output, "\"CoresPerPhysicalProcessor\": 192"));
    assert_non_null(strstr(Result.Output, "\"FeatureBits\": \"0x200d3fff\""));
    assert_non_null(strstr(Result.Output, "\"NX_BIT\""));
    assert_null(strstr(Result.Output, "ProcessorSignature"));
    assert_non_null(strstr(Result.Output, "\"0x6\""));
    Free(&Result);
    Result = RunDumpWell("--json --as 3.10 --processor " THREADRIPPER);
    assert_true(IsJson(Result.Output));
    assert_null(strstr(Result.Output, "VendorString"));
    assert_non_null(strstr(Result.Output, "\"CpuType\": 5"));
    Free(&Result);
}

static void TestCachesAreShown(void **State)
{
    RESULT Result = RunDumpWell("--processor=" GULFTOWN);

    (void)State;
    AssertValue(Result.Output, "CacheCount", "4");
    assert_non_null(strstr(Result.Output, " L1 data 32 KB        8 ways, 64-byte lines, shared by 2\n"));
    assert_non_null(strstr(Result.Output, " L3 unified 12 MB     16 ways, 64-byte lines, shared by 32\n"));
    assert_null(strstr(Result.Output, "Cache[4]"));
    Free(&Result);
    Result = RunDumpWell("--as 5.2-late --processor=" GULFTOWN);
    AssertValue(Result.Output, "CacheCount", "-");
    assert_null(strstr(Result.Output, "Cache[0]"));
    Free(&Result);
    Result = RunDumpWell("--processor GenuineIntel0000F24_P4_Northwood_CPUID");
    assert_non_null(strstr(Result.Output, " L1 trace 12 K ops    8 ways, shared by 1\n"));
    Free(&Result);
    Result = RunDumpWell("--json --processor GenuineIntel0000F24_P4_Northwood_CPUID");
    assert_true(IsJson(Result.Output));
    assert_non_null(strstr(Result.Output, "\"CacheCount\": 3"));
    assert_int_equal(CountOf(Result.Output, "\"Associativity\": 8,"), 2);
    assert_int_equal(CountOf(Result.Output, "\"Size\": 524288,"), 1);
    assert_int_equal(CountOf(Result.Output, "\"Type\": \"CacheTrace\""), 1);
    Free(&Result);
    Result = RunDumpWell("--json --as 5.2-late --processor=" GULFTOWN);
    assert_null(strstr(Result.Output, "Cache"));
    Free(&Result);
}

static void TestListsAreComplete(void **State)
{
    RESULT Result = RunWell("cpuid --list");

    (void)State;
    assert_int_equal(CountOf(Result.Output, "\n"), KiIdentifyRulesCount);
    for (ULONG Index = 0; Index < KiIdentifyRulesCount; Index++) {
        char Line[128];
        RESULT As;

        snprintf(Line, sizeof(Line), "%s\n", KiIdentifyRules[Index].Version);
        assert_non_null(strstr(Result.Output, Line));
        snprintf(Line, sizeof(Line), "--processor " GULFTOWN " --as %s", KiIdentifyRules[Index].Version);
        As = RunDumpWell(Line);
        Free(&As);
    }
    Free(&Result);
    Result = RunWell("cpuid --list --json");
    assert_true(IsJson(Result.Output));
    Free(&Result);
    Result = RunDumpWell("--list");
    assert_int_equal(CountOf(Result.Output, "\n"), 120);
    assert_int_equal(CountOf(Result.Output, GULFTOWN "\n"), 1);
    Free(&Result);
    Result = RunDumpWell("--list --json");
    assert_true(IsJson(Result.Output));
    Free(&Result);
}

static void AssertRefused(const char *Line, RESULT Result, int Exit, const char *Message)
{
    if (Result.Exit != Exit || Result.Output[0] != 0 || strstr(Result.Errors, Message) == NULL) {
        fail_msg("%s: exit %d, stdout '%s', stderr '%s'", Line, Result.Exit, Result.Output, Result.Errors);
    }
    Free(&Result);
}

static void TestWrongArgumentsAreNamed(void **State)
{
    static const struct {
        const char *Line, *Message;
    } Wrong[] = {
        {"cpuid 0", "'0' is one argument too many"},
        {"cpuid --as 7.0", "no version '7.0'"},
        {"cpuid --as 5.1", "no version '5.1'"},
        {"cpuid --as", "as"},
        {"cpuid --processor x", "--dump=FILE is missing"},
        {"cpuid --processors 2", "--processors is for machines"},
        {"cpuid --list --as 2004", "--list goes with neither"},
        {"cpuid --list --dump x --processor y", "--list goes with neither"},
    };

    (void)State;
    for (size_t Index = 0; Index < ARRAYSIZE(Wrong); Index++) {
        AssertRefused(Wrong[Index].Line, Run(Wrong[Index].Line), KD_USAGE, Wrong[Index].Message);
    }
    AssertRefused("several", RunDump(""), KD_USAGE, "several processors");
    AssertRefused("unknown", RunDump("--processor GenuineIntel"), KD_USAGE, "has no processor 'GenuineIntel'");
}

static int Setup(void **State)
{
    FindData("dumps.tsv", DumpPath, sizeof(DumpPath));
    return FindCommand(State);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestThisCpuIsShown),
        cmocka_unit_test(TestADumpIsShownByTheNewestRules),
        cmocka_unit_test(TestOtherVersionsShowWhatTheyHave),
        cmocka_unit_test(TestJsonHasTheMembersOfTheVersion),
        cmocka_unit_test(TestCachesAreShown),
        cmocka_unit_test(TestListsAreComplete),
        cmocka_unit_test(TestWrongArgumentsAreNamed),
    };

    return cmocka_run_group_tests(Tests, Setup, NULL);
}
