/*
 * test_processor.c - the current processor and thread, and the queries of processors and groups.
 *
 * The tests named pitfall_33 are of the sentences on processor numbers; those on affinity are in test_affinity.c.
 */
#include "support/check.h"

#include "ki.h"

static void StartGroups(ULONG Processors, ULONG GroupSize)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = Processors, .GroupSize = GroupSize};

    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
}

static KAFFINITY MaskOf(ULONG Count)
{
    return Count == 0 ? 0 : ~(KAFFINITY)0 >> (8 * sizeof(KAFFINITY) - Count);
}

static void CheckGroup(USHORT Group, ULONG Count)
{
    assert_int_equal(KeQueryActiveProcessorCountEx(Group), Count);
    assert_int_equal(KeQueryMaximumProcessorCountEx(Group), Count);
    assert_true(KeQueryGroupAffinity(Group) == MaskOf(Count));
}

static void CheckGroups(ULONG Processors, ULONG GroupSize)
{
    USHORT Groups = (USHORT)((Processors + GroupSize - 1) / GroupSize);
    ULONG First = Processors < GroupSize ? Processors : GroupSize;
    KAFFINITY Mask = 0;

    StartGroups(Processors, GroupSize);
    assert_int_equal(KeQueryActiveGroupCount(), Groups);
    assert_int_equal(KeQueryMaximumGroupCount(), Groups);
    for (USHORT Group = 0; Group < Groups; Group += 1) {
        ULONG Rest = Processors - Group * GroupSize;

        CheckGroup(Group, Rest < GroupSize ? Rest : GroupSize);
    }
    CheckGroup(Groups, 0);
    CheckGroup(KPRCB_MAXIMUM_GROUPS, 0);
    CheckGroup(0xFFFE, 0);
    assert_int_equal(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), Processors);
    assert_int_equal(KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS), Processors);
    assert_true(KeQueryGroupAffinity(ALL_PROCESSOR_GROUPS) == 0);
    assert_int_equal(KeQueryActiveProcessorCount(&Mask), First);
    assert_true(Mask == MaskOf(First));
    assert_int_equal(KeQueryActiveProcessorCount(NULL), First);
    assert_int_equal(KeQueryMaximumProcessorCount(), First);
    assert_true(KeQueryActiveProcessors() == MaskOf(First));
    StopMachine();
}

static void test_groups(void **State)
{
    static const ULONG Shapes[][2] = {{1, 1},
                                      {1, 2},
                                      {2, 1},
                                      {7, 3},
                                      {9, 3},
                                      {20, 1},
                                      {33, 5},
                                      {31, 32},
                                      {32, 32},
                                      {33, 32},
                                      {40, 2},
                                      {KPRCB_GROUP_SIZE * 2, KPRCB_GROUP_SIZE},
                                      {KPRCB_GROUP_SIZE * 2 + 1, KPRCB_GROUP_SIZE}};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Shapes); Index += 1) {
        CheckGroups(Shapes[Index][0], Shapes[Index][1]);
    }
}

static void test_maximum_processors(void **State)
{
    (void)State;
    CheckGroups(KPRCB_MAXIMUM_PROCESSORS, KPRCB_GROUP_SIZE);
}

static void test_default_group_size(void **State)
{
    (void)State;
    StartGroups(KPRCB_GROUP_SIZE + 1, 0);
    assert_int_equal(KeQueryActiveGroupCount(), 2);
    assert_true(KeQueryGroupAffinity(0) == ~(KAFFINITY)0);
    assert_true(KeQueryGroupAffinity(1) == 1);
    StopMachine();
}

static void test_pitfall_33_index_and_group_number_differ(void **State)
{
    PROCESSOR_NUMBER Number;

    (void)State;
    StartGroups(7, 3);
    for (ULONG Index = 0; Index < 7; Index += 1) {
        Number = (PROCESSOR_NUMBER){.Group = 99, .Number = 99, .Reserved = 99};
        assert_int_equal(KeGetProcessorNumberFromIndex(Index, &Number), STATUS_SUCCESS);
        assert_int_equal(Number.Group, Index / 3);
        assert_int_equal(Number.Number, Index % 3);
        assert_int_equal(Number.Reserved, 0);
        assert_int_equal(KeGetProcessorIndexFromNumber(&Number), Index);
    }
    Number = (PROCESSOR_NUMBER){.Group = 99, .Number = 98, .Reserved = 97};
    assert_int_equal(KeGetProcessorNumberFromIndex(7, &Number), STATUS_INVALID_PARAMETER);
    assert_int_equal(KeGetProcessorNumberFromIndex(INVALID_PROCESSOR_INDEX, &Number), STATUS_INVALID_PARAMETER);
    assert_true(Number.Group == 99 && Number.Number == 98 && Number.Reserved == 97);
    StopMachine();
}

