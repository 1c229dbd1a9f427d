/*
 * kilock.h - the part of the door ki.h that is about locks and who holds them; ki.h includes it.
 */
#ifndef KILOCK_H
#define KILOCK_H

/* --- contention.c, readerbias.c: what is kept for locks by their address, in tables where several may share a place --- */
#define KI_LOCK_SLOTS 64
static inline ULONG KiLockSlot(const volatile VOID *Lock)
{
    return (ULONG)((ULONG_PTR)Lock / 16) * 0x9E3779B1u >> 26;
}

/* --- heldlock.c: the locks that a thread owns --- */
VOID KiReleaseHeldLocks(KPRCB_THREAD_BLOCK *Block, ULONG Keep, ULONG KeepSurplus);
BOOLEAN KiIsLockHeld(KPRCB_THREAD_BLOCK *Block, PVOID Lock);

/*
 * On a uniprocessor machine the first entry of each thread: the locks' inline halves, which touch the lock, find that it
 * is not their lock, or that one is held already.
 */
#define KI_NO_LOCK ((PVOID)(ULONG_PTR)4)

/* The entry Lock is among those of the thread. */
BOOLEAN KiIsRecorded(KPRCB_THREAD_BLOCK *Block, PVOID Lock);
VOID KiReplaceHeld(KPRCB_THREAD_BLOCK *Block, PVOID Lock, PVOID Replacement);
VOID KiHoldSurplus(KPRCB_THREAD_BLOCK *Block);

/* A member of the KPRCB of the processor that the caller owns. */
static inline VOID KiCount(ULONG *Counter, ULONG Increment)
{
    __atomic_store_n(Counter, *Counter + Increment, __ATOMIC_RELAXED);
}

/* On a free build the thread may own no processor. */
static inline VOID KiPublishAcquires(KPRCB_THREAD_BLOCK *Block)
{
    if (__builtin_expect(Block->Irql >= DISPATCH_LEVEL, 1)) {
        __atomic_store_n(&Block->Pcr->PrcbData.SpinLockAcquireCount, Block->AcquireCount, __ATOMIC_RELAXED);
    }
}

/* A lock that was acquired out of line. */
static inline VOID KiHoldLock(KPRCB_THREAD_BLOCK *Block, PVOID Lock)
{
    ULONGLONG Word = Block->LockWord + KPRCB_ONE_ACQUIRE;
    ULONG Index = Block->HeldCount;

    if (__builtin_expect(Index < KPRCB_HELD_LOCKS, 1)) {
        /* The count first: an interrupt in between uses the next entry. */
        KprcbStoreLockWord(Word + KPRCB_ONE_LOCK);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        __atomic_store_n(&Block->Held[Index], Lock, __ATOMIC_RELAXED);
    } else {
        KprcbStoreLockWord(Word);
        KiHoldSurplus(Block);
    }
    KiPublishAcquires(Block);
}

static inline BOOLEAN KiIsLastLock(KPRCB_THREAD_BLOCK *Block, PVOID Lock)
{
    ULONG Last = Block->HeldCount - 1u;

    return Last < KPRCB_HELD_LOCKS && Block->Held[Last] == Lock;
}

/* Bug checks on a checked build if the thread does not own Lock. FALSE: it does not, and the build is free. */
BOOLEAN KiCheckHeld(KPRCB_THREAD_BLOCK *Block, PVOID Lock);
/* Of a lock that the thread owns. */
VOID KiForgetLockOutOfOrder(KPRCB_THREAD_BLOCK *Block, PVOID Lock);

static inline VOID KiForgetLock(KPRCB_THREAD_BLOCK *Block, PVOID Lock)
{
    if (__builtin_expect(KiIsLastLock(Block, Lock), 1)) {
        __atomic_store_n(&Block->Held[Block->HeldCount - 1], NULL, __ATOMIC_RELAXED);
        KprcbStoreLockWord(Block->LockWord - KPRCB_ONE_LOCK);
        KiPublishAcquires(Block); /* it may be an inline acquire's */
    } else {
        KiForgetLockOutOfOrder(Block, Lock);
    }
}

/* For routines that DISPATCH_LEVEL is a condition of. */
static inline VOID KiCheckOwnerLevel(KPRCB_THREAD_BLOCK *Block)
{
    if (__builtin_expect(Block->Irql < DISPATCH_LEVEL && Block->Checked, 0)) {
        KeBugCheckEx(IRQL_NOT_GREATER_OR_EQUAL, Block->Irql, DISPATCH_LEVEL, 0, (ULONG_PTR)__builtin_return_address(0));
    }
}

/* --- rwspinlock.c --- */
/* Releases a lock by its entry in Held. */
VOID KiDropRwSpinLock(KPRCB_THREAD_BLOCK *Block, PVOID Held);

/* --- readerbias.c --- */
/* The owner of Pcr holds the lock shared without being counted in its word. */
static inline BOOLEAN KiIsUncounted(PKPCR Pcr, PEX_SPIN_LOCK SpinLock)
{
    return __atomic_load_n(&Pcr->PrcbData.SharedLock, __ATOMIC_ACQUIRE) == (PVOID)(ULONG_PTR)SpinLock;
}

/* At the start of the machine: what is known of locks. */
VOID KiForgetBias(VOID);
/* A biased resident, who holds the lock shared, has had to count itself: biases the lock to readers, if it is time. */
VOID KiOfferBias(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock);
/* For a writer that waits: when bias has ended, all readers are counted. */
VOID KiEndBias(PEX_SPIN_LOCK SpinLock, PKI_SPIN Spin);
/* For a reader that keeps new ones out: another one is not counted. */
BOOLEAN KiFindUncounted(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock);
/* One part in so many of a writer's time may go into that; 0: bias comes back at once. For tests. */
extern ULONG KiBiasPart;

/* --- queuedlock.c --- */
/* Waits until a node that is in a queue owns the lock, and hands the lock on. */
VOID KiPassQueuedLock(PKSPIN_LOCK_QUEUE Node);

#endif
