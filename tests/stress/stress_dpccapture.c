/*
 * stress_dpccapture.c - stacks are captured while owners come and go.
 *
 * Instead of the clock a thread of the test looks at both processors, each time a tick of CPU time later, and interrupts
 * the owner that it has seen, who may have let go since, whether it was asked or not. Three threads own the two processors
 * for a few looks each. From one look to the next there are two captures at most, one that each has asked for. In the end
 * each capture is whole: of a processor that was past the threshold, with at least one address, and none behind the last.
 */
#include "support/support.h"

#include "ki.h"

#define WORKERS 3
#define PROCESSORS 2
#define THRESHOLD 2 /* ticks */
#define CAPTURE 32  /* pointers */
#define CAPTURES 16
#define TICK 1000000ull /* ns */

static ULONG volatile Looks, Stop;

static void LookAt(PKPCR Pcr, ULONGLONG Time)
{
    PKTHREAD Owner = KiQueryOwner(Pcr);
    LONG HostId = Owner != NULL ? __atomic_load_n(&Owner->HostId, __ATOMIC_RELAXED) : 0;

    (void)KiWatchProcessor(Pcr, Owner, HostId, Time);
    for (ULONG Count = 0; Count < 4 && Owner != NULL; Count += 1) {
        HalInterruptThread(HostId);
        for (ULONG Pause = 0; Pause < 200; Pause += 1) {
            HalPause();
        }
    }
}

static ULONG NextCapture(PKPCR Pcr)
{
    PKPRCB Prcb = &Pcr->PrcbData;

    return (ULONG)(__atomic_load_n(&Prcb->DpcWatchdogProfileCurrentEmptyCapture, __ATOMIC_RELAXED) -
                   Prcb->DpcWatchdogProfile) /
           CAPTURE;
}

static void *Look(void *Context)
{
    ULONG Rounds = StressOperations() / 2000 + 500;
    ULONG Next[PROCESSORS] = {0}, Now;

    for (ULONG Round = 1; Round <= Rounds; Round += 1) {
        for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
            LookAt(KiProcessor(Index), Round * TICK);
            Now = NextCapture(KiProcessor(Index));
            if ((Now - Next[Index]) % CAPTURES > 2) {
                abort();
            }
            Next[Index] = Now;
        }
        CountOne(&Looks);
        sched_yield();
    }
    CountOne(&Stop);
    return Context;
}

static void *Own(void *Context)
{
    ULONG Seed = (ULONG)(ULONG_PTR)Context;

    while (__atomic_load_n(&Stop, __ATOMIC_ACQUIRE) == 0) {
        KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
        ULONG Until = __atomic_load_n(&Looks, __ATOMIC_RELAXED) + NextRandom(&Seed) % 8;

        while ((LONG)(Until - __atomic_load_n(&Looks, __ATOMIC_RELAXED)) > 0 &&
               __atomic_load_n(&Stop, __ATOMIC_ACQUIRE) == 0) {
            (void)HalMonotonicTime(); /* where ThreadSanitizer lets an interrupt in */
        }
        KeLowerIrql(OldIrql);
    }
    return NULL;
}

/* FALSE: the capture has never been used. */
static BOOLEAN IsWhole(PVOID const *Capture)
{
    BOOLEAN Ended = FALSE;

    if (Capture[0] == NULL) {
        return FALSE;
    }
    assert_int_equal((ULONG_PTR)Capture[1], 0);
    assert_true((ULONG_PTR)Capture[2] >= THRESHOLD);
    assert_non_null(Capture[3]);
    for (ULONG Index = 3; Index < CAPTURE; Index += 1) {
        Ended = Ended || Capture[Index] == NULL;
        assert_true(!Ended || Capture[Index] == NULL);
    }
    return TRUE;
}

static void each_capture_is_whole(void **State)
{
    KPRCB_CONFIG Config = Configuration(PROCESSORS, 0, 0);
    pthread_t Threads[WORKERS + 1];
    ULONG Whole = 0;

    (void)State;
    Config.DpcTimeout = Config.DpcWatchdogPeriod = KPRCB_NO_DPC_TIMEOUT;
    Config.DpcWatchdogProfileCumulativeDpcThreshold = THRESHOLD;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    KiStopClock();
    for (ULONG Index = 0; Index < WORKERS; Index += 1) {
        Threads[Index] = StartThread(Own, (void *)(ULONG_PTR)(Index + 1));
    }
    Threads[WORKERS] = StartThread(Look, NULL);
    for (ULONG Index = 0; Index <= WORKERS; Index += 1) {
        JoinThread(Threads[Index]);
    }
    for (ULONG Index = 0; Index < PROCESSORS; Index += 1) {
        PKPRCB Prcb = &KiProcessor(Index)->PrcbData;
        LONG_PTR Next = Prcb->DpcWatchdogProfileCurrentEmptyCapture - Prcb->DpcWatchdogProfile;

        assert_true(Next >= 0 && Next < CAPTURES * CAPTURE && Next % CAPTURE == 0);
        for (ULONG Capture = 0; Capture < CAPTURES; Capture += 1) {
            Whole += IsWhole(Prcb->DpcWatchdogProfile + Capture * CAPTURE);
        }
    }
    assert_true(Whole > 0);
    assert_int_equal(KiStartClock(), STATUS_SUCCESS);
    StopMachine();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(each_capture_is_whole),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
