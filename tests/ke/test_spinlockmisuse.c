/*
 * test_spinlockmisuse.c - include/kprcb/spinlock.h: what a checked build takes for a bug check and what a free build
 * does instead.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "spinlocktest.h"

/* --- Misuse on a checked build --- */

typedef struct {
    KIRQL Level;
    const FORM *Acquire[2]; /* in order; NULL: nothing */
    const FORM *Release;
    KIRQL Argument; /* of the release */
    ULONG Reached;  /* steps that returned */
} MISUSE;

static VOID Misuse(PVOID Context)
{
    MISUSE *This = Context;
    KIRQL Old;

    KeRaiseIrql(This->Level, &Old);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        if (This->Acquire[Index] != NULL) {
            This->Acquire[Index]->Acquire();
            This->Reached += 1;
        }
    }
    if (This->Release != NULL) {
        This->Release->Release(This->Argument);
        This->Reached += 1;
    }
}

static void ExpectBugCheck(MISUSE *This, ULONG Code, ULONG Reached, KPRCB_BUGCHECK *Result)
{
    memset(Result, 0xEE, sizeof(*Result));
    assert_true(KprcbCatchBugCheck(Misuse, This, Result));
    assert_int_equal(Result->Code, Code);
    assert_int_equal(This->Reached, Reached);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_int_equal(__atomic_load_n(&KeGetPcr()->PrcbData.ResidentIrql, __ATOMIC_ACQUIRE), PASSIVE_LEVEL);
    assert_null(__atomic_load_n(&KeGetPcr()->Owner, __ATOMIC_ACQUIRE));
}

static void ExpectLockBugCheck(MISUSE *This, ULONG Code, ULONG Reached)
{
    KPRCB_BUGCHECK Result;

    ExpectBugCheck(This, Code, Reached, &Result);
    assert_true(Result.Parameter[0] == (ULONG_PTR)&Lock);
    assert_true(Result.Parameter[1] == 0 && Result.Parameter[2] == 0 && Result.Parameter[3] == 0);
}

static void acquiring_again_is_a_bug_check(void **State)
{
    (void)State;
    for (ULONG First = 0; First < FORMS; First += 1) {
        for (ULONG Second = 0; Second < FORMS; Second += 1) {
            MISUSE This = {.Level = DISPATCH_LEVEL, .Acquire = {&Forms[First], &Forms[Second]}};

            if (!Forms[Second].Tries) {
                ExpectLockBugCheck(&This, SPIN_LOCK_ALREADY_OWNED, 1);
                assert_int_equal(LockWord(&Lock), 0); /* the catch has released it */
            }
        }
    }
}

static void releasing_a_free_lock_is_a_bug_check(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        MISUSE Never = {.Level = DISPATCH_LEVEL, .Release = &Forms[Index], .Argument = DISPATCH_LEVEL};

        ExpectLockBugCheck(&Never, SPIN_LOCK_NOT_OWNED, 0);
        assert_int_equal(LockWord(&Lock), 0);
    }
}

static void releasing_the_lock_of_another_thread_is_a_bug_check(void **State)
{
    HOLDER Holder = {0, 0};
    pthread_t Thread = StartThread(HoldLock, &Holder);
    KSPIN_LOCK Word;

    (void)State;
    AwaitCount(&Holder.Held, 1);
    Word = LockWord(&Lock);
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        MISUSE This = {.Level = DISPATCH_LEVEL, .Release = &Forms[Index], .Argument = DISPATCH_LEVEL};

        ExpectLockBugCheck(&This, SPIN_LOCK_NOT_OWNED, 0);
        assert_true(LockWord(&Lock) == Word); /* still the owner's */
    }
    CountOne(&Holder.Go);
    JoinThread(Thread);
    assert_int_equal(LockWord(&Lock), 0);
}

static void at_dpc_level_forms_below_dispatch_level_are_bug_checks(void **State)
{
    (void)State;
    for (KIRQL Level = PASSIVE_LEVEL; Level < DISPATCH_LEVEL; Level += 1) {
        for (ULONG Index = 0; Index < FORMS; Index += 1) {
            MISUSE This = {.Level = Level, .Acquire = {&Forms[Index]}};
            KPRCB_BUGCHECK Result;

            if (!Forms[Index].Raises) {
                ExpectBugCheck(&This, IRQL_NOT_GREATER_OR_EQUAL, 0, &Result);
                assert_int_equal(Result.Parameter[0], Level);
                assert_int_equal(Result.Parameter[1], DISPATCH_LEVEL);
                assert_int_equal(LockWord(&Lock), 0);
            }
        }
    }
}

