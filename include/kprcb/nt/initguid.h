/*
 * initguid.h - from here on DEFINE_GUID defines (WDK: initguid.h).
 */
#ifndef INITGUID
#define INITGUID
#endif
#include <kprcb/nt/guiddef.h>
