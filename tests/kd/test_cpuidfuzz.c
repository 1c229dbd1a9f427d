/*
 * test_cpuidfuzz.c - mutated dumps: each is read or refused, and what was read is identified by the rules of every
 * version. KPRCB_FUZZ_ROUNDS in the environment: how many, 300 by default; KPRCB_FUZZ_SEED: where to begin.
 */
#include "cpuiddump.h"

#include "support/cpuiddata.h"

#include <fcntl.h>
#include <unistd.h>

#define MAXIMUM_TEXT 16384

static char Path[64];
static char *Original;
static size_t OriginalSize;
static ULONGLONG Seed;

static ULONG Random(ULONG Limit)
{
    Seed = Seed * 6364136223846793005u + 1442695040888963407u;
    return (ULONG)((Seed >> 33) % Limit);
}

/* The header and some lines from anywhere. */
static size_t TakeSlice(char *Text)
{
    size_t Header = strcspn(Original, "\n") + 1;
    size_t Begin = Header + Random((ULONG)(OriginalSize - Header));
    size_t Length = Random(MAXIMUM_TEXT / 2);

    while (Begin > Header && Original[Begin - 1] != '\n') {
        Begin--;
    }
    if (Length > OriginalSize - Begin) {
        Length = OriginalSize - Begin;
    }
    while (Length > 0 && Original[Begin + Length - 1] != '\n') {
        Length--;
    }
    memcpy(Text, Original, Header);
    memcpy(Text + Header, Original + Begin, Length);
    return Header + Length;
}

static size_t Mutate(char *Text, size_t Size)
{
    static const char Likely[] = "\t\n0189aAfF\r\0gP";
    size_t At = Random((ULONG)Size);

    switch (Random(6)) {
    case 0:
        return At; /* cut off */
    case 1:
        Text[At] = (char)Random(256);
        return Size;
    case 2: { /* a piece is lost */
        size_t Lost = 1 + Random(200);

        Lost = Lost > Size - At ? Size - At : Lost;
        memmove(Text + At, Text + At + Lost, Size - At - Lost);
        return Size - Lost;
    }
    case 3: { /* a piece comes twice */
        size_t More = 1 + Random(200);

        More = More > Size - At ? Size - At : More;
        memmove(Text + At + More, Text + At, Size - At);
        return Size + More;
    }
    default: /* another digit: another processor */
        Text[At] = Likely[Random(sizeof(Likely) - (Random(8) != 0 ? 5 : 1))];
        return Size;
    }
}

static void IdentifyAll(const KD_CPUID_DUMP *Dump)
{
    ULONG Processors = 0;

    for (const char *Name = KdNextProcessor(Dump, NULL); Name != NULL; Name = KdNextProcessor(Dump, Name)) {
        KD_CPUID_RECORD Record;

        Processors++;
        if (KdChooseProcessor(Dump, Name, &Record) != KD_OK) {
            continue;
        }
        for (ULONG Index = 0; Index < KiIdentifyRulesCount; Index++) {
            KPRCB Prcb;

            memset(&Prcb, 0xA5, sizeof(Prcb));
            KiIdentifyProcessorAs(&Prcb, KdRecordCpuid, &Record, &KiIdentifyRules[Index]);
            assert_true(Prcb.CacheCount <= KPRCB_MAXIMUM_CACHES);
            assert_int_equal(Prcb.VendorString[12], 0);
            assert_true(Prcb.LogicalProcessorsPerCore != 0 && Prcb.CoresPerPhysicalProcessor != 0);
            assert_true(Record.MissingCount <= KD_MAXIMUM_MISSING);
        }
    }
    assert_true(Processors > 0 && Processors <= Dump->Count);
}

static void TestMutatedDumpsAreReadOrRefused(void **State)
{
    static char Text[MAXIMUM_TEXT];
    const char *Wanted = getenv("KPRCB_FUZZ_ROUNDS");
    const char *Begin = getenv("KPRCB_FUZZ_SEED");
    ULONG Rounds = Wanted != NULL ? (ULONG)strtoul(Wanted, NULL, 10) : 300;
    ULONG Read = 0;

    (void)State;
    Seed = Begin != NULL ? strtoull(Begin, NULL, 10) : 1;
    for (ULONG Round = 0; Round < Rounds; Round++) {
        size_t Size = TakeSlice(Text);
        KD_CPUID_DUMP Dump;
        FILE *File;

        for (ULONG Count = Random(4); Count > 0 && Size > 1; Count--) {
            Size = Mutate(Text, Size);
        }
        File = fopen(Path, "w");
        assert_non_null(File);
        assert_int_equal(fwrite(Text, 1, Size, File), Size);
        assert_int_equal(fclose(File), 0);
        if (KdReadDump(Path, &Dump) == KD_OK) {
            Read++;
            IdentifyAll(&Dump);
            KdFreeDump(&Dump);
        }
    }
    assert_true(Rounds < 100 || (Read > Rounds / 10 && Read < Rounds));
}

static int Setup(void **State)
{
    FILE *File = OpenData("dumps.tsv");
    int Quiet = open("/dev/null", O_WRONLY);
    int Temporary;

    (void)State;
    /* What is refused is complained of. */
    if (Quiet < 0 || dup2(Quiet, STDERR_FILENO) < 0 || fseek(File, 0, SEEK_END) != 0) {
        return -1;
    }
    close(Quiet);
    OriginalSize = (size_t)ftell(File);
    rewind(File);
    Original = malloc(OriginalSize + 1);
    if (Original == NULL || fread(Original, 1, OriginalSize, File) != OriginalSize) {
        return -1;
    }
    Original[OriginalSize] = 0;
    fclose(File);
    snprintf(Path, sizeof(Path), "/tmp/kprcb-fuzz-XXXXXX");
    Temporary = mkstemp(Path);
    return Temporary < 0 ? -1 : close(Temporary);
}

static int Teardown(void **State)
{
    (void)State;
    free(Original);
    return unlink(Path);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestMutatedDumpsAreReadOrRefused),
    };

    return cmocka_run_group_tests(Tests, Setup, Teardown);
}
