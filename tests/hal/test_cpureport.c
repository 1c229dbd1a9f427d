/*
 * test_cpureport.c - src/hal/cpureport.c: frequency, microcode, and ARM's identity and caches, from files as Linux
 * shows them on several machines, from broken ones, and from this host's own.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpureport.h"
#include "hal.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char Root[64];

static int RemoveOne(const char *Path, const struct stat *Status, int Kind, struct FTW *Place)
{
    (void)Status, (void)Kind, (void)Place;
    return remove(Path);
}

static int NewRoot(void **State)
{
    (void)State;
    snprintf(Root, sizeof(Root), "/tmp/kprcb-host-XXXXXX");
    if (mkdtemp(Root) == NULL) {
        return -1;
    }
    HalpHostRoot = Root;
    return 0;
}

static int DropRoot(void **State)
{
    (void)State;
    HalpHostRoot = "";
    return nftw(Root, RemoveOne, 8, FTW_DEPTH | FTW_PHYS);
}

static void Write(const char *Name, const void *Text, size_t Size)
{
    char Path[256];
    FILE *File;

    snprintf(Path, sizeof(Path), "%s%s", Root, Name);
    for (char *Slash = Path + strlen(Root) + 1; (Slash = strchr(Slash, '/')) != NULL; Slash++) {
        *Slash = 0;
        mkdir(Path, 0777);
        *Slash = '/';
    }
    File = fopen(Path, "w");
    assert_non_null(File);
    assert_int_equal(fwrite(Text, 1, Size, File), Size);
    assert_int_equal(fclose(File), 0);
}

static void CpuInfo(const char *Text)
{
    Write("/proc/cpuinfo", Text, strlen(Text));
}

static void Cpu(ULONG HostProcessor, const char *Name, const char *Text)
{
    char Path[128];

    snprintf(Path, sizeof(Path), "/sys/devices/system/cpu/cpu%u/%s", (unsigned)HostProcessor, Name);
    Write(Path, Text, strlen(Text));
}

static void Cache(ULONG HostProcessor, ULONG Index, const char *Type, const char *Level, const char *Size,
                  const char *Ways, const char *Line, const char *List)
{
    const char *const Names[] = {"type",           "level", "size", "ways_of_associativity", "coherency_line_size",
                                 "shared_cpu_list"};
    const char *const Texts[] = {Type, Level, Size, Ways, Line, List};

    for (ULONG Field = 0; Field < ARRAYSIZE(Names); Field++) {
        char Name[64];

        if (Texts[Field] != NULL) {
            snprintf(Name, sizeof(Name), "cache/index%u/%s", (unsigned)Index, Names[Field]);
            Cpu(HostProcessor, Name, Texts[Field]);
        }
    }
}

static HAL_CPU_REPORT Report(ULONG HostProcessor)
{
    HAL_CPU_REPORT Result;

    memset(&Result, 0xA5, sizeof(Result));
    HalReportProcessor(HostProcessor, &Result);
    return Result;
}

static void AssertCache(const HAL_CACHE *Found, ULONG Type, ULONG Level, ULONG Size, ULONG Ways, ULONG Line,
                        ULONG Sharing)
{
    assert_int_equal(Found->Type, Type);
    assert_int_equal(Found->Level, Level);
    assert_int_equal(Found->Size, Size);
    assert_int_equal(Found->Ways, Ways);
    assert_int_equal(Found->LineSize, Line);
    assert_int_equal(Found->Sharing, Sharing);
}

/* --- machines as they are --- */

