#include "poc/staged.h"

#include "base/alloc.h"
#include "base/error.h"
#include "model/arena.h"

/* Elements of a tiled tensor that are laid out at once. */
#define PIECE (1 << 18)

enum { NOTHING = -1 };

typedef struct slot {
	void *qkv, *o, *gate_up, *down, *input_norm, *post_norm;
	int32_t layer; /* that lies here, or NOTHING */
} slot;

typedef struct staged {
	gh_poc_params params;
	gh__poc_shape shape;
	gh__poc_pool pool;
	gh__slice *slices; /* [shape.tensor_count]; NULL: only measured */
	gh__device *device;
	gh__kernels kernels; /* for packing */
	gh__arena memory;
	slot *slots; /* [slot_count] */
	int32_t slot_count;
	void *norm, *head;
	uint16_t *piece; /* [PIECE], or a row */
} staged;

/* ---- places ---- */

static void *matrix(staged *s, const gh__kernel *kernel)
{
	return gh__arena_take(&s->memory, s->device->table->packed_size(s->device->self, kernel));
}

static void *vector(staged *s)
{
	return gh__arena_take(&s->memory, (size_t)s->params.dim * sizeof(uint16_t));
}

static void lay_out_ends(staged *s)
{
	s->norm = vector(s);
	s->head = matrix(s, s->kernels.head);
}

static void lay_out_slot(staged *s, slot *out)
{
	out->qkv = matrix(s, s->kernels.qkv);
	out->o = matrix(s, s->kernels.o);
	out->gate_up = matrix(s, s->kernels.gate_up);
	out->down = matrix(s, s->kernels.down);
	out->input_norm = vector(s);
	out->post_norm = vector(s);
	out->layer = NOTHING;
}

/* ---- from the pool ---- */

static const gh__slice *slice_of(const staged *s, gh__poc_part part, int32_t layer)
{
	return &s->slices[gh__poc_tensor_index(part, (uint32_t)layer, &s->params)];
}

/* A tensor of `columns` a row to the kernel's rows from `row` on. */
static gh_status pack(staged *s, gh__device *on, const gh__kernel *kernel, void *to,
		      gh__poc_part part, int32_t layer, int64_t row, int64_t columns,
		      gh_error *error)
{
	const gh__slice *slice = slice_of(s, part, layer);
	const uint16_t *pool = s->pool.numbers;
	int64_t rows = (int64_t)slice->size / columns, count = PIECE / columns;
	gh_status status = GH_OK;

	if (s->pool.on_device)
		return on->table->pack_slice(on->self, kernel, to, pool, slice, row, on->stream,
					     error);
	if (!slice->tiled)
		return on->table->pack(on->self, kernel, to, pool + slice->start, row, rows, error);
	count = count > 0 ? count : 1;
	for (int64_t at = 0; at < rows && status == GH_OK; at += count) {
		int64_t some = rows - at < count ? rows - at : count;

		gh__poc_slice_copy(s->piece, pool, slice, (uint64_t)(at * columns),
				   (uint64_t)(some * columns));
		status = on->table->pack(on->self, kernel, to, s->piece, row + at, some, error);
	}
	return status;
}

static gh_status put(staged *s, gh__device *on, void *to, gh__poc_part part, int32_t layer,
		     gh_error *error)
{
	const gh__slice *slice = slice_of(s, part, layer);

	if (s->pool.on_device)
		return on->table->pack_slice(on->self, NULL, to, s->pool.numbers, slice, 0,
					     on->stream, error);
	gh__poc_slice_copy(s->piece, s->pool.numbers, slice, 0, slice->size);
	return on->table->upload(on->self, to, s->piece, (size_t)slice->size * sizeof(uint16_t),
				 on->stream, error);
}

static gh_status fill(staged *s, gh__device *on, slot *to, int32_t layer, gh_error *error)
{
	const gh__kernels *k = &s->kernels;
	int64_t dim = s->params.dim, hidden = s->shape.hidden, kv = s->shape.kv_dim;
	const struct {
		const gh__kernel *kernel;
		void *to;
		gh__poc_part part;
		int64_t row, columns;
	} matrices[] = {
		{ k->qkv, to->qkv, GH__POC_WQ, 0, dim },
		{ k->qkv, to->qkv, GH__POC_WK, dim, dim },
		{ k->qkv, to->qkv, GH__POC_WV, dim + kv, dim },
		{ k->o, to->o, GH__POC_WO, 0, dim },
		{ k->gate_up, to->gate_up, GH__POC_W1, 0, dim },
		{ k->gate_up, to->gate_up, GH__POC_W3, hidden, dim },
		{ k->down, to->down, GH__POC_W2, 0, hidden },
	};
	gh_status status = GH_OK;

	to->layer = NOTHING;
	for (size_t i = 0; i < sizeof matrices / sizeof *matrices && status == GH_OK; i++)
		status = pack(s, on, matrices[i].kernel, matrices[i].to, matrices[i].part, layer,
			      matrices[i].row, matrices[i].columns, error);
	if (status == GH_OK)
		status = put(s, on, to->input_norm, GH__POC_ATTENTION_NORM, layer, error);
	if (status == GH_OK)
		status = put(s, on, to->post_norm, GH__POC_FFN_NORM, layer, error);
	if (status == GH_OK)
		to->layer = layer;
	return status;
}

