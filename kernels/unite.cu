#include "common.cuh"

/* dst |= src: 16 bytes a thread where both are aligned, the rest byte by byte. 3 bytes move for each. */
__global__ void unite_chunks(uint4 *dst, const uint4 *src, size_t count)
{
	size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;

	if (i < count) {
		uint4 a = dst[i], b = src[i];

		dst[i] = make_uint4(a.x | b.x, a.y | b.y, a.z | b.z, a.w | b.w);
	}
}

__global__ void unite_bytes(uint8_t *dst, const uint8_t *src, size_t count)
{
	size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;

	if (i < count)
		dst[i] |= src[i];
}

int gh__cuda_unite(const gh__launch *on, void *dst, const void *src, size_t size)
{
	bool aligned = ((uintptr_t)dst | (uintptr_t)src) % 16 == 0;
	size_t chunks = aligned ? size / 16 : 0, rest = size - chunks * 16;

	if (chunks > 0)
		unite_chunks<<<gh_blocks((int64_t)chunks, 256), 256, 0, on->stream>>>(
			(uint4 *)dst, (const uint4 *)src, chunks);
	if (rest > 0)
		unite_bytes<<<gh_blocks((int64_t)rest, 256), 256, 0, on->stream>>>(
			(uint8_t *)dst + chunks * 16, (const uint8_t *)src + chunks * 16, rest);
	return gh_launched();
}
