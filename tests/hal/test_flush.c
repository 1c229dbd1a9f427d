/*
 * test_flush.c - flushing cache lines: what they hold survives it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hal.h"

#define LINES 512
#define LINE 64

static UCHAR Memory[LINES * LINE] __attribute__((aligned(4096)));

/* 0: this CPU has none. */
static ULONG FlushSize(BOOLEAN Optimized)
{
    HAL_CPU_REPORT Report;
    HAL_CPUID Registers;

    if (!HalCpuid(0, 0, &Registers)) {
        HalReportProcessor(HalCurrentProcessor(), &Report);
        return Report.FlushSize;
    }
    if (Optimized && (Registers.Eax < 7 || !HalCpuid(7, 0, &Registers) || (Registers.Ebx & 0x00800000) == 0)) {
        return 0;
    }
    assert_true(HalCpuid(1, 0, &Registers));
    return (Registers.Edx & 0x00080000) != 0 ? (Registers.Ebx >> 8 & 0xFF) * 8 : 0;
}

static void Survives(HAL_FLUSH_LINES *Flush, ULONG Size)
{
    for (ULONG Round = 0; Round < 16; Round++) {
        for (ULONG Byte = 0; Byte < sizeof(Memory); Byte++) {
            Memory[Byte] = (UCHAR)(Byte * 7 + Round);
        }
        Flush((ULONG_PTR)Memory, sizeof(Memory) / Size, Size);
        for (ULONG Byte = 0; Byte < sizeof(Memory); Byte++) {
            assert_int_equal(Memory[Byte], (UCHAR)(Byte * 7 + Round));
        }
    }
    Flush((ULONG_PTR)Memory, 0, Size);
    Flush(0, 0, Size); /* nothing is touched */
}

static void ContentsSurvive(void **State)
{
    ULONG Size = FlushSize(FALSE);

    (void)State;
    if (Size == 0) {
        skip();
    }
    Survives(HalFlushLines, Size);
}

static void ContentsSurviveTheOtherInstruction(void **State)
{
    ULONG Size = FlushSize(TRUE);

    (void)State;
    if (Size == 0) {
        skip();
    }
    Survives(HalFlushLinesOptimized, Size);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(ContentsSurvive),
        cmocka_unit_test(ContentsSurviveTheOtherInstruction),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
