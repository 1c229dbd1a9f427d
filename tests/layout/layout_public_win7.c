/*
 * layout_public_win7.c - the layouts that a driver for Windows 7 sees. Compiled, not run.
 */
#define NTDDI_VERSION 0x06010000
#include "layout_public.c"
