#ifndef GH_NETWORK_NODE_PROOFS_FILE_H
#define GH_NETWORK_NODE_PROOFS_FILE_H

#include "base/buf.h"
#include "base/thread.h"
#include "network_node/proofs.h"
#include "store/store.h"

/*
 * What the sources of the proofs' file share. Two connections to one file: in WAL mode a reader and
 * the writer do not wait for each other. A store belongs to whoever holds its lock.
 */
typedef struct gh__proof_side {
	pthread_mutex_t lock;
	gh__store *store;
} gh__proof_side;

struct gh__proof_store {
	gh__proof_side writer, reader;
};

/* What is asked of a batch, whoever made it. */
gh_status gh__proof_store_check(const gh__proof_batch *batch, gh_error *error);
gh_status gh__proof_store_check_text(const char *name, const char *text, gh_error *error);
gh_status gh__proof_store_check_finite(const char *name, const double *values, size_t count,
				       gh_error *error);

/* ---- in a transaction ---- */

typedef struct gh__proof_round {
	int64_t id, node_count, proofs, judged;
} gh__proof_round;

/* The round of a block, begun if it is not there. A block has one height: the first that was
 * told. */
gh_status gh__proof_store_round(gh__store *store, const char *block_hash, int64_t height,
				gh__proof_round *round, gh_error *error);
/* sql updates round ?1 with ?2. */
gh_status gh__proof_store_count(gh__store *store, const char *sql, int64_t round, int64_t value,
				gh_error *error);
gh_status gh__proof_store_room(const char *what, int64_t there, size_t more, gh_error *error);
/* End it: with what it did if all went well and there is something new, else without. */
gh_status gh__proof_store_end(gh__store *store, gh_status status, bool news, gh_error *error);

/* ---- lists, stored as 64 bits an entry, little end first ---- */

enum { GH__PROOF_ENTRY_BYTES = 8 };

void gh__proof_store_pack_int(unsigned char *out, int64_t value);
void gh__proof_store_pack_real(unsigned char *out, double value);
unsigned char *gh__proof_store_pack_ints(const int64_t *values, size_t count); /* caller frees */
unsigned char *gh__proof_store_pack_reals(const double *values, size_t count); /* caller frees */

/* ---- names, made of the content ---- */

enum { GH__PROOF_NAME_MAX = 1024 }; /* of what begin writes */

/* kind and what the batch says of itself, without its lists. */
void gh__proof_store_begin_name(gh__buf *text, const char *kind, const gh__proof_batch *batch);
gh_status gh__proof_store_end_name(char out[GH__PROOF_ID_SIZE], gh__buf *text, gh_error *error);

#endif
