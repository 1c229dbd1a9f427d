/*
 * bench_list.c - lists under a spin lock: an entry to the tail and one from the head.
 */
#include "peers.h"

#include <kprcb/kprcb.h>

#define LINE __attribute__((aligned(128)))

static KSPIN_LOCK Lock LINE;
static LIST_ENTRY Head LINE = {&Head, &Head};
static LIST_ENTRY Entry LINE;

static inline void Pair(void *Context)
{
    (void)Context;
    (void)ExInterlockedInsertTailList(&Head, &Entry, &Lock);
    (void)ExInterlockedRemoveHeadList(&Head, &Lock);
}

static double PairSample(void *Context, double Seconds)
{
    return BenchLoop(Pair, Context, Seconds, 4096);
}

static void Lists(const BENCH_ROW *Row)
{
    BENCH_PLAN Plan = BenchPlan(1, 0);
    BENCH_SIDE Sides[] = {{"interlocked", PairSample, NULL, NULL},
                          {"spin_list", PeerPthreadSpinListSample, NULL, NULL},
                          {"mutex_list", PeerMutexListSample, NULL, NULL}};

    BenchCompare(Row, &Plan, Sides, 3, NULL);
}

const BENCH_ROW BenchListRows[] = {{"interlockedlist.pair",
                                    "ExInterlockedInsertTailList and ExInterlockedRemoveHeadList, one thread",
                                    {{"spin_list", 1.0, 0}, {"mutex_list", 0, 0}},
                                    Lists,
                                    0},
                                   {0}};
