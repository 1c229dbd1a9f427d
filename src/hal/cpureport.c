/*
 * cpureport.c - what the host's system tells of a CPU in /proc/cpuinfo and below /sys/devices/system/cpu: frequency,
 * microcode, and for CPUs without cpuid, that is ARM's, who they are, their caches and how many threads share what.
 *
 * Everything is optional: a file that is missing, empty or not what it should be counts as not telling. Nothing here is
 * kept or shared.
 *
 * Test: tests/hal/test_cpureport.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include "cpureport.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#define HALP_MAXIMUM_TEXT 4096

const char *HalpHostRoot = "";

BOOLEAN HalpReadLine(ULONG HostProcessor, char *Text, SIZE_T Size, const char *Format, ...)
{
    char Name[64];
    char Path[512];
    va_list Arguments;
    ssize_t Length;
    int File;

    va_start(Arguments, Format);
    vsnprintf(Name, sizeof(Name), Format, Arguments);
    va_end(Arguments);
    snprintf(Path, sizeof(Path), "%s/sys/devices/system/cpu/cpu%u/%s", HalpHostRoot, (unsigned)HostProcessor, Name);
    do {
        File = open(Path, O_RDONLY | O_CLOEXEC);
    } while (File < 0 && errno == EINTR);
    if (File < 0) {
        return FALSE;
    }
    do {
        Length = read(File, Text, Size - 1);
    } while (Length < 0 && errno == EINTR);
    close(File);
    if (Length <= 0) {
        return FALSE;
    }
    Text[Length] = 0;
    Text[strcspn(Text, "\n")] = 0;
    return TRUE;
}

/* A number that fits, at the start of Text; what may follow it is in Rest. Base as strtoull has it. */
static BOOLEAN HalpParse(const char *Text, int Base, PULONG Number, const char **Rest)
{
    unsigned long long Value;
    char *End;

    Text += strspn(Text, " \t");
    if (*Text < '0' || *Text > '9') {
        return FALSE;
    }
    errno = 0;
    Value = strtoull(Text, &End, Base);
    if (errno != 0 || Value > 0xFFFFFFFF) {
        return FALSE;
    }
    *Number = (ULONG)Value;
    *Rest = End;
    return TRUE;
}

static ULONG HalpReadNumber(ULONG HostProcessor, const char *Name)
{
    char Text[32];
    const char *Rest;
    ULONG Number;

    if (!HalpReadLine(HostProcessor, Text, sizeof(Text), "%s", Name) || !HalpParse(Text, 0, &Number, &Rest)) {
        return 0;
    }
    return Number;
}

/* How many numbers "0-3,8" has; 0 for what is no such list. */
static ULONG HalpCountList(const char *Text)
{
    ULONG Count = 0;

    for (;;) {
        ULONG First;
        ULONG Last;

        if (!HalpParse(Text, 10, &First, &Text)) {
            return 0;
        }
        Last = First;
        if (*Text == '-' && !HalpParse(Text + 1, 10, &Last, &Text)) {
            return 0;
        }
        if (Last < First || Last - First >= 0x10000) {
            return 0;
        }
        Count += Last - First + 1;
        if (*Text == 0) {
            return Count;
        }
        if (*Text++ != ',' || Count > 0x10000) {
            return 0;
        }
    }
}

static ULONG HalpReadList(ULONG HostProcessor, const char *Name)
{
    char Text[HALP_MAXIMUM_TEXT];

    return HalpReadLine(HostProcessor, Text, sizeof(Text), "%s", Name) ? HalpCountList(Text) : 0;
}

ULONG HalpReadLowest(ULONG HostProcessor, const char *Name, ULONG Default)
{
    char Text[32]; /* the lowest is the first */
    const char *Rest;
    ULONG Number;

    if (!HalpReadLine(HostProcessor, Text, sizeof(Text), "%s", Name) || !HalpParse(Text, 10, &Number, &Rest)) {
        return Default;
    }
    return Number;
}

