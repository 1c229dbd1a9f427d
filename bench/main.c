/*
 * main.c - the command line, and the supervision of the rows.
 *
 * The first thread takes the signals; each row runs in a thread of its own, fresh in affinity and thread-local storage.
 * So an interrupt ends the program at once, whatever a row is doing, with the rows that have ended in the table and the
 * JSON.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <kprcb/machine.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_ROWS 128
#define EXIT_USAGE 2
#define EXIT_INTERRUPT 130
#define ROW_LIMIT 60 /* s; beyond it, and beyond what --seconds asks for, a row hangs */

BENCH_OPTIONS BenchOptions = {.Seconds = 1};

static const BENCH_ROW *const Tables[] = {
    BenchIrqlRows,
    BenchSpinLockRows,
    BenchRwSpinLockRows,
    BenchListRows,
    BenchDpcRows,
    BenchDpcThreadRows,
    BenchIpiRows,
    BenchMachineRows,
    BenchCpuidRows,
    BenchWatchRows,
};

static struct {
    const char *Filter;
    const char *Json;
    const char *Svg;
    bool Curve;
    bool List;
    const BENCH_ROW *Rows[MAX_ROWS];
    int Count;
    uint64_t Start;
    pthread_t Supervisor;
    int Run;
} Main;

static const char Help[] =
    "usage: kprcb-bench [options]\n"
    "Compares libkprcb with peers, in turn in one process, and prints the ratios.\n"
    "\n"
    "  --list               name the rows, their peers and targets, and end\n"
    "  --filter GLOB[,GLOB] only the rows whose name matches\n"
    "  --runs N             measure everything N times and report the median run of each row\n"
    "                       (default 3; 1 with --quick or --threads)\n"
    "  --quick              fewer and shorter samples: whether it works, not how fast it is\n"
    "  --json FILE          write the results as JSON; '-': to stdout, the table then goes to stderr\n"
    "  --svg DIR            draw the ratios, or the curve, into DIR (needs gnuplot)\n"
    "  --threads N[,N]      instead: a curve over these numbers of threads, of the rows that scale\n"
    "  --processors N       logical processors of that curve (default: one for each CPU)\n"
    "  --seconds S          time of each point of the curve and each lock (default 1)\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 all rows ran, 1 a row failed or a result was not written, 2 wrong arguments, 130 interrupted.\n";

static __attribute__((noreturn, format(printf, 1, 2))) void Usage(const char *Format, ...)
{
    va_list Arguments;

    va_start(Arguments, Format);
    fputs("kprcb-bench: ", stderr);
    vfprintf(stderr, Format, Arguments);
    fputs("\nTry 'kprcb-bench --help'.\n", stderr);
    va_end(Arguments);
    exit(EXIT_USAGE);
}

static long Number(const char *Option, const char *Text, long Low, long High)
{
    char *End;
    long Value;

    errno = 0;
    Value = strtol(Text, &End, 10);
    if (errno != 0 || End == Text || *End != '\0' || Value < Low || Value > High) {
        Usage("%s: '%s' is not a number from %ld to %ld", Option, Text, Low, High);
    }
    return Value;
}

static void ThreadList(const char *Text)
{
    char *Copy = strdup(Text), *Rest = Copy, *Item;

    BenchOptions.Points = 0;
    while ((Item = strsep(&Rest, ",")) != NULL) {
        if (BenchOptions.Points == BENCH_MAX_POINTS) {
            Usage("--threads: more than %d numbers", BENCH_MAX_POINTS);
        }
        BenchOptions.Threads[BenchOptions.Points++] = (int)Number("--threads", Item, 1, 1024);
    }
    free(Copy);
}

static void ParseSeconds(const char *Text)
{
    char *End;

    BenchOptions.Seconds = strtod(Text, &End);
    if (End == Text || *End != '\0' || !(BenchOptions.Seconds >= 0.01 && BenchOptions.Seconds <= 600)) {
        Usage("--seconds: '%s' is not a number from 0.01 to 600", Text);
    }
}

