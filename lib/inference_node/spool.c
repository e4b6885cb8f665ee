#include "inference_node/spool.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "inference_node/spool_store.h"

enum {
	HEIGHTS = 20000,
	AGE_DAYS = 3,
	ROUNDS_MAX = 256,     /* whose nonces stay known */
	PROOFS_MAX = 2000000, /* not sent yet */
	BATCHES_MAX = 100000,
	BYTES_MAX = 512 << 20, /* of their bodies */
	TEXT_MAX = 4096,
	VERDICT_MAX = 16 << 20
};

/*
 * round      a block and a key, and all that is known of them
 * nonce      tried and hit, sent or not
 * sequence   how far its nonces were tried
 * target     of a round's proofs, what else a batch has in common
 * proof      in no batch yet
 * batch      to be sent; target 0: a verdict. AUTOINCREMENT: a number means one body, for ever
 */
static const char *const schema[] = {
	"CREATE TABLE round ("
	" id INTEGER PRIMARY KEY, block_hash TEXT NOT NULL, public_key TEXT NOT NULL,"
	" block_height INTEGER NOT NULL, seen INTEGER NOT NULL,"
	" UNIQUE (block_hash, public_key)) STRICT;"
	"CREATE TABLE nonce ("
	" round INTEGER NOT NULL REFERENCES round (id) ON DELETE CASCADE, nonce INTEGER NOT NULL,"
	" PRIMARY KEY (round, nonce)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE sequence ("
	" round INTEGER NOT NULL REFERENCES round (id) ON DELETE CASCADE, node INTEGER NOT NULL,"
	" nodes INTEGER NOT NULL, part INTEGER NOT NULL, parts INTEGER NOT NULL,"
	" next INTEGER NOT NULL,"
	" PRIMARY KEY (round, node, nodes, part, parts)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE target ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" round INTEGER NOT NULL REFERENCES round (id) ON DELETE CASCADE,"
	" url TEXT NOT NULL, block_height INTEGER NOT NULL, node INTEGER NOT NULL,"
	" UNIQUE (round, url, block_height, node)) STRICT;"
	"CREATE TABLE proof ("
	" id INTEGER PRIMARY KEY,"
	" target INTEGER NOT NULL REFERENCES target (id) ON DELETE CASCADE,"
	" nonce INTEGER NOT NULL, dist REAL NOT NULL) STRICT;"
	"CREATE INDEX proof_target ON proof (target);"
	"CREATE TABLE batch ("
	" number INTEGER PRIMARY KEY AUTOINCREMENT, target INTEGER NOT NULL, url TEXT NOT NULL,"
	" block_hash TEXT NOT NULL, block_height INTEGER NOT NULL, made INTEGER NOT NULL,"
	" proofs INTEGER NOT NULL, refused INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL) STRICT;"
	"CREATE INDEX batch_target ON batch (target);",
};

/* ---- statements ---- */

sqlite3_stmt *gh__spool_bind(gh__spool *spool, gh_error *error, const char *sql, const char *types,
			     ...)
{
	sqlite3_stmt *statement = gh__store_statement(spool->store, sql, error);
	va_list args;
	int code = SQLITE_OK;

	if (!statement)
		return NULL;
	va_start(args, types);
	for (int i = 1; types[i - 1] && code == SQLITE_OK; i++) {
		switch (types[i - 1]) {
		case 't':
			code = sqlite3_bind_text(statement, i, va_arg(args, const char *), -1,
						 SQLITE_STATIC);
			break;
		case 'i':
			code = sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
			break;
		default:
			code = sqlite3_bind_double(statement, i, va_arg(args, double));
			break;
		}
	}
	va_end(args);
	if (code == SQLITE_OK)
		return statement;
	gh__store_fail(spool->store, sql, error);
	return NULL;
}

gh_status gh__spool_run(gh__spool *spool, sqlite3_stmt *statement, gh_error *error)
{
	return statement ? gh__store_run(spool->store, statement, error) : GH_EIO;
}

gh_status gh__spool_number(gh__spool *spool, sqlite3_stmt *statement, int64_t *out, gh_error *error)
{
	gh_status status = GH_OK;

	if (!statement)
		return GH_EIO;
	switch (sqlite3_step(statement)) {
	case SQLITE_ROW:
		*out = sqlite3_column_int64(statement, 0);
		break;
	case SQLITE_DONE:
		status = GH_ENOENT;
		break;
	default:
		status = gh__store_fail(spool->store, sqlite3_sql(statement), error);
		break;
	}
	sqlite3_reset(statement);
	return status;
}

