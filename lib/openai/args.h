#ifndef GH_OPENAI_ARGS_H
#define GH_OPENAI_ARGS_H

#include <stdbool.h>

#include <gonkahost/base.h>

/*
 * The command line of vLLM's server, as hosts write it: which options are honoured, accepted with a
 * warning, or refused by name is one table.
 */

/* How many GPUs an instance takes: all spellings (--tensor-parallel-size N, --tensor-parallel-size=N,
 * -tp N, ...), the last one wins, 1 when absent. GH_EINVAL: not an integer from 1 to 1024. */
gh_status gh__args_parallel(const char *const *args, size_t count, int32_t *tensor_parallel,
			    int32_t *pipeline_parallel, gh_error *error);

#endif
