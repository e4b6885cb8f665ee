#ifndef GH_MODEL_PIECES_H
#define GH_MODEL_PIECES_H

#include "model/weights.h"

/*
 * Reading tensors in pieces of some megabytes, in the activations' type. The type's range may be
 * smaller than the checkpoint's: what does not fit is an error, never an infinity.
 */

/* Rows [first, first + count) of a tensor, and where they stand in the rank's fused matrix. */
typedef struct gh__part {
	gh__slot slot;
	gh_span rows;
	int64_t at;
} gh__part;

/* Rows of so many columns that make a piece; at most `rows`. */
int64_t gh__piece_rows(int64_t columns, int64_t rows);

/* Rows [row, row + rows) of a tensor into dst. raw has room for them in any type. */
gh_status gh__piece_read(const gh__load *load, const gh__tensor *tensor, int64_t row, int64_t rows,
			 void *raw, void *dst, float *absmax, gh_error *error);

/* What is done with each piece of a part as it comes; at: the fused matrix's row. */
typedef gh_status gh__piece_fn(void *arg, const gh__load *load, const void *rows, int64_t at,
			       int64_t count, gh_error *error);

gh_status gh__piece_each(const gh__load *load, const gh__part *part, int32_t layer,
			 gh__piece_fn *fn, void *arg, gh_error *error);

#endif
