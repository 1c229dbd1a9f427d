/*
 * heldlock.c - the list of locks that a thread owns or queues for.
 *
 * A thread keeps it in its own block: KPRCB_THREAD_BLOCK.Held, the last lock last. The two low bits of an entry tell
 * what it is the address of: 0 a KSPIN_LOCK, 1 the node of a queued lock, 2 an EX_SPIN_LOCK held exclusive, 3 one held
 * shared. Entries from HeldCount up are NULL. Beyond KPRCB_HELD_LOCKS locks the surplus is counted and not recorded.
 *
 * Tests: tests/ke/test_bugcheck.c, tests/ke/test_spinlock.c.
 */
#include "ki.h"

VOID KiHoldSurplus(KPRCB_THREAD_BLOCK *Block)
{
    Block->HeldSurplus += 1;
}

/* 1 + its place in the list, or 0. */
static ULONG KiFindHeld(KPRCB_THREAD_BLOCK *Block, PVOID Lock)
{
    ULONG Index = Block->HeldCount;

    while (Index != 0 && Block->Held[Index - 1] != Lock) {
        Index -= 1;
    }
    return Index;
}

BOOLEAN KiCheckHeld(KPRCB_THREAD_BLOCK *Block, PVOID Lock)
{
    if (KiIsLastLock(Block, Lock) || Block->HeldSurplus != 0 || KiFindHeld(Block, Lock) != 0) {
        return TRUE;
    }
    if (!Block->Checked) {
        return FALSE;
    }
    if (((ULONG_PTR)Lock & 3) == 1) {
        PKSPIN_LOCK_QUEUE Node = (PKSPIN_LOCK_QUEUE)((ULONG_PTR)Lock - 1);

        KeBugCheckEx(SPIN_LOCK_NOT_OWNED, (ULONG_PTR)__atomic_load_n(&Node->Lock, __ATOMIC_RELAXED) & ~(ULONG_PTR)3,
                     (ULONG_PTR)Node, 0, 0);
    }
    KeBugCheckEx(SPIN_LOCK_NOT_OWNED, (ULONG_PTR)Lock & ~(ULONG_PTR)3, 0, 0, 0);
}

BOOLEAN KiIsRecorded(KPRCB_THREAD_BLOCK *Block, PVOID Lock)
{
    return KiFindHeld(Block, Lock) != 0;
}

VOID KiReplaceHeld(KPRCB_THREAD_BLOCK *Block, PVOID Lock, PVOID Replacement)
{
    ULONG Index = KiFindHeld(Block, Lock);

    if (Index != 0) {
        __atomic_store_n(&Block->Held[Index - 1], Replacement, __ATOMIC_RELAXED);
    }
}

VOID KiForgetLockOutOfOrder(KPRCB_THREAD_BLOCK *Block, PVOID Lock)
{
    ULONG Index = KiFindHeld(Block, Lock);

    if (Index == 0) {
        Block->HeldSurplus -= Block->HeldSurplus != 0;
        return;
    }
    KiMaskInterrupts(Block);
    for (; Index < Block->HeldCount; Index += 1) {
        __atomic_store_n(&Block->Held[Index - 1], Block->Held[Index], __ATOMIC_RELAXED);
    }
    __atomic_store_n(&Block->Held[Index - 1], NULL, __ATOMIC_RELAXED);
    __atomic_store_n(&Block->HeldCount, (UCHAR)(Block->HeldCount - 1), __ATOMIC_RELAXED);
    KiPublishAcquires(Block);
    KiUnmaskInterrupts(Block);
}

BOOLEAN KiIsLockHeld(KPRCB_THREAD_BLOCK *Block, PVOID Lock)
{
    for (ULONG Index = Block->HeldCount; Index != 0; Index -= 1) {
        ULONG_PTR Held = (ULONG_PTR)Block->Held[Index - 1];

        if ((PVOID)Held == Lock) {
            return TRUE;
        }
        if ((Held & 3) == 1) {
            PKSPIN_LOCK_QUEUE Node = (PKSPIN_LOCK_QUEUE)(Held - 1);

            if (((ULONG_PTR)__atomic_load_n(&Node->Lock, __ATOMIC_RELAXED) & ~(ULONG_PTR)3) == (ULONG_PTR)Lock) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

VOID KiReleaseHeldLocks(KPRCB_THREAD_BLOCK *Block, ULONG Keep, ULONG KeepSurplus)
{
    KiPublishAcquires(Block);
    if (Block->HeldSurplus > KeepSurplus) {
        HalPrint("kprcb: %u locks of the unwound thread were not recorded and stay held\n",
                 (unsigned)(Block->HeldSurplus - KeepSurplus));
        Block->HeldSurplus = KeepSurplus;
    }
    while (Block->HeldCount > Keep) {
        ULONG_PTR Held = (ULONG_PTR)Block->Held[Block->HeldCount - 1];

        __atomic_store_n(&Block->Held[Block->HeldCount - 1], NULL, __ATOMIC_RELAXED);
        __atomic_store_n(&Block->HeldCount, (UCHAR)(Block->HeldCount - 1), __ATOMIC_RELAXED);
        if ((Held & 3) == 0) {
            HalPrint("kprcb: the unwound thread held spin lock %p; released\n", (void *)Held);
            if (!KiMachine.Uniprocessor) {
                __atomic_store_n((PKSPIN_LOCK)Held, 0, __ATOMIC_RELEASE);
            }
        } else if ((Held & 3) != 1) {
            HalPrint("kprcb: the unwound thread held reader/writer spin lock %p; released\n",
                     (void *)(Held & ~(ULONG_PTR)3));
            KiDropRwSpinLock(Block, (PVOID)Held);
        } else {
            PKSPIN_LOCK_QUEUE Node = (PKSPIN_LOCK_QUEUE)(Held - 1);

            HalPrint("kprcb: the unwound thread held or awaited queued spin lock %p; passed on\n",
                     (void *)((ULONG_PTR)__atomic_load_n(&Node->Lock, __ATOMIC_RELAXED) & ~(ULONG_PTR)3));
            KiPassQueuedLock(Node);
        }
    }
}
