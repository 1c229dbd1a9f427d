/*
 * threadtest.h - what the tests of threads that attach and end share.
 */
#ifndef TEST_THREADTEST_H
#define TEST_THREADTEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support/check.h"
#include "support/child.h"

#include "ki.h"

/* Gate counts threads that have come; they go on once Release is 1. */
static ULONG volatile Gate, Release;

static inline void OpenGates(void)
{
    Gate = Release = 0;
}

/* Raises and lowers, so that the processor on which the thread runs is owned once. */
static inline ULONG OwnOnce(void)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
    ULONG Number = KeGetCurrentProcessorNumberEx(NULL);

    KeLowerIrql(OldIrql);
    return Number;
}

/* A thread that stays attached by name until Release. */
static inline void *HoldProcessor(void *Context)
{
    NTSTATUS Status = KprcbAttachThread((ULONG)(ULONG_PTR)Context);

    CountOne(&Gate);
    AwaitCount(&Release, 1);
    return (void *)(ULONG_PTR)(ULONG)Status;
}

static inline NTSTATUS JoinForStatus(pthread_t Thread)
{
    void *Result;

    assert_int_equal(pthread_join(Thread, &Result), 0);
    return (NTSTATUS)(ULONG)(ULONG_PTR)Result;
}

static inline void *AttachOnce(void *Context)
{
    NTSTATUS Status = KprcbAttachThread((ULONG)(ULONG_PTR)Context);

    if (Status == STATUS_SUCCESS && OwnOnce() != (ULONG)(ULONG_PTR)Context) {
        Status = STATUS_UNSUCCESSFUL;
    }
    return (void *)(ULONG_PTR)(ULONG)Status;
}

static inline NTSTATUS AttachElsewhere(ULONG Number)
{
    return JoinForStatus(StartThread(AttachOnce, (void *)(ULONG_PTR)Number));
}

#endif
