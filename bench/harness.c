/*
 * harness.c - sampling, the gate and statistics.
 *
 * The gate: two threads on two CPUs hand one word to and fro. Beyond BENCH_GATE_NS one way the host was busy with
 * something else (or both virtual CPUs shared a core), and the sample before or after it is taken again, at most three
 * times.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#define MAX_REPETITIONS 2048
#define SETTLE_NS 300000 /* longer than an idle processor of the library spins before it parks */
#define GATE_TRIPS 100
#define GATE_GIVE_UP 12 /* samples in a row that failed: this host cannot do better */

void BenchSleep(uint64_t Nanoseconds)
{
    struct timespec Time = {.tv_sec = (time_t)(Nanoseconds / 1000000000u),
                            .tv_nsec = (long)(Nanoseconds % 1000000000u)};

    clock_nanosleep(CLOCK_MONOTONIC, 0, &Time, NULL);
}

static int Compare(const void *Left, const void *Right)
{
    double A = *(const double *)Left, B = *(const double *)Right;

    return (A > B) - (A < B);
}

double BenchQuantile(double *Sorted, int Count, double Quantile)
{
    double Position = Quantile * (Count - 1);
    int Below = (int)Position;

    if (Count == 0) {
        return 0;
    }
    return Below + 1 < Count ? Sorted[Below] + (Position - Below) * (Sorted[Below + 1] - Sorted[Below]) : Sorted[Below];
}

double BenchMedian(double *Values, int Count)
{
    qsort(Values, (size_t)Count, sizeof(*Values), Compare);
    return BenchQuantile(Values, Count, 0.5);
}

/* --- the gate --- */

static struct {
    POOL *Partner;
    int Cpu; /* where the partner is */
    uint32_t Word __attribute__((aligned(128)));
} Gate;

static void GatePartner(POOL_WORKER *Worker)
{
    (void)Worker;
    BenchPin(Gate.Cpu);
    for (uint32_t i = 0; i < GATE_TRIPS; i++) {
        while (__atomic_load_n(&Gate.Word, __ATOMIC_ACQUIRE) != 2 * i + 1) {
        }
        __atomic_store_n(&Gate.Word, 2 * i + 2, __ATOMIC_RELEASE);
    }
}

/* ns for the way of a word from one CPU to another: the median trip, since the first trips wait for the partner to
 * wake. */
static double GateMeasure(void)
{
    double Trips[GATE_TRIPS];

    Gate.Cpu = BenchCurrentCpu() + 1;
    Gate.Word = 0;
    PoolPost(Gate.Partner, GatePartner);
    for (uint32_t i = 0; i < GATE_TRIPS; i++) {
        uint64_t Start = BenchNow();

        __atomic_store_n(&Gate.Word, 2 * i + 1, __ATOMIC_RELEASE);
        while (__atomic_load_n(&Gate.Word, __ATOMIC_ACQUIRE) != 2 * i + 2) {
        }
        Trips[i] = (double)(BenchNow() - Start) / 2;
    }
    PoolWait(Gate.Partner);
    return BenchMedian(Trips, GATE_TRIPS);
}

/* --- sampling --- */

typedef struct _GATING {
    double Last; /* the gate before the next sample */
    int Failed;  /* samples that stayed outside */
    int FailedInRow;
    int Repeated;
    int Gates;
    double *Values; /* every gate */
} GATING;

static double SampleGated(const BENCH_SIDE *Side, const BENCH_PLAN *Plan, GATING *Gating)
{
    for (int Try = 0;; Try++) {
        double Ns = Side->Sample(Side->Context, Plan->Seconds);
        double Before = Gating->Last;

        BenchSleep(SETTLE_NS);
        Gating->Last = GateMeasure();
        if (Gating->Gates < 4 * MAX_REPETITIONS) {
            Gating->Values[Gating->Gates++] = Gating->Last;
        }
        if (Before <= BENCH_GATE_NS && Gating->Last <= BENCH_GATE_NS) {
            Gating->FailedInRow = 0;
            return Ns;
        }
        if (Try == 3 || Gating->FailedInRow >= GATE_GIVE_UP) {
            Gating->Failed++;
            Gating->FailedInRow++;
            return Ns;
        }
        Gating->Repeated++;
    }
}

static double SampleOnce(const BENCH_SIDE *Side, const BENCH_PLAN *Plan, GATING *Gating)
{
    double Ns;

    if (Plan->Gated && BenchCpuCount() > 1) {
        return SampleGated(Side, Plan, Gating);
    }
    Ns = Side->Sample(Side->Context, Plan->Seconds);
    BenchSleep(SETTLE_NS);
    return Ns;
}

BENCH_PLAN BenchPlan(int Threads, int Processors)
{
    return (BENCH_PLAN){.Seconds = 0.003,
                        .Repetitions = BenchOptions.Quick ? 9 : 41,
                        .Gated = Threads == 2,
                        .Threads = Threads,
                        .Processors = Processors};
}

BENCH_PLAN BenchTrendPlan(int Threads, int Processors)
{
    return (BENCH_PLAN){.Seconds = BenchOptions.Quick ? 0.03 : 0.1,
                        .Repetitions = BenchOptions.Quick ? 3 : 9,
                        .Trend = true,
                        .Threads = Threads,
                        .Processors = Processors};
}

