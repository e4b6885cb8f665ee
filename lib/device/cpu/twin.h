#ifndef GH_DEVICE_CPU_TWIN_H
#define GH_DEVICE_CPU_TWIN_H

#include "device/cpu/kernels.h"
#include "device/cpu/lanes.h"

/* The functions of one build (see lanes.h), gathered by twin.c. */
void GH__TWIN(gh__cpu_linear)(const gh__cpu *cpu, const gh__linear_desc *desc,
			      const gh__linear_args *args);
void GH__TWIN(gh__cpu_attention)(const gh__cpu *cpu, const gh__attention_desc *desc,
				 const gh__attention_args *args);
void GH__TWIN(gh__cpu_attention_online)(const gh__cpu *cpu, const gh__attention_desc *desc,
					const gh__attention_args *args);
void GH__TWIN(gh__cpu_attention_row)(const gh__cpu *cpu, const gh__attention_desc *desc,
				     const gh__attention_args *args);
void GH__TWIN(gh__cpu_norm)(const gh__cpu *cpu, const gh__norm_desc *desc,
			    const gh__norm_args *args);
void GH__TWIN(gh__cpu_rope)(const gh__cpu *cpu, const gh__rope_desc *desc,
			    const gh__rope_args *args);
void GH__TWIN(gh__cpu_glu)(const gh__cpu *cpu, const gh__glu_desc *desc, const gh__glu_args *args);
void GH__TWIN(gh__cpu_sample)(const gh__cpu *cpu, const gh__sample_desc *desc,
			      const gh__sample_args *args);
void GH__TWIN(gh__cpu_convert)(void *dst, gh_dtype dst_dtype, const void *src, gh_dtype src_dtype,
			       size_t count);
float GH__TWIN(gh__cpu_absmax)(const void *src, gh_dtype dtype, size_t count);
void GH__TWIN(gh__cpu_quantise_weight)(uint8_t *dst, const void *src, gh_dtype dtype, size_t count,
				       float scale);
void GH__TWIN(gh__cpu_quantise_row)(uint8_t *dst, const void *src, gh_dtype dtype, size_t count,
				    float *scale);

#endif
