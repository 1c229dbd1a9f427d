/*
 * support.h - what the tests of src/ke share: starting machines, host threads, gates, and the size of a stress run.
 *
 * Threads meet at gates and wait for counts by spinning with YieldProcessor's host half; nothing here sleeps or looks
 * at a clock to decide whether a test passes.
 */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include <kprcb/kprcb.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

static inline KPRCB_CONFIG Configuration(ULONG Processors, ULONG GroupSize, ULONG Flags)
{
    return (KPRCB_CONFIG){
        .Size = sizeof(KPRCB_CONFIG), .ProcessorCount = Processors, .GroupSize = GroupSize, .Flags = Flags};
}

static inline void StartMachine(ULONG Processors, ULONG Flags)
{
    KPRCB_CONFIG Config = Configuration(Processors, 0, Flags);

    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
}

/* A machine that behaves like that version of NT. */
static inline void StartMachineAs(const char *Version, ULONG Processors, ULONG Flags)
{
    KPRCB_CONFIG Config = Configuration(Processors, 0, Flags);

    Config.Version = Version;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
}

static inline void StopMachine(void)
{
    NTSTATUS Status;

    /* An idle thread may still be on its way out of the last DPC. */
    do {
        Status = KprcbStop();
        sched_yield();
    } while (Status == STATUS_DEVICE_BUSY);
    assert_int_equal(Status, STATUS_SUCCESS);
}

/* Waits until *Count reaches at least Target. */
static inline void AwaitCount(ULONG volatile *Count, ULONG Target)
{
    while (__atomic_load_n(Count, __ATOMIC_ACQUIRE) < Target) {
        sched_yield();
    }
}

static inline void CountOne(ULONG volatile *Count)
{
    __atomic_fetch_add(Count, 1, __ATOMIC_ACQ_REL);
}

/* Holds the caller until Parties threads have come. Gate starts at 0 and serves once. */
static inline void MeetAtGate(ULONG volatile *Gate, ULONG Parties)
{
    CountOne(Gate);
    AwaitCount(Gate, Parties);
}

static inline pthread_t StartThread(void *(*Routine)(void *), void *Context)
{
    pthread_t Thread;

    assert_int_equal(pthread_create(&Thread, NULL, Routine, Context), 0);
    return Thread;
}

static inline void JoinThread(pthread_t Thread)
{
    assert_int_equal(pthread_join(Thread, NULL), 0);
}

/* Operations of a stress run: 10 million, 1 million under a sanitizer, or what KPRCB_STRESS_OPERATIONS says. */
static inline ULONG StressOperations(void)
{
    const char *Text = getenv("KPRCB_STRESS_OPERATIONS");

    if (Text != NULL) {
        return (ULONG)strtoul(Text, NULL, 10);
    }
    return TEST_SANITIZED ? 1000000 : 10000000;
}

/* A generator of pseudo-random numbers for one thread. Seed it with a non-zero value. */
static inline ULONG NextRandom(ULONG *State)
{
    ULONG Value = *State;

    Value ^= Value << 13;
    Value ^= Value >> 17;
    Value ^= Value << 5;
    return *State = Value;
}

#endif
