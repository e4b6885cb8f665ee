#ifndef GH_DEVICE_CPU_CHECK_H
#define GH_DEVICE_CPU_CHECK_H

#include "device/ops.h"

/* What the kernels rely on. GH_EINVAL: no sense in it; GH_ENOTSUP: not here, compose it of
 * others. */
gh_status gh__cpu_check(const gh__op_desc *desc, gh_error *error);

#endif
