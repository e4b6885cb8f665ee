#ifndef GH_DEVICE_CHECK_H
#define GH_DEVICE_CHECK_H

#include "device/ops.h"

/* What the kernels rely on. GH_EINVAL: no sense in it; GH_ENOTSUP: not here, compose it of
 * others. */
gh_status gh__op_check(const gh__op_desc *desc, gh_error *error);

/* Rows [row, row + rows) of weights at src, before they are packed. GH_EINVAL: there are no such
 * rows; GH_ENUMERIC: an e4m3 code is not a number. */
gh_status gh__op_check_pack(const gh__op_desc *desc, const void *src, int64_t row, int64_t rows,
			    gh_error *error);

/* A tensor of 16-bit elements out of a pool, whose first row is `row`. GH_EINVAL: it is not in the
 * pool, or there are no such rows. */
gh_status gh__op_check_slice(const gh__op_desc *desc, const gh__slice *slice, int64_t row,
			     gh_error *error);

#endif
