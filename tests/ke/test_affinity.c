/*
 * test_affinity.c - KeSetSystemAffinityThreadEx and its kin: what they return, what they ignore, when the thread
 * moves, and hopping over all processors as a grace period.
 *
 * The tests named pitfall_33 are of the sentences on affinity; those on processor numbers are in test_processor.c.
 */
#include "support/child.h"

#include "ki.h"

static void StartGroups(ULONG Processors, ULONG GroupSize)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = Processors, .GroupSize = GroupSize};

    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
}

static ULONG Current(void)
{
    return KeGetCurrentProcessorNumberEx(NULL);
}

/* The processor on which the next raise finds itself. */
static ULONG OwnOnce(void)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
    ULONG Number = Current();

    KeLowerIrql(OldIrql);
    return Number;
}

/* --- Masks of group 0 --- */

static void test_pitfall_33_set_returns_0_when_it_replaced_the_user_affinity(void **State)
{
    (void)State;
    StartMachine(4, 0);
    assert_true(KeSetSystemAffinityThreadEx(2) == 0);
    assert_true(KeSetSystemAffinityThreadEx(12) == 2);
    assert_true(KeSetSystemAffinityThreadEx(1) == 12);
    KeRevertToUserAffinityThreadEx(0);
    assert_true(KeSetSystemAffinityThreadEx(4) == 0);
    KeRevertToUserAffinityThreadEx(0);
    StopMachine();
}

static void test_pitfall_33_zero_is_a_token_for_the_revert_call(void **State)
{
    KAFFINITY Outer, Inner;

    (void)State;
    StartMachine(4, 0);
    assert_int_equal(KprcbAttachThread(3), STATUS_SUCCESS);
    Outer = KeSetSystemAffinityThreadEx(1);
    Inner = KeSetSystemAffinityThreadEx(2);
    assert_int_equal(Current(), 1);
    KeRevertToUserAffinityThreadEx(Inner);
    assert_int_equal(Current(), 0);
    assert_true(KeGetCurrentThread()->SystemAffinityActive);
    KeRevertToUserAffinityThreadEx(Outer);
    assert_int_equal(Current(), 3);
    assert_false(KeGetCurrentThread()->SystemAffinityActive);
    /* Nothing to revert. */
    KeRevertToUserAffinityThreadEx(0);
    assert_int_equal(Current(), 3);
    StopMachine();
}

static void test_pitfall_33_invalid_masks_are_ignored(void **State)
{
    (void)State;
    StartMachine(4, 0);
    assert_int_equal(KprcbAttachThread(3), STATUS_SUCCESS);
    assert_true(KeSetSystemAffinityThreadEx(0) == 0);
    assert_true(KeSetSystemAffinityThreadEx(0x30) == 0);
    assert_true(KeSetSystemAffinityThreadEx(~(KAFFINITY)15) == 0);
    assert_false(KeGetCurrentThread()->SystemAffinityActive);
    assert_int_equal(OwnOnce(), 3);
    /* With a system affinity in force, too: 0, and no change. */
    assert_true(KeSetSystemAffinityThreadEx(2) == 0);
    assert_true(KeSetSystemAffinityThreadEx(0x30) == 0);
    KeSetSystemAffinityThread(0x30);
    assert_int_equal(OwnOnce(), 1);
    assert_true(KeSetSystemAffinityThreadEx(4) == 2);
    StopMachine();
}

static void test_inactive_processors_are_dropped(void **State)
{
    (void)State;
    StartMachine(4, 0);
    assert_true(KeSetSystemAffinityThreadEx(0xF8) == 0);
    assert_int_equal(OwnOnce(), 3);
    assert_true(KeSetSystemAffinityThreadEx(1) == 8);
    StopMachine();
}

static void test_pitfall_33_below_dispatch_level_the_thread_has_moved_on_return(void **State)
{
    (void)State;
    StartMachine(4, 0);
    for (KIRQL Level = PASSIVE_LEVEL; Level <= APC_LEVEL; Level += 1) {
        KIRQL OldIrql;

        KeRaiseIrql(Level, &OldIrql);
        for (ULONG Number = 0; Number < 8; Number += 1) {
            (void)KeSetSystemAffinityThreadEx((KAFFINITY)1 << Number % 4);
            assert_int_equal(Current(), Number % 4);
            assert_int_equal(KeGetCurrentIrql(), Level);
            /* It has owned it. */
            assert_ptr_equal(KiProcessor(Number % 4)->LastOwner, KeGetCurrentThread());
            assert_int_equal(OwnOnce(), Number % 4);
        }
        KeLowerIrql(OldIrql);
    }
    StopMachine();
}

