/*
 * host.c - what the benchmark asks of the host: CPUs and placement, model, clock, load, memory.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

static cpu_set_t Allowed;
static int Cpus[BENCH_MAX_CPUS];
static int CpuCount;
static char CpuModel[128] = "unknown";
static double CpuMHz;
static char Kernel[256] = "unknown";
static double LoadAtStart;

void BenchReadHost(void)
{
    struct utsname Name;
    char Line[512];
    FILE *File;

    if (sched_getaffinity(0, sizeof(Allowed), &Allowed) != 0) {
        CPU_ZERO(&Allowed);
        CPU_SET(0, &Allowed);
    }
    for (int i = 0; i < CPU_SETSIZE && CpuCount < BENCH_MAX_CPUS; i++) {
        if (CPU_ISSET(i, &Allowed)) {
            Cpus[CpuCount++] = i;
        }
    }
    File = fopen("/proc/cpuinfo", "re");
    while (File != NULL && fgets(Line, sizeof(Line), File) != NULL) {
        char *Value = strchr(Line, ':');

        if (Value == NULL) {
            continue;
        }
        Value += 1 + strspn(Value + 1, " \t");
        Value[strcspn(Value, "\n")] = '\0';
        if (strncmp(Line, "model name", 10) == 0) {
            snprintf(CpuModel, sizeof(CpuModel), "%s", Value);
        } else if (strncmp(Line, "cpu MHz", 7) == 0 && CpuMHz == 0) {
            CpuMHz = atof(Value);
        }
    }
    if (File != NULL) {
        fclose(File);
    }
    if (uname(&Name) == 0) {
        snprintf(Kernel, sizeof(Kernel), "%s %s %s", Name.sysname, Name.release, Name.machine);
    }
    LoadAtStart = BenchLoad();
}

int BenchCpuCount(void)
{
    return CpuCount;
}

const char *BenchCpuModel(void)
{
    return CpuModel;
}

double BenchCpuMHz(void)
{
    return CpuMHz;
}

const char *BenchKernel(void)
{
    return Kernel;
}

double BenchLoad(void)
{
    double Load[1];

    return getloadavg(Load, 1) == 1 ? Load[0] : 0;
}

double BenchLoadAtStart(void)
{
    return LoadAtStart;
}

void BenchPin(int Index)
{
    cpu_set_t Set;

    CPU_ZERO(&Set);
    CPU_SET(Cpus[Index % CpuCount], &Set);
    sched_setaffinity(0, sizeof(Set), &Set);
}

void BenchUnpin(void)
{
    sched_setaffinity(0, sizeof(Allowed), &Allowed);
}

bool BenchIsPinned(void)
{
    cpu_set_t Set;

    return sched_getaffinity(0, sizeof(Set), &Set) == 0 && CPU_COUNT(&Set) == 1;
}

int BenchCurrentCpu(void)
{
    int Cpu = sched_getcpu();

    for (int i = 0; i < CpuCount; i++) {
        if (Cpus[i] == Cpu) {
            return i;
        }
    }
    return 0;
}

/* smaps_rollup walks the page tables; the counters behind statm lag by up to 64 pages a thread on older kernels. */
double BenchResidentKib(void)
{
    char Line[256];
    double Kib = 0;
    FILE *File = fopen("/proc/self/smaps_rollup", "re");

    while (File != NULL && fgets(Line, sizeof(Line), File) != NULL) {
        if (sscanf(Line, "Rss: %lf", &Kib) == 1) {
            break;
        }
    }
    if (File != NULL) {
        fclose(File);
    }
    return Kib;
}
