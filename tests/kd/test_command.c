/*
 * test_command.c - the `kprcb` command from outside: exit codes, what goes to which stream, valid JSON, the values of
 * the tour; and the table of members from inside.
 *
 * The command is the file kprcb two folders above this program, or what the environment variable KPRCB_COMMAND names.
 */
#include <ctype.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kd.h"

#define MAXIMUM_OUTPUT (1 << 20)
#define MAXIMUM_ARGUMENTS 8

static char Command[4096];

typedef struct {
    int Exit; /* -1: ended by a signal */
    char *Output, *Errors;
} RESULT;

static char *ReadAll(FILE *File)
{
    char *Text = malloc(MAXIMUM_OUTPUT);
    size_t Length;

    assert_non_null(Text);
    rewind(File);
    Length = fread(Text, 1, MAXIMUM_OUTPUT - 1, File);
    assert_true(Length < MAXIMUM_OUTPUT - 1);
    Text[Length] = 0;
    fclose(File);
    return Text;
}

/* Line: arguments joined by blanks. OutputPath: where stdout goes; NULL: into Result. */
static RESULT RunTo(const char *OutputPath, const char *Line)
{
    char Words[256];
    char *Arguments[MAXIMUM_ARGUMENTS + 2] = {Command};
    int Count = 1;
    FILE *Output = OutputPath == NULL ? tmpfile() : fopen(OutputPath, "r+");
    FILE *Errors = tmpfile();
    RESULT Result = {0};
    int Status;
    pid_t Child;

    assert_non_null(Output);
    assert_non_null(Errors);
    snprintf(Words, sizeof(Words), "%s", Line);
    for (char *Word = strtok(Words, " "); Word != NULL && Count <= MAXIMUM_ARGUMENTS; Word = strtok(NULL, " ")) {
        Arguments[Count++] = Word;
    }
    Child = fork();
    assert_true(Child >= 0);
    if (Child == 0) {
        dup2(fileno(Output), STDOUT_FILENO);
        dup2(fileno(Errors), STDERR_FILENO);
        execv(Command, Arguments);
        _exit(127);
    }
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    Result.Exit = WIFEXITED(Status) ? WEXITSTATUS(Status) : -1;
    if (OutputPath == NULL) {
        Result.Output = ReadAll(Output);
    } else {
        fclose(Output);
    }
    Result.Errors = ReadAll(Errors);
    return Result;
}

static RESULT Run(const char *Line)
{
    return RunTo(NULL, Line);
}

static RESULT RunWell(const char *Line)
{
    RESULT Result = Run(Line);

    if (Result.Exit != 0 || Result.Errors[0] != 0 || Result.Output[0] == 0) {
        fail_msg("kprcb %s: exit %d, %s", Line, Result.Exit, Result.Errors);
    }
    return Result;
}

static void Free(RESULT *Result)
{
    free(Result->Output);
    free(Result->Errors);
}

static ULONG CountOf(const char *Text, const char *Part)
{
    ULONG Count = 0;

    while ((Text = strstr(Text, Part)) != NULL) {
        Count++;
        Text += strlen(Part);
    }
    return Count;
}

static void AssertNarrow(const char *Text)
{
    while (*Text != 0) {
        size_t Length = strcspn(Text, "\n");

        if (Length > KD_WIDTH) {
            fail_msg("%zu columns: %.*s", Length, (int)Length, Text);
        }
        Text += Length + (Text[Length] != 0);
    }
}

/* --- a checker of JSON: each routine returns what follows, or NULL --- */

static const char *SkipValue(const char *Text);

static const char *SkipBlank(const char *Text)
{
    return Text + strspn(Text, " \t\r\n");
}

static const char *SkipString(const char *Text)
{
    if (*Text++ != '"') {
        return NULL;
    }
    while (*Text != '"') {
        if ((unsigned char)*Text < 0x20) {
            return NULL;
        }
        if (*Text == '\\') {
            Text++;
            if (*Text == 'u') {
                for (int Digit = 0; Digit < 4; Digit++) {
                    if (!isxdigit((unsigned char)*++Text)) {
                        return NULL;
                    }
                }
            } else if (*Text == 0 || strchr("\"\\/bfnrt", *Text) == NULL) {
                return NULL;
            }
        }
        Text++;
    }
    return Text + 1;
}

static const char *SkipNumber(const char *Text)
{
    if (*Text == '-') {
        Text++;
    }
    if (!isdigit((unsigned char)*Text) || (Text[0] == '0' && isdigit((unsigned char)Text[1]))) {
        return NULL;
    }
    return Text + strspn(Text, "0123456789");
}

static const char *SkipList(const char *Text, char Open)
{
    char Close = Open == '{' ? '}' : ']';

    Text = SkipBlank(Text + 1);
    if (*Text == Close) {
        return Text + 1;
    }
    for (;;) {
        if (Open == '{') {
            Text = SkipString(SkipBlank(Text));
            if (Text == NULL || *(Text = SkipBlank(Text)) != ':') {
                return NULL;
            }
            Text++;
        }
        Text = SkipValue(Text);
        if (Text == NULL) {
            return NULL;
        }
        Text = SkipBlank(Text);
        if (*Text == Close) {
            return Text + 1;
        }
        if (*Text++ != ',') {
            return NULL;
        }
    }
}

static const char *SkipValue(const char *Text)
{
    static const char *const Words[] = {"true", "false", "null"};

    Text = SkipBlank(Text);
    if (*Text == '{' || *Text == '[') {
        return SkipList(Text, *Text);
    }
    if (*Text == '"') {
        return SkipString(Text);
    }
    for (size_t Index = 0; Index < ARRAYSIZE(Words); Index++) {
        if (strncmp(Text, Words[Index], strlen(Words[Index])) == 0) {
            return Text + strlen(Words[Index]);
        }
    }
    return SkipNumber(Text);
}

static BOOLEAN IsJson(const char *Text)
{
    Text = SkipValue(Text);
    return Text != NULL && *SkipBlank(Text) == 0;
}

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
    static const char *const Lines[] = {"help",      "--help",    "-h",          "help tour",
                                        "help prcb", "help help", "prcb --help", "--version"};

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

static int FindCommand(void **State)
{
    const char *Named = getenv("KPRCB_COMMAND");
    ssize_t Length;

    (void)State;
    unsetenv("KPRCB_PROCESSORS");
    if (Named != NULL) {
        snprintf(Command, sizeof(Command), "%s", Named);
    } else {
        Length = readlink("/proc/self/exe", Command, sizeof(Command) - 16);
        if (Length < 0) {
            return -1;
        }
        Command[Length] = 0;
        for (int Up = 0; Up < 3; Up++) {
            *strrchr(Command, '/') = 0;
        }
        strcat(Command, "/kprcb");
    }
    if (access(Command, X_OK) != 0) {
        print_error("there is no command %s\n", Command);
        return -1;
    }
    return 0;
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
