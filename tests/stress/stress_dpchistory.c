/*
 * stress_dpchistory.c - src/ke/dpchistory.c: the history is read while its owners change it.
 *
 * A resident of each processor runs a DPC that counts itself, and records times of routines of which there are more than
 * make a table full, so that it is cleaned up again and again and its memory is used again. Readers ask for every
 * processor's history meanwhile. What they get: no routine twice, one that has run, the time that its runs take, no run
 * longer than all of them. In the end, every run of a routine that no cleanup drops is recorded. One more thread switches
 * the history on and off and forks.
 */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ke/dpctest.h"

#include "ki.h"

#define PROCESSORS 2
#define READERS 2
#define CAPACITY 1024
#define IMAGINED 1500 /* routines, none of which is called */
#define KEPT_TIME 1000000000000ull

static ULONG volatile Failures;
static ULONG volatile Working;
static ULONG volatile Ready;
static ULONG volatile Ran[PROCESSORS];
static ULONG Operations;

#define CHECK(Condition)                                                                                               \
    do {                                                                                                               \
        if (!(Condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #Condition);                                            \
            CountOne(&Failures);                                                                                       \
        }                                                                                                              \
    } while (0)

static PKDEFERRED_ROUTINE Imagined(ULONG Number)
{
    return (PKDEFERRED_ROUTINE)(ULONG_PTR)(0x10000 + Number * 16);
}

/* Time stamps that each of its runs takes. */
static ULONGLONG TimeOf(ULONG Number)
{
    return (ULONGLONG)Number * 1000000;
}

/* Records one run of a routine that no cleanup drops, and one of another. */
static VOID CountingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    PKPRCB Prcb = KeGetCurrentPrcb();
    ULONG Other;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument2);
    Ran[Prcb->Number] += 1;
    KiRecordDpc(Prcb, Imagined(0), KEPT_TIME);
    Other = 1 + (ULONG)(ULONG_PTR)Argument1 % IMAGINED;
    KiRecordDpc(Prcb, Imagined(Other), TimeOf(Other));
}

