/*
 * intrin.h - the compiler's intrinsics that the library has (WDK and Visual C++: intrin.h): bits, interlocked
 * operations, barriers, the segment of the current processor. It stands before clang's own intrin.h, which serves
 * Windows targets only.
 */
#ifndef KPRCB_NT_INTRIN_H
#define KPRCB_NT_INTRIN_H

#include <kprcb/nt/kprcb_bits.h>
#include <kprcb/nt/kprcb_interlocked.h>
#include <kprcb/nt/kprcb_segment.h>

#endif
