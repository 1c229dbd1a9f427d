/*
 * test_bias.c - the resident's bias: revocation, its return, and residents that are displaced. Each test runs with
 * and without membarrier.
 */
#include "ownertest.h"

#include <unistd.h>

/* --- Revocation --- */

static int SleepPipe[2];

static void *ResidentSleeps(void *Context)
{
    char Byte;

    (void)Context;
    (void)KprcbAttachThread(0);
    OwnOnce();
    CountOne(&Gate);
    (void)!read(SleepPipe[0], &Byte, 1);
    OwnOnce();
    return NULL;
}

static void test_revocation_of_a_resident_asleep_in_a_host_call(void **State)
{
    pthread_t Resident;

    (void)State;
    Begin(2);
    assert_int_equal(pipe(SleepPipe), 0);
    Resident = StartThread(ResidentSleeps, NULL);
    AwaitCount(&Gate, 1);
    (void)KeSetSystemAffinityThreadEx(1);
    for (ULONG Round = 0; Round < 1000; Round += 1) {
        assert_int_equal(OwnOnce(), 0);
    }
    assert_int_equal(write(SleepPipe[1], "x", 1), 1);
    JoinThread(Resident);
    close(SleepPipe[0]);
    close(SleepPipe[1]);
    StopMachine();
}

static ULONG OwnedCount; /* guarded by processor 0 */

static void CountOwned(void)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    OwnedCount += 1;
    KeLowerIrql(OldIrql);
}

static void *ResidentLoops(void *Context)
{
    ULONG Rounds = 0;

    (void)Context;
    (void)KprcbAttachThread(0);
    CountOne(&Gate);
    while (Load(&Release) == 0) {
        CountOwned();
        Rounds += 1;
    }
    return (void *)(ULONG_PTR)Rounds;
}

static void test_revocation_of_a_resident_in_a_loop(void **State)
{
    pthread_t Resident;
    void *Rounds;
    ULONG Mine = TEST_SANITIZED ? 300 : 3000;

    (void)State;
    Begin(2);
    OwnedCount = 0;
    Resident = StartThread(ResidentLoops, NULL);
    AwaitCount(&Gate, 1);
    (void)KeSetSystemAffinityThreadEx(1);
    for (ULONG Round = 0; Round < Mine; Round += 1) {
        CountOwned();
    }
    CountOne(&Release);
    assert_int_equal(pthread_join(Resident, &Rounds), 0);
    assert_int_equal(OwnedCount, Mine + (ULONG)(ULONG_PTR)Rounds);
    StopMachine();
}

/* The resident hops away and back while it is being revoked. */
static void *ResidentHops(void *Context)
{
    ULONG OnZero = 0;

    (void)Context;
    (void)KeGetCurrentThread();
    CountOne(&Gate);
    for (ULONG Round = 0; Load(&Release) == 0; Round += 1) {
        (void)KeSetSystemAffinityThreadEx((KAFFINITY)1 << Round % 2);
        for (ULONG Step = 0; Step < 40; Step += 1) {
            KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

            if (KeGetCurrentProcessorNumberEx(NULL) == 0) {
                OwnedCount += 1;
                OnZero += 1;
            }
            KeLowerIrql(OldIrql);
        }
    }
    return (void *)(ULONG_PTR)OnZero;
}

static void test_resident_that_moves_while_it_is_revoked(void **State)
{
    pthread_t Resident[2];
    ULONG Mine = TEST_SANITIZED ? 300 : 3000, Theirs = 0;

    (void)State;
    Begin(2);
    OwnedCount = 0;
    for (ULONG Index = 0; Index < 2; Index += 1) {
        Resident[Index] = StartThread(ResidentHops, NULL);
        AwaitCount(&Gate, Index + 1);
    }
    (void)KeSetSystemAffinityThreadEx(1);
    for (ULONG Round = 0; Round < Mine; Round += 1) {
        CountOwned();
    }
    CountOne(&Release);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        void *Rounds;

        assert_int_equal(pthread_join(Resident[Index], &Rounds), 0);
        Theirs += (ULONG)(ULONG_PTR)Rounds;
    }
    assert_int_equal(OwnedCount, Mine + Theirs);
    StopMachine();
}

/* --- The return of the bias --- */

