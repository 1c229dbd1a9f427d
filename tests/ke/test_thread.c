/*
 * test_thread.c - attaching threads to processors, by name and by the first call, and detaching them.
 */
#include "ke/threadtest.h"

/* --- By name --- */

static void test_attach_makes_resident_and_restricts_affinity(void **State)
{
    (void)State;
    StartMachine(4, 0);
    for (ULONG Number = 0; Number < 4; Number += 1) {
        assert_int_equal(KprcbAttachThread(Number), STATUS_SUCCESS);
        assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), Number);
        assert_int_equal(OwnOnce(), Number);
        assert_ptr_equal(KiProcessor(Number)->Resident, KeGetCurrentThread());
        assert_ptr_equal(KprcbThread.Fast, KiMachine.Biased ? KiProcessor(Number) : NULL);
        for (ULONG Other = 0; Other < Number; Other += 1) {
            assert_null(KiProcessor(Other)->Resident);
        }
    }
    assert_int_equal(KprcbAttachThread(3), STATUS_SUCCESS);
    assert_int_equal(OwnOnce(), 3);
    StopMachine();
}

static void test_attach_out_of_range(void **State)
{
    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(2), STATUS_INVALID_PARAMETER);
    assert_int_equal(KprcbAttachThread(0xFFFFFFFF), STATUS_INVALID_PARAMETER);
    assert_null(KprcbThread.Thread);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(2), STATUS_INVALID_PARAMETER);
    assert_int_equal(OwnOnce(), 1);
    assert_ptr_equal(KiProcessor(1)->Resident, KeGetCurrentThread());
    StopMachine();
}

static void test_attach_to_a_processor_with_a_named_resident(void **State)
{
    pthread_t Holder;

    (void)State;
    StartMachine(3, 0);
    OpenGates();
    Holder = StartThread(HoldProcessor, (void *)1);
    AwaitCount(&Gate, 1);
    assert_int_equal(KprcbAttachThread(1), STATUS_ALREADY_REGISTERED);
    assert_null(KprcbThread.Thread);
    CountOne(&Release);
    assert_int_equal(JoinForStatus(Holder), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    StopMachine();
}

static void test_refused_attach_leaves_a_named_thread_where_it_was(void **State)
{
    pthread_t Holder;

    (void)State;
    StartMachine(3, 0);
    OpenGates();
    Holder = StartThread(HoldProcessor, (void *)1);
    AwaitCount(&Gate, 1);
    assert_int_equal(KprcbAttachThread(2), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(1), STATUS_ALREADY_REGISTERED);
    assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), 2);
    assert_int_equal(OwnOnce(), 2);
    assert_ptr_equal(KiProcessor(2)->Resident, KeGetCurrentThread());
    assert_int_equal(AttachElsewhere(2), STATUS_ALREADY_REGISTERED);
    CountOne(&Release);
    assert_int_equal(JoinForStatus(Holder), STATUS_SUCCESS);
    StopMachine();
}

static void test_refused_attach_leaves_an_auto_thread_where_it_was(void **State)
{
    pthread_t Holder;
    ULONG Home;

    (void)State;
    StartMachine(2, 0);
    OpenGates();
    Holder = StartThread(HoldProcessor, (void *)1);
    AwaitCount(&Gate, 1);
    Home = OwnOnce();
    assert_int_equal(Home, 0);
    assert_int_equal(KprcbAttachThread(1), STATUS_ALREADY_REGISTERED);
    assert_ptr_equal(KiProcessor(0)->Resident, KeGetCurrentThread());
    assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), 0);
    assert_int_equal(OwnOnce(), 0);
    CountOne(&Release);
    assert_int_equal(JoinForStatus(Holder), STATUS_SUCCESS);
    StopMachine();
}

/* Attaches to processor 0 by name, again and again. The first refusal, or STATUS_SUCCESS. */
static void *AttachAndDetach(void *Context)
{
    NTSTATUS Status = STATUS_SUCCESS;

    (void)Context;
    for (ULONG Round = 0; Round < 20000 && Status == STATUS_SUCCESS; Round += 1) {
        Status = KprcbAttachThread(0);
        if (Status == STATUS_SUCCESS) {
            Status = KprcbDetachThread();
        }
    }
    CountOne(&Gate);
    return (void *)(ULONG_PTR)(ULONG)Status;
}

