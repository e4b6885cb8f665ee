#ifndef GH_MODEL_READER_H
#define GH_MODEL_READER_H

#include "model/tensors.h"

/*
 * Rows of tensors, wherever they come from: a checkpoint, or random numbers.
 *
 * Random numbers are a function of the tensor's name and the element's index in the whole tensor,
 * so they do not depend on the layout. They have what trained models have and plain Gaussians
 * lack: channels of the residual stream and rows that tower over the rest, and keys beyond the
 * range of e4m3.
 *
 * Threads: any, at the same time too.
 */
typedef struct gh__reader {
	const gh__model_desc *desc;
	const gh_checkpoint *checkpoint; /* NULL: random numbers */
} gh__reader;

/* Type of what gh__reader_rows() gives. */
gh_dtype gh__reader_dtype(const gh__reader *reader, const gh__tensor *tensor);

/* Rows [row, row + rows), as they are stored. */
gh_status gh__reader_rows(const gh__reader *reader, const gh__tensor *tensor, int64_t row,
			  int64_t rows, void *dst, gh_error *error);

/* The scales of rows [row, row + rows) of a stored e4m3 matrix. */
gh_status gh__reader_scales(const gh__reader *reader, const gh__tensor *tensor, int64_t row,
			    int64_t rows, float *dst, gh_error *error);

/* Of the cache of a layer: 1 where the checkpoint says nothing. */
gh_status gh__reader_kv_scales(const gh__reader *reader, int32_t layer, float *k_scale,
			       float *v_scale, gh_error *error);

/* For error texts: the file that holds a tensor. */
const char *gh__reader_file(const gh__reader *reader, const gh__tensor *tensor);

#endif
