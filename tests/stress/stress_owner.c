/*
 * stress_owner.c - at most one owner a processor, under everything that hands processors over.
 *
 * Each processor guards a plain counter and the name of who is inside; whoever owns the processor checks that nobody
 * else is inside, writes its own name, dawdles, checks that the name is still there, and counts. A count that differs
 * from what the threads have counted for themselves is a violation too.
 *
 * test_revocations is the directed half: one resident in a tight raise and lower, with its level kept in the store
 * buffer by stores that miss, and one thread that revokes its bias again and again. Without the barrier of a
 * revocation both are soon inside. Compiled with KPRCB_BREAK_REVOCATION, against a library compiled with the same,
 * the program runs that alone and succeeds when it finds the violation: 0 found, 1 not found, 77 on one CPU or
 * without membarrier, where there is nothing to find.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support/support.h"

#include <stdio.h>
#include <time.h>

#include "ki.h"

#define PROCESSORS 4

typedef struct _GUARDED {
    DECLSPEC_ALIGN(128) PVOID Inside; /* guarded by the processor, like Count */
    ULONGLONG Count;
} GUARDED;

typedef struct _ACTOR {
    ULONGLONG Tally[PROCESSORS];
    ULONG Seed;
    ULONG Operations;
    ULONG volatile DpcsRun; /* by DPCs, on any processor */
    ULONG DpcsQueued;
    KDPC Dpc[PROCESSORS];
} ACTOR;

static GUARDED Guarded[PROCESSORS];
static ULONG volatile Violations;

static void Violate(void)
{
    __atomic_fetch_add(&Violations, 1, __ATOMIC_RELAXED);
}

static void Dawdle(ULONG Steps)
{
    for (; Steps != 0; Steps -= 1) {
        __asm__ __volatile__("" ::: "memory");
    }
}

/* The caller owns the processor. */
static ULONG VisitInside(PVOID Name, ULONG Steps)
{
    ULONG Index = KeGetCurrentProcessorNumberEx(NULL);
    GUARDED *Here = &Guarded[Index];
    ULONGLONG Count;

    if (Here->Inside != NULL) {
        Violate();
    }
    Here->Inside = Name;
    Count = Here->Count;
    Dawdle(Steps);
    if (Here->Inside != Name) {
        Violate();
    }
    Here->Inside = NULL;
    Here->Count = Count + 1;
    return Index;
}

/* --- Everything at once --- */

static ULONG volatile StartGate;
static ULONGLONG volatile DpcTally[PROCESSORS]; /* guarded by the processors */

static VOID VisitingDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    ACTOR *Actor = Context;

    (void)Argument1, (void)Argument2;
    DpcTally[VisitInside(Dpc, 20)] += 1;
    CountOne(&Actor->DpcsRun);
}

static void InitializeActor(ACTOR *Actor, ULONG Seed, ULONG Operations)
{
    *Actor = (ACTOR){.Seed = Seed, .Operations = Operations};
    for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
        KeInitializeDpc(&Actor->Dpc[Index], VisitingDpc, Actor);
        KeSetImportanceDpc(&Actor->Dpc[Index], Index % 2 == 0 ? HighImportance : MediumHighImportance);
        KeSetTargetProcessorDpc(&Actor->Dpc[Index], (CCHAR)Index);
    }
}

static void Visit(ACTOR *Actor)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    Actor->Tally[VisitInside(Actor, NextRandom(&Actor->Seed) % 100)] += 1;
    KeLowerIrql(OldIrql);
}

static void SleepBriefly(void)
{
    struct timespec Time = {.tv_nsec = 20000};

    nanosleep(&Time, NULL);
}

/* Owns a processor across a host call, which no poll interrupts. */
static void VisitAndBlock(ACTOR *Actor)
{
    KIRQL OldIrql;

    KeRaiseIrql(SYNCH_LEVEL, &OldIrql);
    Actor->Tally[VisitInside(Actor, 50)] += 1;
    SleepBriefly();
    Actor->Tally[VisitInside(Actor, 50)] += 1;
    KeLowerIrql(OldIrql);
}

static void QueueDpc(ACTOR *Actor)
{
    if (KeInsertQueueDpc(&Actor->Dpc[NextRandom(&Actor->Seed) % PROCESSORS], NULL, NULL)) {
        Actor->DpcsQueued += 1;
    }
}

