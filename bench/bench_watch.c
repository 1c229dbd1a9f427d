/*
 * bench_watch.c - what it costs threads that fight for a lock that `kprcb irql --watch` looks at them ten times a second.
 *
 * Both sides are the same threads at the same lock; beside one of them the command runs, which has taken its first look
 * before the sample begins.
 */
#define _GNU_SOURCE
#include "peers.h"

#include <fcntl.h>
#include <kprcb/kprcb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS 0.25 /* of a sample: two or three looks */
#define REPETITIONS 9

#ifndef PR_SET_PTRACER
#define PR_SET_PTRACER 0x59616d61
#define PR_SET_PTRACER_ANY ((unsigned long)-1)
#endif

typedef struct _WATCHED {
    const BENCH_ROW *Row;
    LOCK_RACE Race;
    char Command[4096];
    double Used, Watched; /* ns: CPU time of the command after its first look, and time in which it looked */
} WATCHED;

static KSPIN_LOCK QueuedLock __attribute__((aligned(128)));
static LOCK_COUNTER Counter;

static void Work(POOL_WORKER *Worker)
{
    KLOCK_QUEUE_HANDLE Handle __attribute__((aligned(128)));

    LOCK_WORK_LOOP(Worker, KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle), LockCount(&Counter),
                   KeReleaseInStackQueuedSpinLock(&Handle));
}

static bool EnterResident(POOL_WORKER *Worker)
{
    return NT_SUCCESS(KprcbAttachThread((ULONG)Worker->Index));
}

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

/* The command kprcb in the folder of this program, or what KPRCB_COMMAND names. */
static bool FindCommand(char *Path, size_t Size)
{
    const char *Named = getenv("KPRCB_COMMAND");
    ssize_t Length = readlink("/proc/self/exe", Path, Size - 16);

    if (Named != NULL) {
        snprintf(Path, Size, "%s", Named);
    } else if (Length > 0) {
        Path[Length] = 0;
        strcpy(strrchr(Path, '/'), "/kprcb");
    }
    return (Named != NULL || Length > 0) && access(Path, X_OK) == 0;
}

/* Returns when the command has looked once; *Output: what it prints. -1: it did not. */
static pid_t StartWatcher(const char *Command, int *Output)
{
    char Pid[16], Byte = 0;
    int Pipe[2];
    pid_t Child;

    if (pipe2(Pipe, O_CLOEXEC) != 0) {
        return -1;
    }
    snprintf(Pid, sizeof(Pid), "%d", (int)getpid());
    Child = vfork();
    if (Child == 0) {
        dup2(Pipe[1], STDOUT_FILENO);
        execl(Command, Command, "irql", "--pid", Pid, "--watch=0.1", "--json", (char *)NULL);
        _exit(127);
    }
    close(Pipe[1]);
    while (Child > 0 && Byte != '\n') {
        if (read(Pipe[0], &Byte, 1) <= 0) {
            waitpid(Child, NULL, 0);
            Child = -1;
        }
    }
    *Output = Pipe[0];
    return Child;
}

/* ns of CPU time that a process has used. */
static double UsedBy(pid_t Process)
{
    char Path[48];
    FILE *File;
    double Used = 0;

    snprintf(Path, sizeof(Path), "/proc/%d/schedstat", (int)Process);
    File = fopen(Path, "r");
    if (File != NULL) {
        if (fscanf(File, "%lf", &Used) != 1) {
            Used = 0;
        }
        fclose(File);
    }
    return Used;
}

static double WatchedSample(void *Context, double Seconds)
{
    WATCHED *Watched = Context;
    int Output = -1;
    pid_t Watcher = StartWatcher(Watched->Command, &Output);
    uint64_t Start = BenchNow();
    double Used, Ns;

    if (Watcher < 0) {
        BenchFail(Watched->Row, "%s cannot look into this process", Watched->Command);
        close(Output);
        return 0;
    }
    Used = UsedBy(Watcher);
    Ns = LockRaceSample(&Watched->Race, Seconds);
    Watched->Used += UsedBy(Watcher) - Used;
    Watched->Watched += (double)(BenchNow() - Start);
    kill(Watcher, SIGTERM);
    waitpid(Watcher, NULL, 0);
    close(Output);
    return Ns;
}

static double UnwatchedSample(void *Context, double Seconds)
{
    return LockRaceSample(&((WATCHED *)Context)->Race, Seconds);
}

static void Watch(const BENCH_ROW *Row, int Threads)
{
    static WATCHED Watched;
    BENCH_PLAN Plan = BenchTrendPlan(Threads, 2);
    BENCH_SIDE Sides[] = {{"watched", WatchedSample, &Watched, NULL}, {"unwatched", UnwatchedSample, &Watched, NULL}};
    BENCH_RESULT *Result;
    POOL *Pool;

    Plan.Seconds = SECONDS;
    Plan.Repetitions = BenchOptions.Quick ? 2 : REPETITIONS;
    Watched.Row = Row;
    Watched.Used = Watched.Watched = 0;
    if (!FindCommand(Watched.Command, sizeof(Watched.Command))) {
        BenchSkip(Row, "there is no command kprcb beside this program");
        return;
    }
    if (!BenchNeedCpus(Row, 2) || !BenchStartMachine(Row, 2)) {
        return;
    }
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    Pool = PoolCreate(Threads, Threads == 2 ? EnterResident : EnterAny, Leave, NULL);
    if (Pool != NULL) {
        Watched.Race = (LOCK_RACE){Pool, Work};
        if (BenchCompare(Row, &Plan, Sides, 2, &Result) > 0 && Watched.Watched > 0) {
            BenchNote(Result, "the command used %.2f %% of a CPU", 100 * Watched.Used / Watched.Watched);
        }
    } else {
        BenchFail(Row, "%d threads could not be started or attached", Threads);
    }
    PoolDestroy(Pool);
    BenchStopMachine(Row);
}

static void WatchTwo(const BENCH_ROW *Row)
{
    Watch(Row, 2);
}

static void WatchOver8(const BENCH_ROW *Row)
{
    Watch(Row, 8);
}

const BENCH_ROW BenchWatchRows[] = {
    {"watch.two",
     "two residents at a queued spin lock while `kprcb irql --watch=0.1` looks",
     {{"unwatched", 1.02, 0}},
     WatchTwo,
     0},
    {"watch.over8", "the same with 8 threads on 2 processors", {{"unwatched", 1.02, 0}}, WatchOver8, 0},
    {0}};
