#ifndef GONKAHOST_NODE_H
#define GONKAHOST_NODE_H

#include <gonkahost/base.h>

/*
 * Both kinds of node, and the worker's server. Each runs on threads of its own until it is stopped;
 * none of them installs signal handlers.
 *
 * Threads: every function here is safe from any thread; a stop must be the last call on its object.
 */
GH_BEGIN

/* ---- worker: an OpenAI-style server over one model ---- */

/** A running worker. */
typedef struct gh_worker gh_worker;

/** Zero means default in every field; new fields go at the end. */
typedef struct gh_worker_options {
	size_t struct_size; /**< set by GH_WORKER_OPTIONS_INIT */
	const char *const
		*args;         /**< [arg_count] vLLM's arguments, without a program name; borrows */
	size_t arg_count;      /**< entries of args */
	const char *unix_path; /**< listen on this socket instead of --host and --port; borrows */
	uint32_t flags;        /**< GH_WORKER_* bits */
	uint32_t reserved;     /**< must be 0 */
} gh_worker_options;

/** Load no model: for proofs only, which an inference node asks for on a Unix socket. */
#define GH_WORKER_NO_MODEL 1u

/** Initialiser: all defaults. */
#define GH_WORKER_OPTIONS_INIT                                 \
	{                                                      \
		sizeof(gh_worker_options), NULL, 0, NULL, 0, 0 \
	}

/**
 * Start a worker. Returns when its socket listens; the model loads meanwhile, and /health answers
 * 503 with the progress until it is there.
 *
 * Reads the environment, as vLLM's server does: VLLM_API_KEY, VLLM_HTTP_TIMEOUT_KEEP_ALIVE,
 * VLLM_ALLOW_LONG_MAX_MODEL_LEN, VLLM_TEST_FORCE_FP8_MARLIN; and what gh_hub_options names.
 *
 * Owner    *out: caller frees (gh_worker_stop)
 * Threads  any
 * Errors   GH_EINVAL an argument, named, with a text as a usage error wants it; GH_ENOTSUP an
 *          argument that would change results and is not supported; GH_EIO the address
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_worker_start(gh_worker **out, const gh_worker_options *options,
					      gh_error *error);

/**
 * Wait until the worker has failed (the model did not load, or the engine died) or until another
 * thread calls gh_worker_wake().
 *
 * Owner    nothing
 * Threads  any
 * Errors   GH_OK woken; else why the worker failed
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_worker_wait(gh_worker *worker, gh_error *error);

/**
 * Let gh_worker_wait() return. Safe in a signal handler.
 *
 * Owner    nothing
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API void gh_worker_wake(gh_worker *worker);

/**
 * Port that the worker listens on; 0 with a Unix socket.
 *
 * Owner    nothing
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API int32_t gh_worker_port(const gh_worker *worker);

/**
 * Stop and free a worker: running requests get some seconds to finish, and a load that is under way
 * ends. NULL is allowed.
 *
 * Owner    takes worker
 * Threads  one
 * Errors   none
 * Since    0.1
 */
GH_API void gh_worker_stop(gh_worker *worker);

/* ---- inference node: management API, proxy, and the workers of a GPU machine ---- */

/** A running inference node. */
typedef struct gh_inference_node gh_inference_node;

/** Zero means default in every field; new fields go at the end. */
typedef struct gh_inference_node_options {
	size_t struct_size;  /**< set by GH_INFERENCE_NODE_OPTIONS_INIT */
	const char *host;    /**< address of both servers; NULL = "127.0.0.1"; borrows */
	const char *program; /**< runs a worker as "program serve ..."; NULL = this executable */
	const char *runtime_dir; /**< for the workers' sockets; NULL = a new folder under /tmp */
	int32_t port;            /**< management; 0 = 8080, -1 = the kernel chooses */
	int32_t inference_port;  /**< inference; 0 = 5000, -1 = the kernel chooses */
	int32_t gpus;            /**< GPUs to count with; 0 = as found, none is taken as one */
	int32_t instances_max;   /**< workers at most; 0 = 128 */
	int32_t start_seconds;   /**< a worker must be ready within; 0 = 1200 */
	uint32_t reserved;       /**< must be 0 */
	const char *allow; /**< only clients of these networks, as "10.0.0.0/8,127.0.0.1"; NULL =
				  *   whoever reaches the address; borrows */
	const char
		*data_dir; /**< of proofs until they are delivered; NULL = ".gonkahost"; borrows */
	int64_t proof_budget; /**< bytes that a worker may use for proofs, at most; 0 = half of a
				  *   CPU's memory, nine tenths of a GPU's */
} gh_inference_node_options;

