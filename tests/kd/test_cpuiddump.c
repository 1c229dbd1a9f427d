/*
 * test_cpuiddump.c - src/kd/cpuiddump.c: what it reads, what it refuses, and with which message.
 *
 * The refusals are those of `kprcb cpuid --dump`, so that the exit code and the stream are checked with them.
 */
#include "cpuiddump.h"

#include "kd/commandtest.h"
#include "support/cpuiddata.h"

#define HEADER "processor\tleaf\tsubleaf\teax\tebx\tecx\tedx\n"
#define LEAF0(Highest) "P\t00000000\t0\t" Highest "\t756E6547\t6C65746E\t49656E69\n"
#define LEAF1 "P\t00000001\t0\t00000617\t00000000\t00000000\t0000FBFF\n"
#define LEAF2 "P\t00000002\t0\t00000000\t00000000\t00000000\t00000000\n"

static char Path[64];

static void WriteDump(const char *Text, size_t Size)
{
    FILE *File = fopen(Path, "w");

    assert_non_null(File);
    assert_int_equal(fwrite(Text, 1, Size, File), Size);
    assert_int_equal(fclose(File), 0);
}

static RESULT RunOn(const char *Text, size_t Size)
{
    char Line[128];

    WriteDump(Text, Size);
    snprintf(Line, sizeof(Line), "cpuid --dump %s", Path);
    return Run(Line);
}

static void AssertRefused(const char *Text, size_t Size, const char *Message)
{
    RESULT Result = RunOn(Text, Size);

    if (Result.Exit != KD_FAILED || Result.Output[0] != 0 || strstr(Result.Errors, Message) == NULL ||
        strstr(Result.Errors, Path) == NULL || CountOf(Result.Errors, "\n") != 1) {
        fail_msg("'%s': exit %d, stdout '%s', stderr '%s', not '%s'", Text, Result.Exit, Result.Output, Result.Errors,
                 Message);
    }
    Free(&Result);
}

static void AssertTextRefused(const char *Text, const char *Message)
{
    AssertRefused(Text, strlen(Text), Message);
}

static void AssertAccepted(const char *Text)
{
    RESULT Result = RunOn(Text, strlen(Text));

    if (Result.Exit != KD_OK || Result.Errors[0] != 0 || strncmp(Result.Output, "P, by", 5) != 0) {
        fail_msg("'%s': exit %d, stderr '%s'", Text, Result.Exit, Result.Errors);
    }
    Free(&Result);
}

static void TestEveryLeafOfTheDumpsIsRead(void **State)
{
    char DumpPath[4096];
    KD_CPUID_DUMP Dump;
    KD_CPUID_RECORD Record;
    ULONG Processors = 0;

    (void)State;
    FindData("dumps.tsv", DumpPath, sizeof(DumpPath));
    assert_int_equal(KdReadDump(DumpPath, &Dump), KD_OK);
    assert_int_equal(Dump.Count, LeafCount);
    for (ULONG Index = 0; Index < LeafCount; Index++) {
        HAL_CPUID Registers = {0};

        assert_int_equal(KdChooseProcessor(&Dump, Leaves[Index].Processor, &Record), KD_OK);
        assert_true(KdRecordCpuid(&Record, Leaves[Index].Leaf, Leaves[Index].Subleaf, &Registers));
        assert_memory_equal(&Registers, &Leaves[Index].Registers, sizeof(Registers));
        assert_int_equal(Record.MissingCount, 0);
    }
    for (const char *Name = KdNextProcessor(&Dump, NULL); Name != NULL; Name = KdNextProcessor(&Dump, Name)) {
        Processors++;
    }
    assert_int_equal(Processors, 120);
    KdFreeDump(&Dump);
}

static void TestWhatARecordLacksIsRemembered(void **State)
{
    KD_CPUID_DUMP Dump;
    KD_CPUID_RECORD Record;
    HAL_CPUID Registers;

    (void)State;
    WriteDump(HEADER LEAF0("00000001") LEAF1, strlen(HEADER LEAF0("00000001") LEAF1));
    assert_int_equal(KdReadDump(Path, &Dump), KD_OK);
    assert_int_equal(KdChooseProcessor(&Dump, NULL, &Record), KD_OK);
    assert_false(KdRecordCpuid(&Record, 6, 0, &Registers));
    assert_false(KdRecordCpuid(&Record, 4, 1, &Registers));
    assert_false(KdRecordCpuid(&Record, 6, 0, &Registers)); /* once is enough */
    assert_false(KdRecordCpuid(&Record, 1, 1, &Registers)); /* the end of a list */
    assert_false(KdRecordCpuid(&Record, 0x80000000, 0, &Registers));
    assert_int_equal(Record.MissingCount, 2);
    assert_int_equal(Record.Missing[0], 6);
    assert_int_equal(Record.Missing[1], 4);
    for (ULONG Leaf = 10; Leaf < 100; Leaf++) {
        assert_false(KdRecordCpuid(&Record, Leaf, 0, &Registers));
    }
    assert_int_equal(Record.MissingCount, KD_MAXIMUM_MISSING);
    KdFreeDump(&Dump);
}

