/*
 * barrier.c - a barrier on every running thread of the process, by membarrier(2), shared by those who wait together.
 *
 * Barriers are numbered. HalpStarted is the number of the youngest barrier that was started, HalpCompleted of the
 * youngest that is complete. Both are written under HalpBarrierMutex only; HalpStarted is read without it.
 *
 * A caller reads HalpStarted, n, and then takes the mutex. If HalpCompleted is above n, a barrier did all the work:
 * its number was stored before its system call and was not there yet when the caller read, so this barrier began
 * after the read. Spelt out for the caller itself: the system call runs a full barrier at some point of the caller
 * too. Were this point before the read, the read would have seen the number. So it is after the read, hence after all
 * that the caller wrote before, and the same system call ran a full barrier in every other thread. The result comes
 * back to the caller by the mutex (release, acquire). Number n itself is not enough: its system call may have passed
 * some threads before the caller came. So of any number of callers that wait while one barrier runs, the first
 * executes the next barrier and the others share it.
 *
 * The numbers wrap round. HalpCompleted is at least n - 1, and the difference is read as signed: where it wraps, a
 * caller can only execute a barrier that it did not need.
 *
 * Lock order: HalpBarrierMutex is a leaf. A fork child may find it held by a thread that it has not;
 * HalInitializeBarrier sets all three words anew, and a child calls it before it has a second thread. Test:
 * tests/hal/test_barrier.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static HAL_MUTEX HalpBarrierMutex;
static ULONG HalpStarted;
static ULONG HalpCompleted;

BOOLEAN HalInitializeBarrier(VOID)
{
    const long Needed = MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
    int Saved = errno;
    BOOLEAN Present;
    long Known;

    __atomic_store_n(&HalpBarrierMutex.State, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&HalpCompleted, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&HalpStarted, 0, __ATOMIC_SEQ_CST);

    /* A host without the call, and one whose filter denies it, answer -1. */
    Known = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    Present = Known >= 0 && (Known & Needed) == Needed &&
              syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
    errno = Saved;
    return Present;
}

VOID HalProcessBarrier(VOID)
{
    int Saved = errno;
    ULONG Seen;
    ULONG Number;

    /* Keeps the compiler from moving the caller's stores below the read; for the CPU see above. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    Seen = __atomic_load_n(&HalpStarted, __ATOMIC_SEQ_CST);

    HalAcquireMutex(&HalpBarrierMutex);
    if ((LONG)(__atomic_load_n(&HalpCompleted, __ATOMIC_RELAXED) - Seen) <= 0) {
        Number = __atomic_load_n(&HalpStarted, __ATOMIC_RELAXED) + 1;
        __atomic_store_n(&HalpStarted, Number, __ATOMIC_SEQ_CST);
        while (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0) {
            /* The kernel allocates a CPU mask. Any other failure is final, and nobody can go on without the barrier. */
            if (errno != ENOMEM) {
                HalPrint("kprcb: membarrier fails, error %d\n", errno);
                HalAbort();
            }
            HalYield();
        }
        __atomic_store_n(&HalpCompleted, Number, __ATOMIC_RELAXED);
    }
    HalReleaseMutex(&HalpBarrierMutex);
    errno = Saved;
}
