/*
 * dpccall.c - KeGenericCallDpc: a DPC on every processor at once, awaited.
 *
 * Each processor has a DPC for it, KPRCB.CallDpc, so one call at a time. All are queued at DISPATCH_LEVEL, the caller's
 * own too, which runs as the caller lowers: by then the others are on their way, and it may meet them at the barrier.
 * How many processors there are is read once; one that is added later has no part in the call.
 *
 *   word                written by                                           read by
 *   KiCallLock          callers: 0 -> 1 or 2, acquire; -> 0, release; 2: a   callers
 *                       caller may sleep
 *   CallDpc             DeferredContext: who holds KiCallLock                as any DPC
 *   Remaining           each routine -1 when it is done, acq_rel; the        the caller (acquire): what the routines have
 *                       caller sets SLEEPS before it parks                   written is visible when it is 0
 *   Barrier.Missing     each routine -1 as it comes, acq_rel; the last one   the last one
 *                       sets it anew, before Round
 *   Barrier.Round       the last to come, +1 (release)                       those that wait (acquire)
 *   Barrier.Broken      a processor whose routine ended by a bug check       those that wait
 *                       (release)
 *   KTHREAD.ServedCall  its thread alone
 *
 * Remaining and Barrier are in the caller's frame. A routine touches nothing there after its -1 of Remaining but the
 * address that it wakes.
 *
 * A routine that ends by a bug check which somebody catches is taken for done, and nobody waits at the barrier any more.
 *
 * Tests: tests/ke/test_dpccall.c. Benchmark: dpc.generic.
 */
#include "ki.h"

#define KI_CALL_SPINS 400
#define KI_CALL_SLEEP 1000000     /* ns */
#define KI_CALL_SLEEPS 0x80000000 /* in Remaining: the caller sleeps */

/* KTHREAD.ServedCall of a routine that is done: a second time would let the caller go too early. */
#define KI_CALL_DONE(Remaining) ((PVOID)((ULONG_PTR)(Remaining) | 1))

typedef struct _KI_CALL_BARRIER {
    LONG Parties;
    LONG volatile Missing;
    ULONG volatile Round;
    ULONG volatile Broken;
} KI_CALL_BARRIER, *PKI_CALL_BARRIER;

typedef struct _KI_GENERIC_CALL {
    PKDEFERRED_ROUTINE Routine;
    PVOID Context;
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile Remaining;
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) KI_CALL_BARRIER Barrier;
} KI_GENERIC_CALL, *PKI_GENERIC_CALL;

static ULONG volatile KiCallLock;

VOID KiAbandonDpcCalls(VOID)
{
    KiCallLock = 0;
}

