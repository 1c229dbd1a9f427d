/*
 * freeze.c - KeFreezeExecution and KeThawExecution: one processor holds all others.
 *
 *   word             written by                                          read by           ordering
 *   KiFreezeOwner    NULL -> its KPRCB by who freezes, compare-exchange; those who want    acquire / release
 *                    -> NULL by the same; also by who adds a processor,  to freeze
 *                    with KI_NOT_TO_FREEZE
 *   IpiFrozen        RUNNING -> TARGET_FROZEN and TARGET_THAW -> RUNNING the other one     release / acquire: what was done before
 *   of a target      by the target, TARGET_FROZEN -> TARGET_THAW by who                    the freeze is visible to who has frozen,
 *                    has frozen                                                            and back
 *   IpiFrozen        FREEZE_OWNER and back by itself                     display
 *   of the owner
 *   KiFreeze         the owner of the freeze                             the same
 *
 * A target takes the request once for each freeze, and a freeze ends only when all targets run again, so none is left
 * behind. The freeze is served wherever its owner polls at DISPATCH_LEVEL or above, IPI_LEVEL and HIGH_LEVEL included:
 * who waits there may wait for the one that freezes. Not while interrupts are masked, so no frozen processor holds an
 * internal lock. From the take of the request on no interrupt is served: what it runs may wait for the one that freezes.
 * Nothing runs on a frozen one but the host's interrupts, which find nothing to serve at HIGH_LEVEL. A processor that is
 * being added becomes active after the thaw.
 *
 * Deviation: NT holds processors, and so whatever runs on them. Here threads below DISPATCH_LEVEL run on, until they
 * raise to it.
 *
 * Tests: tests/ke/test_freeze.c, tests/stress/stress_ipi.c.
 */
#include "ipiprotocol.h"

#define KI_FREEZE_PAUSES 2000
#define KI_NOT_TO_FREEZE ((PKPRCB)&KiFreeze)

static PKPRCB volatile KiFreezeOwner;

static struct {
    ULONG Depth;
    ULONG Count; /* processors, its own included */
    KIRQL OldIrql;
    PVOID OldFrame;
} KiFreeze;

VOID KiAbandonFreeze(VOID)
{
    KiFreezeOwner = NULL;
}

static ULONG KiLoadFrozen(PKPRCB Prcb)
{
    return __atomic_load_n(&Prcb->IpiFrozen, __ATOMIC_ACQUIRE);
}

static VOID KiStoreFrozen(PKPRCB Prcb, ULONG State)
{
    __atomic_store_n(&Prcb->IpiFrozen, State, __ATOMIC_RELEASE);
}

ULONG KiFreezeDepthHere(KPRCB_THREAD_BLOCK *Block)
{
    return Block->Irql >= DISPATCH_LEVEL && __atomic_load_n(&KiFreezeOwner, __ATOMIC_RELAXED) == &Block->Pcr->PrcbData
               ? KiFreeze.Depth
               : 0;
}

