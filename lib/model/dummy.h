#ifndef GH_MODEL_DUMMY_H
#define GH_MODEL_DUMMY_H

#include "model/tensors.h"

/* Rows [row, row + rows) of a random tensor, see reader.h. */
void gh__dummy_rows(const gh__model_desc *desc, const gh__tensor *tensor, int64_t row, int64_t rows,
		    float *dst);

#endif