/* Two Cortex-A72 after four Cortex-A53, as on an RK3399. */
static void BigAndLittleCoresAreToldApart(void **State)
{
    HAL_CPU_REPORT Little;
    HAL_CPU_REPORT Big;

    (void)State;
    CpuInfo(
        "processor\t: 0\nBogoMIPS\t: 48.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd03\nCPU revision\t: 4\n\n"
        "processor\t: 4\nBogoMIPS\t: 48.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 2\n\n");
    Cpu(0, "cpufreq/cpuinfo_max_freq", "1416000\n");
    Cpu(4, "cpufreq/cpuinfo_max_freq", "1800000\n");
    Cpu(0, "topology/core_siblings_list", "0-5\n");
    Cpu(0, "topology/thread_siblings_list", "0\n");
    Cache(0, 0, "Data\n", "1\n", "32K\n", "4\n", "64\n", "0\n");
    Cache(0, 1, "Instruction\n", "1\n", "32K\n", "2\n", "64\n", "0\n");
    Cache(0, 2, "Unified\n", "2\n", "512K\n", "16\n", "64\n", "0-3\n");

    Little = Report(0);
    assert_int_equal(Little.Midr, 0x410FD034);
    assert_int_equal(Little.Architecture, 8);
    assert_int_equal(Little.PackageThreads, 6);
    assert_int_equal(Little.CoreThreads, 1);
    assert_int_equal(Little.CacheCount, 3);
    AssertCache(&Little.Caches[0], HalDataCache, 1, 32768, 4, 64, 1);
    AssertCache(&Little.Caches[1], HalInstructionCache, 1, 32768, 2, 64, 1);
    AssertCache(&Little.Caches[2], HalUnifiedCache, 2, 524288, 16, 64, 4);
    assert_int_equal(HalProcessorMHz(0), 1416);
    Big = Report(4);
    assert_int_equal(Big.Midr, 0x410FD082);
    assert_int_equal(Big.CacheCount, 0);
    assert_int_equal(HalProcessorMHz(4), 1800);
    assert_int_equal(HalProcessorMicrocode(0), 0);
}

/* A Neoverse N1 as a server with ACPI has it: the register itself, no cpufreq, newer names of the topology. */
static void AServerOfArmIsRead(void **State)
{
    HAL_CPU_REPORT Server;

    (void)State;
    CpuInfo("processor\t: 12\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\n"
            "CPU revision\t: 1\n");
    Cpu(12, "regs/identification/midr_el1", "0x00000000413fd0c1\n");
    Cpu(12, "acpi_cppc/nominal_freq", "2800\n");
    Cpu(12, "topology/package_cpus_list", "0-79\n");
    Cpu(12, "topology/core_cpus_list", "12\n");
    Cache(12, 0, "Data\n", "1\n", "64K\n", "4\n", "64\n", "12\n");
    Cache(12, 1, "Unified\n", "2\n", "1024K\n", NULL, NULL, NULL);
    Server = Report(12);
    assert_int_equal(Server.Midr, 0x413FD0C1);
    assert_int_equal(Server.PackageThreads, 80);
    assert_int_equal(Server.CoreThreads, 1);
    assert_int_equal(Server.CacheCount, 2);
    AssertCache(&Server.Caches[1], HalUnifiedCache, 2, 1048576, 0, 0, 0);
    assert_int_equal(HalProcessorMHz(12), 2800);
}

static void AnX86ServerTellsFrequencyAndMicrocode(void **State)
{
    (void)State;
    CpuInfo("processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel name\t: Intel(R) Xeon(R) @ 2.40GHz\n"
            "microcode\t: 0x5003604\ncpu MHz\t\t: 3100.512\n\n"
            "processor\t: 10\nmicrocode\t: 0x2b000571\ncpu MHz\t\t: 2399.499\n\n");
    assert_int_equal(HalProcessorMHz(0), 3101);
    assert_int_equal(HalProcessorMHz(10), 2399);
    assert_int_equal(HalProcessorMHz(1), 0);
    assert_int_equal(HalProcessorMicrocode(0), 0x05003604);
    assert_int_equal(HalProcessorMicrocode(10), 0x2B000571);
    assert_int_equal(HalProcessorMicrocode(1), 0);
    Cpu(0, "cpufreq/cpuinfo_max_freq", "3900000\n");
    assert_int_equal(HalProcessorMHz(0), 3101);
    Cpu(0, "acpi_cppc/nominal_freq", "0\n");
    assert_int_equal(HalProcessorMHz(0), 3101);
    Cpu(0, "acpi_cppc/nominal_freq", "2500\n");
    assert_int_equal(HalProcessorMHz(0), 2500);
    Cpu(0, "cpufreq/base_frequency", "2400000\n");
    assert_int_equal(HalProcessorMHz(0), 2400);
    Cpu(0, "microcode/version", "0x5003605\n");
    assert_int_equal(HalProcessorMicrocode(0), 0x05003605);
    Cpu(10, "microcode/version", "0xffffffff\n");
    assert_int_equal(HalProcessorMicrocode(10), 0xFFFFFFFF);
}

