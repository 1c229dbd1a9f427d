/*
 * clock.c - the host's clocks, in the units that the library uses.
 *
 * Test: tests/hal/test_clock.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
/* A 32-bit time_t ends in 2038, NT's system time does not. */
#undef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#undef _TIME_BITS
#define _TIME_BITS 64
#include "hal.h"

#include <time.h>

/* From 1601-01-01 to 1970-01-01: 369 years, 89 of them leap years. */
#define HALP_SECONDS_1601_TO_1970 ((369ull * 365 + 89) * 86400)

static ULONGLONG HalpNanoseconds(clockid_t Clock)
{
    struct timespec Time = {0, 0};

    (void)clock_gettime(Clock, &Time);
    return (ULONGLONG)Time.tv_sec * 1000000000ull + (ULONGLONG)Time.tv_nsec;
}

ULONGLONG HalMonotonicTime(VOID)
{
    return HalpNanoseconds(CLOCK_MONOTONIC);
}

ULONGLONG HalSystemTime(VOID)
{
    return HALP_SECONDS_1601_TO_1970 * 10000000ull + HalpNanoseconds(CLOCK_REALTIME) / 100;
}

ULONGLONG HalThreadTime(VOID)
{
    return HalpNanoseconds(CLOCK_THREAD_CPUTIME_ID);
}

/*
 * pthread_getcpuclockid wants a pthread_t, which must not have ended. Linux makes the clock's number from the thread's
 * id: the complement above three bits, 4 for a thread, 2 for the time it has run.
 */
BOOLEAN HalThreadTimeOf(LONG HostThreadId, ULONGLONG *Time)
{
    struct timespec Spent;

    if (HostThreadId <= 0 || clock_gettime((clockid_t)(~(ULONG)HostThreadId << 3 | 6), &Spent) != 0) {
        return FALSE;
    }
    *Time = (ULONGLONG)Spent.tv_sec * 1000000000ull + (ULONGLONG)Spent.tv_nsec;
    return TRUE;
}
