/*
 * lockharness.h - stress of a lock that excludes: a kind of lock is two routines, the harness does the rest.
 *
 * Threads enter and leave critical sections, StressOperations() in all. Checked in each: nobody else is inside; what
 * the lock guards is consistent, non-atomic and on several cache lines; at the end no increment is lost. TSan checks
 * the ordering.
 *
 * A kind that names its queue node is checked for order of arrival, too. The last node of the queue can be seen in
 * the lock word. An owner that sees it notes it; until that node owns, no node may own twice, since who comes again
 * comes behind it. And the owner that sees its own successor linked tells the next one, who must be it.
 */
#ifndef LOCKHARNESS_H
#define LOCKHARNESS_H

#include <stdio.h>

#include "support/support.h"

#define LOCK_NODES 16
#define LOCK_LINES 3

typedef struct LOCK_WORKER LOCK_WORKER;

typedef struct {
    const char *Name;
    /* Form: a random number that picks among the forms of the lock; the caller is at or below DISPATCH_LEVEL. */
    void (*Acquire)(LOCK_WORKER *Worker, ULONG Form);
    void (*Release)(LOCK_WORKER *Worker, ULONG Form);
    PKSPIN_LOCK_QUEUE (*Node)(LOCK_WORKER *Worker); /* of the owner; NULL: not ordered */
    PKSPIN_LOCK (*Word)(void);
} LOCK_KIND;

typedef struct {
    ULONG Processors, Threads;
    BOOLEAN Residents;   /* thread i is attached to processor i; otherwise threads share the processors */
    BOOLEAN MixedLevels; /* acquires start at PASSIVE, APC or DISPATCH_LEVEL; otherwise at PASSIVE_LEVEL */
    ULONG Flags;
} LOCK_RUN;

/* Guarded by the lock. */
typedef struct {
    struct {
        DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONGLONG Value;
    } Line[LOCK_LINES];
    LOCK_WORKER *Inside;
    PKSPIN_LOCK_QUEUE Next;              /* the node that must own next, if known */
    PKSPIN_LOCK_QUEUE Watched;           /* a node that had arrived */
    PKSPIN_LOCK_QUEUE Owned[LOCK_NODES]; /* since then */
    ULONG OwnedCount;
    ULONGLONG Watches, Successions;
} LOCK_GUARDED;

typedef struct {
    const LOCK_KIND *Kind;
    LOCK_RUN Run;
    ULONG Share; /* operations of each thread */
    ULONG volatile Gate;
    LOCK_GUARDED Guarded;
} LOCK_STRESS;

struct LOCK_WORKER {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) LOCK_STRESS *Stress;
    ULONG Index;
    KIRQL Old; /* for the kind's use */
    KLOCK_QUEUE_HANDLE Handle;
    pthread_t Thread;
};