static void *Worker(void *Context)
{
    ULONG Processor = (ULONG)(ULONG_PTR)Context;
    ULONG Seed = Processor + 1;
    KDPC Dpc;

    CHECK(KprcbAttachThread(Processor) == STATUS_SUCCESS);
    KeInitializeDpc(&Dpc, CountingRoutine, NULL);
    MeetAtGate(&Ready, PROCESSORS);
    for (ULONG Operation = 0; Operation < Operations; Operation += 1) {
        CHECK(KeInsertQueueDpc(&Dpc, (PVOID)(ULONG_PTR)NextRandom(&Seed), NULL));
    }
    __atomic_fetch_sub(&Working, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

typedef struct _SEEN {
    KPRCB_DPC_RUNTIME Entries[CAPACITY];
    ULONGLONG Kept[PROCESSORS]; /* runs of the routine that is kept */
} SEEN;

static int ByRoutine(const void *One, const void *Two)
{
    ULONG_PTR A = (ULONG_PTR)((const KPRCB_DPC_RUNTIME *)One)->Routine;
    ULONG_PTR B = (ULONG_PTR)((const KPRCB_DPC_RUNTIME *)Two)->Routine;

    return A < B ? -1 : A > B;
}

/* The same for all: nanoseconds of a run by the stamps of one. */
static double ScaleOf(const KPRCB_DPC_RUNTIME *Entry)
{
    ULONG Number = (ULONG)(((ULONG_PTR)Entry->Routine - (ULONG_PTR)Imagined(0)) / 16);

    return (double)Entry->LongestTime / (double)(Number == 0 ? KEPT_TIME : TimeOf(Number));
}

static void ReadHistory(SEEN *Seen, ULONG Processor)
{
    KPRCB_DPC_RUNTIME *Entries = Seen->Entries;
    ULONG Count = 0;

    CHECK(KprcbQueryDpcHistory(Processor, Entries, CAPACITY, &Count) == STATUS_SUCCESS);
    qsort(Entries, Count, sizeof(Entries[0]), ByRoutine);
    for (ULONG Index = 0; Index < Count; Index += 1) {
        double Off = ScaleOf(&Entries[Index]) - ScaleOf(&Entries[0]);

        CHECK((ULONG_PTR)Entries[Index].Routine > (ULONG_PTR)Imagined(IMAGINED) || (Off < 0.001 && Off > -0.001));
        CHECK(Index == 0 || Entries[Index].Routine != Entries[Index - 1].Routine);
        CHECK(Entries[Index].Count != 0);
        CHECK(Entries[Index].LongestTime <= Entries[Index].TotalTime);
        CHECK(Entries[Index].Routine != NULL);
        if (Entries[Index].Routine == Imagined(0)) {
            CHECK(Entries[Index].Count >= Seen->Kept[Processor]);
            Seen->Kept[Processor] = Entries[Index].Count;
        }
    }
    CHECK(Count == 0 || Seen->Kept[Processor] == 0 || Entries[0].Routine == Imagined(0));
}

static void *Reader(void *Context)
{
    SEEN *Seen = calloc(1, sizeof(*Seen));

    (void)Context;
    CHECK(Seen != NULL);
    while (Seen != NULL && __atomic_load_n(&Working, __ATOMIC_ACQUIRE) != 0) {
        for (ULONG Processor = 0; Processor < PROCESSORS; Processor += 1) {
            ReadHistory(Seen, Processor);
        }
    }
    free(Seen);
    return NULL;
}

#ifndef __SANITIZE_THREAD__
/* The child reads nothing of the parent's, and begins anew. */
static void Fork(void)
{
    int Status = 1;
    pid_t Child = fork();

    if (Child == 0) {
        KPRCB_DPC_RUNTIME Entry;
        ULONG Count = 1;

        _exit(KprcbSetDpcHistory(TRUE) == STATUS_SUCCESS &&
                      KprcbQueryDpcHistory(0, &Entry, 1, &Count) == STATUS_SUCCESS && Count == 0
                  ? 0
                  : 1);
    }
    CHECK(Child > 0 && waitpid(Child, &Status, 0) == Child && Status == 0);
}
#endif

static void *Switcher(void *Context)
{
    (void)Context;
    for (ULONG Round = 0; __atomic_load_n(&Working, __ATOMIC_ACQUIRE) != 0; Round += 1) {
        CHECK(KprcbSetDpcHistory(Round % 2 != 0) == STATUS_SUCCESS);
#ifndef __SANITIZE_THREAD__ /* it refuses threads in the child of a program that has some */
        if (Round % 64 == 0 && Round < 640) {
            Fork();
        }
#endif
    }
    return NULL;
}

static void readers_get_what_the_owners_have_recorded(void **State)
{
    pthread_t Threads[PROCESSORS + READERS + 1];
    KPRCB_DPC_RUNTIME *Entries = calloc(CAPACITY, sizeof(*Entries));

    (void)State;
    assert_non_null(Entries);
    Operations = StressOperations() / 4;
    StartMachine(PROCESSORS, MachineFlags);
    assert_int_equal(KprcbSetDpcHistory(TRUE), STATUS_SUCCESS);
    Failures = 0;
    Ready = 0;
    Working = PROCESSORS;
    Ran[0] = Ran[1] = 0;
    for (ULONG Index = 0; Index < PROCESSORS + READERS; Index += 1) {
        Threads[Index] = StartThread(Index < PROCESSORS ? Worker : Reader, (void *)(ULONG_PTR)Index);
    }
    Threads[PROCESSORS + READERS] = StartThread(Switcher, NULL);
    for (ULONG Index = 0; Index < PROCESSORS + READERS + 1; Index += 1) {
        JoinThread(Threads[Index]);
    }
    KeFlushQueuedDpcs();
    for (ULONG Processor = 0; Processor < PROCESSORS; Processor += 1) {
        ULONGLONG Kept = 0;
        ULONG Count = 0;

        assert_int_equal(KprcbQueryDpcHistory(Processor, Entries, CAPACITY, &Count), STATUS_SUCCESS);
        for (ULONG Index = 0; Index < Count; Index += 1) {
            Kept += Entries[Index].Routine == Imagined(0) ? Entries[Index].Count : 0;
        }
        assert_int_equal(Ran[Processor], Operations);
        assert_int_equal(Kept, Operations);
    }
    assert_int_equal(Failures, 0);
    free(Entries);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(readers_get_what_the_owners_have_recorded),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
