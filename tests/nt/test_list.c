/*
 * test_list.c - kprcb_list.h: order, results, and the bug check of a corrupt ring, which must come before any write.
 */
#include <wdm.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

typedef struct _ITEM {
    int Value;
    LIST_ENTRY Links;
} ITEM;

static int ValueOf(PLIST_ENTRY Entry)
{
    return CONTAINING_RECORD(Entry, ITEM, Links)->Value;
}

/* The ring holds exactly Count items with the values First, First + 1, ... in both directions. */
static void CheckRing(PLIST_ENTRY Head, int First, int Count)
{
    PLIST_ENTRY Entry = Head->Flink;

    for (int i = 0; i < Count; i++, Entry = Entry->Flink) {
        assert_ptr_not_equal(Entry, Head);
        assert_int_equal(ValueOf(Entry), First + i);
    }
    assert_ptr_equal(Entry, Head);
    Entry = Head->Blink;
    for (int i = Count; i-- > 0; Entry = Entry->Blink) {
        assert_int_equal(ValueOf(Entry), First + i);
    }
    assert_ptr_equal(Entry, Head);
}

static void Order(void **State)
{
    ITEM Items[4] = {{.Value = 0}, {.Value = 1}, {.Value = 2}, {.Value = 3}};
    LIST_ENTRY Head;

    (void)State;
    InitializeListHead(&Head);
    assert_true(IsListEmpty(&Head));
    InsertTailList(&Head, &Items[2].Links);
    InsertHeadList(&Head, &Items[1].Links);
    InsertTailList(&Head, &Items[3].Links);
    InsertHeadList(&Head, &Items[0].Links);
    assert_false(IsListEmpty(&Head));
    CheckRing(&Head, 0, 4);
    assert_int_equal(ValueOf(RemoveHeadList(&Head)), 0);
    assert_int_equal(ValueOf(RemoveTailList(&Head)), 3);
    CheckRing(&Head, 1, 2);
    assert_false(RemoveEntryList(&Items[1].Links));
    assert_true(RemoveEntryList(&Items[2].Links));
    assert_true(IsListEmpty(&Head));
}

static void RemoveFromEmptyListGivesTheHead(void **State)
{
    LIST_ENTRY Head;

    (void)State;
    InitializeListHead(&Head);
    assert_ptr_equal(RemoveHeadList(&Head), &Head);
    assert_ptr_equal(RemoveTailList(&Head), &Head);
    assert_true(IsListEmpty(&Head));
}

static void Append(void **State)
{
    ITEM Items[4] = {{.Value = 0}, {.Value = 1}, {.Value = 2}, {.Value = 3}};
    LIST_ENTRY Head;

    (void)State;
    InitializeListHead(&Head);
    InsertTailList(&Head, &Items[0].Links);
    InsertTailList(&Head, &Items[1].Links);
    InitializeListHead(&Items[2].Links);
    InsertTailList(&Items[2].Links, &Items[3].Links);
    AppendTailList(&Head, &Items[2].Links);
    CheckRing(&Head, 0, 4);
}

static void SinglyLinked(void **State)
{
    SINGLE_LIST_ENTRY Head = {NULL};
    SINGLE_LIST_ENTRY Entries[2];

    (void)State;
    assert_null(PopEntryList(&Head));
    PushEntryList(&Head, &Entries[0]);
    PushEntryList(&Head, &Entries[1]);
    assert_ptr_equal(PopEntryList(&Head), &Entries[1]);
    assert_ptr_equal(PopEntryList(&Head), &Entries[0]);
    assert_null(PopEntryList(&Head));
}

/* --- Corruption --- */

typedef struct _RING {
    LIST_ENTRY Head;
    ITEM Items[2];
    ITEM New;
} RING;

static void MakeRing(RING *Ring)
{
    memset(Ring, 0, sizeof(*Ring));
    InitializeListHead(&Ring->Head);
    InsertTailList(&Ring->Head, &Ring->Items[0].Links);
    InsertTailList(&Ring->Head, &Ring->Items[1].Links);
}

static VOID DoInsertHead(PVOID Context)
{
    InsertHeadList(&((RING *)Context)->Head, &((RING *)Context)->New.Links);
}

static VOID DoInsertTail(PVOID Context)
{
    InsertTailList(&((RING *)Context)->Head, &((RING *)Context)->New.Links);
}

static VOID DoRemoveHead(PVOID Context)
{
    RemoveHeadList(&((RING *)Context)->Head);
}

static VOID DoRemoveTail(PVOID Context)
{
    RemoveTailList(&((RING *)Context)->Head);
}

static VOID DoRemoveFirst(PVOID Context)
{
    RemoveEntryList(&((RING *)Context)->Items[0].Links);
}

static void ExpectCorruption(VOID (*Routine)(PVOID), RING *Ring)
{
    RING Before = *Ring;
    KPRCB_BUGCHECK BugCheck;

    assert_true(KprcbCatchBugCheck(Routine, Ring, &BugCheck));
    assert_int_equal(BugCheck.Code, KERNEL_SECURITY_CHECK_FAILURE);
    assert_int_equal(BugCheck.Parameter[0], FAST_FAIL_CORRUPT_LIST_ENTRY);
    assert_memory_equal(Ring, &Before, sizeof(Before));
}

static void CorruptFlinkOfTheLast(void **State)
{
    RING Ring;

    (void)State;
    MakeRing(&Ring);
    Ring.Items[1].Links.Flink = &Ring.Items[0].Links;
    ExpectCorruption(DoInsertTail, &Ring);
    ExpectCorruption(DoRemoveTail, &Ring);
}

static void CorruptBlinkOfTheFirst(void **State)
{
    RING Ring;

    (void)State;
    MakeRing(&Ring);
    Ring.Items[0].Links.Blink = &Ring.Items[1].Links;
    ExpectCorruption(DoInsertHead, &Ring);
    ExpectCorruption(DoRemoveHead, &Ring);
    ExpectCorruption(DoRemoveFirst, &Ring);
}

static void EntryRemovedTwice(void **State)
{
    RING Ring;

    (void)State;
    MakeRing(&Ring);
    RemoveEntryList(&Ring.Items[0].Links);
    ExpectCorruption(DoRemoveFirst, &Ring);
    CheckRing(&Ring.Head, 0, 1);
}

static void InterlockedListsAreHere(void **State)
{
    LIST_ENTRY Head, Entry;
    SINGLE_LIST_ENTRY SingleHead = {NULL}, Single;
    KSPIN_LOCK Lock;

    (void)State;
    KeInitializeSpinLock(&Lock);
    InitializeListHead(&Head);
    assert_null(ExInterlockedInsertTailList(&Head, &Entry, &Lock));
    assert_ptr_equal(ExInterlockedRemoveHeadList(&Head, &Lock), &Entry);
    assert_true(IsListEmpty(&Head));
    assert_null(ExInterlockedPushEntryList(&SingleHead, &Single, &Lock));
    assert_ptr_equal(ExInterlockedPopEntryList(&SingleHead, &Lock), &Single);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Order),
        cmocka_unit_test(RemoveFromEmptyListGivesTheHead),
        cmocka_unit_test(Append),
        cmocka_unit_test(SinglyLinked),
        cmocka_unit_test(CorruptFlinkOfTheLast),
        cmocka_unit_test(CorruptBlinkOfTheFirst),
        cmocka_unit_test(EntryRemovedTwice),
        cmocka_unit_test(InterlockedListsAreHere),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
