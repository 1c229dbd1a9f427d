/*
 * irql.c - KfRaiseIrql, KfLowerIrql, serving what is pending, polling, the host's interrupt.
 *
 * irql.h has the inline halves and the protocol, owner.c the ownership. The rule of every way down across
 * DISPATCH_LEVEL: serve, let go, then look at Request once more and take the processor back if something came in
 * between. The poster sets the bit, then looks for an owner; the owner lets go, then looks for the bit: one of them
 * sees the other.
 *
 * Deviation: on NT an IPI interrupts between any two instructions. Here an owner serves it when it polls, or from the
 * host's interrupt when it has not polled for a millisecond, which finds the thread at DISPATCH_LEVEL or above (so it
 * owns its processor, see KiLetGoProcessor), below IPI_LEVEL and not masked. A freeze comes at any of these levels.
 *
 * Tests: tests/ke/test_irql.c, tests/stress/stress_owner.c, tests/stress/stress_dpc.c.
 */
#include "ki.h"

__thread KPRCB_THREAD_BLOCK KprcbThread;

VOID KiPublishIrql(KPRCB_THREAD_BLOCK *Block, KIRQL Irql)
{
    PKPCR Pcr = Block->Pcr;

    if (__atomic_load_n(&Pcr->Owner, __ATOMIC_RELAXED) == Block->Thread) {
        __atomic_store_n(&Pcr->Irql, Irql, __ATOMIC_RELAXED);
    } else {
        __atomic_store_n(&Pcr->PrcbData.ResidentIrql, Irql, __ATOMIC_RELEASE);
    }
}

/* Sets a level at or above DISPATCH_LEVEL for a thread that owns its processor. */
static VOID KiSetOwnerIrql(KPRCB_THREAD_BLOCK *Block, KIRQL Irql)
{
    Block->Irql = Irql;
    KiPublishIrql(Block, Irql);
}

VOID KiPoll(KPRCB_THREAD_BLOCK *Block)
{
    if (Block->Irql >= DISPATCH_LEVEL && Block->Masked == 0) {
        ULONG Request = __atomic_load_n(&Block->Pcr->Request, __ATOMIC_ACQUIRE);

        while ((Request & (KPCR_REQUEST_IPI | KPCR_REQUEST_OVERDUE)) != 0) {
            if (Block->Irql >= IPI_LEVEL) {
                if ((Request & KPCR_REQUEST_IPI) != 0) {
                    KiServeFreeze(Block);
                }
                return;
            }
            if ((Request & KPCR_REQUEST_IPI) != 0) {
                KiServiceIpi(Block);
            } else {
                KiTakeDpcViolation(Block);
            }
            Request = __atomic_load_n(&Block->Pcr->Request, __ATOMIC_ACQUIRE);
        }
    }
}

VOID KiPollHolding(KPRCB_THREAD_BLOCK *Block)
{
    KI_FRAME Frame;

    if (Block->Irql < DISPATCH_LEVEL || Block->Masked != 0) {
        return;
    }
    if (__atomic_load_n(&KiCatchers, __ATOMIC_RELAXED) == 0 || Block->Irql >= IPI_LEVEL) {
        KiPoll(Block);
        return;
    }
    KiEnterFrame(Block, &Frame, KiDiscardFrame);
    (VOID) setjmp(Frame.Jump);
    KiPoll(&KprcbThread);
    KiLeaveFrame(&KprcbThread, &Frame);
}

/*
 * The interrupted code may be anywhere, so between a load of AcquireCount and a store too. So it finds the count as it was.
 * What the routines here acquired is counted as the thread lets the processor go, and COUNT keeps it off the fast path.
 */
static VOID KiPollUncounted(KPRCB_THREAD_BLOCK *Block)
{
    PKPCR Pcr = Block->Pcr;
    ULONG Count = Block->AcquireCount;
    ULONG Published = __atomic_load_n(&Pcr->PrcbData.SpinLockAcquireCount, __ATOMIC_RELAXED);

    KiPollHolding(Block);
    if (Block->AcquireCount != Count) {
        Pcr->InterruptAcquires += Block->AcquireCount - Count;
        Block->AcquireCount = Count;
        __atomic_store_n(&Pcr->PrcbData.SpinLockAcquireCount, Published, __ATOMIC_RELAXED);
        __atomic_fetch_or(&Pcr->Request, KPCR_REQUEST_COUNT, __ATOMIC_SEQ_CST);
    }
}

VOID KiHostInterrupt(PVOID Frame)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;

    if (Block->Thread == NULL || Block->Irql < DISPATCH_LEVEL) {
        return;
    }
    KiTakeCapture(Block, Frame);
    if (Block->Masked == 0) {
        PKPRCB Prcb = Block->Pcr->Prcb;
        PVOID Outer = Prcb->IpiFrame;

        Prcb->IpiFrame = Frame;
        KiPollUncounted(Block);
        Prcb->IpiFrame = Outer;
    }
}

VOID KiServePending(KPRCB_THREAD_BLOCK *Block)
{
    PKPCR Pcr = Block->Pcr;

    for (;;) {
        KiPoll(Block);
        if (Pcr->PrcbData.DpcRoutineActive) {
            return;
        }
        if ((__atomic_load_n(&Pcr->Request, __ATOMIC_ACQUIRE) & KI_PENDING) == 0) {
            if (!KiDpcsQueued(Pcr)) {
                return;
            }
            KiCountDpcBypass(&Pcr->PrcbData);
        }
        KiRetireDpcs(Block);
    }
}

