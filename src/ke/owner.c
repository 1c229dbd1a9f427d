/*
 * owner.c - who owns a processor: the token, the resident's bias, its revocation and its return.
 *
 * At most one thread owns a processor. It owns it either by token (KPCR.Owner is the thread) or, as the resident, by
 * bias (KPCR.Owner is NULL, ResidentIrql is at DISPATCH_LEVEL or above, and Request does not say REVOKED). REVOKED is
 * clear only while the resident is biased.
 *
 *   word            written by                              read by               ordering
 *   Owner           CAS NULL -> thread by whoever takes,    posters (KiIsOwned)   all seq_cst: the owner's exchange, then its
 *                   exchange -> NULL by who lets go                               load of Request, against the poster's OR of
 *                                                                                 Request, then its load of Owner
 *   ResidentIrql    the resident                            holder of the token,  the store's release pairs with the acquire
 *                                                           posters               loads here; store-to-load order against
 *                                                                                 Request by HalProcessBarrier, or by exchange
 *   REVOKED         set by the holder of the token, or by   the resident          set: seq_cst, before HalProcessBarrier;
 *                   the resident; cleared by the resident                         clear: after ResidentIrql was set, before
 *                   while it holds the token                                      Owner = NULL
 *   Resident,       holder of the token                     anyone (display),     guarded by the token
 *   LastOwner,                                              holder of the token
 *   OwnerRun
 *   SpinLock-       the owner                               the next owner, and   relaxed: it comes with the processor; irql.h
 *   AcquireCount                                            anyone (display)      has the rules
 *   StaleResidents  holder of the token adds, the displaced
 *                   resident subtracts
 *   TokenWaiters    a waiter adds itself before its last    who lets go           seq_cst on both sides, with Owner
 *                   look at Owner
 *   TokenSequence   who lets go, when it wakes a waiter     a waiter              read before the waiter adds itself, so a
 *                                                                                 wake-up after that ends its sleep
 *   TokenWaking     exchanged to 1 by who lets go, which    who lets go           seq_cst; 1 when it was 1 already: the one that
 *                   wakes a waiter if it was 0; cleared by                        was woken has yet to look at Owner
 *                   a waiter that ends its sleep
 *   TokenHeir       NULL -> thread by that thread, back     who lets go           whoever exchanges the heir out of it decides:
 *                   by it, or by who lets go                                      the heir has left, or owns the token
 *   KTHREAD         1 by who hands the token to the heir    the heir              release / acquire
 *   .Inherited
 *   KTHREAD.Kind    its thread, with Resident               holder of the token   guarded by the token of its residence; relaxed
 *                                                                                 for reports and for a first look without it
 *
 * Why a revocation is safe: after the barrier either the resident's ResidentIrql = DISPATCH_LEVEL is visible and the
 * revoker waits, or the resident's load of Request comes after the barrier, sees REVOKED, and the resident takes the
 * token like everyone.
 *
 * A displaced resident may be anywhere between its load of Fast and its store to ResidentIrql, for any time. Until it
 * has noticed (StaleResidents), REVOKED stays set, so whatever it stores it finds REVOKED.
 *
 * Waiters sleep a few milliseconds at most at a time and then look for any free processor of their affinity: the
 * owner of their home may be spinning at DISPATCH_LEVEL for them. One that has slept once in vain becomes the heir of
 * its home, to whom the next release hands the token. Deviation: NT would have preempted the waiter instead.
 *
 * Tests: tests/ke/test_owner.c, tests/stress/stress_owner.c.
 */
#include "ki.h"

#define KI_LONGEST_BIAS_RUN (1u << 20)
#define KI_TOKEN_SPINS 40
#define KI_TOKEN_SLEEP 250000          /* ns, the first time; it doubles */
#define KI_LONGEST_TOKEN_SLEEP 4000000 /* ns */
#define KI_SCAN_LIMIT 64               /* processors looked at in one search */

/* A thread that has taken a processor this often in a row will likely do so again: its releases wake nobody. */
#define KI_POLITE_RUN 8

ULONG volatile KiSleepers;

