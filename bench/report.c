/*
 * report.c - the table and the JSON document.
 */
#include "bench.h"

#include <kprcb/machine.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool SameSeries(const BENCH_RESULT *A, const BENCH_RESULT *B)
{
    return A->Row == B->Row && A->Peer == B->Peer && A->Threads == B->Threads;
}

/* With an even number of runs the lower of the two in the middle: a run that took place, not an average of two. */
BENCH_RESULT *BenchMedianRuns(int *Count)
{
    int All;
    const BENCH_RESULT *Results = BenchResults(&All);
    BENCH_RESULT *Medians = calloc((size_t)All + 1, sizeof(*Medians));

    *Count = 0;
    for (int i = 0; Medians != NULL && i < All; i++) {
        const BENCH_RESULT *Median = NULL;
        bool Seen = false;
        int Runs = 0;

        for (int j = 0; j < All; j++) {
            Seen = Seen || (j < i && SameSeries(&Results[i], &Results[j]));
            Runs += SameSeries(&Results[i], &Results[j]);
        }
        for (int j = 0; !Seen && j < All; j++) {
            int Below = 0;

            if (!SameSeries(&Results[i], &Results[j])) {
                continue;
            }
            for (int k = 0; k < All; k++) {
                if (SameSeries(&Results[i], &Results[k])) {
                    Below += Results[k].Ratio < Results[j].Ratio || (Results[k].Ratio == Results[j].Ratio && k < j);
                }
            }
            if (Below == (Runs - 1) / 2) {
                Median = &Results[j];
            }
        }
        if (Median != NULL) {
            Medians[(*Count)++] = *Median;
        }
    }
    return Medians;
}

int BenchMet(const BENCH_RESULT *Result)
{
    if (Result->Peer->Target == 0) {
        return -1;
    }
    if ((Result->Row->Flags & BENCH_ROW_FAIR) != 0 && Result->Share < Result->PeerShare) {
        return 0;
    }
    return Result->Ratio <= Result->Peer->Target;
}

/* --- the table --- */

static const char *Nanoseconds(char *Buffer, size_t Size, double Ns)
{
    if (Ns < 100) {
        snprintf(Buffer, Size, "%.2f", Ns);
    } else if (Ns < 1e6) {
        snprintf(Buffer, Size, "%.0f", Ns);
    } else {
        snprintf(Buffer, Size, "%.2fM", Ns / 1e6);
    }
    return Buffer;
}

/* Two digits at least, however small. */
static const char *Ratio(char *Buffer, size_t Size, double Value)
{
    snprintf(Buffer, Size, Value < 0.01 ? "%.5f" : "%.3f", Value);
    return Buffer;
}

static void TableRow(FILE *Out, const BENCH_RESULT *Result, bool Threads)
{
    static const char *const Verdict[] = {"", "missed", "met"};
    char Id[40], Ns[16], PeerNs[16], Target[16] = "", Median[16], Q1[16], Q3[16];

    snprintf(Id, sizeof(Id), Threads ? "%s T=%d" : "%s", Result->Row->Id, Result->Threads);
    if (Result->Peer->Target > 0) {
        snprintf(Target, sizeof(Target), "%.3g", Result->Peer->Target);
    }
    fprintf(Out, "%-22s %9s  %-13s %9s  %7s  %7s %7s  %6s  %-6s", Id, Nanoseconds(Ns, sizeof(Ns), Result->Ns),
            Result->Peer->Name, Nanoseconds(PeerNs, sizeof(PeerNs), Result->PeerNs),
            Ratio(Median, sizeof(Median), Result->Ratio), Ratio(Q1, sizeof(Q1), Result->Q1),
            Ratio(Q3, sizeof(Q3), Result->Q3), Target, Verdict[BenchMet(Result) + 1]);
    if (Result->Share >= 0) {
        fprintf(Out, "  share %.2f, peer %.2f", Result->Share, Result->PeerShare);
    }
    if (Result->Kib >= 0) {
        fprintf(Out, "  %.1f KiB a processor", Result->Kib);
    }
    if (Result->Trend) {
        fputs("  trend", Out);
    }
    if (Result->Note[0] != '\0') {
        fprintf(Out, "  (%s)", Result->Note);
    }
    fputc('\n', Out);
}

void BenchTable(FILE *Out, const BENCH_STATE *State)
{
    int Count, SkipCount;
    BENCH_RESULT *Results = BenchMedianRuns(&Count);
    const BENCH_SKIP *Skips = BenchSkips(&SkipCount);

    fprintf(Out, "libkprcb %s on %s, %d CPU%s, %.0f MHz, load %.2f before, %.2f after, %.0f s%s\n", KprcbVersion(),
            BenchCpuModel(), BenchCpuCount(), BenchCpuCount() == 1 ? "" : "s", BenchCpuMHz(), BenchLoadAtStart(),
            BenchLoad(), State->Elapsed, State->Interrupted ? ", interrupted" : "");
    if (Count > 0) {
        fprintf(Out, "%-22s %9s  %-13s %9s  %7s  %7s %7s  %6s\n", "row", "ns", "peer", "peer ns", "ratio", "q1", "q3",
                "target");
    }
    for (int i = 0; Results != NULL && i < Count; i++) {
        TableRow(Out, &Results[i], BenchScales(Results[i].Row));
    }
    for (int i = 0; i < SkipCount; i++) {
        fprintf(Out, "%s %s: %s\n", Skips[i].Failed ? "failed " : "skipped", Skips[i].Row->Id, Skips[i].Reason);
    }
    free(Results);
}