/* Who waits for another's thaw is one of its targets. */
static VOID KiTakeFreezeLock(PKPRCB Prcb)
{
    KI_SPIN Spin = {.Reason = KI_THAW_REASON, .Object = (const void *)&KiFreezeOwner, .Holding = TRUE};
    PKPRCB Nobody = NULL;

    while (!__atomic_compare_exchange_n(&KiFreezeOwner, &Nobody, Prcb, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        Nobody = NULL;
        KiSpin(&Spin);
    }
    KiEndSpin(&Spin);
}

VOID KiForbidFreeze(VOID)
{
    KiTakeFreezeLock(KI_NOT_TO_FREEZE);
}

VOID KiAllowFreeze(VOID)
{
    __atomic_store_n(&KiFreezeOwner, NULL, __ATOMIC_RELEASE);
}

/* --- The target --- */

VOID KiFreezeTargetExecution(KPRCB_THREAD_BLOCK *Block)
{
    PKPRCB Prcb = &Block->Pcr->PrcbData;
    KIRQL OldIrql = Block->Irql;

    Block->Irql = HIGH_LEVEL;
    KiPublishIrql(Block, HIGH_LEVEL);
    KiStoreFrozen(Prcb, TARGET_FROZEN);
    for (ULONG Pause = 0; Pause < KI_FREEZE_PAUSES && !KiIsCrowded(); Pause += 1) {
        if (KiLoadFrozen(Prcb) != TARGET_FROZEN) {
            break;
        }
        HalPause();
    }
    while (KiLoadFrozen(Prcb) == TARGET_FROZEN) {
        HalPark(&Prcb->IpiFrozen, TARGET_FROZEN, 0);
    }
    /* Before the level: what a lower one would serve may wait for the thaw to end. */
    KiStoreFrozen(Prcb, 0);
    Block->Irql = OldIrql;
    KiPublishIrql(Block, OldIrql);
}

VOID KiServeFreeze(KPRCB_THREAD_BLOCK *Block)
{
    PKPRCB Prcb = &Block->Pcr->PrcbData;

    if (KiMachine.Ipi->TakeRequests(Prcb, IPI_FREEZE) != 0) {
        Prcb->InterruptCount += 1;
        Prcb->NestingLevel += 1;
        KiFreezeTargetExecution(Block);
        Prcb->NestingLevel -= 1;
    }
}

/* --- Who freezes --- */

static VOID KiAwaitFrozen(PKPRCB Prcb, PKPCR Target, ULONG State)
{
    KI_SPIN Spin = {.Reason = State == TARGET_FROZEN ? "a processor to freeze" : "a frozen processor to run again",
                    .Object = Target,
                    .Holding = TRUE};
    ULONGLONG Pressed = 0;

    while (KiLoadFrozen(&Target->PrcbData) != State) {
        KiSpinForTargets(Prcb, &Spin, &Pressed);
    }
    KiEndSpin(&Spin);
}

static VOID KiFreezeOthers(PKPRCB Prcb)
{
    ULONG Count = KiFreeze.Count;

    for (ULONG Index = 0; Index < Count; Index += 1) {
        if (Index != Prcb->Number) {
            KiMachine.Ipi->PostRequests(&KiProcessor(Index)->PrcbData, IPI_FREEZE);
            KiRequest(KiProcessor(Index), KPCR_REQUEST_IPI);
        }
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        if (Index != Prcb->Number) {
            KiAwaitFrozen(Prcb, KiProcessor(Index), TARGET_FROZEN);
        }
    }
}

BOOLEAN KeFreezeExecution(PKTRAP_FRAME TrapFrame, PKEXCEPTION_FRAME ExceptionFrame)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KIRQL OldIrql = Block->Irql;
    PKPRCB Prcb;

    UNREFERENCED_PARAMETER(ExceptionFrame);
    if (KiFreezeDepthHere(Block) != 0) {
        KiFreeze.Depth += 1;
        return FALSE;
    }
    if (OldIrql < HIGH_LEVEL) {
        KfRaiseIrql(HIGH_LEVEL);
    }
    Prcb = &Block->Pcr->PrcbData;
    KiTakeFreezeLock(Prcb);
    KiFreeze.Depth = 1;
    KiFreeze.OldIrql = OldIrql;
    KiFreeze.OldFrame = Prcb->IpiFrame;
    Prcb->IpiFrame = TrapFrame;
    KiStoreFrozen(Prcb, FREEZE_OWNER);
    KiFreeze.Count = KiProcessorCount();
    KiFreezeOthers(Prcb);
    return OldIrql < HIGH_LEVEL;
}

static VOID KiThawOthers(PKPRCB Prcb)
{
    ULONG Count = KiFreeze.Count;

    for (ULONG Index = 0; Index < Count; Index += 1) {
        PKPRCB Target = &KiProcessor(Index)->PrcbData;

        if (Target != Prcb) {
            KiStoreFrozen(Target, TARGET_THAW);
            HalWake(&Target->IpiFrozen, 1);
        }
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        if (Index != Prcb->Number) {
            KiAwaitFrozen(Prcb, KiProcessor(Index), 0);
        }
    }
    Prcb->IpiFrame = KiFreeze.OldFrame;
    KiStoreFrozen(Prcb, 0);
    __atomic_store_n(&KiFreezeOwner, NULL, __ATOMIC_RELEASE);
}

VOID KeThawExecution(BOOLEAN Enable)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KIRQL OldIrql;

    if (KiFreezeDepthHere(Block) == 0) {
        KeBugCheckEx(SPIN_LOCK_NOT_OWNED, (ULONG_PTR)&KiFreezeOwner, Block->Irql, 0,
                     (ULONG_PTR)__builtin_return_address(0));
    }
    if (KiFreeze.Depth > 1) {
        KiFreeze.Depth -= 1;
        return;
    }
    OldIrql = KiFreeze.OldIrql;
    KiThawOthers(&Block->Pcr->PrcbData);
    if (Enable) {
        KfLowerIrql(OldIrql);
    }
}

VOID KiThawUnwound(KPRCB_THREAD_BLOCK *Block, ULONG Depth)
{
    if (KiFreezeDepthHere(Block) > Depth) {
        KiFreeze.Depth = Depth;
        if (Depth == 0) {
            KiThawOthers(&Block->Pcr->PrcbData);
        }
    }
}
