#include "device/cuda/yardstick.h"

#include <dlfcn.h>
#include <library_types.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "device/cuda/context.h"

/*
 * cuBLASLt as a yardstick. It is half a gigabyte that nothing else needs, so it is looked up when it
 * is asked for, and the few functions that are used are declared here. Its matrices are column-major:
 * what it computes is y^T = W x^T, with W [n, k] as a transposed [k, n] and x [rows, k] as [k, rows].
 */
#define LIBRARY "libcublasLt.so.13"

/* Numbers of cuBLASLt's interface, version 13. */
enum {
	COMPUTE_32F = 68,
	DESC_TRANSA = 3,
	DESC_FAST_ACCUM = 25,
	PREF_MAX_WORKSPACE_BYTES = 1,
	OP_T = 1,
	WORKSPACE = 32 << 20
};

typedef struct lt_algo {
	uint64_t data[8];
} lt_algo;

typedef struct lt_result {
	lt_algo algo;
	size_t workspace;
	int state;
	float waves;
	int reserved[4];
} lt_result;

typedef struct lt_functions {
	int (*create)(void **handle);
	int (*destroy)(void *handle);
	int (*desc_create)(void **desc, int compute, int scale_type);
	int (*desc_destroy)(void *desc);
	int (*desc_set)(void *desc, int attribute, const void *value, size_t size);
	int (*layout_create)(void **layout, int type, uint64_t rows, uint64_t columns, int64_t ld);
	int (*layout_destroy)(void *layout);
	int (*preference_create)(void **preference);
	int (*preference_destroy)(void *preference);
	int (*preference_set)(void *preference, int attribute, const void *value, size_t size);
	int (*heuristic)(void *handle, void *desc, void *a, void *b, void *c, void *d,
			 void *preference, int wanted, lt_result *results, int *found);
	int (*matmul)(void *handle, void *desc, const void *alpha, const void *a, void *a_layout,
		      const void *b, void *b_layout, const void *beta, const void *c,
		      void *c_layout, void *d, void *d_layout, const lt_algo *algo, void *workspace,
		      size_t size, cudaStream_t stream);
	const char *(*name)(int status);
} lt_functions;

static lt_functions lt;
static gh_error refusal = GH_ERROR_INIT;

static const struct {
	const char *name;
	size_t at;
} symbols[] = {
	{ "cublasLtCreate", offsetof(lt_functions, create) },
	{ "cublasLtDestroy", offsetof(lt_functions, destroy) },
	{ "cublasLtMatmulDescCreate", offsetof(lt_functions, desc_create) },
	{ "cublasLtMatmulDescDestroy", offsetof(lt_functions, desc_destroy) },
	{ "cublasLtMatmulDescSetAttribute", offsetof(lt_functions, desc_set) },
	{ "cublasLtMatrixLayoutCreate", offsetof(lt_functions, layout_create) },
	{ "cublasLtMatrixLayoutDestroy", offsetof(lt_functions, layout_destroy) },
	{ "cublasLtMatmulPreferenceCreate", offsetof(lt_functions, preference_create) },
	{ "cublasLtMatmulPreferenceDestroy", offsetof(lt_functions, preference_destroy) },
	{ "cublasLtMatmulPreferenceSetAttribute", offsetof(lt_functions, preference_set) },
	{ "cublasLtMatmulAlgoGetHeuristic", offsetof(lt_functions, heuristic) },
	{ "cublasLtMatmul", offsetof(lt_functions, matmul) },
	{ "cublasLtGetStatusName", offsetof(lt_functions, name) },
};

static void load(void)
{
	void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (handle == NULL) {
		const char *why = dlerror();

		gh__fail(&refusal, GH_ENODEVICE,
			 "yardstick: needs " LIBRARY
			 " of cuBLAS 13 (pip install nvidia-cublas, and its folder in "
			 "LD_LIBRARY_PATH): %s",
			 why ? why : "it does not open");
		return;
	}
	for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
		void *symbol = dlsym(handle, symbols[i].name);

		if (symbol == NULL) {
			gh__fail(&refusal, GH_ENODEVICE, "yardstick: " LIBRARY " lacks %s",
				 symbols[i].name);
			return;
		}
		memcpy((char *)&lt + symbols[i].at, &symbol, sizeof symbol);
	}
}

typedef struct yardstick {
	gh_yardstick face; /* first */
	gh__cuda *cuda;
	void *handle, *desc, *w, *x, *y;
	void *workspace;
	lt_result best;
} yardstick;

static gh_status done(int code, const char *what, gh_error *error)
{
	if (code == 0)
		return GH_OK;
	return gh__fail(error, GH_ECUDA, "yardstick, %s: %s", what, lt.name(code));
}