static void raising_forms_above_dispatch_level_are_bug_checks(void **State)
{
    (void)State;
    for (KIRQL Level = DISPATCH_LEVEL + 1; Level <= HIGH_LEVEL; Level += 1) {
        for (ULONG Index = 0; Index < FORMS; Index += 1) {
            MISUSE This = {.Level = Level, .Acquire = {&Forms[Index]}};
            KPRCB_BUGCHECK Result;

            if (Forms[Index].Raises) {
                ExpectBugCheck(&This, IRQL_NOT_GREATER_OR_EQUAL, 0, &Result);
                assert_int_equal(Result.Parameter[0], Level);
                assert_int_equal(Result.Parameter[1], DISPATCH_LEVEL);
                assert_int_equal(LockWord(&Lock), 0);
            }
        }
    }
}

static VOID RaiseWithSharedLevel(PVOID Context)
{
    KIRQL *Old = Context;
    KIRQL Base;

    KeRaiseIrql(SYNCH_LEVEL, &Base);
    KeAcquireSpinLock(&Lock, Old);
}

static void pitfall_22_an_acquire_that_bug_checks_does_not_write_old_irql(void **State)
{
    KIRQL Old = UNWRITTEN;

    (void)State;
    assert_true(KprcbCatchBugCheck(RaiseWithSharedLevel, &Old, NULL));
    assert_int_equal(Old, UNWRITTEN);
}

static void releasing_to_another_level_is_a_bug_check_with_the_lock_free(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        MISUSE This = {.Acquire = {&Forms[Index]}, .Release = &Forms[Index], .Argument = APC_LEVEL};
        KPRCB_BUGCHECK Result;

        if (Forms[Index].Raises) {
            ExpectBugCheck(&This, IRQL_NOT_LESS_OR_EQUAL, 1, &Result);
            assert_int_equal(Result.Parameter[0], APC_LEVEL);
            assert_int_equal(Result.Parameter[1], DISPATCH_LEVEL);
            assert_int_equal(LockWord(&Lock), 0);
        }
    }
}

static KSPIN_LOCK OuterLock;

static void a_catch_releases_only_the_locks_taken_since(void **State)
{
    KIRQL Old;

    (void)State;
    for (ULONG Round = 0; Round < 3; Round += 1) {
        MISUSE This = {.Level = DISPATCH_LEVEL, .Acquire = {&Forms[3], &Forms[3]}};

        KeAcquireSpinLock(&OuterLock, &Old);
        KeLowerIrql(PASSIVE_LEVEL);
        ExpectLockBugCheck(&This, SPIN_LOCK_ALREADY_OWNED, 1);
        assert_int_equal(LockWord(&Lock), 0);
        assert_true(LockWord(&OuterLock) == HeldValue());
        KeRaiseIrqlToDpcLevel();
        KeReleaseSpinLock(&OuterLock, PASSIVE_LEVEL);
        assert_int_equal(LockWord(&OuterLock), 0);
    }
}

/* --- stderr, for what the library prints --- */

static int SavedStderr;

static FILE *DivertStderr(void)
{
    int Ends[2];

    assert_int_equal(pipe(Ends), 0);
    fflush(stderr);
    SavedStderr = dup(2);
    assert_true(SavedStderr >= 0);
    assert_int_equal(dup2(Ends[1], 2), 2);
    close(Ends[1]);
    return fdopen(Ends[0], "r");
}

static void RestoreStderr(FILE *Reader)
{
    fflush(stderr);
    dup2(SavedStderr, 2);
    close(SavedStderr);
    fclose(Reader);
}

/* Reads until a line holds both texts. */
static void AwaitLine(FILE *Reader, const char *Text, const void *Address)
{
    char Line[1024], Number[32];

    snprintf(Number, sizeof(Number), "%p", Address);
    do {
        if (fgets(Line, sizeof(Line), Reader) == NULL) {
            abort();
        }
    } while (strstr(Line, Text) == NULL || strstr(Line, Number) == NULL);
}

static void a_catch_names_the_locks_it_releases(void **State)
{
    MISUSE This = {.Level = DISPATCH_LEVEL, .Acquire = {&Forms[3], &Forms[3]}};
    FILE *Reader = DivertStderr();

    (void)State;
    KprcbCatchBugCheck(Misuse, &This, NULL);
    AwaitLine(Reader, "released", &Lock);
    RestoreStderr(Reader);
    assert_int_equal(LockWord(&Lock), 0);
}

