/*
 * test_addprocessor.c - KprcbAddProcessor: counts and masks, what the new processor is, who may run on it, refusals.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support/check.h"
#include "support/child.h"

#include "ki.h"

static void StartWithRoom(ULONG Processors, ULONG Maximum, ULONG GroupSize)
{
    KPRCB_CONFIG Config = Configuration(Processors, GroupSize, 0);

    Config.MaximumProcessorCount = Maximum;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
}

static KAFFINITY MaskOf(ULONG Count)
{
    return Count == 0 ? 0 : ~(KAFFINITY)0 >> (8 * sizeof(KAFFINITY) - Count);
}

static ULONG InGroup(ULONG Count, ULONG GroupSize, ULONG Group)
{
    ULONG Rest = Count > Group * GroupSize ? Count - Group * GroupSize : 0;

    return Rest < GroupSize ? Rest : GroupSize;
}

/* --- Counts and masks --- */

static void CheckCounts(ULONG Active, ULONG Maximum, ULONG GroupSize)
{
    ULONG Groups = (Maximum + GroupSize - 1) / GroupSize;
    KAFFINITY Mask;

    assert_int_equal(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), Active);
    assert_int_equal(KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS), Maximum);
    assert_int_equal(KeQueryActiveGroupCount(), (Active + GroupSize - 1) / GroupSize);
    assert_int_equal(KeQueryMaximumGroupCount(), Groups);
    assert_int_equal(KeQueryActiveProcessorCount(&Mask), InGroup(Active, GroupSize, 0));
    assert_true(Mask == MaskOf(InGroup(Active, GroupSize, 0)) && KeQueryActiveProcessors() == Mask);
    assert_int_equal(KeQueryMaximumProcessorCount(), InGroup(Maximum, GroupSize, 0));
    for (ULONG Group = 0; Group <= Groups; Group += 1) {
        assert_int_equal(KeQueryActiveProcessorCountEx((USHORT)Group), InGroup(Active, GroupSize, Group));
        assert_int_equal(KeQueryMaximumProcessorCountEx((USHORT)Group), InGroup(Maximum, GroupSize, Group));
        assert_true(KeQueryGroupAffinity((USHORT)Group) == MaskOf(InGroup(Active, GroupSize, Group)));
    }
}

static void test_counts_and_masks_grow_and_maxima_do_not(void **State)
{
    static const ULONG Shapes[][3] = {
        {1, 8, 3}, {3, 7, 3}, {2, 5, 1}, {4, 5, 4}, {1, KPRCB_GROUP_SIZE + 1, KPRCB_GROUP_SIZE}};

    (void)State;
    for (ULONG Shape = 0; Shape < ARRAYSIZE(Shapes); Shape += 1) {
        ULONG Maximum = Shapes[Shape][1];
        ULONG GroupSize = Shapes[Shape][2];

        StartWithRoom(Shapes[Shape][0], Maximum, GroupSize);
        CheckCounts(Shapes[Shape][0], Maximum, GroupSize);
        for (ULONG Index = Shapes[Shape][0]; Index < Maximum; Index += 1) {
            PROCESSOR_NUMBER Number = {.Group = 99, .Number = 99, .Reserved = 99};

            assert_int_equal(KeGetProcessorNumberFromIndex(Index, &Number), STATUS_INVALID_PARAMETER);
            assert_int_equal(KprcbAddProcessor(&Number), STATUS_SUCCESS);
            assert_int_equal(Number.Group, Index / GroupSize);
            assert_int_equal(Number.Number, Index % GroupSize);
            assert_int_equal(Number.Reserved, 0);
            assert_int_equal(KeGetProcessorIndexFromNumber(&Number), Index);
            CheckCounts(Index + 1, Maximum, GroupSize);
        }
        StopMachine();
    }
}

static void test_a_full_machine_refuses(void **State)
{
    PROCESSOR_NUMBER Number = {.Group = 99, .Number = 98, .Reserved = 97};

    (void)State;
    StartMachine(3, 0); /* no maximum: what is there is all */
    assert_int_equal(KprcbAddProcessor(&Number), STATUS_QUOTA_EXCEEDED);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_QUOTA_EXCEEDED);
    assert_true(Number.Group == 99 && Number.Number == 98 && Number.Reserved == 97);
    CheckCounts(3, 3, KPRCB_GROUP_SIZE);
    StopMachine();
    StartWithRoom(1, 2, 0);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_QUOTA_EXCEEDED);
    CheckCounts(2, 2, KPRCB_GROUP_SIZE);
    StopMachine();
}

