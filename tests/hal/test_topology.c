/*
 * test_topology.c - src/hal/topology.c: what a CPU shares with which others, from files as Linux shows them, and from
 * none.
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

static void Write(const char *Name, const char *Text)
{
    char Path[256];
    FILE *File;

    snprintf(Path, sizeof(Path), "%s/sys/devices/system/cpu/%s", Root, Name);
    for (char *Slash = Path + strlen(Root) + 1; (Slash = strchr(Slash, '/')) != NULL; Slash++) {
        *Slash = 0;
        mkdir(Path, 0777);
        *Slash = '/';
    }
    File = fopen(Path, "w");
    assert_non_null(File);
    assert_true(fputs(Text, File) >= 0);
    assert_int_equal(fclose(File), 0);
}

static void WriteCache(const char *Folder, const char *Level, const char *Type, const char *Size, const char *Shared)
{
    const char *const Files[][2] = {{"level", Level}, {"type", Type}, {"size", Size}, {"shared_cpu_list", Shared}};
    char Name[128];

    for (ULONG Index = 0; Index < ARRAYSIZE(Files); Index++) {
        snprintf(Name, sizeof(Name), "%s/%s", Folder, Files[Index][0]);
        Write(Name, Files[Index][1]);
    }
}

static void a_cpu_of_which_nothing_is_told_is_alone(void **State)
{
    HAL_CPU Cpu;

    (void)State;
    HalDescribeProcessor(5, &Cpu);
    assert_int_equal(Cpu.HostProcessor, 5);
    assert_int_equal(Cpu.Package, 0);
    assert_int_equal(Cpu.Die, 0);
    assert_int_equal(Cpu.Node, 0);
    assert_int_equal(Cpu.Core, 5);
    assert_int_equal(Cpu.Sibling, 5);
    assert_int_equal(Cpu.Module, 5);
    assert_int_equal(Cpu.CacheCount, 0);
}

static void the_lowest_of_a_list_names_what_is_shared(void **State)
{
    HAL_CPU Cpu;

    (void)State;
    Write("cpu67/topology/physical_package_id", "1\n");
    Write("cpu67/topology/die_id", "2\n");
    Write("cpu67/topology/core_id", "3\n");
    Write("cpu67/topology/core_cpus_list", "19,67\n");
    Write("cpu67/topology/thread_siblings_list", "18,67\n"); /* the older name of the same file */
    Write("cpu67/topology/cluster_id", "4\n");
    Write("cpu67/topology/cluster_cpus_list", "16-19,64-67\n");
    Write("cpu67/node1/cpulist", "24-47\n");
    HalDescribeProcessor(67, &Cpu);
    assert_int_equal(Cpu.Package, 1);
    assert_int_equal(Cpu.Die, 2);
    assert_int_equal(Cpu.Core, 3);
    assert_int_equal(Cpu.Sibling, 19);
    assert_int_equal(Cpu.Module, 16);
    assert_int_equal(Cpu.Node, 1);
}

static void older_systems_have_the_older_name(void **State)
{
    HAL_CPU Cpu;

    (void)State;
    Write("cpu3/topology/thread_siblings_list", "1,3\n");
    HalDescribeProcessor(3, &Cpu);
    assert_int_equal(Cpu.Sibling, 1);
    assert_int_equal(Cpu.Module, 1);
}

static void what_the_host_does_not_know_counts_as_absent(void **State)
{
    HAL_CPU Cpu;

    (void)State;
    Write("cpu3/topology/physical_package_id", "-1\n");
    Write("cpu3/topology/die_id", "-1\n");
    Write("cpu3/topology/core_id", "-1\n");
    Write("cpu3/topology/core_cpus_list", "2-3\n");
    Write("cpu3/topology/cluster_id", "65535\n");
    Write("cpu3/topology/cluster_cpus_list", "0-3\n");
    HalDescribeProcessor(3, &Cpu);
    assert_int_equal(Cpu.Package, 0);
    assert_int_equal(Cpu.Die, 0);
    assert_int_equal(Cpu.Core, 3);
    assert_int_equal(Cpu.Sibling, 2);
    assert_int_equal(Cpu.Module, 2);
    Write("cpu3/topology/cluster_id", "-1\n");
    HalDescribeProcessor(3, &Cpu);
    assert_int_equal(Cpu.Module, 2);
}

static void caches_are_in_order_with_who_shares_them(void **State)
{
    static const ULONG Levels[] = {1, 1, 2, 3};
    static const ULONG Types[] = {HalDataCache, HalInstructionCache, HalUnifiedCache, HalUnifiedCache};
    static const ULONG Sizes[] = {48, 32, 2048, 36864};
    static const ULONG Sharers[] = {4, 4, 4, 0};
    HAL_CPU Cpu;

    (void)State;
    WriteCache("cpu5/cache/index0", "3\n", "Unified\n", "36864K\n", "0-15\n");
    WriteCache("cpu5/cache/index1", "1\n", "Instruction\n", "32K\n", "4-5\n");
    WriteCache("cpu5/cache/index2", "2\n", "Unified\n", "2M\n", "4-5\n");
    WriteCache("cpu5/cache/index3", "1\n", "Data\n", "48K\n", "4-5\n");
    HalDescribeProcessor(5, &Cpu);
    assert_int_equal(Cpu.CacheCount, 4);
    for (ULONG Index = 0; Index < 4; Index++) {
        assert_int_equal(Cpu.Cache[Index].Level, Levels[Index]);
        assert_int_equal(Cpu.Cache[Index].Type, Types[Index]);
        assert_int_equal(Cpu.Cache[Index].Size, Sizes[Index] * 1024);
        assert_int_equal(Cpu.Cache[Index].Sharer, Sharers[Index]);
    }
}

static void of_more_caches_than_there_is_room_for_the_nearest_stay(void **State)
{
    static const char *const Levels[] = {"6", "5", "4", "3", "2", "1", "7"};
    HAL_CPU Cpu;

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Levels); Index++) {
        char Folder[64];

        snprintf(Folder, sizeof(Folder), "cpu0/cache/index%u", (unsigned)Index);
        WriteCache(Folder, Levels[Index], "Unified\n", "64K\n", "0\n");
    }
    HalDescribeProcessor(0, &Cpu);
    assert_int_equal(Cpu.CacheCount, HAL_CPU_CACHES);
    for (ULONG Index = 0; Index < HAL_CPU_CACHES; Index++) {
        assert_int_equal(Cpu.Cache[Index].Level, Index + 1);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup_teardown(a_cpu_of_which_nothing_is_told_is_alone, NewRoot, DropRoot),
        cmocka_unit_test_setup_teardown(the_lowest_of_a_list_names_what_is_shared, NewRoot, DropRoot),
        cmocka_unit_test_setup_teardown(older_systems_have_the_older_name, NewRoot, DropRoot),
        cmocka_unit_test_setup_teardown(what_the_host_does_not_know_counts_as_absent, NewRoot, DropRoot),
        cmocka_unit_test_setup_teardown(caches_are_in_order_with_who_shares_them, NewRoot, DropRoot),
        cmocka_unit_test_setup_teardown(of_more_caches_than_there_is_room_for_the_nearest_stay, NewRoot, DropRoot),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
