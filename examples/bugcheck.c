/*
 * bugcheck.c - catching a bug check: a lock is released twice.
 */
#include <kprcb/bugcheck.h>
#include <kprcb/spinlock.h>
#include <stdio.h>

static VOID ReleaseTwice(PVOID Context)
{
    PKSPIN_LOCK Lock = (PKSPIN_LOCK)Context;
    KIRQL OldIrql;

    KeAcquireSpinLock(Lock, &OldIrql);
    KeReleaseSpinLock(Lock, OldIrql);
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeReleaseSpinLock(Lock, OldIrql);
}

int main(void)
{
    KPRCB_BUGCHECK BugCheck;
    KSPIN_LOCK Lock;

    KeInitializeSpinLock(&Lock);
    if (!KprcbCatchBugCheck(ReleaseTwice, &Lock, &BugCheck)) {
        printf("no bug check: is this a free build?\n");
        return 1;
    }
    printf("bug check 0x%02X, %s\n", (unsigned)BugCheck.Code, KprcbBugCheckName(BugCheck.Code));
    printf("the first parameter is %s\n", BugCheck.Parameter[0] == (ULONG_PTR)&Lock ? "the lock" : "something else");
    printf("IRQL afterwards: %u\n", KeGetCurrentIrql());
    return BugCheck.Code != SPIN_LOCK_NOT_OWNED || KeGetCurrentIrql() != PASSIVE_LEVEL;
}
