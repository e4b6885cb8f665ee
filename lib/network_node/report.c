#include "network_node/report.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "json/pull.h"

typedef enum kind { TEXT, INTEGER, COUNTER, REAL, TRUTH, INTEGERS, REALS } kind;

static const char *const kind_names[] = {
	"string", "int64", "uint64", "float64", "bool", "[]int64", "[]float64",
};

enum {
	PUBLIC_KEY,
	BLOCK_HASH,
	BLOCK_HEIGHT,
	NONCES,
	DIST,
	NODE_ID,
	BATCH_FIELDS, /* those behind it only verdicts have */
	RECEIVED_DIST = BATCH_FIELDS,
	R_TARGET,
	FRAUD_THRESHOLD,
	N_INVALID,
	PROBABILITY_HONEST,
	FRAUD_DETECTED,
	FIELDS
};

static const struct {
	const char *name;
	kind kind;
} fields[FIELDS] = {
	[PUBLIC_KEY] = { "public_key", TEXT },
	[BLOCK_HASH] = { "block_hash", TEXT },
	[BLOCK_HEIGHT] = { "block_height", INTEGER },
	[NONCES] = { "nonces", INTEGERS },
	[DIST] = { "dist", REALS },
	[NODE_ID] = { "node_id", COUNTER },
	[RECEIVED_DIST] = { "received_dist", REALS },
	[R_TARGET] = { "r_target", REAL },
	[FRAUD_THRESHOLD] = { "fraud_threshold", REAL },
	[N_INVALID] = { "n_invalid", INTEGER },
	[PROBABILITY_HONEST] = { "probability_honest", REAL },
	[FRAUD_DETECTED] = { "fraud_detected", TRUTH },
};

typedef union number {
	int64_t integer;
	uint64_t counter;
	double real;
} number;

typedef struct value {
	bool there; /* and not null */
	char text[GH__PROOF_TEXT_MAX + 1];
	number number; /* or 1 for true */
	number *list;
	size_t count, capacity;
} value;

typedef struct report {
	gh__proof_verdict face;
	gh__pull *pull;
	value values[FIELDS];
} report;

void gh__report_free(gh__proof_verdict *face)
{
	report *r = (report *)face;

	if (!r)
		return;
	gh__free(r->values[NONCES].list);
	gh__free(r->values[DIST].list);
	gh__free(r->values[RECEIVED_DIST].list);
	gh__free(r);
}

/* ---- one value ---- */

static gh_status wrong(const report *r, int field, kind expected, gh__pull_event got,
		       gh_error *error)
{
	static const char *const names[] = {
		[GH__PULL_OBJECT] = "object", [GH__PULL_ARRAY] = "array",
		[GH__PULL_STRING] = "string", [GH__PULL_NUMBER] = "number",
		[GH__PULL_TRUE] = "bool",     [GH__PULL_FALSE] = "bool",
	};
	bool tell = got == GH__PULL_NUMBER &&
		    (expected == INTEGER || expected == COUNTER || expected == REAL);
	size_t len;
	const char *text = gh__pull_text(r->pull, &len);

	return gh__fail(error, GH_EFORMAT,
			"Unmarshal type error: expected=%s, got=%s%s%.*s, field=%s, offset=%zu",
			kind_names[expected], names[got], tell ? " " : "",
			tell ? (int)(len < 40 ? len : 40) : 0, text, fields[field].name,
			gh__pull_offset(r->pull));
}

static bool read_counter(const gh__pull *pull, uint64_t *out)
{
	size_t len;
	const char *text = gh__pull_text(pull, &len);

	*out = 0;
	for (size_t i = 0; i < len; i++)
		if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(*out, 10u, out) ||
		    __builtin_add_overflow(*out, (unsigned)(text[i] - '0'), out))
			return false;
	return true;
}

static gh_status read_number(const report *r, int field, kind expected, gh__pull_event event,
			     number *out, gh_error *error)
{
	bool good = event == GH__PULL_NUMBER;

	if (good && expected == INTEGER)
		good = gh__pull_int(r->pull, &out->integer);
	else if (good && expected == COUNTER)
		good = read_counter(r->pull, &out->counter);
	else if (good)
		good = gh__pull_double(r->pull, &out->real);
	return good ? GH_OK : wrong(r, field, expected, event, error);
}

