/*
 * clock.c - the clock: looks each tick at the processors for which something waits, and sleeps while there are none.
 *
 * What waits: DPCs that asked for no interrupt, which it asks to run, and IPIs whose target has not polled, which it
 * presses. Beside that it looks at owners for the DPC watchdog, every second or more often.
 *
 *   word               written by                                          read by
 *   KiTicking          anyone sets a processor's bit, the clock clears it   the clock
 *   KiClockSignal      whoever sets the first bit increments it, seq_cst    the clock, which sleeps on it
 *
 * The clock reads KiClockSignal before it looks at KiTicking; whoever sets a bit increments KiClockSignal afterwards.
 * So either the clock sees the bit or its sleep ends at once.
 *
 * Tests: tests/ke/test_dpc.c (low importance), tests/ke/test_ipicall.c (an owner that never polls).
 */
#include "ki.h"

#define KI_CLOCK_STACK (64 * 1024)
#define KI_TICKING_WORDS (KPRCB_MAXIMUM_PROCESSORS / 32)

static ULONG volatile KiTicking[KI_TICKING_WORDS];
static ULONG volatile KiClockSignal;
static ULONG volatile KiClockSleeps;
static ULONG volatile KiClockStop;
static HAL_THREAD KiClockHandle; /* KiMachineLock */

VOID KiArmClock(PKPCR Pcr)
{
    ULONG Number = Pcr->PrcbData.Number;
    ULONG Bit = 1u << Number % 32;

    if ((__atomic_fetch_or(&KiTicking[Number / 32], Bit, __ATOMIC_SEQ_CST) & Bit) == 0) {
        __atomic_fetch_add(&KiClockSignal, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&KiClockSleeps, __ATOMIC_SEQ_CST) != 0) {
            HalWake(&KiClockSignal, 1);
        }
    }
}

/* Whether something still waits there. */
static BOOLEAN KiTick(PKPCR Pcr)
{
    ULONG Request = __atomic_load_n(&Pcr->Request, __ATOMIC_SEQ_CST);

    if ((Request & KPCR_REQUEST_LAZY) != 0) {
        KiTuneDpcQueue(Pcr);
        KiRequest(Pcr, KPCR_REQUEST_DISPATCH);
    }
    if ((Request & KPCR_REQUEST_IPI) != 0) {
        KiPress(Pcr);
    }
    return (Request & (KPCR_REQUEST_LAZY | KPCR_REQUEST_IPI)) != 0;
}

/* FALSE: nothing ticks any more. */
static BOOLEAN KiTickAll(VOID)
{
    BOOLEAN Any = FALSE;

    for (ULONG Word = 0; Word * 32 < KiProcessorCount(); Word += 1) {
        ULONG Bits = __atomic_load_n(&KiTicking[Word], __ATOMIC_SEQ_CST);

        while (Bits != 0) {
            ULONG Bit = (ULONG)__builtin_ctz(Bits);
            PKPCR Pcr = KiProcessor(Word * 32 + Bit);

            Bits &= Bits - 1;
            /* Off before the look: whatever comes later sets it again. */
            __atomic_fetch_and(&KiTicking[Word], ~(1u << Bit), __ATOMIC_SEQ_CST);
            if (KiTick(Pcr)) {
                __atomic_fetch_or(&KiTicking[Word], 1u << Bit, __ATOMIC_SEQ_CST);
                Any = TRUE;
            }
        }
    }
    return Any;
}

static VOID KiClockThread(PVOID Context)
{
    ULONGLONG Increment = (ULONGLONG)KiMachine.TimeIncrement * 100;

    UNREFERENCED_PARAMETER(Context);
    while (__atomic_load_n(&KiClockStop, __ATOMIC_ACQUIRE) == 0) {
        ULONG Signal = __atomic_load_n(&KiClockSignal, __ATOMIC_SEQ_CST);

        BOOLEAN Ticks = KiTickAll();

        KiRunDpcWatchdog();
        if (!Ticks) {
            __atomic_store_n(&KiClockSleeps, 1, __ATOMIC_SEQ_CST);
            HalPark(&KiClockSignal, Signal, KiDpcWatchdogTimeout());
            __atomic_store_n(&KiClockSleeps, 0, __ATOMIC_SEQ_CST);
        }
        /* On this word nobody wakes it but KiStopClock: the next look comes a tick later. */
        HalPark(&KiClockStop, 0, Increment);
    }
}

NTSTATUS KiStartClock(VOID)
{
    KiClockStop = 0;
    KiResetDpcWatchdog();
    for (ULONG Word = 0; Word < KI_TICKING_WORDS; Word += 1) {
        KiTicking[Word] = 0;
    }
    return HalCreateThread(&KiClockHandle, KiClockThread, NULL, KI_CLOCK_STACK, HAL_ANY_PROCESSOR, "kprcb-clock");
}

VOID KiStopClock(VOID)
{
    __atomic_store_n(&KiClockStop, 1, __ATOMIC_RELEASE);
    __atomic_fetch_add(&KiClockSignal, 1, __ATOMIC_SEQ_CST);
    HalWake(&KiClockSignal, 1);
    HalWake(&KiClockStop, 1);
    HalJoinThread(&KiClockHandle);
}
