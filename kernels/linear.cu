#include "linear.cuh"

/*
 * linear: which family multiplies, by descriptor, device and where x lies. Families that take turns
 * for one descriptor give the same bits.
 */
enum { ALIGNMENT = 256 }; /* of a workspace's parts */

static bool is_narrow(gh_dtype dtype)
{
	return dtype == GH_F16 || dtype == GH_BF16;
}

static int64_t aligned_size(int64_t size)
{
	return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Bytes of quantised rows; their scales lie behind them. */
static int64_t quantised_size(const gh__linear_desc *desc, int64_t rows)
{
	return aligned_size(rows * gh__cuda_linear_stride(desc));
}

bool gh__cuda_linear_here(const gh__launch *on, const gh__linear_desc *desc)
{
	(void)on;
	(void)desc;
	return true;
}

size_t gh__cuda_linear_workspace(const gh__launch *on, const gh__linear_desc *desc, int64_t rows)
{
	(void)on;
	if (desc->prologue != GH__PROLOGUE_QUANTISE || rows <= 0)
		return 0;
	return static_cast<size_t>(quantised_size(desc, rows) +
				   aligned_size(rows * static_cast<int64_t>(sizeof(float))));
}

bool gh__cuda_linear_aligned(const gh__linear_desc *desc, const gh_linear_operands *in)
{
	const int64_t unit = desc->act == GH_F32 ? 4 : 8; /* 16 bytes */

	if (in->x_scale != NULL)
		return true;
	return desc->k % unit == 0 && in->x_stride % unit == 0 &&
	       reinterpret_cast<uintptr_t>(in->x) % 16 == 0;
}

/* Rows quantised into the workspace; the operands read them there. */
static int quantise(const gh__launch *on, const gh__linear_desc *desc, const gh__linear_args *args,
		    gh_linear_operands *in)
{
	char *q = static_cast<char *>(args->workspace);
	float *scale = reinterpret_cast<float *>(q + quantised_size(desc, args->m));
	const gh__quantise_desc rows = { desc->act, desc->k };
	gh__quantise_args all = {};

	all.x = args->x;
	all.x_stride = args->x_stride;
	all.y = q;
	all.y_stride = gh__cuda_linear_stride(desc);
	all.scale = scale;
	all.m = args->m;
	in->x = q;
	in->x_stride = all.y_stride;
	in->x_scale = scale;
	return gh__cuda_quantise(on, &rows, &all);
}

static int multiply(const gh__launch *on, const gh__linear_desc *desc, const gh_linear_operands *in)
{
	const bool alike = desc->weight == desc->act && is_narrow(desc->act);

	if (on->arch == 90 && (in->x_scale != NULL || alike) && gh__cuda_linear_aligned(desc, in))
		return gh__cuda_linear_sm90(on, desc, in);
	if (in->x_scale != NULL || alike || (desc->weight == GH_E4M3 && is_narrow(desc->act)))
		return gh__cuda_linear_mma(on, desc, in);
	return gh__cuda_linear_fma(on, desc, in);
}

int gh__cuda_linear(const gh__launch *on, const gh__linear_desc *desc, const gh__linear_args *args)
{
	gh_linear_operands in = {};
	int code = 0;

	if (args->m <= 0)
		return 0;
	in.x = args->x;
	in.x_stride = args->x_stride;
	in.x_scale = desc->act == GH_E4M3 ? args->x_scale : NULL;
	in.w = args->w;
	in.w_scale = args->w_scale;
	in.bias = args->bias;
	in.y = args->y;
	in.y_stride = args->y_stride;
	in.m = args->m;
	if (desc->prologue == GH__PROLOGUE_QUANTISE)
		code = quantise(on, desc, args, &in);
	return code != 0 ? code : multiply(on, desc, &in);
}