static VOID KiTakeCallLock(VOID)
{
    KI_SPIN Spin = {.Reason = "another KeGenericCallDpc to end", .Object = (const void *)&KiCallLock};
    ULONG Free = 0;

    while (!__atomic_compare_exchange_n(&KiCallLock, &Free, 1, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        Free = 0;
        if (Spin.Steps < KI_CALL_SPINS) {
            KiSpin(&Spin);
        } else if (__atomic_exchange_n(&KiCallLock, 2, __ATOMIC_ACQUIRE) == 0) {
            break;
        } else {
            HalPark(&KiCallLock, 2, KI_CALL_SLEEP);
            KiSpinSlept(&Spin);
        }
    }
    KiEndSpin(&Spin);
}

static VOID KiReleaseCallLock(VOID)
{
    if (__atomic_exchange_n(&KiCallLock, 0, __ATOMIC_RELEASE) == 2) {
        HalWake(&KiCallLock, 1);
    }
}

VOID KeSignalCallDpcDone(PVOID SystemArgument1)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    ULONG volatile *Remaining = SystemArgument1;

    KiCheckOwnerLevel(Block);
    if (SystemArgument1 != NULL && Block->Thread->ServedCall == SystemArgument1) {
        Block->Thread->ServedCall = KI_CALL_DONE(SystemArgument1);
    } else if (Block->Checked) {
        KeBugCheckEx(TIMER_OR_DPC_INVALID, 4, (ULONG_PTR)SystemArgument1, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    if (__atomic_fetch_sub(Remaining, 1, __ATOMIC_ACQ_REL) == KI_CALL_SLEEPS + 1) {
        HalWake(Remaining, 1);
    }
}

/* The caller runs a routine of the call that has this barrier, and has not said that it is done. */
static BOOLEAN KiServesBarrier(KPRCB_THREAD_BLOCK *Block, PVOID Barrier)
{
    ULONG_PTR Served = (ULONG_PTR)Block->Thread->ServedCall;

    return Served != 0 &&
           Served - offsetof(KI_GENERIC_CALL, Remaining) + offsetof(KI_GENERIC_CALL, Barrier) == (ULONG_PTR)Barrier;
}

LOGICAL KeSignalCallDpcSynchronize(PVOID SystemArgument2)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    PKI_CALL_BARRIER Barrier = SystemArgument2;
    KI_SPIN Spin = {.Reason = "all processors to reach KeSignalCallDpcSynchronize", .Object = Barrier, .Holding = TRUE};
    ULONG Round;

    KiCheckOwnerLevel(Block);
    if (Block->Checked && !KiServesBarrier(Block, Barrier)) {
        KeBugCheckEx(TIMER_OR_DPC_INVALID, 4, (ULONG_PTR)Barrier, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    /* It stays until the caller has come too. */
    Round = __atomic_load_n(&Barrier->Round, __ATOMIC_RELAXED);
    if (__atomic_sub_fetch(&Barrier->Missing, 1, __ATOMIC_ACQ_REL) == 0) {
        __atomic_store_n(&Barrier->Missing, Barrier->Parties, __ATOMIC_RELAXED);
        __atomic_store_n(&Barrier->Round, Round + 1, __ATOMIC_RELEASE);
        return TRUE;
    }
    while (__atomic_load_n(&Barrier->Round, __ATOMIC_ACQUIRE) == Round &&
           __atomic_load_n(&Barrier->Broken, __ATOMIC_ACQUIRE) == 0) {
        KiSpin(&Spin);
    }
    KiEndSpin(&Spin);
    return FALSE;
}

/* The DPC of each processor. The call may be gone as soon as the routine has said that it is done. */
static VOID KiCallRoutine(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    PKI_GENERIC_CALL Call = Context;
    KI_FRAME Frame;

    KprcbThread.Thread->ServedCall = Argument1;
    KiEnterFrame(&KprcbThread, &Frame, KiCleanupFrame);
    if (setjmp(Frame.Jump) != 0) {
        KiLeaveFrame(&KprcbThread, &Frame);
        if (KprcbThread.Thread->ServedCall == Argument1) {
            __atomic_store_n(&((PKI_CALL_BARRIER)Argument2)->Broken, 1, __ATOMIC_RELEASE);
            KeSignalCallDpcDone(Argument1);
        }
        KiPassBugCheck(&Frame.BugCheck);
    }
    Call->Routine(Dpc, Call->Context, Argument1, Argument2);
    if (KprcbThread.Thread->ServedCall == Argument1 && KprcbThread.Checked) {
        KeBugCheckEx(TIMER_OR_DPC_INVALID, 4, (ULONG_PTR)Argument1, 0, (ULONG_PTR)Call->Routine);
    }
    KprcbThread.Thread->ServedCall = NULL;
    KiLeaveFrame(&KprcbThread, &Frame);
}

VOID KiInitializeCallDpc(PKPRCB Prcb)
{
    KeInitializeDpc(&Prcb->CallDpc, KiCallRoutine, NULL);
    KeSetImportanceDpc(&Prcb->CallDpc, HighImportance);
    Prcb->CallDpc.Number = (USHORT)(Prcb->Number + 1);
}

static VOID KiInsertCalls(PKI_GENERIC_CALL Call, ULONG Count)
{
    for (ULONG Index = 0; Index < Count; Index += 1) {
        PKDPC Dpc = &KiProcessor(Index)->PrcbData.CallDpc;

        Dpc->DeferredContext = Call;
        KeInsertQueueDpc(Dpc, (PVOID)&Call->Remaining, &Call->Barrier);
    }
}

/*
 * Inserts all or none, as a flush does (dpcflush.c). FALSE: a bug check was taken while the processor was awaited.
 */
static BOOLEAN KiQueueCalls(PKI_GENERIC_CALL Call, ULONG Count)
{
    BOOLEAN volatile Queued = FALSE;
    KI_FRAME Frame;

    KiEnterFrame(&KprcbThread, &Frame, KiDiscardFrame);
    if (setjmp(Frame.Jump) == 0) {
        KIRQL OldIrql = KeRaiseIrqlToDpcLevel();

        KiInsertCalls(Call, Count);
        Queued = TRUE;
        KfLowerIrql(OldIrql);
    }
    KiLeaveFrame(&KprcbThread, &Frame);
    return Queued;
}

static VOID KiAwaitCalls(ULONG volatile *Remaining)
{
    KI_SPIN Spin = {
        .Reason = "the DPCs of KeGenericCallDpc to be done", .Object = (const void *)Remaining, .Holding = TRUE};

    while ((__atomic_load_n(Remaining, __ATOMIC_ACQUIRE) & ~KI_CALL_SLEEPS) != 0) {
        if (Spin.Steps < KI_CALL_SPINS) {
            KiSpin(&Spin);
        } else {
            ULONG Seen = __atomic_or_fetch(Remaining, KI_CALL_SLEEPS, __ATOMIC_ACQ_REL);

            if (Seen != KI_CALL_SLEEPS) {
                HalPark(Remaining, Seen, KI_CALL_SLEEP);
                KiSpinSlept(&Spin);
            }
        }
    }
    KiEndSpin(&Spin);
}

VOID KeGenericCallDpc(PKDEFERRED_ROUTINE Routine, PVOID Context)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KI_GENERIC_CALL Call = {.Routine = Routine, .Context = Context};
    ULONG Count;

    if (Block->Irql > APC_LEVEL) {
        KeBugCheckEx(IRQL_NOT_LESS_OR_EQUAL, Block->Irql, APC_LEVEL, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    if (Routine == NULL) {
        KeBugCheckEx(TIMER_OR_DPC_INVALID, 4, 0, 0, 0);
    }
    KiCheckMayWait(Block);
    KiTakeCallLock();
    Count = KiProcessorCount();
    Call.Remaining = Count;
    Call.Barrier.Parties = Call.Barrier.Missing = (LONG)Count;
    if (KiQueueCalls(&Call, Count)) {
        KiAwaitCalls(&Call.Remaining);
    }
    KiReleaseCallLock();
    if (KiDeliveryPending(Block)) {
        KiTakeDelivery(Block);
    }
}
