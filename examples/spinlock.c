/*
 * spinlock.c - four threads count under one spin lock.
 */
#include <kprcb/spinlock.h>
#include <pthread.h>
#include <stdio.h>

#define THREADS 4
#define ROUNDS 50000

static KSPIN_LOCK Lock;
static ULONG Count;

static void *Work(void *Context)
{
    KIRQL OldIrql;

    (void)Context;
    for (ULONG i = 0; i < ROUNDS; i++) {
        KeAcquireSpinLock(&Lock, &OldIrql);
        Count++;
        KeReleaseSpinLock(&Lock, OldIrql);
    }
    return NULL;
}

int main(void)
{
    pthread_t Threads[THREADS];

    KeInitializeSpinLock(&Lock);
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&Threads[i], NULL, Work, NULL) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(Threads[i], NULL);
    }
    printf("%d threads counted to %u, expected %u\n", THREADS, (unsigned)Count, THREADS * ROUNDS);
    printf("the lock is %s\n", KeTestSpinLock(&Lock) ? "free" : "held");
    return Count != THREADS * ROUNDS;
}
