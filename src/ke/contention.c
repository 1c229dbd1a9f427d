/*
 * contention.c - resting from a hot lock where threads outnumber processors, or processors CPUs.
 *
 * A spin lock whose owners come from several processors without a break costs two or three transfers of a cache line
 * for each hand-over, and a time slice when the next in the queue is not running. Where more threads want processors
 * than there are, nothing is lost if one of them works alone for a while. So a thread that has had to wait for the
 * same lock several times in short order rests, once it has let go of its processor: it is below DISPATCH_LEVEL then,
 * where NT too may take its CPU away at any time. It holds nothing and waits in no queue, so the order of a queued
 * lock is untouched.
 *
 * For each hot lock (a slot, by its address) one thread works, the worker; one sleeps for a turn and then becomes the
 * worker, the next; the others sleep until the next wakes one of them to be next in its place. A worker that meets a
 * newer one in the lock rests in its turn.
 *
 * A heuristic: nothing rests on it. Every sleep is bounded, and slots may be shared by locks.
 *
 *   Worker     compare-exchange by whoever becomes it                     read by those who wait for the lock
 *   Next       NULL or reserved -> thread by compare-exchange; -> reserved, or NULL if nobody rests, by that thread
 *   Resting    read-modify-write by the others
 *   Sequence   incremented by the next as it becomes the worker; the others sleep on it
 *   KiSleepers  (owner.c) threads that sleep for a processor, or here
 *
 * All relaxed: they order nothing. Tests: tests/stress/stress_queuedlock.c. Benchmarks: qspin.over8, qspin.over32,
 * qspin.overcpu.
 */
#include "ki.h"

#define KI_SLOTS 64
#define KI_WAITS 8
#define KI_HOT_PART 3  /* a lock is hot for a thread that spends one part in so many of its time waiting for it */
#define KI_TURN 100000 /* ns that a worker works alone */
#define KI_LONGEST_REST 10000000 /* ns */

typedef struct _KI_SLOT {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) PKTHREAD volatile Worker;
    PKTHREAD volatile Next;
    ULONG volatile Sequence;
    ULONG volatile Resting;
} KI_SLOT, *PKI_SLOT;

static KI_SLOT KiSlots[KI_SLOTS];

VOID KiForgetHotLocks(VOID)
{
    for (ULONG Index = 0; Index < KI_SLOTS; Index += 1) {
        KiSlots[Index] = (KI_SLOT){0};
    }
}

/* The slot of a lock; different locks may share one. */
static PKI_SLOT KiSlotOf(const volatile VOID *Lock)
{
    return &KiSlots[(ULONG_PTR)Lock / 16 % 0xFFFFFFFF * 0x9E3779B1u >> 26 & (KI_SLOTS - 1)];
}

ULONGLONG KiBeginWait(KPRCB_THREAD_BLOCK *Block)
{
    BOOLEAN Outnumbered = KiMachine.Crowded || __atomic_load_n(&KiSleepers, __ATOMIC_RELAXED) != 0;

    return Outnumbered && Block->Thread->Kind != KiMachineThread ? HalMonotonicTime() : 0;
}

/* The worker goes on, and so does the first that comes to a slot without one. */
static BOOLEAN KiMustRest(PKTHREAD Thread, PKI_SLOT Slot)
{
    PKTHREAD Worker = NULL;

    return !__atomic_compare_exchange_n(&Slot->Worker, &Worker, Thread, FALSE, __ATOMIC_RELAXED, __ATOMIC_RELAXED) &&
           Worker != Thread;
}

VOID KiEndWait(KPRCB_THREAD_BLOCK *Block, const volatile VOID *Lock, ULONGLONG Begin)
{
    PKTHREAD Thread = Block->Thread;
    ULONGLONG Now;

    if (Begin == 0) {
        return;
    }
    Now = HalMonotonicTime();
    Thread->Waits += 1;
    Thread->Waited += Now - Begin;
    if (Thread->Waits < KI_WAITS) {
        return;
    }
    if (Thread->Waited >= (Now - Thread->FirstWait) / KI_HOT_PART && KiMustRest(Thread, KiSlotOf(Lock))) {
        Thread->RestFrom = Lock;
        Block->Fast = NULL; /* the next lower must look */
    }
    Thread->Waits = 0;
    Thread->Waited = 0;
    Thread->FirstWait = Now;
}

/* Next, while the one that was woken for it is on its way: a worker that rests now must not step in. */
#define KI_RESERVED ((PKTHREAD)KiSlots)

static BOOLEAN KiBecomeNext(PKTHREAD Thread, PKI_SLOT Slot, PKTHREAD Before)
{
    return __atomic_compare_exchange_n(&Slot->Next, &Before, Thread, FALSE, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Sleeps for a turn and becomes the worker. */
static VOID KiRestAsNext(PKTHREAD Thread, PKI_SLOT Slot)
{
    ULONG volatile Nothing = 0;
    BOOLEAN Others;

    HalPark(&Nothing, 0, KI_TURN);
    Others = __atomic_load_n(&Slot->Resting, __ATOMIC_RELAXED) != 0;
    __atomic_store_n(&Slot->Worker, Thread, __ATOMIC_RELAXED);
    __atomic_store_n(&Slot->Next, Others ? KI_RESERVED : NULL, __ATOMIC_RELAXED);
    __atomic_fetch_add(&Slot->Sequence, 1, __ATOMIC_RELAXED);
    HalWake(&Slot->Sequence, 1);
}

static VOID KiRest(PKTHREAD Thread, PKI_SLOT Slot)
{
    ULONG Sequence = __atomic_load_n(&Slot->Sequence, __ATOMIC_RELAXED);

    if (!KiBecomeNext(Thread, Slot, NULL)) {
        __atomic_fetch_add(&Slot->Resting, 1, __ATOMIC_RELAXED);
        HalPark(&Slot->Sequence, Sequence, KI_LONGEST_REST);
        __atomic_fetch_sub(&Slot->Resting, 1, __ATOMIC_RELAXED);
        if (!KiBecomeNext(Thread, Slot, KI_RESERVED) && !KiBecomeNext(Thread, Slot, NULL)) {
            return;
        }
    }
    KiRestAsNext(Thread, Slot);
}

VOID KiRestFromLock(KPRCB_THREAD_BLOCK *Block)
{
    PKTHREAD Thread = Block->Thread;
    PKI_SLOT Slot = KiSlotOf(Thread->RestFrom);

    Thread->RestFrom = NULL;
    __atomic_fetch_add(&KiSleepers, 1, __ATOMIC_RELAXED);
    KiRest(Thread, Slot);
    __atomic_fetch_sub(&KiSleepers, 1, __ATOMIC_RELAXED);
}