gh_status gh__spool_finish(gh__spool *spool, gh_status status, gh_error *error)
{
	if (status == GH_OK)
		return gh__store_commit(spool->store, error);
	gh__store_rollback(spool->store);
	(void)gh__spool_recount(spool, NULL); /* it may have been made inside */
	return status;
}

gh_status gh__spool_recount(gh__spool *spool, gh_error *error)
{
	static const char *const sql[] = {
		"SELECT count(*) FROM proof",
		"SELECT count(*) FROM batch",
		"SELECT coalesce(sum(proofs), 0) FROM batch",
		"SELECT coalesce(sum(length(CAST(body AS BLOB))), 0) FROM batch",
	};
	int64_t values[4] = { 0 };

	for (int i = 0; i < 4; i++) {
		gh_status status = gh__spool_number(spool, gh__spool_bind(spool, error, sql[i], ""),
						    &values[i], error);

		if (status != GH_OK)
			return status;
	}
	atomic_store(&spool->loose, values[0]);
	atomic_store(&spool->batches, values[1]);
	atomic_store(&spool->proofs, values[0] + values[2]);
	atomic_store(&spool->bytes, values[3]);
	return GH_OK;
}

/* ---- what is too old ---- */

/* In a transaction. Rounds below this height, or without news for too long, or too many; but not
 * the one that is at hand. */
static gh_status expire(gh__spool *spool, int64_t height_min, int64_t at_hand, gh_error *error)
{
	static const char batches[] = "DELETE FROM batch WHERE block_height < ?1 OR made < ?2";
	static const char rounds[] =
		"DELETE FROM round WHERE id <> ?4 AND (block_height < ?1 OR seen < ?2 OR id IN"
		" (SELECT id FROM round ORDER BY seen DESC, id DESC LIMIT -1 OFFSET ?3))";
	const int64_t since = gh__wall() - spool->age;
	const int64_t proofs = spool->proofs, all = spool->batches;
	gh_status status =
		gh__spool_run(spool, gh__spool_bind(spool, error, batches, "ii", height_min, since),
			      error);
	int dropped = sqlite3_changes(gh__store_db(spool->store));

	if (status == GH_OK)
		status = gh__spool_run(spool,
				       gh__spool_bind(spool, error, rounds, "iiii", height_min,
						      since, (int64_t)ROUNDS_MAX, at_hand),
				       error);
	dropped += sqlite3_changes(gh__store_db(spool->store));
	if (status != GH_OK || dropped == 0)
		return status;
	status = gh__spool_recount(spool, error);
	if (status == GH_OK && (spool->proofs < proofs || spool->batches < all))
		gh__warn("spool",
			 "dropped for their age, never delivered: proofs=%lld batches=%lld",
			 (long long)(proofs - spool->proofs), (long long)(all - spool->batches));
	return status;
}

/* ---- opening ---- */

/* Nobody else may send from this file. The lock is taken by the first transaction and goes with the
 * process, however it ends. */
static gh_status seize(gh__spool *spool, gh_error *error)
{
	gh_status status = GH_OK;

	if (sqlite3_exec(gh__store_db(spool->store), "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL,
			 NULL) != SQLITE_OK)
		return gh__store_fail(spool->store, "locking_mode", error);
	status = gh__store_begin(spool->store, error);
	if (status == GH_OK)
		status = gh__spool_recount(spool, error);
	if (status == GH_OK)
		status = expire(spool, INT64_MIN, 0, error);
	return gh__spool_finish(spool, status, error);
}

gh_status gh__spool_open(gh__spool **out, const gh__spool_options *options, gh_error *error)
{
	gh__spool *spool = gh__calloc(1, sizeof *spool);
	gh_status status;

	*out = NULL;
	if (!spool)
		return gh__fail_nomem(error);
	pthread_mutex_init(&spool->lock, NULL);
	spool->heights = options->heights > 0 ? options->heights : HEIGHTS;
	spool->age = options->age > 0 ? options->age : AGE_DAYS * 86400 * GH__SECOND;
	status = gh__store_open(&spool->store, options->path, schema,
				sizeof schema / sizeof *schema, error);
	if (status == GH_OK) {
		status = seize(spool, error);
		if (status != GH_OK)
			gh__error_prefix(error, "%s: ", options->path);
	}
	if (status != GH_OK) {
		gh__spool_close(spool);
		return status;
	}
	*out = spool;
	return GH_OK;
}

void gh__spool_close(gh__spool *spool)
{
	if (!spool)
		return;
	gh__store_close(spool->store);
	pthread_mutex_destroy(&spool->lock);
	gh__free(spool);
}

