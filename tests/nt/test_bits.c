/*
 * test_bits.c - kprcb_bits.h: scans through pointers of either width, bit tests, counts, rotations, byte order.
 */
#include <wdm.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* The upper half of a 64-bit unsigned long must not keep what was there. */
static void ScanThroughUnsignedLong(void **State)
{
    unsigned long Index = ~0UL;

    (void)State;
    assert_int_equal(BitScanForward(&Index, 0x50), 1);
    assert_true(Index == 4);
    Index = ~0UL;
    assert_int_equal(_BitScanReverse(&Index, 0x50), 1);
    assert_true(Index == 6);
    Index = ~0UL;
    assert_int_equal(_BitScanForward64(&Index, (ULONG64)1 << 40), 1);
    assert_true(Index == 40);
    Index = ~0UL;
    assert_int_equal(BitScanReverse64(&Index, MAXULONG64), 1);
    assert_true(Index == 63);
}

static void ScanThroughUlong(void **State)
{
    ULONG Index[2] = {77, 88};

    (void)State;
    assert_int_equal(BitScanForward(&Index[0], 0x80000000), 1);
    assert_int_equal(Index[0], 31);
    assert_int_equal(BitScanReverse64(&Index[0], 1), 1);
    assert_int_equal(Index[0], 0);
    assert_int_equal(Index[1], 88);
}

static void ScanOfNothing(void **State)
{
    ULONG Index = 77;

    (void)State;
    assert_int_equal(BitScanForward(&Index, 0), 0);
    assert_int_equal(BitScanReverse(&Index, (ULONG64)1 << 32), 0);
    assert_int_equal(BitScanForward64(&Index, 0), 0);
    assert_int_equal(Index, 77);
}

static void Tests32(void **State)
{
    LONG Words[2] = {0, 1};

    (void)State;
    assert_int_equal(_bittest(Words, 32), 1);
    assert_int_equal(_bittest(&Words[1], -1), 0);
    assert_int_equal(_bittestandset(Words, 31), 0);
    assert_int_equal(_bittestandset(Words, 31), 1);
    assert_true(Words[0] == MINLONG32);
    assert_int_equal(_bittestandcomplement(Words, 0), 0);
    assert_int_equal(_bittestandcomplement(Words, 31), 1);
    assert_true(Words[0] == 1);
    assert_int_equal(_bittestandreset(Words, 0), 1);
    assert_int_equal(_bittestandreset(Words, 0), 0);
    assert_true(Words[0] == 0 && Words[1] == 1);
}

static void Tests64(void **State)
{
    LONG64 Words[2] = {0, 0};

    (void)State;
    assert_int_equal(_bittestandset64(Words, 63), 0);
    assert_int_equal(_bittest64(Words, 63), 1);
    assert_int_equal(_bittestandset64(Words, 100), 0);
    assert_true(Words[1] == (LONG64)1 << 36);
    assert_int_equal(_bittestandreset64(Words, 63), 1);
    assert_int_equal(_bittestandcomplement64(Words, 5), 0);
    assert_true(Words[0] == 32);
}

static void Counts(void **State)
{
    (void)State;
    assert_int_equal(__popcnt16(0x1FFFF), 16);
    assert_int_equal(__popcnt(-1), 32);
    assert_int_equal(PopulationCount64(-1), 64);
    assert_int_equal(_CountLeadingZeros(1), 31);
    assert_int_equal(_CountLeadingZeros(0), 32);
    assert_int_equal(_CountLeadingZeros64(1), 63);
    assert_int_equal(_CountTrailingZeros(8), 3);
    assert_int_equal(_CountTrailingZeros64(0), 64);
}

static void Rotations(void **State)
{
    (void)State;
    assert_int_equal(RotateLeft32(0x80000001, 1), 3);
    assert_int_equal(RotateLeft32(5, 0), 5);
    assert_int_equal(RotateRight32(3, 33), 0x80000001);
    assert_true(RotateLeft64(1, 63) == (ULONG64)1 << 63);
    assert_true(_rotr64(1, 1) == (ULONG64)1 << 63);
    assert_int_equal(_rotl(1, 31), 0x80000000);
}

static void ByteOrder(void **State)
{
    (void)State;
    assert_int_equal(RtlUshortByteSwap(0x1234), 0x3412);
    assert_int_equal(_byteswap_ulong(0x12345678), 0x78563412);
    assert_true(RtlUlonglongByteSwap(0x0102030405060708) == 0x0807060504030201);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(ScanThroughUnsignedLong), cmocka_unit_test(ScanThroughUlong),
        cmocka_unit_test(ScanOfNothing),           cmocka_unit_test(Tests32),
        cmocka_unit_test(Tests64),                 cmocka_unit_test(Counts),
        cmocka_unit_test(Rotations),               cmocka_unit_test(ByteOrder),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
