/*
 * test_interlocked.c - kprcb_interlocked.h and kprcb_readwrite.h: widths, results, neighbours left alone, orders that
 * link.
 */
#include <wdm.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define GUARD 0x5A

/* Any of the four widths between two guards: an operation of the wrong width changes a guard or leaves a byte. */
#define CELL(Type)                                                                                                     \
    struct {                                                                                                           \
        UCHAR Before[8];                                                                                               \
        Type Word __attribute__((aligned(8)));                                                                         \
        UCHAR After[8];                                                                                                \
    }

#define CHECK_GUARDS(Cell)                                                                                             \
    for (int i = 0; i < 8; i++) {                                                                                      \
        assert_int_equal((Cell).Before[i], GUARD);                                                                     \
        assert_int_equal((Cell).After[i], GUARD);                                                                      \
    }

/* The results of every operation of one width; Top is the sign bit of the width. */
#define WIDTH(Name, Type, Unsigned, Width)                                                                             \
    static void Name(void **State)                                                                                     \
    {                                                                                                                  \
        const Type Top = (Type)((Unsigned)1 << (sizeof(Type) * 8 - 1));                                                \
        CELL(Type) Cell;                                                                                               \
                                                                                                                       \
        (void)State;                                                                                                   \
        memset(&Cell, GUARD, sizeof(Cell));                                                                            \
        Cell.Word = 0;                                                                                                 \
        assert_true(InterlockedExchange##Width(&Cell.Word, -1) == 0);                                                  \
        assert_true(Cell.Word == (Type)-1);                                                                            \
        CHECK_GUARDS(Cell);                                                                                            \
        assert_true(InterlockedIncrement##Width(&Cell.Word) == 0);                                                     \
        CHECK_GUARDS(Cell);                                                                                            \
        assert_true(InterlockedDecrement##Width(&Cell.Word) == (Type)-1);                                              \
        CHECK_GUARDS(Cell);                                                                                            \
        assert_true(InterlockedAnd##Width(&Cell.Word, Top) == (Type)-1 && Cell.Word == Top);                           \
        assert_true(InterlockedOr##Width(&Cell.Word, 1) == Top && Cell.Word == (Type)(Top | 1));                       \
        assert_true(InterlockedXor##Width(&Cell.Word, 3) == (Type)(Top | 1) && Cell.Word == (Type)(Top | 2));          \
        assert_true(InterlockedExchange##Width(&Cell.Word, 5) == (Type)(Top | 2));                                     \
        assert_true(InterlockedExchangeAdd##Width(&Cell.Word, 7) == 5 && Cell.Word == 12);                             \
        assert_true(InterlockedAdd##Width(&Cell.Word, -2) == 10 && Cell.Word == 10);                                   \
        assert_true(InterlockedCompareExchange##Width(&Cell.Word, 20, 11) == 10 && Cell.Word == 10);                   \
        assert_true(InterlockedCompareExchange##Width(&Cell.Word, 20, 10) == 10 && Cell.Word == 20);                   \
        CHECK_GUARDS(Cell);                                                                                            \
        assert_true(InterlockedIncrementAcquire##Width(&Cell.Word) == 21);                                             \
        assert_true(InterlockedDecrementRelease##Width(&Cell.Word) == 20);                                             \
        assert_true(InterlockedAddNoFence##Width(&Cell.Word, 2) == 22);                                                \
        assert_true(InterlockedOrAcquire##Width(&Cell.Word, 1) == 22);                                                 \
        assert_true(InterlockedAndRelease##Width(&Cell.Word, 7) == 23);                                                \
        assert_true(InterlockedXorNoFence##Width(&Cell.Word, 1) == 7);                                                 \
        assert_true(InterlockedExchangeAcquire##Width(&Cell.Word, 1) == 6);                                            \
        assert_true(InterlockedExchangeAddRelease##Width(&Cell.Word, 1) == 1);                                         \
        assert_true(InterlockedCompareExchangeAcquire##Width(&Cell.Word, 3, 2) == 2);                                  \
        assert_true(InterlockedCompareExchangeRelease##Width(&Cell.Word, 4, 3) == 3);                                  \
        assert_true(InterlockedCompareExchangeNoFence##Width(&Cell.Word, 5, 3) == 4);                                  \
        assert_true(Cell.Word == 4);                                                                                   \
        assert_true(sizeof(InterlockedOr##Width(&Cell.Word, 0)) == sizeof(Type));                                      \
        CHECK_GUARDS(Cell);                                                                                            \
    }

WIDTH(Operations8, CHAR, UCHAR, 8)
WIDTH(Operations16, SHORT, USHORT, 16)
WIDTH(Operations32, LONG, ULONG, )
WIDTH(Operations64, LONG64, ULONG64, 64)

static void OrderBeforeOrAfterTheWidth(void **State)
{
    LONG64 Word64 = 0;
    SHORT Word16 = 0;

    (void)State;
    assert_int_equal(InterlockedOr64Acquire(&Word64, 1), 0);
    assert_int_equal(InterlockedOrAcquire64(&Word64, 2), 1);
    assert_int_equal(InterlockedCompareExchange64NoFence(&Word64, 9, 3), 3);
    assert_int_equal(InterlockedIncrement16Release(&Word16), 1);
    assert_int_equal(InterlockedIncrementRelease16(&Word16), 2);
}

static void AnyTypeOfTheWidth(void **State)
{
    ULONG Unsigned = 1;
    unsigned long Host = 1;
    enum { A = 1, B } Enumeration = A;
    PVOID Untyped = &Unsigned;
    ULONG_PTR Mask = 1;

    (void)State;
    assert_int_equal(InterlockedIncrement(&Unsigned), 2);
    assert_int_equal(InterlockedIncrement((volatile long *)&Unsigned), 3);
    assert_int_equal(InterlockedIncrement(Untyped), 4);
    assert_int_equal(InterlockedExchange(&Host, 5), 1);
    assert_int_equal((LONG)Host, 5);
    assert_int_equal(InterlockedExchange(&Enumeration, B), A);
    assert_int_equal(InterlockedOrAffinity(&Mask, 6), 1);
    assert_int_equal(InterlockedAndAffinity(&Mask, 2), 7);
    assert_int_equal(InterlockedIncrementSizeT(&Mask), 3);
    assert_int_equal(InterlockedExchangeAddSizeT(&Mask, 4), 3);
    assert_int_equal(InterlockedDecrementSizeT(&Mask), 6);
}

static void Pointers(void **State)
{
    PKTHREAD Thread = NULL;
    PKTHREAD const First = (PKTHREAD)(ULONG_PTR)0x1000;
    PKTHREAD const Second = (PKTHREAD)(ULONG_PTR)0x2000;

    (void)State;
    assert_ptr_equal(InterlockedExchangePointer(&Thread, First), NULL);
    assert_ptr_equal(InterlockedCompareExchangePointer(&Thread, Second, NULL), First);
    assert_ptr_equal(Thread, First);
    assert_ptr_equal(InterlockedCompareExchangePointerRelease(&Thread, Second, First), First);
    assert_ptr_equal(ReadPointerAcquire(&Thread), Second);
    WritePointerRelease(&Thread, First);
    assert_ptr_equal(ReadPointerNoFence(&Thread), First);
    assert_ptr_equal(InterlockedExchangePointerNoFence(&Thread, NULL), First);
}

static void Bits(void **State)
{
    LONG Words[3] = {0, 0, 0};
    LONG64 Long[2] = {0, 0};

    (void)State;
    assert_int_equal(InterlockedBitTestAndSet(Words, 31), 0);
    assert_true(Words[0] == MINLONG32);
    assert_int_equal(InterlockedBitTestAndSet(Words, 31), 1);
    assert_int_equal(InterlockedBitTestAndSet(Words, 65), 0);
    assert_true(Words[1] == 0 && Words[2] == 2);
    assert_int_equal(InterlockedBitTestAndSet(&Words[1], -1), 1);
    assert_int_equal(InterlockedBitTestAndReset(Words, 31), 1);
    assert_int_equal(InterlockedBitTestAndReset(Words, 31), 0);
    assert_int_equal(InterlockedBitTestAndComplementNoFence(Words, 0), 0);
    assert_int_equal(InterlockedBitTestAndComplement(Words, 0), 1);
    assert_true(Words[0] == 0);
    assert_int_equal(InterlockedBitTestAndSet64(Long, 63), 0);
    assert_true(Long[0] == MINLONG64);
    assert_int_equal(InterlockedBitTestAndSetAcquire64(Long, 64), 0);
    assert_true(Long[1] == 1);
    assert_int_equal(_interlockedbittestandreset64(Long, 63), 1);
    assert_true(Long[0] == 0);
}

static void Flags(void **State)
{
    ULONG Word = 0x0F;

    (void)State;
    assert_int_equal(RtlInterlockedSetBits(&Word, 0x30), 0x0F);
    assert_int_equal(RtlInterlockedClearBits(&Word, 0x03), 0x3F);
    RtlInterlockedSetBitsDiscardReturn(&Word, 0x01);
    RtlInterlockedClearBitsDiscardReturn(&Word, 0x08);
    assert_int_equal(RtlInterlockedXorBits(&Word, 0xFF), 0x35);
    assert_int_equal(Word, 0xCA);
}

/* A read of n bits sees n bits of a word whose neighbours are all ones, and a write changes no neighbour. */
static void ReadsAndWrites(void **State)
{
    CELL(LONG64) Cell;

    (void)State;
    memset(&Cell, GUARD, sizeof(Cell));
    Cell.Word = -1;
    WriteBooleanRelease((PBOOLEAN)&Cell.Word, TRUE);
    assert_true((ULONG64)Cell.Word == 0xFFFFFFFFFFFFFF01);
    assert_int_equal(ReadBooleanAcquire((PBOOLEAN)&Cell.Word), TRUE);
    WriteUShortNoFence((PUSHORT)&Cell.Word, 0x8002);
    assert_true((ULONG64)Cell.Word == 0xFFFFFFFFFFFF8002);
    assert_int_equal(ReadUShortRaw((PUSHORT)&Cell.Word), 0x8002);
    assert_int_equal(ReadNoFence16((PSHORT)&Cell.Word), (SHORT)0x8002);
    WriteRelease((PLONG)&Cell.Word, 3);
    assert_true((ULONG64)Cell.Word == 0xFFFFFFFF00000003);
    assert_int_equal(ReadAcquire((PLONG)&Cell.Word), 3);
    assert_int_equal(ReadULongNoFence((const ULONG *)&Cell.Word), 3);
    WriteULong64Raw((PULONG64)&Cell.Word, 4);
    assert_true(ReadNoFence64(&Cell.Word) == 4 && ReadULong64Acquire((PULONG64)&Cell.Word) == 4);
    CHECK_GUARDS(Cell);
}

#if defined(__x86_64__) || defined(__aarch64__)
static void CompareExchange128(void **State)
{
    LONG64 Words[2] __attribute__((aligned(16))) = {1, 2};
    LONG64 Comparand[2] = {1, 3};

    (void)State;
    assert_int_equal(InterlockedCompareExchange128(Words, 20, 10, Comparand), 0);
    assert_true(Words[0] == 1 && Words[1] == 2 && Comparand[0] == 1 && Comparand[1] == 2);
    assert_int_equal(InterlockedCompareExchange128(Words, -20, 10, Comparand), 1);
    assert_true(Words[0] == 10 && Words[1] == -20 && Comparand[0] == 1 && Comparand[1] == 2);
}
#endif

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Operations8),
        cmocka_unit_test(Operations16),
        cmocka_unit_test(Operations32),
        cmocka_unit_test(Operations64),
        cmocka_unit_test(OrderBeforeOrAfterTheWidth),
        cmocka_unit_test(AnyTypeOfTheWidth),
        cmocka_unit_test(Pointers),
        cmocka_unit_test(Bits),
        cmocka_unit_test(Flags),
        cmocka_unit_test(ReadsAndWrites),
#if defined(__x86_64__) || defined(__aarch64__)
        cmocka_unit_test(CompareExchange128),
#endif
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
