/*
 * results.c - the list of results and of what was not measured, progress, and the start and stop of machines for rows.
 *
 * The thread of a row collects its results in Pending; BenchPublish moves them to Published, under Lock, from which the
 * reports read, also when the user interrupts a row in the middle.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <kprcb/kprcb.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define MAX_RESULTS 2048
#define MAX_PENDING 256
#define MAX_SKIPS 256

static pthread_mutex_t Lock = PTHREAD_MUTEX_INITIALIZER;
static BENCH_RESULT Published[MAX_RESULTS];
static int PublishedCount;
static BENCH_SKIP Skips[MAX_SKIPS];
static int SkipCount;
static BENCH_RESULT Pending[MAX_PENDING];
static int PendingCount;

static struct {
    char Head[80];
    bool Terminal;
    bool Known;
    uint64_t Shown;
} Progress;

/* --- progress, on stderr --- */

static bool ProgressTerminal(void)
{
    if (!Progress.Known) {
        Progress.Terminal = isatty(STDERR_FILENO) != 0;
        Progress.Known = true;
    }
    return Progress.Terminal;
}

void BenchProgress(int Row, int Rows, const char *Id)
{
    snprintf(Progress.Head, sizeof(Progress.Head), "[%d/%d] %s", Row, Rows, Id);
    Progress.Shown = 0;
    fprintf(stderr, ProgressTerminal() ? "\r\033[K%s" : "%s\n", Progress.Head);
}

void BenchProgressEnd(void)
{
    if (ProgressTerminal()) {
        fputs("\r\033[K", stderr);
    }
}

/* Between samples only, and rarely: a terminal that draws disturbs what is measured. */
void BenchProgressStep(int Repetition, int Repetitions, int Threads)
{
    uint64_t Now = BenchNow();

    if (ProgressTerminal() && Now - Progress.Shown > 200000000u) {
        Progress.Shown = Now;
        fprintf(stderr, "\r\033[K%s, %d thread%s, repetition %d of %d", Progress.Head, Threads, Threads == 1 ? "" : "s",
                Repetition + 1, Repetitions);
    }
}

/* --- results --- */

BENCH_RESULT *BenchNewResult(void)
{
    return PendingCount < MAX_PENDING ? &Pending[PendingCount++] : NULL;
}

void BenchPublish(int Run)
{
    pthread_mutex_lock(&Lock);
    for (int i = 0; i < PendingCount && PublishedCount < MAX_RESULTS; i++) {
        Published[PublishedCount] = Pending[i];
        Published[PublishedCount++].Run = Run;
    }
    PendingCount = 0;
    pthread_mutex_unlock(&Lock);
}

const BENCH_RESULT *BenchResults(int *Count)
{
    pthread_mutex_lock(&Lock);
    *Count = PublishedCount;
    pthread_mutex_unlock(&Lock);
    return Published;
}

const BENCH_SKIP *BenchSkips(int *Count)
{
    pthread_mutex_lock(&Lock);
    *Count = SkipCount;
    pthread_mutex_unlock(&Lock);
    return Skips;
}

/* Once for each row and reason, however many runs there are. */
static void AddSkip(const BENCH_ROW *Row, bool Failed, const char *Reason, va_list Arguments)
{
    BENCH_SKIP Skip = {.Row = Row, .Failed = Failed};
    bool Known = false;

    vsnprintf(Skip.Reason, sizeof(Skip.Reason), Reason, Arguments);
    pthread_mutex_lock(&Lock);
    for (int i = 0; i < SkipCount; i++) {
        Known = Known || (Skips[i].Row == Row && strcmp(Skips[i].Reason, Skip.Reason) == 0);
    }
    if (!Known && SkipCount < MAX_SKIPS) {
        Skips[SkipCount++] = Skip;
    }
    pthread_mutex_unlock(&Lock);
}

void BenchSkip(const BENCH_ROW *Row, const char *Reason, ...)
{
    va_list Arguments;

    va_start(Arguments, Reason);
    AddSkip(Row, false, Reason, Arguments);
    va_end(Arguments);
}

void BenchFail(const BENCH_ROW *Row, const char *Reason, ...)
{
    va_list Arguments;

    va_start(Arguments, Reason);
    AddSkip(Row, true, Reason, Arguments);
    va_end(Arguments);
}

void BenchNote(BENCH_RESULT *Result, const char *Format, ...)
{
    size_t Length = strlen(Result->Note);
    va_list Arguments;

    if (Length > 0) {
        Length += (size_t)snprintf(Result->Note + Length, sizeof(Result->Note) - Length, "; ");
    }
    if (Length >= sizeof(Result->Note)) {
        return;
    }
    va_start(Arguments, Format);
    vsnprintf(Result->Note + Length, sizeof(Result->Note) - Length, Format, Arguments);
    va_end(Arguments);
}

/* --- machines --- */

bool BenchNeedCpus(const BENCH_ROW *Row, int Cpus)
{
    if (BenchCpuCount() < Cpus) {
        BenchSkip(Row, "needs %d CPUs, the process may use %d", Cpus, BenchCpuCount());
        return false;
    }
    return true;
}

bool BenchStartMachine(const BENCH_ROW *Row, int Processors)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = (ULONG)Processors};
    NTSTATUS Status = KprcbStart(&Config);

    if (!NT_SUCCESS(Status)) {
        BenchFail(Row, "KprcbStart with %d processors: status 0x%08X", Processors, (unsigned)Status);
        return false;
    }
    return true;
}

void BenchStopMachine(const BENCH_ROW *Row)
{
    NTSTATUS Status = KprcbStop();

    if (!NT_SUCCESS(Status)) {
        BenchFail(Row, "KprcbStop: status 0x%08X", (unsigned)Status);
    }
}
