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
 * For each hot lock (a slot, by its address) one thread works, the worker. A thread that comes to rest takes the next
 * turn that nobody has taken, sleeps until then, and becomes the worker. Nobody wakes it: whoever did would be running,
 * as would the worker, and a host puts a thread that wakes while every CPU is busy behind one of them for a tick. The
 * new worker tells the one before, which rests when it lowers, or after its next wait for a lock. A thread that works
 * there too, by turns, and finds its processor owned by the worker rests as well: the two would wake each other for each
 * lock. Who has not been at the lock lately, and whose processor it is too, does not rest.
 *
 * A heuristic: nothing rests on it. Every sleep is bounded, slots may be shared by locks, and a thread that is told to
 * rest may have left the lock for good.
 *
 *   word              written by                                                       read by
 *   Worker            exchange by whoever becomes it; the first that comes to a slot   those who wait for the lock or
 *                     without one, compare-exchange                                    the processor
 *   LastTurn          compare-exchange by whoever takes a turn                         those
 *   KTHREAD.RestAt    its thread; whoever takes over from it as the worker             its thread
 *   KTHREAD.WorksAt   its thread                                                       those who want its processor
 *   KiSleepers        (owner.c) threads that sleep for a processor, or here
 *
 * All relaxed: they order nothing. Tests: tests/ke/test_contention.c, tests/stress/stress_queuedlock.c. Benchmarks:
 * qspin.over8, qspin.over32, qspin.overcpu.
 */
#include "ki.h"

#define KI_WAITS 8
#define KI_HOT_PART 3  /* a lock is hot for a thread that spends one part in so many of its time waiting for it */
#define KI_TURN 100000 /* ns that a worker works alone */
#define KI_LONGEST_REST 50000000 /* ns */
#define KI_LATELY 10000000       /* ns */

typedef struct _KI_SLOT {
    DECLSPEC_ALIGN(KPRCB_CACHE_LINE) PKTHREAD volatile Worker;
    ULONGLONG volatile LastTurn; /* when the last turn that is taken begins, by HalMonotonicTime */
} KI_SLOT;

static KI_SLOT KiSlots[KI_LOCK_SLOTS];

VOID KiForgetHotLocks(VOID)
{
    for (ULONG Index = 0; Index < KI_LOCK_SLOTS; Index += 1) {
        KiSlots[Index] = (KI_SLOT){0};
    }
}

VOID KiDescribeHotLocks(PKI_DEBUG_WRITER Writer)
{
    KI_DESCRIBE_ADDRESS(Writer, "KiSlots", KiSlots);
    KiDescribe(Writer, "KiSlotCount", KI_LOCK_SLOTS, 0);
    KI_DESCRIBE_SIZE(Writer, KI_SLOT);
    KI_DESCRIBE_MEMBER(Writer, KI_SLOT, Worker);
    KI_DESCRIBE_MEMBER(Writer, KI_SLOT, LastTurn);
}

/* The slot of a lock; different locks may share one. */
static PKI_SLOT KiSlotOf(const volatile VOID *Lock)
{
    return &KiSlots[KiLockSlot(Lock)];
}

ULONGLONG KiBeginWait(KPRCB_THREAD_BLOCK *Block)
{
    BOOLEAN Outnumbered = KiIsCrowded() || __atomic_load_n(&KiSleepers, __ATOMIC_RELAXED) != 0;

    KiCount(&Block->Pcr->PrcbData.SpinLockContentionCount, 1);
    return Outnumbered && Block->Thread->Kind != KiMachineThread ? HalMonotonicTime() : 0;
}