VOID KiLookAgain(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, ULONG Bits)
{
    KIRQL Irql = Block->Irql;
    BOOLEAN Stuck;

    for (;;) {
        ULONG Request = __atomic_load_n(&Pcr->Request, __ATOMIC_SEQ_CST);

        if ((Request & KPCR_REQUEST_REVOKED) != 0 && Block->Thread->Biased && Block->Thread->Residence == Pcr) {
            KiLoseBias(Block);
        }
        if ((Request & (KPCR_REQUEST_WATCHED | KPCR_REQUEST_OVERDUE)) != 0) {
            KiEndWatchedTime(Pcr);
        }
        if ((Request & (Bits | KPCR_REQUEST_COUNT)) == 0 || !KiTryTakeProcessor(Block, Pcr)) {
            return;
        }
        KiSetOwnerIrql(Block, DISPATCH_LEVEL);
        KiServePending(Block);
        Stuck = Pcr->PrcbData.DpcRoutineActive;
        KiLetGoProcessor(Block, Irql);
        if (Stuck) {
            return; /* a DPC routine has lowered its level; its end is a bug check, or serves the rest */
        }
    }
}

VOID KiLowerBelowDispatch(KPRCB_THREAD_BLOCK *Block, KIRQL NewIrql, BOOLEAN Lazily)
{
    PKPCR Pcr = Block->Pcr;

    KiSetOwnerIrql(Block, DISPATCH_LEVEL);
    if (Lazily) {
        KiPoll(Block);
    } else {
        KiServePending(Block);
    }
    if (KiRestIsDue(Block->Thread)) {
        Pcr->OwnerRun = 0; /* it will not come back soon: who waits for the processor is woken */
    }
    KiLetGoProcessor(Block, NewIrql);
    KiLookAgain(Block, Pcr, Lazily ? KI_URGENT : KI_PENDING);
    if (KiRestIsDue(Block->Thread)) {
        KiRestIfDue(Block);
    }
    if (Block->Thread->MovePending) {
        KiMoveThread(Block);
    }
    if (NewIrql < APC_LEVEL && Block->Thread->ApcInterrupt) {
        KiCountApcBypass(&Block->Pcr->PrcbData);
        KiTakeApcInterrupt(Block);
    }
}

VOID KfLowerIrqlPending(PKPCR Pcr)
{
    KiLookAgain(&KprcbThread, Pcr, KI_PENDING);
}

/*
 * What a free build does with any level: sets it, taking or letting go of the processor as it crosses DISPATCH_LEVEL.
 */
static VOID KiSetIrql(KPRCB_THREAD_BLOCK *Block, KIRQL NewIrql)
{
    KIRQL OldIrql = Block->Irql;

    if (NewIrql >= DISPATCH_LEVEL) {
        if (OldIrql < DISPATCH_LEVEL) {
            KiTakeProcessor(Block);
        }
        if (NewIrql > OldIrql) {
            Block->RaisedFrom[NewIrql] = OldIrql;
        }
        KiSetOwnerIrql(Block, NewIrql);
        KiPoll(Block);
    } else if (OldIrql >= DISPATCH_LEVEL) {
        KiLowerBelowDispatch(Block, NewIrql, FALSE);
    } else {
        if (NewIrql > OldIrql) {
            Block->RaisedFrom[NewIrql] = OldIrql;
        }
        Block->Irql = NewIrql;
        if (NewIrql < APC_LEVEL && Block->Thread->ApcInterrupt) {
            KiCountApcBypass(&Block->Pcr->PrcbData);
            KiTakeApcInterrupt(Block);
        }
    }
}

KIRQL KfRaiseIrql(KIRQL NewIrql)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KIRQL OldIrql = Block->Irql;

    if (NewIrql > HIGH_LEVEL || (NewIrql < OldIrql && Block->Checked)) {
        KeBugCheckEx(IRQL_NOT_GREATER_OR_EQUAL, OldIrql, NewIrql, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    if (NewIrql != OldIrql) {
        KiSetIrql(Block, NewIrql);
    }
    return OldIrql;
}

VOID KfLowerIrql(KIRQL NewIrql)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KIRQL OldIrql = Block->Irql;

    if (NewIrql > HIGH_LEVEL ||
        (Block->Checked && NewIrql != OldIrql && (NewIrql > OldIrql || NewIrql != Block->RaisedFrom[OldIrql]))) {
        KeBugCheckEx(IRQL_NOT_LESS_OR_EQUAL, NewIrql, OldIrql, OldIrql <= HIGH_LEVEL ? Block->RaisedFrom[OldIrql] : 0,
                     (ULONG_PTR)__builtin_return_address(0));
    }
    if (NewIrql != OldIrql) {
        if (OldIrql == HIGH_LEVEL && KiFreezeDepthHere(Block) != 0) {
            /* Only this thread can thaw, and what a lower level serves may wait for that. */
            KeBugCheckEx(IRQL_NOT_LESS_OR_EQUAL, NewIrql, OldIrql, FREEZE_OWNER,
                         (ULONG_PTR)__builtin_return_address(0));
        }
        KiSetIrql(Block, NewIrql);
    }
}
