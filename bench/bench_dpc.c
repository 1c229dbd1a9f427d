/*
 * bench_dpc.c - DPCs to another processor: throughput, and the way to a processor that spins or that has parked.
 */
#define _GNU_SOURCE
#include "peers.h"

#include <kprcb/kprcb.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LINE __attribute__((aligned(128)))

/* --- the machine of all rows here: the row's thread is the resident of processor 0, posts go to processor 1 --- */

static bool Open(const BENCH_ROW *Row)
{
    if (!BenchNeedCpus(Row, 2) || !BenchStartMachine(Row, 2)) {
        return false;
    }
    if (!NT_SUCCESS(KprcbAttachThread(0))) {
        BenchFail(Row, "KprcbAttachThread");
        BenchStopMachine(Row);
        return false;
    }
    return true;
}

static void Close(const BENCH_ROW *Row)
{
    KeFlushQueuedDpcs();
    BenchStopMachine(Row);
}

static void Prepare(KDPC *Dpc, PKDEFERRED_ROUTINE Routine, void *Context)
{
    PROCESSOR_NUMBER Target = {0, 1, 0};

    KeInitializeDpc(Dpc, Routine, Context);
    KeSetTargetProcessorDpcEx(Dpc, &Target);
    KeSetImportanceDpc(Dpc, MediumHighImportance);
}

/* --- throughput --- */

static KDPC Dpcs[PEER_OUTSTANDING] LINE; /* a line each, as the words of the peers are */
static uint64_t Ran LINE;                /* by the routine, on one processor (release); the poster reads (acquire) */

typedef struct _POSTER {
    uint64_t Posted;
    uint64_t Ran;     /* as last read */
    uint64_t Refused; /* inserts that found the DPC queued, which cannot be: it ran */
} POSTER;

static VOID CountRoutine(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    (void)Dpc, (void)DeferredContext, (void)SystemArgument1, (void)SystemArgument2;
    __atomic_store_n(&Ran, Ran + 1, __ATOMIC_RELEASE);
}

static inline void Post(void *Context)
{
    POSTER *Poster = Context;

    while (Poster->Posted - Poster->Ran == PEER_OUTSTANDING) {
        Poster->Ran = __atomic_load_n(&Ran, __ATOMIC_ACQUIRE);
    }
    Poster->Refused += !KeInsertQueueDpc(&Dpcs[Poster->Posted % PEER_OUTSTANDING], NULL, NULL);
    Poster->Posted++;
}

static double ThroughputSample(void *Context, double Seconds)
{
    uint64_t *Refused = Context;
    POSTER Poster = {0, 0, 0};
    double Ns;

    Ran = 0;
    Post(&Poster);
    Ns = BenchLoop(Post, &Poster, Seconds, 256);
    while (__atomic_load_n(&Ran, __ATOMIC_ACQUIRE) != Poster.Posted) {
    }
    *Refused += Poster.Refused;
    return Ns;
}

static void Throughput(const BENCH_ROW *Row)
{
    BENCH_PLAN Plan = BenchPlan(2, 2);
    uint64_t Refused = 0;
    POOL *Consumer;

    if (!Open(Row)) {
        return;
    }
    for (int i = 0; i < PEER_OUTSTANDING; i++) {
        Prepare(&Dpcs[i], CountRoutine, NULL);
    }
    Consumer = PoolCreate(1, PoolEnterSecondCpu, NULL, NULL);
    if (Consumer != NULL) {
        BENCH_SIDE Sides[] = {{"dpc", ThroughputSample, &Refused, NULL},
                              {"eventfd_list", PeerEventListSample, Consumer, NULL}};
        BENCH_RESULT *Result;

        if (BenchCompare(Row, &Plan, Sides, 2, &Result) > 0 && Refused > 0) {
            BenchNote(Result, "%llu inserts refused", (unsigned long long)Refused);
        }
    }
    PoolDestroy(Consumer);
    Close(Row);
}

/* --- hot --- */

