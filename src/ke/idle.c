/*
 * idle.c - the idle thread: serves a processor that nobody owns.
 *
 * It takes the processor for each batch of work and lets it go. After work it spins a while, since a park costs the
 * next poster a wake-up, and then parks on Request. It parks with work pending only after it has seen an owner who
 * will look at Request after letting go (KiIsOwned, a full barrier). Spinners are limited so that one host CPU stays
 * free, and there are none where processors outnumber CPUs, nor for a processor with a resident, which runs on the
 * same CPU.
 *
 * From its first spin until it parks it watches the inbox itself (dpcqueue.c), so that a poster needs no more than one
 * compare-exchange. Before it parks it ends the watch and looks once more.
 *
 * Tests: tests/ke/test_dpc.c, tests/ke/test_ipi.c.
 */
#include "ki.h"

/* Idle and DPC threads that spin. Writers: those threads, by read-modify-write. */
static ULONG volatile KiIdleSpinners;

VOID KiAbandonWatches(VOID)
{
    KiIdleSpinners = 0;
}

static ULONG KiLoadRequest(PKPCR Pcr)
{
    return __atomic_load_n(&Pcr->Request, __ATOMIC_SEQ_CST);
}

static BOOLEAN KiIsAsked(PKPCR Pcr)
{
    return KiInboxFilled(Pcr) || (__atomic_load_n(&Pcr->Request, __ATOMIC_ACQUIRE) & (KI_URGENT | KI_IDLE_ONLY)) != 0;
}

/* TRUE: there is something to do. */
static BOOLEAN KiSpinIdly(PKPCR Pcr)
{
    ULONGLONG End = HalMonotonicTime() + KI_IDLE_SPIN;

    do {
        for (ULONG Step = 0; Step < KI_IDLE_STEPS; Step += 1) {
            if (KiIsAsked(Pcr)) {
                return TRUE;
            }
            if (Step % KI_LOOKS_A_PAUSE == 0) {
                HalPause();
            }
        }
        if (__atomic_load_n(&Pcr->PrcbData.DpcThreadRequested, __ATOMIC_RELAXED)) {
            break; /* the DPC thread needs the CPU */
        }
    } while (HalMonotonicTime() < End);
    return FALSE;
}

BOOLEAN KiBeginIdleSpin(PKPCR Pcr)
{
    if (KiIsCrowded() || __atomic_load_n(&Pcr->Resident, __ATOMIC_RELAXED) != NULL) {
        return FALSE;
    }
    if (__atomic_fetch_add(&KiIdleSpinners, 1, __ATOMIC_RELAXED) + 1 >= KiMachine.HostProcessors) {
        __atomic_fetch_sub(&KiIdleSpinners, 1, __ATOMIC_RELAXED);
        return FALSE;
    }
    return TRUE;
}

VOID KiEndIdleSpin(VOID)
{
    __atomic_fetch_sub(&KiIdleSpinners, 1, __ATOMIC_RELAXED);
}

/* TRUE: the idle thread of Pcr may spin, and watches the inbox until KiEndWatch. */
static BOOLEAN KiBeginWatch(PKPCR Pcr)
{
    if (!KiBeginIdleSpin(Pcr)) {
        return FALSE;
    }
    KiWatchInbox(Pcr);
    return TRUE;
}

static VOID KiEndWatch(PKPCR Pcr)
{
    KiEndIdleSpin();
    KiUnwatchInbox(Pcr);
}

/*
 * With PARKED set, posters see to it that the idle thread wakes. Those that came before it was set relied on an
 * owner, who may have let go meanwhile, and Request may look as it did; so the owner is looked for once more.
 */
static VOID KiParkIdly(PKPCR Pcr, ULONG Request)
{
    ULONG Parked = Request | KPCR_REQUEST_PARKED;

    if (__atomic_compare_exchange_n(&Pcr->Request, &Request, Parked, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
        if ((Parked & KI_URGENT) == 0 || KiIsOwned(Pcr)) {
            HalPark(&Pcr->Request, Parked, 0);
        }
        __atomic_fetch_and(&Pcr->Request, ~(ULONG)KPCR_REQUEST_PARKED, __ATOMIC_SEQ_CST);
    }
}

static VOID KiServeAsIdle(KPRCB_THREAD_BLOCK *Block)
{
    Block->RaisedFrom[DISPATCH_LEVEL] = PASSIVE_LEVEL;
    Block->Irql = DISPATCH_LEVEL;
    KiLowerBelowDispatch(Block, PASSIVE_LEVEL, FALSE);
}

/*
 * Nothing watches any more. Parks if there is nothing to do, or if an owner will do it: Request must say so before
 * the idle thread relies on the owner.
 */
static VOID KiRest(PKPCR Pcr)
{
    ULONG Request = KiLoadRequest(Pcr);
    BOOLEAN Filled = KiInboxFilled(Pcr);

    if (Filled && (Request & KPCR_REQUEST_DISPATCH) == 0) {
        Request = __atomic_or_fetch(&Pcr->Request, KPCR_REQUEST_DISPATCH, __ATOMIC_SEQ_CST);
    }
    if ((Request & KI_IDLE_ONLY) == 0 && (((Request & KI_URGENT) == 0 && !Filled) || KiIsOwned(Pcr))) {
        KiParkIdly(Pcr, Request);
    }
}

static VOID KiIdleLoop(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, BOOLEAN volatile *Watch)
{
    BOOLEAN Worked = FALSE;

    for (;;) {
        BOOLEAN Asked = KiIsAsked(Pcr);
        ULONG Request = KiLoadRequest(Pcr);

        if ((Request & KPCR_REQUEST_STOP) != 0) {
            break;
        }
        if ((Request & KPCR_REQUEST_THREAD) != 0) {
            KiServeThreadRequest(Pcr);
            continue;
        }
        if (Asked && KiTryTakeProcessor(Block, Pcr)) {
            KiServeAsIdle(Block);
            Worked = TRUE;
            continue;
        }
        if (!Asked && Worked) {
            *Watch = *Watch || KiBeginWatch(Pcr);
            Worked = FALSE;
            if (*Watch && KiSpinIdly(Pcr)) {
                continue;
            }
        }
        if (*Watch) {
            *Watch = FALSE;
            KiEndWatch(Pcr);
        }
        KiRest(Pcr);
    }
    if (*Watch) {
        KiEndWatch(Pcr);
    }
}

VOID KiIdleThread(PVOID Context)
{
    PKPCR Pcr = Context;
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    KI_FRAME Frame;
    BOOLEAN volatile Watch = FALSE; /* outlives a bug check */

    KiAdoptThread(Pcr->PrcbData.IdleThread, Pcr);
    KiEnterFrame(Block, &Frame, KiDiscardFrame);
    (VOID) setjmp(Frame.Jump); /* a bug check on this thread comes back here, the processor let go */
    KiIdleLoop(Block, Pcr, &Watch);
    KiLeaveFrame(Block, &Frame);
    KiEndMachineThread();
}
