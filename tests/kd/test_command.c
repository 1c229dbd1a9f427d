/*
 * test_command.c - the `kprcb` command from outside: exit codes, what goes to which stream, valid JSON, the values of
 * the tour; and the table of members from inside.
 */
#include "commandtest.h"

static void TestTheJsonCheckerTellsGoodFromBad(void **State)
{
    (void)State;
    assert_true(IsJson("{\"a\": [1, -2, \"x\\u00e9\\n\", true, {}, []]}\n"));
    assert_false(IsJson("{\"a\": 1,}"));
    assert_false(IsJson("{\"a\" 1}"));
    assert_false(IsJson("[1 2]"));
    assert_false(IsJson("[01]"));
    assert_false(IsJson("[0x1]"));
    assert_false(IsJson("\"\\q\""));
    assert_false(IsJson("[1] x"));
    assert_false(IsJson("[1"));
    assert_false(IsJson(""));
}

/* --- the command line --- */

static void TestHelpAndVersionGoToStdout(void **State)
{
    static const char *const Lines[] = {"help",      "--help",     "-h",        "help tour",
                                        "help prcb", "help cpuid", "help help", "prcb --help",
                                        "--version", "help irql",  "help dpcs", "help locks"};

    (void)State;
    for (size_t Index = 0; Index < ARRAYSIZE(Lines); Index++) {
        RESULT Result = RunWell(Lines[Index]);

        AssertNarrow(Result.Output);
        Free(&Result);
    }
    RESULT Result = RunWell("-V");
    char Version[64];

    snprintf(Version, sizeof(Version), "kprcb %s\n", KprcbVersion());
    assert_string_equal(Result.Output, Version);
    Free(&Result);
}

static void TestWrongArgumentsExitWithTwo(void **State)
{
    static const char *const Lines[] = {
        "",
        "nonesuch",
        "--nonesuch",
        "help nonesuch",
        "help prcb tour",
        "--processors",
        "--processors 0 prcb",
        "--processors x prcb",
        "--processors -1 prcb",
        "--processors 1281 prcb",
        "--processors 99999999999999999999 prcb",
        "tour 1",
        "prcb x",
        "prcb 0x1",
        "prcb 0 1",
        "prcb -1",
        "prcb 2 --processors 2",
        "prcb 1280",
        "prcb --dump x",
        "prcb --processor 0",
        "tour --as 2004",
        "tour --list",
    };

    (void)State;
    for (size_t Index = 0; Index < ARRAYSIZE(Lines); Index++) {
        RESULT Result = Run(Lines[Index]);

        if (Result.Exit != KD_USAGE || Result.Output[0] != 0 || Result.Errors[0] == 0) {
            fail_msg("kprcb %s: exit %d, stdout '%s', stderr '%s'", Lines[Index], Result.Exit, Result.Output,
                     Result.Errors);
        }
        Free(&Result);
    }
}

static void TestAnUnusableEnvironmentExitsWithOne(void **State)
{
    RESULT Result;

    (void)State;
    setenv("KPRCB_GROUP_SIZE", "100000", 1);
    Result = Run("prcb 0");
    unsetenv("KPRCB_GROUP_SIZE");
    assert_int_equal(Result.Exit, KD_FAILED);
    assert_non_null(strstr(Result.Errors, "KPRCB_GROUP_SIZE"));
    assert_string_equal(Result.Output, "");
    Free(&Result);
}

static void TestAFullDiskIsReported(void **State)
{
    RESULT Result;

    (void)State;
    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    Result = RunTo("/dev/full", "help");
    assert_int_equal(Result.Exit, KD_FAILED);
    assert_true(Result.Errors[0] != 0);
    Free(&Result);
}

/* --- prcb --- */

static void TestPrcbPrintsEveryMember(void **State)
{
    RESULT Result = RunWell("prcb 1 --processors 2");

    (void)State;
    AssertNarrow(Result.Output);
    assert_int_equal(CountOf(Result.Output, "KPRCB at"), 1);
    for (ULONG Index = 0; Index < KdPrcbMemberCount; Index++) {
        if (strstr(Result.Output, KdPrcbMembers[Index].Name) == NULL ||
            strstr(Result.Output, KdPrcbMembers[Index].Group) == NULL) {
            fail_msg("%s is missing", KdPrcbMembers[Index].Name);
        }
    }
    assert_non_null(strstr(Result.Output, "LockQueue[16]"));
    Free(&Result);
    Result = RunWell("prcb --processors 3");
    assert_int_equal(CountOf(Result.Output, "KPRCB at"), 3);
    Free(&Result);
}

static void TestPrcbJsonIsValidAndHasAnObjectForEachProcessor(void **State)
{
    RESULT Result = RunWell("--json --processors 3 prcb");

    (void)State;
    assert_true(IsJson(Result.Output));
    assert_non_null(strstr(Result.Output, "\"processors\": ["));
    assert_int_equal(CountOf(Result.Output, "\"index\":"), 3);
    assert_int_equal(CountOf(Result.Output, "\"name\": \"CpuType\""), 3);
    assert_int_equal(CountOf(Result.Output, "\"name\":"), 3 * (KdPrcbMemberCount + KdPcrMemberCount));
    Free(&Result);
    Result = RunWell("prcb -j 2 -p 3");
    assert_true(IsJson(Result.Output));
    assert_int_equal(CountOf(Result.Output, "\"index\":"), 1);
    assert_non_null(strstr(Result.Output, "\"index\": 2,"));
    Free(&Result);
}

