/*
 * stress_dpchistory.c - src/ke/dpchistory.c: the history is read while its owners change it.
 *
 * A resident of each processor runs a DPC that counts itself, and records times of routines of which there are more than a
 * table holds, so that it is cleaned up again and again. Readers ask for every processor's history meanwhile. What they
 * get: no routine twice, one that has run, no run longer than all of them. In the end, every run of a routine that no
 * cleanup drops is recorded.
 */
#include <stdio.h>

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

/* Records one run of a routine that no cleanup drops, and one of another. */
static VOID CountingRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    PKPRCB Prcb = KeGetCurrentPrcb();

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument2);
    CHECK(Prcb->CurrentDpcStartTime != 0);
    Ran[Prcb->Number] += 1;
    KiRecordDpc(Prcb, Imagined(0), KEPT_TIME);
    KiRecordDpc(Prcb, Imagined(1 + (ULONG)(ULONG_PTR)Argument1 % IMAGINED), 1 + (ULONG)(ULONG_PTR)Argument1 % 7);
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

static void ReadHistory(SEEN *Seen, ULONG Processor)
{
    KPRCB_DPC_RUNTIME *Entries = Seen->Entries;
    ULONG Count = 0;

    CHECK(KprcbQueryDpcHistory(Processor, Entries, CAPACITY, &Count) == STATUS_SUCCESS);
    qsort(Entries, Count, sizeof(Entries[0]), ByRoutine);
    for (ULONG Index = 0; Index < Count; Index += 1) {
        CHECK(Index == 0 || Entries[Index].Routine != Entries[Index - 1].Routine);
        CHECK(Entries[Index].Count != 0);
        CHECK(Entries[Index].LongestTime <= Entries[Index].TotalTime);
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

static void readers_get_what_the_owners_have_recorded(void **State)
{
    pthread_t Threads[PROCESSORS + READERS];
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
    for (ULONG Index = 0; Index < PROCESSORS + READERS; Index += 1) {
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