static void Parse(int Count, char **Arguments)
{
    enum { List = 1, Filter, Json, Svg, Threads, Processors, Seconds, Runs, Quick, HelpOption, Version };
    static const struct option Options[] = {{"list", no_argument, NULL, List},
                                            {"filter", required_argument, NULL, Filter},
                                            {"json", required_argument, NULL, Json},
                                            {"svg", required_argument, NULL, Svg},
                                            {"threads", required_argument, NULL, Threads},
                                            {"processors", required_argument, NULL, Processors},
                                            {"seconds", required_argument, NULL, Seconds},
                                            {"runs", required_argument, NULL, Runs},
                                            {"quick", no_argument, NULL, Quick},
                                            {"help", no_argument, NULL, HelpOption},
                                            {"version", no_argument, NULL, Version},
                                            {NULL, 0, NULL, 0}};
    const char *CurveOnly = NULL;
    int Option;

    opterr = 0;
    while ((Option = getopt_long(Count, Arguments, ":", Options, NULL)) != -1) {
        switch (Option) {
        case List:
            Main.List = true;
            break;
        case Filter:
            Main.Filter = optarg;
            break;
        case Json:
            Main.Json = optarg;
            break;
        case Svg:
            Main.Svg = optarg;
            break;
        case Threads:
            ThreadList(optarg);
            Main.Curve = true;
            break;
        case Processors:
            BenchOptions.Processors = (int)Number("--processors", optarg, 1, 1280);
            CurveOnly = "--processors";
            break;
        case Seconds:
            ParseSeconds(optarg);
            CurveOnly = "--seconds";
            break;
        case Runs:
            BenchOptions.Runs = (int)Number("--runs", optarg, 1, 99);
            break;
        case Quick:
            BenchOptions.Quick = true;
            break;
        case HelpOption:
            fputs(Help, stdout);
            exit(0);
        case Version:
            printf("kprcb-bench %s\n", KprcbVersion());
            exit(0);
        case ':':
            Usage("%s needs a value", Arguments[optind - 1]);
        default:
            Usage("%s: no such option, or a value where none belongs", Arguments[optind > 1 ? optind - 1 : 1]);
        }
    }
    if (BenchOptions.Runs == 0) {
        BenchOptions.Runs = BenchOptions.Quick || Main.Curve ? 1 : 3;
    }
    if (optind < Count) {
        Usage("'%s': there are no arguments but options", Arguments[optind]);
    }
    if (CurveOnly != NULL && !Main.Curve) {
        Usage("%s belongs to a curve: give --threads too", CurveOnly);
    }
}

static bool Matches(const char *Id)
{
    bool Match = Main.Filter == NULL;
    char *Copy = strdup(Match ? "" : Main.Filter), *Rest = Copy, *Item;

    while (!Match && (Item = strsep(&Rest, ",")) != NULL) {
        Match = fnmatch(Item, Id, 0) == 0;
    }
    free(Copy);
    return Match;
}

static void SelectRows(void)
{
    for (size_t i = 0; i < sizeof(Tables) / sizeof(Tables[0]); i++) {
        for (const BENCH_ROW *Row = Tables[i]; Row->Id != NULL && Main.Count < MAX_ROWS; Row++) {
            if ((Main.List || BenchScales(Row) == Main.Curve) && Matches(Row->Id)) {
                Main.Rows[Main.Count++] = Row;
            }
        }
    }
    if (Main.Count == 0) {
        Usage("--filter %s: no %s matches, see --list", Main.Filter, Main.Curve ? "row that scales" : "row");
    }
}

static void ListRows(void)
{
    for (int i = 0; i < Main.Count; i++) {
        const BENCH_ROW *Row = Main.Rows[i];

        printf("%-22s %s%s\n", Row->Id, Row->What, BenchScales(Row) ? " (with --threads)" : "");
        for (const BENCH_PEER *Peer = Row->Peers; Peer->Name != NULL; Peer++) {
            printf("%-22s   against %s", "", Peer->Name);
            if (Peer->Target > 0) {
                printf(", target %.3g", Peer->Target);
            }
            if (Peer->Stretch > 0) {
                printf(", stretch %.3g", Peer->Stretch);
            }
            putchar('\n');
        }
    }
}

/* --- output --- */

static BENCH_STATE State(bool Interrupted)
{
    return (BENCH_STATE){.Interrupted = Interrupted, .Elapsed = (double)(BenchNow() - Main.Start) / 1e9};
}

/* An existing device or pipe cannot be replaced by rename; it gets the document once, at the end. */
static bool JsonIsPlainFile(void)
{
    struct stat Info;

    return strcmp(Main.Json, "-") != 0 && (stat(Main.Json, &Info) != 0 || S_ISREG(Info.st_mode));
}

