/*
 * cpu.c - the CPUs that the process may use, and the placement of threads on them.
 *
 * "May use" is the affinity mask of the thread that calls HalInitializeProcessors: it already respects taskset and
 * the cpuset of a container. A caller that is pinned itself must call HalUnpinThread before. What each CPU is comes from
 * sysfs (topology.c).
 *
 * Sharing: HalInitializeProcessors alone writes; its callers must serialise it against the other routines here,
 * except HalPinThread and HalCurrentProcessor. What HalProcessor has returned is valid until the next
 * HalInitializeProcessors. No locks.
 *
 * Test: tests/hal/test_cpu.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

/* 64 Ki CPUs; the largest kernels are built for 8 Ki. The kernel gets no more of a mask than is needed. */
#define HALP_MASK_SETS 64
#define HALP_MASK_BYTES (HALP_MASK_SETS * sizeof(cpu_set_t))
#define HALP_MASK_CPUS (HALP_MASK_BYTES * 8)

static cpu_set_t HalpProcessMask[HALP_MASK_SETS];
static SIZE_T HalpProcessMaskBytes; /* 0: HalInitializeProcessors has not run, or the host tells no mask */

static HAL_CPU HalpOneProcessor;
static HAL_CPU *HalpProcessors = &HalpOneProcessor;
static ULONG HalpProcessorCount = 1;
static SIZE_T HalpProcessorBytes; /* of the pages at HalpProcessors, 0 for HalpOneProcessor */

/* The host refuses a mask that is shorter than its own: double until it is content. */
static SIZE_T HalpReadMask(VOID)
{
    for (SIZE_T Sets = 1; Sets <= HALP_MASK_SETS; Sets *= 2) {
        SIZE_T Bytes = Sets * sizeof(cpu_set_t);

        memset(HalpProcessMask, 0, Bytes);
        if (sched_getaffinity(0, Bytes, HalpProcessMask) == 0) {
            return Bytes;
        }
        if (errno != EINVAL) {
            break;
        }
    }
    return 0;
}

ULONG HalInitializeProcessors(VOID)
{
    SIZE_T MaskBytes = HalpReadMask();
    ULONG Count = 0;
    ULONG Index = 0;

    /* The first backtrace loads the unwinder and allocates. This one prints nothing, and later reports need neither. */
    HalPrintStack(0xFFFFFFFF);

    HalpProcessMaskBytes = MaskBytes;
    if (MaskBytes != 0) {
        Count = (ULONG)CPU_COUNT_S(MaskBytes, HalpProcessMask);
    }
    if (Count > 1 && Count * sizeof(HAL_CPU) > HalpProcessorBytes) {
        SIZE_T Bytes = Count * sizeof(HAL_CPU);
        HAL_CPU *New = HalAllocatePages(Bytes);

        if (New == NULL) {
            Count = 1;
        } else {
            if (HalpProcessorBytes != 0) {
                HalFreePages(HalpProcessors, HalpProcessorBytes);
            }
            HalpProcessors = New;
            HalpProcessorBytes = Bytes;
        }
    }

    if (Count == 0) {
        HalDescribeProcessor(HalCurrentProcessor(), &HalpProcessors[0]);
        Count = 1;
    } else {
        for (ULONG Host = 0; Host < MaskBytes * 8 && Index < Count; Host++) {
            if (CPU_ISSET_S(Host, MaskBytes, HalpProcessMask)) {
                HalDescribeProcessor(Host, &HalpProcessors[Index++]);
            }
        }
    }
    HalpProcessorCount = Count;
    return Count;
}

ULONG HalProcessorCount(VOID)
{
    return HalpProcessorCount;
}

const HAL_CPU *HalProcessor(ULONG Index)
{
    return &HalpProcessors[Index];
}

BOOLEAN HalPinThread(ULONG HostProcessor)
{
    cpu_set_t Mask[HALP_MASK_SETS];
    SIZE_T Bytes;

    if (HostProcessor >= HALP_MASK_CPUS) {
        return FALSE;
    }
    Bytes = (HostProcessor / CPU_SETSIZE + 1) * sizeof(cpu_set_t);
    memset(Mask, 0, Bytes);
    CPU_SET_S(HostProcessor, Bytes, Mask);
    return sched_setaffinity(0, Bytes, Mask) == 0;
}

VOID HalUnpinThread(VOID)
{
    if (HalpProcessMaskBytes != 0) {
        (void)sched_setaffinity(0, HalpProcessMaskBytes, HalpProcessMask);
    }
}

ULONG HalCurrentProcessor(VOID)
{
    int Host = sched_getcpu();

    return Host < 0 ? 0 : (ULONG)Host;
}
