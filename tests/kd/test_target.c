/*
 * test_target.c - src/kd/target.c and sample.c: what is refused, with which line; a target that lies; one that corrupts
 * itself while it is read.
 */
#include "kd/faketest.h"
#include "support/support.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#define FUZZ_ROUNDS (TEST_SANITIZED ? 32 : 400) /* unless KPRCB_FUZZ_ROUNDS says otherwise */

/* --- what is no target --- */

static void NoMachine(void *Context, int Input)
{
    (void)Context;
    AwaitTest(Input);
}

static void TestOtherProcessesAreRefused(void **State)
{
    LIVE Live;
    RESULT Result;
    char Line[64];

    (void)State;
    StartProcess(&Live, NoMachine);
    AssertRefusedOn(&Live, "irql", "runs no machine of libkprcb");
    AssertRefusedOn(&Live, "prcb", "runs no machine of libkprcb");
    EndProcess(&Live);
    snprintf(Line, sizeof(Line), "locks --pid %d", (int)Live.Pid);
    Result = Run(Line);
    assert_int_equal(Result.Exit, KD_FAILED);
    assert_non_null(strstr(Result.Errors, "there is no process"));
    Free(&Result);
}

/* A machine of its own that stops, starts again, and whose child is looked at. */
static void StartAndStop(void *Shared, int Input)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 2, .Version = "5.1-late"};
    pid_t Child;

    if (!NT_SUCCESS(KprcbStart(&Config))) {
        _exit(1);
    }
    Child = fork();
    if (Child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    *(pid_t *)Shared = Child;
    AwaitTest(Input);
    if (!NT_SUCCESS(KprcbStop())) {
        _exit(1);
    }
    AwaitTest(Input);
    if (!NT_SUCCESS(KprcbStart(&Config))) {
        _exit(1);
    }
    AwaitTest(Input);
}

static void TestAMachineComesAndGoes(void **State)
{
    LIVE Live;
    RESULT Result;
    char Line[64];

    (void)State;
    StartProcess(&Live, StartAndStop);
    Result = RunWellOn(&Live, "irql --json");
    AssertText(Member(Result.Output, "process"), "behavesLike", "5.1-late");
    Free(&Result);
    /* The child of a fork has no machine, and says so. */
    snprintf(Line, sizeof(Line), "irql --pid %d", (int)*(pid_t *)Live.Shared);
    Result = Run(Line);
    if (Result.Exit != KD_FAILED || strstr(Result.Errors, "runs no machine") == NULL) {
        fail_msg("the child of a fork: exit %d, %s%s", Result.Exit, Result.Output, Result.Errors);
    }
    Free(&Result);
    kill(*(pid_t *)Live.Shared, SIGKILL);
    Go(&Live);
    AssertRefusedOn(&Live, "irql", "runs no machine");
    Go(&Live);
    Result = RunWellOn(&Live, "irql");
    Free(&Result);
    EndProcess(&Live);
}

static void TestASampleEndsWithItsMachine(void **State)
{
    static KD_TARGET Target;
    KD_SAMPLE Sample;
    LIVE Live;

    (void)State;
    StartProcess(&Live, StartAndStop);
    assert_int_equal(KdOpenTarget((ULONG)Live.Pid, &Target), KD_OK);
    assert_true(KdTargetRuns(&Target));
    assert_true(KdTakeSample(&Target, &Sample));
    assert_true(Sample.ThreadsComplete);
    assert_int_equal(Sample.ThreadCount, 2);
    KdFreeSample(&Sample);
    Go(&Live);
    assert_false(KdTargetRuns(&Target));
    assert_false(KdTakeSample(&Target, &Sample));
    assert_string_equal(KdTargetEnd(&Target), "its machine has stopped");
    /* Another start is another machine, even at the same addresses. */
    Go(&Live);
    assert_false(KdTargetRuns(&Target));
    EndProcess(&Live);
    assert_string_equal(KdTargetEnd(&Target), "the process has ended");
    KdCloseTarget(&Target);
}

/* --- permission --- */

static void (*Mutate)(void);

static void Lie(void *Context, int Input)
{
    (void)Context;
    BuildFake();
    if (Mutate != NULL) {
        Mutate();
    }
    AwaitTest(Input);
}

