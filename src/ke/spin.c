/*
 * spin.c - what every spin loop of the library does between two looks, and YieldProcessor.
 *
 * A spinner that owns a processor serves its IPIs. Where processors outnumber CPUs, whoever it waits for may need its
 * CPU, so it yields. A spin without progress is reported (hang.c) and ends when another thread's bug check is
 * delivered to the spinner.
 *
 * Tests: tests/ke/test_spinlock.c, tests/ke/test_bugcheck.c.
 */
#include "ki.h"

#define KI_POLL_STEPS 8 /* a power of 2, like the others */
#define KI_CROWDED_YIELD_STEPS 64
#define KI_YIELD_STEPS 8192
#define KI_CLOCK_STEPS 16384

static VOID KiCheckHang(PKI_SPIN Spin)
{
    ULONGLONG Now = HalMonotonicTime();
    ULONGLONG Waited;

    if (Spin->Started == 0) {
        PKTHREAD Thread = KprcbThread.Thread;

        Spin->Started = Now;
        Spin->Period = __atomic_load_n(&KiHangPeriod, __ATOMIC_RELAXED);
        if (Thread != NULL) {
            __atomic_store_n(&Thread->WaitObject, Spin->Object, __ATOMIC_RELAXED);
            __atomic_store_n(&Thread->WaitReason, Spin->Reason, __ATOMIC_RELEASE);
        }
        return;
    }
    Waited = (Now - Spin->Started) / 1000000;
    if (Spin->Period != 0 && Waited >= Spin->Period) {
        KiReportHang(Spin, Waited);
        Spin->Period *= 2;
    }
}

VOID KiSpin(PKI_SPIN Spin)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    ULONG Steps = ++Spin->Steps;
    BOOLEAN Crowded = KiIsCrowded();

    HalPause();
    if (Steps % KI_POLL_STEPS != 0) {
        return;
    }
    if (Spin->Holding) {
        KiPollHolding(Block);
    } else {
        KiPoll(Block);
    }
    if (Steps % (Crowded ? KI_CROWDED_YIELD_STEPS : KI_YIELD_STEPS) == 0) {
        HalYield();
        if (!Spin->Holding && KiDeliveryPending(Block)) {
            KiTakeDelivery(Block);
        }
    }
    if (Steps % KI_CLOCK_STEPS == 0) {
        KiCheckHang(Spin);
    }
}

VOID KiSpinSlept(PKI_SPIN Spin)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;

    if (Spin->Holding) {
        KiPollHolding(Block);
    } else {
        KiPoll(Block);
        if (KiDeliveryPending(Block)) {
            KiTakeDelivery(Block);
        }
    }
    KiCheckHang(Spin);
}

VOID KiEndSpin(PKI_SPIN Spin)
{
    if (Spin->Started != 0 && KprcbThread.Thread != NULL) {
        __atomic_store_n(&KprcbThread.Thread->WaitReason, NULL, __ATOMIC_RELEASE);
    }
}

VOID KiPauseOrYield(ULONG Steps)
{
    HalPause();
    if (Steps % KI_CROWDED_YIELD_STEPS == 0) {
        HalYield();
    }
}

VOID KiAcquireInternalLock(PKSPIN_LOCK Lock)
{
    for (ULONG Steps = 1; __atomic_exchange_n(Lock, 1, __ATOMIC_ACQUIRE) != 0; Steps += 1) {
        while (__atomic_load_n(Lock, __ATOMIC_RELAXED) != 0) {
            KiPauseOrYield(Steps);
            Steps += 1;
        }
    }
}

VOID KprcbYieldProcessor(VOID)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    static __thread ULONG Steps;

    HalPause();
    KiPoll(Block);
    Steps += 1;
    if (Steps % (KiIsCrowded() ? KI_CROWDED_YIELD_STEPS : KI_YIELD_STEPS) == 0) {
        HalYield();
    }
    if (KiDeliveryPending(Block)) {
        KiTakeDelivery(Block);
    }
}

VOID KeStallExecutionProcessor(ULONG MicroSeconds)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    ULONGLONG End = HalMonotonicTime() + (ULONGLONG)MicroSeconds * 1000;

    do {
        KiPoll(Block);
        if (KiDeliveryPending(Block)) {
            KiTakeDelivery(Block);
        }
        HalPause();
    } while (HalMonotonicTime() < End);
}