static void test_numbers_without_a_processor(void **State)
{
    PROCESSOR_NUMBER Bad[] = {
        {.Group = 0, .Number = 3},   {.Group = 2, .Number = 1},      {.Group = 3, .Number = 0},
        {.Group = 1, .Number = 255}, {.Group = 0xFFFF, .Number = 0}, {.Group = 0, .Number = 0, .Reserved = 1},
    };

    (void)State;
    StartGroups(7, 3);
    for (ULONG Index = 0; Index < ARRAYSIZE(Bad); Index += 1) {
        assert_int_equal(KeGetProcessorIndexFromNumber(&Bad[Index]), INVALID_PROCESSOR_INDEX);
    }
    StopMachine();
}

static void test_current_processor(void **State)
{
    (void)State;
    StartGroups(7, 3);
    for (ULONG Index = 0; Index < 7; Index += 1) {
        PROCESSOR_NUMBER Number = {.Group = 99, .Number = 99, .Reserved = 99};

        assert_int_equal(KprcbAttachThread(Index), STATUS_SUCCESS);
        assert_int_equal(KeGetCurrentProcessorNumberEx(&Number), Index);
        assert_int_equal(Number.Group, Index / 3);
        assert_int_equal(Number.Number, Index % 3);
        assert_int_equal(Number.Reserved, 0);
        assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), Index);
        assert_int_equal(KeGetCurrentProcessorIndex(), Index);
        assert_int_equal(KeGetCurrentPrcb()->Number, Index);
        assert_ptr_equal(KeGetPcr()->Prcb, KeGetCurrentPrcb());
        assert_ptr_equal(KeGetPcr()->Self, KeGetPcr());
    }
    StopMachine();
}

static void test_pitfall_33_legacy_calls_see_group_0_only(void **State)
{
    KAFFINITY Mask;

    (void)State;
    StartGroups(7, 3);
    for (ULONG Index = 0; Index < 7; Index += 1) {
        assert_int_equal(KprcbAttachThread(Index), STATUS_SUCCESS);
        assert_true(KeGetCurrentProcessorNumber() < KeQueryActiveProcessorCount(&Mask));
        assert_true(Mask == 7);
        assert_true(KeQueryActiveProcessors() == 7);
        assert_int_equal(KeQueryMaximumProcessorCount(), 3);
        if (Index < 3) {
            assert_int_equal(KeGetCurrentProcessorNumber(), Index);
        }
        /* A legacy mask is one of group 0 wherever the caller runs. */
        assert_true(KeSetSystemAffinityThreadEx(2) == 0);
        assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), 1);
        KeRevertToUserAffinityThreadEx(0);
        assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), Index);
        assert_true(KeSetSystemAffinityThreadEx(8) == 0);
        assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), Index);
    }
    /* The last group is smaller than group 0 in one machine, larger than nothing in another. */
    StopMachine();
    StartGroups(2, 1);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    assert_int_equal(KeGetCurrentProcessorNumber(), 0);
    StopMachine();
}

/* --- Stable numbers, and the current thread --- */

static ULONG volatile Done, Ready;

/* Owns whatever processor it gets, again and again. */
static void *Contend(void *Context)
{
    (void)Context;
    (void)KeGetCurrentThread();
    CountOne(&Ready);
    while (__atomic_load_n(&Done, __ATOMIC_ACQUIRE) == 0) {
        KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

        sched_yield();
        KeLowerIrql(OldIrql);
    }
    return NULL;
}

