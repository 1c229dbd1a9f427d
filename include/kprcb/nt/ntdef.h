/*
 * ntdef.h - the vocabulary of NT code beyond kprcb/base.h: strings, limits, conversions, fields, decorations (WDK:
 * ntdef.h, basetsd.h).
 *
 * <limits.h> of a 64-bit host gives ULONG_MAX and LONG_MAX 64 bits, while ULONG and LONG have 32: this header includes
 * it and redefines them, and a later #include <limits.h> changes nothing. Code that means the host's long must use
 * __LONG_MAX__.
 *
 * More habits of Microsoft's compiler are provided for. "inline" without static in C emits a function there and none
 * here: in C the word is redefined to inline always; define KPRCB_KEEP_INLINE before this header to keep it as it is.
 * Pragmas that the host's compiler does not know, tags such as 'xyzT' and casts between pointer types are not warned
 * about from here on. Microsoft's compiler lets any two types alias: compile with -fno-strict-aliasing.
 */
#ifndef KPRCB_NT_NTDEF_H
#define KPRCB_NT_NTDEF_H

#include <kprcb/nt/sdkddkver.h>

#include <kprcb/base.h>
#include <kprcb/nt/guiddef.h>
#include <kprcb/nt/kprcb_compiler.h>
#include <kprcb/nt/sal.h>
#include <kprcb/nt/specstrings.h>
#include <limits.h>

#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#pragma GCC diagnostic ignored "-Wmultichar"
#pragma GCC diagnostic ignored "-Wstrict-aliasing"

/* --- Decorations --- */

#ifndef IN
#define IN
#endif
#ifndef OUT
#define OUT
#endif
#ifndef OPTIONAL
#define OPTIONAL
#endif
#ifndef NTSYSAPI
#define NTSYSAPI
#endif
#ifndef NTSYSCALLAPI
#define NTSYSCALLAPI
#endif
#ifndef NTKERNELAPI
#define NTKERNELAPI
#endif
#ifndef NTHALAPI
#define NTHALAPI
#endif
#ifndef NTAPI_INLINE
#define NTAPI_INLINE NTAPI
#endif
#ifndef UNALIGNED
#define UNALIGNED
#endif
#ifndef UNALIGNED64
#define UNALIGNED64
#endif
#ifndef RESTRICTED_POINTER
#define RESTRICTED_POINTER
#endif
#ifndef POINTER_32
#define POINTER_32
#define POINTER_64
#endif
#ifndef FIRMWARE_PTR
#define FIRMWARE_PTR
#endif
#ifndef CFORCEINLINE
#define CFORCEINLINE FORCEINLINE
#endif

/* clang rounds sizeof up after "typedef DECLSPEC_ALIGN(64) struct {...} T;" only if the alignment is a __declspec. */
#if KPRCB_IS_KEYWORD(__declspec)
#undef DECLSPEC_ALIGN
#define DECLSPEC_ALIGN(x) __declspec(align(x))
#endif

#ifdef __cplusplus
#define EXTERN_C_START extern "C" {
#define EXTERN_C_END }
#else
#define EXTERN_C_START
#define EXTERN_C_END
#endif

#ifndef C_ASSERT
#define C_ASSERT(Condition) KPRCB_STATIC_ASSERT(Condition, #Condition)
#endif

#define ANYSIZE_ARRAY 1
#define MEMORY_ALLOCATION_ALIGNMENT (2 * sizeof(void *))
#define SYSTEM_CACHE_ALIGNMENT_SIZE KPRCB_CACHE_LINE
#define MAX_NATURAL_ALIGNMENT sizeof(ULONG_PTR)
#ifdef __cplusplus
#define TYPE_ALIGNMENT(Type) alignof(Type)
#else
#define TYPE_ALIGNMENT(Type) _Alignof(Type)
#endif

#ifndef UNREFERENCED_LOCAL_VARIABLE
#define UNREFERENCED_LOCAL_VARIABLE(v) ((void)(v))
#endif
#ifndef DBG_UNREFERENCED_PARAMETER
#define DBG_UNREFERENCED_PARAMETER(p) ((void)(p))
#define DBG_UNREFERENCED_LOCAL_VARIABLE(v) ((void)(v))
#endif
#ifndef DEFAULT_UNREACHABLE
#define DEFAULT_UNREACHABLE default: __builtin_unreachable()
#endif

/* --- Types --- */

