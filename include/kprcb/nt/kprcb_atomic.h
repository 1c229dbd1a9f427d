/*
 * kprcb_atomic.h - what kprcb_interlocked.h and kprcb_readwrite.h are made of. Not for use outside these two.
 *
 * KPRCB_ATn(Pointer) gives a pointer to n bits, after the compiler has seen that the object has n bits.
 */
#ifndef KPRCB_NT_ATOMIC_H
#define KPRCB_NT_ATOMIC_H

#include <kprcb/base.h>

/*
 * An operation may work on an object of another type. i386 aligns members of 64 bits to 4 bytes; atomic access needs
 * 8.
 */
typedef SHORT KPRCB_ANY16 __attribute__((may_alias));
typedef LONG KPRCB_ANY32 __attribute__((may_alias));
typedef LONG64 KPRCB_ANY64 __attribute__((may_alias, aligned(8)));
typedef PVOID KPRCB_ANY_POINTER __attribute__((may_alias));

#ifdef __cplusplus

extern "C++" {
template <class T> struct KPRCB_WIDTH {
    static constexpr bool Fits(SIZE_T Size)
    {
        return sizeof(T) == Size;
    }
};
template <> struct KPRCB_WIDTH<void> {
    static constexpr bool Fits(SIZE_T)
    {
        return true;
    }
};
template <> struct KPRCB_WIDTH<long> {
    static constexpr bool Fits(SIZE_T Size)
    {
        return Size == 4 || Size == sizeof(long);
    }
};
template <> struct KPRCB_WIDTH<unsigned long> : KPRCB_WIDTH<long> {
};
template <SIZE_T Size, class T> FORCEINLINE void volatile *KprcbAt(T const volatile *Pointer)
{
    static_assert(KPRCB_WIDTH<T>::Fits(Size), "the object has not the width that the routine's name says");
    return (void volatile *)Pointer;
}
}
#define KPRCB_AT(Type, Size, Pointer) ((Type volatile *)KprcbAt<Size>(Pointer))

#else

#define KPRCB_IS(Type, Pointer) __builtin_types_compatible_p(__typeof__(*(Pointer)), Type)
#define KPRCB_FITS(Size, Pointer)                                                                                      \
    (sizeof(*(Pointer)) == (Size) || KPRCB_IS(void, Pointer) ||                                                        \
     ((Size) == 4 && (KPRCB_IS(long, Pointer) || KPRCB_IS(unsigned long, Pointer))))
#define KPRCB_AT(Type, Size, Pointer)                                                                                  \
    (__extension__({                                                                                                   \
        _Static_assert(KPRCB_FITS(Size, Pointer), "the object has not the width that the routine's name says");        \
        (Type volatile *)(Pointer);                                                                                    \
    }))

#endif

#define KPRCB_AT8(Pointer) KPRCB_AT(CHAR, 1, Pointer)
#define KPRCB_AT16(Pointer) KPRCB_AT(KPRCB_ANY16, 2, Pointer)
#define KPRCB_AT32(Pointer) KPRCB_AT(KPRCB_ANY32, 4, Pointer)
#define KPRCB_AT64(Pointer) KPRCB_AT(KPRCB_ANY64, 8, Pointer)
#define KPRCB_AT_POINTER(Pointer) KPRCB_AT(KPRCB_ANY_POINTER, sizeof(PVOID), Pointer)

/*
 * A locked instruction is a full barrier on x86. Elsewhere a sequentially consistent operation lets later accesses
 * pass it.
 */
#if defined(__x86_64__) || defined(__i386__)
#define KPRCB_FULL_BARRIER ((void)0)
#else
#define KPRCB_FULL_BARRIER __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif
#define KPRCB_NO_BARRIER ((void)0)

