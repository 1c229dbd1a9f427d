/*
 * test_fork.c - the child of a fork, and a host that denies membarrier (in a child, since a filter stays).
 */
#include "support/child.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "ki.h"

/*
 * It takes the new threads of the child of a process with threads for those of the parent ("dup thread with used
 * id").
 */
static void SkipUnderThreadSanitizer(void)
{
#ifdef __SANITIZE_THREAD__
    skip();
#endif
}

static VOID CountDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Argument1, (void)Argument2;
    CountOne(Context);
}

static ULONG_PTR CountIpi(ULONG_PTR Context)
{
    CountOne((ULONG volatile *)Context);
    return 0;
}

static void *UseMachine(void *Context)
{
    ULONG volatile Calls = 0, Dpcs = 0;
    KDPC Dpc;

    (void)Context;
    for (ULONG Round = 0; Round < 100; Round += 1) {
        KeLowerIrql(KeRaiseIrqlToDpcLevel());
    }
    KeInitializeDpc(&Dpc, CountDpc, (PVOID)&Dpcs);
    KeSetImportanceDpc(&Dpc, HighImportance);
    KeSetTargetProcessorDpc(&Dpc, 1);
    CHILD_CHECK(KeInsertQueueDpc(&Dpc, NULL, NULL));
    KeFlushQueuedDpcs();
    CHILD_CHECK(Dpcs == 1);
    (void)KeIpiGenericCall(CountIpi, (ULONG_PTR)&Calls);
    CHILD_CHECK(Calls == KiMachine.ProcessorCount);
    return NULL;
}

static void UseOwnMachine(ULONG Processors)
{
    KPRCB_CONFIG Config = Configuration(Processors, 0, 0);
    pthread_t Threads[3];
    NTSTATUS Status;

    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(KiMachine.ProcessorCount == Processors);
    CHILD_CHECK(KprcbThread.Thread == NULL && KeGetCurrentIrql() == PASSIVE_LEVEL);
    for (ULONG Index = 0; Index < ARRAYSIZE(Threads); Index += 1) {
        CHILD_CHECK(pthread_create(&Threads[Index], NULL, UseMachine, NULL) == 0);
    }
    UseMachine(NULL);
    for (ULONG Index = 0; Index < ARRAYSIZE(Threads); Index += 1) {
        CHILD_CHECK(pthread_join(Threads[Index], NULL) == 0);
    }
    while ((Status = KprcbStop()) == STATUS_DEVICE_BUSY) {
        sched_yield();
    }
    CHILD_CHECK(Status == STATUS_SUCCESS);
}

static void StartAfterFork(void *Context)
{
    (void)Context;
    CHILD_CHECK(KprcbThread.Thread == NULL && KeGetCurrentIrql() == PASSIVE_LEVEL);
    CHILD_CHECK(KprcbStop() == STATUS_DEVICE_NOT_READY);
    CHILD_CHECK(KprcbDetachThread() == STATUS_NOT_FOUND);
    UseOwnMachine(3);
    UseOwnMachine(2);
}

static void StartByFirstCallAfterFork(void *Context)
{
    (void)Context;
    CHILD_CHECK(setenv("KPRCB_PROCESSORS", "7", 1) == 0);
    CHILD_CHECK(KeQueryActiveProcessorCount(NULL) == 7);
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);
}

static void ExitAtOnce(void)
{
    _exit(0);
}

static void ThreadEndsAfterFork(void *Context)
{
    (void)Context;
    /* The process ends with its only thread, status 0, but without a search for leaks, since all is still allocated. */
    CHILD_CHECK(atexit(ExitAtOnce) == 0);
    pthread_exit(NULL);
}

/*
 * Starts a machine and waits until its threads sleep: in a child that is forked while another thread is about to
 * start, AddressSanitizer may wait for a lock of that thread.
 */
static void StartQuietMachine(ULONG Processors)
{
    StartMachine(Processors, 0);
    for (ULONG Index = 0; Index < Processors; Index += 1) {
        while ((__atomic_load_n(&KiProcessor(Index)->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_PARKED) == 0) {
            sched_yield();
        }
    }
}

static void test_child_of_a_fork_is_an_unstarted_machine(void **State)
{
    (void)State;
    SkipUnderThreadSanitizer();
    StartQuietMachine(4);
    ChildSucceeds(StartAfterFork, NULL);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    ChildSucceeds(StartAfterFork, NULL);
    ChildSucceeds(StartByFirstCallAfterFork, NULL);
    ChildSucceeds(ThreadEndsAfterFork, NULL);
    assert_int_equal(KeQueryActiveProcessorCount(NULL), 4);
    assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), 1);
    StopMachine();
}

static VOID ForkHere(PVOID Context)
{
    (void)Context;
    ChildSucceeds(StartAfterFork, NULL);
}

static void test_fork_at_dispatch_level(void **State)
{
    KIRQL OldIrql;

    (void)State;
    SkipUnderThreadSanitizer();
    StartQuietMachine(2);
    OldIrql = KeRaiseIrqlToDpcLevel();
    ForkHere(NULL);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeLowerIrql(OldIrql);
    StopMachine();
}

static VOID BugCheckHere(PVOID Context)
{
    (void)Context;
    KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4);
}

static pid_t CatchChild;

static VOID ForkInCatch(PVOID Context)
{
    (void)Context;
    CatchChild = fork();
    if (CatchChild == 0) {
        KPRCB_CONFIG Config = Configuration(2, 0, 0);
        KPRCB_BUGCHECK BugCheck;

        /* The catchers of the parent are none of the child's. */
        CHILD_CHECK(KiCatchers == 0);
        CHILD_CHECK(KprcbCatchBugCheck(BugCheckHere, NULL, &BugCheck));
        CHILD_CHECK(BugCheck.Code == MANUALLY_INITIATED_CRASH && KiCatchers == 0);
        CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);
        CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    }
}

static void ReturnFromCatchInChild(void *Context)
{
    KPRCB_CONFIG Config = Configuration(2, 0, 0);
    int Status;

    (void)Context;
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(!KprcbCatchBugCheck(ForkInCatch, NULL, NULL));
    CHILD_CHECK(KiCatchers == 0);
    CHILD_CHECK(CatchChild >= 0);
    CHILD_CHECK(CatchChild == 0 || (waitpid(CatchChild, &Status, 0) == CatchChild && Status == 0));
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);
}

static void test_fork_inside_catch(void **State)
{
    (void)State;
    SkipUnderThreadSanitizer();
    ChildSucceeds(ReturnFromCatchInChild, NULL);
}

static void StartWithoutMembarrier(void *Context)
{
    struct sock_filter Filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog Program = {.len = ARRAYSIZE(Filter), .filter = Filter};
    KPRCB_CONFIG Config = Configuration(2, 0, 0);

    (void)Context;
    CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHILD_CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &Program) == 0);
    UseOwnMachine(2);
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(!KiMachine.Biased);
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);
}

static void test_host_that_denies_membarrier(void **State)
{
    (void)State;
    ChildSucceeds(StartWithoutMembarrier, NULL);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_child_of_a_fork_is_an_unstarted_machine),
        cmocka_unit_test(test_fork_at_dispatch_level),
        cmocka_unit_test(test_fork_inside_catch),
        cmocka_unit_test(test_host_that_denies_membarrier),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