static void TestSmallDumpsAreAccepted(void **State)
{
    (void)State;
    AssertAccepted(HEADER LEAF0("00000001") LEAF1);
    AssertAccepted(HEADER LEAF1 LEAF0("1"));
    AssertAccepted(HEADER LEAF0("00000002") LEAF1 LEAF2);
    AssertAccepted(HEADER "P\t0\t0\t0\t0\t0\t0\n");
    AssertAccepted(HEADER LEAF0("0000000b") LEAF1 LEAF2 "P\t7\t0\t0\t0\t0\t0\n");
}

static void TestFilesThatCannotBeReadAreNamed(void **State)
{
    RESULT Result = Run("cpuid --dump /nonesuch/dumps.tsv");

    (void)State;
    assert_int_equal(Result.Exit, KD_FAILED);
    assert_non_null(strstr(Result.Errors, "/nonesuch/dumps.tsv: No such file or directory"));
    Free(&Result);
    Result = Run("cpuid --dump /");
    assert_int_equal(Result.Exit, KD_FAILED);
    assert_non_null(strstr(Result.Errors, "/: Is a directory"));
    Free(&Result);
}

/* Whatever the file is, one line says what is wrong with it, and nothing of it reaches the terminal. */
static void TestFilesThatAreNoTextAreRefused(void **State)
{
    char Line[8192];
    RESULT Result;

    (void)State;
    snprintf(Line, sizeof(Line), "cpuid --dump %s", Command);
    Result = Run(Line);
    assert_int_equal(Result.Exit, KD_FAILED);
    assert_non_null(strstr(Result.Errors, "line 1: not text, the byte 0x7f is in it\n"));
    Free(&Result);
    Result = Run("cpuid --dump /dev/zero");
    assert_int_equal(Result.Exit, KD_FAILED);
    assert_non_null(strstr(Result.Errors, "/dev/zero, line 1: not text, the byte 0x00 is in it\n"));
    Free(&Result);
    AssertTextRefused("\xEF\xBB\xBF" HEADER LEAF0("00000001") LEAF1, "line 1: not the names");
    AssertTextRefused("\x1F\x8B", "line 1: not text, the byte 0x1f");
    AssertTextRefused(HEADER "\x1B[31mP\t0\t0\t0\t0\t0\t0\n", "line 2: not text, the byte 0x1b");
    AssertTextRefused(HEADER LEAF0("00000001") "P\t1\t0\t617\t0\t0\t0\x7F\n", "line 3: not text, the byte 0x7f");
}

#define MANY 100000

/* A file of the size that the whole collection would have. */
static void TestManyLinesAreReadInTime(void **State)
{
    size_t Size = sizeof(HEADER) + MANY * 48;
    char *Text = malloc(Size);
    size_t Length = (size_t)snprintf(Text, Size, "%s", HEADER);
    KD_CPUID_DUMP Dump;
    KD_CPUID_RECORD Record;
    ULONG Processors = 0;

    (void)State;
    assert_non_null(Text);
    for (ULONG Index = 0; Index < MANY; Index++) {
        Length += (size_t)snprintf(Text + Length, Size - Length, "P%u\t%x\t0\t%x\t0\t0\t0\n", (unsigned)Index / 10,
                                   (unsigned)Index % 10, (unsigned)Index);
    }
    WriteDump(Text, Length);
    free(Text);
    assert_int_equal(KdReadDump(Path, &Dump), KD_OK);
    assert_int_equal(Dump.Count, MANY);
    for (const char *Name = KdNextProcessor(&Dump, NULL); Name != NULL; Name = KdNextProcessor(&Dump, Name)) {
        Processors++;
    }
    assert_int_equal(Processors, MANY / 10);
    for (ULONG Index = 0; Index < MANY; Index++) {
        HAL_CPUID Registers;
        char Name[32];

        snprintf(Name, sizeof(Name), "P%u", (unsigned)Index / 10);
        Record = (KD_CPUID_RECORD){.Dump = &Dump, .Processor = Name};
        assert_true(KdRecordCpuid(&Record, Index % 10, 0, &Registers));
        assert_int_equal(Registers.Eax, Index);
    }
    KdFreeDump(&Dump);
}

