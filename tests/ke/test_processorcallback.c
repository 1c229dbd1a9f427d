/*
 * test_processorcallback.c - KeRegisterProcessorChangeCallback: who is told what in which order, errors, and the end of
 * a registration.
 *
 * Callbacks write what they are told into a log of words, one an event: who, state, processor.
 */
#include "support/check.h"
#include "support/child.h"

#include "ki.h"

#define EVENTS 64
#define EVENT(Who, State, Number) ((ULONG)(Who) << 16 | (ULONG)(State) << 8 | (ULONG)(Number))
#define START(Who, Number) EVENT(Who, KeProcessorAddStartNotify, Number)
#define COMPLETE(Who, Number) EVENT(Who, KeProcessorAddCompleteNotify, Number)
#define FAILURE(Who, Number) EVENT(Who, KeProcessorAddFailureNotify, Number)

typedef struct _LISTENER {
    ULONG Who;
    ULONG RefusedNumber; /* it sets Error at the start of this processor */
    NTSTATUS Error;
    VOID (*Act)(struct _LISTENER *, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT);
    PVOID Handle;
} LISTENER;

static ULONG Events[EVENTS];
static ULONG EventCount;
static NTSTATUS LastStatus; /* ChangeContext->Status of the last event */

static VOID Listen(PVOID CallbackContext, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT ChangeContext, PNTSTATUS OperationStatus)
{
    LISTENER *Listener = CallbackContext;
    ULONG Size = KeQueryMaximumProcessorCount();

    Check(KeGetCurrentIrql() == PASSIVE_LEVEL);
    Check(*OperationStatus == STATUS_SUCCESS);
    Check(ChangeContext->ProcNumber.Group == ChangeContext->NtNumber / Size);
    Check(ChangeContext->ProcNumber.Number == ChangeContext->NtNumber % Size);
    Check(ChangeContext->ProcNumber.Reserved == 0);
    Check(ChangeContext->State == KeProcessorAddFailureNotify || ChangeContext->Status == STATUS_SUCCESS);
    if (EventCount < EVENTS) {
        Events[EventCount] = EVENT(Listener->Who, ChangeContext->State, ChangeContext->NtNumber);
        EventCount += 1;
    }
    LastStatus = ChangeContext->Status;
    if (Listener->Act != NULL) {
        Listener->Act(Listener, ChangeContext);
    }
    if (Listener->Error != 0 && ChangeContext->State == KeProcessorAddStartNotify &&
        ChangeContext->NtNumber == Listener->RefusedNumber) {
        *OperationStatus = Listener->Error;
    }
}

static void Expect(const ULONG *Expected, ULONG Count)
{
    assert_int_equal(WrongLine, 0);
    assert_int_equal(EventCount, Count);
    for (ULONG Index = 0; Index < Count; Index += 1) {
        assert_int_equal(Events[Index], Expected[Index]);
    }
    EventCount = 0;
}

#define EXPECT(...)                                                                                                    \
    do {                                                                                                               \
        static const ULONG Expected[] = {__VA_ARGS__};                                                                 \
        Expect(Expected, ARRAYSIZE(Expected));                                                                         \
    } while (0)

static void StartWithRoom(ULONG Processors, ULONG Maximum, ULONG GroupSize)
{
    KPRCB_CONFIG Config = Configuration(Processors, GroupSize, 0);

    Config.MaximumProcessorCount = Maximum;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    EventCount = 0;
}

static LISTENER MakeListener(ULONG Who)
{
    return (LISTENER){.Who = Who};
}

static BOOLEAN Enlist(LISTENER *Listener, ULONG Flags)
{
    Listener->Handle = KeRegisterProcessorChangeCallback(Listen, Listener, Flags);
    return Listener->Handle != NULL;
}

static void test_told_of_the_start_and_of_completion(void **State)
{
    LISTENER First = MakeListener(1), Second = MakeListener(2);

    (void)State;
    StartWithRoom(2, 5, 2);
    assert_true(Enlist(&First, 0));
    assert_int_equal(EventCount, 0);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    EXPECT(START(1, 2), COMPLETE(1, 2));
    assert_true(Enlist(&Second, 0));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    EXPECT(START(1, 3), START(2, 3), COMPLETE(1, 3), COMPLETE(2, 3));
    KeDeregisterProcessorChangeCallback(First.Handle);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    EXPECT(START(2, 4), COMPLETE(2, 4));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_QUOTA_EXCEEDED);
    assert_int_equal(EventCount, 0);
    KeDeregisterProcessorChangeCallback(Second.Handle);
    StopMachine();
}