static void test_only_at_passive_level(void **State)
{
    static const KIRQL Levels[] = {APC_LEVEL, DISPATCH_LEVEL, HIGH_LEVEL};

    (void)State;
    StartWithRoom(1, 2, 0);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        KIRQL OldIrql;

        KeRaiseIrql(Levels[Index], &OldIrql);
        assert_int_equal(KprcbAddProcessor(NULL), STATUS_INVALID_DEVICE_STATE);
        KeLowerIrql(OldIrql);
    }
    CheckCounts(1, 2, KPRCB_GROUP_SIZE);
    StopMachine();
}

static void AddAsFirstCall(void *Context)
{
    PROCESSOR_NUMBER Number;

    (void)Context;
    CHILD_CHECK(setenv("KPRCB_PROCESSORS", "2", 1) == 0 && setenv("KPRCB_MAXIMUM_PROCESSORS", "3", 1) == 0);
    CHILD_CHECK(KprcbAddProcessor(&Number) == STATUS_SUCCESS);
    CHILD_CHECK(Number.Number == 2 && KeQueryActiveProcessorCount(NULL) == 3);
    CHILD_CHECK(KprcbAddProcessor(&Number) == STATUS_QUOTA_EXCEEDED);
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);
}

static void test_the_first_call_starts_the_machine(void **State)
{
    (void)State;
    ChildSucceeds(AddAsFirstCall, NULL);
}

static void AddInLittleMemory(void *Context)
{
    KPRCB_CONFIG Config = Configuration(1, 0, 0);
    struct rlimit Little, Before;
    NTSTATUS Status;
    ULONG Count;

    (void)Context;
    Config.MaximumProcessorCount = KPRCB_MAXIMUM_PROCESSORS;
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(getrlimit(RLIMIT_AS, &Before) == 0);
    Little = Before;
    Little.rlim_cur = 1;
    CHILD_CHECK(setrlimit(RLIMIT_AS, &Little) == 0);
    do { /* the C library may have kept stacks */
        Count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
        Status = KprcbAddProcessor(NULL);
    } while (Status == STATUS_SUCCESS);
    for (ULONG Try = 0; Try < 3; Try += 1) {
        CHILD_CHECK(Status == STATUS_INSUFFICIENT_RESOURCES);
        CHILD_CHECK(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) == Count);
        Status = KprcbAddProcessor(NULL);
    }
    CHILD_CHECK(setrlimit(RLIMIT_AS, &Before) == 0);
    CHILD_CHECK(KprcbAddProcessor(NULL) == STATUS_SUCCESS);
    CHILD_CHECK(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) == Count + 1);
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);
}

static void test_a_failure_changes_nothing_and_may_be_repeated(void **State)
{
    (void)State;
    if (TEST_SANITIZED) {
        skip(); /* a sanitizer allocates for each thread and dies of the limit */
    }
    ChildSucceeds(AddInLittleMemory, NULL);
}

/* --- What the new processor is --- */

static void test_it_is_what_it_would_have_been_from_the_start(void **State)
{
    ULONG Hosts = HalInitializeProcessors();
    ULONG Count = Hosts + 2;
    KPRCB *Born = calloc(Count, sizeof(KPRCB));

    (void)State;
    StartMachine(Count, 0);
    for (ULONG Index = 0; Index < Count; Index += 1) {
        Born[Index] = KiProcessor(Index)->PrcbData;
    }
    StopMachine();
    StartWithRoom(1, Count, 0);
    while (KprcbAddProcessor(NULL) == STATUS_SUCCESS) {
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        KPRCB *Added = &KiProcessor(Index)->PrcbData;

        assert_int_equal(Added->Number, Index);
        assert_int_equal(Added->BuildType, Born[Index].BuildType);
        assert_int_equal(Added->MajorVersion, PRCB_MAJOR_VERSION);
        assert_true(Added->GroupSetMember == (KAFFINITY)1 << Index);
        assert_int_equal(Added->LegacyNumber, Index);
        assert_int_equal(Added->MaximumDpcQueueDepth, Born[Index].MaximumDpcQueueDepth);
        assert_int_equal(Added->ClockOwner, Index == 0);
        assert_string_equal(Added->VendorString, Born[Index].VendorString);
        assert_int_equal(Added->ProcessorSignature, Born[Index].ProcessorSignature);
        assert_true(Added->FeatureBits == Born[Index].FeatureBits);
        assert_int_equal(Added->InitialApicId, Born[Index].InitialApicId);
        assert_int_equal(Added->CpuVendor, Born[Index].CpuVendor);
        assert_non_null(Added->IdleThread);
        assert_int_equal(KiProcessor(Index)->HostProcessor, HalProcessor(Index % Hosts)->HostProcessor);
        for (ULONG Number = 0; Number < LockQueueMaximumLock; Number += 1) {
            assert_ptr_equal(Added->LockQueue[Number].Lock, Born[Index].LockQueue[Number].Lock);
        }
    }
    StopMachine();
    free(Born);
}

