/*
 * test_machine.c - KprcbStart, KprcbStop, and the start by the first call. What may be asked for: test_config.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support/child.h"

#include "ki.h"

/* --- Capturing what the library writes to stderr --- */

static int SavedError;
static FILE *Captured;

static void BeginCapture(void)
{
    Captured = tmpfile();
    assert_non_null(Captured);
    SavedError = dup(2);
    assert_true(SavedError >= 0);
    assert_true(dup2(fileno(Captured), 2) >= 0);
}

static void EndCapture(char *Text, size_t Size)
{
    size_t Length;

    assert_true(dup2(SavedError, 2) >= 0);
    close(SavedError);
    rewind(Captured);
    Length = fread(Text, 1, Size - 1, Captured);
    Text[Length] = '\0';
    fclose(Captured);
}

static void StopIsBusy(const char *Reason)
{
    char Text[1024];
    NTSTATUS Status;

    BeginCapture();
    Status = KprcbStop();
    EndCapture(Text, sizeof(Text));
    assert_int_equal(Status, STATUS_DEVICE_BUSY);
    assert_non_null(strstr(Text, Reason));
}

/* --- Start and stop --- */

static void test_start_twice_stop_twice_and_again(void **State)
{
    KPRCB_CONFIG Config = Configuration(3, 0, 0);

    (void)State;
    assert_int_equal(KprcbStop(), STATUS_DEVICE_NOT_READY);
    for (ULONG Round = 0; Round < 20; Round += 1) {
        Config.ProcessorCount = Round % 5 + 1;
        assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
        assert_int_equal(KprcbStart(&Config), STATUS_ALREADY_INITIALIZED);
        assert_int_equal(KprcbStart(NULL), STATUS_ALREADY_INITIALIZED);
        assert_int_equal(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), Round % 5 + 1);
        assert_int_equal(KprcbStop(), STATUS_SUCCESS);
        assert_int_equal(KprcbStop(), STATUS_DEVICE_NOT_READY);
    }
}

static void test_start_does_not_attach_and_stop_detaches(void **State)
{
    (void)State;
    StartMachine(2, 0);
    assert_null(KprcbThread.Thread);
    assert_int_equal(KprcbDetachThread(), STATUS_NOT_FOUND);
    assert_non_null(KeGetCurrentThread());
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
    assert_null(KprcbThread.Thread);
    assert_null(KprcbThread.Fast);
    assert_int_equal(KprcbDetachThread(), STATUS_NOT_FOUND);
}

static void test_stop_by_a_thread_that_is_not_attached(void **State)
{
    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
    assert_null(KprcbThread.Thread);
}

static void test_default_is_a_processor_for_each_cpu(void **State)
{
    cpu_set_t Set;

    (void)State;
    assert_int_equal(sched_getaffinity(0, sizeof(Set), &Set), 0);
    assert_int_equal(KprcbStart(NULL), STATUS_SUCCESS);
    assert_int_equal(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), CPU_COUNT(&Set));
    StopMachine();
}

static void test_free_build_and_checked_build(void **State)
{
    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KeGetCurrentPrcb()->BuildType, PRCB_BUILD_DEBUG);
    StopMachine();
    StartMachine(2, KPRCB_FREE_BUILD);
    assert_int_equal(KeGetCurrentPrcb()->BuildType, 0);
    StopMachine();
}

static void test_from_1_to_1280_processors(void **State)
{
    static const ULONG Counts[] = {1, 2, 31, 32, 33, 63, 64, 65, 300, KPRCB_MAXIMUM_PROCESSORS};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Counts); Index += 1) {
        if (TEST_SANITIZED && Counts[Index] > 65) {
            continue; /* test_processor.c starts 1,280 once; each time takes a sanitizer seconds */
        }
        StartMachine(Counts[Index], 0);
        assert_int_equal(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), Counts[Index]);
        assert_int_equal(KeQueryActiveGroupCount(), (Counts[Index] + KPRCB_GROUP_SIZE - 1) / KPRCB_GROUP_SIZE);
        /* The last one works. */
        assert_int_equal(KprcbAttachThread(Counts[Index] - 1), STATUS_SUCCESS);
        KeLowerIrql(KeRaiseIrqlToDpcLevel());
        assert_int_equal(KeGetCurrentPrcb()->Number, Counts[Index] - 1);
        StopMachine();
    }
}