/* The operations of one width and one order. */
#define KPRCB_FETCH(Name, Builtin, Width, Type, Pointee, Suffix, Order, Barrier)                                       \
    FORCEINLINE Type Kprcb##Name##Width##Suffix(Pointee volatile *Target, Type Value)                                  \
    {                                                                                                                  \
        Type Result = Builtin(Target, Value, __ATOMIC_##Order);                                                        \
        Barrier;                                                                                                       \
        return Result;                                                                                                 \
    }
#define KPRCB_STEP(Name, Builtin, Width, Type, Pointee, Suffix, Order, Barrier)                                        \
    FORCEINLINE Type Kprcb##Name##Width##Suffix(Pointee volatile *Target)                                              \
    {                                                                                                                  \
        Type Result = Builtin(Target, 1, __ATOMIC_##Order);                                                            \
        Barrier;                                                                                                       \
        return Result;                                                                                                 \
    }
#define KPRCB_COMPARE(Width, Type, Pointee, Suffix, Order, Failure, Barrier)                                           \
    FORCEINLINE Type KprcbCompareExchange##Width##Suffix(Pointee volatile *Target, Type Exchange, Type Comparand)      \
    {                                                                                                                  \
        Pointee Seen = Comparand;                                                                                      \
        (void)__atomic_compare_exchange_n(Target, &Seen, Exchange, 0, __ATOMIC_##Order, __ATOMIC_##Failure);           \
        Barrier;                                                                                                       \
        return Seen;                                                                                                   \
    }
#define KPRCB_OPERATIONS(Width, Type, Pointee, Suffix, Order, Failure, Barrier)                                        \
    KPRCB_FETCH(And, __atomic_fetch_and, Width, Type, Pointee, Suffix, Order, Barrier)                                 \
    KPRCB_FETCH(Or, __atomic_fetch_or, Width, Type, Pointee, Suffix, Order, Barrier)                                   \
    KPRCB_FETCH(Xor, __atomic_fetch_xor, Width, Type, Pointee, Suffix, Order, Barrier)                                 \
    KPRCB_FETCH(Add, __atomic_add_fetch, Width, Type, Pointee, Suffix, Order, Barrier)                                 \
    KPRCB_FETCH(ExchangeAdd, __atomic_fetch_add, Width, Type, Pointee, Suffix, Order, Barrier)                         \
    KPRCB_FETCH(Exchange, __atomic_exchange_n, Width, Type, Pointee, Suffix, Order, Barrier)                           \
    KPRCB_STEP(Increment, __atomic_add_fetch, Width, Type, Pointee, Suffix, Order, Barrier)                            \
    KPRCB_STEP(Decrement, __atomic_sub_fetch, Width, Type, Pointee, Suffix, Order, Barrier)                            \
    KPRCB_COMPARE(Width, Type, Pointee, Suffix, Order, Failure, Barrier)

/* Bit n is bit n modulo the width of the word that lies n divided by the width words from Base, rounded downwards. */
#define KPRCB_BIT(Name, Builtin, Invert, Width, Shift, Type, Unsigned, Pointee, Suffix, Order, Barrier)                \
    FORCEINLINE UCHAR Kprcb##Name##Width##Suffix(Pointee volatile *Base, Type Bit)                                     \
    {                                                                                                                  \
        Unsigned Mask = (Unsigned)1 << (Bit & (Width - 1));                                                            \
        Type Old = Builtin(Base + (Bit >> Shift), (Type)(Invert Mask), __ATOMIC_##Order);                              \
        Barrier;                                                                                                       \
        return ((Unsigned)Old & Mask) != 0;                                                                            \
    }
#define KPRCB_BITS(Width, Shift, Type, Unsigned, Pointee, Suffix, Order, Barrier)                                      \
    KPRCB_BIT(BitTestAndSet, __atomic_fetch_or, +, Width, Shift, Type, Unsigned, Pointee, Suffix, Order, Barrier)      \
    KPRCB_BIT(BitTestAndReset, __atomic_fetch_and, ~, Width, Shift, Type, Unsigned, Pointee, Suffix, Order, Barrier)   \
    KPRCB_BIT(BitTestAndComplement, __atomic_fetch_xor, +, Width, Shift, Type, Unsigned, Pointee, Suffix, Order,       \
              Barrier)

#define KPRCB_ORDERS(Width, Type, Pointee)                                                                             \
    KPRCB_OPERATIONS(Width, Type, Pointee, , SEQ_CST, SEQ_CST, KPRCB_FULL_BARRIER)                                     \
    KPRCB_OPERATIONS(Width, Type, Pointee, Acquire, ACQUIRE, ACQUIRE, KPRCB_NO_BARRIER)                                \
    KPRCB_OPERATIONS(Width, Type, Pointee, Release, RELEASE, RELAXED, KPRCB_NO_BARRIER)                                \
    KPRCB_OPERATIONS(Width, Type, Pointee, NoFence, RELAXED, RELAXED, KPRCB_NO_BARRIER)
#define KPRCB_BIT_ORDERS(Width, Shift, Type, Unsigned, Pointee)                                                        \
    KPRCB_BITS(Width, Shift, Type, Unsigned, Pointee, , SEQ_CST, KPRCB_FULL_BARRIER)                                   \
    KPRCB_BITS(Width, Shift, Type, Unsigned, Pointee, Acquire, ACQUIRE, KPRCB_NO_BARRIER)                              \
    KPRCB_BITS(Width, Shift, Type, Unsigned, Pointee, Release, RELEASE, KPRCB_NO_BARRIER)                              \
    KPRCB_BITS(Width, Shift, Type, Unsigned, Pointee, NoFence, RELAXED, KPRCB_NO_BARRIER)

KPRCB_ORDERS(8, CHAR, CHAR)
KPRCB_ORDERS(16, SHORT, KPRCB_ANY16)
KPRCB_ORDERS(32, LONG, KPRCB_ANY32)
KPRCB_ORDERS(64, LONG64, KPRCB_ANY64)
KPRCB_BIT_ORDERS(32, 5, LONG, ULONG, KPRCB_ANY32)
KPRCB_BIT_ORDERS(64, 6, LONG64, ULONG64, KPRCB_ANY64)

#define KPRCB_POINTER(Suffix, Order, Failure, Barrier)                                                                 \
    KPRCB_FETCH(Exchange, __atomic_exchange_n, Pointer, PVOID, KPRCB_ANY_POINTER, Suffix, Order, Barrier)              \
    KPRCB_COMPARE(Pointer, PVOID, KPRCB_ANY_POINTER, Suffix, Order, Failure, Barrier)
KPRCB_POINTER(, SEQ_CST, SEQ_CST, KPRCB_FULL_BARRIER)
KPRCB_POINTER(Acquire, ACQUIRE, ACQUIRE, KPRCB_NO_BARRIER)
KPRCB_POINTER(Release, RELEASE, RELAXED, KPRCB_NO_BARRIER)
KPRCB_POINTER(NoFence, RELAXED, RELAXED, KPRCB_NO_BARRIER)

#undef KPRCB_FETCH
#undef KPRCB_STEP
#undef KPRCB_COMPARE
#undef KPRCB_OPERATIONS
#undef KPRCB_BIT
#undef KPRCB_BITS
#undef KPRCB_ORDERS
#undef KPRCB_BIT_ORDERS
#undef KPRCB_POINTER

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__SANITIZE_THREAD__)
#define KPRCB_SEEN_BY_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KPRCB_SEEN_BY_TSAN 1
#endif
#endif

/*
 * The compilers have the instruction only with -mcx16 and call a library otherwise, so it is spelt out. ThreadSanitizer
 * does not see into assembly and gets the builtin, which it replaces.
 */
#if defined(__x86_64__) && !defined(KPRCB_SEEN_BY_TSAN)
FORCEINLINE UCHAR KprcbCompareExchange128(LONG64 volatile *Destination, LONG64 ExchangeHigh, LONG64 ExchangeLow,
                                          LONG64 *ComparandResult)
{
    typedef struct {
        LONG64 Words[2];
    } KPRCB_WORDS;
    LONG64 Low = ComparandResult[0];
    LONG64 High = ComparandResult[1];
    UCHAR Equal;

    __asm__ __volatile__("lock cmpxchg16b %1\n\tsete %0"
                         : "=q"(Equal), "+m"(*(KPRCB_WORDS volatile *)Destination), "+a"(Low), "+d"(High)
                         : "b"(ExchangeLow), "c"(ExchangeHigh)
                         : "cc", "memory");
    ComparandResult[0] = Low;
    ComparandResult[1] = High;
    return Equal;
}
#else
#ifdef __x86_64__
__attribute__((target("cx16")))
#endif
__attribute__((unused)) static __inline UCHAR
KprcbCompareExchange128(LONG64 volatile *Destination, LONG64 ExchangeHigh, LONG64 ExchangeLow, LONG64 *ComparandResult)
{
    __extension__ typedef unsigned __int128 KPRCB_UINT128;
    KPRCB_UINT128 Exchange = ((KPRCB_UINT128)(ULONG64)ExchangeHigh << 64) | (ULONG64)ExchangeLow;
    KPRCB_UINT128 Comparand = ((KPRCB_UINT128)(ULONG64)ComparandResult[1] << 64) | (ULONG64)ComparandResult[0];
    KPRCB_UINT128 Seen = __sync_val_compare_and_swap((KPRCB_UINT128 volatile *)Destination, Comparand, Exchange);

    KPRCB_FULL_BARRIER;
    ComparandResult[0] = (LONG64)(ULONG64)Seen;
    ComparandResult[1] = (LONG64)(ULONG64)(Seen >> 64);
    return Seen == Comparand;
}
#endif
#endif

#endif