/* Now and then: a move, a sleep, a DPC, an owner that blocks. */
static void Disturb(ACTOR *Actor)
{
    ULONG Random = NextRandom(&Actor->Seed);
    KIRQL OldIrql;

    switch (Random % 64) {
    case 0:
        SleepBriefly();
        break;
    case 1:
        VisitAndBlock(Actor);
        break;
    case 2:
        sched_yield();
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        QueueDpc(Actor);
        break;
    case 7:
        (void)KeSetSystemAffinityThreadEx(Random >> 8 & 15);
        break;
    case 8:
        KeRevertToUserAffinityThreadEx(0);
        break;
    case 9:
        OldIrql = KeRaiseIrqlToDpcLevel();
        (void)KeSetSystemAffinityThreadEx(Random >> 8 & 15);
        Actor->Tally[VisitInside(Actor, 10)] += 1;
        KeLowerIrql(OldIrql);
        break;
    default:
        break;
    }
}

static void *ActAsResident(void *Context)
{
    ACTOR *Actor = Context;

    (void)KprcbAttachThread(Actor->Seed % PROCESSORS);
    MeetAtGate(&StartGate, 6);
    for (ULONG Round = 0; Round < Actor->Operations; Round += 1) {
        Visit(Actor);
        if (Round % 64 == 0) {
            Disturb(Actor);
        }
    }
    return NULL;
}

static void *ActAsAuto(void *Context)
{
    ACTOR *Actor = Context;

    (void)KeGetCurrentThread();
    MeetAtGate(&StartGate, 6);
    for (ULONG Round = 0; Round < Actor->Operations; Round += 1) {
        Visit(Actor);
        if (Round % 8 == 0) {
            Disturb(Actor);
        }
    }
    return NULL;
}

static void *ActAsWanderer(void *Context)
{
    ACTOR *Actor = Context;

    MeetAtGate(&StartGate, 6);
    for (ULONG Round = 0; Round < Actor->Operations; Round += 1) {
        Visit(Actor);
        if (Round % 32 == 0) {
            if (NextRandom(&Actor->Seed) % 3 == 0) {
                (void)KprcbDetachThread();
            } else {
                (void)KprcbAttachThread(Actor->Seed / 8 % PROCESSORS);
            }
        }
    }
    return NULL;
}

static void StressOwners(ULONG Flags)
{
    static void *(*const Roles[])(void *) = {ActAsResident, ActAsResident, ActAsAuto,
                                             ActAsAuto,     ActAsAuto,     ActAsWanderer};
    static ACTOR Actors[ARRAYSIZE(Roles)];
    pthread_t Threads[ARRAYSIZE(Roles)];

    StartGate = Violations = 0;
    StartMachine(PROCESSORS, Flags);
    for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
        Guarded[Index] = (GUARDED){.Inside = NULL};
        DpcTally[Index] = 0;
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Roles); Index += 1) {
        InitializeActor(&Actors[Index], 2460 + Index, StressOperations() / 2 / ARRAYSIZE(Roles));
        Threads[Index] = StartThread(Roles[Index], &Actors[Index]);
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Roles); Index += 1) {
        JoinThread(Threads[Index]);
    }
    KeFlushQueuedDpcs();
    for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
        ULONGLONG Sum = DpcTally[Index];

        for (ULONG Actor = 0; Actor < ARRAYSIZE(Roles); Actor += 1) {
            Sum += Actors[Actor].Tally[Index];
        }
        assert_int_equal(Guarded[Index].Count, Sum);
    }
    for (ULONG Actor = 0; Actor < ARRAYSIZE(Roles); Actor += 1) {
        assert_int_equal(Actors[Actor].DpcsRun, Actors[Actor].DpcsQueued);
    }
    assert_int_equal(Violations, 0);
    StopMachine();
}

static void test_owners(void **State)
{
    (void)State;
    StressOwners(0);
}

static void test_owners_without_membarrier(void **State)
{
    (void)State;
    StressOwners(KPRCB_NO_MEMBARRIER);
}

static void test_owners_without_pinning(void **State)
{
    (void)State;
    StressOwners(KPRCB_NO_PINNING);
}

/* --- Revocations --- */

#define QUEUE_LINES 12
#define LONGEST_WAIT 20000

static struct {
    DECLSPEC_ALIGN(128) ULONG volatile Word; /* written by both sides, so that the other's next store misses */
} Queue[QUEUE_LINES];

