/*
 * layout_nt.c - the structures that the driver headers add. Compiled, not run.
 */
#include <kprcb/nt/ntifs.h>

#ifdef __LP64__
#define SELECT(On64, On32) (On64)
#else
#define SELECT(On64, On32) (On32)
#endif

C_ASSERT(sizeof(UNICODE_STRING) == SELECT(16, 8));
C_ASSERT(FIELD_OFFSET(UNICODE_STRING, MaximumLength) == 2);
C_ASSERT(FIELD_OFFSET(UNICODE_STRING, Buffer) == SELECT(8, 4));
C_ASSERT(sizeof(ANSI_STRING) == SELECT(16, 8));
C_ASSERT(FIELD_OFFSET(STRING, Buffer) == SELECT(8, 4));
C_ASSERT(sizeof(GUID) == 16 && TYPE_ALIGNMENT(GUID) == 4);
C_ASSERT(FIELD_OFFSET(GUID, Data2) == 4 && FIELD_OFFSET(GUID, Data3) == 6 && FIELD_OFFSET(GUID, Data4) == 8);
C_ASSERT(sizeof(LUID) == 8 && FIELD_OFFSET(LUID, HighPart) == 4);
C_ASSERT(sizeof(PHYSICAL_ADDRESS) == 8);
C_ASSERT(sizeof(LIST_ENTRY32) == 8 && sizeof(LIST_ENTRY64) == 16);
C_ASSERT(sizeof(ACCESS_MASK) == 4 && sizeof(CSHORT) == 2 && sizeof(WORD) == 2);
C_ASSERT(sizeof(ULONG_MAX) == 4 && sizeof(LONG_MAX) == 4 && LONG_MIN < 0);
C_ASSERT(PAGE_SIZE == 1 << PAGE_SHIFT);
#ifdef _WIN64
C_ASSERT(sizeof(PVOID) == 8);
#else
C_ASSERT(sizeof(PVOID) == 4);
#endif
