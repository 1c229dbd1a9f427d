/*
 * test_threadend.c - what happens when a thread ends: its residency, its level, destructors that call the library.
 */
#include "ke/threadtest.h"

static void test_end_of_a_thread_frees_its_residency(void **State)
{
    (void)State;
    StartMachine(2, 0);
    for (ULONG Round = 0; Round < 20; Round += 1) {
        assert_int_equal(AttachElsewhere(Round % 2), STATUS_SUCCESS);
    }
    assert_null(KiProcessor(0)->Resident);
    assert_null(KiProcessor(1)->Resident);
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
}

static void *CallAndEnd(void *Context)
{
    (void)Context;
    OwnOnce();
    return NULL;
}

static void test_many_threads_come_and_go(void **State)
{
    pthread_t Threads[16];

    (void)State;
    StartMachine(2, 0);
    for (ULONG Round = 0; Round < (TEST_SANITIZED ? 20u : 100u); Round += 1) {
        for (ULONG Index = 0; Index < ARRAYSIZE(Threads); Index += 1) {
            Threads[Index] = StartThread(CallAndEnd, NULL);
        }
        for (ULONG Index = 0; Index < ARRAYSIZE(Threads); Index += 1) {
            JoinThread(Threads[Index]);
        }
    }
    assert_int_equal(KiOtherThreads(), 0);
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
}

static void *EndAtApcLevel(void *Context)
{
    KIRQL OldIrql;

    Check(KprcbAttachThread((ULONG)(ULONG_PTR)Context) == STATUS_SUCCESS);
    KeRaiseIrql(APC_LEVEL, &OldIrql);
    return NULL;
}

static void test_end_at_apc_level(void **State)
{
    (void)State;
    StartMachine(2, 0);
    WrongLine = 0;
    JoinThread(StartThread(EndAtApcLevel, (void *)1));
    assert_int_equal(WrongLine, 0);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    StopMachine();
}

static void *EndAtLevel(void *Context)
{
    KIRQL OldIrql;

    KeRaiseIrql((KIRQL)(ULONG_PTR)Context, &OldIrql);
    return NULL;
}

static void EndThreadAtLevel(void *Context)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 2};
    pthread_t Thread;

    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(pthread_create(&Thread, NULL, EndAtLevel, Context) == 0);
    CHILD_CHECK(pthread_join(Thread, NULL) == 0);
}

static void test_end_at_dispatch_level_is_a_bug_check(void **State)
{
    (void)State;
    ChildSucceeds(EndThreadAtLevel, (void *)APC_LEVEL);
    ChildAborts(EndThreadAtLevel, (void *)DISPATCH_LEVEL, "KERNEL_APC_PENDING_DURING_EXIT");
    ChildAborts(EndThreadAtLevel, (void *)SYNCH_LEVEL, "KERNEL_APC_PENDING_DURING_EXIT");
    ChildAborts(EndThreadAtLevel, (void *)HIGH_LEVEL, "KERNEL_APC_PENDING_DURING_EXIT");
}

static VOID EndInDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    pthread_exit(NULL);
}

/* Context not NULL: a threaded one. */
static void EndMachinesThread(void *Context)
{
    KDPC Dpc;

    StartMachine(2, 0);
    if (Context != NULL) {
        KeInitializeThreadedDpc(&Dpc, EndInDpc, NULL);
    } else {
        KeInitializeDpc(&Dpc, EndInDpc, NULL);
    }
    KeSetTargetProcessorDpc(&Dpc, 1);
    KeSetImportanceDpc(&Dpc, HighImportance);
    (void)alarm(20); /* it was a hang once */
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
}

static void test_end_of_a_thread_of_the_machine_is_a_bug_check(void **State)
{
    (void)State;
    ChildAborts(EndMachinesThread, NULL, "KERNEL_APC_PENDING_DURING_EXIT");
    ChildAborts(EndMachinesThread, "threaded", "KERNEL_APC_PENDING_DURING_EXIT");
}

static VOID EndHere(PVOID Context)
{
    KeRaiseIrqlToDpcLevel();
    if (Context == NULL) {
        KeLowerIrql(PASSIVE_LEVEL);
    }
    pthread_exit(NULL);
}

