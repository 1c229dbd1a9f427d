/*
 * idle.c - the idle thread: serves a processor that nobody owns.
 *
 * It takes the processor for each batch of work and lets it go. With nothing to do it spins a while, since a park costs the
 * next poster a wake-up, and then parks on Request. It parks with work pending only after it has seen an owner who will look at
 * Request after letting go (KiIsOwned, a full barrier). Spinners are limited so that one host CPU stays free, and there are
 * none for a processor with a resident, which runs on the same CPU.
 *
 * Tests: tests/ke/test_dpc.c, tests/ke/test_ipi.c.
 */
#include "ki.h"

#define KI_IDLE_SPIN 150000 /* ns; a spin of 20 us misses a poster that comes every 50 us */
#define KI_IDLE_STEPS 64

/* Idle threads that spin. Writers: idle threads, by read-modify-write. */
static ULONG volatile KiIdleSpinners;

static ULONG KiLoadRequest(PKPCR Pcr)
{
    return __atomic_load_n(&Pcr->Request, __ATOMIC_SEQ_CST);
}

/* TRUE: there is something to do. */
static BOOLEAN KiSpinIdly(PKPCR Pcr)
{
    BOOLEAN Found = FALSE;
    ULONGLONG End;

    if (__atomic_load_n(&Pcr->Resident, __ATOMIC_RELAXED) != NULL) {
        return FALSE;
    }
    if (__atomic_fetch_add(&KiIdleSpinners, 1, __ATOMIC_RELAXED) + 1 < KiMachine.HostProcessors) {
        End = HalMonotonicTime() + KI_IDLE_SPIN;
        do {
            for (ULONG Step = 0; Step < KI_IDLE_STEPS && !Found; Step += 1) {
                Found = (__atomic_load_n(&Pcr->Request, __ATOMIC_ACQUIRE) & (KI_URGENT | KPCR_REQUEST_STOP)) != 0;
                HalPause();
            }
        } while (!Found && HalMonotonicTime() < End);
    }
    __atomic_fetch_sub(&KiIdleSpinners, 1, __ATOMIC_RELAXED);
    return Found;
}

static VOID KiParkIdly(PKPCR Pcr, ULONG Request)
{
    ULONG Parked = Request | KPCR_REQUEST_PARKED;

    if (__atomic_compare_exchange_n(&Pcr->Request, &Request, Parked, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
        HalPark(&Pcr->Request, Parked, 0);
        __atomic_fetch_and(&Pcr->Request, ~(ULONG)KPCR_REQUEST_PARKED, __ATOMIC_SEQ_CST);
    }
}

static VOID KiServeAsIdle(KPRCB_THREAD_BLOCK *Block)
{
    Block->RaisedFrom[DISPATCH_LEVEL] = PASSIVE_LEVEL;
    Block->Irql = DISPATCH_LEVEL;
    KiLowerBelowDispatch(Block, PASSIVE_LEVEL, FALSE);
}

static VOID KiIdleLoop(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr)
{
    for (;;) {
        ULONG Request = KiLoadRequest(Pcr);

        if ((Request & KPCR_REQUEST_STOP) != 0) {
            return;
        }
        if ((Request & KI_URGENT) == 0) {
            if (!KiSpinIdly(Pcr)) {
                KiParkIdly(Pcr, Request);
            }
        } else if (KiTryTakeProcessor(Block, Pcr)) {
            KiServeAsIdle(Block);
        } else if (KiIsOwned(Pcr)) {
            KiParkIdly(Pcr, Request);
        }
    }
}

VOID KiIdleThread(PVOID Context)
{
    PKPCR Pcr = Context;
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    KI_FRAME Frame;

    KiAdoptThread(Pcr->PrcbData.IdleThread, Pcr);
    KiEnterFrame(Block, &Frame, KiDiscardFrame);
    (VOID)setjmp(Frame.Jump); /* a bug check on this thread comes back here, the processor let go */
    KiIdleLoop(Block, Pcr);
    KiLeaveFrame(Block, &Frame);
}
