/*
 * test_live.c - `kprcb prcb`, `irql`, `dpcs` and `locks` on another process, held still: its locks, its waiters, its
 * DPCs.
 *
 * Of its four processors, the holder owns processor 0 with three locks and lets one DPC wait in the list; a second
 * thread queues for the queued lock, a third spins for the spin lock, each on a processor of its own; a fourth waits for
 * processor 0; and the main thread has posted a DPC to its inbox.
 */
#include "kd/livetest.h"

#include <pthread.h>
#include <sys/syscall.h>

#include "ki.h"

#define PROCESSORS 4

/* The same addresses in the process, which is a fork of this one. */
KSPIN_LOCK LiveSpinLock;
KSPIN_LOCK LiveQueuedLock;
static EX_SPIN_LOCK LiveRwLock;
static KDPC ListedDpc, PostedDpc;

typedef struct _STATE {
    LONG HolderId, QueuerId, SpinnerId, WaiterId, MainId;
    PKTHREAD Holder, Queuer, Spinner, Waiter;
    PKPCR Processors;
    ULONG volatile Held;
} STATE;

static STATE *Shared;
static LIVE Live;

VOID LiveRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Context, (void)Argument1, (void)Argument2;
}

VOID LiveLongRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    ULONGLONG End = HalMonotonicTime() + 2000000;

    (void)Dpc, (void)Context, (void)Argument1, (void)Argument2;
    while (HalMonotonicTime() < End) {
    }
}

/* On processor 3. */
static BOOLEAN MakeHistory(void)
{
    KDPC Dpc;

    if (!NT_SUCCESS(KprcbSetDpcHistory(TRUE))) {
        return FALSE;
    }
    KeInitializeDpc(&Dpc, LiveRoutine, NULL);
    for (ULONG Time = 0; Time < 3; Time++) {
        (void)KeInsertQueueDpc(&Dpc, NULL, NULL);
    }
    KeInitializeDpc(&Dpc, LiveLongRoutine, NULL);
    return KeInsertQueueDpc(&Dpc, NULL, NULL);
}

static LONG ThreadId(void)
{
    return (LONG)syscall(SYS_gettid);
}

static void *HoldLocks(void *Context)
{
    KLOCK_QUEUE_HANDLE Handle;
    KIRQL OldIrql;

    (void)Context;
    pthread_setname_np(pthread_self(), "holder");
    if (!NT_SUCCESS(KprcbAttachThread(0))) {
        _exit(1);
    }
    Shared->HolderId = ThreadId();
    Shared->Holder = KprcbThread.Thread;
    KeAcquireSpinLock(&LiveSpinLock, &OldIrql);
    KeAcquireInStackQueuedSpinLockAtDpcLevel(&LiveQueuedLock, &Handle);
    (void)KeAcquireQueuedSpinLock(LockQueueMasterLock);
    (void)ExAcquireSpinLockShared(&LiveRwLock);
    KeInitializeDpc(&ListedDpc, LiveRoutine, &Live);
    KeSetImportanceDpc(&ListedDpc, HighImportance);
    KeInsertQueueDpc(&ListedDpc, (PVOID)0x11, (PVOID)0x22);
    __atomic_store_n(&Shared->Held, 1, __ATOMIC_RELEASE);
    for (;;) {
        pause();
    }
    return NULL;
}

static void *QueueForLock(void *Context)
{
    KLOCK_QUEUE_HANDLE Handle;

    (void)Context;
    pthread_setname_np(pthread_self(), "queuer");
    (void)KprcbAttachThread(1);
    Shared->QueuerId = ThreadId();
    Shared->Queuer = KprcbThread.Thread;
    KeAcquireInStackQueuedSpinLock(&LiveQueuedLock, &Handle);
    return NULL;
}

static void *SpinForLock(void *Context)
{
    KIRQL OldIrql;

    (void)Context;
    pthread_setname_np(pthread_self(), "spinner");
    (void)KprcbAttachThread(2);
    Shared->SpinnerId = ThreadId();
    Shared->Spinner = KprcbThread.Thread;
    KeAcquireSpinLock(&LiveSpinLock, &OldIrql);
    return NULL;
}

