/*
 * cpuid.c - what the CPU says of itself.
 *
 * Test: tests/hal/test_cpuid.c.
 */
#include "hal.h"

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