static void test_refused_attach_does_not_pass_for_a_named_resident_meanwhile(void **State)
{
    pthread_t Holder, Named;

    (void)State;
    StartMachine(2, 0);
    OpenGates();
    Holder = StartThread(HoldProcessor, (void *)1);
    AwaitCount(&Gate, 1);
    (void)OwnOnce();
    Named = StartThread(AttachAndDetach, NULL);
    while (__atomic_load_n(&Gate, __ATOMIC_ACQUIRE) == 1) {
        (void)OwnOnce();
        for (ULONG Try = 0; Try < 100; Try += 1) {
            assert_int_equal(KprcbAttachThread(1), STATUS_ALREADY_REGISTERED);
        }
        assert_int_equal(KprcbDetachThread(), STATUS_SUCCESS);
    }
    CountOne(&Release);
    assert_int_equal(JoinForStatus(Named), STATUS_SUCCESS);
    assert_int_equal(JoinForStatus(Holder), STATUS_SUCCESS);
    StopMachine();
}

/* Lives on the processor of that number and wants processor 2, as another does. */
static void *WantProcessorTwo(void *Context)
{
    ULONG Home = (ULONG)(ULONG_PTR)Context;

    Check(KprcbAttachThread(Home) == STATUS_SUCCESS);
    for (ULONG Round = 1; Round <= 2000; Round += 1) {
        CountOne(&Gate);
        AwaitCount(&Gate, 2 * Round);
        if (KprcbAttachThread(2) == STATUS_SUCCESS) {
            Check(OwnOnce() == 2);
            Check(KprcbAttachThread(Home) == STATUS_SUCCESS);
        }
        Check(KeGetCurrentProcessorNumberEx(NULL) == Home);
        Check(OwnOnce() == Home);
        Check(KiProcessor(Home)->Resident == KeGetCurrentThread());
    }
    return NULL;
}

static void test_late_refusal_leaves_a_named_thread_where_it_was(void **State)
{
    pthread_t Threads[2];

    (void)State;
    StartMachine(3, 0);
    OpenGates();
    WrongLine = 0;
    Threads[0] = StartThread(WantProcessorTwo, (void *)0);
    Threads[1] = StartThread(WantProcessorTwo, (void *)1);
    JoinThread(Threads[0]);
    JoinThread(Threads[1]);
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void test_attach_and_detach_at_a_raised_level(void **State)
{
    static const KIRQL Levels[] = {APC_LEVEL, DISPATCH_LEVEL, SYNCH_LEVEL, HIGH_LEVEL};

    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        KIRQL OldIrql;

        KeRaiseIrql(Levels[Index], &OldIrql);
        assert_int_equal(KprcbAttachThread(1), STATUS_INVALID_DEVICE_STATE);
        assert_int_equal(KprcbAttachThread(0), STATUS_INVALID_DEVICE_STATE);
        assert_int_equal(KprcbAttachThread(99), STATUS_INVALID_DEVICE_STATE);
        assert_int_equal(KprcbDetachThread(), STATUS_INVALID_DEVICE_STATE);
        assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), 0);
        KeLowerIrql(OldIrql);
    }
    StopMachine();
}

static void test_detach_frees_the_residency(void **State)
{
    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbDetachThread(), STATUS_NOT_FOUND);
    for (ULONG Round = 0; Round < 10; Round += 1) {
        assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
        assert_int_equal(AttachElsewhere(1), STATUS_ALREADY_REGISTERED);
        assert_int_equal(KprcbDetachThread(), STATUS_SUCCESS);
        assert_null(KprcbThread.Thread);
        assert_null(KprcbThread.Fast);
        assert_int_equal(KprcbDetachThread(), STATUS_NOT_FOUND);
        assert_int_equal(AttachElsewhere(1), STATUS_SUCCESS);
    }
    StopMachine();
}

static void test_next_call_after_detach_attaches_anew(void **State)
{
    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    assert_int_equal(KprcbDetachThread(), STATUS_SUCCESS);
    OwnOnce();
    assert_non_null(KprcbThread.Thread);
    assert_int_equal(KeGetCurrentThread()->Kind, KiAutoThread);
    assert_int_equal(KeGetCurrentThread()->UserAffinity.Mask, 3);
    assert_int_equal(KprcbDetachThread(), STATUS_SUCCESS);
    StopMachine();
}

static VOID DetachInside(PVOID Context)
{
    *(NTSTATUS *)Context = KprcbDetachThread();
}

static void DetachInCatch(void *Context)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 2};
    NTSTATUS Status = STATUS_SUCCESS;

    (void)Context;
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(!KprcbCatchBugCheck(DetachInside, &Status, NULL));
    CHILD_CHECK(Status == STATUS_INVALID_DEVICE_STATE);
}

static void test_detach_inside_catch_is_refused(void **State)
{
    (void)State;
    ChildSucceeds(DetachInCatch, NULL);
}

static int CpusAtStart; /* of main, before any test */

static int CpusAllowed(void)
{
    cpu_set_t Set;

    assert_int_equal(sched_getaffinity(0, sizeof(Set), &Set), 0);
    return CPU_COUNT(&Set);
}

