/*
 * race.c - threads that fight for a lock of the library, beside threads that fight for a peer's.
 */
#include "race.h"

#include <kprcb/kprcb.h>

static bool EnterResident(POOL_WORKER *Worker)
{
    return NT_SUCCESS(KprcbAttachThread((ULONG)Worker->Index));
}

/* The first call attaches, as in a program that knows nothing of processors. */
static bool EnterAny(POOL_WORKER *Worker)
{
    (void)Worker;
    return KeGetCurrentThread() != NULL;
}

static void Leave(POOL_WORKER *Worker)
{
    (void)Worker;
    KprcbDetachThread();
}

int BenchRace(const BENCH_ROW *Row, const BENCH_PLAN *Plan, POOL_WORK *Work, bool Residents, const RIVAL *Rivals)
{
    POOL *Own, *Other;
    LOCK_RACE Races[BENCH_MAX_PEERS + 1];
    BENCH_SIDE Sides[BENCH_MAX_PEERS + 1];
    int Count = 1, Added = 0;

    if (!BenchStartMachine(Row, Plan->Processors)) {
        return 0;
    }
    Own = PoolCreate(Plan->Threads, Residents ? EnterResident : EnterAny, Leave, NULL);
    Other = PoolCreate(Plan->Threads, Residents ? PoolEnterOwnCpu : NULL, NULL, NULL);
    if (Own != NULL && Other != NULL) {
        Races[0] = (LOCK_RACE){Own, Work};
        Sides[0] = (BENCH_SIDE){"kprcb", LockRaceSample, &Races[0], Plan->Trend ? PoolShare(Own) : NULL};
        for (; Count <= BENCH_MAX_PEERS && Rivals[Count - 1].Name != NULL; Count++) {
            Races[Count] = (LOCK_RACE){Other, Rivals[Count - 1].Work};
            Sides[Count] = (BENCH_SIDE){Rivals[Count - 1].Name, Rivals[Count - 1].Work != NULL ? LockRaceSample : NULL,
                                        &Races[Count], Plan->Trend ? PoolShare(Other) : NULL};
        }
        Added = BenchCompare(Row, Plan, Sides, Count, NULL);
    } else {
        BenchFail(Row, "%d threads could not be started or attached", Plan->Threads);
    }
    PoolDestroy(Own);
    PoolDestroy(Other);
    BenchStopMachine(Row);
    return Added;
}
