#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "device/cuda/module.h"

/* What the one attempt came to. */
static const gh__cuda_module *module;
static gh_error refusal = GH_ERROR_INIT;

static void load(void)
{
	void *handle = dlopen(GH__CUDA_MODULE, RTLD_NOW | RTLD_LOCAL);
	const gh__cuda_module *(*entry)(void);
	void *symbol;

	if (handle == NULL) {
		const char *why = dlerror();

		gh__fail(&refusal, GH_ENODEVICE,
			 "device kind: \"cuda\" needs " GH__CUDA_MODULE
			 ", which is built with -Dcuda=enabled: %s",
			 why ? why : "it does not open");
		return;
	}
	symbol = dlsym(handle, GH__CUDA_SYMBOL);
	memcpy(&entry, &symbol, sizeof entry);
	module = symbol ? entry() : NULL;
	if (module == NULL || module->abi != GH__CUDA_ABI) {
		gh__fail(&refusal, GH_ENODEVICE,
			 GH__CUDA_MODULE ": its interface is number %u, not %u: it is of another "
					 "version of this library",
			 module ? (unsigned)module->abi : 0U, GH__CUDA_ABI);
		module = NULL;
		dlclose(handle);
	}
}

gh_status gh__cuda_module_get(const gh__cuda_module **out, gh_error *error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	*out = module;
	return module ? GH_OK : gh__fail(error, refusal.status, "%s", refusal.text);
}
