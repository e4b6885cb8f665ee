#ifndef GONKAHOST_REGISTRY_H
#define GONKAHOST_REGISTRY_H

#include <gonkahost/base.h>

/*
 * The registry: records of inference nodes, kept in a database file.
 *
 * What a call changed is on the disk when it returns GH_OK.
 *
 * Threads: every function here is safe from any thread.
 */
GH_BEGIN

/** A model that a node can serve, and the arguments it is served with. */
typedef struct gh_node_model {
	const char *id;          /**< "Qwen/QwQ-32B" */
	const char *const *args; /**< [arg_count] as a command line has them */
	size_t arg_count;        /**< entries of args */
	const char *hf_repo;     /**< serve this repository instead of id; NULL = id */
	const char *hf_commit;   /**< at this revision; NULL = the repository's main */
} gh_node_model;

/** What a node is made of, as its operator says. */
typedef struct gh_node_hardware {
	const char *type;  /**< free text, "NVIDIA H100 | 80GB" */
	uint32_t count;    /**< how many */
	uint32_t reserved; /**< 0 */
} gh_node_hardware;

/** One inference node. Zero or NULL is the default in every field. */
typedef struct gh_node {
	size_t struct_size; /**< set by GH_NODE_INIT */
	const char *id;     /**< unique, chosen by the operator */
	const char *host;   /**< address or name; a scheme before it and a slash behind it
					*   are removed when it is stored */
	const char *inference_segment;    /**< path prefix of the inference server */
	const char *poc_segment;          /**< path prefix of the management server */
	const char *base_url;             /**< takes the place of host and ports when not empty */
	const char *auth_token;           /**< bearer token for the node; never logged */
	int32_t inference_port;           /**< 1 to 65535 */
	int32_t poc_port;                 /**< management, 1 to 65535 */
	int32_t max_concurrent;           /**< inferences at a time, at least 1 */
	int32_t enabled;                  /**< operator's switch; read only: gh_registry_enable() */
	uint64_t number;                  /**< from 1, kept for ever, never reused; read only */
	uint64_t admin_epoch;             /**< epoch in which the switch was set; read only */
	const gh_node_model *models;      /**< [model_count] at least one, ids unique */
	const gh_node_hardware *hardware; /**< [hardware_count]; NULL = not said */
	size_t model_count;               /**< entries of models */
	size_t hardware_count;            /**< entries of hardware */
} gh_node;

/** Longest id and host, in bytes. */
#define GH_NODE_NAME_MAX 255

/** Most models, arguments of a model, and hardware entries of a node. */
#define GH_NODE_ITEMS_MAX 256

/** Initialiser: all defaults. */
#define GH_NODE_INIT                                                                               \
	{                                                                                          \
		sizeof(gh_node), NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, NULL, NULL, \
			0, 0                                                                       \
	}

/** An open registry. */
typedef struct gh_registry gh_registry;

/** Nodes as they were at one moment, in the order of their numbers. */
typedef struct gh_node_list {
	const gh_node *nodes; /**< [count] */
	size_t count;         /**< entries of nodes */
} gh_node_list;

/**
 * Open a registry, making the file and its folder when they are missing.
 *
 * Owner    *out: caller frees (gh_registry_close)
 * Threads  any
 * Errors   GH_EIO, GH_EFORMAT the file is no registry or of a newer version; the text names it
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_registry_open(gh_registry **out, const char *path,
					       gh_error *error);

/**
 * Close a registry. NULL is allowed.
 *
 * Owner    takes registry
 * Threads  one, when nobody uses it any more
 * Errors   none
 * Since    0.1
 */
GH_API void gh_registry_close(gh_registry *registry);

/**
 * Check a node's own fields: the rules that gh_registry_put() applies.
 *
 * Owner    borrows for the call
 * Threads  any
 * Errors   GH_EINVAL "validation failed: " and every rule that is broken, joined with "; "
 * Source   admin API of the network node, validation of nodes
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_node_check(const gh_node *node, gh_error *error);

/**
 * Add a node, or replace the record of the same id: number and switch are then kept.
 *
 * Owner    copies
 * Threads  any
 * Errors   GH_EINVAL a rule is broken, also a host and port that another node has; GH_EIO
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_registry_put(gh_registry *registry, const gh_node *node,
					      gh_error *error);

/**
 * Remove a node. *removed is 1 when it was there, else 0.
 *
 * Owner    nothing
 * Threads  any
 * Errors   GH_EIO
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_registry_remove(gh_registry *registry, const char *id,
						 int32_t *removed, gh_error *error);

/**
 * Turn a node on or off.
 *
 * Owner    nothing
 * Threads  any
 * Errors   GH_ENOENT "node not found: <id>"; GH_EIO
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_registry_enable(gh_registry *registry, const char *id,
						 int32_t enabled, uint64_t epoch, gh_error *error);

/**
 * All nodes.
 *
 * Owner    *out: caller frees (gh_node_list_free)
 * Threads  any
 * Errors   GH_ENOMEM
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_registry_list(gh_registry *registry, gh_node_list **out,
					       gh_error *error);

/**
 * Free a list and all that it points to. NULL is allowed.
 *
 * Owner    takes list
 * Threads  one
 * Errors   none
 * Since    0.1
 */
GH_API void gh_node_list_free(gh_node_list *list);

/**
 * Add the nodes of a node-config.json, once in a registry's life: later calls do nothing and set
 * *merged to 0. All nodes are added or none.
 *
 * Owner    nothing
 * Threads  any
 * Errors   GH_EINVAL, GH_EFORMAT a node of the file, named; GH_EEXIST "duplicate node ID found in
 *          config: <id>"; GH_ENOENT
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_registry_merge_config(gh_registry *registry, const char *path,
						       int32_t *merged, gh_error *error);

GH_END
#endif
