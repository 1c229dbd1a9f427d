/*
 * page.c - whole pages from the host.
 *
 * Pages are not reserved in swap and come zeroed at the first touch. Under AddressSanitizer they are roots for the
 * leak checker, which otherwise takes what only they point to as lost.
 *
 * Test: tests/hal/test_page.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define HALP_LEAK_CHECKER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HALP_LEAK_CHECKER 1
#endif
#endif
#ifdef HALP_LEAK_CHECKER
#include <sanitizer/lsan_interface.h>
#endif

/* 0: too many. */
static SIZE_T HalpRoundToPages(SIZE_T Bytes)
{
    SIZE_T Page = (SIZE_T)sysconf(_SC_PAGESIZE);

    return (Bytes + Page - 1) & ~(Page - 1);
}

static PVOID HalpMap(SIZE_T Size)
{
    PVOID Base = MAP_FAILED;

    if (Size != 0) {
        Base = mmap(NULL, Size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    return Base != MAP_FAILED ? Base : NULL;
}

PVOID HalAllocatePages(SIZE_T Bytes)
{
    SIZE_T Size = HalpRoundToPages(Bytes);
    PVOID Base = Size >= Bytes ? HalpMap(Size) : NULL;

#ifdef HALP_LEAK_CHECKER
    if (Base != NULL) {
        __lsan_register_root_region(Base, Size);
    }
#endif
    return Base;
}

PVOID HalAllocateSparsePages(SIZE_T Bytes)
{
    SIZE_T Size = HalpRoundToPages(Bytes);
    PVOID Base = Size >= Bytes ? HalpMap(Size) : NULL;

    if (Base != NULL) {
        (void)madvise(Base, Size, MADV_NOHUGEPAGE);
    }
    return Base;
}

VOID HalFreePages(PVOID Base, SIZE_T Bytes)
{
    SIZE_T Size = HalpRoundToPages(Bytes);

    if (Base == NULL || Size == 0) {
        return;
    }
#ifdef HALP_LEAK_CHECKER
    __lsan_unregister_root_region(Base, Size);
#endif
    (void)munmap(Base, Size);
}

VOID HalFreeSparsePages(PVOID Base, SIZE_T Bytes)
{
    if (Base != NULL && Bytes != 0) {
        (void)munmap(Base, HalpRoundToPages(Bytes));
    }
}
