/*
 * test_irqlmisuse.c - include/kprcb/irql.h: what a checked build takes for a bug check and what a free build does
 * instead.
 */
#include "irqltest.h"

/* --- Misuse --- */

typedef enum { Raise, RaiseToDpc, RaiseToSynch, Lower } ACTION;

typedef struct {
    KIRQL Steps[4]; /* raised to, in order, those that are above the level reached */
    ACTION Action;
    KIRQL Argument;
    KIRQL Old;
    KDPC *Dpc;
} MISUSE;

static VOID Misuse(PVOID Context)
{
    MISUSE *This = Context;
    KIRQL Old;

    for (ULONG Step = 0; Step < 4; Step += 1) {
        if (This->Steps[Step] > KeGetCurrentIrql()) {
            KeRaiseIrql(This->Steps[Step], &Old);
        }
    }
    if (This->Dpc != NULL) {
        KeInsertQueueDpc(This->Dpc, NULL, NULL);
    }
    switch (This->Action) {
    case Raise:
        KeRaiseIrql(This->Argument, &This->Old);
        break;
    case RaiseToDpc:
        This->Old = KeRaiseIrqlToDpcLevel();
        break;
    case RaiseToSynch:
        This->Old = KeRaiseIrqlToSynchLevel();
        break;
    case Lower:
        KeLowerIrql(This->Argument);
        break;
    }
}

static void ExpectBugCheck(MISUSE *This, ULONG Code, KIRQL Parameter1, KIRQL Parameter2)
{
    KIRQL Before = KeGetCurrentIrql();
    KPRCB_BUGCHECK Result = {0};

    This->Old = UNWRITTEN;
    assert_true(KprcbCatchBugCheck(Misuse, This, &Result));
    assert_int_equal(Result.Code, Code);
    assert_int_equal(Result.Parameter[0], Parameter1);
    assert_int_equal(Result.Parameter[1], Parameter2);
    assert_int_equal(This->Old, UNWRITTEN);
    ExpectLevel(Before);
}

static void pitfall_22_raising_to_a_lower_level_is_a_bug_check(void **State)
{
    (void)State;
    for (KIRQL From = APC_LEVEL; From <= HIGH_LEVEL; From += 1) {
        for (KIRQL To = PASSIVE_LEVEL; To < From; To += 1) {
            MISUSE This = {.Steps = {From}, .Action = Raise, .Argument = To};

            ExpectBugCheck(&This, IRQL_NOT_GREATER_OR_EQUAL, From, To);
        }
        if (From > DISPATCH_LEVEL) {
            MISUSE This = {.Steps = {From}, .Action = RaiseToDpc};

            ExpectBugCheck(&This, IRQL_NOT_GREATER_OR_EQUAL, From, DISPATCH_LEVEL);
        }
        if (From > SYNCH_LEVEL) {
            MISUSE This = {.Steps = {From}, .Action = RaiseToSynch};

            ExpectBugCheck(&This, IRQL_NOT_GREATER_OR_EQUAL, From, SYNCH_LEVEL);
        }
    }
}

static void pitfall_22_lowering_to_a_higher_level_is_a_bug_check(void **State)
{
    (void)State;
    for (KIRQL From = PASSIVE_LEVEL; From < HIGH_LEVEL; From += 1) {
        for (KIRQL To = From + 1; To <= HIGH_LEVEL; To += 1) {
            MISUSE This = {.Steps = {From}, .Action = Lower, .Argument = To};

            ExpectBugCheck(&This, IRQL_NOT_LESS_OR_EQUAL, To, From);
        }
    }
}

