/*
 * base.h - the NT types, NTSTATUS values and list structures that every other header uses.
 *
 * LONG and ULONG are 32 bits wide on every target, WCHAR is 16 bits, CCHAR is signed, BOOLEAN is a UCHAR.
 */
#ifndef KPRCB_BASE_H
#define KPRCB_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KPRCB_API __attribute__((visibility("default")))
#define KPRCB_CACHE_LINE 64

#ifndef VOID
#define VOID void
#endif
#ifndef CONST
#define CONST const
#endif
#ifndef NTAPI
#define NTAPI
#endif
#ifndef FASTCALL
#define FASTCALL
#endif
#ifndef FORCEINLINE
#define FORCEINLINE static inline __attribute__((always_inline, unused))
#endif
#ifndef DECLSPEC_NORETURN
#define DECLSPEC_NORETURN __attribute__((noreturn))
#endif
#ifndef DECLSPEC_ALIGN
#define DECLSPEC_ALIGN(x) __attribute__((aligned(x)))
#endif

typedef char CHAR, *PCHAR;
typedef signed char CCHAR, *PCCHAR;
typedef signed char INT8, *PINT8;
typedef unsigned char UCHAR, *PUCHAR;
typedef unsigned char BYTE, *PBYTE;
typedef unsigned char UINT8, *PUINT8;
typedef short SHORT, *PSHORT;
typedef unsigned short USHORT, *PUSHORT;
typedef unsigned short UINT16, *PUINT16;
typedef int INT, *PINT;
typedef unsigned int UINT, *PUINT;
#ifdef __LP64__
typedef int LONG, *PLONG;
typedef unsigned int ULONG, *PULONG;
#else
typedef long LONG, *PLONG;
typedef unsigned long ULONG, *PULONG;
#endif
typedef int INT32, *PINT32;
typedef unsigned int UINT32, *PUINT32;
typedef ULONG DWORD, *PDWORD;
typedef int64_t LONGLONG, *PLONGLONG;
typedef uint64_t ULONGLONG, *PULONGLONG;
typedef int64_t LONG64, *PLONG64;
typedef uint64_t ULONG64, *PULONG64;
typedef int64_t INT64, *PINT64;
typedef uint64_t UINT64, *PUINT64;
typedef uint64_t DWORD64, *PDWORD64;
typedef intptr_t LONG_PTR, *PLONG_PTR;
typedef intptr_t INT_PTR, *PINT_PTR;
typedef uintptr_t ULONG_PTR, *PULONG_PTR;
typedef uintptr_t UINT_PTR, *PUINT_PTR;
typedef uintptr_t DWORD_PTR;
typedef ULONG_PTR SIZE_T, *PSIZE_T;
typedef LONG_PTR SSIZE_T, *PSSIZE_T;
typedef ULONG LOGICAL, *PLOGICAL;
typedef UCHAR BOOLEAN, *PBOOLEAN;
typedef void *PVOID, *HANDLE;
typedef const void *PCVOID;
typedef HANDLE *PHANDLE;
typedef LONG NTSTATUS, *PNTSTATUS;
#if defined(__WCHAR_MAX__) && __WCHAR_MAX__ < 0x10000
typedef wchar_t WCHAR;
#else
typedef uint16_t WCHAR;
#endif
typedef WCHAR *PWCHAR, *PWCH, *PWSTR;
typedef const WCHAR *PCWSTR, *PCWCH;
typedef CHAR *PSTR, *PCH;
typedef const CHAR *PCSTR, *PCCH;

typedef union _LARGE_INTEGER {
    struct {
        ULONG LowPart;
        LONG HighPart;
    };
    struct {
        ULONG LowPart;
        LONG HighPart;
    } u;
    LONGLONG QuadPart DECLSPEC_ALIGN(8);
} LARGE_INTEGER, *PLARGE_INTEGER;

typedef union _ULARGE_INTEGER {
    struct {
        ULONG LowPart;
        ULONG HighPart;
    };
    struct {
        ULONG LowPart;
        ULONG HighPart;
    } u;
    ULONGLONG QuadPart DECLSPEC_ALIGN(8);
} ULARGE_INTEGER, *PULARGE_INTEGER;

typedef struct _LIST_ENTRY {
    struct _LIST_ENTRY *Flink;
    struct _LIST_ENTRY *Blink;
} LIST_ENTRY, *PLIST_ENTRY, *PRLIST_ENTRY;

typedef struct _SINGLE_LIST_ENTRY {
    struct _SINGLE_LIST_ENTRY *Next;
} SINGLE_LIST_ENTRY, *PSINGLE_LIST_ENTRY;