static void test_pitfall_33_at_dispatch_level_the_move_waits_for_the_lowering(void **State)
{
    KIRQL OldIrql;

    (void)State;
    StartMachine(4, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_true(KeSetSystemAffinityThreadEx(4) == 0);
    assert_int_equal(Current(), 0);
    assert_ptr_equal(KiQueryOwner(KiProcessor(0)), KeGetCurrentThread());
    assert_null(KiQueryOwner(KiProcessor(2)));
    assert_true(KeSetSystemAffinityThreadEx(8) == 4);
    assert_int_equal(Current(), 0);
    KeLowerIrql(OldIrql);
    assert_int_equal(Current(), 3);
    assert_int_equal(OwnOnce(), 3);
    /* The revert waits, too. */
    OldIrql = KeRaiseIrqlToDpcLevel();
    KeRevertToUserAffinityThreadEx(0);
    assert_int_equal(Current(), 3);
    KeLowerIrql(OldIrql);
    assert_int_equal(Current(), 0);
    /* Set and reverted at DISPATCH_LEVEL: no move. */
    OldIrql = KeRaiseIrqlToDpcLevel();
    (void)KeSetSystemAffinityThreadEx(2);
    KeRevertToUserAffinityThread();
    KeLowerIrql(OldIrql);
    assert_int_equal(OwnOnce(), 0);
    StopMachine();
}

static void test_lowering_to_dispatch_level_moves_nothing(void **State)
{
    KIRQL OldIrql, Higher;

    (void)State;
    StartMachine(2, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    (void)KeSetSystemAffinityThreadEx(2);
    KeRaiseIrql(SYNCH_LEVEL, &Higher);
    KeLowerIrql(Higher);
    assert_int_equal(Current(), 0);
    KeLowerIrql(OldIrql);
    assert_int_equal(Current(), 1);
    StopMachine();
}

static void test_forms_that_do_not_nest(void **State)
{
    (void)State;
    StartMachine(4, 0);
    assert_int_equal(KprcbAttachThread(3), STATUS_SUCCESS);
    KeSetSystemAffinityThread(1);
    assert_int_equal(Current(), 0);
    KeSetSystemAffinityThread(2);
    assert_int_equal(Current(), 1);
    KeRevertToUserAffinityThread();
    assert_int_equal(Current(), 3);
    KeRevertToUserAffinityThread();
    assert_int_equal(Current(), 3);
    StopMachine();
}

static void test_affinity_of_several_processors(void **State)
{
    (void)State;
    StartMachine(4, 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    (void)KeSetSystemAffinityThreadEx(6);
    assert_true(Current() == 1 || Current() == 2);
    /* The home is in the new mask: the thread stays. */
    (void)KeSetSystemAffinityThreadEx(4);
    (void)KeSetSystemAffinityThreadEx(14);
    assert_int_equal(OwnOnce(), 2);
    StopMachine();
}

static void SetAboveDispatchLevel(void *Context)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 2};
    GROUP_AFFINITY Affinity = {.Mask = 1};
    KIRQL OldIrql;

    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    KeRaiseIrql(SYNCH_LEVEL, &OldIrql);
    switch ((ULONG_PTR)Context) {
    case 0:
        (void)KeSetSystemAffinityThreadEx(1);
        break;
    case 1:
        KeRevertToUserAffinityThreadEx(0);
        break;
    case 2:
        KeRevertToUserAffinityThread();
        break;
    case 3:
        KeSetSystemGroupAffinityThread(&Affinity, NULL);
        break;
    default:
        KeRevertToUserGroupAffinityThread(&Affinity);
        break;
    }
}

static void test_above_dispatch_level_is_a_bug_check(void **State)
{
    (void)State;
    for (ULONG_PTR Routine = 0; Routine < 5; Routine += 1) {
        ChildAborts(SetAboveDispatchLevel, (void *)Routine, "IRQL_NOT_LESS_OR_EQUAL");
    }
}

/* --- Group forms --- */

static GROUP_AFFINITY Group(USHORT Number, KAFFINITY Mask)
{
    return (GROUP_AFFINITY){.Mask = Mask, .Group = Number};
}

static void FillWithRubbish(GROUP_AFFINITY *Affinity)
{
    *Affinity = (GROUP_AFFINITY){.Mask = 99, .Group = 98, .Reserved = {97, 96, 95}};
}

static BOOLEAN IsZero(const GROUP_AFFINITY *Affinity)
{
    return Affinity->Mask == 0 && Affinity->Group == 0 && Affinity->Reserved[0] == 0 && Affinity->Reserved[1] == 0 &&
           Affinity->Reserved[2] == 0;
}

static void test_pitfall_33_group_form_writes_zeros_for_the_user_affinity(void **State)
{
    GROUP_AFFINITY Affinity = Group(1, 2), Previous;

    (void)State;
    StartGroups(7, 3);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    FillWithRubbish(&Previous);
    KeSetSystemGroupAffinityThread(&Affinity, &Previous);
    assert_true(IsZero(&Previous));
    assert_int_equal(Current(), 4);
    Affinity = Group(2, 1);
    FillWithRubbish(&Previous);
    KeSetSystemGroupAffinityThread(&Affinity, &Previous);
    assert_int_equal(Current(), 6);
    assert_true(Previous.Group == 1 && Previous.Mask == 2 && Previous.Reserved[0] == 0);
    KeRevertToUserGroupAffinityThread(&Previous);
    assert_int_equal(Current(), 4);
    StopMachine();
}

static void test_pitfall_33_group_form_writes_zeros_on_error(void **State)
{
    GROUP_AFFINITY Bad[] = {
        Group(0, 0),
        Group(0, 8),
        Group(1, 0),
        Group(2, 2),
        Group(3, 1),
        Group(0xFFFF, 1),
        {.Mask = 1, .Reserved = {1, 0, 0}},
        {.Mask = 1, .Reserved = {0, 1, 0}},
        {.Mask = 1, .Reserved = {0, 0, 1}},
    };
    GROUP_AFFINITY Good = Group(1, 4), Previous;

    (void)State;
    StartGroups(7, 3);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    for (ULONG Round = 0; Round < 2; Round += 1) {
        for (ULONG Index = 0; Index < ARRAYSIZE(Bad); Index += 1) {
            FillWithRubbish(&Previous);
            KeSetSystemGroupAffinityThread(&Bad[Index], &Previous);
            assert_true(IsZero(&Previous));
            KeSetSystemGroupAffinityThread(&Bad[Index], NULL);
            assert_int_equal(OwnOnce(), Round == 0 ? 1 : 5);
        }
        /* Once more with a system affinity in force. */
        KeSetSystemGroupAffinityThread(&Good, NULL);
        assert_int_equal(Current(), 5);
    }
    StopMachine();
}

static void test_pitfall_33_zero_on_revert_restores_the_current_user_affinity(void **State)
{
    GROUP_AFFINITY Affinity = Group(1, 1), Previous;

    (void)State;
    StartGroups(7, 3);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    KeSetSystemGroupAffinityThread(&Affinity, &Previous);
    assert_int_equal(Current(), 3);
    KeRevertToUserGroupAffinityThread(&Previous);
    assert_int_equal(Current(), 0);
    /* The user affinity changes while the system affinity is in force. */
    KeSetSystemGroupAffinityThread(&Affinity, &Previous);
    KeGetCurrentThread()->UserAffinity = Group(2, 1);
    KeRevertToUserGroupAffinityThread(&Previous);
    assert_int_equal(OwnOnce(), 6);
    StopMachine();
}

static void test_group_form_drops_inactive_processors(void **State)
{
    GROUP_AFFINITY Affinity = Group(2, ~(KAFFINITY)0), Previous;

    (void)State;
    StartGroups(7, 3);
    KeSetSystemGroupAffinityThread(&Affinity, NULL);
    assert_int_equal(OwnOnce(), 6);
    Affinity = Group(0, 1);
    KeSetSystemGroupAffinityThread(&Affinity, &Previous);
    assert_true(Previous.Group == 2 && Previous.Mask == 1);
    StopMachine();
}

static void test_group_form_at_dispatch_level(void **State)
{
    GROUP_AFFINITY Affinity = Group(2, 1), Previous;
    KIRQL OldIrql;

    (void)State;
    StartGroups(7, 3);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    OldIrql = KeRaiseIrqlToDpcLevel();
    KeSetSystemGroupAffinityThread(&Affinity, &Previous);
    assert_int_equal(Current(), 0);
    KeLowerIrql(OldIrql);
    assert_int_equal(Current(), 6);
    OldIrql = KeRaiseIrqlToDpcLevel();
    KeRevertToUserGroupAffinityThread(&Previous);
    assert_int_equal(Current(), 6);
    KeLowerIrql(OldIrql);
    assert_int_equal(Current(), 0);
    StopMachine();
}

static void test_every_processor_of_every_group(void **State)
{
    ULONG Processors = KPRCB_GROUP_SIZE * 2 + 3;

    (void)State;
    StartGroups(Processors, 0);
    for (ULONG Index = 0; Index < Processors; Index += 1) {
        GROUP_AFFINITY Affinity = Group((USHORT)(Index / KPRCB_GROUP_SIZE), (KAFFINITY)1 << Index % KPRCB_GROUP_SIZE);

        KeSetSystemGroupAffinityThread(&Affinity, NULL);
        assert_int_equal(OwnOnce(), Index);
    }
    StopMachine();
}

/* --- A hop over all processors as a grace period --- */

#define READERS 4
#define POISON 0xDEADu

typedef struct _VERSIONED {
    ULONG volatile Value;
    ULONG volatile Copy;
} VERSIONED;

static VERSIONED Versions[2];
static VERSIONED *volatile Published;
static ULONG volatile ReadersReady, ReadersDone, SawPoison;

/* Reads what is published, at DISPATCH_LEVEL, which is the read section. */
static void *ReadPublished(void *Context)
{
    ULONG Index = (ULONG)(ULONG_PTR)Context;

    if (Index < 2) {
        (void)KprcbAttachThread(Index);
    }
    CountOne(&ReadersReady);
    while (__atomic_load_n(&ReadersDone, __ATOMIC_RELAXED) == 0) {
        KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
        VERSIONED *Version = __atomic_load_n(&Published, __ATOMIC_ACQUIRE);
        ULONG Value = __atomic_load_n(&Version->Value, __ATOMIC_RELAXED);

        for (ULONG Step = 0; Step < 20; Step += 1) {
            HalPause();
        }
        if (Index == 3) {
            sched_yield();
        }
        if (Value == POISON || __atomic_load_n(&Version->Copy, __ATOMIC_RELAXED) != Value) {
            CountOne(&SawPoison);
        }
        KeLowerIrql(OldIrql);
    }
    return NULL;
}

static void Poison(VERSIONED *Version, ULONG Value)
{
    __atomic_store_n(&Version->Value, Value, __ATOMIC_RELAXED);
    __atomic_store_n(&Version->Copy, Value, __ATOMIC_RELAXED);
}

static void HopAsGracePeriod(ULONG Flags)
{
    pthread_t Readers[READERS];
    ULONG Rounds = TEST_SANITIZED ? 200 : 300;

    StartMachine(3, Flags);
    ReadersReady = ReadersDone = SawPoison = 0;
    Poison(&Versions[0], 0);
    Published = &Versions[0];
    for (ULONG_PTR Index = 0; Index < READERS; Index += 1) {
        Readers[Index] = StartThread(ReadPublished, (void *)Index);
    }
    AwaitCount(&ReadersReady, READERS);
    for (ULONG Round = 1; Round <= Rounds; Round += 1) {
        VERSIONED *Old = &Versions[(Round - 1) % 2], *New = &Versions[Round % 2];

        Poison(New, Round % 1000);
        __atomic_store_n(&Published, New, __ATOMIC_RELEASE);
        for (ULONG Number = 0; Number < 3; Number += 1) {
            (void)KeSetSystemAffinityThreadEx((KAFFINITY)1 << Number);
        }
        Poison(Old, POISON);
    }
    __atomic_store_n(&ReadersDone, 1, __ATOMIC_RELAXED);
    for (ULONG Index = 0; Index < READERS; Index += 1) {
        JoinThread(Readers[Index]);
    }
    assert_int_equal(SawPoison, 0);
    StopMachine();
}

static void test_hop_over_all_processors_is_a_grace_period(void **State)
{
    (void)State;
    HopAsGracePeriod(0);
}

static void test_hop_over_all_processors_is_a_grace_period_without_membarrier(void **State)
{
    (void)State;
    HopAsGracePeriod(KPRCB_NO_MEMBARRIER);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_pitfall_33_set_returns_0_when_it_replaced_the_user_affinity),
        cmocka_unit_test(test_pitfall_33_zero_is_a_token_for_the_revert_call),
        cmocka_unit_test(test_pitfall_33_invalid_masks_are_ignored),
        cmocka_unit_test(test_inactive_processors_are_dropped),
        cmocka_unit_test(test_pitfall_33_below_dispatch_level_the_thread_has_moved_on_return),
        cmocka_unit_test(test_pitfall_33_at_dispatch_level_the_move_waits_for_the_lowering),
        cmocka_unit_test(test_lowering_to_dispatch_level_moves_nothing),
        cmocka_unit_test(test_forms_that_do_not_nest),
        cmocka_unit_test(test_affinity_of_several_processors),
        cmocka_unit_test(test_above_dispatch_level_is_a_bug_check),
        cmocka_unit_test(test_pitfall_33_group_form_writes_zeros_for_the_user_affinity),
        cmocka_unit_test(test_pitfall_33_group_form_writes_zeros_on_error),
        cmocka_unit_test(test_pitfall_33_zero_on_revert_restores_the_current_user_affinity),
        cmocka_unit_test(test_group_form_drops_inactive_processors),
        cmocka_unit_test(test_group_form_at_dispatch_level),
        cmocka_unit_test(test_every_processor_of_every_group),
        cmocka_unit_test(test_hop_over_all_processors_is_a_grace_period),
        cmocka_unit_test(test_hop_over_all_processors_is_a_grace_period_without_membarrier),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