static void TestPermissionIsNamed(void **State)
{
    struct sock_filter Filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog Program = {.len = ARRAYSIZE(Filter), .filter = Filter};
    LIVE Live;
    int Status;
    pid_t Child;

    (void)State;
    Mutate = NULL;
    StartProcess(&Live, Lie);
    /* The filter stays, so a child of the test runs the command under it. */
    Child = fork();
    assert_true(Child >= 0);
    if (Child == 0) {
        RESULT Result;

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &Program) != 0) {
            _exit(3);
        }
        Result = RunOn(&Live, "irql");
        _exit(Result.Exit == KD_FAILED && strstr(Result.Errors, "may not be looked into") != NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_int_equal(Status, 0);
    EndProcess(&Live);
}

/* --- a block that is wrong --- */

static void Nothing(void)
{
}

static void OtherFormat(void)
{
    FakeBlock->Format = KI_DEBUG_FORMAT + 1;
}

static void OtherWords(void)
{
    FakeBlock->WordSize = sizeof(void *) == 8 ? 4 : 8;
}

static void NoSignature(void)
{
    FakeBlock->Signature[3] ^= 1;
}

static void NotRunning(void)
{
    FakeBlock->State = 0;
}

static void ManyEntries(void)
{
    FakeBlock->EntryCount = 0xFFFFFFFF;
}

static void SmallEntries(void)
{
    FakeBlock->EntrySize = 8;
}

static void CutOff(void)
{
    munmap((UCHAR *)FakeBlock + 4096, FAKE_BYTES - 4096);
}

static void NoProcessors(void)
{
    Fake.ProcessorCount = 0;
}

static void ManyProcessors(void)
{
    FakeEntry("KiMaximumProcessors")->Value = 1u << 30;
}

static void MoreThanThereAre(void)
{
    Fake.ProcessorCount = FAKE_PROCESSORS + 1;
}

static void NoOwner(void)
{
    FakeEntry("KPCR.Owner")->Name[0] = 'X';
}

static void FarOwner(void)
{
    FakeEntry("KPCR.Owner")->Value = ~0ull;
}

static void OwnerAtTheEnd(void)
{
    FakeEntry("KPCR.Owner")->Value = sizeof(KPCR) - 4;
}

static void OddOwner(void)
{
    FakeEntry("KPCR.Owner")->Size = 3;
}

static void LargePcr(void)
{
    FakeEntry("KPCR")->Value = 1ull << 40;
}

static void EmptyThread(void)
{
    FakeEntry("KTHREAD")->Value = 0;
}

static void SmallPrcb(void)
{
    FakeEntry("KPRCB")->Value -= 64;
}

static void ManySlots(void)
{
    FakeEntry("KiSlotCount")->Value = 1u << 30;
}

static void TestWrongBlocksAreRefused(void **State)
{
    static const struct {
        void (*Mutate)(void);
        const char *Message;
    } Cases[] = {
        {OtherFormat, "describes itself in format 2, this command reads format 1"},
        {OtherWords, sizeof(void *) == 8 ? "has words of 32 bits" : "has words of 64 bits"},
        {NoSignature, "that is not valid"},
        {NotRunning, "its machine is starting or stopping"},
        {ManyEntries, "the sizes in the header"},
        {SmallEntries, "the sizes in the header"},
        {CutOff, "cut off"},
        {NoProcessors, "its number of processors"},
        {ManyProcessors, "its number of processors"},
        {MoreThanThereAre, "its number of processors"},
        {NoOwner, "KPCR.Owner"},
        {FarOwner, "KPCR.Owner"},
        {OwnerAtTheEnd, "KPCR.Owner"},
        {OddOwner, "KPCR.Owner"},
        {LargePcr, "KPCR"},
        {EmptyThread, "KTHREAD"},
        {SmallPrcb, "has another layout"},
        {ManySlots, "KiSlotCount"},
    };

    (void)State;
    for (size_t Index = 0; Index < ARRAYSIZE(Cases); Index++) {
        LIVE Live;

        Mutate = Cases[Index].Mutate;
        StartProcess(&Live, Lie);
        AssertRefusedOn(&Live, "irql", Cases[Index].Message);
        EndProcess(&Live);
    }
}

static void OtherLibrary(void)
{
    strcpy(FakeBlock->Library, "9.9.9");
}