/* ---- taking in ---- */

static gh_status check_text(const char *name, const char *text, gh_error *error)
{
	const size_t len = text ? strlen(text) : 0;

	if (!text)
		return gh__fail(error, GH_EINVAL, "%s: missing", name);
	if (len > TEXT_MAX)
		return gh__fail(error, GH_ETOOBIG, "%s: %zu bytes, not more than %d", name, len,
				TEXT_MAX);
	return GH_OK;
}

static gh_status check_round(const gh__proof_round *round, gh_error *error)
{
	gh_status status = check_text("url", round->url, error);

	if (status == GH_OK)
		status = check_text("block_hash", round->block_hash, error);
	if (status == GH_OK)
		status = check_text("public_key", round->public_key, error);
	return status;
}

static int64_t floor_of(const gh__spool *spool, int64_t height)
{
	return height < INT64_MIN + spool->heights ? INT64_MIN : height - spool->heights;
}

/* In a transaction: the number of a round, which has just been heard of. */
static gh_status see_round(gh__spool *spool, const gh__proof_round *round, int64_t *id,
			   gh_error *error)
{
	static const char find[] =
		"UPDATE round SET seen = ?3, block_height = ?4 WHERE block_hash = ?1"
		" AND public_key = ?2 RETURNING id";
	static const char make[] = "INSERT INTO round (block_hash, public_key, seen, block_height)"
				   " VALUES (?1, ?2, ?3, ?4) RETURNING id";
	const int64_t now = gh__wall();
	gh_status status =
		gh__spool_number(spool,
				 gh__spool_bind(spool, error, find, "ttii", round->block_hash,
						round->public_key, now, round->block_height),
				 id, error);

	if (status != GH_ENOENT)
		return status;
	status = gh__spool_number(spool,
				  gh__spool_bind(spool, error, make, "ttii", round->block_hash,
						 round->public_key, now, round->block_height),
				  id, error);
	if (status == GH_OK)
		status = expire(spool, floor_of(spool, round->block_height), *id, error);
	return status;
}

static gh_status find_target(gh__spool *spool, const gh__proof_round *round, int64_t round_id,
			     int64_t *id, gh_error *error)
{
	static const char find[] = "SELECT id FROM target WHERE round = ?1 AND url = ?2"
				   " AND block_height = ?3 AND node = ?4";
	static const char make[] = "INSERT INTO target (round, url, block_height, node)"
				   " VALUES (?1, ?2, ?3, ?4) RETURNING id";
	gh_status status =
		gh__spool_number(spool,
				 gh__spool_bind(spool, error, find, "itii", round_id, round->url,
						round->block_height, round->node_id),
				 id, error);

	if (status != GH_ENOENT)
		return status;
	return gh__spool_number(spool,
				gh__spool_bind(spool, error, make, "itii", round_id, round->url,
					       round->block_height, round->node_id),
				id, error);
}

/* In a transaction. */
static gh_status add_proofs(gh__spool *spool, const gh__proof_round *round, const int64_t *nonces,
			    const double *dist, size_t count, int64_t *fresh, gh_error *error)
{
	static const char know[] = "INSERT OR IGNORE INTO nonce VALUES (?1, ?2)";
	static const char keep[] = "INSERT INTO proof (target, nonce, dist) VALUES (?1, ?2, ?3)";
	int64_t round_id = 0, target = 0;
	gh_status status = see_round(spool, round, &round_id, error);

	if (status == GH_OK)
		status = find_target(spool, round, round_id, &target, error);
	for (size_t i = 0; status == GH_OK && i < count; i++) {
		status =
			gh__spool_run(spool,
				      gh__spool_bind(spool, error, know, "ii", round_id, nonces[i]),
				      error);
		if (status != GH_OK || sqlite3_changes(gh__store_db(spool->store)) == 0)
			continue;
		status = gh__spool_run(spool,
				       gh__spool_bind(spool, error, keep, "iid", target, nonces[i],
						      dist[i]),
				       error);
		++*fresh;
	}
	return status;
}

