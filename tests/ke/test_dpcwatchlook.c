/*
 * test_dpcwatchlook.c - a look of the DPC watchdog whose thread loses its CPU in the middle.
 *
 * The test's own clock_gettime holds the clock after it has read the CPU time of the owner.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "dpctest.h"

#define LIMIT 50 /* ms */
#define BURN 20  /* ms, of each short DPC */
#define SHORT_DPCS 4

static ULONG volatile Watching; /* looks are told */
static ULONG volatile Hold;     /* the next look is held */
static sem_t Looks;             /* of the clock, begun */
static sem_t Release;

static void Take(sem_t *Semaphore)
{
    while (sem_wait(Semaphore) != 0 && errno == EINTR) {
    }
}

/* Of another thread than the caller: the watchdog's look. */
int clock_gettime(clockid_t Clock, struct timespec *Time)
{
    int Result = (int)syscall(SYS_clock_gettime, Clock, Time);

    if (Clock < 0 && CountOf(&Watching) != 0) {
        ULONG Held = __atomic_exchange_n(&Hold, 0, __ATOMIC_ACQ_REL);

        sem_post(&Looks);
        if (Held != 0) {
            Take(&Release);
        }
    }
    return Result;
}

static void TakeLooks(ULONG Count)
{
    for (ULONG Index = 0; Index < Count; Index += 1) {
        Take(&Looks);
    }
}

/* After it the owner has been seen often enough for its time to count, and the clock is held in a look. */
static VOID FirstRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    __atomic_store_n(&Watching, 1, __ATOMIC_RELEASE);
    TakeLooks(4);
    __atomic_store_n(&Hold, 1, __ATOMIC_RELEASE);
    do {
        TakeLooks(1);
    } while (CountOf(&Hold) != 0);
}

static VOID BurnRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    clock_t End = clock() + BURN * (CLOCKS_PER_SEC / 1000);

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    while (clock() < End) {
    }
}

/* The held look ends, and two more, while this DPC uses next to no time. */
static VOID LastRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    sem_post(&Release);
    TakeLooks(3);
    __atomic_store_n(&Watching, 0, __ATOMIC_RELEASE);
    CountOne((ULONG volatile *)Context);
}

static KDPC Dpcs[SHORT_DPCS + 2];

static VOID RunDpcs(PVOID Context)
{
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Context);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    for (ULONG Index = 0; Index < ARRAYSIZE(Dpcs); Index += 1) {
        KeInsertQueueDpc(&Dpcs[Index], NULL, NULL);
    }
    KeLowerIrql(OldIrql);
}

static void a_look_that_is_held_accuses_no_dpc_that_began_meanwhile(void **State)
{
    KPRCB_CONFIG Config = Configuration(1, 0, KPRCB_NO_PINNING);
    ULONG volatile Ended = 0;
    KPRCB_BUGCHECK BugCheck = {0};

    (void)State;
    sem_init(&Looks, 0, 0);
    sem_init(&Release, 0, 0);
    Config.DpcTimeout = LIMIT;
    Config.DpcWatchdogPeriod = KPRCB_NO_DPC_TIMEOUT;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    for (ULONG Index = 0; Index < ARRAYSIZE(Dpcs); Index += 1) {
        KeInitializeDpc(&Dpcs[Index],
                        Index == 0            ? FirstRoutine
                        : Index <= SHORT_DPCS ? BurnRoutine
                                              : LastRoutine,
                        (PVOID)&Ended);
    }
    assert_false(KprcbCatchBugCheck(RunDpcs, NULL, &BugCheck));
    assert_int_equal(BugCheck.Code, 0);
    assert_int_equal(Ended, 1);
    StopMachine();
    sem_destroy(&Looks);
    sem_destroy(&Release);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(a_look_that_is_held_accuses_no_dpc_that_began_meanwhile),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