static void *WaitForProcessor(void *Context)
{
    (void)Context;
    pthread_setname_np(pthread_self(), "waiter");
    Shared->WaiterId = ThreadId();
    Shared->Waiter = KiEnter()->Thread;
    KeSetSystemAffinityThread(1);
    (void)KeRaiseIrqlToDpcLevel();
    return NULL;
}

static void Start(void *(*Routine)(void *))
{
    pthread_t Thread;

    if (pthread_create(&Thread, NULL, Routine, NULL) != 0) {
        _exit(1);
    }
}

/* Threads whose wait is seen, not the idle threads: it takes a while until a spin says so. */
static ULONG CountWaiters(void)
{
    ULONG Count = 0;

    HalAcquireMutex(&KiThreadLock);
    for (PLIST_ENTRY Entry = KiThreadListHead.Flink; Entry != &KiThreadListHead; Entry = Entry->Flink) {
        PKTHREAD Thread = CONTAINING_RECORD(Entry, KTHREAD, ThreadListEntry);

        Count += __atomic_load_n(&Thread->Kind, __ATOMIC_RELAXED) != KiMachineThread &&
                 __atomic_load_n(&Thread->WaitReason, __ATOMIC_ACQUIRE) != NULL;
    }
    HalReleaseMutex(&KiThreadLock);
    return Count;
}

static void StandStill(void *Context, int Input)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = PROCESSORS, .Flags = KPRCB_NO_SIGNALS};

    Shared = Context;
    KprcbSetHangReport(0);
    if (!NT_SUCCESS(KprcbStart(&Config)) || !NT_SUCCESS(KprcbAttachThread(3)) || !MakeHistory()) {
        _exit(1);
    }
    Shared->MainId = ThreadId();
    Shared->Processors = KiMachine.Processors;
    Start(HoldLocks);
    while (__atomic_load_n(&Shared->Held, __ATOMIC_ACQUIRE) == 0) {
        sched_yield();
    }
    Start(QueueForLock);
    Start(SpinForLock);
    Start(WaitForProcessor);
    KeInitializeDpc(&PostedDpc, LiveRoutine, NULL);
    KeSetTargetProcessorDpc(&PostedDpc, 0);
    KeInsertQueueDpc(&PostedDpc, (PVOID)0x33, NULL);
    while (CountWaiters() < 3) {
        sched_yield();
    }
    AwaitTest(Input);
}

/* --- what the commands say --- */

static void AssertThread(const char *Object, const char *Name, PKTHREAD Thread, LONG HostId, const char *ThreadName)
{
    const char *Value = Member(Object, Name);

    AssertHex(Value, "thread", (ULONG_PTR)Thread);
    AssertNumber(Value, "hostId", HostId);
    AssertText(Value, "name", ThreadName);
}

static void AssertHead(const char *Output)
{
    const char *Process = Member(Output, "process");

    assert_true(IsJson(Output));
    AssertText(Output, "version", KprcbVersion());
    AssertNumber(Output, "processorCount", PROCESSORS);
    AssertNumber(Process, "pid", Live.Pid);
    AssertText(Process, "library", KprcbVersion());
    AssertWord(Process, "checked", "true");
}

static void TestIrqlShowsOwnersAndWaiters(void **State)
{
    RESULT Result = RunWellOn(&Live, "irql --json");
    const char *Processors = Member(Result.Output, "processors");
    const char *First = Element(Processors, 0);

    (void)State;
    AssertHead(Result.Output);
    assert_int_equal(Elements(Processors), PROCESSORS);
    AssertNumber(First, "index", 0);
    AssertHex(First, "pcr", (ULONG_PTR)Shared->Processors);
    AssertNumber(First, "irql", DISPATCH_LEVEL);
    AssertText(First, "irqlName", "DISPATCH_LEVEL");
    AssertText(First, "owned", "bias");
    AssertWord(First, "steady", "true");
    AssertThread(First, "owner", Shared->Holder, Shared->HolderId, "holder");
    AssertThread(First, "resident", Shared->Holder, Shared->HolderId, "holder");
    AssertHex(Member(First, "currentThread"), "thread", (ULONG_PTR)Shared->Holder);
    /* The waiter holds the token and has revoked the bias. */
    assert_non_null(strstr(Member(First, "requestNames"), "REVOKED"));
    assert_true((HexOf(Member(First, "request")) & (KPCR_REQUEST_LAZY | KPCR_REQUEST_DISPATCH)) != 0);
    FindByHex(Member(First, "waiting"), "thread", (ULONG_PTR)Shared->Waiter);
    AssertNumber(Element(Processors, 1), "irql", DISPATCH_LEVEL);
    AssertThread(Element(Processors, 1), "owner", Shared->Queuer, Shared->QueuerId, "queuer");
    AssertThread(Element(Processors, 2), "owner", Shared->Spinner, Shared->SpinnerId, "spinner");
    assert_int_equal(Elements(Member(Element(Processors, 2), "waiting")), 0);
    AssertNumber(Element(Processors, 3), "irql", PASSIVE_LEVEL);
    AssertText(Element(Processors, 3), "owned", "free");
    AssertWord(Element(Processors, 3), "owner", "null");
    AssertNumber(Member(Element(Processors, 3), "resident"), "hostId", Shared->MainId);
    Free(&Result);
    Result = RunWellOn(&Live, "irql 2 --json");
    assert_int_equal(Elements(Member(Result.Output, "processors")), 1);
    AssertNumber(Element(Member(Result.Output, "processors"), 0), "index", 2);
    Free(&Result);
}

