/*
 * test_memory.c - kprcb_memory.h and ntdef.h: memory routines, counted strings, limits, alignment, GUIDs.
 */
#include <wdm.h>

#include <limits.h>
#include <initguid.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

DEFINE_GUID(GUID_KPRCB_TEST, 0x01234567, 0x89ab, 0xcdef, 0, 1, 2, 3, 4, 5, 6, 7);

static const UNICODE_STRING ConstantString = RTL_CONSTANT_STRING(L"\\Device\\Null");
DECLARE_GLOBAL_CONST_UNICODE_STRING(GlobalString, L"abc");

static void Compare(void **State)
{
    UCHAR Left[] = {1, 2, 3, 4};
    UCHAR Right[] = {1, 2, 9, 4};

    (void)State;
    assert_int_equal(RtlCompareMemory(Left, Right, 4), 2);
    assert_int_equal(RtlCompareMemory(Left, Left, 4), 4);
    assert_int_equal(RtlCompareMemory(Left, Right, 0), 0);
    assert_true(RtlEqualMemory(Left, Right, 2));
    assert_false(RtlEqualMemory(Left, Right, 3));
}

static void CopyAndFill(void **State)
{
    UCHAR Bytes[6] = {1, 2, 3, 4, 5, 6};

    (void)State;
    RtlMoveMemory(Bytes + 1, Bytes, 4);
    assert_memory_equal(Bytes, ((UCHAR[]){1, 1, 2, 3, 4, 6}), 6);
    RtlFillMemory(Bytes, 2, 9);
    RtlCopyMemory(Bytes + 4, Bytes, 2);
    assert_memory_equal(Bytes, ((UCHAR[]){9, 9, 2, 3, 9, 9}), 6);
    RtlZeroMemory(Bytes, 3);
    assert_memory_equal(Bytes, ((UCHAR[]){0, 0, 0, 3, 9, 9}), 6);
    assert_ptr_equal(RtlSecureZeroMemory(Bytes, 6), Bytes);
    assert_memory_equal(Bytes, ((UCHAR[6]){0}), 6);
}

static void Strings(void **State)
{
    ANSI_STRING Ansi = RTL_CONSTANT_STRING("four");
    WCHAR Buffer[8];
    UNICODE_STRING Empty;
    DECLARE_CONST_UNICODE_STRING(Local, L"xy");

    (void)State;
    assert_int_equal(ConstantString.Length, 24);
    assert_int_equal(ConstantString.MaximumLength, 26);
    assert_int_equal(ConstantString.Buffer[8], 'N');
    assert_int_equal(GlobalString.Length, 6);
    assert_int_equal(Ansi.Length, 4);
    assert_int_equal(Ansi.MaximumLength, 5);
    assert_int_equal(Local.Length, 4);
    RtlInitEmptyUnicodeString(&Empty, Buffer, sizeof(Buffer));
    assert_int_equal(Empty.Length, 0);
    assert_int_equal(Empty.MaximumLength, 16);
}

/*
 * <limits.h> was included after wdm.h. The comparison is with variables, so that no compiler folds a 64-bit constant.
 */
static void Limits(void **State)
{
    ULONG volatile Ones = 0xFFFFFFFF;
    LONG volatile Lowest = MINLONG32;

    (void)State;
    assert_true(Ones == ULONG_MAX && sizeof(ULONG_MAX) == 4);
    assert_true(Lowest == LONG_MIN && sizeof(LONG_MAX) == 4);
    assert_true(Ones == MAXULONG);
    assert_true(MAXULONG_PTR == (ULONG_PTR)-1);
    assert_true(MAXLONGLONG == INT64_MAX);
}

static void Alignment(void **State)
{
    (void)State;
    assert_int_equal(ROUND_TO_PAGES(1), 0x1000);
    assert_int_equal(ROUND_TO_PAGES(0x1000), 0x1000);
    assert_int_equal(BYTES_TO_PAGES(0x1001), 2);
    assert_int_equal(BYTE_OFFSET((PVOID)(ULONG_PTR)0x12345), 0x345);
    assert_int_equal(ADDRESS_AND_SIZE_TO_SPAN_PAGES((PVOID)(ULONG_PTR)0x1FFF, 2), 2);
    assert_int_equal(ALIGN_UP_BY(13, 8), 16);
    assert_int_equal(ALIGN_DOWN_BY(13, 8), 8);
    assert_int_equal(ALIGN_UP(13, ULONG), 16);
    assert_true(IS_ALIGNED(24, 8) && !IS_ALIGNED(25, 8));
    assert_int_equal(RTL_FIELD_SIZE(UNICODE_STRING, Length), 2);
    assert_int_equal(RTL_SIZEOF_THROUGH_FIELD(UNICODE_STRING, MaximumLength), 4);
    assert_int_equal(RTL_NUMBER_OF_FIELD(GROUP_AFFINITY, Reserved), 3);
}

static void Conversions(void **State)
{
    (void)State;
    assert_int_equal(MAKELONG(0x1234, 0x5678), 0x56781234);
    assert_int_equal(HIWORD(0x56781234), 0x5678);
    assert_int_equal(LOBYTE(0x1234), 0x34);
    assert_true(LongToHandle(-1) == (HANDLE)(LONG_PTR)-1);
    assert_true(UlongToPtr(0xFFFFFFFF) == (PVOID)(ULONG_PTR)0xFFFFFFFF);
    assert_true(Int32x32To64(MINLONG, 2) == -4294967296LL);
    assert_true(UInt32x32To64(MAXULONG, 2) == 8589934590ULL);
}

static void Guids(void **State)
{
    GUID Copy = GUID_KPRCB_TEST;

    (void)State;
    assert_int_equal(sizeof(GUID), 16);
    assert_int_equal(Copy.Data2, 0x89ab);
    assert_true(IsEqualGUID(&Copy, &GUID_KPRCB_TEST));
    Copy.Data4[7] ^= 1;
    assert_false(IsEqualGUID(&Copy, &GUID_KPRCB_TEST));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Compare),   cmocka_unit_test(CopyAndFill), cmocka_unit_test(Strings), cmocka_unit_test(Limits),
        cmocka_unit_test(Alignment), cmocka_unit_test(Conversions), cmocka_unit_test(Guids),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