static void *VisitWhenTold(void *Context)
{
    (void)Context;
    (void)KeSetSystemAffinityThreadEx(2);
    for (ULONG Visit = 1;; Visit += 1) {
        AwaitCount(&Release, Visit);
        if (Load(&Finished) != 0) {
            return NULL;
        }
        (void)KeSetSystemAffinityThreadEx(1); /* owns processor 0 once */
        (void)KeSetSystemAffinityThreadEx(2);
        CountOne(&Gate);
    }
}

static void Visit(void)
{
    ULONG Before = Load(&Gate);

    CountOne(&Release);
    AwaitCount(&Gate, Before + 1);
}

/* How many acquisitions it takes until the bias is back. */
static ULONG AcquisitionsToBias(void)
{
    ULONG Count = 0;

    do {
        OwnOnce();
        Count += 1;
    } while (!IsBiased());
    return Count;
}

static void test_bias_returns_after_a_run_that_doubles(void **State)
{
    pthread_t Visitor;

    (void)State;
    Begin(2);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Visitor = StartThread(VisitWhenTold, NULL);
    assert_true(IsBiased());
    for (ULONG Run = 32; Run <= 4096; Run *= 2) {
        Visit();
        OwnOnce();
        assert_false(IsBiased());
        assert_null(KprcbThread.Fast);
        assert_int_equal(AcquisitionsToBias(), Run);
        assert_true(KprcbThread.Fast == (KiMachine.Biased ? KiProcessor(0) : NULL));
        /* And it stays. */
        for (ULONG Round = 0; Round < 100; Round += 1) {
            OwnOnce();
        }
        assert_true(IsBiased());
    }
    /* The longest run. */
    KeGetCurrentThread()->BiasThreshold = 1u << 20;
    Visit();
    OwnOnce();
    assert_int_equal(KeGetCurrentThread()->BiasThreshold, 1u << 20);
    /* A visit within the run begins it again. */
    KeGetCurrentThread()->BiasThreshold = 64;
    for (ULONG Round = 0; Round < 40; Round += 1) {
        OwnOnce();
    }
    Visit();
    OwnOnce();
    assert_int_equal(AcquisitionsToBias(), 64);
    CountOne(&Finished);
    CountOne(&Release);
    JoinThread(Visitor);
    StopMachine();
}

/* The acquisition that would regain the bias is the one that gives the residency up. */
static void EndAtTheEndOfARun(BOOLEAN Move)
{
    pthread_t Visitor;
    PKPCR Pcr;

    Begin(2);
    Pcr = KiProcessor(0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Visitor = StartThread(VisitWhenTold, NULL);
    Visit();
    CountOne(&Finished);
    CountOne(&Release);
    JoinThread(Visitor);
    OwnOnce();
    for (ULONG Round = 1; Round < 32; Round += 1) {
        OwnOnce();
    }
    assert_false(IsBiased());
    assert_int_equal(KeGetCurrentThread()->BiasThreshold, 32);
    assert_int_equal(Move ? KprcbAttachThread(1) : KprcbDetachThread(), STATUS_SUCCESS);
    assert_null(Pcr->Resident);
    assert_null(Pcr->Owner);
    assert_true((Load(&Pcr->Request) & KPCR_REQUEST_REVOKED) != 0);
    assert_true(KprcbThread.Fast == NULL || (Move && KprcbThread.Fast == KiProcessor(1)));
    StopMachine();
}

static void test_move_at_the_end_of_a_run(void **State)
{
    (void)State;
    EndAtTheEndOfARun(TRUE);
}

static void test_detach_at_the_end_of_a_run(void **State)
{
    (void)State;
    EndAtTheEndOfARun(FALSE);
}

/* --- Displaced residents --- */

static void *AutoResident(void *Context)
{
    BOOLEAN CallsLater = Context != NULL;

    if (OwnOnce() != 0 || !IsBiased()) {
        CountOne(&Finished);
    }
    CountOne(&Gate);
    AwaitCount(&Release, 1);
    if (CallsLater) {
        OwnOnce();
        OwnOnce();
    }
    CountOne(&Gate);
    AwaitCount(&Release, 2);
    return NULL;
}

static void DisplaceAutoResident(BOOLEAN CallsLater)
{
    pthread_t Displaced = StartThread(AutoResident, (void *)(ULONG_PTR)CallsLater);

    AwaitCount(&Gate, 1);
    assert_int_equal(Load(&Finished), 0);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    assert_ptr_equal(KiProcessor(0)->Resident, KeGetCurrentThread());
    assert_int_equal(Load(&KiProcessor(0)->StaleResidents), 1);
    for (ULONG Round = 0; Round < 200; Round += 1) {
        assert_int_equal(OwnOnce(), 0);
    }
    /* The displaced thread may still be about to store its level. */
    assert_false(IsBiased());
    CountOne(&Release);
    AwaitCount(&Gate, 2);
    for (ULONG Round = 0; Round < 200; Round += 1) {
        OwnOnce();
    }
    assert_int_equal(IsBiased(), CallsLater);
    CountOne(&Release);
    JoinThread(Displaced);
    assert_int_equal(Load(&KiProcessor(0)->StaleResidents), 0);
    for (ULONG Round = 0; Round < 200; Round += 1) {
        OwnOnce();
    }
    assert_true(IsBiased());
    StopMachine();
}

static void test_displaced_resident_that_never_calls_again(void **State)
{
    (void)State;
    Begin(1);
    DisplaceAutoResident(FALSE);
}

static void test_displaced_resident_that_calls_later(void **State)
{
    (void)State;
    Begin(1);
    DisplaceAutoResident(TRUE);
}

static void *AutoResidentAtDispatch(void *Context)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    (void)Context;
    CountOne(&Gate);
    AwaitWaiter(KiProcessor(0));
    CountOne(&Finished);
    KeLowerIrql(OldIrql);
    OwnOnce();
    return NULL;
}