static void AssertDpc(const char *Dpc, const char *In, const KDPC *Address, ULONG_PTR Argument1, const char *Importance)
{
    AssertHex(Dpc, "dpc", (ULONG_PTR)Address);
    AssertText(Dpc, "in", In);
    AssertHex(Dpc, "routine", (ULONG_PTR)LiveRoutine);
    AssertText(Dpc, "routineSymbol", "LiveRoutine");
    AssertHex(Dpc, "argument1", Argument1);
    AssertText(Dpc, "importance", Importance);
}

static void TestDpcsShowsListAndInbox(void **State)
{
    RESULT Result = RunWellOn(&Live, "dpcs --json");
    const char *Processors = Member(Result.Output, "processors");
    const char *Queue = Element(Member(Element(Processors, 0), "queues"), DPC_NORMAL);
    const char *Queued = Member(Queue, "queued");

    (void)State;
    AssertHead(Result.Output);
    AssertNumber(Element(Processors, 0), "MinimumDpcRate", 3);
    AssertNumber(Element(Processors, 0), "DpcRoutineActive", 0);
    AssertText(Queue, "queue", "normal");
    AssertNumber(Queue, "DpcQueueDepth", 1);
    AssertNumber(Queue, "inboxCount", 1);
    AssertNumber(Queue, "DpcCount", 0);
    AssertWord(Queue, "ActiveDpc", "null");
    AssertWord(Queue, "complete", "true");
    assert_int_equal(Elements(Queued), 2);
    AssertDpc(Element(Queued, 0), "list", &ListedDpc, 0x11, "high");
    AssertHex(Element(Queued, 0), "argument2", 0x22);
    AssertHex(Element(Queued, 0), "context", (ULONG_PTR)&Live);
    AssertDpc(Element(Queued, 1), "inbox", &PostedDpc, 0x33, "medium");
    AssertNumber(Element(Queued, 1), "number", 1);
    Queue = Element(Member(Element(Processors, 1), "queues"), DPC_NORMAL);
    assert_int_equal(Elements(Member(Queue, "queued")), 0);
    Free(&Result);
}

static LONGLONG NumberOf(const char *Object, const char *Name)
{
    return strtoll(Member(Object, Name), NULL, 10);
}

static void TestDpcsShowsTheHistory(void **State)
{
    RESULT Result = RunWellOn(&Live, "dpcs --json");
    const char *History = Member(Element(Member(Result.Output, "processors"), 3), "history");
    const char *Top = Member(History, "top");

    (void)State;
    AssertNumber(History, "routines", 2);
    AssertNumber(History, "lost", 0);
    assert_int_equal(Elements(Top), 2);
    AssertText(Element(Top, 0), "routineSymbol", "LiveLongRoutine");
    AssertNumber(Element(Top, 0), "count", 1);
    assert_true(NumberOf(Element(Top, 0), "totalTime") >= 1980000);
    assert_int_equal(NumberOf(Element(Top, 0), "totalTime"), NumberOf(Element(Top, 0), "longestTime"));
    AssertHex(Element(Top, 1), "routine", (ULONG_PTR)LiveRoutine);
    AssertNumber(Element(Top, 1), "count", 3);
    Free(&Result);
}