static void pitfall_22_lowering_to_another_level_than_that_of_the_raise_is_a_bug_check(void **State)
{
    (void)State;
    for (KIRQL Top = DISPATCH_LEVEL; Top <= HIGH_LEVEL; Top += 1) {
        for (KIRQL Middle = APC_LEVEL; Middle < Top; Middle += 1) {
            for (KIRQL To = PASSIVE_LEVEL; To < Top; To += 1) {
                MISUSE Nested = {.Steps = {Middle, Top}, .Action = Lower, .Argument = To};
                MISUSE Direct = {.Steps = {Top}, .Action = Lower, .Argument = To};

                if (To != Middle) {
                    ExpectBugCheck(&Nested, IRQL_NOT_LESS_OR_EQUAL, To, Top);
                }
                if (To != PASSIVE_LEVEL) {
                    ExpectBugCheck(&Direct, IRQL_NOT_LESS_OR_EQUAL, To, Top);
                }
            }
        }
    }
}

static void a_level_above_high_level_is_a_bug_check_on_either_build(void **State)
{
    static const KIRQL Wild[] = {HIGH_LEVEL + 1, 0x80, 0xFF};

    (void)State;
    for (ULONG Index = 0; Index < 3; Index += 1) {
        for (KIRQL From = PASSIVE_LEVEL; From <= HIGH_LEVEL; From += 1) {
            MISUSE Up = {.Steps = {From}, .Action = Raise, .Argument = Wild[Index]};
            MISUSE Down = {.Steps = {From}, .Action = Lower, .Argument = Wild[Index]};

            ExpectBugCheck(&Up, IRQL_NOT_GREATER_OR_EQUAL, From, Wild[Index]);
            ExpectBugCheck(&Down, IRQL_NOT_LESS_OR_EQUAL, Wild[Index], From);
        }
    }
}

static void a_catch_restores_the_levels_of_the_caller(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < 2; Round += 1) {
        MISUSE Wrong = {
            .Steps = {APC_LEVEL, DISPATCH_LEVEL, SYNCH_LEVEL, HIGH_LEVEL}, .Action = Raise, .Argument = APC_LEVEL};
        MISUSE Right = {.Steps = {HIGH_LEVEL}, .Action = Raise, .Argument = HIGH_LEVEL};
        KIRQL Old, Inner;

        KeRaiseIrql(APC_LEVEL, &Old);
        ExpectBugCheck(&Wrong, IRQL_NOT_GREATER_OR_EQUAL, HIGH_LEVEL, APC_LEVEL);
        /* What the routine raised is forgotten: this thread's own raises still match. */
        KeRaiseIrql(SYNCH_LEVEL, &Inner);
        assert_int_equal(Inner, APC_LEVEL);
        KeLowerIrql(Inner);
        KeLowerIrql(Old);
        ExpectLevel(PASSIVE_LEVEL);
        assert_true(KprcbCatchBugCheck(Misuse, &Wrong, NULL));
        if (Round == 1) {
            assert_false(KprcbCatchBugCheck(Misuse, &Right, NULL));
            assert_int_equal(KeGetCurrentIrql(), HIGH_LEVEL);
            KeLowerIrql(PASSIVE_LEVEL);
        }
    }
}

static void dpcs_that_a_caught_bug_check_left_behind_run(void **State)
{
    RUN Run = {0, 0, 99, FALSE};
    KDPC Dpc;
    MISUSE This = {.Steps = {DISPATCH_LEVEL, SYNCH_LEVEL}, .Action = Raise, .Argument = DISPATCH_LEVEL, .Dpc = &Dpc};

    (void)State;
    KeInitializeDpc(&Dpc, RecordDpc, &Run);
    assert_true(KprcbCatchBugCheck(Misuse, &This, NULL));
    AwaitCount(&Run.Runs, 1);
    assert_int_equal(Run.Processor, 0);
    KeFlushQueuedDpcs();
}

/* --- What a free build does instead --- */

