#include "serve/environment.h"

#include <stdlib.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

const char *gh__environment(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

/* Honoured, or known to make no difference. */
static const char *const quiet[] = {
	"VLLM_API_KEY",           "VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "VLLM_ALLOW_LONG_MAX_MODEL_LEN",
	"VLLM_LOGGING_LEVEL",     "VLLM_TEST_FORCE_FP8_MARLIN",   "VLLM_USE_V1",
	"VLLM_ATTENTION_BACKEND", "VLLM_WORKER_MULTIPROC_METHOD", "VLLM_PYTHON_PATH",
};

void gh__environment_warn(void)
{
	for (char **at = environ; at && *at; at++) {
		size_t len = strcspn(*at, "=");
		bool known = strncmp(*at, "VLLM_", 5) != 0;

		for (size_t i = 0; i < sizeof quiet / sizeof quiet[0] && !known; i++)
			known = strlen(quiet[i]) == len && memcmp(quiet[i], *at, len) == 0;
		if (!known)
			gh__warn("serve", "environment: %.*s has no effect", (int)len, *at);
	}
}
