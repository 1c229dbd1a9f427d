/*
 * test_owner.c - who owns a processor: exclusion, waiting, and other processors instead of waiting. Each test runs
 * with and without membarrier.
 */
#include "ownertest.h"

/* --- Collisions --- */

/* Owns a processor of the affinity mask in Context once. */
static void *EnterOnce(void *Context)
{
    (void)KeSetSystemAffinityThreadEx((KAFFINITY)(ULONG_PTR)Context);
    CountOne(&Entered);
    OwnOnce();
    CountOne(&Finished);
    return NULL;
}

static void SecondThreadWaits(void)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
    pthread_t Second = StartThread(EnterOnce, (void *)1);

    AwaitWaiter(KiProcessor(0));
    for (ULONG Step = 0; Step < 100; Step += 1) {
        sched_yield();
    }
    assert_int_equal(Load(&Entered), 0);
    assert_ptr_equal(KiQueryOwner(KiProcessor(0)), KeGetCurrentThread());
    KeLowerIrql(OldIrql);
    JoinThread(Second);
    assert_int_equal(Load(&Entered), 1);
}

static void test_second_thread_waits_for_the_resident(void **State)
{
    (void)State;
    Begin(2);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    assert_true(IsBiased());
    SecondThreadWaits();
    StopMachine();
}

static void test_second_thread_waits_for_the_owner_by_token(void **State)
{
    (void)State;
    Begin(2);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    (void)KeSetSystemAffinityThreadEx(1);
    assert_false(IsBiased());
    SecondThreadWaits();
    StopMachine();
}

static void *ResidentEnters(void *Context)
{
    (void)Context;
    (void)KprcbAttachThread(0);
    OwnOnce();
    CountOne(&Gate);
    AwaitCount(&Release, 1);
    OwnOnce();
    CountOne(&Finished);
    return NULL;
}

static void test_resident_waits_for_another_owner(void **State)
{
    pthread_t Resident;
    KIRQL OldIrql;

    (void)State;
    Begin(2);
    Resident = StartThread(ResidentEnters, NULL);
    AwaitCount(&Gate, 1);
    (void)KeSetSystemAffinityThreadEx(1);
    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), 0);
    CountOne(&Release);
    AwaitWaiter(KiProcessor(0));
    for (ULONG Step = 0; Step < 100; Step += 1) {
        sched_yield();
    }
    assert_int_equal(Load(&Finished), 0);
    KeLowerIrql(OldIrql);
    JoinThread(Resident);
    assert_int_equal(Load(&Finished), 1);
    StopMachine();
}

/* --- A thread spins at DISPATCH_LEVEL for another one of the same home --- */

/*
 * Makes processor 0 the home of the thread, lets it run everywhere, and owns a processor once the owner of 0 says so.
 */
static void *ComeFromProcessor0(void *Context)
{
    (void)Context;
    (void)KeSetSystemAffinityThreadEx(1);
    KeRevertToUserAffinityThreadEx(0);
    CountOne(&Gate);
    AwaitCount(&Release, 1);
    CountOne(&Entered);
    if (OwnOnce() != 0) {
        CountOne(&Finished);
    }
    CountOne(&Entered);
    return NULL;
}

static void OwnerSpinsForItsNeighbour(void)
{
    pthread_t Neighbour = StartThread(ComeFromProcessor0, NULL);
    BOOLEAN Done;
    KIRQL OldIrql;

    AwaitCount(&Gate, 1);
    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), 0);
    CountOne(&Release);
    Done = AwaitOrGiveUp(&Entered, 2);
    KeLowerIrql(OldIrql);
    JoinThread(Neighbour);
    assert_true(Done);
    assert_int_equal(Load(&Finished), 1);
}

static void test_owner_by_token_may_spin_for_a_thread_of_its_home(void **State)
{
    (void)State;
    Begin(2);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    (void)KeSetSystemAffinityThreadEx(1);
    OwnerSpinsForItsNeighbour();
    StopMachine();
}

