/*
 * new_version.c - a driver that says nothing gets the newest version.
 */
#include <kprcb/nt/ntddk.h>

_Static_assert(NTDDI_VERSION >= NTDDI_WINBLUE && _WIN32_WINNT == 0x0A00, "the newest version");
_Static_assert(sizeof(((PKDPC)0)->DpcListEntry) == sizeof(SINGLE_LIST_ENTRY), "the list entry since Windows 8.1");
