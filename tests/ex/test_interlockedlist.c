/*
 * test_interlockedlist.c - include/kprcb/interlockedlist.h.
 */
#include "support/check.h"

#define ENTRIES 3

static LIST_ENTRY Head;
static SINGLE_LIST_ENTRY SingleHead;
static LIST_ENTRY Entries[ENTRIES];
static SINGLE_LIST_ENTRY Singles[ENTRIES];
static KSPIN_LOCK ListLock;
static ULONG MachineFlags;

static int SetUp(void **State)
{
    (void)State;
    Head.Flink = Head.Blink = &Head;
    SingleHead.Next = NULL;
    KeInitializeSpinLock(&ListLock);
    StartMachine(2, MachineFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    return 0;
}

static int TearDown(void **State)
{
    (void)State;
    assert_int_equal(ListLock, 0);
    assert_int_equal(KprcbThread.Masked, 0);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    StopMachine();
    return 0;
}

static void a_double_list_in_each_order(void **State)
{
    (void)State;
    assert_null(ExInterlockedRemoveHeadList(&Head, &ListLock));
    assert_null(ExInterlockedInsertHeadList(&Head, &Entries[0], &ListLock));
    assert_ptr_equal(ExInterlockedInsertHeadList(&Head, &Entries[1], &ListLock), &Entries[0]);
    assert_ptr_equal(ExInterlockedInsertTailList(&Head, &Entries[2], &ListLock), &Entries[0]);
    assert_ptr_equal(Head.Flink, &Entries[1]);
    assert_ptr_equal(Head.Blink, &Entries[2]);
    assert_ptr_equal(ExInterlockedRemoveHeadList(&Head, &ListLock), &Entries[1]);
    assert_ptr_equal(ExInterlockedRemoveHeadList(&Head, &ListLock), &Entries[0]);
    assert_ptr_equal(ExInterlockedRemoveHeadList(&Head, &ListLock), &Entries[2]);
    assert_null(ExInterlockedRemoveHeadList(&Head, &ListLock));
    assert_ptr_equal(Head.Flink, &Head);
    assert_ptr_equal(Head.Blink, &Head);
    assert_null(ExInterlockedInsertTailList(&Head, &Entries[0], &ListLock));
    assert_ptr_equal(ExInterlockedInsertTailList(&Head, &Entries[1], &ListLock), &Entries[0]);
}

static void a_single_list_is_last_in_first_out(void **State)
{
    (void)State;
    assert_null(ExInterlockedPopEntryList(&SingleHead, &ListLock));
    assert_null(ExInterlockedPushEntryList(&SingleHead, &Singles[0], &ListLock));
    assert_ptr_equal(ExInterlockedPushEntryList(&SingleHead, &Singles[1], &ListLock), &Singles[0]);
    assert_ptr_equal(ExInterlockedPopEntryList(&SingleHead, &ListLock), &Singles[1]);
    assert_ptr_equal(ExInterlockedPopEntryList(&SingleHead, &ListLock), &Singles[0]);
    assert_null(ExInterlockedPopEntryList(&SingleHead, &ListLock));
}

static void every_level(void **State)
{
    KIRQL OldIrql;

    for (KIRQL Level = PASSIVE_LEVEL; Level <= HIGH_LEVEL; Level += 1) {
        KeRaiseIrql(Level, &OldIrql);
        Head.Flink = Head.Blink = &Head;
        a_double_list_in_each_order(State);
        a_single_list_is_last_in_first_out(State);
        assert_int_equal(KeGetCurrentIrql(), Level);
        assert_int_equal(KprcbThread.Masked, 0);
        KeLowerIrql(OldIrql);
    }
}

static void *WithoutTheMachine(void *Context)
{
    (void)Context;
    Check(ExInterlockedPushEntryList(&SingleHead, &Singles[0], &ListLock) == NULL);
    Check(ExInterlockedPopEntryList(&SingleHead, &ListLock) == &Singles[0]);
    Check(KprcbThread.Thread == NULL);
    return NULL;
}

static void no_thread_is_attached(void **State)
{
    (void)State;
    JoinThread(StartThread(WithoutTheMachine, NULL));
    assert_int_equal(WrongLine, 0);
}

/* --- others --- */

static ULONG volatile Came, Went;

static void *Waiter(void *Context)
{
    KIRQL OldIrql;

    (void)Context;
    Check(KprcbAttachThread(1) == STATUS_SUCCESS);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    CountOne(&Came);
    Check(ExInterlockedPushEntryList(&SingleHead, &Singles[0], &ListLock) == NULL);
    CountOne(&Went);
    KeLowerIrql(OldIrql);
    Check(KprcbDetachThread() == STATUS_SUCCESS);
    return NULL;
}

static ULONG_PTR Nothing(ULONG_PTR Argument)
{
    return Argument;
}

static void who_waits_serves_interrupts(void **State)
{
    pthread_t Thread;

    (void)State;
    Came = Went = 0;
    __atomic_store_n(&ListLock, 1, __ATOMIC_RELEASE);
    Thread = StartThread(Waiter, NULL);
    AwaitCount(&Came, 1);
    assert_int_equal(KeIpiGenericCall(Nothing, 1), 1);
    assert_int_equal(Went, 0);
    __atomic_store_n(&ListLock, 0, __ATOMIC_RELEASE);
    JoinThread(Thread);
    assert_int_equal(WrongLine, 0);
    assert_ptr_equal(ExInterlockedPopEntryList(&SingleHead, &ListLock), &Singles[0]);
}

/* --- misuse --- */

static VOID InsertUnderItsLock(PVOID Context)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Context);
    KeAcquireSpinLock(&ListLock, &OldIrql);
    (VOID) ExInterlockedInsertHeadList(&Head, &Entries[0], &ListLock);
}

