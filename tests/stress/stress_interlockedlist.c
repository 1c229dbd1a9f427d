/*
 * stress_interlockedlist.c - interlocked lists under contention: threads move entries among lists, at PASSIVE_LEVEL, at
 * DISPATCH_LEVEL and in IPI workers that interrupt both. At the end each entry is in one list, once.
 */
#include "support/support.h"

#define THREADS 6
#define ENTRIES 64

typedef struct _ITEM {
    LIST_ENTRY Double;
    SINGLE_LIST_ENTRY Single;
    ULONG Seen;
} ITEM;

static struct {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) KSPIN_LOCK Lock;
    LIST_ENTRY Head;
} Double;
static struct {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) KSPIN_LOCK Lock;
    SINGLE_LIST_ENTRY Head;
} Single;
static ITEM Items[ENTRIES];
static ULONG MachineFlags;
static ULONG volatile Gate;
static ULONG Threads, Share;

/* One step of an entry from the list it is in to the other. */
static void Move(ULONG Choice)
{
    if (Choice % 2 == 0) {
        PLIST_ENTRY Entry = ExInterlockedRemoveHeadList(&Double.Head, &Double.Lock);

        if (Entry != NULL) {
            (VOID)
                ExInterlockedPushEntryList(&Single.Head, &CONTAINING_RECORD(Entry, ITEM, Double)->Single, &Single.Lock);
        }
    } else {
        PSINGLE_LIST_ENTRY Entry = ExInterlockedPopEntryList(&Single.Head, &Single.Lock);

        if (Entry != NULL) {
            PLIST_ENTRY Other = &CONTAINING_RECORD(Entry, ITEM, Single)->Double;

            (VOID)(Choice % 4 == 1 ? ExInterlockedInsertHeadList(&Double.Head, Other, &Double.Lock)
                                   : ExInterlockedInsertTailList(&Double.Head, Other, &Double.Lock));
        }
    }
}

static ULONG_PTR MoveInInterrupt(ULONG_PTR Choice)
{
    Move((ULONG)Choice);
    return 0;
}

static void *WorkerThread(void *Context)
{
    ULONG Random = 0x9E3779B9u * ((ULONG)(ULONG_PTR)Context + 1);

    MeetAtGate(&Gate, Threads);
    for (ULONG Operation = 0; Operation < Share; Operation += 1) {
        ULONG Choice = NextRandom(&Random);
        KIRQL OldIrql;

        if ((Choice >> 8) % 4096 == 0) {
            (VOID) KeIpiGenericCall(MoveInInterrupt, Choice);
        } else if ((Choice >> 8) % 4 == 0) {
            KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
            Move(Choice);
            KeLowerIrql(OldIrql);
        } else {
            Move(Choice);
        }
    }
    return NULL;
}

static void Stress(ULONG Processors, ULONG Count)
{
    pthread_t Handles[THREADS];
    PLIST_ENTRY Entry;
    PSINGLE_LIST_ENTRY Other;
    ULONG Found = 0;

    Threads = Count;
    Share = StressOperations() / 2 / Count;
    Gate = 0;
    Double.Head.Flink = Double.Head.Blink = &Double.Head;
    Single.Head.Next = NULL;
    StartMachine(Processors, MachineFlags);
    for (ULONG Index = 0; Index < ENTRIES; Index += 1) {
        Items[Index].Seen = 0;
        (VOID) ExInterlockedInsertTailList(&Double.Head, &Items[Index].Double, &Double.Lock);
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        Handles[Index] = StartThread(WorkerThread, (PVOID)(ULONG_PTR)Index);
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        JoinThread(Handles[Index]);
    }
    while ((Entry = ExInterlockedRemoveHeadList(&Double.Head, &Double.Lock)) != NULL) {
        assert_int_equal(CONTAINING_RECORD(Entry, ITEM, Double)->Seen++, 0);
        Found += 1;
    }
    while ((Other = ExInterlockedPopEntryList(&Single.Head, &Single.Lock)) != NULL) {
        assert_int_equal(CONTAINING_RECORD(Other, ITEM, Single)->Seen++, 0);
        Found += 1;
    }
    assert_int_equal(Found, ENTRIES);
    StopMachine();
}

static void two_threads_on_two_processors(void **State)
{
    (void)State;
    Stress(2, 2);
}

static void threads_outnumber_processors(void **State)
{
    (void)State;
    Stress(2, THREADS);
}

static void threads_share_a_processor(void **State)
{
    (void)State;
    Stress(1, THREADS);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(two_threads_on_two_processors),
        cmocka_unit_test(threads_outnumber_processors),
        cmocka_unit_test(threads_share_a_processor),
    };
    int Failed = cmocka_run_group_tests_name("checked, membarrier", Tests, NULL, NULL);

    MachineFlags = KPRCB_FREE_BUILD | KPRCB_NO_MEMBARRIER;
    return Failed + cmocka_run_group_tests_name("free, exchange", Tests, NULL, NULL);
}