static void StartInLittleMemory(void *Context)
{
    KPRCB_CONFIG Config = Configuration(KPRCB_MAXIMUM_PROCESSORS, 0, 0);
    struct rlimit Limit, Before;

    (void)Context;
    CHILD_CHECK(getrlimit(RLIMIT_AS, &Before) == 0);
    /* Enough for the processors; the idle threads need 256 KiB each. */
    Limit = Before;
    Limit.rlim_cur = 128u << 20;
    CHILD_CHECK(setrlimit(RLIMIT_AS, &Limit) == 0);
    CHILD_CHECK(KprcbStart(&Config) == STATUS_INSUFFICIENT_RESOURCES);
    CHILD_CHECK(KprcbStop() == STATUS_DEVICE_NOT_READY);
    /* Not even for those. */
    Limit.rlim_cur = 16u << 20;
    CHILD_CHECK(setrlimit(RLIMIT_AS, &Limit) == 0);
    CHILD_CHECK(KprcbStart(&Config) == STATUS_INSUFFICIENT_RESOURCES);
    CHILD_CHECK(KprcbStop() == STATUS_DEVICE_NOT_READY);
    CHILD_CHECK(KprcbAttachThread(0) == STATUS_SUCCESS || KprcbThread.Thread == NULL);
    CHILD_CHECK(setrlimit(RLIMIT_AS, &Before) == 0);
    (void)KprcbStop();
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);
}

static void test_nothing_is_started_without_memory(void **State)
{
    (void)State;
    if (TEST_SANITIZED) {
        skip(); /* the shadow memory is larger than any limit */
    }
    ChildSucceeds(StartInLittleMemory, NULL);
}

/* --- Several threads at once --- */

#define STARTERS 6

static ULONG volatile StartGate, Started, AlreadyStarted;

static void *StartAtOnce(void *Context)
{
    KPRCB_CONFIG Config = Configuration(2, 0, 0);
    NTSTATUS Status;

    (void)Context;
    MeetAtGate(&StartGate, STARTERS);
    Status = KprcbStart(&Config);
    if (Status == STATUS_SUCCESS) {
        CountOne(&Started);
    } else if (Status == STATUS_ALREADY_INITIALIZED) {
        CountOne(&AlreadyStarted);
    }
    return NULL;
}

static void test_one_of_several_threads_starts(void **State)
{
    pthread_t Threads[STARTERS];

    (void)State;
    for (ULONG Round = 0; Round < 20; Round += 1) {
        StartGate = Started = AlreadyStarted = 0;
        for (ULONG Index = 0; Index < STARTERS; Index += 1) {
            Threads[Index] = StartThread(StartAtOnce, NULL);
        }
        for (ULONG Index = 0; Index < STARTERS; Index += 1) {
            JoinThread(Threads[Index]);
        }
        assert_int_equal(Started, 1);
        assert_int_equal(AlreadyStarted, STARTERS - 1);
        assert_int_equal(KprcbStop(), STATUS_SUCCESS);
    }
}

static void *CallAtOnce(void *Context)
{
    MeetAtGate(&StartGate, STARTERS);
    switch ((ULONG_PTR)Context % 4) {
    case 0:
        KeLowerIrql(KeRaiseIrqlToDpcLevel());
        break;
    case 1:
        (void)KeGetCurrentThread();
        break;
    case 2:
        (void)KeGetCurrentProcessorNumberEx(NULL);
        break;
    default:
        (void)KeSetSystemAffinityThreadEx(1);
        break;
    }
    CountOne(&Started);
    return NULL;
}

