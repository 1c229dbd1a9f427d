/*
 * stress_dpcthread.c - src/ke/dpcthread.c: nothing is lost and nothing runs twice while threaded DPCs are inserted, taken
 * back, flushed, and switched on and off.
 *
 * As in stress_dpc.c: each insert has a ticket, which runs at most once, and for each DPC the successful inserts are the
 * removes plus the runs. Some rounds start a machine for a few operations only, for the creation of the DPC threads.
 */
#include <stdio.h>

#include "support/support.h"

#define PROCESSORS 3
#define THREADS 4
#define PRIVATE 8 /* DPCs that one thread alone inserts */
#define SHARED 8  /* DPCs that everybody inserts and removes */
#define FLUSH_EVERY 512
#define SWITCH_EVERY 256
#define SHORT_ROUNDS 40
#define SHORT_OPERATIONS 50

typedef struct _COUNTED {
    KDPC Dpc;
    ULONG volatile Inserted; /* all three by read-modify-write */
    ULONG volatile Removed;
    ULONG volatile Ran;
} COUNTED;

static COUNTED Private[THREADS][PRIVATE];
static COUNTED Shared[SHARED];
static UCHAR volatile *Tickets;
static ULONG volatile InThreaded[PROCESSORS];
static ULONG volatile InNormal[PROCESSORS];
static ULONG volatile RanThreaded;
static ULONG volatile RanNormal;
static ULONG volatile Allocated; /* DPCs that their routine frees */
static ULONG volatile Freed;
static ULONG volatile Failures;
static ULONG volatile Attached;
static ULONG Operations; /* of a thread */

#define CHECK(Condition)                                                                                               \
    do {                                                                                                               \
        if (!(Condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #Condition);                                            \
            CountOne(&Failures);                                                                                       \
        }                                                                                                              \
    } while (0)

/* Returns the word to clear at the end. */
static ULONG volatile *EnterDpc(PVOID Ticket, PVOID Target)
{
    BOOLEAN Threaded = KeGetCurrentIrql() == PASSIVE_LEVEL;
    ULONG Processor = KeGetCurrentProcessorIndex();
    ULONG volatile *Inside = Threaded ? &InThreaded[Processor] : &InNormal[Processor];

    CHECK(Threaded || KeGetCurrentIrql() == DISPATCH_LEVEL);
    CHECK(KeIsExecutingDpc() != 0);
    CHECK((ULONG)(ULONG_PTR)Target == Processor);
    CHECK(__atomic_exchange_n(Inside, 1, __ATOMIC_ACQUIRE) == 0);
    CHECK(__atomic_exchange_n(&Tickets[(ULONG_PTR)Ticket], 1, __ATOMIC_ACQ_REL) == 0);
    __atomic_fetch_add(Threaded ? &RanThreaded : &RanNormal, 1, __ATOMIC_RELAXED);
    return Inside;
}

static VOID CountedRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    COUNTED *Counted = Context;
    ULONG volatile *Inside = EnterDpc(Argument1, Argument2);

    UNREFERENCED_PARAMETER(Dpc);
    __atomic_store_n(Inside, 0, __ATOMIC_RELEASE);
    CountOne(&Counted->Ran);
}

static VOID FreeRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    ULONG volatile *Inside = EnterDpc(Argument1, Argument2);

    UNREFERENCED_PARAMETER(Context);
    free(Dpc);
    __atomic_store_n(Inside, 0, __ATOMIC_RELEASE);
    CountOne(&Freed);
}

static BOOLEAN Insert(COUNTED *Counted, ULONG Ticket, ULONG Target)
{
    BOOLEAN Inserted = KeInsertQueueDpc(&Counted->Dpc, (PVOID)(ULONG_PTR)Ticket, (PVOID)(ULONG_PTR)Target);

    if (Inserted) {
        CountOne(&Counted->Inserted);
    }
    return Inserted;
}

static void Remove(COUNTED *Counted)
{
    if (KeRemoveQueueDpc(&Counted->Dpc)) {
        CountOne(&Counted->Removed);
    }
}

