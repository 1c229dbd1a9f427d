/*
 * cpuid.c - what the CPU says of itself.
 *
 * Test: tests/hal/test_cpuid.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

BOOLEAN HalCpuid(ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    unsigned int Eax, Ebx, Ecx, Edx;

    /* 0 only on an i386 that lacks the instruction. */
    if (__get_cpuid_max(0, NULL) == 0) {
        return FALSE;
    }
    __cpuid_count(Leaf, Subleaf, Eax, Ebx, Ecx, Edx);
    Registers->Eax = Eax;
    Registers->Ebx = Ebx;
    Registers->Ecx = Ecx;
    Registers->Edx = Edx;
    return TRUE;
}
#else
BOOLEAN HalCpuid(ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    UNREFERENCED_PARAMETER(Leaf);
    UNREFERENCED_PARAMETER(Subleaf);
    UNREFERENCED_PARAMETER(Registers);
    return FALSE;
}
#endif

static ULONG HalpReadKiloHertz(ULONG HostProcessor, const char *Name)
{
    char Path[96];
    unsigned long Value = 0;
    FILE *File;

    snprintf(Path, sizeof(Path), "/sys/devices/system/cpu/cpu%u/cpufreq/%s", (unsigned)HostProcessor, Name);
    File = fopen(Path, "re");
    if (File == NULL) {
        return 0;
    }
    if (fscanf(File, "%lu", &Value) != 1) {
        Value = 0;
    }
    fclose(File);
    return (ULONG)(Value / 1000);
}

static ULONG HalpReadCpuInfo(ULONG HostProcessor)
{
    FILE *File = fopen("/proc/cpuinfo", "re");
    BOOLEAN Mine = FALSE;
    char *Line = NULL;
    size_t Size = 0;
    ULONG Value = 0;

    if (File == NULL) {
        return 0;
    }
    while (Value == 0 && getline(&Line, &Size, File) > 0) {
        const char *Colon = strchr(Line, ':');

        if (Colon == NULL) {
            continue;
        }
        if (strncmp(Line, "processor", 9) == 0) {
            Mine = strtoul(Colon + 1, NULL, 10) == HostProcessor;
        } else if (Mine && strncmp(Line, "cpu MHz", 7) == 0) {
            Value = (ULONG)(strtod(Colon + 1, NULL) + 0.5);
        }
    }
    free(Line);
    fclose(File);
    return Value;
}

/* The base frequency first: it is what NT reports, where "cpu MHz" moves with the load. */
ULONG HalProcessorMHz(ULONG HostProcessor)
{
    ULONG MHz = HalpReadKiloHertz(HostProcessor, "base_frequency");

    if (MHz == 0) {
        MHz = HalpReadCpuInfo(HostProcessor);
    }
    if (MHz == 0) {
        MHz = HalpReadKiloHertz(HostProcessor, "cpuinfo_max_freq");
    }
    return MHz;
}