static BOOLEAN KiTryToken(PKTHREAD Thread, PKPCR Pcr)
{
    PKTHREAD Nobody = NULL;

    if (__atomic_load_n(&Pcr->Owner, __ATOMIC_RELAXED) != NULL) {
        return FALSE;
    }
    return __atomic_compare_exchange_n(&Pcr->Owner, &Nobody, Thread, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static VOID KiWakeTokenWaiter(PKPCR Pcr)
{
    if (__atomic_exchange_n(&Pcr->TokenWaking, 1, __ATOMIC_SEQ_CST) == 0) {
        __atomic_fetch_add(&Pcr->TokenSequence, 1, __ATOMIC_SEQ_CST);
        HalWake(&Pcr->TokenSequence, 1);
    }
}

/* The heir owns the token from the store to Owner on; it learns so from Inherited. */
static BOOLEAN KiHandToHeir(PKPCR Pcr)
{
    PKTHREAD Heir = __atomic_exchange_n(&Pcr->TokenHeir, NULL, __ATOMIC_ACQ_REL);

    if (Heir == NULL) {
        return FALSE;
    }
    __atomic_store_n(&Pcr->Owner, Heir, __ATOMIC_SEQ_CST);
    __atomic_store_n(&Heir->Inherited, 1, __ATOMIC_RELEASE);
    HalWake(&Heir->Inherited, 1);
    return TRUE;
}

/* Sleepers that are not woken here end their sleep themselves, and become the heir then. */
static VOID KiFreeToken(PKPCR Pcr)
{
    ULONG Run = Pcr->OwnerRun;

    if (__builtin_expect(__atomic_load_n(&Pcr->TokenHeir, __ATOMIC_RELAXED) != NULL, 0) && KiHandToHeir(Pcr)) {
        return;
    }
    (VOID) __atomic_exchange_n(&Pcr->Owner, NULL, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&Pcr->TokenWaiters, __ATOMIC_SEQ_CST) != 0 && Run < KI_POLITE_RUN) {
        KiWakeTokenWaiter(Pcr);
    }
}

/* The host's barrier takes a lock: an interrupt that needed it too would wait for its own thread. */
VOID KiProcessBarrier(VOID)
{
    KiMaskInterrupts(&KprcbThread);
    HalProcessBarrier();
    KiUnmaskInterrupts(&KprcbThread);
}

/* seq_cst: without membarrier it pairs, after the OR of Request, with the resident's exchange and load. */
static BOOLEAN KiResidentIsAbove(PKPCR Pcr)
{
    return __atomic_load_n(&Pcr->PrcbData.ResidentIrql, __ATOMIC_SEQ_CST) >= DISPATCH_LEVEL;
}

/*
 * The holder of the token ends the resident's bias. FALSE: the resident owns the processor at this moment; it will find
 * REVOKED when it lowers.
 */
static BOOLEAN KiRevokeBias(PKPCR Pcr)
{
    if ((__atomic_load_n(&Pcr->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_REVOKED) == 0) {
        __atomic_fetch_or(&Pcr->Request, KPCR_REQUEST_REVOKED, __ATOMIC_SEQ_CST);
#ifndef KPRCB_BREAK_REVOCATION
        if (KiMachine.Biased) {
            KiProcessBarrier();
        }
#endif
    }
    return !KiResidentIsAbove(Pcr);
}

/* Who owns it now goes on where its last owner has ended. */
static VOID KiTakeOverAcquires(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr)
{
    Block->AcquireCount = __atomic_load_n(&Pcr->PrcbData.SpinLockAcquireCount, __ATOMIC_RELAXED);
}

/* The token is held and the resident below DISPATCH_LEVEL: the thread is the owner. */
static VOID KiFinishTake(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr)
{
    PKTHREAD Thread = Block->Thread;

    Block->Pcr = Pcr;
    Pcr->OwnerRun = Pcr->LastOwner == Thread ? Pcr->OwnerRun + 1 : 0;
    Pcr->LastOwner = Thread;
    __atomic_store_n(&Pcr->PrcbData.CurrentThread, Thread, __ATOMIC_RELAXED);
    __atomic_store_n(&Pcr->Irql, DISPATCH_LEVEL, __ATOMIC_RELAXED);
    KiTakeOverAcquires(Block, Pcr);
}

/* Waits a while for the resident to go below DISPATCH_LEVEL. */
static BOOLEAN KiAwaitResident(PKPCR Pcr, PKI_SPIN Spin)
{
    ULONG Seen;

    for (ULONG Pause = 0; Pause < KI_TOKEN_SPINS && KiResidentIsAbove(Pcr); Pause += 1) {
        HalPause();
    }
    Seen = __atomic_load_n(&Pcr->PrcbData.ResidentIrql, __ATOMIC_ACQUIRE);
    if (Seen >= DISPATCH_LEVEL) {
        HalPark(&Pcr->PrcbData.ResidentIrql, Seen, KI_TOKEN_SLEEP);
        KiSpinSlept(Spin);
    }
    return !KiResidentIsAbove(Pcr);
}

/* A thread that was displaced from its residence notices. */
static VOID KiNoticeDisplacement(KPRCB_THREAD_BLOCK *Block)
{
    PKTHREAD Thread = Block->Thread;

    __atomic_fetch_sub(&Thread->Residence->StaleResidents, 1, __ATOMIC_SEQ_CST);
    Thread->Residence = NULL;
}

VOID KiLoseBias(KPRCB_THREAD_BLOCK *Block)
{
    PKTHREAD Thread = Block->Thread;
    PKPCR Pcr = Thread->Residence;

    Block->Fast = NULL;
    if (!Thread->Biased) {
        return;
    }
    Thread->Biased = FALSE;
    if (Thread->BiasThreshold < KI_LONGEST_BIAS_RUN) {
        Thread->BiasThreshold *= 2;
    }
    HalWake(&Pcr->PrcbData.ResidentIrql, 0x7FFFFFFF);
    if (__atomic_load_n(&Pcr->Resident, __ATOMIC_ACQUIRE) != Thread) {
        KiNoticeDisplacement(Block);
    }
}

/* The resident's own way up. FALSE: the bias was revoked. */
static BOOLEAN KiTakeByBias(KPRCB_THREAD_BLOCK *Block)
{
    PKPCR Pcr = Block->Thread->Residence;
    ULONG Request;

    if (KiMachine.Biased) {
        __atomic_store_n(&Pcr->PrcbData.ResidentIrql, DISPATCH_LEVEL, __ATOMIC_RELAXED);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        Request = __atomic_load_n(&Pcr->Request, __ATOMIC_ACQUIRE);
    } else {
        (VOID) __atomic_exchange_n(&Pcr->PrcbData.ResidentIrql, DISPATCH_LEVEL, __ATOMIC_SEQ_CST);
        Request = __atomic_load_n(&Pcr->Request, __ATOMIC_SEQ_CST);
    }
    if ((Request & KPCR_REQUEST_REVOKED) == 0) {
        Block->Pcr = Pcr;
        KiTakeOverAcquires(Block, Pcr);
        return TRUE;
    }
    (VOID) __atomic_exchange_n(&Pcr->PrcbData.ResidentIrql, PASSIVE_LEVEL, __ATOMIC_SEQ_CST);
    KiLoseBias(Block);
    /* A poster may have taken the passing DISPATCH_LEVEL for an owner that looks again. */
    if ((__atomic_load_n(&Pcr->Request, __ATOMIC_SEQ_CST) & KI_PENDING) != 0) {
        KiNudge(Pcr);
    }
    return FALSE;
}

VOID KiRegainBias(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr)
{
    PKTHREAD Thread = Block->Thread;

    if (Pcr->Resident != Thread || Pcr->OwnerRun < Thread->BiasThreshold ||
        __atomic_load_n(&Pcr->TokenWaiters, __ATOMIC_RELAXED) != 0 ||
        __atomic_load_n(&Pcr->TokenHeir, __ATOMIC_RELAXED) != NULL ||
        __atomic_load_n(&Pcr->StaleResidents, __ATOMIC_ACQUIRE) != 0) {
        return;
    }
    __atomic_store_n(&Pcr->PrcbData.ResidentIrql, DISPATCH_LEVEL, __ATOMIC_SEQ_CST);
    __atomic_fetch_and(&Pcr->Request, ~(ULONG)KPCR_REQUEST_REVOKED, __ATOMIC_SEQ_CST);
    Thread->Biased = TRUE;
    Pcr->OwnerRun = 0;
    KiFreeToken(Pcr);
}

/* Without having become the owner. */
static VOID KiDropToken(PKPCR Pcr)
{
    KiFreeToken(Pcr);
    /* A poster may have taken this thread for an owner, after the resident had looked for the last time. */
    if ((__atomic_load_n(&Pcr->Request, __ATOMIC_SEQ_CST) & KI_PENDING) != 0) {
        KiNudge(Pcr);
    }
}

BOOLEAN KiTryTakeProcessor(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr)
{
    PKTHREAD Thread = Block->Thread;

    if (Thread->Biased && Thread->Residence == Pcr && KiTakeByBias(Block)) {
        return TRUE;
    }
    if (!KiTryToken(Thread, Pcr)) {
        return FALSE;
    }
    if (Pcr->Resident != NULL && !KiRevokeBias(Pcr)) {
        KiDropToken(Pcr);
        return FALSE;
    }
    KiFinishTake(Block, Pcr);
    return TRUE;
}

/* Looks for a free processor of the affinity whose resident, if any, is not biased. */
static PKPCR KiFindFreeProcessor(PKTHREAD Thread, const GROUP_AFFINITY *Affinity, PKPCR Home)
{
    ULONG Base = Affinity->Group * KiMachine.GroupSize;
    ULONG Count = KiGroupProcessorCount(Affinity->Group);
    ULONG Start = (Home->PrcbData.Number - Base) % Count;
    ULONG Limit = Count < KI_SCAN_LIMIT ? Count : KI_SCAN_LIMIT;

    for (ULONG Step = 0; Step < Limit; Step += 1) {
        ULONG Index = (Start + Step) % Count;
        PKPCR Pcr = KiProcessor(Base + Index);

        if ((Affinity->Mask >> Index & 1) == 0) {
            continue;
        }
        if (Pcr != Home && __atomic_load_n(&Pcr->Resident, __ATOMIC_RELAXED) != NULL &&
            (__atomic_load_n(&Pcr->Request, __ATOMIC_RELAXED) & KPCR_REQUEST_REVOKED) == 0) {
            continue;
        }
        if (KiTryToken(Thread, Pcr)) {
            return Pcr;
        }
    }
    return NULL;
}

/* Last resort: a processor whose resident is biased but below DISPATCH_LEVEL. */
static PKPCR KiFindBiasedProcessor(PKTHREAD Thread, const GROUP_AFFINITY *Affinity)
{
    ULONG Base = Affinity->Group * KiMachine.GroupSize;
    ULONG Count = KiGroupProcessorCount(Affinity->Group);

    for (ULONG Index = 0; Index < Count; Index += 1) {
        PKPCR Pcr = KiProcessor(Base + Index);

        if ((Affinity->Mask >> Index & 1) != 0 && !KiResidentIsAbove(Pcr) && KiTryToken(Thread, Pcr)) {
            return Pcr;
        }
    }
    return NULL;
}

/* Sleeps until the token of Home may be free, at most Timeout ns. TRUE: it has been taken instead. */
static BOOLEAN KiSleepForToken(PKTHREAD Thread, PKPCR Home, ULONGLONG Timeout)
{
    ULONG Sequence = __atomic_load_n(&Home->TokenSequence, __ATOMIC_ACQUIRE);
    BOOLEAN Taken;

    __atomic_fetch_add(&Home->TokenWaiters, 1, __ATOMIC_SEQ_CST);
    Taken = KiTryToken(Thread, Home);
    if (!Taken) {
        __atomic_fetch_add(&KiSleepers, 1, __ATOMIC_RELAXED);
        HalPark(&Home->TokenSequence, Sequence, Timeout);
        __atomic_fetch_sub(&KiSleepers, 1, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&Home->TokenWaking, 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_sub(&Home->TokenWaiters, 1, __ATOMIC_SEQ_CST);
    return Taken;
}

/* The same as Home's heir. FALSE also if it has one. */
static BOOLEAN KiSleepAsHeir(PKTHREAD Thread, PKPCR Home, ULONGLONG Timeout)
{
    PKTHREAD Nobody = NULL;
    PKTHREAD Self = Thread;

    __atomic_store_n(&Thread->Inherited, 0, __ATOMIC_RELAXED);
    if (!__atomic_compare_exchange_n(&Home->TokenHeir, &Nobody, Thread, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        return FALSE;
    }
    /* A release that came before it was the heir has woken nobody. */
    if (KiTryToken(Thread, Home)) {
        /* Only the owner hands over, and that is this thread. */
        __atomic_store_n(&Home->TokenHeir, NULL, __ATOMIC_RELEASE);
        return TRUE;
    }
    __atomic_fetch_add(&KiSleepers, 1, __ATOMIC_RELAXED);
    HalPark(&Thread->Inherited, 0, Timeout);
    __atomic_fetch_sub(&KiSleepers, 1, __ATOMIC_RELAXED);
    if (__atomic_compare_exchange_n(&Home->TokenHeir, &Self, NULL, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        return FALSE;
    }
    /* Somebody is handing it over at this moment, or has. */
    while (__atomic_load_n(&Thread->Inherited, __ATOMIC_ACQUIRE) == 0) {
        HalPark(&Thread->Inherited, 0, KI_TOKEN_SLEEP);
    }
    return TRUE;
}

/* Takes the token of Home, or of another processor of the affinity (NULL: of Home only). Returns whose. */
static PKPCR KiTakeToken(PKTHREAD Thread, PKPCR Home, const GROUP_AFFINITY *Affinity)
{
    KI_SPIN Spin = {.Reason = "a processor", .Object = Home};
    ULONGLONG Timeout = KI_TOKEN_SLEEP;
    PKPCR Pcr = NULL;

    for (ULONG Round = 0; Pcr == NULL; Round += 1) {
        for (ULONG Step = 0; Pcr == NULL && Step < KI_TOKEN_SPINS; Step += 1) {
            HalPause();
            Pcr = KiTryToken(Thread, Home) ? Home : NULL;
        }
        if (Pcr == NULL && Affinity != NULL) {
            Pcr = KiFindFreeProcessor(Thread, Affinity, Home);
            if (Pcr == NULL && Round > 1) {
                Pcr = KiFindBiasedProcessor(Thread, Affinity);
            }
        }
        if (Pcr == NULL && (Affinity == NULL || !KiRestForProcessor(Thread, KiQueryOwner(Home)))) {
            if ((Round > 0 && KiSleepAsHeir(Thread, Home, Timeout)) || KiSleepForToken(Thread, Home, Timeout)) {
                Pcr = Home;
            } else {
                KiSpinSlept(&Spin);
                Timeout = Timeout < KI_LONGEST_TOKEN_SLEEP ? Timeout * 2 : Timeout;
            }
        }
    }
    KiEndSpin(&Spin);
    /* It may have been this thread that was woken for Home. */
    if (Pcr != Home && __atomic_load_n(&Home->TokenWaiters, __ATOMIC_SEQ_CST) != 0 &&
        __atomic_load_n(&Home->Owner, __ATOMIC_SEQ_CST) == NULL) {
        KiWakeTokenWaiter(Home);
    }
    return Pcr;
}

/* The token of Pcr is held, and its resident owns the processor: another one of the affinity, by token, or NULL. */
static PKPCR KiFindInstead(PKTHREAD Thread, PKPCR Pcr, const GROUP_AFFINITY *Affinity)
{
    PKPCR Other;

    if (Affinity == NULL || (Affinity->Mask & (Affinity->Mask - 1)) == 0) {
        return NULL;
    }
    Other = KiFindFreeProcessor(Thread, Affinity, Pcr);
    if (Other == NULL) {
        Other = KiFindBiasedProcessor(Thread, Affinity);
    }
    return Other;
}

/*
 * A resident that is above DISPATCH_LEVEL may be spinning for the caller: the caller waits for it with the token in
 * hand, and looks for another processor now and then.
 */
static VOID KiTakeSlowly(KPRCB_THREAD_BLOCK *Block, PKPCR Home, const GROUP_AFFINITY *Affinity)
{
    PKTHREAD Thread = Block->Thread;
    PKPCR Pcr = KiTryToken(Thread, Home) ? Home : KiTakeToken(Thread, Home, Affinity);
    KI_SPIN Spin = {.Reason = "the resident of a processor to lower its IRQL", .Object = Pcr, .Holding = TRUE};

    while (Pcr->Resident != NULL && !KiRevokeBias(Pcr) && !KiAwaitResident(Pcr, &Spin)) {
        PKPCR Other = KiFindInstead(Thread, Pcr, Affinity);

        if (Other != NULL) {
            KiDropToken(Pcr);
            Pcr = Other;
        }
    }
    KiEndSpin(&Spin);
    KiFinishTake(Block, Pcr);
    KiRegainBias(Block, Pcr);
}

VOID KiTakeProcessor(KPRCB_THREAD_BLOCK *Block)
{
    PKTHREAD Thread = Block->Thread;

    if (Thread->Biased && KiTakeByBias(Block)) {
        return;
    }
    if (Thread->Residence != NULL && __atomic_load_n(&Thread->Residence->Resident, __ATOMIC_ACQUIRE) != Thread) {
        KiNoticeDisplacement(Block);
    }
    KiTakeSlowly(Block, Block->Pcr, KiEffectiveAffinity(Thread));
}

VOID KiTakeThisProcessor(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr)
{
    if (Block->Thread->Biased && Block->Thread->Residence == Pcr && KiTakeByBias(Block)) {
        return;
    }
    KiTakeSlowly(Block, Pcr, NULL);
}

/* No interrupt comes any more. */
static VOID KiPublishLastAcquires(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr)
{
    if (__builtin_expect(Pcr->InterruptAcquires != 0, 0)) {
        Block->AcquireCount += Pcr->InterruptAcquires;
        Pcr->InterruptAcquires = 0;
        __atomic_fetch_and(&Pcr->Request, ~(ULONG)KPCR_REQUEST_COUNT, __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&Pcr->PrcbData.SpinLockAcquireCount, Block->AcquireCount, __ATOMIC_RELAXED);
}

VOID KiLetGoProcessor(KPRCB_THREAD_BLOCK *Block, KIRQL NewIrql)
{
    PKTHREAD Thread = Block->Thread;
    PKPCR Pcr = Block->Pcr;

    /* The level first: an interrupt that finds it at DISPATCH_LEVEL concludes that the thread owns the processor. */
    Block->Irql = NewIrql;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    KiPublishLastAcquires(Block, Pcr);
    if (__atomic_load_n(&Pcr->Owner, __ATOMIC_RELAXED) == Thread) {
        PKTHREAD Resident = Pcr->Resident;

        __atomic_store_n(&Pcr->PrcbData.CurrentThread, Resident != NULL ? Resident : Pcr->PrcbData.IdleThread,
                         __ATOMIC_RELAXED);
        __atomic_store_n(&Pcr->Irql, PASSIVE_LEVEL, __ATOMIC_RELAXED);
        KiFreeToken(Pcr);
        return;
    }
    if (KiMachine.Biased) {
        __atomic_store_n(&Pcr->PrcbData.ResidentIrql, NewIrql, __ATOMIC_RELEASE);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        Block->Fast = Pcr;
    } else {
        (VOID) __atomic_exchange_n(&Pcr->PrcbData.ResidentIrql, NewIrql, __ATOMIC_SEQ_CST);
    }
}

BOOLEAN KiIsOwned(PKPCR Pcr)
{
    if (__atomic_load_n(&Pcr->Owner, __ATOMIC_SEQ_CST) != NULL) {
        return TRUE;
    }
    if (__atomic_load_n(&Pcr->PrcbData.ResidentIrql, __ATOMIC_SEQ_CST) < DISPATCH_LEVEL) {
        return FALSE;
    }
#ifndef KPRCB_BREAK_SECOND_LOOK
    if (KiMachine.Biased) {
        KiProcessBarrier();
    }
#endif
    return __atomic_load_n(&Pcr->PrcbData.ResidentIrql, __ATOMIC_SEQ_CST) >= DISPATCH_LEVEL ||
           __atomic_load_n(&Pcr->Owner, __ATOMIC_SEQ_CST) != NULL;
}

PKTHREAD KiQueryOwner(PKPCR Pcr)
{
    PKTHREAD Owner = __atomic_load_n(&Pcr->Owner, __ATOMIC_ACQUIRE);
    PKTHREAD Resident = __atomic_load_n(&Pcr->Resident, __ATOMIC_ACQUIRE);

    /* A revoker holds the token already while the resident still owns. */
    return Resident != NULL && KiResidentIsAbove(Pcr) ? Resident : Owner;
}
