/*
 * old_version.c - a driver for Windows 7 sees the KDPC of Windows 7, and wdm.h keeps the version that it is given.
 */
#define _WIN32_WINNT 0x0601
#include <kprcb/nt/wdm.h>

_Static_assert(NTDDI_VERSION == NTDDI_WIN7, "NTDDI_VERSION follows _WIN32_WINNT");
_Static_assert(sizeof(((PKDPC)0)->DpcListEntry) == sizeof(LIST_ENTRY), "the list entry of Windows 7");