#ifdef __cplusplus
extern "C" {
#endif

typedef short CSHORT;
typedef LONG HRESULT;
typedef ULONG ACCESS_MASK, *PACCESS_MASK;
typedef ULONG LCID, *PLCID;
typedef USHORT LANGID;
typedef USHORT WORD, *PWORD;
typedef ULONG ULONG32, *PULONG32;
typedef LONG LONG32, *PLONG32;
typedef ULONG DWORD32, *PDWORD32;
typedef short INT16, *PINT16;
typedef CHAR *LPSTR, *PSZ, *NPSTR;
typedef const CHAR *LPCSTR, *PCSZ;
typedef WCHAR *LPWSTR, *NWPSTR, *PZZWSTR;
typedef const WCHAR *LPCWSTR, *PCZZWSTR;
typedef const UCHAR *PCUCHAR;
typedef const USHORT *PCUSHORT;
typedef const ULONG *PCULONG;
typedef const LIST_ENTRY *PCLIST_ENTRY;
typedef void *PVOID64;
typedef LARGE_INTEGER PHYSICAL_ADDRESS, *PPHYSICAL_ADDRESS;
typedef GUID *PGUID;
typedef const GUID *PCGUID;

typedef struct _LUID {
    ULONG LowPart;
    LONG HighPart;
} LUID, *PLUID;

/* Counted strings: lengths are in bytes and leave out a terminator, which need not be there. */
typedef struct _UNICODE_STRING {
    USHORT Length;
    USHORT MaximumLength;
    PWCH Buffer;
} UNICODE_STRING, *PUNICODE_STRING;
typedef const UNICODE_STRING *PCUNICODE_STRING;

typedef struct _STRING {
    USHORT Length;
    USHORT MaximumLength;
    PCHAR Buffer;
} STRING, *PSTRING, ANSI_STRING, *PANSI_STRING, OEM_STRING, *POEM_STRING;
typedef const STRING *PCSTRING, *PCANSI_STRING, *PCOEM_STRING;

typedef struct _LIST_ENTRY32 {
    ULONG Flink;
    ULONG Blink;
} LIST_ENTRY32, *PLIST_ENTRY32;

typedef struct _LIST_ENTRY64 {
    ULONGLONG Flink;
    ULONGLONG Blink;
} LIST_ENTRY64, *PLIST_ENTRY64;

#ifdef __cplusplus
}
#endif

#define UNICODE_NULL ((WCHAR)0)
#define ANSI_NULL ((CHAR)0)
#define UNICODE_STRING_MAX_BYTES ((USHORT)65534)
#define UNICODE_STRING_MAX_CHARS 32767
#ifndef MAX_PATH
#define MAX_PATH 260
#endif

/*
 * RTL_CONSTANT_STRING (WDK: same): the initialiser of a counted string from a literal. L"" literals need -fshort-wchar.
 */
#ifdef __cplusplus
extern "C++" template <class T, SIZE_T N> constexpr T *KprcbStringBuffer(const T (&String)[N])
{
    return const_cast<T *>(String);
}
#define KPRCB_STRING_BUFFER(s) KprcbStringBuffer(s)
#else
#define KPRCB_STRING_BUFFER(s) (s)
#endif
#define RTL_CONSTANT_STRING(s) {sizeof(s) - sizeof((s)[0]), sizeof(s), KPRCB_STRING_BUFFER(s)}

