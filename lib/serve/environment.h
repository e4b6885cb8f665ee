#ifndef GH_SERVE_ENVIRONMENT_H
#define GH_SERVE_ENVIRONMENT_H

/* The variables that gh_worker_start() says it reads; NULL: not set, or empty. */
const char *gh__environment(const char *name);

/* One line for each VLLM_* variable that has no effect and might be thought to have one. */
void gh__environment_warn(void);

#endif
