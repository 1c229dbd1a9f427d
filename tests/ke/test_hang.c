/*
 * test_hang.c - the reports on stderr: of a bug check that nobody catches, and of a spin without progress.
 *
 * Uncaught bug checks happen in forked children, which start their own machines; so the parent forks while it has none.
 */
#include "support/support.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_SIZE 65536

static ULONG TestFlags;
static char Text[TEXT_SIZE];

/* Runs Routine in a child without a catcher and gets what it wrote to stderr; it must die of SIGABRT. */
static void RunChild(void (*Routine)(void))
{
    size_t Length = 0;
    ssize_t Got;
    int Ends[2];
    int Status;
    pid_t Child;

    assert_int_equal(pipe(Ends), 0);
    Child = fork();
    assert_true(Child >= 0);
    if (Child == 0) {
        const struct rlimit NoCore = {0, 0};

        setrlimit(RLIMIT_CORE, &NoCore);
        dup2(Ends[1], STDERR_FILENO);
        close(Ends[0]);
        close(Ends[1]);
        Routine();
        _exit(0);
    }
    close(Ends[1]);
    while (Length < TEXT_SIZE - 1 && (Got = read(Ends[0], Text + Length, TEXT_SIZE - 1 - Length)) > 0) {
        Length += (size_t)Got;
    }
    Text[Length] = '\0';
    close(Ends[0]);
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_true(WIFSIGNALED(Status));
    assert_int_equal(WTERMSIG(Status), SIGABRT);
}

static void AssertContains(const char *Part)
{
    if (strstr(Text, Part) == NULL) {
        fail_msg("no \"%s\" in: %s", Part, Text);
    }
}

static KSPIN_LOCK SpinLock;

static void FailWithLock(void)
{
    KIRQL OldIrql;

    StartMachine(3, TestFlags);
    KprcbAttachThread(1);
    KeAcquireSpinLock(&SpinLock, &OldIrql);
    KfRaiseIrql(SYNCH_LEVEL);
    KeBugCheckEx(SPIN_LOCK_NOT_OWNED, 0xABC1, 0xABC2, 0xABC3, 0xABC4);
}

static void an_uncaught_bug_check_is_reported_and_aborts(void **State)
{
    char Lock[64];
    char Level[32];

    UNREFERENCED_PARAMETER(State);
    RunChild(FailWithLock);
    snprintf(Lock, sizeof(Lock), "holds spin lock %p", (void *)&SpinLock);
    snprintf(Level, sizeof(Level), "IRQL %u", (unsigned)SYNCH_LEVEL);
    AssertContains("0x00000010");
    AssertContains("SPIN_LOCK_NOT_OWNED");
    AssertContains("0xABC1");
    AssertContains("0xABC2");
    AssertContains("0xABC3");
    AssertContains("0xABC4");
    AssertContains("processor 1,");
    AssertContains(Level);
    AssertContains("thread 0x");
    AssertContains(Lock);
    AssertContains("test_hang"); /* the stack */
}

static void FailUnattached(void)
{
    KeBugCheck(0xE0005555);
}

static void an_uncaught_bug_check_without_a_machine(void **State)
{
    UNREFERENCED_PARAMETER(State);
    RunChild(FailUnattached);
    AssertContains("0xE0005555");
    AssertContains("not attached");
}

static void *EndAbove(void *Context)
{
    KeRaiseIrqlToDpcLevel();
    return Context;
}

static void EndThreadAbove(void)
{
    StartMachine(2, TestFlags);
    JoinThread(StartThread(EndAbove, NULL));
}

static void a_thread_that_ends_at_dispatch_level(void **State)
{
    UNREFERENCED_PARAMETER(State);
    RunChild(EndThreadAbove);
    AssertContains("KERNEL_APC_PENDING_DURING_EXIT");
    AssertContains("0x00000020");
    AssertContains("IRQL 2");
}

static VOID FailDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeBugCheck(MANUALLY_INITIATED_CRASH);
}

static void FailOnIdleThread(void)
{
    static KDPC Dpc;

    StartMachine(2, TestFlags);
    KprcbAttachThread(0);
    KeInitializeDpc(&Dpc, FailDpc, NULL);
    KeSetTargetProcessorDpc(&Dpc, 1);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
}

static ULONG_PTR FailOnOne(ULONG_PTR Context)
{
    if (KeGetCurrentProcessorNumberEx(NULL) == Context) {
        KeBugCheck(MANUALLY_INITIATED_CRASH);
    }
    return 0;
}

static void FailInWorker(void)
{
    StartMachine(2, TestFlags);
    KprcbAttachThread(0);
    KeIpiGenericCall(FailOnOne, 1);
}

static void an_uncaught_bug_check_of_a_dpc_or_a_worker(void **State)
{
    char Level[32];

    UNREFERENCED_PARAMETER(State);
    RunChild(FailOnIdleThread);
    AssertContains("MANUALLY_INITIATED_CRASH");
    AssertContains("processor 1, IRQL 2,");
    RunChild(FailInWorker);
    snprintf(Level, sizeof(Level), "processor 1, IRQL %u,", (unsigned)IPI_LEVEL);
    AssertContains("MANUALLY_INITIATED_CRASH");
    AssertContains(Level);
}