static void *EndCaught(void *Context)
{
    (void)KprcbCatchBugCheck(EndHere, Context, NULL);
    return NULL;
}

static void EndThreadCaught(void *Context)
{
    StartMachine(1, 0);
    JoinThread(StartThread(EndCaught, Context));
}

static void test_end_inside_a_catcher_is_a_bug_check(void **State)
{
    (void)State;
    ChildAborts(EndThreadCaught, NULL, "KERNEL_APC_PENDING_DURING_EXIT");
    ChildAborts(EndThreadCaught, "above", "KERNEL_APC_PENDING_DURING_EXIT");
}

static pthread_key_t EarlyKey, LateKey;
static ULONG DestructorCalls;
static BOOLEAN SameThread, AttachedAnew;
static PKTHREAD ThreadBefore;

static void EarlyDestructor(void *Context)
{
    (void)Context;
    DestructorCalls += 1;
    SameThread = KeGetCurrentThread() == ThreadBefore;
    OwnOnce();
}

/* Sets itself again until the library has let go of the thread, and then calls it. */
static void LateDestructor(void *Context)
{
    DestructorCalls += 1;
    if (KprcbThread.Thread != NULL) {
        pthread_setspecific(LateKey, Context);
        return;
    }
    AttachedAnew = TRUE;
    OwnOnce();
    AttachedAnew = KprcbThread.Thread != NULL;
}

static void *EndWithDestructors(void *Context)
{
    ThreadBefore = KeGetCurrentThread();
    OwnOnce();
    pthread_setspecific((ULONG_PTR)Context == 0 ? EarlyKey : LateKey, &DestructorCalls);
    return NULL;
}

static void test_calls_in_destructors_of_the_program(void **State)
{
    (void)State;
    StartMachine(2, 0);
    assert_int_equal(pthread_key_create(&EarlyKey, EarlyDestructor), 0);
    assert_int_equal(pthread_key_create(&LateKey, LateDestructor), 0);
    DestructorCalls = 0;
    JoinThread(StartThread(EndWithDestructors, (void *)0));
    assert_int_equal(DestructorCalls, 1);
    assert_true(SameThread);
    assert_int_equal(KiOtherThreads(), 0);
    DestructorCalls = 0;
    JoinThread(StartThread(EndWithDestructors, (void *)1));
    assert_true(DestructorCalls >= 2);
    assert_true(AttachedAnew);
    assert_int_equal(KiOtherThreads(), 0);
    assert_null(KiProcessor(0)->Resident);
    assert_null(KiProcessor(1)->Resident);
    pthread_key_delete(EarlyKey);
    pthread_key_delete(LateKey);
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
}

/* A machine that has been stopped is not started again by threads that end. */
static void *OutliveMachine(void *Context)
{
    (void)Context;
    OwnOnce();
    Check(KprcbDetachThread() == STATUS_SUCCESS);
    CountOne(&Gate);
    AwaitCount(&Release, 1);
    return NULL;
}

static void test_thread_that_was_detached_outlives_the_machine(void **State)
{
    pthread_t Thread;

    (void)State;
    StartMachine(2, 0);
    OpenGates();
    WrongLine = 0;
    Thread = StartThread(OutliveMachine, NULL);
    AwaitCount(&Gate, 1);
    assert_int_equal(KprcbStop(), STATUS_SUCCESS);
    CountOne(&Release);
    JoinThread(Thread);
    assert_int_equal(WrongLine, 0);
    assert_int_equal(KprcbStop(), STATUS_DEVICE_NOT_READY);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_end_of_a_thread_frees_its_residency),
        cmocka_unit_test(test_many_threads_come_and_go),
        cmocka_unit_test(test_end_at_apc_level),
        cmocka_unit_test(test_end_at_dispatch_level_is_a_bug_check),
        cmocka_unit_test(test_end_of_a_thread_of_the_machine_is_a_bug_check),
        cmocka_unit_test(test_end_inside_a_catcher_is_a_bug_check),
        cmocka_unit_test(test_calls_in_destructors_of_the_program),
        cmocka_unit_test(test_thread_that_was_detached_outlives_the_machine),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
