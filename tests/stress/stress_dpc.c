/*
 * stress_dpc.c - src/ke/dpc*.c, request.c and idle.c: nothing is lost, nothing runs twice.
 *
 * Residents of every processor and wanderers, who take their processors away from them, insert, remove and flush at
 * random. Each insert has a ticket. A ticket runs at most once, and for each DPC the successful inserts are the
 * removes plus the runs: so each successful insert ran exactly once, or was taken back.
 */
#include <stdio.h>
#include <time.h>

#include "support/support.h"

#define PROCESSORS 4
#define WANDERERS 2
#define THREADS (PROCESSORS + WANDERERS)
#define PRIVATE 16 /* DPCs that one thread alone inserts, other than from inside */
#define SHARED 8   /* DPCs that everybody inserts and removes, of one target each */
#define FLUSH_EVERY 2048
#define ANY_PROCESSOR 0xFFFF
#define GUARD 60   /* seconds without progress: the guard of a hang, not a measurement */

typedef struct _COUNTED {
    KDPC Dpc;
    ULONG volatile Inserted; /* all three by read-modify-write */
    ULONG volatile Removed;
    ULONG volatile Ran;
} COUNTED;

static COUNTED Private[THREADS][PRIVATE];
static COUNTED Shared[SHARED];
static UCHAR volatile *Tickets;   /* two an operation: the insert, and the one from inside its routine */
static ULONG TicketCount;
static ULONG volatile InDpc[PROCESSORS];
static ULONG volatile Allocated;  /* DPCs that their routine frees */
static ULONG volatile Freed;
static ULONG volatile Failures;
static ULONG volatile Attached;
static ULONG Operations;          /* of a thread */
static KSPIN_LOCK Lock;
static ULONG Guarded;             /* Lock */

#define CHECK(Condition)                                                                                               \
    do {                                                                                                               \
        if (!(Condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #Condition);                                            \
            CountOne(&Failures);                                                                                       \
        }                                                                                                              \
    } while (0)

static void EnterDpc(PVOID Ticket, PVOID Expected)
{
    ULONG Processor = KeGetCurrentProcessorIndex();

    CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL);
    CHECK(KeIsExecutingDpc() != 0);
    CHECK((ULONG_PTR)Expected == ANY_PROCESSOR || (ULONG_PTR)Expected == Processor);
    CHECK(__atomic_exchange_n(&InDpc[Processor], 1, __ATOMIC_ACQUIRE) == 0);
    CHECK(__atomic_exchange_n(&Tickets[(ULONG_PTR)Ticket], 1, __ATOMIC_ACQ_REL) == 0);
}

static void LeaveDpc(void)
{
    __atomic_store_n(&InDpc[KeGetCurrentProcessorIndex()], 0, __ATOMIC_RELEASE);
}

static VOID CountedRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    COUNTED *Counted = Context;
    ULONG_PTR Ticket = (ULONG_PTR)Argument1;

    EnterDpc(Argument1, Argument2);
    if (Ticket % 2 == 0 && Ticket % 16 == 4) {
        if (KeInsertQueueDpc(Dpc, (PVOID)(Ticket + 1), (PVOID)(ULONG_PTR)ANY_PROCESSOR)) {
            CountOne(&Counted->Inserted);
        }
    }
    LeaveDpc();
    CountOne(&Counted->Ran);
}

static VOID FreeRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Context);
    EnterDpc(Argument1, Argument2);
    free(Dpc);
    LeaveDpc();
    CountOne(&Freed);
}

static BOOLEAN Insert(COUNTED *Counted, ULONG Ticket, ULONG Expected)
{
    BOOLEAN Inserted = KeInsertQueueDpc(&Counted->Dpc, (PVOID)(ULONG_PTR)Ticket, (PVOID)(ULONG_PTR)Expected);

    if (Inserted) {
        CountOne(&Counted->Inserted);
    }
    return Inserted;
}

static BOOLEAN Remove(COUNTED *Counted)
{
    BOOLEAN Removed = KeRemoveQueueDpc(&Counted->Dpc);

    if (Removed) {
        CountOne(&Counted->Removed);
    }
    return Removed;
}