/** Initialiser: all defaults. */
#define GH_INFERENCE_NODE_OPTIONS_INIT                                                             \
	{                                                                                          \
		sizeof(gh_inference_node_options), NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, NULL, NULL, \
			0                                                                          \
	}

/**
 * Start an inference node. Both sockets listen when this returns; its state is STOPPED.
 *
 * Owner    *out: caller frees (gh_inference_node_stop)
 * Threads  any
 * Errors   GH_EINVAL options; GH_EIO an address that cannot be bound, named
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_inference_node_start(gh_inference_node **out,
						      const gh_inference_node_options *options,
						      gh_error *error);

/**
 * Ports in use: *management and *inference may be NULL.
 *
 * Owner    nothing
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API void gh_inference_node_ports(const gh_inference_node *node, int32_t *management,
				    int32_t *inference);

/**
 * Stop and free an inference node and its workers. NULL is allowed.
 *
 * Owner    takes node
 * Threads  one
 * Errors   none
 * Since    0.1
 */
GH_API void gh_inference_node_stop(gh_inference_node *node);

/* ---- network node: public, callback and admin servers, registry, broker ---- */

/** A running network node. */
typedef struct gh_network_node gh_network_node;

/** Answer chat requests that carry no signature. For tests on a private machine only. */
#define GH_NETWORK_NODE_ALLOW_UNSIGNED 1u

/** Zero means default in every field; new fields go at the end. */
typedef struct gh_network_node_options {
	size_t struct_size;      /**< set by GH_NETWORK_NODE_OPTIONS_INIT */
	const char *host;        /**< address of the public server; NULL = "0.0.0.0", or "127.0.0.1"
				  *   with ALLOW_UNSIGNED; borrows */
	const char *admin_host;  /**< of the callback and admin servers; NULL = "127.0.0.1" */
	const char *data_dir;    /**< registry, proofs and keys; NULL = ".dapi"; borrows */
	const char *node_config; /**< node-config.json to merge once; NULL = none; borrows */
	int32_t public_port;     /**< 0 = 8000, -1 = the kernel chooses */
	int32_t callback_port;   /**< 0 = 9100, -1 = the kernel chooses */
	int32_t admin_port;      /**< 0 = 9200, -1 = the kernel chooses */
	uint32_t flags;          /**< GH_NETWORK_NODE_* bits */
	const char *allow; /**< to the callback and admin servers only clients of these networks,
				  *   as "10.0.0.0/8,127.0.0.1"; NULL = whoever reaches the address;
				  *   borrows */
	const char *callback_url; /**< the callback server as inference nodes reach it,
				  *   "http://10.0.0.5:9100"; NULL = where it listens, on loopback
				  *   when that is every address; borrows */
} gh_network_node_options;

/** Initialiser: all defaults. */
#define GH_NETWORK_NODE_OPTIONS_INIT                                                            \
	{                                                                                       \
		sizeof(gh_network_node_options), NULL, NULL, NULL, NULL, 0, 0, 0, 0, NULL, NULL \
	}

/**
 * Start a network node. All sockets listen when this returns.
 *
 * Owner    *out: caller frees (gh_network_node_stop)
 * Threads  any
 * Errors   GH_EINVAL options or node-config.json; GH_EIO an address or the data folder, named
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_network_node_start(gh_network_node **out,
						    const gh_network_node_options *options,
						    gh_error *error);

/**
 * Ports in use; each pointer may be NULL.
 *
 * Owner    nothing
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API void gh_network_node_ports(const gh_network_node *node, int32_t *public_port,
				  int32_t *callback_port, int32_t *admin_port);

/**
 * Stop and free a network node: running answers get some seconds to finish. NULL is allowed.
 *
 * Owner    takes node
 * Threads  one
 * Errors   none
 * Since    0.1
 */
GH_API void gh_network_node_stop(gh_network_node *node);

GH_END
#endif