static void TestLocksShowsWhoHoldsAndWhoWaits(void **State)
{
    RESULT Result = RunWellOn(&Live, "locks --json");
    const char *Locks = Member(Result.Output, "locks");
    const char *Threads = Member(Result.Output, "threads");
    const char *Lock, *Thread;

    (void)State;
    AssertHead(Result.Output);
    AssertWord(Result.Output, "threadsComplete", "true");
    assert_int_equal(Elements(Locks), 4);
    Lock = FindByHex(Locks, "lock", (ULONG_PTR)&LiveSpinLock);
    AssertText(Lock, "kind", "spin lock");
    AssertText(Lock, "lockSymbol", "LiveSpinLock");
    assert_int_equal(Elements(Member(Lock, "threads")), 2);
    AssertText(Element(Member(Lock, "threads"), 0), "how", "owner");
    AssertThread(Element(Member(Lock, "threads"), 0), "thread", Shared->Holder, Shared->HolderId, "holder");
    AssertText(Element(Member(Lock, "threads"), 1), "how", "spins");
    AssertThread(Element(Member(Lock, "threads"), 1), "thread", Shared->Spinner, Shared->SpinnerId, "spinner");
    Lock = FindByHex(Locks, "lock", (ULONG_PTR)&LiveQueuedLock);
    AssertText(Lock, "kind", "queued spin lock");
    assert_int_equal(Elements(Member(Lock, "threads")), 2);
    AssertText(Element(Member(Lock, "threads"), 0), "how", "owner");
    AssertText(Element(Member(Lock, "threads"), 1), "how", "queued");
    AssertThread(Element(Member(Lock, "threads"), 1), "thread", Shared->Queuer, Shared->QueuerId, "queuer");
    Lock = FindByHex(Locks, "lock", (ULONG_PTR)&LiveRwLock);
    AssertText(Element(Member(Lock, "threads"), 0), "how", "shared");

    Thread = FindByHex(Threads, "thread", (ULONG_PTR)Shared->Holder);
    AssertText(Thread, "kind", "named");
    AssertNumber(Thread, "irql", DISPATCH_LEVEL);
    AssertNumber(Thread, "processor", 0);
    assert_int_equal(Elements(Member(Thread, "holds")), 4);
    Lock = Element(Member(Thread, "holds"), 2);
    AssertNumber(Lock, "number", LockQueueMasterLock);
    AssertText(Lock, "numberName", "MasterLock");
    AssertText(Lock, "how", "owner");
    Thread = FindByHex(Threads, "thread", (ULONG_PTR)Shared->Spinner);
    AssertHex(Thread, "waitObject", (ULONG_PTR)&LiveSpinLock);
    assert_int_equal(Elements(Member(Thread, "holds")), 0);
    Thread = FindByHex(Threads, "thread", (ULONG_PTR)Shared->Waiter);
    AssertHex(Thread, "waitObject", (ULONG_PTR)Shared->Processors);
    assert_non_null(strstr(Member(Thread, "waitsFor"), "processor"));
    Free(&Result);
}

static void TestPrcbShowsTheMembersOfTheOtherProcess(void **State)
{
    RESULT Result = RunWellOn(&Live, "prcb 0 --json");
    const char *Processor = Element(Member(Result.Output, "processors"), 0);
    const char *Members = Member(Processor, "prcbMembers");
    ULONG Seen = 0;

    (void)State;
    AssertHead(Result.Output);
    AssertHex(Processor, "pcr", (ULONG_PTR)Shared->Processors);
    AssertHex(Processor, "prcb", (ULONG_PTR)&Shared->Processors->PrcbData);
    assert_int_equal(Elements(Members), KdPrcbMemberCount);
    for (ULONG Index = 0; Index < KdPrcbMemberCount; Index++) {
        const char *Row = Element(Members, Index);

        if (IsText(Member(Row, "name"), "CurrentThread")) {
            AssertHex(Row, "value", (ULONG_PTR)Shared->Holder);
            Seen++;
        } else if (IsText(Member(Row, "name"), "DpcData[0].DpcQueueDepth")) {
            AssertNumber(Row, "value", 1);
            Seen++;
        }
    }
    assert_int_equal(Seen, 2);
    Free(&Result);
}

