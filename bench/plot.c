/*
 * plot.c - SVG by gnuplot: the ratio of each row with its quartiles and target, and the scaling curve.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A string for gnuplot in double quotes. */
static void Quoted(FILE *Out, const char *Text)
{
    fputc('"', Out);
    for (; *Text != '\0'; Text++) {
        if (*Text == '"' || *Text == '\\') {
            fputc('\\', Out);
        }
        fputs(*Text == '\n' ? "\\n" : (char[]){*Text, '\0'}, Out);
    }
    fputc('"', Out);
}

static void Head(FILE *Plot, const char *Directory, const char *Name, int Height, const char *Title)
{
    char Path[4096], Text[256];

    snprintf(Path, sizeof(Path), "%s/%s.svg", Directory, Name);
    snprintf(Text, sizeof(Text), "%s\n%s, %d CPUs, load %.2f", Title, BenchCpuModel(), BenchCpuCount(),
             BenchLoadAtStart());
    fprintf(Plot, "set terminal svg size 900,%d dynamic noenhanced font 'sans,13' background rgb 'white'\nset output ",
            Height);
    Quoted(Plot, Path);
    fputs("\nset title ", Plot);
    Quoted(Plot, Text);
    fputc('\n', Plot);
}

/* Horizontal bars from the left edge, on a logarithmic axis: ratios span three powers of ten. */
static void PlotRatios(FILE *Plot, const char *Directory, const BENCH_RESULT *Results, int Count)
{
    double Low = 1, High = 1;
    int Bars = 0;

    fputs("$rows << EOD\n", Plot);
    for (int i = 0; i < Count; i++) {
        const BENCH_RESULT *Result = &Results[i];

        if (BenchScales(Result->Row) || Result->Ratio <= 0) {
            continue;
        }
        fprintf(Plot, "%d \"%s / %s\" %g %g %g %s %d\n", -Bars++, Result->Row->Id, Result->Peer->Name, Result->Ratio,
                Result->Q1, Result->Q3, "", BenchMet(Result));
        Low = Result->Q1 > 0 && Result->Q1 < Low ? Result->Q1 : Low;
        High = Result->Q3 > High ? Result->Q3 : High;
        if (Result->Peer->Target > 0) {
            Low = Result->Peer->Target < Low ? Result->Peer->Target : Low;
            High = Result->Peer->Target > High ? Result->Peer->Target : High;
        }
    }
    fputs("EOD\n$targets << EOD\n", Plot);
    for (int i = 0, Bar = 0; i < Count; i++) {
        if (BenchScales(Results[i].Row) || Results[i].Ratio <= 0) {
            continue;
        }
        if (Results[i].Peer->Target > 0) {
            fprintf(Plot, "%d %g\n", -Bar, Results[i].Peer->Target);
        }
        Bar++;
    }
    fputs("EOD\n", Plot);
    if (Bars == 0) {
        return;
    }
    Low /= 2;
    High *= 2;
    Head(Plot, Directory, "ratios", 150 + 24 * Bars,
         "libkprcb: time per operation as a ratio to the peer, lower is better");
    fprintf(
        Plot,
        "set logscale x\nset xrange [%g:%g]\nset yrange [%d.7:0.7]\nset format x '%%g'\nset grid x\nset ytics scale 0\n"
        "set xlabel 'ratio to the peer (median; whiskers: quartiles)'\nset key below\nset border 3\nset tics nomirror\n"
        "set arrow 1 from 1,graph 0 to 1,graph 1 nohead lc rgb '#444444' dt 2\n"
        "Color(m) = m < 0 ? 0x9aa5b1 : m > 0 ? 0x5b9a68 : 0xd9964a\n",
        Low, High, -Bars);
    fprintf(
        Plot,
        "plot $rows using 3:1:(%g):3:($1-0.36):($1+0.36):(Color($6)):ytic(2) with boxxyerror fs solid 0.85 noborder "
        "lc rgb variable notitle, \\\n"
        " $rows using 3:1:4:5 with xerrorbars pt 7 ps 0.35 lc rgb 'black' lw 1.3 title 'quartiles', \\\n"
        " $targets using 2:1:(0):(0.42) with vectors nohead lw 3.5 lc rgb '#c02030' title 'target', \\\n"
        " $targets using 2:1:(0):(-0.42) with vectors nohead lw 3.5 lc rgb '#c02030' notitle, \\\n"
        " NaN with boxes fs solid 0.85 noborder lc rgb 0x5b9a68 title 'met', \\\n"
        " NaN with boxes fs solid 0.85 noborder lc rgb 0xd9964a title 'missed', \\\n"
        " NaN with boxes fs solid 0.85 noborder lc rgb 0x9aa5b1 title 'for information'\nset output\nreset\n",
        Low);
}

