/*
 * topology.c - what sysfs tells of one CPU: its core, package, node, and its caches with those that share them.
 *
 * A list of CPUs in sysfs names every CPU that shares something, so the lowest of the list names the thing. What is
 * absent there is a thing of the CPU alone, but for the package, the die and the node, which are number 0.
 *
 * No state, no locks. Test: tests/hal/test_topology.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "cpureport.h"

#include <dirent.h>
#include <stdio.h>

/* The node is the name of a link in the CPU's folder. */
static ULONG HalpReadNode(ULONG HostProcessor)
{
    char Path[512];
    struct dirent *Entry;
    unsigned Node = 0;
    DIR *Folder;

    snprintf(Path, sizeof(Path), "%s/sys/devices/system/cpu/cpu%u", HalpHostRoot, (unsigned)HostProcessor);
    Folder = opendir(Path);
    if (Folder == NULL) {
        return 0;
    }
    while ((Entry = readdir(Folder)) != NULL) {
        if (sscanf(Entry->d_name, "node%u", &Node) == 1) {
            break;
        }
    }
    closedir(Folder);
    return Node;
}

/* By level; of one level data before the others. */
static BOOLEAN HalpGoesBefore(const HAL_CACHE *One, const HAL_CACHE *Two)
{
    return One->Level != Two->Level ? One->Level < Two->Level : One->Type == HalDataCache && Two->Type != HalDataCache;
}

/* Behind those that do not come after it. The last is dropped if there are too many. */
static VOID HalpInsertCache(PHAL_CPU Cpu, const HAL_CACHE *Cache)
{
    ULONG Place = Cpu->CacheCount;

    while (Place > 0 && HalpGoesBefore(Cache, &Cpu->Cache[Place - 1])) {
        if (Place < HAL_CPU_CACHES) {
            Cpu->Cache[Place] = Cpu->Cache[Place - 1];
        }
        Place--;
    }
    if (Place < HAL_CPU_CACHES) {
        Cpu->Cache[Place] = *Cache;
        Cpu->CacheCount += Cpu->CacheCount < HAL_CPU_CACHES;
    }
}

VOID HalDescribeProcessor(ULONG HostProcessor, PHAL_CPU Cpu)
{
    HAL_CACHE Cache;
    ULONG Sibling = HalpReadLowest(HostProcessor, "topology/thread_siblings_list", HostProcessor);

    *Cpu = (HAL_CPU){.HostProcessor = HostProcessor};
    /* Some hosts report -1 for what they do not know, which is no number. */
    Cpu->Package = HalpReadLowest(HostProcessor, "topology/physical_package_id", 0);
    Cpu->Core = HalpReadLowest(HostProcessor, "topology/core_id", HostProcessor);
    Cpu->Die = HalpReadLowest(HostProcessor, "topology/die_id", 0);
    Cpu->Sibling = HalpReadLowest(HostProcessor, "topology/core_cpus_list", Sibling);
    Cpu->Module = Cpu->Sibling;
    if (HalpReadLowest(HostProcessor, "topology/cluster_id", 0xFFFF) < 0xFFFF) {
        Cpu->Module = HalpReadLowest(HostProcessor, "topology/cluster_cpus_list", Cpu->Sibling);
    }
    Cpu->Node = HalpReadNode(HostProcessor);
    for (ULONG Index = 0; Index < HAL_MAXIMUM_CACHES && HalpReadCache(HostProcessor, Index, &Cache); Index++) {
        if (Cache.Size != 0) {
            HalpInsertCache(Cpu, &Cache);
        }
    }
}