/* --- tour --- */

/* The number after the Occurrence-th Name, counted from 0. */
static long NumberAfter(const char *Text, const char *Name, ULONG Occurrence)
{
    for (ULONG Seen = 0; (Text = strstr(Text, Name)) != NULL; Seen++) {
        Text += strlen(Name);
        if (Seen == Occurrence) {
            return strtol(Text, NULL, 10);
        }
    }
    fail_msg("no %s", Name);
    return -1;
}

static void TestTheTourFitsAPageAndSucceeds(void **State)
{
    static const char *const Lines[] = {"tour", "tour --processors 1", "tour -p 2", "tour -p 40"};

    (void)State;
    for (size_t Index = 0; Index < ARRAYSIZE(Lines); Index++) {
        RESULT Result = RunWell(Lines[Index]);

        AssertNarrow(Result.Output);
        assert_null(strstr(Result.Output, "never"));
        Free(&Result);
    }
}

static void TestTheTourFindsWhatItSays(void **State)
{
    RESULT Result = RunWell("tour --json -p 5");
    const char *HandOver;

    (void)State;
    assert_true(IsJson(Result.Output));
    assert_int_equal(CountOf(Result.Output, "\"index\":"), 5);
    for (ULONG Index = 0; Index < 5; Index++) {
        assert_int_equal(NumberAfter(Result.Output, "\"ranOn\": ", Index), Index);
    }
    assert_int_equal(CountOf(Result.Output, "\"dpcRoutineActive\": true"), 5);
    assert_int_equal(CountOf(Result.Output, "\"activeDpcIsThis\": true"), 5);
    /* Before: PASSIVE_LEVEL, not run. Raised: DISPATCH_LEVEL, owner, not run. After: PASSIVE_LEVEL, run. */
    assert_int_equal(NumberAfter(strstr(Result.Output, "\"before\""), "\"irql\": ", 0), PASSIVE_LEVEL);
    assert_int_equal(NumberAfter(strstr(Result.Output, "\"raised\""), "\"irql\": ", 0), DISPATCH_LEVEL);
    assert_int_equal(NumberAfter(strstr(Result.Output, "\"after\""), "\"irql\": ", 0), PASSIVE_LEVEL);
    assert_int_equal(CountOf(strstr(Result.Output, "\"raised\""), "\"dpcHasRun\": false"), 1);
    assert_int_equal(CountOf(Result.Output, "\"currentThreadIsCaller\": true"), 1);
    assert_int_equal(CountOf(strstr(Result.Output, "\"after\""), "\"dpcHasRun\": true"), 1);
    HandOver = strstr(Result.Output, "\"handOver\"");
    assert_non_null(HandOver);
    for (ULONG Index = 0; Index < 5; Index++) {
        assert_int_equal(NumberAfter(HandOver, "\"owned\": ", Index), Index);
    }
    assert_int_equal(CountOf(HandOver, "\"owns\""), 1);
    assert_int_equal(CountOf(HandOver, "\"waits\""), 4);
    Free(&Result);
}

/* --- the table --- */

static void TestMembersLieInTheirStructure(void **State)
{
    const char *Group = "";
    ULONG Groups = 0;

    (void)State;
    for (ULONG Index = 0; Index < KdPrcbMemberCount; Index++) {
        const KD_MEMBER *Member = &KdPrcbMembers[Index];

        assert_true(Member->Offset + Member->Size * Member->Count <= sizeof(KPRCB));
        for (ULONG Other = 0; Other < Index; Other++) {
            assert_string_not_equal(Member->Name, KdPrcbMembers[Other].Name);
        }
        if (strcmp(Group, Member->Group) != 0) {
            Group = Member->Group;
            Groups++;
        }
    }
    for (ULONG Index = 0, Distinct = 0; Index <= KdPrcbMemberCount; Index++) {
        BOOLEAN First = TRUE;

        if (Index == KdPrcbMemberCount) {
            assert_int_equal(Distinct, Groups); /* members of a group stand together */
            break;
        }
        for (ULONG Other = 0; Other < Index; Other++) {
            First = First && strcmp(KdPrcbMembers[Index].Group, KdPrcbMembers[Other].Group) != 0;
        }
        Distinct += First;
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestTheJsonCheckerTellsGoodFromBad),
        cmocka_unit_test(TestHelpAndVersionGoToStdout),
        cmocka_unit_test(TestWrongArgumentsExitWithTwo),
        cmocka_unit_test(TestAnUnusableEnvironmentExitsWithOne),
        cmocka_unit_test(TestAFullDiskIsReported),
        cmocka_unit_test(TestPrcbPrintsEveryMember),
        cmocka_unit_test(TestPrcbJsonIsValidAndHasAnObjectForEachProcessor),
        cmocka_unit_test(TestTheTourFitsAPageAndSucceeds),
        cmocka_unit_test(TestTheTourFindsWhatItSays),
        cmocka_unit_test(TestMembersLieInTheirStructure),
    };

    return cmocka_run_group_tests(Tests, FindCommand, NULL);
}