static void LookAtCount(LISTENER *Listener, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change)
{
    PROCESSOR_NUMBER Number;

    (void)Listener;
    if (Change->State == KeProcessorAddCompleteNotify) {
        Check(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) == Change->NtNumber + 1);
        Check(KeGetProcessorNumberFromIndex(Change->NtNumber, &Number) == STATUS_SUCCESS);
    } else {
        Check(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) == Change->NtNumber);
        Check(KeGetProcessorNumberFromIndex(Change->NtNumber, &Number) == STATUS_INVALID_PARAMETER);
    }
}

static void test_the_processor_is_active_at_completion_and_not_before(void **State)
{
    LISTENER Listener = MakeListener(1), Refusing = MakeListener(2);

    (void)State;
    StartWithRoom(1, 3, 0);
    Listener.Act = LookAtCount;
    assert_true(Enlist(&Listener, 0));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    Refusing.RefusedNumber = 2;
    Refusing.Error = STATUS_UNSUCCESSFUL;
    assert_true(Enlist(&Refusing, 0));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_UNSUCCESSFUL);
    EXPECT(START(1, 1), COMPLETE(1, 1), START(1, 2), START(2, 2), FAILURE(1, 2));
    StopMachine();
}

static void test_an_error_cancels_and_those_told_hear_of_the_failure(void **State)
{
    LISTENER First = MakeListener(1), Second = MakeListener(2), Third = MakeListener(3);
    PROCESSOR_NUMBER Number = {.Group = 99};

    (void)State;
    StartWithRoom(1, 2, 0);
    Second.RefusedNumber = 1;
    Second.Error = STATUS_INSUFFICIENT_RESOURCES;
    assert_true(Enlist(&First, 0) && Enlist(&Second, 0) && Enlist(&Third, 0));
    for (ULONG Try = 0; Try < 2; Try += 1) {
        assert_int_equal(KprcbAddProcessor(&Number), STATUS_INSUFFICIENT_RESOURCES);
        EXPECT(START(1, 1), START(2, 1), FAILURE(1, 1));
        assert_int_equal(LastStatus, STATUS_INSUFFICIENT_RESOURCES);
        assert_int_equal(KeQueryActiveProcessorCount(NULL), 1);
        assert_int_equal(Number.Group, 99);
    }
    Second.Error = STATUS_ALREADY_COMPLETE; /* no error */
    assert_int_equal(KprcbAddProcessor(&Number), STATUS_SUCCESS);
    EXPECT(START(1, 1), START(2, 1), START(3, 1), COMPLETE(1, 1), COMPLETE(2, 1), COMPLETE(3, 1));
    StopMachine();
}

static void AddOneInLittleMemory(void *Context)
{
    LISTENER Listener = MakeListener(1);
    KPRCB_CONFIG Config = Configuration(1, 0, 0);
    struct rlimit Little;

    (void)Context;
    Config.MaximumProcessorCount = KPRCB_MAXIMUM_PROCESSORS;
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS && Enlist(&Listener, 0));
    CHILD_CHECK(getrlimit(RLIMIT_AS, &Little) == 0);
    Little.rlim_cur = 1;
    CHILD_CHECK(setrlimit(RLIMIT_AS, &Little) == 0);
    do {
        EventCount = 0;
    } while (KprcbAddProcessor(NULL) == STATUS_SUCCESS);
    CHILD_CHECK(WrongLine == 0 && EventCount == 2 && LastStatus == STATUS_INSUFFICIENT_RESOURCES);
    CHILD_CHECK((Events[0] & 0xFFFF00) == START(1, 0) && (Events[1] & 0xFFFF00) == FAILURE(1, 0));
}

static void test_they_hear_of_a_failure_of_the_machine_itself(void **State)
{
    (void)State;
    if (TEST_SANITIZED) {
        skip(); /* a sanitizer allocates for each thread and dies of the limit */
    }
    ChildSucceeds(AddOneInLittleMemory, NULL);
}

/* --- Existing processors --- */