/* The value that /proc/cpuinfo has under Name for a CPU. FALSE: none. */
static BOOLEAN HalpReadCpuInfo(ULONG HostProcessor, const char *Name, char *Value, SIZE_T Size)
{
    char Path[512];
    FILE *File;
    BOOLEAN Mine = FALSE;
    BOOLEAN Found = FALSE;
    char *Line = NULL;
    size_t Space = 0;

    snprintf(Path, sizeof(Path), "%s/proc/cpuinfo", HalpHostRoot);
    File = fopen(Path, "re");
    if (File == NULL) {
        return FALSE;
    }
    while (!Found && getline(&Line, &Space, File) > 0) {
        char *Colon = strchr(Line, ':');
        ULONG Number;
        const char *Rest;
        size_t Length;

        if (Colon == NULL) {
            continue;
        }
        Length = strcspn(Line, "\t:");
        while (Length > 0 && Line[Length - 1] == ' ') {
            Length -= 1;
        }
        if (Length == strlen("processor") && memcmp(Line, "processor", Length) == 0) {
            Mine = HalpParse(Colon + 1, 10, &Number, &Rest) && *Rest == '\n' && Number == HostProcessor;
        } else if (Mine && Length == strlen(Name) && memcmp(Line, Name, Length) == 0) {
            Colon += 1 + strspn(Colon + 1, " \t");
            Colon[strcspn(Colon, "\n")] = 0;
            snprintf(Value, Size, "%s", Colon);
            Found = TRUE;
        }
    }
    free(Line);
    fclose(File);
    return Found;
}

static ULONG HalpReadCpuInfoNumber(ULONG HostProcessor, const char *Name)
{
    char Text[64];
    const char *Rest;
    ULONG Number;

    if (!HalpReadCpuInfo(HostProcessor, Name, Text, sizeof(Text)) || !HalpParse(Text, 0, &Number, &Rest)) {
        return 0;
    }
    return Number;
}

/* --- frequency and microcode --- */

/* "2400.512", rounded. */
static ULONG HalpReadCpuInfoMHz(ULONG HostProcessor)
{
    char Text[64];
    const char *Rest;
    ULONG Number;

    if (!HalpReadCpuInfo(HostProcessor, "cpu MHz", Text, sizeof(Text)) || !HalpParse(Text, 10, &Number, &Rest)) {
        return 0;
    }
    return Number + (Rest[0] == '.' && Rest[1] >= '5' && Rest[1] <= '9');
}

/*
 * What the CPU is made for comes first, since NT tells that: "cpu MHz" moves with the load. A host without cpufreq has the
 * firmware's word in acpi_cppc, or "cpu MHz"; leaf 0x16 is for one that hides both.
 */
ULONG HalProcessorMHz(ULONG HostProcessor)
{
    HAL_CPUID Registers;
    ULONG MHz = HalpReadNumber(HostProcessor, "cpufreq/base_frequency") / 1000;

    if (MHz == 0) {
        MHz = HalpReadNumber(HostProcessor, "acpi_cppc/nominal_freq");
    }
    if (MHz == 0) {
        MHz = HalpReadCpuInfoMHz(HostProcessor);
    }
    if (MHz == 0) {
        MHz = HalpReadNumber(HostProcessor, "cpufreq/cpuinfo_max_freq") / 1000;
    }
    if (MHz == 0 && HalpHostRoot[0] == 0 && HostProcessor == HalCurrentProcessor() && HalCpuid(0, 0, &Registers) &&
        Registers.Eax >= 0x16 && HalCpuid(0x16, 0, &Registers)) {
        MHz = Registers.Eax & 0xFFFF;
    }
    return MHz;
}

ULONG HalProcessorMicrocode(ULONG HostProcessor)
{
    ULONG Revision = HalpReadNumber(HostProcessor, "microcode/version");

    return Revision != 0 ? Revision : HalpReadCpuInfoNumber(HostProcessor, "microcode");
}

/* --- CPUs without cpuid --- */

static ULONG HalpReadMidr(ULONG HostProcessor)
{
    ULONG Midr = HalpReadNumber(HostProcessor, "regs/identification/midr_el1");
    ULONG Implementer = HalpReadCpuInfoNumber(HostProcessor, "CPU implementer");

    if (Midr == 0 && Implementer != 0) {
        /* Architecture 0xF: it is told elsewhere. */
        Midr = (Implementer & 0xFF) << 24 | (HalpReadCpuInfoNumber(HostProcessor, "CPU variant") & 0xF) << 20 |
               0xF0000 | (HalpReadCpuInfoNumber(HostProcessor, "CPU part") & 0xFFF) << 4 |
               (HalpReadCpuInfoNumber(HostProcessor, "CPU revision") & 0xF);
    }
#if defined(__aarch64__) && defined(HWCAP_CPUID)
    if (Midr == 0 && HalpHostRoot[0] == 0 && (getauxval(AT_HWCAP) & HWCAP_CPUID) != 0) {
        ULONGLONG Register;

        __asm__ __volatile__("mrs %0, midr_el1" : "=r"(Register));
        Midr = (ULONG)Register;
    }
#endif
    return Midr;
}