static void test_named_thread_is_pinned_while_it_is_attached(void **State)
{
    int Before = CpusAtStart;

    (void)State;
    StartMachine(4, 0);
    OwnOnce();
    assert_int_equal(CpusAllowed(), Before);
    for (ULONG Number = 0; Number < 4; Number += 1) {
        assert_int_equal(KprcbAttachThread(Number), STATUS_SUCCESS);
        assert_int_equal(CpusAllowed(), 1);
        assert_int_equal(sched_getcpu(), KiProcessor(Number)->HostProcessor);
    }
    assert_int_equal(KprcbDetachThread(), STATUS_SUCCESS);
    assert_int_equal(CpusAllowed(), Before);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    StopMachine();
    assert_int_equal(CpusAllowed(), Before);
    StartMachine(2, KPRCB_NO_PINNING);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    assert_int_equal(CpusAllowed(), Before);
    StopMachine();
}

/* --- By the first call --- */

#define AUTO_THREADS 8

static ULONG AutoHomes[AUTO_THREADS];
static BOOLEAN AutoResidents[AUTO_THREADS];

static void *AttachByCall(void *Context)
{
    ULONG Index = (ULONG)(ULONG_PTR)Context;

    AutoHomes[Index] = KeGetCurrentProcessorNumberEx(NULL);
    AutoResidents[Index] = KeGetCurrentThread()->Residence != NULL;
    CountOne(&Gate);
    AwaitCount(&Release, 1);
    return NULL;
}

static void test_first_calls_take_free_residencies_first(void **State)
{
    pthread_t Threads[AUTO_THREADS];
    ULONG Residents = 0, Seen = 0;

    (void)State;
    StartMachine(4, 0);
    OpenGates();
    for (ULONG_PTR Index = 0; Index < AUTO_THREADS; Index += 1) {
        Threads[Index] = StartThread(AttachByCall, (void *)Index);
        AwaitCount(&Gate, (ULONG)Index + 1);
    }
    CountOne(&Release);
    for (ULONG Index = 0; Index < AUTO_THREADS; Index += 1) {
        JoinThread(Threads[Index]);
        assert_int_equal(AutoResidents[Index], Index < 4);
        if (AutoResidents[Index]) {
            Residents += 1;
            Seen |= 1u << AutoHomes[Index];
        }
    }
    assert_int_equal(Residents, 4);
    assert_int_equal(Seen, 15);
    for (ULONG Number = 0; Number < 4; Number += 1) {
        assert_null(KiProcessor(Number)->Resident);
    }
    StopMachine();
}

/*
 * The owner of a processor without a resident waits at DISPATCH_LEVEL for a thread whose first call would make it the
 * resident there. On NT the thread runs on the other processor.
 */
static ULONG volatile FirstCallDone;

static void *FirstCall(void *Context)
{
    (void)Context;
    (void)KeGetCurrentThread();
    CountOne(&FirstCallDone);
    return NULL;
}

static void test_first_call_does_not_wait_for_an_owner(void **State)
{
    pthread_t Thread;
    KIRQL OldIrql;
    BOOLEAN Done;

    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    (void)KeSetSystemAffinityThreadEx(2);
    FirstCallDone = 0;
    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), 1);
    Thread = StartThread(FirstCall, NULL);
    /* Ends on success long before; the bound turns a hang into a failure. */
    for (ULONG Step = 0; Step < 300000 && __atomic_load_n(&FirstCallDone, __ATOMIC_ACQUIRE) == 0; Step += 1) {
        sched_yield();
    }
    Done = __atomic_load_n(&FirstCallDone, __ATOMIC_ACQUIRE) != 0;
    KeLowerIrql(OldIrql);
    JoinThread(Thread);
    StopMachine();
    assert_true(Done);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_attach_makes_resident_and_restricts_affinity),
        cmocka_unit_test(test_attach_out_of_range),
        cmocka_unit_test(test_attach_to_a_processor_with_a_named_resident),
        cmocka_unit_test(test_refused_attach_leaves_a_named_thread_where_it_was),
        cmocka_unit_test(test_refused_attach_leaves_an_auto_thread_where_it_was),
        cmocka_unit_test(test_refused_attach_does_not_pass_for_a_named_resident_meanwhile),
        cmocka_unit_test(test_late_refusal_leaves_a_named_thread_where_it_was),
        cmocka_unit_test(test_attach_and_detach_at_a_raised_level),
        cmocka_unit_test(test_detach_frees_the_residency),
        cmocka_unit_test(test_next_call_after_detach_attaches_anew),
        cmocka_unit_test(test_detach_inside_catch_is_refused),
        cmocka_unit_test(test_named_thread_is_pinned_while_it_is_attached),
        cmocka_unit_test(test_first_calls_take_free_residencies_first),
        cmocka_unit_test(test_first_call_does_not_wait_for_an_owner),
    };

    CpusAtStart = CpusAllowed();
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