/* By its description: all but prcb, which shows whole structures. */
static void TestAnotherVersionIsReadByItsDescription(void **State)
{
    LIVE Live;
    RESULT Result;

    (void)State;
    Mutate = OtherLibrary;
    StartProcess(&Live, Lie);
    AssertRefusedOn(&Live, "prcb", "runs libkprcb 9.9.9");
    Result = RunWellOn(&Live, "irql --json");
    AssertText(Member(Result.Output, "process"), "library", "9.9.9");
    Free(&Result);
    EndProcess(&Live);
}

static void TestAFakeIsReadAsItSays(void **State)
{
    LIVE Live;
    RESULT Result;

    (void)State;
    Mutate = Nothing;
    StartProcess(&Live, Lie);
    Result = RunWellOn(&Live, "locks --json");
    assert_int_equal(Elements(Member(Result.Output, "threads")), FAKE_THREADS);
    AssertWord(Result.Output, "threadsComplete", "true");
    assert_int_equal(Elements(Member(Element(Member(Result.Output, "locks"), 0), "threads")), FAKE_THREADS);
    Free(&Result);
    EndProcess(&Live);
}

/* --- lists that lead nowhere, or in circles --- */

static void CircleOfThreads(void)
{
    Fake.Threads[2].ThreadListEntry.Flink = &Fake.Threads[1].ThreadListEntry;
}

static void ToTheFreeList(void)
{
    Fake.Threads[1].ThreadListEntry.Flink = &Fake.FreeThreadListHead;
    Fake.FreeThreadListHead.Blink = &Fake.Threads[1].ThreadListEntry;
}

static void ThreadNowhere(void)
{
    Fake.Threads[1].ThreadListEntry.Flink = (PLIST_ENTRY)16;
}

static void AssertIncomplete(void (*Routine)(void), ULONG Threads)
{
    LIVE Live;
    RESULT Result;

    Mutate = Routine;
    StartProcess(&Live, Lie);
    Result = RunWellOn(&Live, "locks --json");
    assert_true(IsJson(Result.Output));
    AssertWord(Result.Output, "threadsComplete", "false");
    assert_int_equal(Elements(Member(Result.Output, "threads")), Threads);
    Free(&Result);
    EndProcess(&Live);
}

static void CircleOfDpcs(void)
{
    Fake.Dpcs[3].DpcListEntry.Next = &Fake.Dpcs[0].DpcListEntry;
}

static void DpcOfAnotherQueue(void)
{
    Fake.Dpcs[2].DpcData = NULL;
}

static void AssertDpcs(void (*Routine)(void), ULONG Count, const char *Complete)
{
    LIVE Live;
    RESULT Result;
    const char *Queue;

    Mutate = Routine;
    StartProcess(&Live, Lie);
    Result = RunWellOn(&Live, "dpcs 0 --json");
    assert_true(IsJson(Result.Output));
    Queue = Element(Member(Element(Member(Result.Output, "processors"), 0), "queues"), 0);
    assert_int_equal(Elements(Member(Queue, "queued")), Count);
    AssertWord(Queue, "complete", Complete);
    Free(&Result);
    EndProcess(&Live);
}

static void TestWalksEnd(void **State)
{
    (void)State;
    AssertIncomplete(CircleOfThreads, 3);
    AssertIncomplete(ToTheFreeList, 2);
    AssertIncomplete(ThreadNowhere, 2);
    AssertDpcs(Nothing, FAKE_DPCS, "true");
    AssertDpcs(CircleOfDpcs, 256, "false");
    AssertDpcs(DpcOfAnotherQueue, 2, "false");
}

/* --- a target that corrupts itself --- */

static ULONG NextRandomWord(ULONG *Seed)
{
    *Seed = *Seed * 1664525u + 1013904223u;
    return *Seed >> 8;
}

typedef struct _REGION {
    UCHAR *Start;
    size_t Size;
} REGION;