/* A processor mask covers one group: 64 processors where pointers have 64 bits, 32 on i386. */
typedef ULONG_PTR KAFFINITY, *PKAFFINITY;
typedef UCHAR KIRQL, *PKIRQL;
typedef CCHAR KPROCESSOR_MODE;
typedef LONG KPRIORITY;

typedef enum _MODE { KernelMode, UserMode, MaximumMode } MODE;

typedef struct _PROCESSOR_NUMBER {
    USHORT Group;
    UCHAR Number;
    UCHAR Reserved;
} PROCESSOR_NUMBER, *PPROCESSOR_NUMBER;

typedef struct _GROUP_AFFINITY {
    KAFFINITY Mask;
    USHORT Group;
    USHORT Reserved[3];
} GROUP_AFFINITY, *PGROUP_AFFINITY;

#ifndef FALSE
#define FALSE 0
#endif
#ifndef TRUE
#define TRUE 1
#endif
#ifndef NULL
#define NULL ((void *)0)
#endif

#ifndef FIELD_OFFSET
#define FIELD_OFFSET(type, field) ((LONG)offsetof(type, field))
#endif
#ifndef CONTAINING_RECORD
#define CONTAINING_RECORD(address, type, field) ((type *)((CHAR *)(address)-offsetof(type, field)))
#endif
#ifndef ARRAYSIZE
#define ARRAYSIZE(array) (sizeof(array) / sizeof((array)[0]))
#endif
#ifndef UNREFERENCED_PARAMETER
#define UNREFERENCED_PARAMETER(p) ((void)(p))
#endif

#define ALL_PROCESSOR_GROUPS 0xFFFF
#define INVALID_PROCESSOR_INDEX 0xFFFFFFFF

#define NT_SUCCESS(status) ((NTSTATUS)(status) >= 0)
#define NT_INFORMATION(status) ((((ULONG)(status)) >> 30) == 1)
#define NT_WARNING(status) ((((ULONG)(status)) >> 30) == 2)
#define NT_ERROR(status) ((((ULONG)(status)) >> 30) == 3)

#define STATUS_SUCCESS ((NTSTATUS)0x00000000)
#define STATUS_ALREADY_COMPLETE ((NTSTATUS)0x000000FF)
#define STATUS_UNSUCCESSFUL ((NTSTATUS)0xC0000001)
#define STATUS_INFO_LENGTH_MISMATCH ((NTSTATUS)0xC0000004)
#define STATUS_INVALID_PARAMETER ((NTSTATUS)0xC000000D)
#define STATUS_ACCESS_DENIED ((NTSTATUS)0xC0000022)
#define STATUS_BUFFER_TOO_SMALL ((NTSTATUS)0xC0000023)
#define STATUS_DATATYPE_MISALIGNMENT ((NTSTATUS)0x80000002)
#define STATUS_DEVICE_BUSY ((NTSTATUS)0x80000011)
#define STATUS_QUOTA_EXCEEDED ((NTSTATUS)0xC0000044)
#define STATUS_INSUFFICIENT_RESOURCES ((NTSTATUS)0xC000009A)
#define STATUS_DEVICE_NOT_READY ((NTSTATUS)0xC00000A3)
#define STATUS_NOT_SUPPORTED ((NTSTATUS)0xC00000BB)
#define STATUS_INVALID_PARAMETER_1 ((NTSTATUS)0xC00000EF)
#define STATUS_INVALID_DEVICE_STATE ((NTSTATUS)0xC0000184)
#define STATUS_NOT_FOUND ((NTSTATUS)0xC0000225)
#define STATUS_ALREADY_INITIALIZED ((NTSTATUS)0xC0000510)
#define STATUS_ALREADY_REGISTERED ((NTSTATUS)0xC0000718)

#ifdef __cplusplus
}
#define KPRCB_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define KPRCB_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

KPRCB_STATIC_ASSERT(sizeof(LONG) == 4 && sizeof(ULONG) == 4, "LONG and ULONG have 32 bits");
KPRCB_STATIC_ASSERT(sizeof(WCHAR) == 2, "WCHAR has 16 bits");
KPRCB_STATIC_ASSERT(sizeof(LARGE_INTEGER) == 8 && __alignof__(LARGE_INTEGER) == 8,
                    "LARGE_INTEGER as the WDK lays it out");
KPRCB_STATIC_ASSERT(sizeof(PROCESSOR_NUMBER) == 4, "PROCESSOR_NUMBER as the WDK lays it out");
KPRCB_STATIC_ASSERT(sizeof(GROUP_AFFINITY) == sizeof(void *) + 8, "GROUP_AFFINITY as the WDK lays it out");

#endif
