#include <string.h>

#include "device/cuda/context.h"

/*
 * Choices of rows whose settings lie on the host: one copy there, one launch, one copy back.
 *
 * The buffer, on both sides: results, rows, then all arrays that the rows point to; on the device,
 * the kernel's workspace behind them.
 */
enum { ALIGNMENT = 256, ROOM = 1 << 16 };

static size_t whole(size_t size)
{
	return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Where the next array goes: in `size` bytes so far, of `memory` here, or nowhere when only the
 * size is wanted, and at `device` there. */
typedef struct gathering {
	char *memory, *device;
	size_t size;
} gathering;

/* A copy of count elements; answers where the device finds it, NULL when there is none. */
static const void *gather(gathering *to, const void *from, int32_t count, size_t element)
{
	const size_t size = count > 0 && from != NULL ? (size_t)count * element : 0;
	const size_t at = to->size;

	to->size += (size + 15) / 16 * 16;
	if (to->memory == NULL || size == 0)
		return NULL;
	memcpy(to->memory + at, from, size);
	return to->device + at;
}

/* A row and what it points to, as far as the kernel reads it. */
static void gather_row(gathering *to, const gh__sample_row *row, int64_t vocab, gh__sample_row *out)
{
	const bool repeats = row->repetition != 1.0F;
	const bool penalised = repeats || row->frequency != 0.0F || row->presence != 0.0F;
	gh__sample_row copy = *row;

	copy.prompt_count = repeats ? row->prompt_count : 0;
	copy.output_count = penalised ? row->output_count : 0;
	copy.allowed = gather(to, row->allowed, (int32_t)((vocab + 31) / 32), sizeof *row->allowed);
	copy.bias_id = gather(to, row->bias_id, copy.bias_count, sizeof *row->bias_id);
	copy.bias = gather(to, row->bias, copy.bias_count, sizeof *row->bias);
	copy.prompt = gather(to, row->prompt, copy.prompt_count, sizeof *row->prompt);
	copy.output = gather(to, row->output, copy.output_count, sizeof *row->output);
	if (to->memory != NULL)
		*out = copy;
}

/* All of it; answers how many bytes are to be copied. out: the rows' place, where memory is. */
static size_t gather_rows(char *memory, char *device, size_t first, const gh__sample_desc *desc,
			  const gh__sample_args *args, gh__sample_row *out)
{
	gathering to = { memory, device, first };

	for (int64_t i = 0; i < args->m; i++)
		gather_row(&to, &args->row[i], desc->vocab, out != NULL ? &out[i] : NULL);
	return to.size;
}

static cudaError_t grow_host(gh__cuda *cuda, size_t size)
{
	cudaError_t code;

	if (size <= cuda->samples_size)
		return cudaSuccess;
	if (cuda->samples_host != NULL)
		(void)cudaFreeHost(cuda->samples_host);
	cuda->samples_host = NULL;
	cuda->samples_size = 0;
	size += size / 2 + ROOM;
	code = cudaMallocHost((void **)&cuda->samples_host, size);
	if (code == cudaSuccess)
		cuda->samples_size = size;
	return code;
}

static cudaError_t grow_device(gh__cuda *cuda, size_t size)
{
	cudaError_t code;

	if (size <= cuda->samples_device_size)
		return cudaSuccess;
	if (cuda->samples_device != NULL)
		(void)cudaFree(cuda->samples_device);
	cuda->samples_device = NULL;
	cuda->samples_device_size = 0;
	code = cudaMalloc((void **)&cuda->samples_device, size);
	if (code == cudaSuccess)
		cuda->samples_device_size = size;
	return code;
}

gh_status gh__cuda_sample_rows(gh__cuda *cuda, const gh__sample_desc *desc,
			       const gh__sample_args *args, gh_error *error)
{
	const size_t results = (size_t)args->m * sizeof *args->result;
	const size_t rows = whole(results);
	const size_t arrays = rows + whole((size_t)args->m * sizeof *args->row);
	gh__sample_args there = *args;
	cudaError_t code;
	size_t size;

	if (args->m == 0)
		return GH_OK;
	size = whole(gather_rows(NULL, NULL, arrays, desc, args, NULL));
	/* Nothing of the last time is on its way any more: it was waited for. */
	code = grow_host(cuda, size);
	if (code == cudaSuccess)
		code = grow_device(cuda,
				   cuda->samples_size + gh__cuda_sample_workspace(desc, args->m));
	if (code != cudaSuccess)
		return gh__cuda_fail(code, "memory", error);
	(void)gather_rows(cuda->samples_host, cuda->samples_device, arrays, desc, args,
			  (gh__sample_row *)(void *)(cuda->samples_host + rows));
	there.row = (const gh__sample_row *)(const void *)(cuda->samples_device + rows);
	there.result = (gh__sample_result *)(void *)cuda->samples_device;
	code = cudaMemcpyAsync(cuda->samples_device + rows, cuda->samples_host + rows, size - rows,
			       cudaMemcpyHostToDevice, cuda->on.stream);
	if (code == cudaSuccess)
		code = (cudaError_t)gh__cuda_sample(&cuda->on, desc, &there,
						    cuda->samples_device + size);
	if (code == cudaSuccess)
		code = cudaMemcpyAsync(cuda->samples_host, cuda->samples_device, results,
				       cudaMemcpyDeviceToHost, cuda->on.stream);
	if (code == cudaSuccess)
		code = cudaStreamSynchronize(cuda->on.stream);
	if (code == cudaSuccess)
		memcpy(args->result, cuda->samples_host, results);
	return gh__cuda_done(code, "sample", error);
}
