/*
 * irql.h - interrupt request level: KeRaiseIrql, KeLowerIrql and their kin.
 *
 * Below DISPATCH_LEVEL the level belongs to the thread. From DISPATCH_LEVEL up it belongs to the processor, and the
 * thread that runs there owns the processor: at most one thread at a time. Raising across DISPATCH_LEVEL takes the
 * processor and may wait for it; lowering across it runs the DPCs and serves the IPIs that came meanwhile, then lets
 * go.
 *
 * Raise and lower are inline. The thread that is biased to its processor (its resident, see KprcbAttachThread) pays two
 * plain stores and one load each; everyone else takes the slow path in the library. The protocol, word by word:
 *
 *   the resident raises   ResidentIrql = DISPATCH_LEVEL (relaxed), compiler fence, load Request (acquire).
 *                         No bit set: it owns the processor. Else the slow path decides.
 *   the resident lowers   ResidentIrql = level (release), compiler fence, load Request (acquire).
 *                         No bit set: done. Else the slow path takes the processor back and serves what came.
 *   a revoker             holds the token (KPCR.Owner), Request |= REVOKED (seq_cst), membarrier, then waits until
 *                         ResidentIrql (acquire) is below DISPATCH_LEVEL.
 *   a poster              Request |= bit (seq_cst). If it finds the processor owned by the resident: membarrier, and it
 *                         looks at ResidentIrql again.
 *
 * membarrier pairs with the two compiler fences: after it, either the resident's store is visible to the other side or
 * the resident's load comes later and sees the bit. Release of ResidentIrql pairs with the revoker's acquire.
 *
 * Writers and readers of each word are listed in prcb.h.
 *
 * KPRCB.SpinLockAcquireCount counts the acquires on the processor. Its owner alone writes it, and keeps it in AcquireCount of
 * its own block too:
 *
 *   who takes it out of line       copies the KPRCB's count to its block. A resident that may raise inline has been its only
 *                                  owner since then, so its copy is right.
 *   an acquire out of line         adds one to the block's count, and stores that to the KPRCB's.
 *   an inline acquire              adds one to the block's count, which is loaded and stored with Irql and HeldCount anyway. The
 *                                  inline release stores it to the KPRCB's with ResidentIrql, in one store on 64 bits.
 *   who forgets a lock out of line, or lets go out of line, stores it too.
 *   the host's interrupt           may come between such a load and its store. It leaves both counts as it has found them, adds
 *                                  what its routines acquired to KPCR.InterruptAcquires, and sets COUNT in Request; so the
 *                                  owner lets go out of line, where that is added.
 *
 * So the KPRCB's count lacks the lock that a biased resident holds by an inline acquire, and what is acquired in an interrupt
 * until the processor is let go; nothing once nobody owns the processor. An attempt that fails is not counted, nor is a
 * reader that becomes the writer. On a free build, neither is who acquires below DISPATCH_LEVEL.
 */
#ifndef KPRCB_IRQL_H
#define KPRCB_IRQL_H

#include <kprcb/prcb.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PASSIVE_LEVEL 0
#define LOW_LEVEL 0
#define APC_LEVEL 1
#define DISPATCH_LEVEL 2
#ifdef __i386__
#define CMCI_LEVEL 5
#define PROFILE_LEVEL 27
#define CLOCK1_LEVEL 28
#define CLOCK2_LEVEL 28
#define CLOCK_LEVEL 28
#define SYNCH_LEVEL 28
#define IPI_LEVEL 29
#define POWER_LEVEL 30
#define HIGH_LEVEL 31
#else
#define CMCI_LEVEL 5
#define SYNCH_LEVEL 12
#define CLOCK_LEVEL 13
#define IPI_LEVEL 14
#define DRS_LEVEL 14
#define POWER_LEVEL 14
#define PROFILE_LEVEL 15
#define HIGH_LEVEL 15
#endif

#define KPRCB_HELD_LOCKS 16