static const BENCH_PEER *FindPeer(const BENCH_ROW *Row, const char *Name)
{
    for (const BENCH_PEER *Peer = Row->Peers; Peer->Name != NULL; Peer++) {
        if (strcmp(Peer->Name, Name) == 0) {
            return Peer;
        }
    }
    fprintf(stderr, "kprcb-bench: row %s has no peer %s\n", Row->Id, Name);
    abort();
}

/* Samples of one comparison; [0] is the measured side. */
typedef struct _SERIES {
    double Ns[MAX_REPETITIONS];
    double Ratio[MAX_REPETITIONS];
    double Share[MAX_REPETITIONS];
} SERIES;

static BENCH_RESULT *AddResult(const BENCH_ROW *Row, const BENCH_PLAN *Plan, const BENCH_SIDE *Sides, SERIES *All,
                               int Index, int Repetitions, GATING *Gating)
{
    SERIES *Own = &All[0], *Peer = &All[Index];
    BENCH_RESULT *Result = BenchNewResult();

    if (Result == NULL) {
        return NULL;
    }
    *Result = (BENCH_RESULT){.Row = Row,
                             .Peer = FindPeer(Row, Sides[Index].Name),
                             .Ns = BenchMedian(Own->Ns, Repetitions),
                             .PeerNs = BenchMedian(Peer->Ns, Repetitions),
                             .Ratio = BenchMedian(Peer->Ratio, Repetitions),
                             .Share = Sides[0].Share != NULL ? BenchMedian(Own->Share, Repetitions) : -1,
                             .PeerShare = Sides[Index].Share != NULL ? BenchMedian(Peer->Share, Repetitions) : -1,
                             .Kib = -1,
                             .Gate = -1,
                             .Threads = Plan->Threads,
                             .Processors = Plan->Processors,
                             .Samples = Repetitions,
                             .Trend = Plan->Trend};
    Result->Q1 = BenchQuantile(Peer->Ratio, Repetitions, 0.25);
    Result->Q3 = BenchQuantile(Peer->Ratio, Repetitions, 0.75);
    if (Gating->Gates > 0) {
        Result->Gate = BenchMedian(Gating->Values, Gating->Gates);
        if (Gating->Failed > 0) {
            BenchNote(Result, "%d samples kept beyond the gate of %.0f ns", Gating->Failed, BENCH_GATE_NS);
        }
        if (Gating->Repeated > 0) {
            BenchNote(Result, "%d samples repeated for the gate", Gating->Repeated);
        }
    }
    return Result;
}

int BenchCompare(const BENCH_ROW *Row, const BENCH_PLAN *Plan, const BENCH_SIDE *Sides, int Count, BENCH_RESULT **First)
{
    int Repetitions = Plan->Repetitions < MAX_REPETITIONS ? Plan->Repetitions : MAX_REPETITIONS;
    int Order[BENCH_MAX_PEERS + 1];
    int Used = 0, Added = 0;
    bool Pinned = false;
    GATING Gating = {0};
    SERIES *All = calloc((size_t)Count, sizeof(SERIES));

    Gating.Values = calloc(4 * MAX_REPETITIONS, sizeof(double));
    for (int i = 0; i < Count; i++) {
        if (Sides[i].Sample != NULL) {
            Order[Used++] = i;
        } else {
            BenchSkip(Row, "%s: not on this host when the benchmark was built", Sides[i].Name);
        }
    }
    if (All == NULL || Gating.Values == NULL) {
        BenchFail(Row, "no memory for the samples");
        goto Done;
    }
    if (Plan->Gated && BenchCpuCount() > 1) {
        if (Gate.Partner == NULL) {
            Gate.Partner = PoolCreate(1, NULL, NULL, NULL);
        }
        if (Gate.Partner == NULL) {
            BenchFail(Row, "no thread for the gate");
            goto Done;
        }
        if (!BenchIsPinned()) {
            BenchPin(0);
            Pinned = true;
        }
        Gating.Last = GateMeasure();
    }
    for (int i = 0; i < Used; i++) {
        Sides[Order[i]].Sample(Sides[Order[i]].Context, Plan->Seconds / 2); /* not counted: caches, first touches */
    }
    for (int r = 0; r < Repetitions; r++) {
        double Sum[BENCH_MAX_PEERS + 1] = {0}, Share[BENCH_MAX_PEERS + 1] = {0};

        BenchProgressStep(r, Repetitions, Plan->Threads);
        for (int i = 0; i < 2 * Used; i++) {
            int Index = Order[i < Used ? i : 2 * Used - 1 - i];

            double Ns = SampleOnce(&Sides[Index], Plan, &Gating);

            if (Ns <= 0) {
                goto Done;
            }
            Sum[Index] += Ns / 2;
            Share[Index] += Sides[Index].Share != NULL ? *Sides[Index].Share / 2 : 0;
        }
        for (int i = 0; i < Used; i++) {
            All[Order[i]].Ns[r] = Sum[Order[i]];
            All[Order[i]].Share[r] = Share[Order[i]];
            All[Order[i]].Ratio[r] = Sum[0] / Sum[Order[i]];
        }
    }
    for (int i = 1; i < Used; i++) {
        BENCH_RESULT *Result = AddResult(Row, Plan, Sides, All, Order[i], Repetitions, &Gating);

        if (Result != NULL && Added++ == 0 && First != NULL) {
            *First = Result;
        }
    }
Done:
    if (Pinned) {
        BenchUnpin();
    }
    free(Gating.Values);
    free(All);
    return Added;
}
