/*
 * spinlock.c - KSPIN_LOCK.
 *
 * The word: 0 free; held: 1 on a free build, the owner's KTHREAD with bit 0 set on a checked one, as on NT's checked
 * builds.
 *
 *   written by                                                  read by
 *   0 -> held by whoever acquires, compare-exchange (acquire)   those who spin (relaxed), KeTestSpinLock
 *   held -> 0 by the owner, store (release)
 *
 * On a uniprocessor machine it is left alone: what a thread records as held is all there is.
 *
 * Waiters are not ordered. Deviation: none in meaning; a waiter serves IPIs while it spins.
 *
 * Tests: tests/ke/test_spinlock.c, tests/stress/stress_spinlock.c.
 */
#include "ki.h"

static inline BOOLEAN KiTrySpinLock(PKSPIN_LOCK SpinLock, KSPIN_LOCK Value)
{
    KSPIN_LOCK Free = 0;

    return __atomic_compare_exchange_n(SpinLock, &Free, Value, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline VOID KiCheckNotOwned(KPRCB_THREAD_BLOCK *Block, PKSPIN_LOCK SpinLock)
{
    if (Block->Checked && KiIsLockHeld(Block, SpinLock)) {
        KeBugCheckEx(SPIN_LOCK_ALREADY_OWNED, (ULONG_PTR)SpinLock, 0, 0, 0);
    }
}

VOID KfAwaitSpinLock(PKSPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    KI_SPIN Spin = {.Reason = "a spin lock", .Object = SpinLock};
    ULONGLONG Begin;

    KiCheckNotOwned(Block, SpinLock);
    Begin = KiBeginWait(Block);
    do {
        while (__atomic_load_n(SpinLock, __ATOMIC_RELAXED) != 0) {
            KiSpin(&Spin);
        }
    } while (!KiTrySpinLock(SpinLock, Block->SpinLockValue));
    KiEndSpin(&Spin);
    KiEndWait(Block, SpinLock, Begin, Spin.Steps);
    KiHoldLock(Block, SpinLock);
}

static inline VOID KiAcquireSpinLock(KPRCB_THREAD_BLOCK *Block, PKSPIN_LOCK SpinLock)
{
    if (__builtin_expect(KiMachine.Uniprocessor, 0)) {
        KiCheckNotOwned(Block, SpinLock);
        KiHoldLock(Block, SpinLock);
    } else if (__builtin_expect(KiTrySpinLock(SpinLock, Block->SpinLockValue), 1)) {
        KiHoldLock(Block, SpinLock);
    } else {
        KfAwaitSpinLock(SpinLock);
    }
}

static inline VOID KiReleaseSpinLock(KPRCB_THREAD_BLOCK *Block, PKSPIN_LOCK SpinLock)
{
    if (__builtin_expect(KiMachine.Uniprocessor, 0)) {
        if (KiCheckHeld(Block, SpinLock)) {
            KiForgetLock(Block, SpinLock);
        }
        return;
    }
    if (__builtin_expect(__atomic_load_n(SpinLock, __ATOMIC_RELAXED) != Block->SpinLockValue && Block->Checked, 0)) {
        KeBugCheckEx(SPIN_LOCK_NOT_OWNED, (ULONG_PTR)SpinLock, 0, 0, 0);
    }
    KiForgetLock(Block, SpinLock);
    __atomic_store_n(SpinLock, 0, __ATOMIC_RELEASE);
}

KIRQL KfAcquireSpinLock(PKSPIN_LOCK SpinLock)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

    /* Raising has attached the thread. */
    KiAcquireSpinLock(&KprcbThread, SpinLock);
    return OldIrql;
}

VOID KfReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiReleaseSpinLock(Block, SpinLock);
    KeLowerIrql(NewIrql);
}

VOID KfEndLock(PVOID Held, KIRQL OldIrql)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiForgetLock(Block, Held);
    KiCheckOwnerLevel(Block);
    KeLowerIrql(OldIrql);
}

VOID KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiAcquireSpinLock(Block, SpinLock);
}

VOID KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    KiReleaseSpinLock(Block, SpinLock);
}

BOOLEAN KeTryToAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    KiCheckOwnerLevel(Block);
    if (KiMachine.Uniprocessor
            ? KiIsLockHeld(Block, SpinLock)
            : __atomic_load_n(SpinLock, __ATOMIC_RELAXED) != 0 || !KiTrySpinLock(SpinLock, Block->SpinLockValue)) {
        KiPoll(Block);
        return FALSE;
    }
    KiHoldLock(Block, SpinLock);
    return TRUE;
}

KIRQL KeAcquireSpinLockForDpc(PKSPIN_LOCK SpinLock)
{
    return KeAcquireSpinLockRaiseToDpc(SpinLock);
}

VOID KeReleaseSpinLockForDpc(PKSPIN_LOCK SpinLock, KIRQL OldIrql)
{
    KeReleaseSpinLock(SpinLock, OldIrql);
}