static void CorruptOnce(ULONG *Seed, BOOLEAN BlockToo)
{
    const REGION Regions[] = {{(UCHAR *)&Fake, sizeof(Fake)}, {(UCHAR *)FakeBlock, FAKE_BYTES}};
    const REGION *Region = &Regions[BlockToo && NextRandomWord(Seed) % 2 == 0];
    const ULONGLONG Words[] = {0,
                               ~0ull,
                               1,
                               0x7FFFFFFF,
                               (ULONG_PTR)&Fake + NextRandomWord(Seed) % sizeof(Fake),
                               (ULONG_PTR)FakeBlock,
                               NextRandomWord(Seed),
                               1ull << NextRandomWord(Seed) % 64};
    size_t Offset = NextRandomWord(Seed) % (Region->Size - 8) & ~(size_t)(NextRandomWord(Seed) % 2 * 7);

    for (ULONG Count = 0; Count < 16; Count++) {
        memcpy(Region->Start + Offset, &Words[NextRandomWord(Seed) % ARRAYSIZE(Words)], 8);
        Offset = NextRandomWord(Seed) % (Region->Size - 8) & ~(size_t)(NextRandomWord(Seed) % 2 * 7);
    }
}

static void CorruptForEver(void *Context, int Input)
{
    static FAKE Pristine;
    static UCHAR PristineBlock[FAKE_BYTES];
    ULONG Seed = 0x12345678;

    (void)Context, (void)Input;
    BuildFake();
    memcpy(&Pristine, &Fake, sizeof(Fake));
    memcpy(PristineBlock, FakeBlock, FAKE_BYTES);
    if (write(LiveOutput, "r", 1) != 1) {
        _exit(1);
    }
    for (;;) {
        BOOLEAN BlockToo = NextRandomWord(&Seed) % 4 == 0;

        memcpy(&Fake, &Pristine, sizeof(Fake));
        memcpy(FakeBlock, PristineBlock, FAKE_BYTES);
        /* Now and then, so that a reader sees some of it change while it reads. */
        for (ULONG Step = 0, Steps = NextRandomWord(&Seed) % 4096; Step < Steps; Step++) {
            if (Step % 64 == 0) {
                CorruptOnce(&Seed, BlockToo);
            }
            sched_yield();
        }
    }
}

/* In a child, since a fault of the reader's must fail the test, and its output goes nowhere. */
static void ReadManyTimes(ULONG Pid)
{
    static char *const Names[] = {"irql", "dpcs", "locks", "prcb"};
    const char *Text = getenv("KPRCB_FUZZ_ROUNDS");
    ULONG Rounds = Text != NULL ? (ULONG)strtoul(Text, NULL, 10) : FUZZ_ROUNDS;
    char Number[16];
    ULONG Shown = 0;

    if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL) {
        _exit(3);
    }
    snprintf(Number, sizeof(Number), "%lu", (unsigned long)Pid);
    for (ULONG Round = 0; Round < Rounds; Round++) {
        char *Arguments[] = {
            (char[]){"kprcb"}, Names[Round % ARRAYSIZE(Names)], (char[]){"--pid"}, Number, (char[]){"--json"}, NULL};
        int Result;

        optind = 0; /* getopt begins anew */
        Result = KdRun(Round / 4 % 2 == 0 ? 5 : 4, Arguments);
        if (Result != KD_OK && Result != KD_FAILED) {
            _exit(4);
        }
        Shown += Result == KD_OK;
    }
    /* It must have got past the block now and then. */
    _exit(Shown != 0 ? 0 : 5);
}

static void TestACorruptTargetDoesNotHurtTheReader(void **State)
{
    LIVE Live;
    int Status;
    pid_t Child;

    (void)State;
    StartProcess(&Live, CorruptForEver);
    Child = fork();
    assert_true(Child >= 0);
    if (Child == 0) {
        ReadManyTimes((ULONG)Live.Pid);
    }
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_int_equal(Status, 0);
    EndProcess(&Live);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestOtherProcessesAreRefused),
        cmocka_unit_test(TestAMachineComesAndGoes),
        cmocka_unit_test(TestASampleEndsWithItsMachine),
        cmocka_unit_test(TestPermissionIsNamed),
        cmocka_unit_test(TestWrongBlocksAreRefused),
        cmocka_unit_test(TestAnotherVersionIsReadByItsDescription),
        cmocka_unit_test(TestAFakeIsReadAsItSays),
        cmocka_unit_test(TestWalksEnd),
        cmocka_unit_test(TestACorruptTargetDoesNotHurtTheReader),
    };

    if (!HostAllowsLooks()) {
        puts("skipped: this host lets no process look into another");
        return 0;
    }
    return cmocka_run_group_tests(Tests, FindCommand, NULL);
}