gh_status gh__spool_add(gh__spool *spool, const gh__proof_round *round, const int64_t *nonces,
			const double *dist, size_t count, size_t *added, gh_error *error)
{
	gh_status status = check_round(round, error);
	int64_t fresh = 0;

	if (added)
		*added = 0;
	for (size_t i = 0; status == GH_OK && i < count; i++)
		if (nonces[i] < 0 || !isfinite(dist[i]))
			status = gh__fail(error, GH_EINVAL,
					  "proof %zu: nonce %lld with distance %g, expected a "
					  "nonce of 0 or more and a number",
					  i, (long long)nonces[i], dist[i]);
	if (status != GH_OK || count == 0)
		return status;
	pthread_mutex_lock(&spool->lock);
	if (count > PROOFS_MAX || spool->proofs > PROOFS_MAX - (int64_t)count) {
		status = gh__fail(error, GH_ETOOBIG, "proofs: %lld wait already, not more than %d",
				  (long long)spool->proofs, PROOFS_MAX);
	} else {
		status = gh__store_begin(spool->store, error);
		if (status == GH_OK) {
			status = add_proofs(spool, round, nonces, dist, count, &fresh, error);
			status = gh__spool_finish(spool, status, error);
		}
	}
	if (status == GH_OK) {
		spool->proofs += fresh;
		spool->loose += fresh;
		if (added)
			*added = (size_t)fresh;
	}
	pthread_mutex_unlock(&spool->lock);
	return status;
}

gh_status gh__spool_add_verdict(gh__spool *spool, const char *url, const char *block_hash,
				int64_t block_height, const char *json, gh_error *error)
{
	static const char keep[] =
		"INSERT INTO batch (target, url, block_hash, block_height, made, proofs, body)"
		" VALUES (0, ?1 || '/validated', ?2, ?3, ?4, 0, ?5)";
	const size_t len = strlen(json);
	gh_status status = check_text("url", url, error);

	if (status == GH_OK)
		status = check_text("block_hash", block_hash, error);
	if (status == GH_OK && len > VERDICT_MAX)
		status = gh__fail(error, GH_ETOOBIG, "verdict: %zu bytes, not more than %d", len,
				  VERDICT_MAX);
	if (status != GH_OK)
		return status;
	pthread_mutex_lock(&spool->lock);
	if (spool->batches >= BATCHES_MAX || spool->bytes > BYTES_MAX - (int64_t)len)
		status = gh__fail(error, GH_ETOOBIG, "verdicts: %lld batches of %lld bytes wait",
				  (long long)spool->batches, (long long)spool->bytes);
	else
		status = gh__spool_run(spool,
				       gh__spool_bind(spool, error, keep, "ttiit", url, block_hash,
						      block_height, gh__wall(), json),
				       error);
	if (status == GH_OK) {
		spool->batches++;
		spool->bytes += (int64_t)len;
	}
	pthread_mutex_unlock(&spool->lock);
	return status;
}

/* ---- sequences ---- */

gh_status gh__spool_next(gh__spool *spool, const gh__proof_round *round, int64_t node_count,
			 int64_t group, int64_t groups, uint64_t *index, gh_error *error)
{
	static const char find[] = "SELECT next FROM sequence WHERE round = (SELECT id FROM round"
				   " WHERE block_hash = ?1 AND public_key = ?2)"
				   " AND node = ?3 AND nodes = ?4 AND part = ?5 AND parts = ?6";
	gh_status status = check_round(round, error);
	int64_t next = 0;

	if (status != GH_OK)
		return status;
	pthread_mutex_lock(&spool->lock);
	status = gh__spool_number(spool,
				  gh__spool_bind(spool, error, find, "ttiiii", round->block_hash,
						 round->public_key, round->node_id, node_count,
						 group, groups),
				  &next, error);
	pthread_mutex_unlock(&spool->lock);
	if (status != GH_OK && status != GH_ENOENT)
		return status;
	*index = (uint64_t)next;
	return GH_OK;
}

gh_status gh__spool_advance(gh__spool *spool, const gh__proof_round *round, int64_t node_count,
			    int64_t group, int64_t groups, uint64_t index, gh_error *error)
{
	static const char keep[] = "INSERT INTO sequence VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
				   " ON CONFLICT DO UPDATE SET next = max(next, excluded.next)";
	gh_status status = check_round(round, error);
	int64_t id = 0;

	if (status == GH_OK && index > INT64_MAX)
		status = gh__fail(error, GH_ETOOBIG, "index: %llu is beyond 2^63 - 1",
				  (unsigned long long)index);
	if (status != GH_OK)
		return status;
	pthread_mutex_lock(&spool->lock);
	status = gh__store_begin(spool->store, error);
	if (status == GH_OK) {
		status = see_round(spool, round, &id, error);
		if (status == GH_OK)
			status = gh__spool_run(spool,
					       gh__spool_bind(spool, error, keep, "iiiiii", id,
							      round->node_id, node_count, group,
							      groups, (int64_t)index),
					       error);
		status = gh__spool_finish(spool, status, error);
	}
	pthread_mutex_unlock(&spool->lock);
	return status;
}
