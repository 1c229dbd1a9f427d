/*
 * gate.c - KGATE: one thread waits until the gate is opened, and passes once however often it was.
 *
 *   SignalState   CLOSED or AWAITED -> OPEN by who opens it, exchange (release); AWAITED: the waiter may sleep
 *                 OPEN -> CLOSED by the waiter as it passes, compare-exchange (acquire)
 *                 CLOSED -> AWAITED by the waiter before it parks, compare-exchange
 *
 * The word is all there is: whoever opens it either finds AWAITED and wakes the sleeper, or comes before the waiter's
 * compare-exchange, which then fails.
 *
 * Deviation: NT's gate is a dispatcher object. Test: tests/ke/test_gate.c.
 */
#include "ki.h"

#define KI_GATE_CLOSED 0
#define KI_GATE_OPEN 1
#define KI_GATE_AWAITED 2

VOID KiSignalGate(PKGATE Gate)
{
    if (__atomic_exchange_n(&Gate->SignalState, KI_GATE_OPEN, __ATOMIC_SEQ_CST) == KI_GATE_AWAITED) {
        HalWake(&Gate->SignalState, 1);
    }
}

BOOLEAN KiPassGate(PKGATE Gate)
{
    ULONG Open = KI_GATE_OPEN;

    return __atomic_load_n(&Gate->SignalState, __ATOMIC_RELAXED) == KI_GATE_OPEN &&
           __atomic_compare_exchange_n(&Gate->SignalState, &Open, KI_GATE_CLOSED, FALSE, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

VOID KiWaitForGate(PKGATE Gate)
{
    while (!KiPassGate(Gate)) {
        ULONG Closed = KI_GATE_CLOSED;

        if (__atomic_compare_exchange_n(&Gate->SignalState, &Closed, KI_GATE_AWAITED, FALSE, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED) ||
            Closed == KI_GATE_AWAITED) {
            HalPark(&Gate->SignalState, KI_GATE_AWAITED, 0);
        }
    }
}
