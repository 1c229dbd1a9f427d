/*
 * rwspinlock.c - a table that many threads read and few change; a reader that finds it old becomes the writer.
 */
#include <kprcb/rwspinlock.h>
#include <pthread.h>
#include <stdio.h>

#define THREADS 4
#define ROUNDS 20000

static EX_SPIN_LOCK Lock; /* starts at 0 */
static ULONG Table[2];    /* both the same, unless somebody writes */
static ULONG volatile Changes, Torn;

static void *Work(void *Context)
{
    (void)Context;
    for (ULONG i = 0; i < ROUNDS; i++) {
        KIRQL OldIrql = ExAcquireSpinLockShared(&Lock);

        if (Table[0] != Table[1]) {
            __atomic_fetch_add(&Torn, 1, __ATOMIC_RELAXED);
        }
        if (i % 16 == 0 && ExTryConvertSharedSpinLockExclusive(&Lock)) {
            Table[0]++;
            Table[1]++;
            Changes++;
            ExReleaseSpinLockExclusive(&Lock, OldIrql);
        } else {
            ExReleaseSpinLockShared(&Lock, OldIrql);
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t Threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&Threads[i], NULL, Work, NULL) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(Threads[i], NULL);
    }
    printf("%u changes by readers that became the writer, %u torn reads\n", (unsigned)Changes, (unsigned)Torn);
    return Torn != 0 || Table[0] != Changes || Table[1] != Changes;
}
