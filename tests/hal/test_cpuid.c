/*
 * test_cpuid.c - cpuid against /proc/cpuinfo and against its own rules.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hal.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
static void leaf_0_names_the_vendor(void **State)
{
    HAL_CPUID Registers;
    char Vendor[13];
    char Line[256];
    FILE *File;

    (void)State;
    assert_true(HalCpuid(0, 0, &Registers));
    assert_true(Registers.Eax >= 1);
    memcpy(Vendor, &Registers.Ebx, 4);
    memcpy(Vendor + 4, &Registers.Edx, 4);
    memcpy(Vendor + 8, &Registers.Ecx, 4);
    Vendor[12] = 0;
    assert_int_equal(strlen(Vendor), 12);
    for (ULONG Index = 0; Index < 12; Index++)
        assert_in_range(Vendor[Index], ' ', '~');

    File = fopen("/proc/cpuinfo", "r");
    if (File == NULL)
        skip();
    while (fgets(Line, sizeof(Line), File) != NULL) {
        char Name[64];

        if (sscanf(Line, "vendor_id : %63[^\n]", Name) == 1) {
            fclose(File);
            assert_string_equal(Vendor, Name);
            return;
        }
    }
    fclose(File);
}

/* Leaf 0xB repeats its subleaf in the low byte of ECX. */
static void the_subleaf_reaches_the_cpu(void **State)
{
    HAL_CPUID Registers;

    (void)State;
    assert_true(HalCpuid(0, 0, &Registers));
    if (Registers.Eax < 0xB)
        skip();
    for (ULONG Subleaf = 0; Subleaf < 4; Subleaf++) {
        assert_true(HalCpuid(0xB, Subleaf, &Registers));
        if (Subleaf == 0 && (Registers.Eax | Registers.Ebx | Registers.Ecx | Registers.Edx) == 0)
            skip();
        assert_int_equal(Registers.Ecx & 0xFF, Subleaf);
    }
}

static void features_are_those_of_the_compiler(void **State)
{
    HAL_CPUID Registers;

    (void)State;
    assert_true(HalCpuid(1, 0, &Registers));
    __builtin_cpu_init();
    assert_int_equal((Registers.Edx >> 26) & 1, __builtin_cpu_supports("sse2") != 0);
    assert_int_equal((Registers.Ecx >> 20) & 1, __builtin_cpu_supports("sse4.2") != 0);
}
#else
static void there_is_none(void **State)
{
    HAL_CPUID Registers;

    (void)State;
    assert_false(HalCpuid(0, 0, &Registers));
}
#endif

int main(void)
{
    const struct CMUnitTest Tests[] = {
#if defined(__x86_64__) || defined(__i386__)
        cmocka_unit_test(leaf_0_names_the_vendor),
        cmocka_unit_test(the_subleaf_reaches_the_cpu),
        cmocka_unit_test(features_are_those_of_the_compiler),
#else
        cmocka_unit_test(there_is_none),
#endif
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
