/*
 * suppress.h - empty (WDK: suppression of analyser warnings).
 */
#ifndef KPRCB_NT_SUPPRESS_H
#define KPRCB_NT_SUPPRESS_H
#endif
