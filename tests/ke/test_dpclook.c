/*
 * test_dpclook.c - a DPC posted to an owner who is just letting go (src/ke/request.c, irql.c, KiIsOwned of owner.c).
 *
 * The resident raises and lowers until it is told to stop, and then calls the library no more. A poster tells it to
 * stop and posts a DPC at about that time: to an owner, who must look once more after it has let go, or to nobody, and
 * then the idle thread must be woken. The next post comes after the DPC has run. A lost post is one that stays queued
 * though the resident rests.
 *
 * The owner writes lines of memory that the poster has just written. These stores keep the store of the lower, which
 * must stay behind them, waiting in the CPU's store buffer, while its load of Request goes ahead: where the second
 * look is missing this loses posts.
 *
 * KPRCB_EXPECT_LOST_POST=1 turns the result round, for a library built with KPRCB_BREAK_SECOND_LOOK: 0 if a post was
 * lost, 1 if none was, 77 if the host cannot show it (one CPU, or no membarrier). KPRCB_POSTS is the number of posts.
 */
#include <stdlib.h>
#include <time.h>

#include "dpctest.h"
#include "hal.h"

#define POSTS 10000
#define SANITIZED_POSTS 2000
#define EXPECTED_POSTS 200000 /* enough for a lost one to be among them */
#define GUARD 20              /* seconds without progress: the guard of a hang, not a measurement */
#define EXPECTED_GUARD 1
#define SPINS 2000
#define TARGET 1
#define ELSEWHERE 2
#define LINES 12
#define BIAS_ROUNDS 4  /* each loss of bias makes its return slower; a resident who comes home starts afresh */
#define BIAS_RAISES 40 /* more than a resident needs to regain it then */

typedef struct _LOOK {
    ULONG volatile Round;  /* the resident raises and lowers while Stop is below it */
    ULONG volatile Stop;
    ULONG volatile Rested; /* the last round in which it has stopped */
    ULONG volatile Quit;
    ULONG volatile Ready;  /* the last round that it has begun */
    BOOLEAN Locks;         /* by a spin lock instead */
    RUNS Runs;
    KDPC Dpc;
    struct {
        DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile Word;
    } Lines[LINES];
} LOOK;

static void WriteLines(LOOK *Look, ULONG Value)
{
    for (ULONG Line = 0; Line < LINES; Line += 1) {
        __atomic_store_n(&Look->Lines[Line].Word, Value, __ATOMIC_RELAXED);
    }
}

/* Spins a while before it yields: a yield would be seen far too late. */
static void SpinUntil(ULONG volatile *Count, ULONG Target)
{
    for (ULONG Spin = 0; CountOf(Count) < Target; Spin += 1) {
        if (Spin < SPINS) {
            HalPause();
        } else {
            sched_yield();
        }
    }
}

static void Delay(ULONG Steps)
{
    while (Steps != 0) {
        Steps -= 1;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    }
}

static void ComeHome(void)
{
    KIRQL OldIrql;

    KeSetSystemAffinityThreadEx((KAFFINITY)1 << ELSEWHERE);
    KeRevertToUserAffinityThread();
    for (ULONG Raise = 0; Raise < BIAS_RAISES; Raise += 1) {
        KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
        KeLowerIrql(OldIrql);
    }
}

static void *ResidentThread(void *Context)
{
    LOOK *Look = Context;
    ULONG Random = 12345;
    KSPIN_LOCK Lock;
    KIRQL OldIrql;

    if (KprcbAttachThread(TARGET) != STATUS_SUCCESS) {
        abort();
    }
    KeInitializeSpinLock(&Lock);
    for (ULONG Round = 1;; Round += 1) {
        ULONG Extra;
        ULONG Hold;

        SpinUntil(&Look->Round, Round);
        if (CountOf(&Look->Quit) != 0) {
            return NULL;
        }
        if (Round % BIAS_ROUNDS == 1) {
            ComeHome();
        }
        __atomic_store_n(&Look->Ready, Round, __ATOMIC_RELEASE);
        Extra = NextRandom(&Random) % 8;
        /* Now and then so long that a poster's second look still finds the owner. */
        Hold = NextRandom(&Random) % 4 == 0 ? NextRandom(&Random) % 16384 : 0;
        for (ULONG Past = 0; Past <= Extra;) {
            Past += CountOf(&Look->Stop) >= Round;
            if (Look->Locks) {
                KeAcquireSpinLock(&Lock, &OldIrql);
                Delay(Past != 0 ? Hold : 0);
                WriteLines(Look, Round);
                KeReleaseSpinLock(&Lock, OldIrql);
            } else {
                KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
                Delay(Past != 0 ? Hold : 0);
                WriteLines(Look, Round);
                KeLowerIrql(OldIrql);
            }
        }
        __atomic_store_n(&Look->Rested, Round, __ATOMIC_RELEASE);
    }
}

