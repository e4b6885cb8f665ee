#ifndef GH_INFERENCE_NODE_SPOOL_STORE_H
#define GH_INFERENCE_NODE_SPOOL_STORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "inference_node/spool.h"
#include "store/store.h"

/* What the two halves of the spool share: taking in, and giving out in batches. */
struct gh__spool {
	pthread_mutex_t lock; /* the store belongs to whoever holds it */
	gh__store *store;
	int64_t heights, age;

	/* Written with the lock held, read without. */
	_Atomic int64_t proofs, loose, batches, bytes;
};

/* A statement with its parameters: for each letter of types a const char * (t), an int64_t (i) or a
 * double (d). Texts are borrowed until the statement is used again. NULL: failed. */
sqlite3_stmt *gh__spool_bind(gh__spool *spool, gh_error *error, const char *sql, const char *types,
			     ...);
/* Run one that answers no rows. */
gh_status gh__spool_run(gh__spool *spool, sqlite3_stmt *statement, gh_error *error);
/* The number in the first row's first column, or GH_ENOENT (without a text) if there is no row. */
gh_status gh__spool_number(gh__spool *spool, sqlite3_stmt *statement, int64_t *out,
			   gh_error *error);
/* Commit what went well, roll back the rest. */
gh_status gh__spool_finish(gh__spool *spool, gh_status status, gh_error *error);
/* Count anew, after rows have gone that nobody counted. */
gh_status gh__spool_recount(gh__spool *spool, gh_error *error);

#endif
