/*
 * kprcb_list.h - doubly and singly linked lists (WDK: wdm.h). Any IRQL; the caller keeps others away from the list.
 *
 * A doubly linked list is a ring through its head. Insertion and removal look at the neighbours first, as NT does since
 * Windows 8: an entry that its neighbours do not point to ends in RtlFailFast(FAST_FAIL_CORRUPT_LIST_ENTRY), before
 * anything is written. NO_KERNEL_LIST_ENTRY_CHECKS, defined before this header, leaves the look out.
 *
 * Test: tests/nt/test_list.c.
 */
#ifndef KPRCB_NT_LIST_H
#define KPRCB_NT_LIST_H

#include <kprcb/nt/kprcb_assert.h>

#ifdef __cplusplus
extern "C" {
#endif

/* RtlpCheckListEntry (WDK: same). Fails fast unless both neighbours point to the entry. */
FORCEINLINE VOID RtlpCheckListEntry(PLIST_ENTRY Entry)
{
#ifndef NO_KERNEL_LIST_ENTRY_CHECKS
    if (__builtin_expect(Entry->Flink->Blink != Entry || Entry->Blink->Flink != Entry, 0)) {
        RtlFailFast(FAST_FAIL_CORRUPT_LIST_ENTRY);
    }
#else
    (void)Entry;
#endif
}

/* InitializeListHead (WDK: same). An empty list. */
FORCEINLINE VOID InitializeListHead(PLIST_ENTRY ListHead)
{
    ListHead->Flink = ListHead;
    ListHead->Blink = ListHead;
}

/* IsListEmpty (WDK: same). */
FORCEINLINE BOOLEAN IsListEmpty(const LIST_ENTRY *ListHead)
{
    return ListHead->Flink == ListHead;
}

/* RemoveEntryListUnsafe (WDK: same). RemoveEntryList without the look. */
FORCEINLINE BOOLEAN RemoveEntryListUnsafe(PLIST_ENTRY Entry)
{
    PLIST_ENTRY Next = Entry->Flink;
    PLIST_ENTRY Previous = Entry->Blink;

    Previous->Flink = Next;
    Next->Blink = Previous;
    return Next == Previous;
}

/* RemoveEntryList (WDK: same). TRUE: the list is empty now. The entry itself keeps its old links. */
FORCEINLINE BOOLEAN RemoveEntryList(PLIST_ENTRY Entry)
{
    RtlpCheckListEntry(Entry);
    return RemoveEntryListUnsafe(Entry);
}

/* RemoveHeadList, RemoveTailList (WDK: same). The entry removed; of an empty list, the head. */
FORCEINLINE PLIST_ENTRY RemoveHeadList(PLIST_ENTRY ListHead)
{
    PLIST_ENTRY Entry = ListHead->Flink;

    RtlpCheckListEntry(Entry);
    RtlpCheckListEntry(ListHead);
    (void)RemoveEntryListUnsafe(Entry);
    return Entry;
}

FORCEINLINE PLIST_ENTRY RemoveTailList(PLIST_ENTRY ListHead)
{
    PLIST_ENTRY Entry = ListHead->Blink;

    RtlpCheckListEntry(Entry);
    RtlpCheckListEntry(ListHead);
    (void)RemoveEntryListUnsafe(Entry);
    return Entry;
}

/* InsertHeadList, InsertTailList (WDK: same). Entry becomes the first, or the last. */
FORCEINLINE VOID InsertHeadList(PLIST_ENTRY ListHead, PLIST_ENTRY Entry)
{
    PLIST_ENTRY Next = ListHead->Flink;

    RtlpCheckListEntry(ListHead);
    Entry->Flink = Next;
    Entry->Blink = ListHead;
    Next->Blink = Entry;
    ListHead->Flink = Entry;
}

FORCEINLINE VOID InsertTailList(PLIST_ENTRY ListHead, PLIST_ENTRY Entry)
{
    PLIST_ENTRY Previous = ListHead->Blink;

    RtlpCheckListEntry(ListHead);
    Entry->Flink = ListHead;
    Entry->Blink = Previous;
    Previous->Flink = Entry;
    ListHead->Blink = Entry;
}

/* AppendTailList (WDK: same). The ring ListToAppend, which has no head of its own, goes to the end. */
FORCEINLINE VOID AppendTailList(PLIST_ENTRY ListHead, PLIST_ENTRY ListToAppend)
{
    PLIST_ENTRY Last = ListToAppend->Blink;
    PLIST_ENTRY Previous = ListHead->Blink;

    RtlpCheckListEntry(ListHead);
    RtlpCheckListEntry(ListToAppend);
    Previous->Flink = ListToAppend;
    ListToAppend->Blink = Previous;
    Last->Flink = ListHead;
    ListHead->Blink = Last;
}

/* PushEntryList (WDK: same). */
FORCEINLINE VOID PushEntryList(PSINGLE_LIST_ENTRY ListHead, PSINGLE_LIST_ENTRY Entry)
{
    Entry->Next = ListHead->Next;
    ListHead->Next = Entry;
}

/* PopEntryList (WDK: same). The entry pushed last, or NULL. */
FORCEINLINE PSINGLE_LIST_ENTRY PopEntryList(PSINGLE_LIST_ENTRY ListHead)
{
    PSINGLE_LIST_ENTRY Entry = ListHead->Next;

    if (Entry != NULL) {
        ListHead->Next = Entry->Next;
    }
    return Entry;
}

#ifdef __cplusplus
}
#endif

#endif