static void names_of_codes(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_string_equal(KprcbBugCheckName(SPIN_LOCK_NOT_OWNED), "SPIN_LOCK_NOT_OWNED");
    assert_string_equal(KprcbBugCheckName(0x7), "INVALID_SOFTWARE_INTERRUPT");
    assert_string_equal(KprcbBugCheckName(0xA), "IRQL_NOT_LESS_OR_EQUAL");
    assert_string_equal(KprcbBugCheckName(0x139), "KERNEL_SECURITY_CHECK_FAILURE");
    assert_null(KprcbBugCheckName(0));
    assert_null(KprcbBugCheckName(0xE0001234));
}

/* --- A spin without progress --- */

static ULONG volatile Held, LetGo;
static PKTHREAD volatile Holder;
static PKPCR volatile HolderPcr;
static KSPIN_LOCK QueuedLock;

static void *HoldLocks(void *Context)
{
    KLOCK_QUEUE_HANDLE Handle;
    KIRQL OldIrql;

    KeAcquireSpinLock(&SpinLock, &OldIrql);
    KeAcquireInStackQueuedSpinLockAtDpcLevel(&QueuedLock, &Handle);
    Holder = KeGetCurrentThread();
    HolderPcr = KeGetPcr();
    CountOne(&Held);
    AwaitCount(&LetGo, 1);
    KeReleaseInStackQueuedSpinLockFromDpcLevel(&Handle);
    KeReleaseSpinLock(&SpinLock, OldIrql);
    return Context;
}

static void *WaitForSpinLock(void *Context)
{
    KIRQL OldIrql;

    KeAcquireSpinLock(&SpinLock, &OldIrql);
    KeReleaseSpinLock(&SpinLock, OldIrql);
    return Context;
}

static void *WaitForQueuedLock(void *Context)
{
    KLOCK_QUEUE_HANDLE Handle;

    KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle);
    KeReleaseInStackQueuedSpinLock(&Handle);
    return Context;
}

static void *WaitForFreeze(void *Context)
{
    KeThawExecution(KeFreezeExecution(NULL, NULL));
    return Context;
}

/* Reads the pipe until Part has come. */
static void AwaitText(int Pipe, const char *Part)
{
    size_t Length = strlen(Text);

    while (strstr(Text, Part) == NULL) {
        ssize_t Got = read(Pipe, Text + Length, TEXT_SIZE - 1 - Length);

        assert_true(Got > 0);
        Length += (size_t)Got;
        Text[Length] = '\0';
    }
}

/* Lock: what is waited for; NULL: the holder's processor. */
static void ReportHang(void *(*Waiter)(void *), const char *Reason, PKSPIN_LOCK Lock)
{
    char Awaited[128];
    char Line[128];
    pthread_t Threads[2];
    int Ends[2];
    int Stderr = dup(STDERR_FILENO);

    Held = LetGo = 0;
    Text[0] = '\0';
    assert_int_equal(pipe(Ends), 0);
    StartMachine(3, TestFlags | KPRCB_NO_SIGNALS);
    KprcbSetHangReport(20);
    Threads[0] = StartThread(HoldLocks, NULL);
    AwaitCount(&Held, 1);
    dup2(Ends[1], STDERR_FILENO);
    Threads[1] = StartThread(Waiter, NULL);
    snprintf(Awaited, sizeof(Awaited), "ms for %s (%p)", Reason, Lock != NULL ? (void *)Lock : (void *)HolderPcr);
    AwaitText(Ends[0], Awaited);
    snprintf(Line, sizeof(Line), "owner %p, IRQL 2", (void *)Holder);
    AwaitText(Ends[0], Line);
    snprintf(Line, sizeof(Line), "thread %p (host id", (void *)Holder);
    AwaitText(Ends[0], Line);
    snprintf(Line, sizeof(Line), "holds spin lock %p", (void *)&SpinLock);
    AwaitText(Ends[0], Line);
    AwaitText(Ends[0], "holds or awaits a queued spin lock");
    AwaitText(Ends[0], "test_hang"); /* the stack */
    /* The period doubles: a second report. */
    Text[0] = '\0';
    AwaitText(Ends[0], Awaited);
    KprcbSetHangReport(0);
    CountOne(&LetGo);
    JoinThread(Threads[0]);
    JoinThread(Threads[1]);
    dup2(Stderr, STDERR_FILENO);
    close(Stderr);
    close(Ends[0]);
    close(Ends[1]);
    StopMachine();
    KprcbSetHangReport(10000);
}

static void a_wait_without_progress_names_the_lock_and_its_holder(void **State)
{
    UNREFERENCED_PARAMETER(State);
    ReportHang(WaitForSpinLock, "a spin lock", &SpinLock);
    ReportHang(WaitForQueuedLock, "a queued spin lock", &QueuedLock);
    ReportHang(WaitForFreeze, "a processor to freeze", NULL);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(an_uncaught_bug_check_is_reported_and_aborts),
        cmocka_unit_test(an_uncaught_bug_check_without_a_machine),
        cmocka_unit_test(a_thread_that_ends_at_dispatch_level),
        cmocka_unit_test(an_uncaught_bug_check_of_a_dpc_or_a_worker),
        cmocka_unit_test(names_of_codes),
        cmocka_unit_test(a_wait_without_progress_names_the_lock_and_its_holder),
    };
    int Failed = cmocka_run_group_tests_name("membarrier", Tests, NULL, NULL);

    TestFlags = KPRCB_NO_MEMBARRIER;
    return Failed + cmocka_run_group_tests_name("no membarrier", Tests, NULL, NULL);
}
