/*
 * readerbias.c - EX_SPIN_LOCK: readers that do not write the lock.
 *
 * A lock that is read much becomes BIASED (rwspinlock.c has the word). A biased resident that comes to read then writes
 * the lock's address to the SharedLock of its processor, looks at the word, and holds the lock if it says BIASED and
 * no writer; it leaves by clearing SharedLock. Everyone else counts itself in the word, BIASED or not. A writer
 * announces itself in the word, executes membarrier, waits until no SharedLock names the lock, and clears BIASED; from
 * then on the word tells everything again.
 *
 *   word                 written by                                 read by                          ordering
 *   KPRCB.SharedLock     the resident at DISPATCH_LEVEL or above:   writers, and readers that        relaxed, fence, then
 *                        the lock, or NULL                          convert                          the word (acquire);
 *                                                                                                    NULL: release / acquire
 *   the lock             + waiter by a writer, before membarrier    the resident, after its fence
 *   KI_BIAS_SLOT         who sets or ends a bias                    those                            relaxed, a heuristic
 *
 * membarrier pairs with the reader's compiler fence: after it, either the writer sees the lock in SharedLock, or the
 * reader's look at the word comes later and sees a writer. A waiter is in the word until a writer owns it, and nobody
 * sets BIASED beside a waiter or OWNED, so a writer that clears it late clears nothing new. Clearing it is a release:
 * another writer that takes the lock has what the readers did behind it.
 *
 * A resident reads at most one lock so, the first that it holds. If an interrupt reads the same lock, the two leave by
 * SharedLock and by the count in either order. A processor that is added to the machine meanwhile counts as one that was
 * there: whoever reads there without having seen the waiter is behind the membarrier, and so is ProcessorCount.
 *
 * To end a bias costs a membarrier and a look at each processor. The lock then stays unbiased for a multiple of the time
 * that took, longer each time if the bias did not last, so a writer loses a small part of its time.
 *
 * Tests: tests/ke/test_readerbias.c, tests/stress/stress_rwspinlock.c.
 */
#include "ki.h"

#define KI_BIAS_READS 64               /* counted reads of a thread for each time it offers bias */
#define KI_BIAS_PART 16                /* of a writer's time, at most one part in so many goes into ending bias */
#define KI_LONGEST_UNBIASED 1000000000 /* ns */

/* By the lock's address; different locks may share one. */
typedef struct _KI_BIAS_SLOT {
    ULONGLONG Since;    /* when bias was set */
    ULONGLONG Until;    /* when it may be set again */
    ULONGLONG Unbiased; /* from its last end to then */
} KI_BIAS_SLOT;

static KI_BIAS_SLOT KiBiasSlots[KI_LOCK_SLOTS];

ULONG KiBiasPart = KI_BIAS_PART;

static KI_BIAS_SLOT *KiBiasSlotOf(PEX_SPIN_LOCK SpinLock)
{
    return &KiBiasSlots[KiLockSlot(SpinLock)];
}

VOID KiForgetBias(VOID)
{
    for (ULONG Index = 0; Index < KI_LOCK_SLOTS; Index += 1) {
        KiBiasSlots[Index] = (KI_BIAS_SLOT){0};
    }
}

VOID KiOfferBias(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    KI_BIAS_SLOT *Slot = KiBiasSlotOf(SpinLock);
    LONG Word = __atomic_load_n(SpinLock, __ATOMIC_RELAXED);
    ULONGLONG Now;

    Block->Thread->CountedReads += 1;
    if ((Block->Thread->CountedReads % KI_BIAS_READS != 0 && KiBiasPart != 0) || Word >= KPRCB_RW_WAITER || Word < 0) {
        return;
    }
    Now = HalMonotonicTime();
    if (Now >= __atomic_load_n(&Slot->Until, __ATOMIC_RELAXED) &&
        __atomic_compare_exchange_n(SpinLock, &Word, Word | KPRCB_RW_BIASED, FALSE, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
        __atomic_store_n(&Slot->Since, Now, __ATOMIC_RELAXED);
    }
}

static VOID KiStayUnbiased(PEX_SPIN_LOCK SpinLock, ULONGLONG Begin)
{
    KI_BIAS_SLOT *Slot = KiBiasSlotOf(SpinLock);
    ULONGLONG Now = HalMonotonicTime();
    ULONGLONG Unbiased = (Now - Begin) * KiBiasPart;

    if (Begin - __atomic_load_n(&Slot->Since, __ATOMIC_RELAXED) < Unbiased) {
        Unbiased += __atomic_load_n(&Slot->Unbiased, __ATOMIC_RELAXED);
    }
    if (Unbiased > KI_LONGEST_UNBIASED) {
        Unbiased = KI_LONGEST_UNBIASED;
    }
    __atomic_store_n(&Slot->Unbiased, Unbiased, __ATOMIC_RELAXED);
    __atomic_store_n(&Slot->Until, Now + Unbiased, __ATOMIC_RELAXED);
}

/* Without membarrier nobody reads so. */
static VOID KiFenceReaders(VOID)
{
#ifndef KPRCB_BREAK_READER_BIAS
    if (KiMachine.Biased) {
        KiProcessBarrier();
    }
#endif
}

VOID KiEndBias(PEX_SPIN_LOCK SpinLock, PKI_SPIN Spin)
{
    ULONGLONG Begin = HalMonotonicTime();

    KiFenceReaders();
    for (ULONG Index = 0; Index < KiProcessorCount(); Index += 1) {
        while (KiIsUncounted(KiProcessor(Index), SpinLock)) {
            KiSpin(Spin);
        }
    }
    __atomic_fetch_and(SpinLock, ~KPRCB_RW_BIASED, __ATOMIC_RELEASE);
    KiStayUnbiased(SpinLock, Begin);
}

BOOLEAN KiFindUncounted(KPRCB_THREAD_BLOCK *Block, PEX_SPIN_LOCK SpinLock)
{
    KiFenceReaders();
    for (ULONG Index = 0; Index < KiProcessorCount(); Index += 1) {
        if (KiProcessor(Index) != Block->Pcr && KiIsUncounted(KiProcessor(Index), SpinLock)) {
            return TRUE;
        }
    }
    return FALSE;
}