static void TestTextIsNarrowAndNamesThreads(void **State)
{
    static const struct {
        const char *Line, *Part;
    } Cases[] = {
        {"irql", "waiter waits for the resident of a processor"},
        {"dpcs", "LiveRoutine"},
        {"locks", "reader/writer spin lock"},
        {"locks", "queued spin lock MasterLock"},
        {"prcb 0", "KPRCB at 0x"},
    };

    (void)State;
    for (size_t Index = 0; Index < ARRAYSIZE(Cases); Index++) {
        RESULT Result = RunWellOn(&Live, Cases[Index].Line);

        AssertNarrow(Result.Output);
        if (strstr(Result.Output, Cases[Index].Part) == NULL) {
            fail_msg("%s: no '%s' in %s", Cases[Index].Line, Cases[Index].Part, Result.Output);
        }
        Free(&Result);
    }
}

static void TestWithoutAProcessTheCommandsStartAMachine(void **State)
{
    static const char *const Lines[] = {"irql", "dpcs", "locks"};

    (void)State;
    for (size_t Index = 0; Index < ARRAYSIZE(Lines); Index++) {
        char Line[64];
        RESULT Result;

        snprintf(Line, sizeof(Line), "%s --json -p 3", Lines[Index]);
        Result = RunWell(Line);
        assert_true(IsJson(Result.Output));
        AssertNumber(Result.Output, "processorCount", 3);
        AssertText(Member(Result.Output, "process"), "name", "kprcb");
        Free(&Result);
    }
}

static void TestWrongArgumentsAreNamed(void **State)
{
    static const struct {
        const char *Line, *Message;
    } Wrong[] = {
        {"irql --pid 0", "not the number of a process"}, {"irql --pid x", "not the number of a process"},
        {"irql --pid 1 -p 2", "--processors is for"},    {"irql --watch", "--watch needs --pid"},
        {"irql --pid 1 --watch=0", "--watch: '0'"},      {"irql --pid 1 --watch=1.55", "--watch: '1.55'"},
        {"irql --pid 1 --watch=", "--watch: ''"},        {"tour --pid 1", "--pid and --watch are for"},
        {"cpuid --pid 1", "--pid and --watch are for"},  {"irql x", "'x' is not the number"},
        {"locks 1", "'1' is one argument too many"},     {"dpcs 1 2", "'2' is one argument too many"},
        {"irql 2 -p 2", "there is no processor 2"},
    };
    RESULT Result;

    (void)State;
    for (size_t Index = 0; Index < ARRAYSIZE(Wrong); Index++) {
        Result = Run(Wrong[Index].Line);
        if (Result.Exit != KD_USAGE || Result.Output[0] != 0 || strstr(Result.Errors, Wrong[Index].Message) == NULL) {
            fail_msg("%s: exit %d, stderr '%s'", Wrong[Index].Line, Result.Exit, Result.Errors);
        }
        Free(&Result);
    }
    Result = RunOn(&Live, "prcb 4");
    assert_int_equal(Result.Exit, KD_USAGE);
    assert_non_null(strstr(Result.Errors, "processors 0 to 3"));
    Free(&Result);
}

static int Setup(void **State)
{
    if (FindCommand(State) != 0) {
        return -1;
    }
    StartProcess(&Live, StandStill);
    Shared = Live.Shared;
    return 0;
}

static int Teardown(void **State)
{
    (void)State;
    EndProcess(&Live);
    return 0;
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestIrqlShowsOwnersAndWaiters),
        cmocka_unit_test(TestDpcsShowsListAndInbox),
        cmocka_unit_test(TestDpcsShowsTheHistory),
        cmocka_unit_test(TestLocksShowsWhoHoldsAndWhoWaits),
        cmocka_unit_test(TestPrcbShowsTheMembersOfTheOtherProcess),
        cmocka_unit_test(TestTextIsNarrowAndNamesThreads),
        cmocka_unit_test(TestWithoutAProcessTheCommandsStartAMachine),
        cmocka_unit_test(TestWrongArgumentsAreNamed),
    };

    if (!HostAllowsLooks()) {
        puts("skipped: this host lets no process look into another");
        return 0;
    }
    return cmocka_run_group_tests(Tests, Setup, Teardown);
}