#define DECLARE_CONST_UNICODE_STRING(Name, Text)                                                                       \
    const WCHAR Name##_buffer[] = Text;                                                                                \
    const UNICODE_STRING Name = {sizeof(Text) - sizeof(WCHAR), sizeof(Text), (PWCH)Name##_buffer}
#define DECLARE_GLOBAL_CONST_UNICODE_STRING(Name, Text)                                                                \
    EXTERN_C __attribute__((__weak__)) const UNICODE_STRING Name;                                                      \
    const UNICODE_STRING Name = RTL_CONSTANT_STRING(Text)
#define DECLARE_UNICODE_STRING_SIZE(Name, Characters)                                                                  \
    WCHAR Name##_buffer[Characters];                                                                                   \
    UNICODE_STRING Name = {0, (Characters) * sizeof(WCHAR), Name##_buffer}

/* --- Limits --- */

#undef ULONG_MAX
#undef LONG_MAX
#undef LONG_MIN
#define ULONG_MAX 0xFFFFFFFFU
#define LONG_MAX 0x7FFFFFFF
#define LONG_MIN (-LONG_MAX - 1)

#define MINCHAR 0x80
#define MAXCHAR 0x7F
#define MINSHORT 0x8000
#define MAXSHORT 0x7FFF
#define MINLONG 0x80000000
#define MAXLONG 0x7FFFFFFF
#define MAXUCHAR 0xFF
#define MAXUSHORT 0xFFFF
#define MAXULONG 0xFFFFFFFF
#define MAXLONGLONG ((LONGLONG)0x7FFFFFFFFFFFFFFFLL)
#define MAXULONGLONG ((ULONGLONG)~0ULL)
#define MAXULONG32 ((ULONG32)~((ULONG32)0))
#define MAXULONG64 ((ULONG64)~((ULONG64)0))
#define MAXLONG32 ((LONG32)(MAXULONG32 >> 1))
#define MAXLONG64 ((LONG64)(MAXULONG64 >> 1))
#define MINLONG32 ((LONG32)~MAXLONG32)
#define MINLONG64 ((LONG64)~MAXLONG64)
#define MAXULONG_PTR (~((ULONG_PTR)0))
#define MAXLONG_PTR ((LONG_PTR)(MAXULONG_PTR >> 1))
#define MINLONG_PTR (~MAXLONG_PTR)
#define MAXUINT ((UINT)~((UINT)0))
#define MAXINT ((INT)(MAXUINT >> 1))
#define MAXSIZE_T ((SIZE_T)~((SIZE_T)0))
#define MAXSSIZE_T ((SSIZE_T)(MAXSIZE_T >> 1))
#define MAXDWORD 0xFFFFFFFF
#define MAXWORD 0xFFFF

/* --- Conversions --- */

#define HandleToULong(h) ((ULONG)(ULONG_PTR)(h))
#define HandleToUlong(h) HandleToULong(h)
#define HandleToLong(h) ((LONG)(LONG_PTR)(h))
#define ULongToHandle(ul) ((HANDLE)(ULONG_PTR)(ul))
#define UlongToHandle(ul) ULongToHandle(ul)
#define LongToHandle(l) ((HANDLE)(LONG_PTR)(l))
#define PtrToUlong(p) ((ULONG)(ULONG_PTR)(p))
#define PtrToULong(p) PtrToUlong(p)
#define PtrToLong(p) ((LONG)(LONG_PTR)(p))
#define PtrToUint(p) ((UINT)(ULONG_PTR)(p))
#define PtrToInt(p) ((INT)(LONG_PTR)(p))
#define PtrToUshort(p) ((USHORT)(ULONG_PTR)(p))
#define UlongToPtr(ul) ((VOID *)(ULONG_PTR)(ULONG)(ul))
#define ULongToPtr(ul) UlongToPtr(ul)
#define LongToPtr(l) ((VOID *)(LONG_PTR)(LONG)(l))
#define UintToPtr(ui) ((VOID *)(ULONG_PTR)(UINT)(ui))
#define IntToPtr(i) ((VOID *)(LONG_PTR)(INT)(i))

#define Int32x32To64(a, b) ((LONGLONG)(LONG)(a) * (LONGLONG)(LONG)(b))
#define UInt32x32To64(a, b) ((ULONGLONG)(ULONG)(a) * (ULONGLONG)(ULONG)(b))

#ifndef MAKEWORD
#define MAKEWORD(Low, High) ((USHORT)((UCHAR)(Low) | ((USHORT)(UCHAR)(High) << 8)))
#endif
#ifndef MAKELONG
#define MAKELONG(Low, High) ((LONG)((USHORT)(Low) | ((ULONG)(USHORT)(High) << 16)))
#endif
#ifndef MAKEULONG
#define MAKEULONG(Low, High) ((ULONG)((USHORT)(Low) | ((ULONG)(USHORT)(High) << 16)))
#endif
#ifndef LOWORD
#define LOWORD(l) ((USHORT)(ULONG_PTR)(l))
#define HIWORD(l) ((USHORT)((ULONG_PTR)(l) >> 16))
#endif
#ifndef LOBYTE
#define LOBYTE(w) ((UCHAR)(ULONG_PTR)(w))
#define HIBYTE(w) ((UCHAR)((ULONG_PTR)(w) >> 8))
#endif

#if !defined(__cplusplus) && !defined(NOMINMAX)
#ifndef min
#define min(a, b) (((a) < (b)) ? (a) : (b))
#endif
#ifndef max
#define max(a, b) (((a) > (b)) ? (a) : (b))
#endif
#endif

/* --- Fields and arrays --- */

#ifndef UFIELD_OFFSET
#define UFIELD_OFFSET(Type, Field) ((ULONG)offsetof(Type, Field))
#endif
#define RTL_FIELD_SIZE(Type, Field) (sizeof(((Type *)0)->Field))
#define RTL_SIZEOF_THROUGH_FIELD(Type, Field) (offsetof(Type, Field) + RTL_FIELD_SIZE(Type, Field))
#define RTL_CONTAINS_FIELD(Struct, Size, Field)                                                                        \
    ((((PCHAR)(&(Struct)->Field)) + sizeof((Struct)->Field)) <= (((PCHAR)(Struct)) + (Size)))
#define RTL_NUMBER_OF_V1(a) (sizeof(a) / sizeof((a)[0]))
#define RTL_NUMBER_OF_V2(a) RTL_NUMBER_OF_V1(a)
#define RTL_NUMBER_OF(a) RTL_NUMBER_OF_V1(a)
#define RTL_NUMBER_OF_FIELD(Type, Field) (RTL_NUMBER_OF(((Type *)0)->Field))
#define RTL_BITS_OF(x) (sizeof(x) * 8)
#define RTL_BITS_OF_FIELD(Type, Field) (RTL_BITS_OF(((Type *)0)->Field))
#define _ARRAYSIZE(a) RTL_NUMBER_OF_V1(a)
#define ARGUMENT_PRESENT(Argument) ((Argument) != NULL)

#if !defined(__cplusplus) && !defined(inline) && !defined(KPRCB_KEEP_INLINE)
#define inline inline __attribute__((__always_inline__))
#endif

#endif