/* The worker goes on, and so does the first that comes to a slot without one. */
static BOOLEAN KiMustRest(PKTHREAD Thread, PKI_SLOT Slot)
{
    PKTHREAD Worker = NULL;

    if (__atomic_compare_exchange_n(&Slot->Worker, &Worker, Thread, FALSE, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        __atomic_store_n(&Thread->WorksAt, Slot, __ATOMIC_RELAXED);
        return FALSE;
    }
    return Worker != Thread;
}

VOID KiEndWait(KPRCB_THREAD_BLOCK *Block, const volatile VOID *Lock, ULONGLONG Begin, ULONG Spins)
{
    PKTHREAD Thread = Block->Thread;
    ULONGLONG Now;

    KiCount(&Block->Pcr->PrcbData.SpinLockSpinCount, Spins);
    if (Begin == 0) {
        return;
    }
    if (KiRestIsDue(Thread)) {
        Block->Fast = NULL; /* the next lower must look */
        return;
    }
    Now = HalMonotonicTime();
    Thread->Waits += 1;
    Thread->Waited += Now - Begin;
    if (Thread->Waits < KI_WAITS) {
        return;
    }
    if (Thread->Waited >= (Now - Thread->FirstWait) / KI_HOT_PART && KiMustRest(Thread, KiSlotOf(Lock))) {
        __atomic_store_n(&Thread->RestAt, KiSlotOf(Lock), __ATOMIC_RELAXED);
        Block->Fast = NULL;
    }
    Thread->Waits = 0;
    Thread->Waited = 0;
    Thread->FirstWait = Now;
}

static ULONGLONG KiTakeTurn(PKI_SLOT Slot)
{
    ULONGLONG Now = HalMonotonicTime();
    ULONGLONG Last = __atomic_load_n(&Slot->LastTurn, __ATOMIC_RELAXED);
    ULONGLONG Turn;

    do {
        Turn = (Last > Now ? Last : Now) + KI_TURN;
        if (Turn - Now > KI_LONGEST_REST) {
            return Now + KI_LONGEST_REST;
        }
    } while (!__atomic_compare_exchange_n(&Slot->LastTurn, &Last, Turn, TRUE, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return Turn;
}

static VOID KiSleepUntil(ULONGLONG Time)
{
    ULONG volatile Nothing = 0;
    ULONGLONG Now;

    while ((Now = HalMonotonicTime()) < Time) {
        HalPark(&Nothing, 0, Time - Now);
    }
}

static VOID KiRestIn(PKTHREAD Thread, PKI_SLOT Slot)
{
    PKTHREAD Before;

    __atomic_fetch_add(&KiSleepers, 1, __ATOMIC_RELAXED);
    KiSleepUntil(KiTakeTurn(Slot));
    __atomic_fetch_sub(&KiSleepers, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&Thread->WorksAt, Slot, __ATOMIC_RELAXED);
    Thread->FirstWait = HalMonotonicTime();
    Before = __atomic_exchange_n(&Slot->Worker, Thread, __ATOMIC_RELAXED);
    if (Before != NULL && Before != Thread) {
        __atomic_store_n(&Before->RestAt, Slot, __ATOMIC_RELAXED);
    }
}

static BOOLEAN KiWorkedLately(PKTHREAD Thread)
{
    return HalMonotonicTime() - Thread->FirstWait < KI_LATELY;
}

VOID KiRestIfDue(KPRCB_THREAD_BLOCK *Block)
{
    PKTHREAD Thread = Block->Thread;
    PKI_SLOT Slot = __atomic_exchange_n(&Thread->RestAt, NULL, __ATOMIC_RELAXED);

    if (Slot != NULL && __atomic_load_n(&Slot->Worker, __ATOMIC_RELAXED) != Thread && KiWorkedLately(Thread)) {
        KiRestIn(Thread, Slot);
    }
}

BOOLEAN KiRestForProcessor(PKTHREAD Thread, PKTHREAD Owner)
{
    PKI_SLOT Slot = Owner != NULL ? __atomic_load_n(&Owner->WorksAt, __ATOMIC_RELAXED) : NULL;

    if (Slot == NULL || __atomic_load_n(&Slot->Worker, __ATOMIC_RELAXED) != Owner ||
        __atomic_load_n(&Thread->WorksAt, __ATOMIC_RELAXED) != Slot || !KiWorkedLately(Thread)) {
        return FALSE;
    }
    KiRestIn(Thread, Slot);
    return TRUE;
}