static void test_existing_processors_start_all_then_complete_all(void **State)
{
    LISTENER Listener = MakeListener(1);

    (void)State;
    StartWithRoom(3, 4, 0);
    assert_true(Enlist(&Listener, KE_PROCESSOR_CHANGE_ADD_EXISTING));
    EXPECT(START(1, 0), START(1, 1), START(1, 2), COMPLETE(1, 0), COMPLETE(1, 1), COMPLETE(1, 2));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    EXPECT(START(1, 3), COMPLETE(1, 3));
    StopMachine();
}

static void test_an_error_for_an_existing_processor_ends_the_registration(void **State)
{
    LISTENER Listener = MakeListener(1);

    (void)State;
    StartWithRoom(3, 4, 0);
    Listener.RefusedNumber = 2;
    Listener.Error = STATUS_NOT_SUPPORTED;
    assert_false(Enlist(&Listener, KE_PROCESSOR_CHANGE_ADD_EXISTING));
    EXPECT(START(1, 0), START(1, 1), START(1, 2), FAILURE(1, 0), FAILURE(1, 1));
    assert_int_equal(LastStatus, STATUS_NOT_SUPPORTED);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    assert_int_equal(EventCount, 0);
    StopMachine();
}

static void test_refused_registrations(void **State)
{
    LISTENER Listener = MakeListener(1);

    (void)State;
    StartWithRoom(1, 2, 0);
    assert_null(KeRegisterProcessorChangeCallback(NULL, NULL, 0));
    assert_false(Enlist(&Listener, 2));
    assert_false(Enlist(&Listener, 0xFFFFFFFF));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    assert_int_equal(EventCount, 0);
    StopMachine();
}

static void test_a_stopped_machine_has_forgotten_them(void **State)
{
    LISTENER Listener = MakeListener(1);

    (void)State;
    StartWithRoom(1, 2, 0);
    assert_true(Enlist(&Listener, 0));
    StopMachine();
    StartWithRoom(1, 2, 0);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    assert_int_equal(EventCount, 0);
    StopMachine();
}

/* --- Inside a callback --- */

static LISTENER Other;

static void TryEverything(LISTENER *Listener, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change)
{
    (void)Listener, (void)Change;
    Check(KprcbAddProcessor(NULL) == STATUS_INVALID_DEVICE_STATE);
    Check(KprcbStop() == STATUS_DEVICE_BUSY);
    Check(KprcbDetachThread() == STATUS_INVALID_DEVICE_STATE);
}

static void test_the_machine_stands_while_a_callback_runs(void **State)
{
    LISTENER Listener = MakeListener(1);

    (void)State;
    StartWithRoom(1, 2, 0);
    Listener.Act = TryEverything;
    assert_true(Enlist(&Listener, KE_PROCESSOR_CHANGE_ADD_EXISTING));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    EXPECT(START(1, 0), COMPLETE(1, 0), START(1, 1), COMPLETE(1, 1));
    assert_int_equal(KprcbDetachThread(), STATUS_SUCCESS);
    StopMachine();
}

static void DeregisterItself(LISTENER *Listener, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change)
{
    (void)Change;
    KeDeregisterProcessorChangeCallback(Listener->Handle);
}

static void DeregisterOther(LISTENER *Listener, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change)
{
    (void)Change;
    KeDeregisterProcessorChangeCallback(Other.Handle);
    Listener->Act = NULL;
}

static void RegisterOther(LISTENER *Listener, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change)
{
    (void)Change;
    Check(Enlist(&Other, KE_PROCESSOR_CHANGE_ADD_EXISTING));
    Listener->Act = NULL;
}

static void test_a_callback_may_deregister_itself_and_others(void **State)
{
    LISTENER First = MakeListener(1), Second = MakeListener(2);

    (void)State;
    StartWithRoom(1, 4, 0);
    Other = MakeListener(9);
    First.Act = DeregisterItself;
    Second.Act = DeregisterOther;
    assert_true(Enlist(&First, 0) && Enlist(&Second, 0) && Enlist(&Other, 0));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    EXPECT(START(1, 1), START(2, 1), COMPLETE(2, 1));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    EXPECT(START(2, 2), COMPLETE(2, 2));
    StopMachine();
}

static void test_a_callback_may_register_another(void **State)
{
    LISTENER First = MakeListener(1);

    (void)State;
    StartWithRoom(2, 4, 0);
    Other = MakeListener(9);
    First.Act = RegisterOther;
    assert_true(Enlist(&First, 0));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    /* Of the existing ones at once, and then in its turn of the one that is being added. */
    EXPECT(START(1, 2), START(9, 0), START(9, 1), COMPLETE(9, 0), COMPLETE(9, 1), START(9, 2), COMPLETE(1, 2),
           COMPLETE(9, 2));
    StopMachine();
}

