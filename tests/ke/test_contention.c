/*
 * test_contention.c - more threads than processors fight for one lock: each gets on, and those that rest hold nothing
 * up.
 */
#include "support/check.h"

#define THREADS 12
#define PROCESSORS 2
#define QUOTA (TEST_SANITIZED ? 3000 : 30000)
#define FLUSHES 100
#define FIGHTS 3
#define AFTERWARDS 1000

typedef struct _FIGHT {
    KSPIN_LOCK Lock;
    BOOLEAN Queued;
    ULONG Inside; /* guarded by Lock */
    ULONG volatile Gate;
    ULONG volatile Filled; /* threads that have had their quota */
    ULONG volatile Stop;   /* Filled at which they end */
} FIGHT;

static VOID Work(FIGHT *Fight)
{
    Check(Fight->Inside == 0);
    Fight->Inside += 1;
    Check(Fight->Inside == 1);
    Fight->Inside -= 1;
}

static VOID Operate(FIGHT *Fight)
{
    KLOCK_QUEUE_HANDLE Handle;
    KIRQL OldIrql;

    if (Fight->Queued) {
        KeAcquireInStackQueuedSpinLock(&Fight->Lock, &Handle);
        Work(Fight);
        KeReleaseInStackQueuedSpinLock(&Handle);
    } else {
        KeAcquireSpinLock(&Fight->Lock, &OldIrql);
        Work(Fight);
        KeReleaseSpinLock(&Fight->Lock, OldIrql);
    }
}

/* Fights until everyone has had its quota, then uses its processor without the lock: it may still be told to rest. */
static void *FightThread(void *Context)
{
    FIGHT *Fight = Context;

    MeetAtGate(&Fight->Gate, THREADS);
    for (ULONG Count = 1; __atomic_load_n(&Fight->Filled, __ATOMIC_ACQUIRE) < Fight->Stop; Count += 1) {
        Operate(Fight);
        if (Count == QUOTA) {
            CountOne(&Fight->Filled);
        }
    }
    for (ULONG Count = 0; Count < AFTERWARDS; Count += 1) {
        KIRQL OldIrql;

        KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
        Check(OldIrql == PASSIVE_LEVEL);
        KeLowerIrql(OldIrql);
    }
    Check(KprcbDetachThread() == STATUS_SUCCESS);
    return NULL;
}

static void StartFight(FIGHT *Fight, pthread_t *Threads, BOOLEAN Queued, ULONG Stop)
{
    *Fight = (FIGHT){.Queued = Queued, .Stop = Stop};
    for (ULONG Index = 0; Index < THREADS; Index += 1) {
        Threads[Index] = StartThread(FightThread, Fight);
    }
}

static void EndFight(FIGHT *Fight, pthread_t *Threads)
{
    for (ULONG Index = 0; Index < THREADS; Index += 1) {
        JoinThread(Threads[Index]);
    }
    assert_int_equal(WrongLine, 0);
    assert_true(KeTestSpinLock(&Fight->Lock));
}

/* Several fights: the threads of one take the memory of those of the one before, which others may still tell to rest. */
static void EveryThreadGetsOn(BOOLEAN Queued)
{
    FIGHT Fight;
    pthread_t Threads[THREADS];

    StartMachine(PROCESSORS, 0);
    for (ULONG Round = 0; Round < FIGHTS; Round += 1) {
        StartFight(&Fight, Threads, Queued, THREADS);
        EndFight(&Fight, Threads);
    }
    StopMachine();
}

static void every_thread_gets_on_with_a_queued_lock(void **State)
{
    UNREFERENCED_PARAMETER(State);
    EveryThreadGetsOn(TRUE);
}

static void every_thread_gets_on_with_a_spin_lock(void **State)
{
    UNREFERENCED_PARAMETER(State);
    EveryThreadGetsOn(FALSE);
}

static ULONG volatile Ran;

static VOID CountRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(&Ran);
}

static void dpcs_run_on_every_processor_while_threads_fight_and_rest(void **State)
{
    KDPC Dpcs[PROCESSORS];
    FIGHT Fight;
    pthread_t Threads[THREADS];

    UNREFERENCED_PARAMETER(State);
    StartMachine(PROCESSORS, 0);
    Ran = 0;
    for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
        PROCESSOR_NUMBER Number = {.Number = (UCHAR)Index};

        KeInitializeDpc(&Dpcs[Index], CountRoutine, NULL);
        KeSetImportanceDpc(&Dpcs[Index], HighImportance);
        assert_int_equal(KeSetTargetProcessorDpcEx(&Dpcs[Index], &Number), STATUS_SUCCESS);
    }
    StartFight(&Fight, Threads, TRUE, THREADS + 1);
    AwaitCount(&Fight.Gate, THREADS);
    for (ULONG Flush = 0; Flush < FLUSHES; Flush += 1) {
        for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
            assert_true(KeInsertQueueDpc(&Dpcs[Index], NULL, NULL));
        }
        KeFlushQueuedDpcs();
        assert_int_equal(Ran, (Flush + 1) * PROCESSORS);
    }
    CountOne(&Fight.Filled);
    EndFight(&Fight, Threads);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(every_thread_gets_on_with_a_queued_lock),
        cmocka_unit_test(every_thread_gets_on_with_a_spin_lock),
        cmocka_unit_test(dpcs_run_on_every_processor_while_threads_fight_and_rest),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
