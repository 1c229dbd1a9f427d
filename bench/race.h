/*
 * race.h - threads that fight for a lock of the library, beside threads that fight for a peer's.
 */
#ifndef RACE_H
#define RACE_H

#include "peers.h"

/* A peer: its name and its work. An array ends with Name NULL; work NULL: not built in. */
typedef struct _RIVAL {
    const char *Name;
    POOL_WORK *Work;
} RIVAL;

/*
 * Two pools of Plan->Threads: threads of the library, which do Work, and threads of the peers. Residents: thread i is
 * attached to processor i, and pinned there with the peers' thread i; else threads attach by their first call. Returns
 * how many results there are.
 */
int BenchRace(const BENCH_ROW *Row, const BENCH_PLAN *Plan, POOL_WORK *Work, bool Residents, const RIVAL *Rivals);

#endif