static gh_status read_text(const report *r, int field, value *v, gh_error *error)
{
	size_t len;
	const char *text = gh__pull_text(r->pull, &len);

	if (len > GH__PROOF_TEXT_MAX || memchr(text, '\0', len))
		return gh__fail(
			error, GH_EINVAL,
			"%s: expected at most %d bytes and no NUL among them, got %zu bytes",
			fields[field].name, GH__PROOF_TEXT_MAX, len);
	memcpy(v->text, text, len);
	v->text[len] = '\0';
	return GH_OK;
}

static gh_status grow(int field, value *v, gh_error *error)
{
	size_t capacity = v->capacity ? 2 * v->capacity : 256;
	number *list;

	if (v->count == GH__PROOF_REPORT_MAX)
		return gh__fail(error, GH_EINVAL, "%s: more than %d entries", fields[field].name,
				GH__PROOF_REPORT_MAX);
	list = gh__realloc_array(v->list, capacity, sizeof *list);
	if (!list)
		return gh__fail_nomem(error);
	v->list = list;
	v->capacity = capacity;
	return GH_OK;
}

static gh_status read_list(report *r, int field, gh_error *error)
{
	kind expected = fields[field].kind == INTEGERS ? INTEGER : REAL;
	value *v = &r->values[field];
	gh__pull_event event;
	gh_status status = GH_OK;

	v->count = 0;
	while (status == GH_OK && (event = gh__pull_next(r->pull)) != GH__PULL_ARRAY_END) {
		if (event == GH__PULL_ERROR)
			return GH_EFORMAT;
		/* as for any other field, null is nothing; but a list with holes is no list */
		if (event == GH__PULL_NULL)
			return gh__fail(error, GH_EINVAL, "%s[%zu]: missing", fields[field].name,
					v->count);
		if (v->count == v->capacity)
			status = grow(field, v, error);
		if (status == GH_OK)
			status = read_number(r, field, expected, event, &v->list[v->count], error);
		v->count += status == GH_OK;
	}
	return status;
}

static gh_status read_value(report *r, int field, gh_error *error)
{
	kind expected = fields[field].kind;
	gh__pull_event event = gh__pull_next(r->pull);
	value *v = &r->values[field];

	v->there = event != GH__PULL_NULL;
	if (event == GH__PULL_ERROR)
		return GH_EFORMAT;
	if (event == GH__PULL_NULL)
		return GH_OK;
	switch (expected) {
	case TEXT:
		if (event != GH__PULL_STRING)
			break;
		return read_text(r, field, v, error);
	case TRUTH:
		if (event != GH__PULL_TRUE && event != GH__PULL_FALSE)
			break;
		v->number.integer = event == GH__PULL_TRUE;
		return GH_OK;
	case INTEGERS:
	case REALS:
		if (event != GH__PULL_ARRAY)
			break;
		return read_list(r, field, error);
	case INTEGER:
	case COUNTER:
	case REAL:
		return read_number(r, field, expected, event, &v->number, error);
	}
	return wrong(r, field, expected, event, error);
}

/* ---- the whole ---- */

static gh_status read_member(report *r, int count, gh_error *error)
{
	for (int i = 0; i < count; i++)
		if (gh__pull_is(r->pull, fields[i].name))
			return read_value(r, i, error);
	return gh__pull_skip(r->pull);
}

static gh_status read_members(report *r, int count, gh_error *error)
{
	gh__pull_event event = gh__pull_next(r->pull);
	gh_status status = GH_OK;

	if (event == GH__PULL_NULL)
		event = gh__pull_next(r->pull);
	else if (event != GH__PULL_ERROR && event != GH__PULL_OBJECT)
		return gh__fail(error, GH_EFORMAT,
				"Unmarshal type error: expected=object, got=another, field=, "
				"offset=%zu",
				gh__pull_offset(r->pull));
	else
		while (status == GH_OK && (event = gh__pull_next(r->pull)) == GH__PULL_KEY)
			status = read_member(r, count, error);
	if (status == GH_OK && event == GH__PULL_OBJECT_END)
		event = gh__pull_next(r->pull); /* nothing comes behind it */
	return status == GH_OK && event == GH__PULL_ERROR ? GH_EFORMAT : status;
}

/* The text of what stopped the reader, if it was the reader that stopped. */
static gh_status told(const report *r, gh_status status, gh_error *error)
{
	gh_error syntax = GH_ERROR_INIT;
	gh_status stopped = gh__pull_error(r->pull, NULL, &syntax);

	if (status == GH_OK || stopped == GH_OK)
		return status;
	if (stopped == GH_ENOMEM)
		return gh__fail_nomem(error);
	return gh__fail(error, GH_EFORMAT, "Syntax error: offset=%zu, error=%s",
			gh__pull_offset(r->pull), syntax.text);
}