static void BugCheckInside(LISTENER *Listener, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change)
{
    if (Change->NtNumber == Listener->RefusedNumber) {
        KeBugCheckEx(MANUALLY_INITIATED_CRASH, Change->State, 0, 0, 0);
    }
}

static VOID AddOne(PVOID Context)
{
    (void)Context;
    (void)KprcbAddProcessor(NULL);
}

static void test_a_bug_check_in_a_callback_leaves_nothing_locked(void **State)
{
    LISTENER First = MakeListener(1), Second = MakeListener(2);
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    StartWithRoom(1, 3, 0);
    Second.Act = BugCheckInside;
    Second.RefusedNumber = 1;
    assert_true(Enlist(&First, 0) && Enlist(&Second, 0));
    assert_true(KprcbCatchBugCheck(AddOne, NULL, &BugCheck));
    assert_int_equal(BugCheck.Code, MANUALLY_INITIATED_CRASH);
    assert_int_equal(BugCheck.Parameter[0], KeProcessorAddStartNotify);
    EXPECT(START(1, 1), START(2, 1));
    assert_int_equal(KeQueryActiveProcessorCount(NULL), 1);
    Second.Act = NULL;
    assert_false(KprcbCatchBugCheck(AddOne, NULL, &BugCheck));
    EXPECT(START(1, 1), START(2, 1), COMPLETE(1, 1), COMPLETE(2, 1));
    assert_int_equal(KprcbDetachThread(), STATUS_SUCCESS);
    StopMachine();
}

static VOID EnlistAll(PVOID Listener)
{
    (void)Enlist(Listener, KE_PROCESSOR_CHANGE_ADD_EXISTING);
}

static LISTENER Unwound;

static void EnlistInVain(LISTENER *Listener, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change)
{
    (void)Listener;
    if (Change->State == KeProcessorAddStartNotify) {
        Check(KprcbCatchBugCheck(EnlistAll, &Unwound, NULL));
    }
}

static void test_a_bug_check_ends_the_registration(void **State)
{
    LISTENER Outer = MakeListener(2);

    (void)State;
    StartWithRoom(1, 4, 0);
    Unwound = MakeListener(1);
    Unwound.Act = BugCheckInside;
    assert_true(KprcbCatchBugCheck(EnlistAll, &Unwound, NULL));
    EXPECT(START(1, 0));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    assert_int_equal(EventCount, 0);
    Outer.Act = EnlistInVain;
    assert_true(Enlist(&Outer, 0));
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    EXPECT(START(2, 2), START(1, 0), COMPLETE(2, 2));
    Outer.Act = NULL;
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    EXPECT(START(2, 3), COMPLETE(2, 3));
    StopMachine();
}

/* --- Threads --- */

static ULONG volatile Entered, Leave, Deregistered;

static void StayInside(LISTENER *Listener, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change)
{
    (void)Listener;
    if (Change->State == KeProcessorAddStartNotify) {
        CountOne(&Entered);
        AwaitCount(&Leave, 1);
        for (ULONG Step = 0; Step < 100; Step += 1) {
            sched_yield();
            Check(__atomic_load_n(&Deregistered, __ATOMIC_ACQUIRE) == 0);
        }
    } else {
        Check(__atomic_load_n(&Deregistered, __ATOMIC_ACQUIRE) == 0);
    }
}

static void *AdderThread(void *Context)
{
    Check(KprcbAddProcessor(Context) == STATUS_SUCCESS);
    return NULL;
}

static void test_deregistering_waits_for_a_callback_that_runs(void **State)
{
    LISTENER Listener = MakeListener(1);
    pthread_t Adder;

    (void)State;
    StartWithRoom(1, 2, 0);
    Entered = Leave = Deregistered = 0;
    Listener.Act = StayInside;
    assert_true(Enlist(&Listener, 0));
    Adder = StartThread(AdderThread, NULL);
    AwaitCount(&Entered, 1);
    CountOne(&Leave);
    KeDeregisterProcessorChangeCallback(Listener.Handle);
    CountOne(&Deregistered);
    JoinThread(Adder);
    EXPECT(START(1, 1), COMPLETE(1, 1));
    StopMachine();
}

