/*
 * test_page.c - pages: zeroed, aligned, whole, and gone when freed.
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

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void zeroed_aligned_and_writable_to_the_last_byte(void **State)
{
    const SIZE_T Page = (SIZE_T)sysconf(_SC_PAGESIZE);
    const SIZE_T Sizes[] = {1, Page, Page + 1, 3 * Page - 1, 64 * Page};

    (void)State;
    for (ULONG Round = 0; Round < 3; Round++) {
        for (ULONG Index = 0; Index < ARRAYSIZE(Sizes); Index++) {
            SIZE_T Whole = (Sizes[Index] + Page - 1) / Page * Page;
            UCHAR *Base = HalAllocatePages(Sizes[Index]);

            assert_non_null(Base);
            assert_int_equal((ULONG_PTR)Base % Page, 0);
            for (SIZE_T Byte = 0; Byte < Whole; Byte++)
                assert_int_equal(Base[Byte], 0);
            memset(Base, 0xA5, Whole);
            HalFreePages(Base, Sizes[Index]);
        }
    }
}

static void freed_pages_are_gone(void **State)
{
    const SIZE_T Page = (SIZE_T)sysconf(_SC_PAGESIZE);
    UCHAR *Base = HalAllocatePages(2 * Page - 1);
    unsigned char Resident[2];

    (void)State;
    assert_non_null(Base);
    assert_int_equal(mincore(Base, 2 * Page, Resident), 0);
    HalFreePages(Base, 2 * Page - 1);
    for (SIZE_T Offset = 0; Offset < 2 * Page; Offset += Page) {
        assert_int_equal(mincore(Base + Offset, Page, Resident), -1);
        assert_int_equal(errno, ENOMEM);
    }
}

static void what_cannot_be_is_null(void **State)
{
    (void)State;
    assert_null(HalAllocatePages(0));
    assert_null(HalAllocatePages(~(SIZE_T)0));
    assert_null(HalAllocatePages(~(SIZE_T)0 / 16 * 15));
    HalFreePages(NULL, 4096);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(zeroed_aligned_and_writable_to_the_last_byte),
        cmocka_unit_test(freed_pages_are_gone),
        cmocka_unit_test(what_cannot_be_is_null),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
