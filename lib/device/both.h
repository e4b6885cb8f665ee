#ifndef GH_DEVICE_BOTH_H
#define GH_DEVICE_BOTH_H

/* What is computed alike on the CPU and in the CUDA module's kernels, from one source. */
#if defined(__CUDACC__)
#define GH__BOTH __host__ __device__
#else
#define GH__BOTH
#endif

#endif
