/*
 * guiddef.h - GUID, and DEFINE_GUID (WDK: guiddef.h).
 *
 * DEFINE_GUID declares, or defines once INITGUID is defined; it is redefined on each inclusion, so that initguid.h may
 * come after this header. In every translation unit that defines, the linker keeps one.
 */
#ifndef KPRCB_NT_GUIDDEF_H
#define KPRCB_NT_GUIDDEF_H

#include <kprcb/base.h>
#include <string.h>

#ifndef EXTERN_C
#ifdef __cplusplus
#define EXTERN_C extern "C"
#else
#define EXTERN_C extern
#endif
#endif

#ifndef GUID_DEFINED
#define GUID_DEFINED
typedef struct _GUID {
    ULONG Data1;
    USHORT Data2;
    USHORT Data3;
    UCHAR Data4[8];
} GUID;
#endif

typedef GUID *LPGUID;
typedef const GUID *LPCGUID;
typedef GUID IID;
typedef IID *LPIID;
typedef GUID CLSID;

/* IsEqualGUID takes references in C++ and pointers in C, as the WDK's does. */
#ifdef __cplusplus
#define REFGUID const GUID &
#define REFIID const IID &
inline int IsEqualGUID(REFGUID Guid1, REFGUID Guid2)
{
    return memcmp(&Guid1, &Guid2, sizeof(GUID)) == 0;
}
inline bool operator==(REFGUID Guid1, REFGUID Guid2)
{
    return IsEqualGUID(Guid1, Guid2) != 0;
}
inline bool operator!=(REFGUID Guid1, REFGUID Guid2)
{
    return IsEqualGUID(Guid1, Guid2) == 0;
}
#else
#define REFGUID const GUID *
#define REFIID const IID *
#define IsEqualGUID(Guid1, Guid2) (memcmp(Guid1, Guid2, sizeof(GUID)) == 0)
#endif
#define InlineIsEqualGUID(Guid1, Guid2) IsEqualGUID(Guid1, Guid2)
#define IsEqualIID(Guid1, Guid2) IsEqualGUID(Guid1, Guid2)

#endif

#undef DEFINE_GUID
#ifdef INITGUID
#define DEFINE_GUID(Name, l, w1, w2, b1, b2, b3, b4, b5, b6, b7, b8)                                                   \
    EXTERN_C __attribute__((__weak__)) const GUID Name;                                                                \
    const GUID Name = {l, w1, w2, {b1, b2, b3, b4, b5, b6, b7, b8}}
#else
#define DEFINE_GUID(Name, l, w1, w2, b1, b2, b3, b4, b5, b6, b7, b8) EXTERN_C const GUID Name
#endif