static void test_pitfall_33_current_processor_number_is_stable_at_dispatch_level(void **State)
{
    pthread_t Threads[3];

    (void)State;
    StartMachine(2, 0);
    Done = Ready = 0;
    for (ULONG Index = 0; Index < ARRAYSIZE(Threads); Index += 1) {
        Threads[Index] = StartThread(Contend, NULL);
    }
    AwaitCount(&Ready, ARRAYSIZE(Threads));
    for (ULONG Round = 0; Round < 100; Round += 1) {
        KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
        ULONG Number = KeGetCurrentProcessorNumber();

        for (ULONG Step = 0; Step < 5; Step += 1) {
            sched_yield();
            assert_int_equal(KeGetCurrentProcessorNumber(), Number);
            assert_int_equal(KeGetCurrentPrcb()->Number, Number);
        }
        KeLowerIrql(OldIrql);
    }
    CountOne(&Done);
    for (ULONG Index = 0; Index < ARRAYSIZE(Threads); Index += 1) {
        JoinThread(Threads[Index]);
    }
    StopMachine();
}

static void *OwnProcessor0(void *Context)
{
    KIRQL OldIrql;

    (void)Context;
    (void)KeSetSystemAffinityThreadEx(1);
    OldIrql = KeRaiseIrqlToDpcLevel();
    CountOne(&Ready);
    AwaitCount(&Done, 1);
    KeLowerIrql(OldIrql);
    return NULL;
}

static void test_pitfall_33_current_processor_number_is_a_snapshot_below_dispatch_level(void **State)
{
    pthread_t Owner;
    KIRQL OldIrql;

    (void)State;
    StartMachine(2, 0);
    Done = Ready = 0;
    (void)KeSetSystemAffinityThreadEx(1);
    KeRevertToUserAffinityThreadEx(0);
    Owner = StartThread(OwnProcessor0, NULL);
    AwaitCount(&Ready, 1);
    assert_int_equal(KeGetCurrentProcessorNumber(), 0);
    OldIrql = KeRaiseIrqlToDpcLevel(); /* the home is taken: the other processor */
    assert_int_equal(KeGetCurrentProcessorNumber(), 1);
    KeLowerIrql(OldIrql);
    CountOne(&Done);
    JoinThread(Owner);
    StopMachine();
}

/* Written by owners as they come, so a reader who is none races with them: that is the point. */
__attribute__((no_sanitize("thread"))) static PKTHREAD ThreadInTwoSteps(PKPRCB Prcb)
{
    return *(PKTHREAD volatile *)&Prcb->CurrentThread;
}

static void test_two_step_current_thread_is_wrong_where_threads_share_a_processor(void **State)
{
    pthread_t Owner;
    PKTHREAD Self;

    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Self = KeGetCurrentThread();
    assert_ptr_equal(ThreadInTwoSteps(KeGetCurrentPrcb()), Self);
    Done = Ready = 0;
    Owner = StartThread(OwnProcessor0, NULL);
    AwaitCount(&Ready, 1);
    assert_int_equal(KeGetCurrentPrcb()->Number, 0);
    assert_ptr_not_equal(ThreadInTwoSteps(KeGetCurrentPrcb()), Self);
    assert_ptr_equal(KeGetCurrentThread(), Self);
    CountOne(&Done);
    JoinThread(Owner);
    assert_ptr_equal(ThreadInTwoSteps(KeGetCurrentPrcb()), Self);
    StopMachine();
}

