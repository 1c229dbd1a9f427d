/*
 * request.c - asking a processor for something, and making somebody look.
 *
 * A request is a bit of KPCR.Request, set by anyone. Who looks:
 *
 *   the idle thread, while it is awake: it parks only by exchanging a Request without pending bits for the same with PARKED, or after
 *   it has seen an owner who will look;
 *   an owner, after it has let go (irql.c);
 *   and if the idle thread is parked and nobody owns the processor, the poster wakes the idle thread.
 *
 * The poster's OR of Request (seq_cst) pairs with the idle thread's compare-exchange of the same word, and with the
 * owner's letting go (KiIsOwned). Whoever finds the bit set already leaves the matter to the one who set it.
 *
 * Tests: tests/ke/test_dpc.c, tests/stress/stress_dpc.c.
 */
#include "ki.h"

static VOID KiWakeIdleThread(PKPCR Pcr)
{
    ULONG Before = __atomic_fetch_and(&Pcr->Request, ~(ULONG)KPCR_REQUEST_PARKED, __ATOMIC_SEQ_CST);

    if ((Before & KPCR_REQUEST_PARKED) != 0) {
        HalWake(&Pcr->Request, 1);
    }
}

VOID KiNudge(PKPCR Pcr)
{
    if ((__atomic_load_n(&Pcr->Request, __ATOMIC_SEQ_CST) & KPCR_REQUEST_PARKED) != 0 && !KiIsOwned(Pcr)) {
        KiWakeIdleThread(Pcr);
    }
}

VOID KiRequest(PKPCR Pcr, ULONG Bits)
{
    ULONG Before = __atomic_fetch_or(&Pcr->Request, Bits, __ATOMIC_SEQ_CST);

    if ((Before & Bits) != Bits && (Before & KPCR_REQUEST_PARKED) != 0 && !KiIsOwned(Pcr)) {
        KiWakeIdleThread(Pcr);
    }
}

VOID KiRequestIdleThread(PKPCR Pcr, ULONG Bits)
{
    ULONG Before = __atomic_fetch_or(&Pcr->Request, Bits, __ATOMIC_SEQ_CST);

    if ((Before & KPCR_REQUEST_PARKED) != 0) {
        KiWakeIdleThread(Pcr);
    }
}

VOID KiPress(PKPCR Pcr)
{
    PKTHREAD Owner = KiQueryOwner(Pcr);

    if (Owner == NULL) {
        KiNudge(Pcr);
    } else if (KiMachine.Signals) {
        HalInterruptThread(__atomic_load_n(&Owner->HostId, __ATOMIC_RELAXED));
    }
}
