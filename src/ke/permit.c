/*
 * permit.c - soft permits: at most about one spinner a host CPU, where processors outnumber CPUs.
 *
 * A strict FIFO queue of spinners that share CPUs hands its lock to a preempted thread most of the time, and each hand-over costs a
 * time slice. So a thread that finds a queued lock held takes the permit of its CPU before it queues, and gives it back once it
 * owns the lock; those without a permit sleep and leave the CPU to the two that matter, the owner and the next.
 *
 * A heuristic: nothing rests on it. The wait is bounded, since code may spin at DISPATCH_LEVEL for another processor of the same CPU;
 * the sleepers serve IPIs each time they wake, and a host interrupt ends a sleep early.
 *
 *   State     0 free, 1 taken: compare-exchange (acquire) by whoever takes, store (release) by the holder
 *   Sleepers  read-modify-write by those who sleep on Sequence
 *   Sequence  incremented by the holder as it gives back, one time in KI_GIVES_A_WAKE: a wake-up costs more than many hand-overs
 *
 * Tests: tests/stress/stress_queuedlock.c. Benchmark: qspin.overcpu.
 */
#include "permit.h"

#define KI_PERMITS 64
#define KI_PERMIT_SLEEP 200000 /* ns */
#define KI_PERMIT_SLEEPS 10
#define KI_GIVES_A_WAKE 64

struct _KI_PERMIT {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) ULONG volatile State;
    ULONG volatile Sleepers;
    ULONG volatile Sequence;
    ULONG Gives; /* written by the holder */
};

static struct _KI_PERMIT KiPermits[KI_PERMITS];

static BOOLEAN KiTryPermit(PKI_PERMIT Permit)
{
    ULONG Free = 0;

    return __atomic_load_n(&Permit->State, __ATOMIC_RELAXED) == 0 &&
           __atomic_compare_exchange_n(&Permit->State, &Free, 1, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

PKI_PERMIT KiTakePermit(KPRCB_THREAD_BLOCK *Block)
{
    PKI_PERMIT Permit = &KiPermits[Block->Pcr->PrcbData.Number % KiMachine.HostProcessors % KI_PERMITS];

    for (ULONG Sleep = 0; Sleep < KI_PERMIT_SLEEPS; Sleep += 1) {
        ULONG Sequence;

        if (KiTryPermit(Permit)) {
            return Permit;
        }
        Sequence = __atomic_load_n(&Permit->Sequence, __ATOMIC_ACQUIRE);
        __atomic_fetch_add(&Permit->Sleepers, 1, __ATOMIC_RELAXED);
        HalPark(&Permit->Sequence, Sequence, KI_PERMIT_SLEEP);
        __atomic_fetch_sub(&Permit->Sleepers, 1, __ATOMIC_RELAXED);
        KiPoll(Block);
    }
    return NULL;
}

VOID KiGivePermit(PKI_PERMIT Permit)
{
    BOOLEAN Wake = ++Permit->Gives % KI_GIVES_A_WAKE == 0 && __atomic_load_n(&Permit->Sleepers, __ATOMIC_RELAXED) != 0;

    __atomic_store_n(&Permit->State, 0, __ATOMIC_RELEASE);
    if (Wake) {
        __atomic_fetch_add(&Permit->Sequence, 1, __ATOMIC_RELEASE);
        HalWake(&Permit->Sequence, 1);
    }
}
