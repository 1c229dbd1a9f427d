/*
 * warning.h - empty (WDK: push and pop of compiler warnings, which #pragma warning does).
 */
#ifndef KPRCB_NT_WARNING_H
#define KPRCB_NT_WARNING_H
#endif