static void yardstick_free(gh_yardstick *self)
{
	yardstick *y = (yardstick *)self;

	(void)cudaSetDevice(y->cuda->index);
	(void)cudaDeviceSynchronize();
	if (y->workspace != NULL)
		(void)cudaFree(y->workspace);
	if (y->y != NULL)
		(void)lt.layout_destroy(y->y);
	if (y->x != NULL)
		(void)lt.layout_destroy(y->x);
	if (y->w != NULL)
		(void)lt.layout_destroy(y->w);
	if (y->desc != NULL)
		(void)lt.desc_destroy(y->desc);
	if (y->handle != NULL)
		(void)lt.destroy(y->handle);
	gh__free(y);
}

static gh_status yardstick_run(gh_yardstick *self, const void *x, const void *w, void *y,
			       gh_stream *stream, gh_error *error)
{
	const float one = 1.0F, zero = 0.0F;
	const yardstick *own = (yardstick *)self;
	cudaStream_t on = stream != NULL ? (cudaStream_t)(void *)stream : own->cuda->own;
	gh_status status = gh__cuda_done(cudaSetDevice(own->cuda->index), "device", error);

	if (status != GH_OK)
		return status;
	return done(lt.matmul(own->handle, own->desc, &one, w, own->w, x, own->x, &zero, y, own->y,
			      y, own->y, &own->best.algo, own->workspace, WORKSPACE, on),
		    "product", error);
}

/* cudaDataType of a dtype; -1: it has none here. */
static int type_of(gh_dtype dtype)
{
	switch (dtype) {
	case GH_F32:
		return CUDA_R_32F;
	case GH_F16:
		return CUDA_R_16F;
	case GH_BF16:
		return CUDA_R_16BF;
	case GH_E4M3:
		return CUDA_R_8F_E4M3;
	default:
		return -1;
	}
}

static gh_status describe(yardstick *y, const gh__yardstick_desc *desc, gh_error *error)
{
	const int32_t transposed = OP_T;
	const int8_t fast = 0;
	const int operand = type_of(desc->operand), out = type_of(desc->out);
	const uint64_t rows = (uint64_t)desc->rows, n = (uint64_t)desc->n, k = (uint64_t)desc->k;
	gh_status status = done(lt.create(&y->handle), "handle", error);

	if (status == GH_OK)
		status = done(lt.desc_create(&y->desc, COMPUTE_32F, CUDA_R_32F), "product", error);
	if (status == GH_OK)
		status = done(lt.desc_set(y->desc, DESC_TRANSA, &transposed, sizeof transposed),
			      "transposition", error);
	if (status == GH_OK && desc->operand == GH_E4M3)
		status = done(lt.desc_set(y->desc, DESC_FAST_ACCUM, &fast, sizeof fast),
			      "accumulation", error);
	if (status == GH_OK)
		status = done(lt.layout_create(&y->w, operand, k, n, desc->k), "matrix", error);
	if (status == GH_OK)
		status = done(lt.layout_create(&y->x, operand, k, rows, desc->k), "rows", error);
	if (status == GH_OK)
		status = done(lt.layout_create(&y->y, out, n, rows, desc->n), "result", error);
	return status;
}

static gh_status choose(yardstick *y, gh_error *error)
{
	const size_t most = WORKSPACE;
	void *preference = NULL;
	int found = 0;
	gh_status status = done(lt.preference_create(&preference), "preference", error);

	if (status != GH_OK)
		return status;
	status = done(lt.preference_set(preference, PREF_MAX_WORKSPACE_BYTES, &most, sizeof most),
		      "preference", error);
	if (status == GH_OK && (lt.heuristic(y->handle, y->desc, y->w, y->x, y->y, y->y, preference,
					     1, &y->best, &found) != 0 ||
				found < 1))
		status = gh__fail(error, GH_ENOTSUP,
				  "yardstick: cuBLASLt has no algorithm for this product");
	(void)lt.preference_destroy(preference);
	return status;
}

gh_status gh__cuda_yardstick(gh_yardstick **out, gh__device *device, const gh__yardstick_desc *desc,
			     gh_error *error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	yardstick *y;
	gh_status status;

	if (desc->operand == GH_F32 || type_of(desc->operand) < 0 || desc->out == GH_E4M3 ||
	    type_of(desc->out) < 0)
		return gh__fail(error, GH_ENOTSUP, "yardstick: none for %s to %s",
				gh_dtype_name(desc->operand), gh_dtype_name(desc->out));
	pthread_once(&once, load);
	if (refusal.status != GH_OK)
		return gh__fail(error, (gh_status)refusal.status, "%s", refusal.text);
	y = gh__calloc(1, sizeof *y);
	if (y == NULL)
		return gh__fail_nomem(error);
	y->face = (gh_yardstick){ yardstick_run, yardstick_free };
	y->cuda = device->self;
	status = gh__cuda_done(cudaSetDevice(y->cuda->index), "device", error);
	if (status == GH_OK)
		status = gh__cuda_done(cudaMalloc(&y->workspace, WORKSPACE), "memory", error);
	if (status == GH_OK)
		status = describe(y, desc, error);
	if (status == GH_OK)
		status = choose(y, error);
	if (status != GH_OK) {
		yardstick_free(&y->face);
		return status;
	}
	*out = &y->face;
	return GH_OK;
}