static void test_two_step_current_thread_is_wrong_when_the_thread_moves_in_between(void **State)
{
    PKPRCB Prcb;
    PKTHREAD Self;
    KIRQL OldIrql;

    (void)State;
    StartMachine(3, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    (void)KeSetSystemAffinityThreadEx(2);
    Self = KeGetCurrentThread();
    Prcb = KeGetCurrentPrcb();
    (void)KeSetSystemAffinityThreadEx(4); /* as the scheduler might, between the two accesses */
    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_ptr_not_equal(ThreadInTwoSteps(Prcb), Self);
    assert_ptr_equal(KeGetCurrentThread(), Self);
    /* At DISPATCH_LEVEL the two steps are right. */
    assert_ptr_equal(ThreadInTwoSteps(KeGetCurrentPrcb()), Self);
    KeLowerIrql(OldIrql);
    StopMachine();
}

static void test_current_thread_is_owner_else_resident_else_idle_thread(void **State)
{
    PKPRCB Prcb;
    KIRQL OldIrql;

    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    assert_ptr_equal(ThreadInTwoSteps(KiProcessor(0)->Prcb), KeGetCurrentThread());
    Prcb = KiProcessor(1)->Prcb;
    assert_ptr_equal(ThreadInTwoSteps(Prcb), Prcb->IdleThread);
    (void)KeSetSystemAffinityThreadEx(2);
    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_ptr_equal(ThreadInTwoSteps(Prcb), KeGetCurrentThread());
    KeLowerIrql(OldIrql);
    assert_ptr_equal(ThreadInTwoSteps(Prcb), Prcb->IdleThread);
    StopMachine();
}

static void *Identify(void *Context)
{
    *(PKTHREAD *)Context = KeGetCurrentThread();
    Check(KeGetCurrentThread() == *(PKTHREAD *)Context);
    CountOne(&Ready);
    AwaitCount(&Done, 1);
    return NULL;
}

static void test_each_thread_has_its_own(void **State)
{
    PKTHREAD Identity[6] = {NULL};
    pthread_t Threads[6];

    (void)State;
    StartMachine(2, 0);
    Done = Ready = WrongLine = 0;
    for (ULONG Index = 0; Index < 6; Index += 1) {
        Threads[Index] = StartThread(Identify, &Identity[Index]);
    }
    AwaitCount(&Ready, 6);
    for (ULONG Index = 0; Index < 6; Index += 1) {
        assert_non_null(Identity[Index]);
        for (ULONG Other = 0; Other < Index; Other += 1) {
            assert_ptr_not_equal(Identity[Index], Identity[Other]);
        }
    }
    CountOne(&Done);
    for (ULONG Index = 0; Index < 6; Index += 1) {
        JoinThread(Threads[Index]);
    }
    assert_int_equal(WrongLine, 0);
    StopMachine();
}

static void test_queries_at_any_level(void **State)
{
    static const KIRQL Levels[] = {APC_LEVEL, DISPATCH_LEVEL, SYNCH_LEVEL, IPI_LEVEL, HIGH_LEVEL};

    (void)State;
    StartGroups(7, 3);
    assert_int_equal(KprcbAttachThread(4), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index += 1) {
        PROCESSOR_NUMBER Number;
        KIRQL OldIrql;

        KeRaiseIrql(Levels[Index], &OldIrql);
        assert_int_equal(KeGetCurrentProcessorNumberEx(&Number), 4);
        assert_int_equal(KeGetProcessorIndexFromNumber(&Number), 4);
        assert_int_equal(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), 7);
        assert_true(KeQueryGroupAffinity(2) == 1);
        KeMemoryBarrier();
        assert_int_equal(KeGetCurrentIrql(), Levels[Index]);
        KeLowerIrql(OldIrql);
    }
    StopMachine();
}

static void test_recommended_shared_data_alignment(void **State)
{
    ULONG Alignment = KeGetRecommendedSharedDataAlignment();

    (void)State;
    assert_true(Alignment >= 64 && (Alignment & (Alignment - 1)) == 0);
}

static void test_stall_keeps_the_processor_and_lasts(void **State)
{
    ULONGLONG Start;
    KIRQL OldIrql;

    (void)State;
    StartMachine(2, 0);
    OldIrql = KeRaiseIrqlToDpcLevel();
    Start = HalMonotonicTime();
    KeStallExecutionProcessor(200);
    assert_true(HalMonotonicTime() - Start >= 200000);
    KeStallExecutionProcessor(0);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    assert_ptr_equal(KiQueryOwner(KeGetPcr()), KeGetCurrentThread());
    KeLowerIrql(OldIrql);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_maximum_processors),
        cmocka_unit_test(test_default_group_size),
        cmocka_unit_test(test_pitfall_33_index_and_group_number_differ),
        cmocka_unit_test(test_numbers_without_a_processor),
        cmocka_unit_test(test_current_processor),
        cmocka_unit_test(test_pitfall_33_legacy_calls_see_group_0_only),
        cmocka_unit_test(test_pitfall_33_current_processor_number_is_stable_at_dispatch_level),
        cmocka_unit_test(test_pitfall_33_current_processor_number_is_a_snapshot_below_dispatch_level),
        cmocka_unit_test(test_two_step_current_thread_is_wrong_where_threads_share_a_processor),
        cmocka_unit_test(test_two_step_current_thread_is_wrong_when_the_thread_moves_in_between),
        cmocka_unit_test(test_current_thread_is_owner_else_resident_else_idle_thread),
        cmocka_unit_test(test_each_thread_has_its_own),
        cmocka_unit_test(test_queries_at_any_level),
        cmocka_unit_test(test_recommended_shared_data_alignment),
        cmocka_unit_test(test_stall_keeps_the_processor_and_lasts),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