/* --- what is broken counts as not telling --- */

static void NothingIsToldWithoutFiles(void **State)
{
    HAL_CPU_REPORT Nothing = Report(0);

    (void)State;
    assert_int_equal(Nothing.Midr, 0);
    assert_int_equal(Nothing.PackageThreads, 0);
    assert_int_equal(Nothing.CoreThreads, 0);
    assert_int_equal(Nothing.CacheCount, 0);
    assert_int_equal(HalProcessorMHz(0), 0);
    assert_int_equal(HalProcessorMicrocode(0), 0);
}

static void BrokenNumbersCountAsNone(void **State)
{
    static const char *const Broken[] = {
        "", "\n", "x", "-1\n", "0x\n", "0x100000005\n", "\xFF\n", "99999999999999999999999\n", ": 5\n", " \t\n", "K\n"};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Broken); Index++) {
        char Text[256];

        Cpu(0, "microcode/version", Broken[Index]);
        Cpu(0, "cpufreq/base_frequency", Broken[Index]);
        Cpu(0, "topology/package_cpus_list", Broken[Index]);
        Cache(0, 0, "Data\n", "1\n", Broken[Index], Broken[Index], Broken[Index], Broken[Index]);
        snprintf(Text, sizeof(Text), "processor\t: %s\nmicrocode\t: 7\nprocessor : 0\nmicrocode :%s", Broken[Index],
                 Broken[Index]);
        CpuInfo(Text);
        assert_int_equal(HalProcessorMicrocode(0), 0);
        assert_int_equal(HalProcessorMHz(0), 0);
        assert_int_equal(Report(0).PackageThreads, 0);
        assert_int_equal(Report(0).CacheCount, 0);
    }
}

static void ListsAreCounted(void **State)
{
    static const struct {
        const char *Text;
        ULONG Count;
    } Lists[] = {
        {"0\n", 1},   {"0-3\n", 4},   {"0,4\n", 2}, {"0-3,8-11,16\n", 9}, {"5\n", 1},
        {"0-\n", 0},  {"3-0\n", 0},   {"0,\n", 0},  {",0\n", 0},          {"0-99999999\n", 0},
        {"0 1\n", 0}, {"0-1-2\n", 0}, {"a\n", 0},   {"0-65535\n", 65536}, {"0-4294967295\n", 0},
    };

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Lists); Index++) {
        Cpu(0, "topology/package_cpus_list", Lists[Index].Text);
        assert_int_equal(Report(0).PackageThreads, Lists[Index].Count);
    }
}

static void OddCachesAreLeftOut(void **State)
{
    HAL_CPU_REPORT Odd;

    (void)State;
    Cache(0, 0, "Trace\n", "1\n", "12K\n", "8\n", "64\n", "0\n");
    Cache(0, 1, "Unified\n", "0\n", "12K\n", "8\n", "64\n", "0\n");
    Cache(0, 2, "Unified\n", "3\n", "4096M\n", "8\n", "64\n", "0\n");
    Cache(0, 3, "Unified\n", "2\n", "3M\n", "8\n", "64\n", "0\n");
    Cache(0, 5, "Unified\n", "4\n", "3M\n", "8\n", "64\n", "0\n"); /* beyond a gap */
    Odd = Report(0);
    assert_int_equal(Odd.CacheCount, 2);
    AssertCache(&Odd.Caches[0], HalUnifiedCache, 3, 0xFFFFFFFF, 8, 64, 1);
    AssertCache(&Odd.Caches[1], HalUnifiedCache, 2, 3 << 20, 8, 64, 1);
    for (ULONG Index = 0; Index < 40; Index++) {
        Cache(0, Index, "Data\n", "1\n", "1K\n", NULL, NULL, NULL);
    }
    assert_int_equal(Report(0).CacheCount, HAL_MAXIMUM_CACHES);
}