static void test_the_caller_keeps_its_place_on_the_host(void **State)
{
    cpu_set_t Before, After;

    (void)State;
    StartWithRoom(1, 4, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    assert_int_equal(sched_getaffinity(0, sizeof(Before), &Before), 0);
    while (KprcbAddProcessor(NULL) == STATUS_SUCCESS) {
        assert_int_equal(sched_getaffinity(0, sizeof(After), &After), 0);
        assert_true(CPU_EQUAL(&Before, &After));
    }
    StopMachine();
}

static void test_processors_may_come_to_outnumber_the_cpus(void **State)
{
    ULONG Hosts = HalInitializeProcessors();

    (void)State;
    StartWithRoom(1, Hosts + 1, 0);
    for (ULONG Count = 1; Count <= Hosts; Count += 1) {
        assert_false(KiIsCrowded());
        assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    }
    assert_true(KiIsCrowded());
    StopMachine();
}

/* --- What runs there --- */

static ULONG volatile Runs, RanOn;

static VOID NoteProcessor(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Context, (void)Argument1, (void)Argument2;
    RanOn = KeGetCurrentProcessorNumberEx(NULL);
    CountOne(&Runs);
}

static ULONG_PTR NoteVisit(ULONG_PTR Context)
{
    CountOne((ULONG volatile *)Context + KeGetCurrentProcessorNumberEx(NULL));
    return 0;
}

static void test_dpcs_and_generic_calls_reach_it(void **State)
{
    ULONG volatile Visits[6] = {0};
    PROCESSOR_NUMBER Number = {.Group = 0, .Number = 2};
    KDPC Dpc;

    (void)State;
    StartWithRoom(2, 6, 4);
    KeInitializeDpc(&Dpc, NoteProcessor, NULL);
    assert_int_equal(KeSetTargetProcessorDpcEx(&Dpc, &Number), STATUS_INVALID_PARAMETER);
    for (ULONG Index = 2; Index < 6; Index += 1) {
        assert_int_equal(KprcbAddProcessor(&Number), STATUS_SUCCESS);
        assert_int_equal(KeSetTargetProcessorDpcEx(&Dpc, &Number), STATUS_SUCCESS);
        Runs = 0;
        assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
        KeFlushQueuedDpcs();
        assert_int_equal(Runs, 1);
        assert_int_equal(RanOn, Index);
        (void)KeIpiGenericCall(NoteVisit, (ULONG_PTR)Visits);
        for (ULONG Processor = 0; Processor < 6; Processor += 1) {
            assert_int_equal(Visits[Processor], Processor <= Index ? Index - (Processor < 2 ? 2 : Processor) + 1 : 0);
        }
    }
    StopMachine();
}

static void test_a_patient_dpc_there_needs_the_clock(void **State)
{
    PROCESSOR_NUMBER Number;
    KDPC Dpc;

    (void)State;
    StartWithRoom(32, 33, 0); /* the first bit of another word of the clock */
    assert_int_equal(KprcbAddProcessor(&Number), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(32), STATUS_SUCCESS);
    KeInitializeDpc(&Dpc, NoteProcessor, NULL);
    KeSetImportanceDpc(&Dpc, LowImportance);
    KeGetCurrentPrcb()->MinimumDpcRate = 0; /* so that it waits for the tick */
    Runs = 0;
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    AwaitCount(&Runs, 1);
    assert_int_equal(RanOn, 32);
    StopMachine();
}

typedef struct _VISITOR {
    BOOLEAN Named;
    ULONG Processor; /* on which it ran at DISPATCH_LEVEL */
    KAFFINITY Previous;
    ULONG volatile Step;
} VISITOR;

static VISITOR Visitor;

/* Attached before the second processor is there, runs after. */
static void *VisitorThread(void *Context)
{
    KIRQL OldIrql;

    (void)Context;
    (void)KeGetCurrentThread();
    if (Visitor.Named) {
        Check(KeSetSystemAffinityThreadEx(~(KAFFINITY)0) == 0);
    }
    CountOne(&Visitor.Step);
    AwaitCount(&Visitor.Step, 2);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    Visitor.Processor = KeGetCurrentProcessorNumberEx(NULL);
    KeLowerIrql(OldIrql);
    CountOne(&Visitor.Step);
    if (Visitor.Named) {
        Visitor.Previous = KeSetSystemAffinityThreadEx(~(KAFFINITY)0);
        KeRevertToUserAffinityThreadEx(0);
    }
    return NULL;
}

/* The caller owns processor 0 throughout the visitor's raise, if Hold. */
static void Visit(BOOLEAN Named, BOOLEAN Hold)
{
    pthread_t Thread;
    KIRQL OldIrql;

    StartWithRoom(1, 2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Visitor = (VISITOR){.Named = Named};
    Thread = StartThread(VisitorThread, NULL);
    AwaitCount(&Visitor.Step, 1);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    KeRaiseIrql(Hold ? DISPATCH_LEVEL : PASSIVE_LEVEL, &OldIrql);
    CountOne(&Visitor.Step);
    while (__atomic_load_n(&Visitor.Step, __ATOMIC_ACQUIRE) < 3) {
        YieldProcessor();
    }
    KeLowerIrql(OldIrql);
    JoinThread(Thread);
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void test_a_thread_of_any_processor_may_run_there(void **State)
{
    (void)State;
    Visit(FALSE, TRUE); /* it gets past an owner who holds the only other one */
    assert_int_equal(Visitor.Processor, 1);
}

static void test_a_mask_that_was_set_does_not_gain_it(void **State)
{
    (void)State;
    Visit(TRUE, FALSE);
    assert_int_equal(Visitor.Processor, 0);
    assert_true(Visitor.Previous == 1);
}

static void test_threads_attach_to_it(void **State)
{
    (void)State;
    StartWithRoom(1, 2, 0);
    assert_int_equal(KprcbAttachThread(1), STATUS_INVALID_PARAMETER);
    assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), 1);
    assert_ptr_equal(KeGetCurrentPrcb(), KiProcessor(1)->Prcb);
    StopMachine();
}

static void test_a_new_machine_begins_anew(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < 3; Round += 1) {
        StartWithRoom(1, KPRCB_MAXIMUM_PROCESSORS, 0);
        for (ULONG Count = 0; Count < 5 * Round; Count += 1) {
            assert_int_equal(KprcbAddProcessor(NULL), STATUS_SUCCESS);
        }
        CheckCounts(1 + 5 * Round, KPRCB_MAXIMUM_PROCESSORS, KPRCB_GROUP_SIZE);
        StopMachine();
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_counts_and_masks_grow_and_maxima_do_not),
        cmocka_unit_test(test_a_full_machine_refuses),
        cmocka_unit_test(test_only_at_passive_level),
        cmocka_unit_test(test_the_first_call_starts_the_machine),
        cmocka_unit_test(test_a_failure_changes_nothing_and_may_be_repeated),
        cmocka_unit_test(test_it_is_what_it_would_have_been_from_the_start),
        cmocka_unit_test(test_the_caller_keeps_its_place_on_the_host),
        cmocka_unit_test(test_processors_may_come_to_outnumber_the_cpus),
        cmocka_unit_test(test_dpcs_and_generic_calls_reach_it),
        cmocka_unit_test(test_a_patient_dpc_there_needs_the_clock),
        cmocka_unit_test(test_a_thread_of_any_processor_may_run_there),
        cmocka_unit_test(test_a_mask_that_was_set_does_not_gain_it),
        cmocka_unit_test(test_threads_attach_to_it),
        cmocka_unit_test(test_a_new_machine_begins_anew),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