static void test_first_calls_of_several_threads_start_one_machine(void **State)
{
    pthread_t Threads[STARTERS];

    (void)State;
    for (ULONG Round = 0; Round < 20; Round += 1) {
        StartGate = Started = 0;
        for (ULONG_PTR Index = 0; Index < STARTERS; Index += 1) {
            Threads[Index] = StartThread(CallAtOnce, (void *)(Index + Round));
        }
        for (ULONG Index = 0; Index < STARTERS; Index += 1) {
            JoinThread(Threads[Index]);
        }
        assert_int_equal(Started, STARTERS);
        assert_int_equal(KprcbStart(NULL), STATUS_ALREADY_INITIALIZED);
        assert_int_equal(KprcbStop(), STATUS_SUCCESS);
    }
}

static void test_attach_starts_the_machine(void **State)
{
    (void)State;
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    assert_int_equal(KprcbStart(NULL), STATUS_ALREADY_INITIALIZED);
    StopMachine();
}

/* --- Stop refused --- */

static void test_stop_at_a_raised_level_is_refused(void **State)
{
    static const KIRQL Levels[] = {APC_LEVEL, DISPATCH_LEVEL, SYNCH_LEVEL, HIGH_LEVEL};

    (void)State;
    StartMachine(2, 0);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        KIRQL OldIrql;

        KeRaiseIrql(Levels[Index], &OldIrql);
        assert_int_equal(KprcbStop(), STATUS_INVALID_DEVICE_STATE);
        KeLowerIrql(OldIrql);
    }
    StopMachine();
}

static ULONG volatile StopGate, StopDone;
static NTSTATUS FromDpc[3];

static void CallAll(NTSTATUS *Status)
{
    Status[0] = KprcbStop();
    Status[1] = KprcbAttachThread(0);
    Status[2] = KprcbDetachThread();
}

static VOID CallAllDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Argument1, (void)Argument2;
    if (Context != NULL) {
        KeLowerIrql(PASSIVE_LEVEL); /* a free build lets it */
    }
    CallAll(FromDpc);
    CountOne(&StopDone);
}

static ULONG_PTR CallAllIpi(ULONG_PTR Context)
{
    if (KeGetCurrentProcessorNumberEx(NULL) == Context) {
        CallAll(FromDpc);
    }
    return 0;
}

static void AllInvalidState(void)
{
    for (ULONG Index = 0; Index < ARRAYSIZE(FromDpc); Index += 1) {
        assert_int_equal(FromDpc[Index], STATUS_INVALID_DEVICE_STATE);
        FromDpc[Index] = STATUS_SUCCESS;
    }
}

static void test_start_stop_attach_and_detach_in_a_dpc_and_in_an_ipi(void **State)
{
    KDPC Dpc;

    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    for (CCHAR Number = 0; Number < 2; Number += 1) {
        StopDone = 0;
        KeInitializeDpc(&Dpc, CallAllDpc, NULL);
        KeSetImportanceDpc(&Dpc, HighImportance);
        KeSetTargetProcessorDpc(&Dpc, Number);
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        AwaitCount(&StopDone, 1);
        AllInvalidState();
        (void)KeIpiGenericCall(CallAllIpi, (ULONG_PTR)Number);
        AllInvalidState();
    }
    StopMachine();
}

static void test_thread_of_the_machine_below_dispatch_level_is_refused(void **State)
{
    KDPC Dpc;

    (void)State;
    StartMachine(2, KPRCB_FREE_BUILD);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    StopDone = 0;
    KeInitializeDpc(&Dpc, CallAllDpc, &Dpc);
    KeSetImportanceDpc(&Dpc, HighImportance);
    KeSetTargetProcessorDpc(&Dpc, 1);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    AwaitCount(&StopDone, 1);
    AllInvalidState();
    StopMachine();
}

static void *StayAttached(void *Context)
{
    (void)Context;
    (void)KeGetCurrentThread();
    CountOne(&StopGate);
    AwaitCount(&StopDone, 1);
    return NULL;
}

static void test_stop_with_another_thread_attached_is_busy(void **State)
{
    pthread_t Thread;

    (void)State;
    StartMachine(2, 0);
    StopGate = StopDone = 0;
    Thread = StartThread(StayAttached, NULL);
    AwaitCount(&StopGate, 1);
    StopIsBusy("other threads are attached");
    (void)KeGetCurrentThread();
    StopIsBusy("other threads are attached");
    assert_non_null(KprcbThread.Thread);
    CountOne(&StopDone);
    JoinThread(Thread);
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
}