static void test_resident_is_displaced_only_below_dispatch_level(void **State)
{
    pthread_t Displaced;

    (void)State;
    Begin(1);
    Displaced = StartThread(AutoResidentAtDispatch, NULL);
    AwaitCount(&Gate, 1);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    assert_int_equal(Load(&Finished), 1);
    OwnOnce();
    JoinThread(Displaced);
    StopMachine();
}

/* Displaced and displacing threads in turn. */
static void *LoopAsAuto(void *Context)
{
    ULONG Rounds = 0;

    (void)Context;
    while (Load(&Release) == 0) {
        CountOwned();
        Rounds += 1;
        if (Rounds % 64 == 0 && KprcbDetachThread() != STATUS_SUCCESS) {
            CountOne(&Finished);
        }
    }
    return (void *)(ULONG_PTR)Rounds;
}

static void test_residents_displace_one_another(void **State)
{
    pthread_t Threads[2];
    ULONG Mine = 0, Theirs = 0;

    (void)State;
    Begin(1);
    OwnedCount = 0;
    for (ULONG Index = 0; Index < 2; Index += 1) {
        Threads[Index] = StartThread(LoopAsAuto, NULL);
    }
    for (ULONG Round = 0; Round < (TEST_SANITIZED ? 100u : 500u); Round += 1) {
        assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
        for (ULONG Step = 0; Step < 50; Step += 1, Mine += 1) {
            CountOwned();
        }
        assert_int_equal(KprcbDetachThread(), STATUS_SUCCESS);
    }
    CountOne(&Release);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        void *Rounds;

        assert_int_equal(pthread_join(Threads[Index], &Rounds), 0);
        Theirs += (ULONG)(ULONG_PTR)Rounds;
    }
    assert_int_equal(OwnedCount, Mine + Theirs);
    assert_int_equal(Load(&Finished), 0);
    assert_int_equal(Load(&KiProcessor(0)->StaleResidents), 0);
    assert_null(KiProcessor(0)->Resident);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_revocation_of_a_resident_asleep_in_a_host_call),
        cmocka_unit_test(test_revocation_of_a_resident_in_a_loop),
        cmocka_unit_test(test_resident_that_moves_while_it_is_revoked),
        cmocka_unit_test(test_bias_returns_after_a_run_that_doubles),
        cmocka_unit_test(test_move_at_the_end_of_a_run),
        cmocka_unit_test(test_detach_at_the_end_of_a_run),
        cmocka_unit_test(test_displaced_resident_that_never_calls_again),
        cmocka_unit_test(test_displaced_resident_that_calls_later),
        cmocka_unit_test(test_resident_is_displaced_only_below_dispatch_level),
        cmocka_unit_test(test_residents_displace_one_another),
    };

    return RunWithAndWithoutMembarrier(Tests, ARRAYSIZE(Tests));
}