/* --- Misuse on a free build --- */

static void *AcquireTwice(void *Context)
{
    KIRQL Old;

    if (KprcbAttachThread(1) != STATUS_SUCCESS) {
        abort();
    }
    KeAcquireSpinLock(&Lock, &Old);
    KeAcquireSpinLockAtDpcLevel(&Lock);
    CountOne((ULONG volatile *)Context);
    KeReleaseSpinLock(&Lock, Old);
    return NULL;
}

static void free_build_acquiring_again_spins_until_the_hang_report(void **State)
{
    ULONG volatile Acquired = 0;
    FILE *Reader;
    pthread_t Thread;

    (void)State;
    KprcbSetHangReport(20);
    Reader = DivertStderr();
    Thread = StartThread(AcquireTwice, (void *)&Acquired);
    AwaitLine(Reader, "a spin lock", &Lock);
    KprcbSetHangReport(0);
    assert_int_equal(__atomic_load_n(&Acquired, __ATOMIC_ACQUIRE), 0);
    assert_int_equal(LockWord(&Lock), 1);
    KeReleaseSpinLockFromDpcLevel(&Lock); /* a wrong release frees the lock */
    JoinThread(Thread);
    RestoreStderr(Reader);
    assert_int_equal(Acquired, 1);
    assert_int_equal(LockWord(&Lock), 0);
}

static void free_build_a_wrong_release_frees_the_lock(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < FORMS; Index += 1) {
        HOLDER Holder = {0, 0};
        pthread_t Thread = StartThread(HoldLock, &Holder);
        KIRQL Old;

        AwaitCount(&Holder.Held, 1);
        assert_int_equal(LockWord(&Lock), 1);
        KeRaiseIrql(DISPATCH_LEVEL, &Old);
        Forms[Index].Release(DISPATCH_LEVEL);
        assert_int_equal(LockWord(&Lock), 0);
        Forms[Index].Release(DISPATCH_LEVEL); /* of a free lock */
        assert_int_equal(LockWord(&Lock), 0);
        KeLowerIrql(Old);
        CountOne(&Holder.Go);
        JoinThread(Thread);
    }
}

static void free_build_at_dpc_level_forms_work_at_any_level(void **State)
{
    (void)State;
    for (KIRQL Level = PASSIVE_LEVEL; Level < DISPATCH_LEVEL; Level += 1) {
        for (ULONG Index = 0; Index < FORMS; Index += 1) {
            KIRQL Base;

            if (!Forms[Index].Raises) {
                KeRaiseIrql(Level, &Base);
                Forms[Index].Acquire();
                assert_int_equal(KeGetCurrentIrql(), Level);
                assert_int_equal(LockWord(&Lock), 1);
                Forms[Index].Release(Level);
                assert_int_equal(KeGetCurrentIrql(), Level);
                assert_int_equal(LockWord(&Lock), 0);
                KeLowerIrql(Base);
            }
        }
    }
}

static int RunGroup(ULONG Flags)
{
    static const struct CMUnitTest Checked[] = {
        cmocka_unit_test(acquiring_again_is_a_bug_check),
        cmocka_unit_test(releasing_a_free_lock_is_a_bug_check),
        cmocka_unit_test(releasing_the_lock_of_another_thread_is_a_bug_check),
        cmocka_unit_test(at_dpc_level_forms_below_dispatch_level_are_bug_checks),
        cmocka_unit_test(raising_forms_above_dispatch_level_are_bug_checks),
        cmocka_unit_test(pitfall_22_an_acquire_that_bug_checks_does_not_write_old_irql),
        cmocka_unit_test(releasing_to_another_level_is_a_bug_check_with_the_lock_free),
        cmocka_unit_test(a_catch_releases_only_the_locks_taken_since),
        cmocka_unit_test(a_catch_names_the_locks_it_releases),
    };
    static const struct CMUnitTest Free[] = {
        cmocka_unit_test(free_build_acquiring_again_spins_until_the_hang_report),
        cmocka_unit_test(free_build_a_wrong_release_frees_the_lock),
        cmocka_unit_test(free_build_at_dpc_level_forms_work_at_any_level),
    };

    MachineFlags = Flags | KPRCB_NO_SIGNALS; /* an IPI is served by a poll, which shows where its owner is */
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
