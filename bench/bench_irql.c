/*
 * bench_irql.c - raise to DISPATCH_LEVEL and lower, by the resident of a processor and by another thread.
 */
#include "peers.h"

#include <kprcb/kprcb.h>

static inline void RaiseLower(void *Context)
{
    KIRQL OldIrql;

    (void)Context;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    KeLowerIrql(OldIrql);
}

static double RaiseLowerSample(void *Context, double Seconds)
{
    return BenchLoop(RaiseLower, Context, Seconds, 4096);
}

static void Resident(const BENCH_ROW *Row)
{
    BENCH_PLAN Plan = BenchPlan(1, 2);
    BENCH_SIDE Sides[] = {{"resident", RaiseLowerSample, NULL, NULL},
                          {"cas_token", PeerCasTokenSample, NULL, NULL},
                          {"pthread_mutex", PeerMutexSample, NULL, NULL}};

    if (!BenchStartMachine(Row, 2)) {
        return;
    }
    if (NT_SUCCESS(KprcbAttachThread(0))) {
        BenchCompare(Row, &Plan, Sides, 3, NULL);
    } else {
        BenchFail(Row, "KprcbAttachThread");
    }
    BenchStopMachine(Row);
}

static bool EnterOnly(POOL_WORKER *Worker)
{
    (void)Worker;
    return NT_SUCCESS(KprcbAttachThread(0));
}

static void LeaveOnly(POOL_WORKER *Worker)
{
    (void)Worker;
    KprcbDetachThread();
}

/* The one processor has a resident already, which sleeps: this thread takes the token each time. */
static void Token(const BENCH_ROW *Row)
{
    BENCH_PLAN Plan = BenchPlan(1, 1);
    BENCH_SIDE Sides[] = {{"not resident", RaiseLowerSample, NULL, NULL},
                          {"cas_token", PeerCasTokenSample, NULL, NULL}};
    POOL *Pool;

    if (!BenchStartMachine(Row, 1)) {
        return;
    }
    Pool = PoolCreate(1, EnterOnly, LeaveOnly, NULL);
    if (Pool != NULL) {
        BenchCompare(Row, &Plan, Sides, 2, NULL);
    } else {
        BenchFail(Row, "no resident");
    }
    PoolDestroy(Pool);
    BenchStopMachine(Row);
}

const BENCH_ROW BenchIrqlRows[] = {
    {"irql.raise_lower",
     "KeRaiseIrql and KeLowerIrql across DISPATCH_LEVEL by the resident",
     {{"cas_token", 0.20, 0.12}, {"pthread_mutex", 0, 0}},
     Resident,
     0},
    {"irql.token", "the same by a thread that is not the resident", {{"cas_token", 0, 0}}, Token, false},
    {0}};
