/*
 * dpcwatchdogtest.h - what the tests of the DPC watchdog share: machines with limits, and looks with a CPU time of the
 * test's own, on machines whose clock does not look.
 */
#ifndef DPCWATCHDOGTEST_H
#define DPCWATCHDOGTEST_H

#include "ke/dpctest.h"

#include "ki.h"

#define MILLISECOND 1000000ull
#define BASE (1000000 * MILLISECOND)
#define LIMIT 10  /* ticks of a millisecond */
#define PERIOD 50 /* the same */

static inline KPRCB_CONFIG Limits(ULONG Timeout, ULONG Period)
{
    KPRCB_CONFIG Config = Configuration(2, 0, MachineFlags);

    Config.DpcTimeout = Timeout;
    Config.DpcWatchdogPeriod = Period;
    return Config;
}

/* A machine whose clock does not look, with limits on processor 0, whose resident is the caller. */
static inline PKPRCB StartUnwatchedAs(const char *Version)
{
    KPRCB_CONFIG Config = Limits(KPRCB_NO_DPC_TIMEOUT, KPRCB_NO_DPC_TIMEOUT);
    PKPRCB Prcb;

    Config.ThreadWatchdogPeriod = KPRCB_NO_DPC_TIMEOUT;
    Config.Version = Version;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    Prcb = KeGetCurrentPrcb();
    Prcb->DpcTimeLimit = LIMIT;
    Prcb->DpcWatchdogPeriod = PERIOD;
    return Prcb;
}

static inline PKPRCB StartUnwatched(void)
{
    return StartUnwatchedAs(NULL);
}

static inline ULONG WatchBits(void)
{
    return __atomic_load_n(&KeGetPcr()->Request, __ATOMIC_RELAXED) & (KPCR_REQUEST_WATCHED | KPCR_REQUEST_OVERDUE);
}

/* A look after that many milliseconds of CPU time, plus a bit. */
static inline BOOLEAN Look(ULONG Milliseconds)
{
    return KiWatchProcessor(KeGetPcr(), KeGetCurrentThread(), KeGetCurrentThread()->HostId,
                            BASE + Milliseconds * MILLISECOND + 10);
}

#endif
