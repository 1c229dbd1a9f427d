/*
 * wdm.h - what kernel code includes (WDK: wdm.h): all of the library, and the vocabulary of drivers.
 *
 * Compile driver code with clang -std=gnu11 -fdeclspec -fms-extensions -fshort-wchar, or with gcc -fms-extensions
 * -fshort-wchar, which has limits that kprcb_compiler.h tells. On aarch64 add -fsigned-char: CHAR is the host's char,
 * which is unsigned there. Only routines that the library has are declared; there is no DbgPrint, and KdPrint is
 * nothing.
 *
 * LONG is int where the host's long has 64 bits. A source that says "typedef long NTSTATUS" itself has to be told
 * otherwise, by -Dlong=int at the worst.
 */
#ifndef KPRCB_NT_WDM_H
#define KPRCB_NT_WDM_H

#include <kprcb/nt/ntdef.h>

#include <kprcb/kprcb.h>
#include <kprcb/nt/bugcodes.h>
#include <kprcb/nt/intrin.h>
#include <kprcb/nt/kprcb_assert.h>
#include <kprcb/nt/kprcb_list.h>
#include <kprcb/nt/kprcb_memory.h>
#include <kprcb/nt/kprcb_readwrite.h>
#include <kprcb/nt/ntstatus.h>

#endif
