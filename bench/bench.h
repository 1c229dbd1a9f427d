/*
 * bench.h - the door of the benchmark: rows, sides, plans, the thread pool and the host.
 *
 * A row compares one operation of the library with one or more peers in the same process, in turn: A B B A, or
 * A P1 P2 P2 P1 A with two peers. Each repetition gives one ratio a peer; what is reported is the median of these
 * ratios and their quartiles, which a machine that changes its speed disturbs less than it does the nanoseconds.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define BENCH_MAX_PEERS 3
#define BENCH_MAX_CPUS 1024
#define BENCH_MAX_POINTS 32
#define BENCH_GATE_NS 150.0

/* --- rows --- */

typedef struct _BENCH_PEER {
    const char *Name;
    double Target;  /* ratio to the peer, lower is better; 0: the comparison is for information */
    double Stretch; /* 0: none */
} BENCH_PEER;

#define BENCH_ROW_SCALES 1 /* a curve over numbers of threads: runs with --threads only */
#define BENCH_ROW_FAIR 2   /* its targets are met only if its share is not below the peer's */

typedef struct _BENCH_ROW {
    const char *Id;
    const char *What;
    BENCH_PEER Peers[BENCH_MAX_PEERS + 1]; /* ends with Name NULL */
    void (*Run)(const struct _BENCH_ROW *Row);
    unsigned Flags; /* BENCH_ROW_ values */
} BENCH_ROW;

static inline bool BenchScales(const BENCH_ROW *Row)
{
    return (Row->Flags & BENCH_ROW_SCALES) != 0;
}

/* Tables that end with Id NULL. */
extern const BENCH_ROW BenchIrqlRows[];
extern const BENCH_ROW BenchSpinLockRows[];
extern const BENCH_ROW BenchRwSpinLockRows[];
extern const BENCH_ROW BenchListRows[];
extern const BENCH_ROW BenchDpcRows[];
extern const BENCH_ROW BenchDpcThreadRows[];
extern const BENCH_ROW BenchIpiRows[];
extern const BENCH_ROW BenchMachineRows[];
extern const BENCH_ROW BenchCpuidRows[];
extern const BENCH_ROW BenchWatchRows[];

typedef struct _BENCH_RESULT {
    const BENCH_ROW *Row;
    const BENCH_PEER *Peer;
    double Ns, PeerNs;
    double Ratio, Q1, Q3;
    double Share, PeerShare; /* least / most served thread; below zero: does not apply */
    double Kib;              /* resident memory a processor; below zero: does not apply */
    double Gate;             /* ns one way between two CPUs, the median of the gates; below zero: not gated */
    int Threads, Processors;
    int Samples;
    bool Trend;
    int Run;
    char Note[200];
} BENCH_RESULT;

typedef struct _BENCH_SKIP {
    const BENCH_ROW *Row;
    bool Failed; /* should have worked */
    char Reason[160];
} BENCH_SKIP;

typedef struct _BENCH_OPTIONS {
    bool Quick;
    int Runs;
    int Points; /* numbers of threads given by --threads */
    int Threads[BENCH_MAX_POINTS];
    int Processors; /* 0: one for each CPU */
    double Seconds; /* of each point of a curve and each lock */
} BENCH_OPTIONS;

extern BENCH_OPTIONS BenchOptions;

/* --- harness.c --- */

/*
 * Name: that of a peer of the row; the measured side comes first and may be called anything. Sample: ns per operation,
 * or 0 and less when it failed and has called BenchFail; NULL when it is not built in. Share (may be NULL): the share
 * in the last sample.
 */
typedef struct _BENCH_SIDE {
    const char *Name;
    double (*Sample)(void *Context, double Seconds);
    void *Context;
    const double *Share;
} BENCH_SIDE;

typedef struct _BENCH_PLAN {
    double Seconds; /* of a sample */
    int Repetitions;
    bool Gated; /* ping-pong before and after each sample */
    bool Trend;
    int Threads, Processors;
} BENCH_PLAN;

/* The plan of a row whose threads have a CPU each, and of one whose threads outnumber the CPUs. */
BENCH_PLAN BenchPlan(int Threads, int Processors);
BENCH_PLAN BenchTrendPlan(int Threads, int Processors);

/*
 * Samples all sides in turn and adds one result a peer. Returns how many it added, and the first in *First (may be
 * NULL); they are the row's own until BenchPublish.
 */
int BenchCompare(const BENCH_ROW *Row, const BENCH_PLAN *Plan, const BENCH_SIDE *Sides, int Count,
                 BENCH_RESULT **First);

double BenchMedian(double *Values, int Count); /* sorts them */
double BenchQuantile(double *Sorted, int Count, double Quantile);

/* --- results.c --- */

/* A new result of the row that runs; NULL: too many. Only its thread writes it, until BenchPublish. */
BENCH_RESULT *BenchNewResult(void);
/* Shows the row's results to the reports. Called when a row has ended. */
void BenchPublish(int Run);
/* The row, or the part of it that Reason names, was not measured: it cannot be here, or it failed. */
void BenchSkip(const BENCH_ROW *Row, const char *Reason, ...) __attribute__((format(printf, 2, 3)));
void BenchFail(const BENCH_ROW *Row, const char *Reason, ...) __attribute__((format(printf, 2, 3)));
/* Appends to the note of a result. */
void BenchNote(BENCH_RESULT *Result, const char *Format, ...) __attribute__((format(printf, 2, 3)));