/* They are there before any device reads them. */
static gh_status fill_ends(staged *s, gh_error *error)
{
	gh__device *on = s->device;
	gh_status status = put(s, on, s->norm, GH__POC_NORM, 0, error);

	if (status == GH_OK)
		status = pack(s, on, s->kernels.head, s->head, GH__POC_OUTPUT, 0, 0, s->params.dim,
			      error);
	return status == GH_OK ? on->table->synchronise(on->self, on->stream, error) : status;
}

/* ---- the source ---- */

static gh_status staged_layer(void *self, gh__device *on, int32_t layer, gh__layer_weights *out,
			      gh_error *error)
{
	staged *s = self;
	int32_t kept = s->slot_count == s->params.n_layers ? s->slot_count : s->slot_count - 2;
	slot *at = &s->slots[layer < kept ? layer : kept + (layer - kept) % 2];
	gh_status status = at->layer == layer ? GH_OK : fill(s, on, at, layer, error);

	*out = (gh__layer_weights){ .input_norm = at->input_norm,
				    .post_norm = at->post_norm,
				    .qkv = { at->qkv, NULL },
				    .o = { at->o, NULL },
				    .gate_up = { at->gate_up, NULL },
				    .down = { at->down, NULL },
				    .k_scale = 1.0F,
				    .v_scale = 1.0F };
	return status;
}

static void staged_ends(const void *self, gh__end_weights *out)
{
	const staged *s = self;

	*out = (gh__end_weights){ .norm = s->norm, .head = { s->head, NULL } };
}

static int64_t staged_bytes(const void *self)
{
	const staged *s = self;

	return (int64_t)(s->shape.pool_size * sizeof(uint16_t) + s->memory.size);
}

static void staged_free(void *self)
{
	staged *s = self;

	if (s == NULL)
		return;
	gh__arena_free(&s->memory);
	gh__kernels_free(&s->kernels);
	gh__free(s->slices);
	gh__free(s->slots);
	gh__free(s->piece);
	gh__free(s);
}

static const gh__weights_table table = {
	.free = staged_free,
	.bytes = staged_bytes,
	.ends = staged_ends,
	.layer = staged_layer,
};

static gh_status find_slices(staged *s, const char *block_hash, gh_error *error)
{
	gh_status status = GH_OK;

	s->slices = gh__calloc(s->shape.tensor_count, sizeof *s->slices);
	if (s->slices == NULL)
		return gh__fail_nomem(error);
	for (uint32_t i = 0; i < s->shape.tensor_count && status == GH_OK; i++) {
		gh__poc_tensor tensor;

		gh__poc_tensor_at(&tensor, i, &s->params, &s->shape);
		status = gh__poc_slice_of(&s->slices[i], block_hash, &tensor, s->shape.pool_size,
					  error);
	}
	return status;
}

/* Count, allocate, and lay out for real. */
static gh_status allocate(staged *s, int32_t slots, gh_error *error)
{
	int64_t row = s->shape.hidden > s->params.dim ? s->shape.hidden : s->params.dim;
	gh_status status;

	s->slot_count = slots;
	s->slots = gh__calloc((size_t)slots, sizeof *s->slots);
	s->piece = gh__calloc(row > PIECE ? (size_t)row : PIECE, sizeof *s->piece);
	if (s->slots == NULL || s->piece == NULL)
		return gh__fail_nomem(error);
	lay_out_ends(s);
	for (int32_t i = 0; i < slots; i++)
		lay_out_slot(s, &s->slots[i]);
	status = gh__arena_commit(&s->memory, error);
	if (status != GH_OK)
		return status;
	lay_out_ends(s);
	for (int32_t i = 0; i < slots; i++)
		lay_out_slot(s, &s->slots[i]);
	return GH_OK;
}

gh_status gh__staged_create(gh__weights *out, const gh__staged_options *options,
			    const gh__load *load, gh_error *error)
{
	staged *s = gh__calloc(1, sizeof *s);
	gh_status status;

	if (s == NULL)
		return gh__fail_nomem(error);
	s->params = *options->params;
	s->pool = options->pool;
	s->device = s->memory.device = load->device;
	status = gh__poc_shape_of(&s->shape, &s->params, error);
	if (status == GH_OK)
		status = gh__kernels_prepare(&s->kernels, load->device, load->desc, load->numerics,
					     load->plan, error);
	if (status == GH_OK && options->slots > 0) {
		status = find_slices(s, options->block_hash, error);
		if (status == GH_OK)
			status = allocate(s, options->slots, error);
		if (status == GH_OK)
			status = fill_ends(s, error);
	}
	if (status != GH_OK) {
		staged_free(s);
		return status;
	}
	*out = (gh__weights){ &table, s };
	return GH_OK;
}

int32_t gh__staged_slots_min(const gh_poc_params *params)
{
	return params->n_layers < 2 ? 1 : 2;
}

gh__staged_bytes gh__staged_measure(const gh__weights *weights)
{
	const staged *s = weights->self;
	staged counting = { .params = s->params,
			    .device = s->device,
			    .kernels = s->kernels,
			    .memory = { .device = s->device } };
	gh__staged_bytes bytes;
	slot one;

	lay_out_ends(&counting);
	bytes.fixed = (int64_t)counting.memory.used;
	lay_out_slot(&counting, &one);
	bytes.slot = (int64_t)counting.memory.used - bytes.fixed;
	return bytes;
}
