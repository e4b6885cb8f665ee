#include "model/reader.h"

#include <math.h>
#include <stdio.h>

#include "base/error.h"
#include "device/quantise.h"
#include "model/dummy.h"

gh_dtype gh__reader_dtype(const gh__reader *reader, const gh__tensor *tensor)
{
	if (reader->checkpoint == NULL)
		return GH_F32;
	return (gh_dtype)gh_checkpoint_find(reader->checkpoint, tensor->name)->dtype;
}

const char *gh__reader_file(const gh__reader *reader, const gh__tensor *tensor)
{
	return reader->checkpoint == NULL
		       ? "random numbers"
		       : gh_checkpoint_find(reader->checkpoint, tensor->name)->file;
}

gh_status gh__reader_rows(const gh__reader *reader, const gh__tensor *tensor, int64_t row,
			  int64_t rows, void *dst, gh_error *error)
{
	const gh_tensor_info *info;
	uint64_t width;

	if (reader->checkpoint == NULL) {
		gh__dummy_rows(reader->desc, tensor, row, rows, dst);
		return GH_OK;
	}
	info = gh_checkpoint_find(reader->checkpoint, tensor->name);
	width = (uint64_t)tensor->columns * gh_dtype_size((gh_dtype)info->dtype);
	return gh_checkpoint_read(reader->checkpoint, info, dst, (uint64_t)row * width,
				  (uint64_t)rows * width, error);
}

/* A few numbers of any float type, as f32; each must be finite and above zero. */
static gh_status read_scales(const gh_checkpoint *checkpoint, const gh_tensor_info *info,
			     uint64_t first, uint64_t count, float *dst, gh_error *error)
{
	size_t size = gh_dtype_size((gh_dtype)info->dtype);

	for (uint64_t i = 0; i < count; i++) {
		unsigned char raw[8];
		gh_status status =
			gh_checkpoint_read(checkpoint, info, raw, (first + i) * size, size, error);

		if (status != GH_OK)
			return status;
		gh__convert(&dst[i], GH_F32, raw, (gh_dtype)info->dtype, 1);
		if (!(dst[i] > 0.0F) || isinf(dst[i]))
			return gh__fail(error, GH_EFORMAT,
					"%s in %s: scale %g, a finite number above 0 expected",
					info->name, info->file, (double)dst[i]);
	}
	return GH_OK;
}

gh_status gh__reader_scales(const gh__reader *reader, const gh__tensor *tensor, int64_t row,
			    int64_t rows, float *dst, gh_error *error)
{
	char name[sizeof tensor->name + 8];
	const gh_tensor_info *info;
	gh_status status;

	snprintf(name, sizeof name, "%s_scale", tensor->name);
	info = gh_checkpoint_find(reader->checkpoint, name);
	if (info->size > gh_dtype_size((gh_dtype)info->dtype))
		return read_scales(reader->checkpoint, info, (uint64_t)row, (uint64_t)rows, dst,
				   error);
	status = read_scales(reader->checkpoint, info, 0, 1, dst, error);
	for (int64_t i = 1; i < rows && status == GH_OK; i++)
		dst[i] = dst[0];
	return status;
}

gh_status gh__reader_kv_scales(const gh__reader *reader, int32_t layer, float *k_scale,
			       float *v_scale, gh_error *error)
{
	static const struct {
		const char *name;
		bool k, v;
	} spellings[] = {
		{ "self_attn.kv_scale", true, true },
		{ "self_attn.k_scale", true, false },
		{ "self_attn.v_scale", false, true },
		{ "self_attn.attn.k_scale", true, false },
		{ "self_attn.attn.v_scale", false, true },
		{ "self_attn.k_proj.k_scale", true, false },
		{ "self_attn.v_proj.v_scale", false, true },
		{ "self_attn.k_proj.output_scale", true, false },
		{ "self_attn.v_proj.output_scale", false, true },
	};

	*k_scale = *v_scale = 1.0F;
	if (reader->checkpoint == NULL)
		return GH_OK;
	for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
		const gh_tensor_info *info;
		char name[96];
		float scale;
		gh_status status;

		snprintf(name, sizeof name, "model.layers.%d.%s", layer, spellings[i].name);
		info = gh_checkpoint_find(reader->checkpoint, name);
		if (info == NULL)
			continue;
		if ((info->dtype != GH_F32 && info->dtype != GH_BF16 && info->dtype != GH_F16) ||
		    info->size != gh_dtype_size((gh_dtype)info->dtype))
			return gh__fail(error, GH_EFORMAT, "%s in %s: one F32 or BF16 expected",
					name, info->file);
		status = read_scales(reader->checkpoint, info, 0, 1, &scale, error);
		if (status != GH_OK)
			return status;
		*k_scale = spellings[i].k ? scale : *k_scale;
		*v_scale = spellings[i].v ? scale : *v_scale;
	}
	return GH_OK;
}