static void test_resident_by_token_may_spin_for_a_thread_of_its_home(void **State)
{
    (void)State;
    Begin(2);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    OwnerSpinsForItsNeighbour();
    StopMachine();
}

static ULONG volatile SitterGate;

static void *SitOnProcessor1(void *Context)
{
    (void)Context;
    (void)KprcbAttachThread(1);
    OwnOnce();
    CountOne(&SitterGate);
    AwaitCount(&SitterGate, 2);
    return NULL;
}

/* The only other processor has a biased resident that calls nothing. */
static void test_spinner_for_its_neighbour_with_all_residencies_taken(void **State)
{
    pthread_t Sitter;

    (void)State;
    Begin(2);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    SitterGate = 0;
    Sitter = StartThread(SitOnProcessor1, NULL);
    AwaitCount(&SitterGate, 1);
    OwnerSpinsForItsNeighbour();
    CountOne(&SitterGate);
    JoinThread(Sitter);
    StopMachine();
}

static void test_biased_resident_may_spin_for_a_thread_of_its_home(void **State)
{
    pthread_t Neighbour;
    KIRQL OldIrql;
    BOOLEAN Done;

    (void)State;
    Begin(2);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Neighbour = StartThread(ComeFromProcessor0, NULL);
    AwaitCount(&Gate, 1);
    for (ULONG Round = 0; Round < 100; Round += 1) {
        OwnOnce(); /* regains the bias that the neighbour's visit has cost */
    }
    assert_true(IsBiased());
    OldIrql = KeRaiseIrqlToDpcLevel();
    CountOne(&Release);
    Done = AwaitOrGiveUp(&Entered, 2);
    KeLowerIrql(OldIrql);
    JoinThread(Neighbour);
    assert_true(Done);
    StopMachine();
}

/*
 * A resident ends while another thread owns its processor at DISPATCH_LEVEL and spins for the first call of a third.
 * The end must not keep the third from being attached.
 */
static void *EndWhenTold(void *Context)
{
    (void)Context;
    (void)KprcbAttachThread(0);
    CountOne(&Gate);
    AwaitCount(&Release, 1);
    return NULL;
}

static void *FirstCall(void *Context)
{
    (void)Context;
    OwnOnce();
    CountOne(&Finished);
    return NULL;
}

static void test_end_of_a_resident_does_not_stop_first_calls(void **State)
{
    pthread_t Ending, Third;
    KIRQL OldIrql;
    BOOLEAN Done;

    (void)State;
    Begin(3);
    Ending = StartThread(EndWhenTold, NULL);
    AwaitCount(&Gate, 1);
    assert_int_equal(KprcbAttachThread(1), STATUS_SUCCESS);
    (void)KeSetSystemAffinityThreadEx(1);
    OldIrql = KeRaiseIrqlToDpcLevel();
    assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), 0);
    CountOne(&Release);
    AwaitWaiter(KiProcessor(0));
    Third = StartThread(FirstCall, NULL);
    Done = AwaitOrGiveUp(&Finished, 1);
    KeLowerIrql(OldIrql);
    JoinThread(Third);
    JoinThread(Ending);
    StopMachine();
    assert_true(Done);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_second_thread_waits_for_the_resident),
        cmocka_unit_test(test_second_thread_waits_for_the_owner_by_token),
        cmocka_unit_test(test_resident_waits_for_another_owner),
        cmocka_unit_test(test_owner_by_token_may_spin_for_a_thread_of_its_home),
        cmocka_unit_test(test_resident_by_token_may_spin_for_a_thread_of_its_home),
        cmocka_unit_test(test_spinner_for_its_neighbour_with_all_residencies_taken),
        cmocka_unit_test(test_biased_resident_may_spin_for_a_thread_of_its_home),
        cmocka_unit_test(test_end_of_a_resident_does_not_stop_first_calls),
    };

    return RunWithAndWithoutMembarrier(Tests, ARRAYSIZE(Tests));
}