static gh_status read_body(report *r, const char *body, size_t len, int count, gh_error *error)
{
	gh_status status;

	if (len == 0) /* counts as an empty object */
		return GH_OK;
	status = gh__pull_create(&r->pull, body, len, error);
	if (status != GH_OK)
		return status;
	status = told(r, read_members(r, count, error), error);
	gh__pull_free(r->pull);
	r->pull = NULL;
	return status;
}

/* ---- what the values may be ---- */

static gh_status check_list(const report *r, int field, gh_error *error)
{
	const value *v = &r->values[field], *nonces = &r->values[NONCES];

	if (v->count != nonces->count)
		return gh__fail(error, GH_EINVAL,
				"%s: %zu entries, expected %zu, as many as nonces",
				fields[field].name, v->count, nonces->count);
	return GH_OK;
}

static gh_status check_range(const report *r, int field, double max, gh_error *error)
{
	double got = r->values[field].number.real;

	if (got >= 0 && got <= max)
		return GH_OK;
	return gh__fail(error, GH_EINVAL, "%s: %g, expected 0 to %g", fields[field].name, got, max);
}

static gh_status check_verdict(const report *r, gh_error *error)
{
	int64_t invalid = r->values[N_INVALID].number.integer;
	gh_status status = check_list(r, RECEIVED_DIST, error);

	if (status == GH_OK)
		status = check_range(r, R_TARGET, 1e9, error);
	if (status == GH_OK)
		status = check_range(r, FRAUD_THRESHOLD, 1, error);
	if (status == GH_OK)
		status = check_range(r, PROBABILITY_HONEST, 1, error);
	if (status == GH_OK && (invalid < 0 || (uint64_t)invalid > r->values[NONCES].count))
		status = gh__fail(error, GH_EINVAL, "n_invalid: %lld, expected 0 to %zu",
				  (long long)invalid, r->values[NONCES].count);
	return status;
}

static gh_status check(const report *r, int count, gh_error *error)
{
	const value *dist = &r->values[DIST];
	gh_status status = GH_OK;

	for (int i = 0; i < count; i++)
		if (!r->values[i].there)
			return gh__fail(error, GH_EINVAL, "%s: missing", fields[i].name);
	status = check_list(r, DIST, error);
	for (size_t i = 0; status == GH_OK && i < dist->count; i++)
		if (dist->list[i].real < 0)
			status = gh__fail(error, GH_EINVAL, "dist[%zu]: %g, expected 0 or more", i,
					  dist->list[i].real);
	if (status == GH_OK && count == FIELDS)
		status = check_verdict(r, error);
	return status;
}

static void fill(report *r)
{
	const value *v = r->values;
	gh__proof_batch *batch = &r->face.batch;

	batch->public_key = v[PUBLIC_KEY].text;
	batch->block_hash = v[BLOCK_HASH].text;
	batch->block_height = v[BLOCK_HEIGHT].number.integer;
	batch->node_num = v[NODE_ID].number.counter;
	batch->node_id = "";
	batch->nonces = (const int64_t *)v[NONCES].list;
	batch->dist = (const double *)v[DIST].list;
	batch->count = v[NONCES].count;
	r->face.received_dist = (const double *)v[RECEIVED_DIST].list;
	r->face.r_target = v[R_TARGET].number.real;
	r->face.fraud_threshold = v[FRAUD_THRESHOLD].number.real;
	r->face.n_invalid = v[N_INVALID].number.integer;
	r->face.probability_honest = v[PROBABILITY_HONEST].number.real;
	r->face.fraud_detected = v[FRAUD_DETECTED].number.integer != 0;
}

gh_status gh__report_read(gh__proof_verdict **out, const char *body, size_t len, bool verdict,
			  gh_error *error)
{
	int count = verdict ? FIELDS : BATCH_FIELDS;
	report *r = gh__calloc(1, sizeof *r);
	gh_status status;

	if (!r)
		return gh__fail_nomem(error);
	status = read_body(r, body, len, count, error);
	if (status == GH_OK)
		status = check(r, count, error);
	if (status != GH_OK) {
		gh__report_free(&r->face);
		return status;
	}
	fill(r);
	*out = &r->face;
	return GH_OK;
}