static VOID BlockingDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Context, (void)Argument1, (void)Argument2;
    CountOne(&StopGate);
    AwaitCount(&StopDone, 1);
}

static void test_stop_with_a_dpc_queued_or_running_is_busy(void **State)
{
    KDPC Running, Queued;

    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    StopGate = StopDone = 0;
    KeInitializeDpc(&Running, BlockingDpc, NULL);
    KeSetImportanceDpc(&Running, HighImportance);
    KeSetTargetProcessorDpc(&Running, 1);
    assert_true(KeInsertQueueDpc(&Running, NULL, NULL));
    AwaitCount(&StopGate, 1);
    StopIsBusy("DPCs are queued or running");
    KeInitializeDpc(&Queued, BlockingDpc, NULL);
    KeSetTargetProcessorDpc(&Queued, 1);
    assert_true(KeInsertQueueDpc(&Queued, NULL, NULL));
    StopIsBusy("DPCs are queued or running");
    CountOne(&StopDone);
    KeFlushQueuedDpcs();
    assert_int_equal(StopGate, 2);
    StopMachine();
}

static VOID BlockingWorker(PKIPI_CONTEXT PacketContext, PVOID Parameter1, PVOID Parameter2, PVOID Parameter3)
{
    (void)Parameter1, (void)Parameter2, (void)Parameter3;
    CountOne(&StopGate);
    AwaitCount(&StopDone, 1);
    KiIpiSignalPacketDone(PacketContext);
}

static void test_stop_with_an_ipi_under_way_is_busy(void **State)
{
    KIRQL OldIrql;

    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    StopGate = StopDone = 0;
    OldIrql = KeRaiseIrqlToDpcLevel();
    KiIpiSendPacket(2, BlockingWorker, NULL, 0, NULL);
    KeLowerIrql(OldIrql);
    StopIsBusy("an IPI is under way");
    AwaitCount(&StopGate, 1);
    StopIsBusy("an IPI is under way");
    CountOne(&StopDone);
    StopMachine();
}

static VOID StopInCatch(PVOID Context)
{
    (void)Context;
    StopIsBusy("the caller is inside");
}

static void test_stop_inside_catch_is_busy(void **State)
{
    (void)State;
    StartMachine(2, 0);
    assert_false(KprcbCatchBugCheck(StopInCatch, NULL, NULL));
    StopMachine();
}

static void test_version_is_a_number_of_three_parts(void **State)
{
    unsigned Major, Minor, Patch;

    (void)State;
    assert_int_equal(sscanf(KprcbVersion(), "%u.%u.%u", &Major, &Minor, &Patch), 3);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_start_twice_stop_twice_and_again),
        cmocka_unit_test(test_start_does_not_attach_and_stop_detaches),
        cmocka_unit_test(test_stop_by_a_thread_that_is_not_attached),
        cmocka_unit_test(test_default_is_a_processor_for_each_cpu),
        cmocka_unit_test(test_free_build_and_checked_build),
        cmocka_unit_test(test_from_1_to_1280_processors),
        cmocka_unit_test(test_nothing_is_started_without_memory),
        cmocka_unit_test(test_one_of_several_threads_starts),
        cmocka_unit_test(test_first_calls_of_several_threads_start_one_machine),
        cmocka_unit_test(test_attach_starts_the_machine),
        cmocka_unit_test(test_stop_at_a_raised_level_is_refused),
        cmocka_unit_test(test_start_stop_attach_and_detach_in_a_dpc_and_in_an_ipi),
        cmocka_unit_test(test_thread_of_the_machine_below_dispatch_level_is_refused),
        cmocka_unit_test(test_stop_with_another_thread_attached_is_busy),
        cmocka_unit_test(test_stop_with_a_dpc_queued_or_running_is_busy),
        cmocka_unit_test(test_stop_with_an_ipi_under_way_is_busy),
        cmocka_unit_test(test_stop_inside_catch_is_busy),
        cmocka_unit_test(test_version_is_a_number_of_three_parts),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
