/*
 * cpuid.c - what the CPU says of itself.
 *
 * Test: tests/hal/test_cpuid.c.
 */
#include "hal.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

/* Not by executing one more cpuid, which costs microseconds in a virtual machine. */
static inline BOOLEAN HalpHasCpuid(VOID)
{
#ifdef __i386__
    ULONG Before;
    ULONG After;

    /* Bit 21 of the flags can be changed where there is cpuid. */
    __asm__ __volatile__("pushfl\n\tpushfl\n\tpopl %0\n\tmovl %0, %1\n\txorl $0x200000, %1\n\t"
                         "pushl %1\n\tpopfl\n\tpushfl\n\tpopl %1\n\tpopfl"
                         : "=&r"(Before), "=&r"(After)
                         :
                         : "cc");
    return ((Before ^ After) & 0x200000) != 0;
#else
    return TRUE;
#endif
}

BOOLEAN HalCpuid(ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    unsigned int Eax, Ebx, Ecx, Edx;

    if (!HalpHasCpuid()) {
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