/* --- JSON --- */

static void String(FILE *Out, const char *Text)
{
    fputc('"', Out);
    for (const unsigned char *At = (const unsigned char *)Text; *At != '\0'; At++) {
        if (*At == '"' || *At == '\\') {
            fprintf(Out, "\\%c", *At);
        } else if (*At < 0x20 || *At >= 0x7F) {
            fprintf(Out, "\\u%04x", *At);
        } else {
            fputc(*At, Out);
        }
    }
    fputc('"', Out);
}

static void TextMember(FILE *Out, const char *Name, const char *Text)
{
    fprintf(Out, "\"%s\": ", Name);
    String(Out, Text);
    fputs(", ", Out);
}

static void NumberMember(FILE *Out, const char *Name, double Value, bool Known)
{
    if (Known && isfinite(Value)) {
        fprintf(Out, "\"%s\": %.6g, ", Name, Value);
    } else {
        fprintf(Out, "\"%s\": null, ", Name);
    }
}

static const char *Truth(int Value)
{
    return Value < 0 ? "null" : Value > 0 ? "true" : "false";
}

static void JsonRow(FILE *Out, const BENCH_RESULT *Result)
{
    const char *Separator = "";
    int All;
    const BENCH_RESULT *Results = BenchResults(&All);

    fputs("{", Out);
    TextMember(Out, "id", Result->Row->Id);
    NumberMember(Out, "ns", Result->Ns, true);
    TextMember(Out, "peer", Result->Peer->Name);
    NumberMember(Out, "peer_ns", Result->PeerNs, true);
    NumberMember(Out, "ratio", Result->Ratio, true);
    NumberMember(Out, "ratio_q1", Result->Q1, true);
    NumberMember(Out, "ratio_q3", Result->Q3, true);
    fprintf(Out, "\"threads\": %d, \"processors\": %d, ", Result->Threads, Result->Processors);
    NumberMember(Out, "target", Result->Peer->Target, Result->Peer->Target > 0);
    NumberMember(Out, "stretch", Result->Peer->Stretch, Result->Peer->Stretch > 0);
    fprintf(Out, "\"met\": %s, \"samples\": %d, \"trend\": %s, ", Truth(BenchMet(Result)), Result->Samples,
            Truth(Result->Trend));
    if (Result->Share >= 0) {
        NumberMember(Out, "share", Result->Share, true);
        NumberMember(Out, "peer_share", Result->PeerShare, Result->PeerShare >= 0);
    }
    if (Result->Kib >= 0) {
        NumberMember(Out, "kib_per_processor", Result->Kib, true);
    }
    if (Result->Gate >= 0) {
        NumberMember(Out, "gate_ns", Result->Gate, true);
    }
    fputs("\"run_ratios\": [", Out);
    for (int i = 0; i < All; i++) {
        if (SameSeries(Result, &Results[i])) {
            fprintf(Out, "%s%.6g", Separator, isfinite(Results[i].Ratio) ? Results[i].Ratio : 0);
            Separator = ", ";
        }
    }
    fputs("], \"note\": ", Out);
    String(Out, Result->Note);
    fputs("}", Out);
}

void BenchJson(FILE *Out, const BENCH_STATE *State)
{
    int Count, SkipCount;
    BENCH_RESULT *Results = BenchMedianRuns(&Count);
    const BENCH_SKIP *Skips = BenchSkips(&SkipCount);

    fputs("{\n  ", Out);
    TextMember(Out, "program", "kprcb-bench");
    TextMember(Out, "version", KprcbVersion());
    fputs("\n  \"host\": {", Out);
    TextMember(Out, "cpu", BenchCpuModel());
    fprintf(Out, "\"cpus\": %d, ", BenchCpuCount());
    NumberMember(Out, "mhz", BenchCpuMHz(), BenchCpuMHz() > 0);
    NumberMember(Out, "load_before", BenchLoadAtStart(), true);
    NumberMember(Out, "load_after", BenchLoad(), true);
    TextMember(Out, "kernel", BenchKernel());
    fputs("\"compiler\": ", Out);
#ifdef __clang__
    String(Out, __VERSION__);
#else
    String(Out, "gcc " __VERSION__);
#endif
    fprintf(Out, "},\n  \"quick\": %s, \"runs\": %d, \"interrupted\": %s, \"seconds\": %.1f,\n  \"rows\": [",
            Truth(BenchOptions.Quick), BenchOptions.Runs, Truth(State->Interrupted), State->Elapsed);
    for (int i = 0; Results != NULL && i < Count; i++) {
        fputs(i == 0 ? "\n    " : ",\n    ", Out);
        JsonRow(Out, &Results[i]);
    }
    fputs("\n  ],\n  \"skipped\": [", Out);
    for (int i = 0; i < SkipCount; i++) {
        fputs(i == 0 ? "\n    {" : ",\n    {", Out);
        TextMember(Out, "id", Skips[i].Row->Id);
        fprintf(Out, "\"failed\": %s, \"reason\": ", Truth(Skips[i].Failed));
        String(Out, Skips[i].Reason);
        fputs("}", Out);
    }
    fputs("\n  ]\n}\n", Out);
    free(Results);
}
