/*
 * ipicall.c - KeIpiGenericCall: the rendezvous.
 *
 * One call at a time, by KiBroadcastLock, which a caller takes while it still serves the call of another (polling,
 * below IPI_LEVEL). The caller's PacketBarrier counts processors that have not come yet, its own included; all start
 * the function when it is 0. Processors become active under the same lock, so they are the same from the count to the
 * end of the call.
 *
 *   word                 written by                                    read by
 *   KiBroadcastLock      callers, compare-exchange / store (release)   callers
 *   PacketBarrier        each processor subtracts itself, acq_rel      each processor (acquire)
 *   KiBarrierSleepers    whoever sleeps on a PacketBarrier             the last to come, after its subtraction; both seq_cst
 *
 * Waiters of the rendezvous spin a little and then sleep, since the processors that are still to come may need their
 * CPUs.
 *
 * Tests: tests/ke/test_ipicall.c, tests/stress/stress_ipi.c. Benchmark: ipi.hot.
 */
#include "ki.h"

#define KI_BARRIER_PAUSES 2000
#define KI_PRESS_PERIOD 1000000    /* ns */
#define KI_BARRIER_SLEEP 100000000 /* ns; the last to come ends it, and the host's interrupt */

/* On lines of their own: every call writes the first, every processor that comes reads the second. */
static DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile KiBroadcastLock;
static DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile KiBarrierSleepers;

VOID KiAbandonCalls(VOID)
{
    KiBroadcastLock = 0;
    KiBarrierSleepers = 0;
}

/* Holding: the caller may not be unwound while it waits. */
static VOID KiTakeBroadcastLock(BOOLEAN Holding)
{
    KI_SPIN Spin = {
        .Reason = "another KeIpiGenericCall to end", .Object = (const void *)&KiBroadcastLock, .Holding = Holding};
    ULONG Free = 0;

    while (__atomic_load_n(&KiBroadcastLock, __ATOMIC_RELAXED) != 0 ||
           !__atomic_compare_exchange_n(&KiBroadcastLock, &Free, 1, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        Free = 0;
        KiSpin(&Spin);
    }
    KiEndSpin(&Spin);
}

static BOOLEAN KiAllCame(LONG volatile *Barrier)
{
    return __atomic_load_n(Barrier, __ATOMIC_SEQ_CST) == 0;
}

/*
 * Counts the caller in and waits for the others. Press: called each millisecond by the sender, for targets that do
 * not come.
 */
static VOID KiMeet(LONG volatile *Barrier, VOID (*Press)(PKPRCB), PKPRCB Sender)
{
    KI_SPIN Spin = {
        .Reason = "all processors to reach a KeIpiGenericCall", .Object = (const void *)Barrier, .Holding = TRUE};

    if (__atomic_sub_fetch(Barrier, 1, __ATOMIC_SEQ_CST) == 0) {
        if (__atomic_load_n(&KiBarrierSleepers, __ATOMIC_SEQ_CST) != 0) {
            HalWake((ULONG volatile *)Barrier, 0x7FFFFFFF);
        }
        return;
    }
    for (ULONG Pause = 0; Pause < KI_BARRIER_PAUSES && !KiIsCrowded(); Pause += 1) {
        if (KiAllCame(Barrier)) {
            return;
        }
        HalPause();
    }
    while (!KiAllCame(Barrier)) {
        LONG Seen;

        __atomic_fetch_add(&KiBarrierSleepers, 1, __ATOMIC_SEQ_CST);
        Seen = __atomic_load_n(Barrier, __ATOMIC_SEQ_CST);
        if (Seen != 0) {
            HalPark((ULONG volatile *)Barrier, (ULONG)Seen,
                    Press != NULL || !KiMachine.Signals ? KI_PRESS_PERIOD : KI_BARRIER_SLEEP);
        }
        __atomic_fetch_sub(&KiBarrierSleepers, 1, __ATOMIC_SEQ_CST);
        KiSpinSlept(&Spin);
        if (Press != NULL) {
            Press(Sender);
        }
    }
    KiEndSpin(&Spin);
}

static VOID KiGenericCallWorker(PKIPI_CONTEXT PacketContext, PVOID Function, PVOID Context, PVOID Barrier)
{
    PKPCR Pcr = KprcbThread.Pcr;

    KiMeet(Barrier, NULL, NULL);
    ((PKIPI_BROADCAST_WORKER)Function)((ULONG_PTR)Context);
    KiEndAtIpiLevel(&KprcbThread, Pcr, Function, Context);
    KiIpiSignalPacketDone(PacketContext);
}

static VOID KiFinishCall(KIRQL OldIrql)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;

    KiStallOnTargets(Block, "all processors to finish a KeIpiGenericCall");
    __atomic_store_n(&KiBroadcastLock, 0, __ATOMIC_RELEASE);
    KfLowerIrql(OldIrql);
}