static bool WriteJson(const BENCH_STATE *Now)
{
    bool Plain = JsonIsPlainFile();
    bool Standard = strcmp(Main.Json, "-") == 0;
    char Path[4096];
    FILE *Out;
    bool Good;

    snprintf(Path, sizeof(Path), Plain ? "%s.part" : "%s", Main.Json);
    Out = Standard ? stdout : fopen(Path, "we");
    if (Out == NULL) {
        fprintf(stderr, "kprcb-bench: %s: %s\n", Path, strerror(errno));
        return false;
    }
    BenchJson(Out, Now);
    Good = fflush(Out) == 0 && !ferror(Out);
    if (!Standard) {
        Good = fclose(Out) == 0 && Good;
    }
    if (!Good || (Plain && rename(Path, Main.Json) != 0)) {
        fprintf(stderr, "kprcb-bench: %s: %s\n", Main.Json, strerror(errno));
        return false;
    }
    return true;
}

static __attribute__((noreturn)) void Finish(int Status)
{
    BENCH_STATE Now = State(Status == EXIT_INTERRUPT);
    FILE *Table = Main.Json != NULL && strcmp(Main.Json, "-") == 0 ? stderr : stdout;
    const BENCH_SKIP *Skips;
    int SkipCount;

    BenchProgressEnd();
    if (Main.Json != NULL && !WriteJson(&Now) && Status == 0) {
        Status = 1;
    }
    BenchTable(Table, &Now);
    if ((fflush(Table) != 0 || ferror(Table)) && Status == 0) {
        fprintf(stderr, "kprcb-bench: cannot write the table: %s\n", strerror(errno));
        Status = 1;
    }
    Skips = BenchSkips(&SkipCount);
    for (int i = 0; i < SkipCount; i++) {
        Status = Status == 0 && Skips[i].Failed ? 1 : Status;
    }
    if (Main.Svg != NULL && Status != EXIT_INTERRUPT && !BenchPlot(Main.Svg) && Status == 0) {
        Status = 1;
    }
    fflush(NULL);
    _exit(Status); /* a row that was interrupted may hold anything that an exit handler wants */
}

/* --- supervision --- */

static void *RowMain(void *Argument)
{
    const BENCH_ROW *Row = Argument;

    pthread_setname_np(pthread_self(), "bench");
    BenchUnpin();
    Row->Run(Row);
    BenchPublish(Main.Run);
    pthread_kill(Main.Supervisor, SIGUSR1);
    return NULL;
}

static void RunRow(const BENCH_ROW *Row, const sigset_t *Signals)
{
    struct timespec Limit = {.tv_sec = ROW_LIMIT};
    pthread_t Thread;
    int Signal;

    if (BenchScales(Row)) {
        Limit.tv_sec += (time_t)(BenchOptions.Seconds * 8 * BenchOptions.Points);
    }
    if (pthread_create(&Thread, NULL, RowMain, (void *)(uintptr_t)Row) != 0) {
        BenchFail(Row, "no thread for the row");
        Finish(1);
    }
    do {
        Signal = sigtimedwait(Signals, NULL, &Limit);
    } while (Signal < 0 && errno == EINTR);
    if (Signal == SIGINT || Signal == SIGTERM) {
        Finish(EXIT_INTERRUPT);
    }
    if (Signal < 0) {
        BenchFail(Row, "not at its end after %ld s", (long)Limit.tv_sec);
        Finish(1);
    }
    pthread_join(Thread, NULL);
}

int main(int Count, char **Arguments)
{
    sigset_t Signals;
    BENCH_STATE Now;

    Parse(Count, Arguments);
    SelectRows();
    if (Main.List) {
        ListRows();
        return 0;
    }
    Main.Start = BenchNow();
    Main.Supervisor = pthread_self();
    BenchReadHost();
    sigemptyset(&Signals);
    sigaddset(&Signals, SIGINT);
    sigaddset(&Signals, SIGTERM);
    sigaddset(&Signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &Signals, NULL);
    Now = State(false);
    if (Main.Json != NULL && JsonIsPlainFile() && !WriteJson(&Now)) {
        return EXIT_USAGE;
    }
    for (Main.Run = 0; Main.Run < BenchOptions.Runs; Main.Run++) {
        for (int i = 0; i < Main.Count; i++) {
            BenchProgress(Main.Run * Main.Count + i + 1, BenchOptions.Runs * Main.Count, Main.Rows[i]->Id);
            RunRow(Main.Rows[i], &Signals);
            Now = State(false);
            if (Main.Json != NULL && JsonIsPlainFile() && !WriteJson(&Now)) {
                Main.Json = NULL;
                Finish(1);
            }
        }
    }
    Finish(0);
}