static void BinaryAndLongTextIsSurvived(void **State)
{
    static char Noise[100000];
    unsigned Seed = 7;

    (void)State;
    for (ULONG Round = 0; Round < 20; Round++) {
        for (size_t Index = 0; Index < sizeof(Noise); Index++) {
            static const char Likely[] = "processor\t: 0\nCPU part:x,-9\0K";

            Seed = Seed * 1103515245 + 12345;
            Noise[Index] = (Seed >> 16) % 4 == 0 ? (char)(Seed >> 8) : Likely[(Seed >> 20) % (sizeof(Likely) - 1)];
        }
        Write("/proc/cpuinfo", Noise, sizeof(Noise));
        Write("/sys/devices/system/cpu/cpu0/topology/package_cpus_list", Noise, sizeof(Noise));
        Write("/sys/devices/system/cpu/cpu0/cache/index0/type", Noise, sizeof(Noise));
        (void)Report(0);
        (void)HalProcessorMHz(0);
        (void)HalProcessorMicrocode(0);
    }
    memset(Noise, 'x', sizeof(Noise)); /* one line without an end */
    Write("/proc/cpuinfo", Noise, sizeof(Noise));
    assert_int_equal(HalProcessorMicrocode(0), 0);
}

/* --- this host --- */

static void MegahertzArePlausibleOrUnknown(void **State)
{
    ULONG Count = HalInitializeProcessors();

    (void)State;
    for (ULONG Index = 0; Index < Count; Index++) {
        ULONG MHz = HalProcessorMHz(HalProcessor(Index)->HostProcessor);

        assert_true(MHz == 0 || (MHz >= 10 && MHz <= 20000));
    }
    assert_int_equal(HalProcessorMHz(60000), 0);
}

static BOOLEAN CpuInfoHas(const char *Name)
{
    BOOLEAN Has = FALSE;
    char Line[4096];
    FILE *File = fopen("/proc/cpuinfo", "r");

    if (File == NULL) {
        return FALSE;
    }
    while (fgets(Line, sizeof(Line), File) != NULL) {
        Has = Has || strncmp(Line, Name, strlen(Name)) == 0;
    }
    fclose(File);
    return Has;
}

static void WhatCpuinfoHasIsFound(void **State)
{
    BOOLEAN MHz = CpuInfoHas("cpu MHz");
    BOOLEAN Microcode = CpuInfoHas("microcode");

    (void)State;
    (void)HalInitializeProcessors();
    for (ULONG Index = 0; Index < HalProcessorCount(); Index++) {
        assert_true(!MHz || HalProcessorMHz(HalProcessor(Index)->HostProcessor) != 0);
        assert_true(!Microcode || HalProcessorMicrocode(HalProcessor(Index)->HostProcessor) != 0);
    }
}

static void ThisHostsReportIsPlausible(void **State)
{
    HAL_CPU_REPORT Host;

    (void)State;
    (void)HalInitializeProcessors();
    assert_true(HalPinThread(HalProcessor(0)->HostProcessor));
    Host = Report(HalProcessor(0)->HostProcessor);
    HalUnpinThread();
    assert_true(Host.CacheCount <= HAL_MAXIMUM_CACHES);
    assert_true(Host.PackageThreads == 0 || Host.PackageThreads >= Host.CoreThreads);
#if defined(__aarch64__)
    assert_in_range(Host.Architecture, 8, 9);
    assert_in_range(Host.FlushSize, 4, 2048);
#else
    assert_int_equal(Host.FlushSize, 0);
    assert_int_equal(Host.Midr, 0);
#endif
}

int main(void)
{
#define IN_ROOT(Test) cmocka_unit_test_setup_teardown(Test, NewRoot, DropRoot)
    const struct CMUnitTest Tests[] = {
        IN_ROOT(BigAndLittleCoresAreToldApart),
        IN_ROOT(AServerOfArmIsRead),
        IN_ROOT(AnX86ServerTellsFrequencyAndMicrocode),
        IN_ROOT(NothingIsToldWithoutFiles),
        IN_ROOT(BrokenNumbersCountAsNone),
        IN_ROOT(ListsAreCounted),
        IN_ROOT(OddCachesAreLeftOut),
        IN_ROOT(BinaryAndLongTextIsSurvived),
        cmocka_unit_test(MegahertzArePlausibleOrUnknown),
        cmocka_unit_test(WhatCpuinfoHasIsFound),
        cmocka_unit_test(ThisHostsReportIsPlausible),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