/* One block of data a lock: first the measured side of each row, then its peers. */
static void PlotScaling(FILE *Plot, const char *Directory, const BENCH_RESULT *Results, int Count)
{
    const char *Names[64];
    bool Peer[64];
    int Series = 0;

    for (int i = 0; i < Count; i++) {
        for (int Side = 0; Side < 2 && BenchScales(Results[i].Row); Side++) {
            const char *Name = Side == 0 ? Results[i].Row->Id : Results[i].Peer->Name;
            bool Known = Series == (int)(sizeof(Names) / sizeof(Names[0]));

            for (int j = 0; j < Series; j++) {
                Known = Known || strcmp(Names[j], Name) == 0;
            }
            if (!Known) {
                Names[Series] = Name;
                Peer[Series++] = Side != 0;
            }
        }
    }
    if (Series == 0) {
        return;
    }
    for (int j = 0; j < Series; j++) {
        int Last = -1;

        fprintf(Plot, "$series%d << EOD\n", j);
        for (int i = 0; i < Count; i++) {
            const char *Name = Peer[j] ? Results[i].Peer->Name : Results[i].Row->Id;

            if (BenchScales(Results[i].Row) && strcmp(Name, Names[j]) == 0 && Results[i].Threads != Last) {
                Last = Results[i].Threads;
                fprintf(Plot, "%d %g\n", Last, Peer[j] ? Results[i].PeerNs : Results[i].Ns);
            }
        }
        fputs("EOD\n", Plot);
    }
    Head(Plot, Directory, "scaling", 520, "libkprcb: time per operation of all threads together");
    fputs("set logscale x 2\nset logscale y\nset ytics add (2, 5, 20, 50, 200, 500, 2000, 5000, 20000, 50000)\nset "
          "format y '%g'\nset xlabel 'threads'\nset ylabel 'ns per operation'\nset grid\n"
          "set key below\nset border 3\nset tics nomirror\nset offsets graph 0.02, graph 0.02, 0, 0\nplot ",
          Plot);
    for (int j = 0; j < Series; j++) {
        fprintf(Plot, "%s$series%d using 1:2 with linespoints lw 2 pt %d ps 0.8 title ", j == 0 ? "" : ", ", j,
                5 + 2 * j);
        Quoted(Plot, Names[j]);
    }
    fputs("\nset output\n", Plot);
}

bool BenchPlot(const char *Directory)
{
    int Count, Status;
    BENCH_RESULT *Results;
    FILE *Plot;

    if (mkdir(Directory, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "kprcb-bench: %s: %s\n", Directory, strerror(errno));
        return false;
    }
    if (system("command -v gnuplot >/dev/null 2>&1") != 0) {
        fputs("kprcb-bench: no plots: gnuplot is not installed\n", stderr);
        return false;
    }
    Plot = popen("gnuplot", "we");
    if (Plot == NULL) {
        fprintf(stderr, "kprcb-bench: gnuplot: %s\n", strerror(errno));
        return false;
    }
    Results = BenchMedianRuns(&Count);
    if (Results != NULL) {
        PlotRatios(Plot, Directory, Results, Count);
        PlotScaling(Plot, Directory, Results, Count);
    }
    free(Results);
    Status = pclose(Plot);
    if (Status != 0) {
        fputs("kprcb-bench: gnuplot failed\n", stderr);
        return false;
    }
    return true;
}
