#ifndef GONKAHOST_GONKAHOST_H
#define GONKAHOST_GONKAHOST_H

/*
 * All of libgonkahost. Each header also stands alone.
 */
#include <gonkahost/base.h>
#include <gonkahost/hub.h>
#include <gonkahost/text.h>
#include <gonkahost/device.h>
#include <gonkahost/kernels.h>
#include <gonkahost/parallel.h>
#include <gonkahost/poc.h>
#include <gonkahost/model.h>
#include <gonkahost/engine.h>
#include <gonkahost/registry.h>
#include <gonkahost/node.h>

#endif
