/* kprcb.h - everything. */
#ifndef KPRCB_KPRCB_H
#define KPRCB_KPRCB_H

#include <kprcb/base.h>
#include <kprcb/bugcheck.h>
#include <kprcb/dpc.h>
#include <kprcb/interlockedlist.h>
#include <kprcb/ipi.h>
#include <kprcb/irql.h>
#include <kprcb/machine.h>
#include <kprcb/prcb.h>
#include <kprcb/processor.h>
#include <kprcb/queuedlock.h>
#include <kprcb/rwspinlock.h>
#include <kprcb/spinlock.h>
#include <kprcb/topology.h>

#endif