#define LOCK_CHECK(Condition, Text)                                                                                    \
    do {                                                                                                               \
        if (!(Condition)) {                                                                                            \
            fprintf(stderr, "%s: %s\n", Worker->Stress->Kind->Name, Text);                                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static inline void LockCheckArrival(LOCK_WORKER *Worker)
{
    LOCK_GUARDED *Guarded = &Worker->Stress->Guarded;
    PKSPIN_LOCK_QUEUE Node = Worker->Stress->Kind->Node(Worker);

    LOCK_CHECK(Guarded->Next == NULL || Guarded->Next == Node, "the successor was linked, another one owns");
    Guarded->Successions += Guarded->Next != NULL;
    if (Guarded->Watched == Node) {
        Guarded->Watched = NULL;
        Guarded->Watches += 1;
    }
    if (Guarded->Watched != NULL) {
        for (ULONG Index = 0; Index < Guarded->OwnedCount; Index += 1) {
            LOCK_CHECK(Guarded->Owned[Index] != Node, "a node owns twice before one that had arrived");
        }
        LOCK_CHECK(Guarded->OwnedCount < LOCK_NODES, "more owners than nodes");
        Guarded->Owned[Guarded->OwnedCount] = Node;
        Guarded->OwnedCount += 1;
        return;
    }
    Guarded->Watched = (PKSPIN_LOCK_QUEUE)__atomic_load_n(Worker->Stress->Kind->Word(), __ATOMIC_ACQUIRE);
    LOCK_CHECK(Guarded->Watched != NULL, "the lock word of a held lock is 0");
    if (Guarded->Watched == Node) {
        Guarded->Watched = NULL;
    }
    Guarded->Owned[0] = Node;
    Guarded->OwnedCount = 1;
}

static inline void LockCriticalSection(LOCK_WORKER *Worker, ULONG Random)
{
    LOCK_GUARDED *Guarded = &Worker->Stress->Guarded;
    ULONGLONG Value = Guarded->Line[0].Value;

    LOCK_CHECK(Guarded->Inside == NULL, "two are inside");
    Guarded->Inside = Worker;
    LOCK_CHECK(KeGetCurrentIrql() >= DISPATCH_LEVEL, "the owner is below DISPATCH_LEVEL");
    if (Worker->Stress->Kind->Node != NULL) {
        LockCheckArrival(Worker);
    }
    for (ULONG Line = 0; Line < LOCK_LINES; Line += 1) {
        LOCK_CHECK(Guarded->Line[Line].Value == Value, "a value was lost");
        Guarded->Line[Line].Value = Value + 1;
    }
    if (Random % 1024 == 0) {
        YieldProcessor(); /* IPIs in the middle */
    }
    LOCK_CHECK(Guarded->Inside == Worker, "somebody else was inside");
    if (Worker->Stress->Kind->Node != NULL) {
        Guarded->Next = __atomic_load_n(&Worker->Stress->Kind->Node(Worker)->Next, __ATOMIC_ACQUIRE);
    }
    Guarded->Inside = NULL;
}

static inline void *LockWorkerThread(void *Context)
{
    LOCK_WORKER *Worker = Context;
    LOCK_STRESS *Stress = Worker->Stress;
    ULONG Seed = 0x9E3779B9u * (Worker->Index + 1);

    if (Stress->Run.Residents && KprcbAttachThread(Worker->Index) != STATUS_SUCCESS) {
        abort();
    }
    MeetAtGate(&Stress->Gate, Stress->Run.Threads);
    for (ULONG Operation = 0; Operation < Stress->Share; Operation += 1) {
        ULONG Random = NextRandom(&Seed);
        KIRQL Level = Stress->Run.MixedLevels ? (KIRQL)((Random >> 16) % 3) : PASSIVE_LEVEL;
        KIRQL Base = PASSIVE_LEVEL;

        if (Level != PASSIVE_LEVEL) {
            KeRaiseIrql(Level, &Base);
        }
        Stress->Kind->Acquire(Worker, Random >> 8);
        LockCriticalSection(Worker, Random);
        Stress->Kind->Release(Worker, Random >> 8);
        LOCK_CHECK(KeGetCurrentIrql() == Level, "the release leaves another level");
        if (Level != PASSIVE_LEVEL) {
            KeLowerIrql(Base);
        }
    }
    return NULL;
}

static inline void StressLock(const LOCK_KIND *Kind, const LOCK_RUN *Run)
{
    static LOCK_STRESS Stress;
    static LOCK_WORKER Workers[LOCK_NODES];

    Stress = (LOCK_STRESS){.Kind = Kind, .Run = *Run, .Share = (StressOperations() + Run->Threads - 1) / Run->Threads};
    StartMachine(Run->Processors, Run->Flags);
    for (ULONG Index = 0; Index < Run->Threads; Index += 1) {
        Workers[Index] = (LOCK_WORKER){.Stress = &Stress, .Index = Index};
        Workers[Index].Thread = StartThread(LockWorkerThread, &Workers[Index]);
    }
    for (ULONG Index = 0; Index < Run->Threads; Index += 1) {
        JoinThread(Workers[Index].Thread);
    }
    for (ULONG Line = 0; Line < LOCK_LINES; Line += 1) {
        assert_true(Stress.Guarded.Line[Line].Value == (ULONGLONG)Stress.Share * Run->Threads);
    }
    assert_true(*Kind->Word() == 0);
    if (Kind->Node != NULL) {
        print_message("%s: %llu arrivals watched, %llu successors named\n", Kind->Name,
                      (unsigned long long)Stress.Guarded.Watches, (unsigned long long)Stress.Guarded.Successions);
    }
    StopMachine();
}

static const LOCK_RUN LockTwoResidents = {2, 2, TRUE, FALSE, 0};
static const LOCK_RUN LockEightThreads = {2, 8, FALSE, FALSE, 0};
static const LOCK_RUN LockEightResidents = {8, 8, TRUE, FALSE, 0};
static const LOCK_RUN LockMixedLevels = {3, 4, FALSE, TRUE, 0};

/* The tests of one kind; State is the kind, and Flags, where not 0, those of the machine. */
static ULONG LockFlags;

static inline void LockRunWithFlags(void **State, const LOCK_RUN *Template)
{
    LOCK_RUN Run = *Template;

    Run.Flags = LockFlags;
    StressLock(*State, &Run);
}

static void two_residents(void **State)
{
    LockRunWithFlags(State, &LockTwoResidents);
}

static void eight_threads_on_two_processors(void **State)
{
    LockRunWithFlags(State, &LockEightThreads);
}

static void eight_residents(void **State)
{
    LockRunWithFlags(State, &LockEightResidents);
}

static void mixed_levels(void **State)
{
    LockRunWithFlags(State, &LockMixedLevels);
}

/* All of it for each kind, on a checked build with membarrier and on a free one without. Returns the failures. */
static inline int StressLockKinds(const LOCK_KIND *Kinds, ULONG Count)
{
    static const ULONG Flags[] = {0, KPRCB_FREE_BUILD | KPRCB_NO_MEMBARRIER};
    int Failed = 0;

    for (ULONG Index = 0; Index < 2 * Count; Index += 1) {
        PVOID Kind = (PVOID)(ULONG_PTR)&Kinds[Index / 2];
        const struct CMUnitTest Tests[] = {
            cmocka_unit_test_prestate(two_residents, Kind),
            cmocka_unit_test_prestate(eight_threads_on_two_processors, Kind),
            cmocka_unit_test_prestate(eight_residents, Kind),
            cmocka_unit_test_prestate(mixed_levels, Kind),
        };

        LockFlags = Flags[Index % 2];
        Failed += cmocka_run_group_tests_name(Kinds[Index / 2].Name, Tests, NULL, NULL);
    }
    return Failed;
}

#endif