/* What was published so far; these entries change no more. */
const BENCH_RESULT *BenchResults(int *Count);
const BENCH_SKIP *BenchSkips(int *Count);
/* One line on stderr that follows the run, on a terminal; elsewhere a line a row. */
void BenchProgress(int Row, int Rows, const char *Id);
void BenchProgressStep(int Repetition, int Repetitions, int Threads);
void BenchProgressEnd(void);

/* Starts a machine, or says why the row cannot run. Stops it: the caller is detached, all others must be. */
bool BenchStartMachine(const BENCH_ROW *Row, int Processors);
void BenchStopMachine(const BENCH_ROW *Row);
/* FALSE, and the row is skipped, when the process may use fewer CPUs. */
bool BenchNeedCpus(const BENCH_ROW *Row, int Cpus);

static inline uint64_t BenchNow(void)
{
    struct timespec Now;

    clock_gettime(CLOCK_MONOTONIC, &Now);
    return (uint64_t)Now.tv_sec * 1000000000u + (uint64_t)Now.tv_nsec;
}

void BenchSleep(uint64_t Nanoseconds);

/*
 * Repeats Op for Seconds, looking at the clock every Batch operations. Inlined with its operation: an indirect call
 * would be a multiple of the cheapest one.
 */
static inline __attribute__((always_inline)) double BenchLoop(void (*Op)(void *), void *Context, double Seconds,
                                                              int Batch)
{
    uint64_t Limit = (uint64_t)(Seconds * 1e9);
    uint64_t Operations = 0;
    uint64_t Start = BenchNow(), Elapsed;

    do {
        for (int i = 0; i < Batch; i++) {
            Op(Context);
        }
        Operations += (uint64_t)Batch;
        Elapsed = BenchNow() - Start;
    } while (Elapsed < Limit);
    return (double)Elapsed / (double)Operations;
}

/* --- pool.c: threads that are started once and work in rounds --- */

typedef struct _POOL POOL;

typedef struct _POOL_WORKER {
    POOL *Pool;
    int Index;
    uint64_t Operations; /* by the worker, read after the round */
} __attribute__((aligned(128))) POOL_WORKER;

typedef bool POOL_ENTER(POOL_WORKER *Worker);
typedef void POOL_LEAVE(POOL_WORKER *Worker);
typedef void POOL_WORK(POOL_WORKER *Worker);

/*
 * Threads run Enter once, on all CPUs unless Enter pins them, then wait. NULL: a thread could not be created or its
 * Enter failed. Enter and Leave may be NULL.
 */
POOL *PoolCreate(int Threads, POOL_ENTER *Enter, POOL_LEAVE *Leave, void *Context);
void PoolDestroy(POOL *Pool); /* no round may be under way; NULL is allowed */
void *PoolContext(const POOL_WORKER *Worker);
/* A round: every worker runs Work, from a common start, until PoolExpired. Returns ns per operation of all together. */
double PoolSample(POOL *Pool, POOL_WORK *Work, double Seconds);
bool PoolExpired(POOL_WORKER *Worker);
/* A round in the background, which ends when Work looks at PoolStopped or at something of its own. */
void PoolPost(POOL *Pool, POOL_WORK *Work);
void PoolStop(POOL *Pool);
bool PoolStopped(const POOL_WORKER *Worker);
void PoolWait(POOL *Pool);
/* Least / most served thread of the last PoolSample. */
const double *PoolShare(const POOL *Pool);
/* Enter routines: to CPU 1, or to CPU Index; they wrap around. */
bool PoolEnterSecondCpu(POOL_WORKER *Worker);
bool PoolEnterOwnCpu(POOL_WORKER *Worker);
/* The host's id of worker 0, for pthread_kill. */
unsigned long PoolThread(const POOL *Pool, int Index);

/* --- host.c --- */

void BenchReadHost(void);
int BenchCpuCount(void);
void BenchPin(int Index);
void BenchUnpin(void);
bool BenchIsPinned(void);
/* Index of the CPU that the caller is on. */
int BenchCurrentCpu(void);
const char *BenchCpuModel(void);
double BenchCpuMHz(void);
const char *BenchKernel(void);
double BenchLoad(void); /* one minute, now */
double BenchLoadAtStart(void);
/* Resident memory of this process in KiB. */
double BenchResidentKib(void);

/* --- report.c, plot.c --- */

typedef struct _BENCH_STATE {
    bool Interrupted;
    double Elapsed; /* s */
} BENCH_STATE;

/* The median run of each (row, peer, threads), in order; *Count of them. NULL: no memory. The caller frees it. */
BENCH_RESULT *BenchMedianRuns(int *Count);
/* 1: met, 0: not, -1: no target. */
int BenchMet(const BENCH_RESULT *Result);
void BenchTable(FILE *Out, const BENCH_STATE *State);
void BenchJson(FILE *Out, const BENCH_STATE *State);
/* Writes Directory/ratios.svg, and scaling.svg if a curve was measured. FALSE: said why on stderr. */
bool BenchPlot(const char *Directory);

#endif