/*
 * KPRCB_THREAD_BLOCK.LockWord without AcquireCount: at DISPATCH_LEVEL with one lock. Below DISPATCH_LEVEL without a lock it is
 * the level.
 */
#define KPRCB_ONE_LOCK_AT_DISPATCH (1 << 8 | DISPATCH_LEVEL)
#define KPRCB_ONE_LOCK (1ull << 8)
#define KPRCB_ONE_ACQUIRE (1ull << 32)

/*
 * What the library keeps for each thread, in thread-local storage. Written by its thread alone. Not for use outside the
 * inline routines of these headers.
 */
typedef struct _KPRCB_THREAD_BLOCK {
    PKPCR Fast;      /* the processor to which this thread is biased; NULL: raise and lower take the slow path */
    PKTHREAD Thread; /* NULL until the thread's first call of the library */
    PKPCR Pcr;       /* the processor owned, else the home */
    KSPIN_LOCK SpinLockValue; /* what a KSPIN_LOCK holds that this thread owns */
    /* Tested and stored together by the locks' inline halves; never one half by a store and then both by a load. */
    union {
        struct {
            KIRQL Irql;
            UCHAR HeldCount;
            USHORT Zero;
            ULONG AcquireCount;
        };
        ULONG LockState;
        ULONGLONG LockWord;
    };
    BOOLEAN Checked;   /* misuse is a bug check */
    ULONG HeldSurplus; /* locks owned beyond KPRCB_HELD_LOCKS, which are not recorded */
    ULONG Masked;      /* above zero: no IPI is served, as with interrupts off */
    /* Locks held, the last one last (heldlock.c tells the two low bits). NULL from HeldCount up. */
    PVOID Held[KPRCB_HELD_LOCKS];
    KIRQL RaisedFrom[HIGH_LEVEL + 1]; /* for each level that is in force or was raised from: the level below it */
} KPRCB_THREAD_BLOCK;

extern KPRCB_API __thread KPRCB_THREAD_BLOCK KprcbThread __attribute__((tls_model("initial-exec")));

/* The out-of-line halves of the inline routines below; they do the whole job, whatever the level. */
KPRCB_API KIRQL KfRaiseIrql(KIRQL NewIrql);
KPRCB_API VOID KfLowerIrql(KIRQL NewIrql);

/*
 * KfLowerIrqlPending: ends a lower whose fast path found a request after it had let go.
 */
KPRCB_API VOID KfLowerIrqlPending(PKPCR Pcr);

/*
 * KeGetCurrentIrql (WDK: KeGetCurrentIrql)
 * The level of the calling thread, which from DISPATCH_LEVEL up is that of its processor. Any IRQL. Never fails.
 */
FORCEINLINE KIRQL KeGetCurrentIrql(VOID)
{
    return KprcbThread.Irql;
}

/*
 * KeRaiseIrqlToDpcLevel (WDK: KeRaiseIrqlToDpcLevel)
 * Raises to DISPATCH_LEVEL and takes the processor. IRQL <= DISPATCH_LEVEL; at DISPATCH_LEVEL it does nothing.
 * Returns the level before the call. Above DISPATCH_LEVEL: bug check IRQL_NOT_GREATER_OR_EQUAL.
 */
