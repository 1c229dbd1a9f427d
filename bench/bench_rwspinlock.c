/*
 * bench_rwspinlock.c - EX_SPIN_LOCK: one reader, one writer, two readers.
 */
#include "race.h"

#include <kprcb/kprcb.h>

#define LINE __attribute__((aligned(128)))

static EX_SPIN_LOCK Lock LINE;

static inline void ReadPair(void *Context)
{
    (void)Context;
    ExReleaseSpinLockShared(&Lock, ExAcquireSpinLockShared(&Lock));
}

static inline void WritePair(void *Context)
{
    (void)Context;
    ExReleaseSpinLockExclusive(&Lock, ExAcquireSpinLockExclusive(&Lock));
}

static double ReadSample(void *Context, double Seconds)
{
    return BenchLoop(ReadPair, Context, Seconds, 4096);
}

static double WriteSample(void *Context, double Seconds)
{
    return BenchLoop(WritePair, Context, Seconds, 4096);
}

static void Alone(const BENCH_ROW *Row, const BENCH_SIDE *Sides)
{
    BENCH_PLAN Plan = BenchPlan(1, 2);

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

static void Reader(const BENCH_ROW *Row)
{
    BENCH_SIDE Sides[] = {{"shared", ReadSample, NULL, NULL},
                          {"ck_rwlock", PEER_IF_CK(PeerCkReadSample), NULL, NULL},
                          {"pthread_rwlock", PeerPthreadReadSample, NULL, NULL}};

    Alone(Row, Sides);
}

static void Writer(const BENCH_ROW *Row)
{
    BENCH_SIDE Sides[] = {{"exclusive", WriteSample, NULL, NULL},
                          {"ck_rwlock", PEER_IF_CK(PeerCkWriteSample), NULL, NULL},
                          {"pthread_rwlock", PeerPthreadWriteSample, NULL, NULL}};

    Alone(Row, Sides);
}

static void ReadWork(POOL_WORKER *Worker)
{
    KIRQL OldIrql;

    LOCK_WORK_LOOP(Worker, OldIrql = ExAcquireSpinLockShared(&Lock), (void)0, ExReleaseSpinLockShared(&Lock, OldIrql));
}

static void TwoReaders(const BENCH_ROW *Row)
{
    static const RIVAL Rivals[] = {
        {"ck_rwlock", PEER_IF_CK(PeerCkReadWork)}, {"pthread_rwlock", PeerPthreadReadWork}, {NULL, NULL}};
    BENCH_PLAN Plan = BenchPlan(2, 2);

    if (BenchNeedCpus(Row, 2)) {
        BenchRace(Row, &Plan, ReadWork, true, Rivals);
    }
}

const BENCH_ROW BenchRwSpinLockRows[] = {
    {"rwspin.shared",
     "reader/writer spin lock, one reader, IRQL included",
     {{"ck_rwlock", 1.05, 0}, {"pthread_rwlock", 0, 0}},
     Reader,
     0},
    {"rwspin.exclusive", "the same, one writer", {{"ck_rwlock", 0, 0}, {"pthread_rwlock", 0, 0}}, Writer, 0},
    {"rwspin.two",
     "the same, two readers on two processors",
     {{"ck_rwlock", 1.0, 0}, {"pthread_rwlock", 0, 0}},
     TwoReaders,
     0},
    {0}};
