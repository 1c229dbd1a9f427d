/*
 * bench_spinlock.c - spin locks and in-stack queued spin locks: alone, two threads, more threads than CPUs, more
 * processors than CPUs, and the scaling curve.
 *
 * The section adds one to a counter on a cache line of its own, unless the row says that it is empty.
 */
#include "race.h"

#include <kprcb/kprcb.h>

#define LINE __attribute__((aligned(128)))

static KSPIN_LOCK SpinLock LINE;
static KSPIN_LOCK QueuedLock LINE;
static LOCK_COUNTER Counter;

/* --- alone --- */

static inline void QueuedPair(void *Context)
{
    KLOCK_QUEUE_HANDLE Handle;

    (void)Context;
    KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle);
    KeReleaseInStackQueuedSpinLock(&Handle);
}

static inline void SpinPair(void *Context)
{
    KIRQL OldIrql;

    (void)Context;
    KeAcquireSpinLock(&SpinLock, &OldIrql);
    KeReleaseSpinLock(&SpinLock, OldIrql);
}

static double QueuedPairSample(void *Context, double Seconds)
{
    return BenchLoop(QueuedPair, Context, Seconds, 4096);
}

static double SpinPairSample(void *Context, double Seconds)
{
    return BenchLoop(SpinPair, Context, Seconds, 4096);
}

static void Alone(const BENCH_ROW *Row, const BENCH_SIDE *Sides, int Count)
{
    BENCH_PLAN Plan = BenchPlan(1, 2);

    if (!BenchStartMachine(Row, 2)) {
        return;
    }
    if (NT_SUCCESS(KprcbAttachThread(0))) {
        BenchCompare(Row, &Plan, Sides, Count, NULL);
    } else {
        BenchFail(Row, "KprcbAttachThread");
    }
    BenchStopMachine(Row);
}

static void QueuedAlone(const BENCH_ROW *Row)
{
    BENCH_SIDE Sides[] = {{"queued", QueuedPairSample, NULL, NULL}, {"pthread_mutex", PeerMutexSample, NULL, NULL}};

    Alone(Row, Sides, 2);
}

static void SpinAlone(const BENCH_ROW *Row)
{
    BENCH_SIDE Sides[] = {{"spin", SpinPairSample, NULL, NULL},
                          {"pthread_mutex", PeerMutexSample, NULL, NULL},
                          {"pthread_spin", PeerPthreadSpinSample, NULL, NULL}};

    Alone(Row, Sides, 3);
}

/* --- several threads --- */

static void QueuedWork(POOL_WORKER *Worker)
{
    KLOCK_QUEUE_HANDLE Handle LINE;

    LOCK_WORK_LOOP(Worker, KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle), LockCount(&Counter),
                   KeReleaseInStackQueuedSpinLock(&Handle));
}

static void QueuedEmptyWork(POOL_WORKER *Worker)
{
    KLOCK_QUEUE_HANDLE Handle LINE;

    LOCK_WORK_LOOP(Worker, KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle), (void)0,
                   KeReleaseInStackQueuedSpinLock(&Handle));
}

static void QueuedTwo(const BENCH_ROW *Row)
{
    static const RIVAL Rivals[] = {
        {"ck_mcs", PEER_IF_CK(PeerCkMcsWork)}, {"pthread_mutex", PeerMutexWork}, {NULL, NULL}};
    BENCH_PLAN Plan = BenchPlan(2, 2);

    if (BenchNeedCpus(Row, 2)) {
        BenchRace(Row, &Plan, QueuedWork, true, Rivals);
    }
}

static void QueuedOver(const BENCH_ROW *Row, int Threads)
{
    static const RIVAL Rivals[] = {{"pthread_mutex", PeerMutexWork}, {NULL, NULL}};
    BENCH_PLAN Plan = BenchTrendPlan(Threads, 2);

    BenchRace(Row, &Plan, QueuedWork, false, Rivals);
}

static void QueuedOver8(const BENCH_ROW *Row)
{
    QueuedOver(Row, 8);
}

static void QueuedOver32(const BENCH_ROW *Row)
{
    QueuedOver(Row, 32);
}

static void QueuedOverCpu(const BENCH_ROW *Row)
{
    static const RIVAL Rivals[] = {{"pthread_mutex", PeerMutexEmptyWork}, {NULL, NULL}};
    BENCH_PLAN Plan = BenchTrendPlan(8, 8);

    BenchRace(Row, &Plan, QueuedEmptyWork, true, Rivals);
}

/* --- the curve --- */

/* ck_mcs only while each thread has a CPU: beyond that each hand-over costs a time slice. */
static void QueuedScale(const BENCH_ROW *Row)
{
    int Processors = BenchOptions.Processors != 0 ? BenchOptions.Processors : BenchCpuCount();

    for (int i = 0; i < BenchOptions.Points; i++) {
        int Threads = BenchOptions.Threads[i];
        bool Fits = Threads <= BenchCpuCount();
        RIVAL Rivals[BENCH_MAX_PEERS + 1] = {{"pthread_mutex", PeerMutexWork}};
        BENCH_PLAN Plan = Fits ? BenchPlan(Threads, Processors) : BenchTrendPlan(Threads, Processors);

#ifdef KPRCB_HAVE_CK
        if (Fits) {
            Rivals[1] = (RIVAL){"ck_mcs", PeerCkMcsWork};
        }
#endif
        Plan.Seconds = Plan.Seconds < BenchOptions.Seconds / 6 ? Plan.Seconds : BenchOptions.Seconds / 6;
        Plan.Repetitions = (int)(BenchOptions.Seconds / (2 * Plan.Seconds));
        BenchRace(Row, &Plan, QueuedWork, false, Rivals);
    }
}

const BENCH_ROW BenchSpinLockRows[] = {
    {"qspin.uncontended",
     "in-stack queued spin lock, one resident, IRQL included",
     {{"pthread_mutex", 0.85, 0.60}},
     QueuedAlone,
     0},
    {"spin.uncontended",
     "KeAcquireSpinLock and KeReleaseSpinLock, one resident",
     {{"pthread_mutex", 0, 0}, {"pthread_spin", 0, 0}},
     SpinAlone,
     0},
    {"qspin.two",
     "in-stack queued spin lock, two residents on two processors",
     {{"ck_mcs", 1.03, 1.0}, {"pthread_mutex", 0, 0}},
     QueuedTwo,
     0},
    {"qspin.over8",
     "8 threads on 2 processors, attached by their first call",
     {{"pthread_mutex", 1.6, 1.0}},
     QueuedOver8,
     BENCH_ROW_FAIR},
    {"qspin.over32",
     "32 threads on 2 processors, attached by their first call",
     {{"pthread_mutex", 1.6, 1.0}},
     QueuedOver32,
     BENCH_ROW_FAIR},
    {"qspin.overcpu", "8 residents on 8 processors, empty section", {{"pthread_mutex", 3.0, 1.6}}, QueuedOverCpu, 0},
    {"qspin.scale",
     "in-stack queued spin lock over numbers of threads",
     {{"pthread_mutex", 0, 0}, {"ck_mcs", 0, 0}},
     QueuedScale,
     BENCH_ROW_SCALES},
    {0}};