static void test_adders_at_once_are_told_of_one_after_the_other(void **State)
{
    LISTENER Listener = MakeListener(1);
    pthread_t Adders[6];

    (void)State;
    StartWithRoom(1, 7, 0);
    assert_true(Enlist(&Listener, 0));
    for (ULONG Index = 0; Index < ARRAYSIZE(Adders); Index += 1) {
        Adders[Index] = StartThread(AdderThread, NULL);
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Adders); Index += 1) {
        JoinThread(Adders[Index]);
    }
    EXPECT(START(1, 1), COMPLETE(1, 1), START(1, 2), COMPLETE(1, 2), START(1, 3), COMPLETE(1, 3), START(1, 4),
           COMPLETE(1, 4), START(1, 5), COMPLETE(1, 5), START(1, 6), COMPLETE(1, 6));
    StopMachine();
}

/* --- Misuse --- */

static VOID RegisterTooHigh(PVOID Context)
{
    KIRQL OldIrql;

    KeRaiseIrql(APC_LEVEL, &OldIrql);
    (void)KeRegisterProcessorChangeCallback(Listen, Context, 0);
}

static VOID DeregisterTooHigh(PVOID Context)
{
    KIRQL OldIrql;

    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeDeregisterProcessorChangeCallback(Context);
}

static VOID DeregisterNothing(PVOID Context)
{
    KeDeregisterProcessorChangeCallback(Context);
}

static void StayHigh(LISTENER *Listener, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change)
{
    KIRQL OldIrql;

    (void)Listener, (void)Change;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
}

static void test_misuse_is_a_bug_check(void **State)
{
    LISTENER Listener = MakeListener(1);
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    StartWithRoom(1, 3, 0);
    assert_true(KprcbCatchBugCheck(RegisterTooHigh, &Listener, &BugCheck));
    assert_int_equal(BugCheck.Code, IRQL_NOT_LESS_OR_EQUAL);
    assert_true(Enlist(&Listener, 0));
    assert_true(KprcbCatchBugCheck(DeregisterTooHigh, Listener.Handle, &BugCheck));
    assert_int_equal(BugCheck.Code, IRQL_NOT_LESS_OR_EQUAL);
    KeDeregisterProcessorChangeCallback(Listener.Handle);
    assert_true(KprcbCatchBugCheck(DeregisterNothing, Listener.Handle, &BugCheck)); /* twice */
    assert_int_equal(BugCheck.Code, KERNEL_SECURITY_CHECK_FAILURE);
    assert_int_equal(BugCheck.Parameter[0], 3);
    assert_true(KprcbCatchBugCheck(DeregisterNothing, NULL, &BugCheck));
    assert_int_equal(BugCheck.Code, KERNEL_SECURITY_CHECK_FAILURE);
    Listener.Act = StayHigh;
    assert_true(Enlist(&Listener, 0));
    assert_true(KprcbCatchBugCheck(AddOne, NULL, &BugCheck));
    assert_int_equal(BugCheck.Code, IRQL_UNEXPECTED_VALUE);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    Listener.Act = NULL;
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_told_of_the_start_and_of_completion),
        cmocka_unit_test(test_the_processor_is_active_at_completion_and_not_before),
        cmocka_unit_test(test_an_error_cancels_and_those_told_hear_of_the_failure),
        cmocka_unit_test(test_they_hear_of_a_failure_of_the_machine_itself),
        cmocka_unit_test(test_existing_processors_start_all_then_complete_all),
        cmocka_unit_test(test_an_error_for_an_existing_processor_ends_the_registration),
        cmocka_unit_test(test_refused_registrations),
        cmocka_unit_test(test_a_stopped_machine_has_forgotten_them),
        cmocka_unit_test(test_the_machine_stands_while_a_callback_runs),
        cmocka_unit_test(test_a_callback_may_deregister_itself_and_others),
        cmocka_unit_test(test_a_callback_may_register_another),
        cmocka_unit_test(test_a_bug_check_in_a_callback_leaves_nothing_locked),
        cmocka_unit_test(test_a_bug_check_ends_the_registration),
        cmocka_unit_test(test_deregistering_waits_for_a_callback_that_runs),
        cmocka_unit_test(test_adders_at_once_are_told_of_one_after_the_other),
        cmocka_unit_test(test_misuse_is_a_bug_check),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