static BOOLEAN InsertPrivate(COUNTED *Counted, ULONG Random, ULONG Ticket)
{
    ULONG Target = Random % PROCESSORS;

    KeSetImportanceDpc(&Counted->Dpc, (KDPC_IMPORTANCE)(Random >> 8 & 3));
    KeSetTargetProcessorDpc(&Counted->Dpc, (CCHAR)Target);
    return Insert(Counted, Ticket, Target);
}

static void InsertFreed(ULONG Random, ULONG Ticket)
{
    PKDPC Dpc = malloc(sizeof(*Dpc));

    CHECK(Dpc != NULL);
    KeInitializeThreadedDpc(Dpc, FreeRoutine, NULL);
    KeSetTargetProcessorDpc(Dpc, (CCHAR)(Random % PROCESSORS));
    CountOne(&Allocated);
    CHECK(KeInsertQueueDpc(Dpc, (PVOID)(ULONG_PTR)Ticket, (PVOID)(ULONG_PTR)(Random % PROCESSORS)));
}

/* Nobody else removes a private DPC, so after a flush its ticket has run. */
static void FlushAndLook(COUNTED *Counted, ULONG Random, ULONG Ticket)
{
    BOOLEAN Inserted = InsertPrivate(Counted, Random, Ticket);

    KeFlushQueuedDpcs();
    CHECK(!Inserted || __atomic_load_n(&Tickets[Ticket], __ATOMIC_ACQUIRE) == 1);
}

static void Operate(ULONG Self, ULONG Random, ULONG Ticket)
{
    COUNTED *Own = &Private[Self][Random >> 16 & (PRIVATE - 1)];
    COUNTED *Any = &Shared[Random >> 16 & (SHARED - 1)];
    KIRQL OldIrql;

    switch (Random >> 12 & 7) {
    case 0:
        Remove(Own);
        break;
    case 1:
        Remove(Any);
        break;
    case 2:
        Insert(Any, Ticket, (ULONG)(Any - Shared) % PROCESSORS);
        break;
    case 3:
        InsertFreed(Random, Ticket);
        break;
    case 4:
        KeRaiseIrql(HIGH_LEVEL, &OldIrql);
        if (Insert(Any, Ticket, (ULONG)(Any - Shared) % PROCESSORS)) {
            Remove(Any);
        }
        KeLowerIrql(OldIrql);
        break;
    default:
        InsertPrivate(Own, Random, Ticket);
        break;
    }
}

static void *OperateThread(void *Context)
{
    ULONG Self = (ULONG)(ULONG_PTR)Context;
    ULONG Random = Self * 7919 + 1;

    /* One processor without a resident. */
    if (Self + 1 < PROCESSORS && KprcbAttachThread(Self) != STATUS_SUCCESS) {
        abort();
    }
    MeetAtGate(&Attached, THREADS);
    for (ULONG Operation = 0; Operation < Operations; Operation += 1) {
        ULONG Ticket = Self * Operations + Operation;
        ULONG Chance = NextRandom(&Random);

        if (Self == 0 && Operation % SWITCH_EVERY == SWITCH_EVERY - 1) {
            CHECK(KprcbSetThreadedDpcs(Chance >> 20 & 1) == STATUS_SUCCESS);
        }
        if (Operation % FLUSH_EVERY == FLUSH_EVERY - 1) {
            FlushAndLook(&Private[Self][0], Chance, Ticket);
        } else {
            Operate(Self, Chance, Ticket);
        }
    }
    return NULL;
}

static void Initialize(COUNTED *Counted, ULONG Count)
{
    for (ULONG Index = 0; Index < Count; Index += 1) {
        Counted[Index] = (COUNTED){.Inserted = 0};
        KeInitializeThreadedDpc(&Counted[Index].Dpc, CountedRoutine, &Counted[Index]);
        KeSetTargetProcessorDpc(&Counted[Index].Dpc, (CCHAR)(Index % PROCESSORS));
        KeSetImportanceDpc(&Counted[Index].Dpc, (KDPC_IMPORTANCE)(Index / 2 % 4));
    }
}

