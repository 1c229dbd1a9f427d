/*
 * bench_ipi.c - KeIpiGenericCall over a machine whose other processor still spins.
 */
#include "peers.h"

#include <kprcb/kprcb.h>

static ULONG_PTR Broadcast(ULONG_PTR Argument)
{
    return Argument;
}

static inline void Call(void *Context)
{
    (void)Context;
    KeIpiGenericCall(Broadcast, 0);
}

static double CallSample(void *Context, double Seconds)
{
    for (int i = 0; i < 16; i++) {
        Call(Context); /* the other processor has left its park */
    }
    return BenchLoop(Call, Context, Seconds, 16);
}

static void Hot(const BENCH_ROW *Row)
{
    BENCH_PLAN Plan = BenchPlan(2, 2);
    POOL *Target;

    if (!BenchNeedCpus(Row, 2) || !BenchStartMachine(Row, 2)) {
        return;
    }
    Target = PoolCreate(1, PoolEnterSecondCpu, NULL, NULL);
    if (Target != NULL && NT_SUCCESS(KprcbAttachThread(0))) {
        BENCH_SIDE Sides[] = {{"ipi", CallSample, NULL, NULL}, {"pthread_kill", PeerKillSample, Target, NULL}};

        BenchCompare(Row, &Plan, Sides, 2, NULL);
    } else {
        BenchFail(Row, "no thread, or KprcbAttachThread");
    }
    PoolDestroy(Target);
    BenchStopMachine(Row);
}

const BENCH_ROW BenchIpiRows[] = {
    {"ipi.hot", "KeIpiGenericCall over two processors, the other one spins", {{"pthread_kill", 0.03, 0.02}}, Hot, 0},
    {0}};
