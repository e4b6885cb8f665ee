#include "network_node/proofs.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "network_node/proofs_file.h"

typedef struct packed_verdict {
	unsigned char *nonces, *dist, *received;
	char name[GH__PROOF_ID_SIZE];
} packed_verdict;

static void packed_free(packed_verdict *packed)
{
	gh__free(packed->nonces);
	gh__free(packed->dist);
	gh__free(packed->received);
}

static gh_status pack_verdict(packed_verdict *out, const gh__proof_verdict *verdict,
			      gh_error *error)
{
	size_t count = verdict->batch.count, bytes = count * GH__PROOF_ENTRY_BYTES;
	gh__buf text = GH__BUF_INIT(GH__PROOF_NAME_MAX + 3 * bytes);
	unsigned char numbers[3 * GH__PROOF_ENTRY_BYTES];

	out->nonces = gh__proof_store_pack_ints(verdict->batch.nonces, count);
	out->dist = gh__proof_store_pack_reals(verdict->batch.dist, count);
	out->received = gh__proof_store_pack_reals(verdict->received_dist, count);
	if (!out->nonces || !out->dist || !out->received)
		return gh__fail_nomem(error);
	gh__proof_store_pack_real(numbers, verdict->r_target);
	gh__proof_store_pack_real(numbers + GH__PROOF_ENTRY_BYTES, verdict->fraud_threshold);
	gh__proof_store_pack_real(numbers + 2 * GH__PROOF_ENTRY_BYTES, verdict->probability_honest);
	gh__proof_store_begin_name(&text, "verdict", &verdict->batch);
	gh__buf_printf(&text, "%lld %d ", (long long)verdict->n_invalid, verdict->fraud_detected);
	gh__buf_append(&text, numbers, sizeof numbers);
	gh__buf_append(&text, out->nonces, bytes);
	gh__buf_append(&text, out->dist, bytes);
	gh__buf_append(&text, out->received, bytes);
	return gh__proof_store_end_name(out->name, &text, error);
}

static gh_status write_verdict(gh__store *store, const gh__proof_verdict *verdict,
			       const packed_verdict *packed, int64_t round, bool *added,
			       gh_error *error)
{
	const gh__proof_batch *batch = &verdict->batch;
	int bytes = (int)(batch->count * GH__PROOF_ENTRY_BYTES);
	sqlite3_stmt *statement = gh__store_statement(
		store,
		"INSERT INTO verdict (round, name, public_key, node_num, node_id, nonces, dist,"
		" received_dist, r_target, fraud_threshold, n_invalid, probability_honest,"
		" fraud_detected, received_at)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
		" ON CONFLICT DO NOTHING",
		error);
	gh_status status;

	if (!statement)
		return GH_EIO;
	sqlite3_bind_int64(statement, 1, round);
	sqlite3_bind_text(statement, 2, packed->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 3, batch->public_key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 4, (sqlite3_int64)batch->node_num);
	sqlite3_bind_text(statement, 5, batch->node_id, -1, SQLITE_STATIC);
	sqlite3_bind_blob(statement, 6, packed->nonces, bytes, SQLITE_STATIC);
	sqlite3_bind_blob(statement, 7, packed->dist, bytes, SQLITE_STATIC);
	sqlite3_bind_blob(statement, 8, packed->received, bytes, SQLITE_STATIC);
	sqlite3_bind_double(statement, 9, verdict->r_target);
	sqlite3_bind_double(statement, 10, verdict->fraud_threshold);
	sqlite3_bind_int64(statement, 11, verdict->n_invalid);
	sqlite3_bind_double(statement, 12, verdict->probability_honest);
	sqlite3_bind_int(statement, 13, verdict->fraud_detected);
	sqlite3_bind_int64(statement, 14, gh__wall());
	status = gh__store_run(store, statement, error);
	*added = status == GH_OK && sqlite3_changes(gh__store_db(store)) > 0;
	return status;
}

/* In a transaction. A verdict counts as one entry more than it has, so that empty ones count
 * too. */
static gh_status judge(gh__store *store, const gh__proof_verdict *verdict,
		       const packed_verdict *packed, bool *added, gh_error *error)
{
	size_t entries = verdict->batch.count + 1;
	gh__proof_round round;
	gh_status status = gh__proof_store_round(store, verdict->batch.block_hash,
						 verdict->batch.block_height, &round, error);

	if (status == GH_OK)
		status = write_verdict(store, verdict, packed, round.id, added, error);
	if (status == GH_OK && *added)
		status = gh__proof_store_room("verdicts", round.judged, entries, error);
	if (status == GH_OK)
		status =
			gh__proof_store_count(store,
					      "UPDATE round SET judged = judged + ?2 WHERE id = ?1",
					      round.id, (int64_t)entries, error);
	return status;
}

static gh_status check_verdict(const gh__proof_verdict *v, gh_error *error)
{
	const double numbers[] = { v->r_target, v->fraud_threshold, v->probability_honest };
	gh_status status = gh__proof_store_check(&v->batch, error);

	if (status == GH_OK)
		status = gh__proof_store_check_finite("received_dist", v->received_dist,
						      v->batch.count, error);
	if (status == GH_OK)
		status = gh__proof_store_check_finite(
			"r_target, fraud_threshold, probability_honest", numbers, 3, error);
	return status;
}

gh_status gh__proof_store_judge(gh__proof_store *proofs, const gh__proof_verdict *verdict,
				bool *added, gh_error *error)
{
	gh__proof_side *side = &proofs->writer;
	packed_verdict packed = { 0 };
	gh_status status = check_verdict(verdict, error);

	*added = false;
	if (status == GH_OK)
		status = pack_verdict(&packed, verdict, error);
	if (status != GH_OK)
		goto out;
	pthread_mutex_lock(&side->lock);
	status = gh__store_begin(side->store, error);
	if (status == GH_OK) {
		status = judge(side->store, verdict, &packed, added, error);
		status = gh__proof_store_end(side->store, status, *added, error);
	}
	pthread_mutex_unlock(&side->lock);
	if (status != GH_OK)
		*added = false;
out:
	packed_free(&packed);
	return status;
}
