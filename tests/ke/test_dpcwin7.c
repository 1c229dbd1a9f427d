/*
 * test_dpcwin7.c - the library serves a KDPC as it was laid out before Windows 8.1, beside one as it is now.
 */
#define NTDDI_VERSION 0x06010000
#include "dpctest.h"

#define DPCS 4

/* What the headers declare for NTDDI_VERSION 0x06030000 and later. */
typedef struct _NEW_KDPC {
    ULONG TargetInfoAsUlong;
    SINGLE_LIST_ENTRY DpcListEntry;
    KAFFINITY ProcessorHistory;
    PKDEFERRED_ROUTINE DeferredRoutine;
    PVOID DeferredContext;
    PVOID SystemArgument1;
    PVOID SystemArgument2;
    PVOID volatile DpcData;
} NEW_KDPC;

_Static_assert(sizeof(NEW_KDPC) == sizeof(KDPC), "one size");
_Static_assert(sizeof(((KDPC *)NULL)->DpcListEntry) == 2 * sizeof(PVOID), "the old layout is what this file tests");

typedef union _ANY_KDPC {
    KDPC Old;
    NEW_KDPC New;
} ANY_KDPC;

static ULONG volatile Count;
static PVOID Ran[DPCS];

static VOID Routine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    if (Context == (PVOID)&Count && Argument1 == Argument2) {
        Ran[Count] = Dpc;
        CountOne(&Count);
    }
}

static void MakeDpc(ANY_KDPC *Dpc, BOOLEAN Old, CCHAR Target, KDPC_IMPORTANCE Importance)
{
    if (Old) {
        KeInitializeDpc(&Dpc->Old, Routine, (PVOID)&Count);
        assert_null(Dpc->Old.DpcListEntry.Flink);
        assert_int_equal(Dpc->Old.Type, DpcObject);
        Dpc->Old.DpcListEntry.Blink = (PLIST_ENTRY)Dpc; /* nobody's but the driver's */
    } else {
        KeInitializeDpc((PKDPC)&Dpc->New, Routine, (PVOID)&Count);
        assert_true(Dpc->New.ProcessorHistory == 0);
        Dpc->New.ProcessorHistory = (KAFFINITY)(ULONG_PTR)Dpc;
    }
    KeSetTargetProcessorDpc(&Dpc->Old, Target);
    KeSetImportanceDpc(&Dpc->Old, Importance);
}

static void TestBothLayoutsShareAQueue(void **State)
{
    (void)State;
    for (CCHAR Target = 0; Target < 2; Target += 1) {
        for (ULONG Oldest = 0; Oldest < 1u << DPCS; Oldest += 1) {
            ANY_KDPC Dpc[DPCS];
            HOLDER Holder;
            KIRQL OldIrql;

            StartAttached(2, MachineFlags);
            StartHolder(&Holder, 1, 1);
            Count = 0;
            KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
            for (ULONG Index = 0; Index < DPCS; Index += 1) {
                MakeDpc(&Dpc[Index], (BOOLEAN)(Oldest >> Index & 1), Target,
                        Index == 2 ? HighImportance : MediumImportance);
                assert_true(KeInsertQueueDpc(&Dpc[Index].Old, Number(Index), Number(Index)));
                assert_false(KeInsertQueueDpc(&Dpc[Index].Old, NULL, NULL));
                assert_non_null(Dpc[Index].Old.DpcData);
            }
            assert_true(KeRemoveQueueDpc(&Dpc[1].Old));
            KeLowerIrql(OldIrql);
            EndHolder(&Holder);
            AwaitCount(&Count, DPCS - 1);
            assert_ptr_equal(Ran[0], &Dpc[2]);
            assert_ptr_equal(Ran[1], &Dpc[0]);
            assert_ptr_equal(Ran[2], &Dpc[3]);
            for (ULONG Index = 0; Index < DPCS; Index += 1) {
                assert_ptr_equal(Dpc[Index].Old.DpcListEntry.Blink, &Dpc[Index]);
                assert_null(Dpc[Index].New.DpcData);
            }
            KeFlushQueuedDpcs();
            StopMachine();
        }
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestBothLayoutsShareAQueue),
    };

    return RunInBothModes(Tests, ARRAYSIZE(Tests));
}