static void TestMalformedLinesAreNamed(void **State)
{
    char Long[512] = HEADER;

    (void)State;
    AssertTextRefused("", ": the file is empty");
    AssertTextRefused(HEADER, "no processor");
    AssertTextRefused(LEAF0("00000001") LEAF1, "line 1: not the names");
    AssertTextRefused("\n" HEADER LEAF0("00000001") LEAF1, "line 1: not the names");
    AssertTextRefused(HEADER "\n", "line 2: 1 fields");
    AssertTextRefused(HEADER LEAF0("00000001") "P\t1\t0\t617\t0\t0\n", "line 3: 6 fields");
    AssertTextRefused(HEADER LEAF0("00000001") "P\t1\t0\t617\t0\t0\t0\t0\n", "line 3: 8 fields");
    AssertTextRefused(HEADER "P 0 0 1 0 0 0\n", "line 2: 1 fields");
    AssertTextRefused(HEADER "\t0\t0\t1\t0\t0\t0\n", "line 2: the processor's name");
    AssertTextRefused(HEADER "P\t0\t\t1\t0\t0\t0\n", "line 2: '' is not a hexadecimal number");
    AssertTextRefused(HEADER "P\t0x0\t0\t1\t0\t0\t0\n", "line 2: '0x0' is not");
    AssertTextRefused(HEADER "P\t0\t0\t1\t0\t0\t-1\n", "line 2: '-1' is not");
    AssertTextRefused(HEADER "P\t0\t0\t1\t0\t0\t 1\n", "line 2: ' 1' is not");
    AssertTextRefused(HEADER "P\t0\t0\t1\t0\t0\t000000001\n", "line 2: '000000001' is not");
    AssertTextRefused(HEADER "P\t0\t0\t1\t0\t0\tg\n", "line 2: 'g' is not");
    AssertTextRefused(HEADER "P\t0\t0\t1\t0\t0\t0\r\n", "line 2: a carriage return");
    AssertTextRefused(HEADER LEAF0("00000001") LEAF1 LEAF1, "line 4: leaf 0x1, subleaf 0x0 of 'P' a second time");
    AssertRefused(HEADER "P\t0\t0\t1\t0\t0\t0\0001\n", sizeof(HEADER "P\t0\t0\t1\t0\t0\t0\0001\n") - 1,
                  "line 2: not text, the byte 0x00 is in it");
    memset(Long + strlen(HEADER), 'x', 64);
    AssertTextRefused(strcat(Long, "\t0\t0\t0\t0\t0\t0\n"), "line 2: the processor's name must have 1 to 63");
    memset(Long + strlen(HEADER), 'x', 300);
    AssertTextRefused(Long, "line 2: too long");
}

static void TestTruncatedDumpsAreNamed(void **State)
{
    (void)State;
    AssertTextRefused(HEADER LEAF0("00000001") "P\t00000001\t0\t00000617", "line 3: ends without a newline");
    AssertTextRefused("processor\tleaf", "line 1: ends without a newline");
    AssertTextRefused(HEADER LEAF1, "'P' is truncated: leaf 0 is missing");
    AssertTextRefused(HEADER LEAF0("00000001"), "leaf 0x0 tells of leaves up to 0x1, and 0x1 is missing");
    AssertTextRefused(HEADER LEAF0("00000002") LEAF1, "0x2 is missing");
    AssertTextRefused(HEADER LEAF0("00000007") LEAF1 LEAF2, "0x7 is missing");
    AssertTextRefused(HEADER LEAF0("00000001") LEAF1 "P\t80000000\t0\t80000004\t0\t0\t0\nP\t80000001\t0\t0\t0\t0\t0\n",
                      "leaf 0x80000000 tells of leaves up to 0x80000004, and 0x80000002 is missing");
}

static int Setup(void **State)
{
    int Temporary;

    snprintf(Path, sizeof(Path), "/tmp/kprcb-dump-XXXXXX");
    Temporary = mkstemp(Path);
    if (Temporary < 0) {
        return -1;
    }
    close(Temporary);
    return FindCommand(State) != 0 || LoadDumps(State) != 0;
}

static int Teardown(void **State)
{
    (void)State;
    return unlink(Path);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestEveryLeafOfTheDumpsIsRead),    cmocka_unit_test(TestWhatARecordLacksIsRemembered),
        cmocka_unit_test(TestSmallDumpsAreAccepted),        cmocka_unit_test(TestFilesThatCannotBeReadAreNamed),
        cmocka_unit_test(TestFilesThatAreNoTextAreRefused), cmocka_unit_test(TestManyLinesAreReadInTime),
        cmocka_unit_test(TestMalformedLinesAreNamed),       cmocka_unit_test(TestTruncatedDumpsAreNamed),
    };

    return cmocka_run_group_tests(Tests, Setup, Teardown);
}