static ULONG HalpFlushSize(VOID)
{
#if defined(__aarch64__)
    ULONGLONG Register;

    __asm__ __volatile__("mrs %0, ctr_el0" : "=r"(Register));
    return 4u << (Register >> 16 & 0xF);
#else
    return 0;
#endif
}

/* "32K", "1024K", "8M". */
static ULONG HalpParseSize(const char *Text)
{
    const char *Rest;
    ULONG Number;
    ULONG Shift;

    if (!HalpParse(Text, 10, &Number, &Rest)) {
        return 0;
    }
    Shift = *Rest == 'K' ? 10 : *Rest == 'M' ? 20 : *Rest == 'G' ? 30 : 0;
    return Number <= 0xFFFFFFFF >> Shift ? Number << Shift : 0xFFFFFFFF;
}

BOOLEAN HalpReadCache(ULONG HostProcessor, ULONG Index, PHAL_CACHE Cache)
{
    static const char *const Types[] = {"Unified", "Instruction", "Data"};
    char Text[HALP_MAXIMUM_TEXT];
    char Name[48];
    unsigned At = (unsigned)Index;
    ULONG Type = 0;

    *Cache = (HAL_CACHE){0};
    if (!HalpReadLine(HostProcessor, Text, sizeof(Text), "cache/index%u/type", At)) {
        return FALSE;
    }
    while (Type < ARRAYSIZE(Types) && strcmp(Text, Types[Type]) != 0) {
        Type += 1;
    }
    snprintf(Name, sizeof(Name), "cache/index%u/level", At);
    Cache->Level = (UCHAR)HalpReadNumber(HostProcessor, Name);
    if (Type == ARRAYSIZE(Types) || Cache->Level == 0) {
        return TRUE;
    }
    Cache->Type = (UCHAR)Type;
    snprintf(Name, sizeof(Name), "cache/index%u/ways_of_associativity", At);
    Cache->Ways = HalpReadNumber(HostProcessor, Name);
    snprintf(Name, sizeof(Name), "cache/index%u/coherency_line_size", At);
    Cache->LineSize = HalpReadNumber(HostProcessor, Name);
    snprintf(Name, sizeof(Name), "cache/index%u/shared_cpu_list", At);
    Cache->Sharing = HalpReadList(HostProcessor, Name);
    Cache->Sharer = HalpReadLowest(HostProcessor, Name, HostProcessor);
    if (HalpReadLine(HostProcessor, Text, sizeof(Text), "cache/index%u/size", At)) {
        Cache->Size = HalpParseSize(Text);
    }
    return TRUE;
}

VOID HalReportProcessor(ULONG HostProcessor, PHAL_CPU_REPORT Report)
{
    HAL_CACHE Cache;

    *Report = (HAL_CPU_REPORT){0};
    Report->Midr = HalpReadMidr(HostProcessor);
    Report->Architecture = HalpReadCpuInfoNumber(HostProcessor, "CPU architecture");
#if defined(__aarch64__)
    if (Report->Architecture == 0) {
        Report->Architecture = 8; /* there is none below, and some systems say "AArch64" */
    }
#endif
    Report->FlushSize = HalpFlushSize();
    /* Older systems have the second names. */
    Report->PackageThreads = HalpReadList(HostProcessor, "topology/package_cpus_list");
    if (Report->PackageThreads == 0) {
        Report->PackageThreads = HalpReadList(HostProcessor, "topology/core_siblings_list");
    }
    Report->CoreThreads = HalpReadList(HostProcessor, "topology/core_cpus_list");
    if (Report->CoreThreads == 0) {
        Report->CoreThreads = HalpReadList(HostProcessor, "topology/thread_siblings_list");
    }
    for (ULONG Index = 0; Index < HAL_MAXIMUM_CACHES && HalpReadCache(HostProcessor, Index, &Cache); Index += 1) {
        if (Cache.Size != 0) {
            Report->Caches[Report->CacheCount++] = Cache;
        }
    }
}
