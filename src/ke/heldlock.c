/*
 * heldlock.c - the list of locks that a thread owns or queues for.
 *
 * A thread keeps it in its own block: KPRCB_THREAD_BLOCK.Held, the last lock last; a queued lock as its node with bit 0 set. Beyond
 * KPRCB_HELD_LOCKS locks the surplus is counted and not recorded.
 *
 * Tests: tests/ke/test_bugcheck.c, tests/ke/test_spinlock.c.
 */
#include "ki.h"

static ULONG KiRecordedLocks(KPRCB_THREAD_BLOCK *Block)
{
    return Block->HeldCount < KPRCB_HELD_LOCKS ? Block->HeldCount : KPRCB_HELD_LOCKS;
}

BOOLEAN KiForgetLockOutOfOrder(KPRCB_THREAD_BLOCK *Block, PVOID Lock)
{
    ULONG Count = KiRecordedLocks(Block);
    ULONG Index = Count;

    while (Index != 0 && Block->Held[Index - 1] != Lock) {
        Index -= 1;
    }
    if (Index == 0) {
        if (Block->HeldCount > KPRCB_HELD_LOCKS) {
            __atomic_store_n(&Block->HeldCount, Block->HeldCount - 1, __ATOMIC_RELAXED); /* one of the surplus */
            return TRUE;
        }
        if (!Block->Checked) {
            return FALSE;
        }
        if (((ULONG_PTR)Lock & 1) != 0) {
            PKSPIN_LOCK_QUEUE Node = (PKSPIN_LOCK_QUEUE)((ULONG_PTR)Lock - 1);

            KeBugCheckEx(SPIN_LOCK_NOT_OWNED, (ULONG_PTR)Node->Lock & ~(ULONG_PTR)3, (ULONG_PTR)Node, 0, 0);
        }
        KeBugCheckEx(SPIN_LOCK_NOT_OWNED, (ULONG_PTR)Lock, 0, 0, 0);
    }
    KiMaskInterrupts(Block);
    for (; Index < Count; Index += 1) {
        __atomic_store_n(&Block->Held[Index - 1], Block->Held[Index], __ATOMIC_RELAXED);
    }
    __atomic_store_n(&Block->HeldCount, Block->HeldCount - 1, __ATOMIC_RELAXED);
    KiUnmaskInterrupts(Block);
    return TRUE;
}

BOOLEAN KiIsLockHeld(KPRCB_THREAD_BLOCK *Block, PVOID Lock)
{
    for (ULONG Index = KiRecordedLocks(Block); Index != 0; Index -= 1) {
        ULONG_PTR Held = (ULONG_PTR)Block->Held[Index - 1];

        if ((Held & 1) == 0) {
            if ((PVOID)Held == Lock) {
                return TRUE;
            }
        } else {
            PKSPIN_LOCK_QUEUE Node = (PKSPIN_LOCK_QUEUE)(Held - 1);

            if (((ULONG_PTR)Node->Lock & ~(ULONG_PTR)3) == (ULONG_PTR)Lock) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

VOID KiReleaseHeldLocks(KPRCB_THREAD_BLOCK *Block, ULONG Keep)
{
    if (Block->HeldCount > KPRCB_HELD_LOCKS) {
        HalPrint("kprcb: %u locks of the unwound thread were not recorded and stay held\n",
                 (unsigned)(Block->HeldCount - KPRCB_HELD_LOCKS));
        __atomic_store_n(&Block->HeldCount, KPRCB_HELD_LOCKS, __ATOMIC_RELAXED);
    }
    while (Block->HeldCount > Keep) {
        ULONG_PTR Held = (ULONG_PTR)Block->Held[Block->HeldCount - 1];

        __atomic_store_n(&Block->HeldCount, Block->HeldCount - 1, __ATOMIC_RELAXED);
        if ((Held & 1) == 0) {
            HalPrint("kprcb: the unwound thread held spin lock %p; released\n", (void *)Held);
            __atomic_store_n((PKSPIN_LOCK)Held, 0, __ATOMIC_RELEASE);
        } else {
            PKSPIN_LOCK_QUEUE Node = (PKSPIN_LOCK_QUEUE)(Held - 1);

            HalPrint("kprcb: the unwound thread held or awaited queued spin lock %p; passed on\n",
                     (void *)((ULONG_PTR)Node->Lock & ~(ULONG_PTR)3));
            KiPassQueuedLock(Node);
        }
    }
}