FORCEINLINE KIRQL KeRaiseIrqlToDpcLevel(VOID)
{
    PKPCR Pcr = KprcbThread.Fast;
    KIRQL OldIrql = KprcbThread.Irql;

    if (__builtin_expect(OldIrql < DISPATCH_LEVEL && Pcr != NULL, 1)) {
        __atomic_store_n(&Pcr->PrcbData.ResidentIrql, DISPATCH_LEVEL, __ATOMIC_RELAXED);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        if (__builtin_expect((__atomic_load_n(&Pcr->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_MASK) == 0, 1)) {
            KprcbThread.Irql = DISPATCH_LEVEL;
            if (__builtin_expect(KprcbThread.RaisedFrom[DISPATCH_LEVEL] != OldIrql, 0)) {
                KprcbThread.RaisedFrom[DISPATCH_LEVEL] = OldIrql;
            }
            return OldIrql;
        }
    }
    return KfRaiseIrql(DISPATCH_LEVEL);
}

/*
 * KeLowerIrql (WDK: KeLowerIrql) Restores NewIrql, the level that the matching raise returned. Going below
 * DISPATCH_LEVEL runs pending DPCs and serves pending IPIs first, then lets the processor go. Any IRQL >= NewIrql. A
 * level above the current one, or one that is not that of the matching raise: bug check IRQL_NOT_LESS_OR_EQUAL; on a
 * free build the level is just set, taking or letting go of the processor as the new level demands.
 */
FORCEINLINE VOID KeLowerIrql(KIRQL NewIrql)
{
    PKPCR Pcr = KprcbThread.Fast;

    if (__builtin_expect(KprcbThread.Irql == DISPATCH_LEVEL && Pcr != NULL &&
                             NewIrql == KprcbThread.RaisedFrom[DISPATCH_LEVEL],
                         1)) {
        KprcbThread.Irql = NewIrql;
        __atomic_store_n(&Pcr->PrcbData.ResidentIrql, NewIrql, __ATOMIC_RELEASE);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        if (__builtin_expect((__atomic_load_n(&Pcr->Request, __ATOMIC_ACQUIRE) & KPCR_REQUEST_MASK) != 0, 0)) {
            KfLowerIrqlPending(Pcr);
        }
        return;
    }
    KfLowerIrql(NewIrql);
}

/*
 * KeRaiseIrql (WDK: KeRaiseIrql) Raises to NewIrql and stores the level before the call in *OldIrql, last. From
 * APC_LEVEL up APCs stop, from DISPATCH_LEVEL up the caller owns its processor. Any IRQL <= NewIrql. A level below
 * the current one: bug check IRQL_NOT_GREATER_OR_EQUAL; on a free build the level is just set. A level above
 * HIGH_LEVEL is the same bug check on either build.
 */
#define KeRaiseIrql(NewIrql, OldIrql) (*(OldIrql) = KprcbRaiseIrql(NewIrql))

FORCEINLINE KIRQL KprcbRaiseIrql(KIRQL NewIrql)
{
    if (__builtin_constant_p(NewIrql) && NewIrql == DISPATCH_LEVEL) {
        return KeRaiseIrqlToDpcLevel();
    }
    return KfRaiseIrql(NewIrql);
}

/*
 * KeRaiseIrqlToSynchLevel (WDK: KeRaiseIrqlToSynchLevel)
 * Raises to SYNCH_LEVEL: 12 in x64's numbering, 28 on i386. IRQL <= SYNCH_LEVEL. Returns the level before the call.
 */
FORCEINLINE KIRQL KeRaiseIrqlToSynchLevel(VOID)
{
    return KfRaiseIrql(SYNCH_LEVEL);
}

/*
 * HalRequestSoftwareInterrupt (HAL). Pends a software interrupt, and takes it at once if the level allows.
 * DISPATCH_LEVEL: the DPCs of the current processor run on the way below DISPATCH_LEVEL. APC_LEVEL: what the APC
 * layer has registered runs, at APC_LEVEL, on the calling thread's way below APC_LEVEL; without one, nothing. Any
 * IRQL. Another level: bug check INVALID_SOFTWARE_INTERRUPT.
 */
KPRCB_API VOID HalRequestSoftwareInterrupt(KIRQL RequestIrql);

/*
 * HalClearSoftwareInterrupt (HAL). Takes the request back, if it is still pending: the calling thread's for
 * APC_LEVEL; the current processor's for DISPATCH_LEVEL, at or above DISPATCH_LEVEL and unless DPCs are queued. Any
 * IRQL. Another level: bug check INVALID_SOFTWARE_INTERRUPT.
 */
KPRCB_API VOID HalClearSoftwareInterrupt(KIRQL RequestIrql);

#ifdef __cplusplus
}
#endif

#endif
