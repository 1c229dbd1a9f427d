/*
 * cpureport.h - for the tests of cpureport.c: another place to read the host's files from.
 */
#ifndef HAL_CPUREPORT_H
#define HAL_CPUREPORT_H

/* What stands before /proc and /sys in the names of the host's files; empty but in tests. */
extern const char *HalpHostRoot;

#endif