static void its_lock_must_not_be_held(void **State)
{
    KPRCB_BUGCHECK BugCheck;

    (void)State;
    assert_true(KprcbCatchBugCheck(InsertUnderItsLock, NULL, &BugCheck));
    assert_int_equal(BugCheck.Code, SPIN_LOCK_ALREADY_OWNED);
    assert_true(BugCheck.Parameter[0] == (ULONG_PTR)&ListLock);
}

static VOID InsertAtHead(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    (VOID) ExInterlockedInsertHeadList(&Head, &Entries[2], &ListLock);
}

static VOID InsertAtTail(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    (VOID) ExInterlockedInsertTailList(&Head, &Entries[2], &ListLock);
}

static VOID RemoveFromHead(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    (VOID) ExInterlockedRemoveHeadList(&Head, &ListLock);
}

static void a_corrupt_list_is_a_bug_check(void **State)
{
    static const struct {
        VOID (*Routine)(PVOID Context);
        BOOLEAN Forward; /* the wrong link of the one entry */
    } Cases[] = {{InsertAtHead, FALSE}, {InsertAtTail, TRUE}, {RemoveFromHead, FALSE}, {RemoveFromHead, TRUE}};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Cases); Index += 1) {
        KPRCB_BUGCHECK BugCheck;

        Head = (LIST_ENTRY){&Entries[0], &Entries[0]};
        Entries[0] = (LIST_ENTRY){&Head, &Head};
        Entries[1] = (LIST_ENTRY){NULL, NULL};
        *(Cases[Index].Forward ? &Entries[0].Flink : &Entries[0].Blink) = &Entries[1];
        assert_true(KprcbCatchBugCheck(Cases[Index].Routine, NULL, &BugCheck));
        assert_int_equal(BugCheck.Code, KERNEL_SECURITY_CHECK_FAILURE);
        assert_int_equal(BugCheck.Parameter[0], 3);
        assert_int_equal(ListLock, 0);
        assert_ptr_equal(Head.Flink, &Entries[0]);
        assert_ptr_equal(Head.Blink, &Entries[0]);
    }
}

int main(void)
{
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, SetUp, TearDown)
    const struct CMUnitTest Tests[] = {
        TEST(a_double_list_in_each_order),
        TEST(a_single_list_is_last_in_first_out),
        TEST(every_level),
        TEST(no_thread_is_attached),
        TEST(who_waits_serves_interrupts),
        TEST(a_corrupt_list_is_a_bug_check),
    };
    const struct CMUnitTest CheckedTests[] = {TEST(its_lock_must_not_be_held)};
    int Failed = cmocka_run_group_tests(Tests, NULL, NULL) + cmocka_run_group_tests(CheckedTests, NULL, NULL);

    MachineFlags = KPRCB_FREE_BUILD | KPRCB_NO_MEMBARRIER;
    return Failed + cmocka_run_group_tests(Tests, NULL, NULL);
}
