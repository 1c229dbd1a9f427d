/*
 * park.c - sleep until a word changes, by futex(2), private to the process.
 *
 * Pairing: a sleeper announces itself in the kernel's queue, then the kernel reads the word; a waker changes the
 * word, then HalWake reads the queue. The kernel orders both sides with a full barrier, so one of the two sees the
 * other. A waker that decides by a word of its own whether to call HalWake at all needs the same order for that word.
 *
 * The call passes by the sanitizers' runtime: ThreadSanitizer learns the order from the atomic accesses to the word
 * alone.
 *
 * Test: tests/hal/test_park.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/time_types.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

BOOLEAN HalPark(ULONG volatile *Word, ULONG Expected, ULONGLONG Timeout)
{
    /* SYS_futex takes the kernel's old timespec on every target, whatever width the C library gives time_t. */
    struct __kernel_old_timespec Time;
    struct __kernel_old_timespec *Limit = NULL;
    int Saved = errno;
    BOOLEAN InTime = TRUE;

    if (Timeout != 0) {
        ULONGLONG Seconds = Timeout / 1000000000u;

        Time.tv_sec = Seconds > INT_MAX ? INT_MAX : (int)Seconds;
        Time.tv_nsec = (long)(Timeout % 1000000000u);
        Limit = &Time;
    }
    if (syscall(SYS_futex, Word, FUTEX_WAIT_PRIVATE, Expected, Limit, NULL, 0) != 0) {
        InTime = errno != ETIMEDOUT;
    }
    errno = Saved;
    return InTime;
}

VOID HalWake(ULONG volatile *Word, ULONG Count)
{
    int Saved = errno;

    (void)syscall(SYS_futex, Word, FUTEX_WAKE_PRIVATE, Count > INT_MAX ? INT_MAX : (int)Count, NULL, NULL, 0);
    errno = Saved;
}

VOID HalYield(VOID)
{
    (void)sched_yield();
}
