/*
 * spinlocktest.h - what test_spinlock.c and test_spinlockmisuse.c share: the machine, the forms of acquire and
 * release, a thread that holds the lock.
 */
#ifndef SPINLOCKTEST_H
#define SPINLOCKTEST_H

#include "support/support.h"

#define UNWRITTEN 0xEE

static ULONG MachineFlags;
static KSPIN_LOCK Lock;

static inline int SetUp(void **State)
{
    (void)State;
    StartMachine(2, MachineFlags);
    assert_int_equal(KprcbAttachThread(0), STATUS_SUCCESS);
    return 0;
}

static inline int TearDown(void **State)
{
    (void)State;
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    StopMachine();
    return 0;
}

static inline BOOLEAN FreeBuild(void)
{
    return (MachineFlags & KPRCB_FREE_BUILD) != 0;
}

static inline KSPIN_LOCK LockWord(PKSPIN_LOCK SpinLock)
{
    return __atomic_load_n(SpinLock, __ATOMIC_ACQUIRE);
}

/* What the word of a lock says that the calling thread holds. */
static inline KSPIN_LOCK HeldValue(void)
{
    return FreeBuild() ? 1 : (KSPIN_LOCK)KeGetCurrentThread() | 1;
}

/* --- The forms: each acquires Lock and returns what its release needs --- */

static inline KIRQL AcquireByMacro(void)
{
    KIRQL Old = UNWRITTEN;

    KeAcquireSpinLock(&Lock, &Old);
    return Old;
}

static inline KIRQL AcquireRaising(void)
{
    return KeAcquireSpinLockRaiseToDpc(&Lock);
}

static inline KIRQL AcquireForDpc(void)
{
    return KeAcquireSpinLockForDpc(&Lock);
}

static inline KIRQL AcquireAtDpcLevel(void)
{
    KeAcquireSpinLockAtDpcLevel(&Lock);
    return KeGetCurrentIrql();
}

static inline KIRQL AcquireTrying(void)
{
    if (!KeTryToAcquireSpinLockAtDpcLevel(&Lock)) {
        abort();
    }
    return KeGetCurrentIrql();
}

static inline void ReleaseLowering(KIRQL Old)
{
    KeReleaseSpinLock(&Lock, Old);
}

static inline void ReleaseForDpc(KIRQL Old)
{
    KeReleaseSpinLockForDpc(&Lock, Old);
}

static inline void ReleaseFromDpcLevel(KIRQL Old)
{
    (void)Old;
    KeReleaseSpinLockFromDpcLevel(&Lock);
}

typedef struct {
    KIRQL (*Acquire)(void);
    void (*Release)(KIRQL Old);
    BOOLEAN Raises;
    BOOLEAN Tries;
} FORM;

static const FORM Forms[] = {
    {AcquireByMacro, ReleaseLowering, TRUE, FALSE},    {AcquireRaising, ReleaseLowering, TRUE, FALSE},
    {AcquireForDpc, ReleaseForDpc, TRUE, FALSE},       {AcquireAtDpcLevel, ReleaseFromDpcLevel, FALSE, FALSE},
    {AcquireTrying, ReleaseFromDpcLevel, FALSE, TRUE},
};

#define FORMS (sizeof(Forms) / sizeof(Forms[0]))

typedef struct {
    ULONG volatile Held, Go;
} HOLDER;

static inline void *HoldLock(void *Context)
{
    HOLDER *Holder = Context;
    KIRQL Old;

    if (KprcbAttachThread(1) != STATUS_SUCCESS) {
        abort();
    }
    KeAcquireSpinLock(&Lock, &Old);
    CountOne(&Holder->Held);
    while (__atomic_load_n(&Holder->Go, __ATOMIC_ACQUIRE) == 0) {
        YieldProcessor();
        sched_yield();
    }
    KeReleaseSpinLock(&Lock, Old);
    return NULL;
}

#endif
