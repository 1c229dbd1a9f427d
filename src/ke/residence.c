/*
 * residence.c - which thread is the resident of a processor: moving in, displacing, moving out.
 *
 * A thread that attaches by name displaces one that settled by itself, never the other way round. All changes are made
 * by a thread that owns the processor by token; owner.c lists the words (Resident, StaleResidents, KTHREAD.Kind) and
 * tells how bias is lost and comes back.
 *
 * Tests: tests/ke/test_thread.c, tests/ke/test_bias.c, tests/stress/stress_owner.c.
 */
#include "ki.h"

#define KI_NO_BIAS 0xFFFFFFFF

static BOOLEAN KiMayReside(KI_THREAD_KIND Kind, PKTHREAD Present)
{
    return Present == NULL ||
           (__atomic_load_n(&Present->Kind, __ATOMIC_RELAXED) == KiAutoThread && Kind == KiNamedThread);
}

/* The processor is owned by token. */
static VOID KiMoveIn(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr)
{
    PKTHREAD Thread = Block->Thread;

    if (Pcr->Resident != NULL) {
        __atomic_fetch_add(&Pcr->StaleResidents, 1, __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&Pcr->Resident, Thread, __ATOMIC_RELEASE);
    Thread->Residence = Pcr;
    /* Unless somebody was displaced, it is biased from the first raise on. */
    Thread->BiasThreshold = KI_FIRST_BIAS_RUN;
    Pcr->OwnerRun = KI_FIRST_BIAS_RUN;
    KiRegainBias(Block, Pcr);
}

static VOID KiLetGoAndLook(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr)
{
    KiLetGoProcessor(Block, Block->Irql);
    KiLookAgain(Block, Pcr, KI_PENDING);
}

BOOLEAN KiBecomeResident(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, KI_THREAD_KIND Kind)
{
    PKTHREAD Thread = Block->Thread;
    PKTHREAD Present = __atomic_load_n(&Pcr->Resident, __ATOMIC_ACQUIRE);
    PKPCR Home = Block->Pcr;
    PKPCR Former = Thread->Residence;
    BOOLEAN Accepted;

    if (Present == Thread && Thread->Kind == Kind) {
        return TRUE;
    }
    if (!KiMayReside(Kind, Present)) {
        return FALSE;
    }
    KiEndResidency(Block);
    KiTakeThisProcessor(Block, Pcr);
    Accepted = KiMayReside(Kind, Pcr->Resident);
    if (Accepted) {
        __atomic_store_n(&Thread->Kind, Kind, __ATOMIC_RELAXED);
        KiMoveIn(Block, Pcr);
    }
    KiLetGoAndLook(Block, Pcr);
    if (!Accepted) {
        Block->Pcr = Home;
        /* Back to the old residence, unless somebody has taken that meanwhile: then the thread has none. */
        if (Former != NULL) {
            (VOID) KiBecomeResident(Block, Former, Thread->Kind);
        }
    }
    return Accepted;
}

VOID KiSettle(KPRCB_THREAD_BLOCK *Block)
{
    PKPCR Pcr = Block->Pcr;

    if (__atomic_load_n(&Pcr->Resident, __ATOMIC_RELAXED) == NULL && KiTryTakeProcessor(Block, Pcr)) {
        if (Pcr->Resident == NULL) {
            KiMoveIn(Block, Pcr);
        }
        KiLetGoAndLook(Block, Pcr);
    }
}

VOID KiResignBias(KPRCB_THREAD_BLOCK *Block)
{
    PKTHREAD Thread = Block->Thread;

    Block->Fast = NULL;
    if (Thread->Biased) {
        __atomic_fetch_or(&Thread->Residence->Request, KPCR_REQUEST_REVOKED, __ATOMIC_SEQ_CST);
        Thread->Biased = FALSE;
        Thread->BiasThreshold = KI_FIRST_BIAS_RUN;
    }
}

VOID KiEndResidency(KPRCB_THREAD_BLOCK *Block)
{
    PKTHREAD Thread = Block->Thread;
    PKPCR Residence = Thread->Residence;
    PKPCR Home = Block->Pcr;

    if (Residence == NULL) {
        return;
    }
    KiResignBias(Block);
    Thread->BiasThreshold = KI_NO_BIAS;
    KiTakeThisProcessor(Block, Residence);
    if (Residence->Resident == Thread) {
        __atomic_store_n(&Residence->Resident, NULL, __ATOMIC_RELEASE);
    } else {
        __atomic_fetch_sub(&Residence->StaleResidents, 1, __ATOMIC_SEQ_CST);
    }
    Thread->Residence = NULL;
    KiLetGoAndLook(Block, Residence);
    Block->Pcr = Home;
}
