/*
 * queuedlock.c - an in-stack queued lock goes to its waiters in the order in which they came.
 */
#include <kprcb/machine.h>
#include <kprcb/processor.h>
#include <kprcb/queuedlock.h>
#include <pthread.h>
#include <stdio.h>

#define WAITERS 3

static KSPIN_LOCK Lock;
static ULONG Order[WAITERS];
static ULONG Served;

static void *Wait(void *Context)
{
    KLOCK_QUEUE_HANDLE Handle;

    KeAcquireInStackQueuedSpinLock(&Lock, &Handle);
    Order[Served++] = (ULONG)(ULONG_PTR)Context;
    KeReleaseInStackQueuedSpinLock(&Handle);
    return NULL;
}

int main(void)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = WAITERS + 1};
    pthread_t Threads[WAITERS];
    KLOCK_QUEUE_HANDLE Handle;
    int Wrong = 0;

    if (!NT_SUCCESS(KprcbStart(&Config)) || !NT_SUCCESS(KprcbAttachThread(0))) {
        return 1;
    }
    KeInitializeSpinLock(&Lock);
    KeAcquireInStackQueuedSpinLock(&Lock, &Handle);
    for (ULONG i = 0; i < WAITERS; i++) {
        /* The lock word is the address of the last node: when it changes, the thread has queued. */
        KSPIN_LOCK Last = __atomic_load_n(&Lock, __ATOMIC_ACQUIRE);

        if (pthread_create(&Threads[i], NULL, Wait, (void *)(ULONG_PTR)i) != 0) {
            return 1;
        }
        while (__atomic_load_n(&Lock, __ATOMIC_ACQUIRE) == Last) {
            YieldProcessor();
        }
        printf("thread %u has queued\n", (unsigned)i);
    }
    KeReleaseInStackQueuedSpinLock(&Handle);

    for (ULONG i = 0; i < WAITERS; i++) {
        pthread_join(Threads[i], NULL);
    }
    for (ULONG i = 0; i < WAITERS; i++) {
        printf("served as number %u: thread %u\n", (unsigned)i, (unsigned)Order[i]);
        Wrong |= Order[i] != i;
    }
    return Wrong;
}