/* A target of its own, or none: then the processor that the thread owns as it inserts. */
static BOOLEAN InsertPrivate(COUNTED *Counted, ULONG Random, ULONG Ticket)
{
    ULONG Target = Random % (PROCESSORS + 1);
    BOOLEAN Inserted;
    KIRQL OldIrql;

    KeSetImportanceDpc(&Counted->Dpc, (KDPC_IMPORTANCE)(Random >> 8 & 3));
    if (Target < PROCESSORS) {
        KeSetTargetProcessorDpc(&Counted->Dpc, (CCHAR)Target);
        return Insert(Counted, Ticket, Target);
    }
    KeRaiseIrql(Random >> 10 & 1 ? HIGH_LEVEL : DISPATCH_LEVEL, &OldIrql);
    Target = KeGetCurrentProcessorIndex();
    KeSetTargetProcessorDpc(&Counted->Dpc, (CCHAR)Target);
    Inserted = Insert(Counted, Ticket, Target);
    KeLowerIrql(OldIrql);
    return Inserted;
}

static void InsertFreed(ULONG Random, ULONG Ticket)
{
    PKDPC Dpc = malloc(sizeof(*Dpc));

    CHECK(Dpc != NULL);
    KeInitializeDpc(Dpc, FreeRoutine, NULL);
    KeSetImportanceDpc(Dpc, (KDPC_IMPORTANCE)(Random >> 8 & 3));
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

    switch (Random >> 12 & 15) {
    case 0:
        Remove(Own);
        break;
    case 1:
        Remove(Any);
        break;
    case 2:
        KeAcquireSpinLock(&Lock, &OldIrql);
        Guarded += 1;
        InsertPrivate(Own, Random, Ticket);
        KeReleaseSpinLock(&Lock, OldIrql);
        break;
    case 3:
    case 4:
    case 5:
        Insert(Any, Ticket, (ULONG)(Any - Shared) % PROCESSORS);
        break;
    case 6:
        InsertFreed(Random, Ticket);
        break;
    case 7:
        if (Self >= PROCESSORS) {
            KeSetSystemAffinityThreadEx((KAFFINITY)1 << (Random & (PROCESSORS - 1)));
        }
        break;
    case 8:
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

    if (Self < PROCESSORS && KprcbAttachThread(Self) != STATUS_SUCCESS) {
        abort();
    }
    MeetAtGate(&Attached, THREADS);
    for (ULONG Operation = 0; Operation < Operations; Operation += 1) {
        ULONG Ticket = 2 * (Self * Operations + Operation);
        ULONG Chance = NextRandom(&Random);

        if (Operation % FLUSH_EVERY == FLUSH_EVERY - 1) {
            FlushAndLook(&Private[Self][0], Chance, Ticket);
        } else {
            Operate(Self, Chance, Ticket);
        }
    }
    KeRevertToUserAffinityThread();
    return NULL;
}

static void Initialize(COUNTED *Counted, ULONG Count)
{
    for (ULONG Index = 0; Index < Count; Index += 1) {
        Counted[Index] = (COUNTED){.Inserted = 0};
        KeInitializeDpc(&Counted[Index].Dpc, CountedRoutine, &Counted[Index]);
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

static void InsertsAreRemovesAndRuns(ULONG Flags)
{
    pthread_t Thread[THREADS];
    ULONG Ran = 0;
    ULONG Tick = 0;

    Operations = StressOperations() / THREADS / 2; /* two modes */
    TicketCount = 2 * THREADS * Operations;
    Tickets = calloc(TicketCount, 1);
    assert_non_null(Tickets);
    Attached = Allocated = Freed = Failures = Guarded = 0;
    KeInitializeSpinLock(&Lock);
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
    /* A routine may have inserted once more. */
    KeFlushQueuedDpcs();
    KeFlushQueuedDpcs();
    assert_int_equal(Failures, 0);
    assert_int_equal(Allocated, Freed);
    for (ULONG Index = 0; Index < THREADS; Index += 1) {
        Ran += Settle(Private[Index], PRIVATE);
    }
    Ran += Settle(Shared, SHARED) + Freed;
    for (ULONG Ticket = 0; Ticket < TicketCount; Ticket += 1) {
        Tick += Tickets[Ticket];
    }
    assert_int_equal(Ran, Tick);
    StopMachine();
    free((void *)Tickets);
}

static void TestInsertsAreRemovesAndRunsWithMembarrier(void **State)
{
    (void)State;
    InsertsAreRemovesAndRuns(0);
}

static void TestInsertsAreRemovesAndRunsWithExchange(void **State)
{
    (void)State;
    InsertsAreRemovesAndRuns(KPRCB_NO_MEMBARRIER);
}

/*
 * Every resident posts to the next processor and waits, now raising and lowering, now without a call of the library, so
 * that a post which nobody looks for stays where it is.
 */
typedef struct _RING {
    KDPC Dpc;
    ULONG Posts;
    ULONG Processor;
    ULONG volatile Ran;
} RING;

static VOID RingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CountOne(Context);
}

static void AwaitRing(RING *Ring, ULONG Round, ULONG Random)
{
    time_t Start = time(NULL);
    KIRQL OldIrql;

    for (ULONG Spin = 1; __atomic_load_n(&Ring->Ran, __ATOMIC_ACQUIRE) < Round; Spin += 1) {
        if (Random % 3 == 0) {
            KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
            KeLowerIrql(OldIrql);
        }
        if (Spin % 64 == 0) {
            sched_yield();
        }
        if (Spin % 65536 == 0 && time(NULL) - Start > GUARD) {
            PKPCR Pcr = KeGetPcr() - Ring->Processor + (Ring->Processor + 1) % PROCESSORS;

            fprintf(stderr, "post %u of processor %u lost: Request %08X, ResidentIrql %u\n", (unsigned)Round, (unsigned)Ring->Processor,
                    (unsigned)Pcr->Request, (unsigned)Pcr->PrcbData.ResidentIrql);
            abort();
        }
    }
}

static void *RingThread(void *Context)
{
    RING *Ring = Context;
    ULONG Random = Ring->Processor + 99;
    KIRQL OldIrql;

    if (KprcbAttachThread(Ring->Processor) != STATUS_SUCCESS) {
        abort();
    }
    KeInitializeDpc(&Ring->Dpc, RingRoutine, (PVOID)&Ring->Ran);
    KeSetTargetProcessorDpc(&Ring->Dpc, (CCHAR)((Ring->Processor + 1) % PROCESSORS));
    MeetAtGate(&Attached, PROCESSORS);
    for (ULONG Round = 1; Round <= Ring->Posts; Round += 1) {
        ULONG Chance = NextRandom(&Random);

        KeSetImportanceDpc(&Ring->Dpc, Chance >> 4 & 1 ? HighImportance : MediumHighImportance);
        for (ULONG Raise = Chance >> 5 & 7; Raise != 0; Raise -= 1) {
            KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
            KeLowerIrql(OldIrql);
        }
        CHECK(KeInsertQueueDpc(&Ring->Dpc, NULL, NULL));
        AwaitRing(Ring, Round, Chance >> 8);
    }
    return NULL;
}

static void TestNoPostIsLostInARing(void **State)
{
    RING Ring[PROCESSORS];
    pthread_t Thread[PROCESSORS];

    (void)State;
    for (ULONG Flags = 0; Flags <= KPRCB_NO_MEMBARRIER; Flags += KPRCB_NO_MEMBARRIER) {
        Attached = Failures = 0;
        StartMachine(PROCESSORS, Flags);
        for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
            Ring[Index] = (RING){.Posts = StressOperations() / 100, .Processor = Index};
            Thread[Index] = StartThread(RingThread, &Ring[Index]);
        }
        for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
            JoinThread(Thread[Index]);
        }
        assert_int_equal(Failures, 0);
        StopMachine();
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestInsertsAreRemovesAndRunsWithMembarrier),
        cmocka_unit_test(TestInsertsAreRemovesAndRunsWithExchange),
        cmocka_unit_test(TestNoPostIsLostInARing),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