static inline void Trip(void *Context)
{
    uint64_t *Count = Context;

    KeInsertQueueDpc(&Dpcs[0], NULL, NULL);
    ++*Count;
    while (__atomic_load_n(&Ran, __ATOMIC_ACQUIRE) != *Count) {
    }
}

/* Half a round trip, as the peers: the word that the routine writes is the way back. */
static double HotSample(void *Context, double Seconds)
{
    uint64_t Count = 0;

    (void)Context;
    Ran = 0;
    for (int i = 0; i < 16; i++) {
        Trip(&Count); /* the processor has left its park and spins between DPCs */
    }
    return BenchLoop(Trip, &Count, Seconds, 64) / 2;
}

static void Hot(const BENCH_ROW *Row)
{
    BENCH_PLAN Plan = BenchPlan(2, 2);
    POOL *Partner;

    if (!Open(Row)) {
        return;
    }
    Prepare(&Dpcs[0], CountRoutine, NULL);
    Partner = PoolCreate(1, PoolEnterSecondCpu, NULL, NULL);
    if (Partner != NULL) {
        BENCH_SIDE Sides[] = {{"dpc", HotSample, NULL, NULL},
                              {"spin_flag", PeerSpinFlagSample, Partner, NULL},
                              {"spin_pair", PeerSpinPairSample, Partner, NULL},
                              {"eventfd", PeerEventfdSample, Partner, NULL}};

        BenchCompare(Row, &Plan, Sides, 4, NULL);
    }
    PoolDestroy(Partner);
    Close(Row);
}

/* --- parked --- */

static VOID StampRoutine(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    PEER_LATENCY *Latency = DeferredContext;

    (void)Dpc, (void)SystemArgument1, (void)SystemArgument2;
    __atomic_store_n(&Latency->Stamp, BenchNow(), __ATOMIC_RELEASE);
}

static void PostStamp(PEER_LATENCY *Latency)
{
    (void)Latency;
    KeInsertQueueDpc(&Dpcs[0], NULL, NULL);
}

static int Pipe[2];

static bool EnterTarget(POOL_WORKER *Worker)
{
    (void)Worker;
    return NT_SUCCESS(KprcbAttachThread(1));
}

static void LeaveTarget(POOL_WORKER *Worker)
{
    (void)Worker;
    KprcbDetachThread();
}

static void WaitInHost(POOL_WORKER *Worker)
{
    char Byte;

    (void)Worker;
    while (read(Pipe[0], &Byte, 1) < 0) {
    }
}

static void Compute(POOL_WORKER *Worker)
{
    while (!PoolStopped(Worker)) {
    }
}

/* Resident: what the resident of processor 1 does meanwhile, for the peer's samples too; NULL: there is none. */
static void Parked(const BENCH_ROW *Row, POOL_WORK *Resident)
{
    BENCH_PLAN Plan = BenchPlan(2, 2);
    PEER_LATENCY Own = {.Post = PostStamp, .Event = -1};
    PEER_LATENCY Peer = {.Post = PeerEventPost, .Event = eventfd(0, EFD_CLOEXEC)};
    BENCH_SIDE Sides[] = {{"dpc", PeerLatencySample, &Own, NULL}, {"eventfd", PeerLatencySample, &Peer, NULL}};
    POOL *Target = NULL, *Consumer;

    Plan.Gated = false; /* wake-ups of 10 us and more do not show the way of a word */
    if (Peer.Event < 0 || pipe(Pipe) != 0) {
        BenchFail(Row, "no eventfd or pipe");
        return;
    }
    if (Open(Row)) {
        Prepare(&Dpcs[0], StampRoutine, &Own);
        Target = Resident != NULL ? PoolCreate(1, EnterTarget, LeaveTarget, NULL) : NULL;
        Consumer = PoolCreate(1, PoolEnterSecondCpu, NULL, &Peer);
        if (Consumer == NULL || (Resident != NULL && Target == NULL)) {
            BenchFail(Row, "no thread, or it could not be attached to processor 1");
        } else {
            PoolPost(Consumer, PeerEventConsumer);
            if (Target != NULL) {
                PoolPost(Target, Resident);
            }
            BenchCompare(Row, &Plan, Sides, 2, NULL);
            PoolStop(Consumer);
            PeerEventEnd(&Peer);
            PoolWait(Consumer);
            if (Target != NULL) {
                PoolStop(Target);
                if (write(Pipe[1], "", 1) != 1) {
                    BenchFail(Row, "pipe");
                }
                PoolWait(Target);
            }
        }
        PoolDestroy(Target);
        PoolDestroy(Consumer);
        Close(Row);
    }
    close(Pipe[0]);
    close(Pipe[1]);
    close(Peer.Event);
}