static ULONG volatile Ready, Done;
static ULONGLONG ResidentTally;

static void DirtyQueue(ULONG Value)
{
    for (ULONG Line = 0; Line < QUEUE_LINES; Line += 1) {
        __atomic_store_n(&Queue[Line].Word, Value, __ATOMIC_RELAXED);
    }
}

static void *ResidentInALoop(void *Context)
{
    PKTHREAD Thread;
    ULONG Seed = 7;

    (void)KprcbAttachThread(0);
    Thread = KeGetCurrentThread();
    CountOne(&Ready);
    while (__atomic_load_n(&Done, __ATOMIC_RELAXED) == 0) {
        KIRQL OldIrql;

        /* The run that regains bias doubles each time; here it stays short. */
        Thread->BiasThreshold = 2;
        DirtyQueue(1);
        OldIrql = KeRaiseIrqlToDpcLevel();
        (void)VisitInside(Context, 400 + NextRandom(&Seed) % 400);
        KeLowerIrql(OldIrql);
        ResidentTally += 1;
        Dawdle(NextRandom(&Seed) % 400);
    }
    return NULL;
}

/* Waits a while for the resident to have its bias back. */
static void AwaitBias(void)
{
    for (ULONG Step = 0; Step < LONGEST_WAIT; Step += 1) {
        if ((__atomic_load_n(&KiProcessor(0)->Request, __ATOMIC_RELAXED) & KPCR_REQUEST_REVOKED) == 0) {
            return;
        }
        HalPause();
    }
}

/* Returns how many revocations it took to a violation, or Most. */
static ULONG Revoke(ULONG Most)
{
    ULONG Round = 0, Seed = 11;
    ULONGLONG Mine = 0;
    pthread_t Resident;

    Ready = Done = Violations = 0;
    ResidentTally = 0;
    Guarded[0] = (GUARDED){.Inside = NULL};
    Resident = StartThread(ResidentInALoop, &ResidentTally);
    AwaitCount(&Ready, 1);
    (void)KprcbAttachThread(1);
    (void)KeSetSystemAffinityThreadEx(1);
    for (; Round < Most && __atomic_load_n(&Violations, __ATOMIC_RELAXED) == 0; Round += 1) {
        KIRQL OldIrql;

        AwaitBias();
        DirtyQueue(2);
        Dawdle(NextRandom(&Seed) % 2000);
        OldIrql = KeRaiseIrqlToDpcLevel();
        (void)VisitInside(Guarded, 200);
        KeLowerIrql(OldIrql);
        Mine += 1;
    }
    __atomic_store_n(&Done, 1, __ATOMIC_RELAXED);
    JoinThread(Resident);
    if (Guarded[0].Count != Mine + ResidentTally) {
        Violate();
    }
    return Round;
}

static BOOLEAN RevocationsMayCollide(void)
{
    cpu_set_t Set;

    return sched_getaffinity(0, sizeof(Set), &Set) == 0 && CPU_COUNT(&Set) > 1;
}

#ifdef KPRCB_BREAK_REVOCATION

int main(void)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 2};
    ULONG Rounds;

    if (!RevocationsMayCollide() || KprcbStart(&Config) != STATUS_SUCCESS || !KiMachine.Biased) {
        return 77;
    }
    Rounds = Revoke(2000000);
    printf("%u violations after %u revocations without a barrier\n", (unsigned)Violations, (unsigned)Rounds);
    return Violations != 0 ? 0 : 1;
}

#else

static void test_revocations(void **State)
{
    (void)State;
    if (!RevocationsMayCollide()) {
        skip();
    }
    StartMachine(2, 0);
    (void)Revoke(StressOperations() / 50);
    assert_int_equal(Violations, 0);
    StopMachine();
}

static void test_revocations_without_membarrier(void **State)
{
    (void)State;
    if (!RevocationsMayCollide()) {
        skip();
    }
    StartMachine(2, KPRCB_NO_MEMBARRIER);
    (void)Revoke(StressOperations() / 50);
    assert_int_equal(Violations, 0);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_revocations),
        cmocka_unit_test(test_revocations_without_membarrier),
        cmocka_unit_test(test_owners),
        cmocka_unit_test(test_owners_without_membarrier),
        cmocka_unit_test(test_owners_without_pinning),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}

#endif