static time_t Seconds(void)
{
    struct timespec Now;

    clock_gettime(CLOCK_MONOTONIC, &Now);
    return Now.tv_sec;
}

/* TRUE: the post was lost, and has been taken back. */
static BOOLEAN AwaitPost(LOOK *Look, ULONG Round, time_t Guard)
{
    time_t Start = 0;

    SpinUntil(&Look->Rested, Round);
    for (ULONG Spin = 0; CountOf(&Look->Runs.Count) < Round; Spin += 1) {
        if (Spin < SPINS) {
            HalPause();
            continue;
        }
        sched_yield();
        if (Start == 0) {
            Start = Seconds();
        } else if (Seconds() - Start > Guard && KeRemoveQueueDpc(&Look->Dpc)) {
            print_message("post %u lost: Request %08X, ResidentIrql %u, Owner %p\n", (unsigned)Round,
                          (unsigned)__atomic_load_n(&PcrOf(TARGET)->Request, __ATOMIC_SEQ_CST),
                          (unsigned)__atomic_load_n(&PcrOf(TARGET)->PrcbData.ResidentIrql, __ATOMIC_SEQ_CST),
                          (void *)__atomic_load_n(&PcrOf(TARGET)->Owner, __ATOMIC_SEQ_CST));
            return TRUE;
        }
    }
    return FALSE;
}

/* Returns how many posts it took until one was lost, or 0. */
static ULONG Post(ULONG Flags, BOOLEAN Locks, ULONG Posts, time_t Guard)
{
    LOOK Look = {.Locks = Locks};
    ULONG Random = 54321;
    ULONG Lost = 0;
    pthread_t Resident;

    StartAttached(3, Flags);
    KeInitializeDpc(&Look.Dpc, RecordRun, &Look.Runs);
    KeSetTargetProcessorDpc(&Look.Dpc, TARGET);
    KeSetImportanceDpc(&Look.Dpc, MediumHighImportance); /* the clock does not look after it */
    Resident = StartThread(ResidentThread, &Look);
    for (ULONG Round = 1; Round <= Posts && Lost == 0; Round += 1) {
        CountOne(&Look.Round);
        SpinUntil(&Look.Ready, Round);
        Delay(NextRandom(&Random) % 64);
        __atomic_store_n(&Look.Stop, Round, __ATOMIC_RELEASE);
        Delay(NextRandom(&Random) % 256);
        WriteLines(&Look, Round);
        assert_true(KeInsertQueueDpc(&Look.Dpc, NULL, NULL));
        Lost = AwaitPost(&Look, Round, Guard) ? Round : 0;
    }
    CountOne(&Look.Quit);
    CountOne(&Look.Round);
    JoinThread(Resident);
    StopMachine();
    return Lost;
}

static ULONG PostCount(ULONG Default)
{
    const char *Text = getenv("KPRCB_POSTS");

    return Text != NULL ? (ULONG)strtoul(Text, NULL, 10) : Default;
}

static void TestAPostToAnOwnerWhoLetsGoIsSeen(void **State)
{
    (void)State;
    assert_int_equal(Post(MachineFlags, FALSE, PostCount(TEST_SANITIZED ? SANITIZED_POSTS : POSTS), GUARD), 0);
}

static void TestAPostToAnOwnerWhoReleasesALockIsSeen(void **State)
{
    (void)State;
    assert_int_equal(Post(MachineFlags, TRUE, PostCount(TEST_SANITIZED ? SANITIZED_POSTS : POSTS), GUARD), 0);
}

static int ExpectLostPost(void)
{
    if (HalInitializeProcessors() < 2 || !HalInitializeBarrier()) {
        print_message("one CPU or no membarrier: nothing can be lost here\n");
        return 77;
    }
    return Post(0, FALSE, PostCount(EXPECTED_POSTS), EXPECTED_GUARD) != 0 ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestAPostToAnOwnerWhoLetsGoIsSeen),
        cmocka_unit_test(TestAPostToAnOwnerWhoReleasesALockIsSeen),
    };

    if (getenv("KPRCB_EXPECT_LOST_POST") != NULL) {
        return ExpectLostPost();
    }
    if (HalInitializeProcessors() < 2) {
        return 0; /* the poster and the owner would never meet */
    }
    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