/* The caller's own part; a bug check in it that somebody catches still waits for the others and frees the lock. */
static ULONG_PTR KiCallHere(KPRCB_THREAD_BLOCK *Block, PKIPI_BROADCAST_WORKER Function, ULONG_PTR Context,
                            KIRQL OldIrql)
{
    PKPCR Pcr = Block->Pcr;
    KI_FRAME Frame;
    ULONG_PTR Result;

    if (Block->Thread->Frame == NULL) {
        Result = Function(Context);
        KiEndAtIpiLevel(Block, Pcr, (PVOID)Function, (PVOID)Context);
        return Result;
    }
    KiEnterFrame(Block, &Frame, KiCleanupFrame);
    if (setjmp(Frame.Jump) != 0) {
        KiLeaveFrame(&KprcbThread, &Frame); /* first: what the lower polls must not come back here */
        KiFinishCall(OldIrql);
        KiPassBugCheck(&Frame.BugCheck);
    }
    Result = Function(Context);
    KiEndAtIpiLevel(Block, Pcr, (PVOID)Function, (PVOID)Context);
    KiLeaveFrame(&KprcbThread, &Frame);
    return Result;
}

VOID KiActivateProcessor(VOID)
{
    ULONG Count;

    KiTakeBroadcastLock(TRUE);
    KiForbidFreeze();
    Count = KiProcessorCount() + 1;
    __atomic_store_n(&KiMachine.Crowded, Count > KiMachine.HostProcessors, __ATOMIC_RELAXED);
    __atomic_store_n(&KiMachine.ProcessorCount, Count, __ATOMIC_RELEASE);
    KiAllowFreeze();
    __atomic_store_n(&KiBroadcastLock, 0, __ATOMIC_RELEASE);
}

ULONG_PTR KeIpiGenericCall(PKIPI_BROADCAST_WORKER BroadcastFunction, ULONG_PTR Context)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KIRQL OldIrql = Block->Irql;
    PKPRCB Prcb;
    ULONG_PTR Result;
    KIRQL Level;

    if (OldIrql >= IPI_LEVEL) {
        KeBugCheckEx(IRQL_NOT_LESS_OR_EQUAL, OldIrql, IPI_LEVEL, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    if (BroadcastFunction == NULL) {
        KeBugCheckEx(INVALID_SOFTWARE_INTERRUPT, 0, 0, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    if (OldIrql < DISPATCH_LEVEL) {
        KeRaiseIrqlToDpcLevel();
    }
    KiTakeBroadcastLock(FALSE);
    /* Below IPI_LEVEL: to 3.51 it waits for packets of others, whose targets include the caller. */
    KiBeginPacket(Block);
    Level = KfRaiseIrql(IPI_LEVEL);
    Prcb = Block->Pcr->Prcb;
    KiBroadcastPacket(Block, KiGenericCallWorker, (PVOID)BroadcastFunction, (PVOID)Context);
    KiMeet(&Prcb->PacketBarrier, KiPressTargets, Prcb);
    Result = KiCallHere(Block, BroadcastFunction, Context, Level);
    KiFinishCall(Level);
    if (OldIrql < DISPATCH_LEVEL) {
        KeLowerIrql(OldIrql);
    }
    return Result;
}
