/*
 * interlockedlist.c - ExInterlockedInsertHeadList, ExInterlockedInsertTailList, ExInterlockedRemoveHeadList,
 * ExInterlockedPushEntryList, ExInterlockedPopEntryList.
 *
 *   word       written by                                              read by
 *   the lock   0 -> 1 by whoever acquires, compare-exchange (acquire)  those who wait (relaxed)
 *              1 -> 0 by the holder, store (release)
 *   the list   the holder of the lock
 *
 * The holder has interrupts masked, so what an interrupt runs on its thread never waits for it, whatever the level.
 * Below DISPATCH_LEVEL no interrupt of the machine is served anyway, and the mask is left alone: a locked operation waits
 * for every store before it. Who waits is not masked, holds nothing and yields, so a holder that has lost its CPU comes
 * to its end.
 *
 * Tests: tests/ex/test_interlockedlist.c, tests/stress/stress_interlockedlist.c.
 */
#include "ki.h"

#include <kprcb/interlockedlist.h>

#define EXP_CORRUPT_LIST_ENTRY 3

static inline BOOLEAN ExpMasks(KPRCB_THREAD_BLOCK *Block)
{
    return __builtin_expect(Block->Irql >= DISPATCH_LEVEL, 0);
}

static inline BOOLEAN ExpTryLock(KPRCB_THREAD_BLOCK *Block, PKSPIN_LOCK Lock)
{
    KSPIN_LOCK Free = 0;

    if (ExpMasks(Block)) {
        KiMaskInterrupts(Block);
    }
    return __atomic_compare_exchange_n(Lock, &Free, 1, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline VOID ExpUnmask(KPRCB_THREAD_BLOCK *Block)
{
    if (ExpMasks(Block)) {
        KiUnmaskInterrupts(Block);
    }
}

static inline VOID ExpUnlock(KPRCB_THREAD_BLOCK *Block, PKSPIN_LOCK Lock)
{
    __atomic_store_n(Lock, 0, __ATOMIC_RELEASE);
    ExpUnmask(Block);
}

static __attribute__((noinline)) VOID ExpAwaitLock(KPRCB_THREAD_BLOCK *Block, PKSPIN_LOCK Lock)
{
    KI_SPIN Spin = {.Reason = "the lock of an interlocked list", .Object = Lock};

    do {
        KSPIN_LOCK Word;

        ExpUnmask(Block);
        while ((Word = __atomic_load_n(Lock, __ATOMIC_RELAXED)) != 0) {
            if (Block->Checked && Word == Block->SpinLockValue) {
                KeBugCheckEx(SPIN_LOCK_ALREADY_OWNED, (ULONG_PTR)Lock, 0, 0, 0);
            }
            KiSpin(&Spin);
            KiPauseOrYield(Spin.Steps);
        }
    } while (!ExpTryLock(Block, Lock));
    KiEndSpin(&Spin);
}

static inline VOID ExpLock(KPRCB_THREAD_BLOCK *Block, PKSPIN_LOCK Lock)
{
    if (__builtin_expect(!ExpTryLock(Block, Lock), 0)) {
        ExpAwaitLock(Block, Lock);
    }
}

/* The lock is let go first: the bug check may unwind. */
static __attribute__((noinline)) VOID ExpReportCorruptList(KPRCB_THREAD_BLOCK *Block, PKSPIN_LOCK Lock)
{
    ExpUnlock(Block, Lock);
    KeBugCheckEx(KERNEL_SECURITY_CHECK_FAILURE, EXP_CORRUPT_LIST_ENTRY, 0, 0, 0);
}

/* Inserts between two neighbours. Returns Neighbour, unless that is the head: NULL. */
static inline PLIST_ENTRY ExpInsert(KPRCB_THREAD_BLOCK *Block, PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry,
                                    PKSPIN_LOCK Lock, BOOLEAN AtHead)
{
    PLIST_ENTRY Previous, Next, Neighbour;

    ExpLock(Block, Lock);
    Neighbour = AtHead ? ListHead->Flink : ListHead->Blink;
    Previous = AtHead ? ListHead : Neighbour;
    Next = AtHead ? Neighbour : ListHead;
    if (__builtin_expect(Previous->Flink != Next || Next->Blink != Previous, 0)) {
        ExpReportCorruptList(Block, Lock);
    }
    ListEntry->Flink = Next;
    ListEntry->Blink = Previous;
    Previous->Flink = ListEntry;
    Next->Blink = ListEntry;
    ExpUnlock(Block, Lock);
    return Neighbour == ListHead ? NULL : Neighbour;
}

PLIST_ENTRY ExInterlockedInsertHeadList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry, PKSPIN_LOCK Lock)
{
    return ExpInsert(&KprcbThread, ListHead, ListEntry, Lock, TRUE);
}

PLIST_ENTRY ExInterlockedInsertTailList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry, PKSPIN_LOCK Lock)
{
    return ExpInsert(&KprcbThread, ListHead, ListEntry, Lock, FALSE);
}

PLIST_ENTRY ExInterlockedRemoveHeadList(PLIST_ENTRY ListHead, PKSPIN_LOCK Lock)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    PLIST_ENTRY Entry, Next;

    ExpLock(Block, Lock);
    Entry = ListHead->Flink;
    Next = Entry->Flink;
    if (__builtin_expect(Entry->Blink != ListHead || Next->Blink != Entry, 0)) {
        ExpReportCorruptList(Block, Lock);
    }
    ListHead->Flink = Next;
    Next->Blink = ListHead;
    ExpUnlock(Block, Lock);
    return Entry == ListHead ? NULL : Entry;
}

PSINGLE_LIST_ENTRY ExInterlockedPushEntryList(PSINGLE_LIST_ENTRY ListHead, PSINGLE_LIST_ENTRY ListEntry,
                                              PKSPIN_LOCK Lock)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    PSINGLE_LIST_ENTRY First;

    ExpLock(Block, Lock);
    First = ListHead->Next;
    ListEntry->Next = First;
    ListHead->Next = ListEntry;
    ExpUnlock(Block, Lock);
    return First;
}

PSINGLE_LIST_ENTRY ExInterlockedPopEntryList(PSINGLE_LIST_ENTRY ListHead, PKSPIN_LOCK Lock)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    PSINGLE_LIST_ENTRY First;

    ExpLock(Block, Lock);
    First = ListHead->Next;
    if (First != NULL) {
        ListHead->Next = First->Next;
    }
    ExpUnlock(Block, Lock);
    return First;
}