static ULONG Settle(COUNTED *Counted, ULONG Count)
{
    ULONG Ran = 0;

    for (ULONG Index = 0; Index < Count; Index += 1) {
        assert_null(Counted[Index].Dpc.DpcData);
        assert_int_equal(Counted[Index].Inserted, Counted[Index].Removed + Counted[Index].Ran);
        Ran += Counted[Index].Ran;
    }
    return Ran;
}

static void InsertsAreRemovesAndRuns(ULONG Flags, ULONG Count)
{
    pthread_t Thread[THREADS];
    ULONG Ran = 0;
    ULONG Ticked = 0;

    Operations = Count;
    Tickets = calloc(THREADS * Operations, 1);
    assert_non_null(Tickets);
    Attached = Allocated = Freed = Failures = 0;
    StartMachine(PROCESSORS, Flags);
    Initialize(Shared, SHARED);
    for (ULONG Index = 0; Index < THREADS; Index += 1) {
        Initialize(Private[Index], PRIVATE);
    }
    KprcbDetachThread();
    for (ULONG Index = 0; Index < THREADS; Index += 1) {
        Thread[Index] = StartThread(OperateThread, (PVOID)(ULONG_PTR)Index);
    }
    for (ULONG Index = 0; Index < THREADS; Index += 1) {
        JoinThread(Thread[Index]);
    }
    KeFlushQueuedDpcs();
    assert_int_equal(Failures, 0);
    assert_int_equal(Allocated, Freed);
    for (ULONG Index = 0; Index < THREADS; Index += 1) {
        Ran += Settle(Private[Index], PRIVATE);
    }
    Ran += Settle(Shared, SHARED) + Freed;
    for (ULONG Ticket = 0; Ticket < THREADS * Operations; Ticket += 1) {
        Ticked += Tickets[Ticket];
    }
    assert_int_equal(Ran, Ticked);
    StopMachine();
    free((void *)Tickets);
}

static void TestInsertsAreRemovesAndRuns(void **State)
{
    (void)State;
    for (ULONG Flags = 0; Flags <= KPRCB_NO_MEMBARRIER; Flags += KPRCB_NO_MEMBARRIER) {
        RanThreaded = RanNormal = 0;
        InsertsAreRemovesAndRuns(Flags, StressOperations() / THREADS / 4);
        assert_true(RanThreaded != 0 && RanNormal != 0);
    }
}

static void TestInsertsAreRemovesAndRunsWhileThreadsAreCreated(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < SHORT_ROUNDS; Round += 1) {
        InsertsAreRemovesAndRuns(Round % 2 != 0 ? KPRCB_NO_MEMBARRIER : 0, SHORT_OPERATIONS);
    }
}

/* One insert at a time, so that the DPC thread sleeps, or is about to, each time: a wake that is lost hangs it. */
static VOID RingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(Context);
}

static void *RingThread(void *Context)
{
    ULONG Self = (ULONG)(ULONG_PTR)Context;
    ULONG Random = Self + 99;
    ULONG volatile Ran = 0;
    KDPC Dpc;

    KeInitializeThreadedDpc(&Dpc, RingRoutine, (PVOID)&Ran);
    for (ULONG Round = 1; Round <= Operations; Round += 1) {
        KeSetTargetProcessorDpc(&Dpc, (CCHAR)(NextRandom(&Random) % PROCESSORS));
        CHECK(KeInsertQueueDpc(&Dpc, NULL, NULL));
        AwaitCount(&Ran, Round);
    }
    return NULL;
}

static void TestNoWakeOfTheDpcThreadIsLost(void **State)
{
    pthread_t Thread[2];

    (void)State;
    Operations = StressOperations() / 500;
    Failures = 0;
    StartMachine(PROCESSORS, 0);
    for (ULONG Index = 0; Index < 2; Index += 1) {
        Thread[Index] = StartThread(RingThread, (PVOID)(ULONG_PTR)Index);
    }
    for (ULONG Index = 0; Index < 2; Index += 1) {
        JoinThread(Thread[Index]);
    }
    assert_int_equal(Failures, 0);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestInsertsAreRemovesAndRuns),
        cmocka_unit_test(TestInsertsAreRemovesAndRunsWhileThreadsAreCreated),
        cmocka_unit_test(TestNoWakeOfTheDpcThreadIsLost),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
