/*
 * softint.c - software interrupts by level: HalRequestSoftwareInterrupt, HalClearSoftwareInterrupt.
 *
 *   DISPATCH_LEVEL   pends for the processor that the caller owns (Request says DISPATCH): runs its DPCs on the way below DISPATCH_LEVEL.
 *   APC_LEVEL        pends for the calling thread: runs the registered routine, at APC_LEVEL, on the way below APC_LEVEL, after the thread
 *                    has let go of its processor, since APCs may wait.
 *
 * What an APC_LEVEL interrupt runs is registered by the layer that has APCs. Until then a request for it runs nothing
 * and is cleared when it is taken.
 *
 *   KTHREAD.ApcInterrupt   its thread, also from the host's interrupt: set last, cleared first, relaxed
 *   KiApcRoutine           whoever registers (release); threads on their way down (acquire)
 *
 * Deviation: NT's pending APC_LEVEL interrupt is the processor's; here it is the thread's, as its level is below
 * DISPATCH_LEVEL.
 *
 * Tests: tests/ke/test_softint.c.
 */
#include "ki.h"

static KI_SOFTWARE_INTERRUPT *KiApcRoutine;

VOID KiSetApcInterrupt(KI_SOFTWARE_INTERRUPT *Routine)
{
    __atomic_store_n(&KiApcRoutine, Routine, __ATOMIC_RELEASE);
}

VOID KiRequestApcInterrupt(KPRCB_THREAD_BLOCK *Block)
{
    __atomic_store_n(&Block->Thread->ApcInterrupt, TRUE, __ATOMIC_RELAXED);
    Block->Fast = NULL; /* the next lower must look */
}

VOID KiTakeApcInterrupt(KPRCB_THREAD_BLOCK *Block)
{
    KIRQL OldIrql = Block->Irql;

    while (__atomic_load_n(&Block->Thread->ApcInterrupt, __ATOMIC_RELAXED)) {
        KI_SOFTWARE_INTERRUPT *Routine = __atomic_load_n(&KiApcRoutine, __ATOMIC_ACQUIRE);

        __atomic_store_n(&Block->Thread->ApcInterrupt, FALSE, __ATOMIC_RELAXED);
        if (Routine != NULL) {
            Block->RaisedFrom[APC_LEVEL] = OldIrql;
            Block->Irql = APC_LEVEL;
            Routine();
            Block->Irql = OldIrql;
        }
    }
}

VOID HalRequestSoftwareInterrupt(KIRQL RequestIrql)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    if (RequestIrql == DISPATCH_LEVEL) {
        KIRQL OldIrql = Block->Irql < DISPATCH_LEVEL ? KeRaiseIrqlToDpcLevel() : Block->Irql;

        Block->Fast = NULL;
        __atomic_fetch_or(&Block->Pcr->Request, KPCR_REQUEST_DISPATCH, __ATOMIC_SEQ_CST);
        if (OldIrql < DISPATCH_LEVEL) {
            KeLowerIrql(OldIrql);
        }
    } else if (RequestIrql == APC_LEVEL) {
        KiRequestApcInterrupt(Block);
        if (Block->Irql < APC_LEVEL) {
            KiTakeApcInterrupt(Block);
        }
    } else {
        KeBugCheckEx(INVALID_SOFTWARE_INTERRUPT, RequestIrql, Block->Irql, 0, (ULONG_PTR)__builtin_return_address(0));
    }
}

VOID HalClearSoftwareInterrupt(KIRQL RequestIrql)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    if (RequestIrql == APC_LEVEL) {
        __atomic_store_n(&Block->Thread->ApcInterrupt, FALSE, __ATOMIC_RELAXED);
    } else if (RequestIrql != DISPATCH_LEVEL) {
        KeBugCheckEx(INVALID_SOFTWARE_INTERRUPT, RequestIrql, Block->Irql, 0, (ULONG_PTR)__builtin_return_address(0));
    } else if (Block->Irql >= DISPATCH_LEVEL && !KiDpcsQueued(Block->Pcr)) {
        __atomic_fetch_and(&Block->Pcr->Request, ~(ULONG)KPCR_REQUEST_DISPATCH, __ATOMIC_SEQ_CST);
    }
}
