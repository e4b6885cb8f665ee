#include "common.cuh"

/*
 * Which code a device runs. The compiler marks each version of a kernel with the architecture that
 * it was made for; the driver says which one it took. Code made from PTX on a newer device counts
 * as what the PTX was made for, so Hopper's own instructions are used only where they are there.
 */
__global__ void probe()
{
}

int gh__cuda_arch(int *arch)
{
	cudaFuncAttributes attributes;
	cudaError_t code = cudaFuncGetAttributes(&attributes, probe);

	if (code == cudaSuccess)
		*arch = attributes.ptxVersion;
	return (int)code;
}