static void free_build_raise_sets_a_lower_level(void **State)
{
    (void)State;
    for (KIRQL From = APC_LEVEL; From <= HIGH_LEVEL; From += 1) {
        for (KIRQL To = PASSIVE_LEVEL; To < From; To += 1) {
            KIRQL Old = UNWRITTEN;

            KeRaiseIrql(From, &Old);
            KeRaiseIrql(To, &Old);
            assert_int_equal(Old, From);
            ExpectLevel(To);
            KeLowerIrql(PASSIVE_LEVEL);
            ExpectLevel(PASSIVE_LEVEL);
        }
    }
    KfRaiseIrql(HIGH_LEVEL);
    assert_int_equal(KeRaiseIrqlToDpcLevel(), HIGH_LEVEL);
    ExpectLevel(DISPATCH_LEVEL);
    KfRaiseIrql(HIGH_LEVEL);
    assert_int_equal(KeRaiseIrqlToSynchLevel(), HIGH_LEVEL);
    ExpectLevel(SYNCH_LEVEL);
    KeLowerIrql(PASSIVE_LEVEL);
}

static void free_build_lower_sets_any_level(void **State)
{
    (void)State;
    for (KIRQL From = PASSIVE_LEVEL; From <= HIGH_LEVEL; From += 1) {
        for (KIRQL To = PASSIVE_LEVEL; To <= HIGH_LEVEL; To += 1) {
            KIRQL Old;

            KeRaiseIrql(From, &Old);
            KeLowerIrql(To);
            ExpectLevel(To);
            KeLowerIrql(PASSIVE_LEVEL);
            ExpectLevel(PASSIVE_LEVEL);
        }
    }
}

static void free_build_set_level_runs_what_is_pending(void **State)
{
    RUN Run = {0, 0, 99, FALSE};
    KIRQL Old;
    KDPC Dpc;

    (void)State;
    KeInitializeDpc(&Dpc, RecordDpc, &Run);
    KeLowerIrql(DISPATCH_LEVEL);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    KeRaiseIrql(APC_LEVEL, &Old);
    assert_int_equal(Old, DISPATCH_LEVEL);
    assert_int_equal(Run.Runs, 1);
    KeLowerIrql(SYNCH_LEVEL);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    KeLowerIrql(DISPATCH_LEVEL);
    assert_int_equal(Run.Runs, 1);
    KeLowerIrql(PASSIVE_LEVEL);
    assert_int_equal(Run.Runs, 2);
}

static int RunGroup(ULONG Flags)
{
    static const struct CMUnitTest Checked[] = {
        cmocka_unit_test(pitfall_22_raising_to_a_lower_level_is_a_bug_check),
        cmocka_unit_test(pitfall_22_lowering_to_a_higher_level_is_a_bug_check),
        cmocka_unit_test(pitfall_22_lowering_to_another_level_than_that_of_the_raise_is_a_bug_check),
        cmocka_unit_test(a_level_above_high_level_is_a_bug_check_on_either_build),
        cmocka_unit_test(a_catch_restores_the_levels_of_the_caller),
        cmocka_unit_test(dpcs_that_a_caught_bug_check_left_behind_run),
    };
    static const struct CMUnitTest Free[] = {
        cmocka_unit_test(a_level_above_high_level_is_a_bug_check_on_either_build),
        cmocka_unit_test(free_build_raise_sets_a_lower_level),
        cmocka_unit_test(free_build_lower_sets_any_level),
        cmocka_unit_test(free_build_set_level_runs_what_is_pending),
    };

    MachineProcessors = 2;
    MachineFlags = Flags;
    return (Flags & KPRCB_FREE_BUILD) != 0 ? cmocka_run_group_tests_name("free build", Free, SetUp, TearDown)
                                           : cmocka_run_group_tests_name("checked build", Checked, SetUp, TearDown);
}

int main(void)
{
    static const ULONG Flags[] = {0, KPRCB_NO_MEMBARRIER, KPRCB_FREE_BUILD, KPRCB_FREE_BUILD | KPRCB_NO_MEMBARRIER};
    int Failed = 0;

    for (ULONG Index = 0; Index < 4; Index += 1) {
        Failed += RunGroup(Flags[Index]);
    }
    return Failed;
}