static void ParkedFree(const BENCH_ROW *Row)
{
    Parked(Row, NULL);
}

static void ParkedWaiting(const BENCH_ROW *Row)
{
    Parked(Row, WaitInHost);
}

static void ParkedComputing(const BENCH_ROW *Row)
{
    Parked(Row, Compute);
}

/* --- history: what it costs to know how long routines take --- */

/* The same for one routine by the host's clock. */
static struct {
    uint64_t Count, Total, Longest;
} Timed;

static uint64_t HostTime(void)
{
    struct timespec Now;

    clock_gettime(CLOCK_MONOTONIC, &Now);
    return (uint64_t)Now.tv_sec * 1000000000 + (uint64_t)Now.tv_nsec;
}

static VOID TimingRoutine(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    uint64_t Start = HostTime();
    uint64_t Elapsed;

    CountRoutine(Dpc, DeferredContext, SystemArgument1, SystemArgument2);
    Elapsed = HostTime() - Start;
    Timed.Count += 1;
    Timed.Total += Elapsed;
    Timed.Longest = Elapsed > Timed.Longest ? Elapsed : Timed.Longest;
}

static inline void RunHere(void *Context)
{
    KeInsertQueueDpc(Context, NULL, NULL);
}

static double HistorySample(void *Context, double Seconds)
{
    bool Recorded = Context != NULL;

    KprcbSetDpcHistory(Recorded);
    KeInitializeDpc(&Dpcs[0], Recorded ? CountRoutine : TimingRoutine, NULL);
    return BenchLoop(RunHere, &Dpcs[0], Seconds, 64);
}

static void History(const BENCH_ROW *Row)
{
    static char Recorded;
    BENCH_SIDE Sides[] = {{"dpc", HistorySample, &Recorded, NULL}, {"clock_gettime", HistorySample, NULL, NULL}};
    BENCH_PLAN Plan = BenchPlan(1, 2);

    if (Open(Row)) {
        BenchCompare(Row, &Plan, Sides, 2, NULL);
        KprcbSetDpcHistory(FALSE);
        Close(Row);
    }
}

const BENCH_ROW BenchDpcRows[] = {{"dpc.throughput",
                                   "DPCs to another processor, 256 outstanding at most",
                                   {{"eventfd_list", 1.0, 0.75}},
                                   Throughput,
                                   0},
                                  {"dpc.hot",
                                   "one DPC to a processor that still spins, half a round trip",
                                   {{"spin_flag", 2.0, 0}, {"spin_pair", 0, 0}, {"eventfd", 0.02, 0}},
                                   Hot,
                                   0},
                                  {"dpc.parked.free",
                                   "one DPC to a parked processor without a resident, until it runs",
                                   {{"eventfd", 1.05, 1.0}},
                                   ParkedFree,
                                   0},
                                  {"dpc.parked.waiting",
                                   "the same while its resident blocks in the host",
                                   {{"eventfd", 1.05, 1.0}},
                                   ParkedWaiting,
                                   0},
                                  {"dpc.parked.computing",
                                   "the same while its resident computes, on the same CPU, without calling the library",
                                   {{"eventfd", 1.05, 1.0}},
                                   ParkedComputing,
                                   0},
                                  {"dpc.history",
                                   "a DPC for the own processor, with its routine's times recorded",
                                   {{"clock_gettime", 1.0, 0}},
                                   History,
                                   0},
                                  {0}};
