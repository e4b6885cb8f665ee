#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "device/narrow.h"
#include "device/quantise.h"
#include "model/arena.h"
#include "model/pieces.h"

typedef struct resident {
	gh__arena arena;
	gh_span layers;
	gh__end_weights ends;
	gh__layer_weights *layer; /* [layers.count] */
} resident;

typedef struct fused {
	gh__kernel *kernel;
	int count;
	gh__part parts[3];
	int64_t n, k; /* of the rank's matrix */
} fused;

/* ---- the layout of a rank's matrices ---- */

static gh_span head_rows(gh_span heads, int64_t head_dim)
{
	return (gh_span){ heads.first * head_dim, heads.count * head_dim };
}

static fused fuse(gh__kernel *kernel, int64_t k, int count, const gh__slot *slots,
		  const gh_span *rows)
{
	fused f = { .kernel = kernel, .count = count, .k = k };

	for (int i = 0; i < count; i++) {
		f.parts[i] = (gh__part){ slots[i], rows[i], f.n };
		f.n += rows[i].count;
	}
	return f;
}

static fused qkv_of(const gh__load *load, bool bias)
{
	static const gh__slot weight[] = { GH__SLOT_Q, GH__SLOT_K, GH__SLOT_V };
	static const gh__slot biases[] = { GH__SLOT_Q_BIAS, GH__SLOT_K_BIAS, GH__SLOT_V_BIAS };
	int64_t d = load->desc->shape.head_dim;
	gh_span q = head_rows(load->plan->heads, d), kv = head_rows(load->plan->kv_heads, d);

	return fuse(load->kernels->qkv, bias ? 1 : load->desc->shape.hidden, 3,
		    bias ? biases : weight, (const gh_span[]){ q, kv, kv });
}

static fused o_of(const gh__load *load)
{
	const gh_plan_shape *s = &load->desc->shape;

	return fuse(load->kernels->o, (int64_t)s->heads * s->head_dim, 1,
		    (const gh__slot[]){ GH__SLOT_O }, &load->plan->hidden);
}

static fused gate_up_of(const gh__load *load)
{
	gh_span rows = load->plan->intermediate;

	return fuse(load->kernels->gate_up, load->desc->shape.hidden, 2,
		    (const gh__slot[]){ GH__SLOT_GATE, GH__SLOT_UP },
		    (const gh_span[]){ rows, rows });
}

static fused down_of(const gh__load *load)
{
	return fuse(load->kernels->down, load->desc->shape.intermediate, 1,
		    (const gh__slot[]){ GH__SLOT_DOWN }, &load->plan->hidden);
}

static fused head_of(const gh__load *load)
{
	gh__slot slot = load->desc->tied ? GH__SLOT_EMBED : GH__SLOT_HEAD;

	return fuse(load->kernels->head, load->desc->shape.hidden, 1, &slot, &load->plan->vocab);
}

static bool first_stage(const gh_plan *plan)
{
	return plan->stage == 0;
}

static bool last_stage(const gh_plan *plan)
{
	return plan->stage == plan->pipeline_parallel - 1;
}

static void take_matrix(gh__matrix *out, gh__arena *arena, const fused *f, bool scales)
{
	const gh__device *device = arena->device;

	out->data = gh__arena_take(arena, device->table->packed_size(device->self, f->kernel));
	if (scales)
		out->scale = gh__arena_take(arena, (size_t)f->n * sizeof(float));
}

/* Runs twice, see gh__arena: the pointers of the second run are real. */
static void lay_out(resident *r, const gh__load *load)
{
	gh__arena *arena = &r->arena;
	size_t element = gh_dtype_size(load->numerics->act);
	size_t vector = (size_t)load->desc->shape.hidden * element;
	bool scales = load->numerics->weight == GH_E4M3;
	fused qkv = qkv_of(load, false), o = o_of(load), gate_up = gate_up_of(load);
	fused down = down_of(load), head = head_of(load);

	if (first_stage(load->plan))
		r->ends.embed = gh__arena_take(arena, (size_t)load->plan->vocab.count * vector);
	if (last_stage(load->plan)) {
		r->ends.norm = gh__arena_take(arena, vector);
		take_matrix(&r->ends.head, arena, &head, false);
	}
	for (int64_t i = 0; i < r->layers.count; i++) {
		gh__layer_weights *w = &r->layer[i];
		size_t head_dim = (size_t)load->desc->shape.head_dim * element;

		w->input_norm = gh__arena_take(arena, vector);
		take_matrix(&w->qkv, arena, &qkv, scales);
		if (load->desc->arch->qkv_bias)
			w->qkv_bias = gh__arena_take(arena, (size_t)qkv.n * element);
		if (load->desc->arch->qk_norm) {
			w->q_norm = gh__arena_take(arena, head_dim);
			w->k_norm = gh__arena_take(arena, head_dim);
		}
		take_matrix(&w->o, arena, &o, scales);
		w->post_norm = gh__arena_take(arena, vector);
		take_matrix(&w->gate_up, arena, &gate_up, scales);
		take_matrix(&w->down, arena, &down, scales);
	}
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- what is held as the activations ---- */

typedef struct target {
	gh__kernel *kernel;
	const void *data;
	int64_t columns;
} target;

static gh_status pack_piece(void *arg, const gh__load *load, const void *rows, int64_t at,
			    int64_t count, gh_error *error)
{
	const target *to = arg;

	return load->device->table->pack(load->device->self, to->kernel,
					 (void *)(uintptr_t)to->data, rows, at, count, error);
}

static gh_status upload_piece(void *arg, const gh__load *load, const void *rows, int64_t at,
			      int64_t count, gh_error *error)
{
	const target *to = arg;
	size_t width = (size_t)to->columns * gh_dtype_size(load->numerics->act);

	return load->device->table->upload(load->device->self,
					   (char *)(uintptr_t)to->data + (size_t)at * width, rows,
					   (size_t)count * width, load->device->stream, error);
}

/* A whole vector; nothing where the model has none. */
static gh_status load_vector(const gh__load *load, gh__slot slot, int32_t layer, const void *dst,
			     gh_error *error)
{
	target to = { NULL, dst, 1 };
	gh__tensor t;

	if (!gh__tensor_describe(&t, load->desc, slot, layer))
		return GH_OK;
	return gh__piece_each(load, &(gh__part){ slot, { 0, t.rows }, 0 }, layer, upload_piece, &to,
			      error);
}

static gh_status load_plain(const gh__load *load, const fused *f, int32_t layer,
			    const gh__matrix *out, gh_error *error)
{
	target to = { f->kernel, out->data, f->k };
	gh_status status = GH_OK;

	for (int i = 0; i < f->count && status == GH_OK; i++)
		status = gh__piece_each(load, &f->parts[i], layer, pack_piece, &to, error);
	return status;
}

/* ---- matrices quantised here ---- */

static gh_status set_scales(const gh__load *load, const gh__matrix *out, const float *scales,
			    int64_t at, int64_t count, gh_error *error)
{
	return load->device->table->upload(load->device->self, (float *)(uintptr_t)out->scale + at,
					   scales, (size_t)count * sizeof *scales,
					   load->device->stream, error);
}

/* The rank's part of the matrix, as activations, and the absmax of the ranks' parts together. */
static gh_status read_fused(const gh__load *load, const fused *f, int32_t layer, char *dst,
			    float *absmax, gh_error *error)
{
	size_t width = (size_t)f->k * gh_dtype_size(load->numerics->act);
	int64_t step = gh__piece_rows(f->k, f->n);
	void *raw = gh__malloc((size_t)(step * f->k) * 4);
	gh_status status = GH_OK;

	*absmax = 0.0F;
	if (raw == NULL)
		return gh__fail_nomem(error);
	for (int i = 0; i < f->count; i++) {
		const gh__part *p = &f->parts[i];
		gh__tensor t;

		gh__tensor_describe(&t, load->desc, p->slot, layer);
		for (int64_t row = 0; row < p->rows.count && status == GH_OK; row += step) {
			float most = 0.0F;

			status = gh__piece_read(load, &t, p->rows.first + row,
						least(step, p->rows.count - row), raw,
						dst + (size_t)(p->at + row) * width, &most, error);
			*absmax = fmaxf(*absmax, most);
		}
	}
	gh__free(raw);
	return status == GH_OK ? gh__comm_max(load->comm, absmax, 1, error) : status;
}

static gh_status load_quantised(const gh__load *load, const fused *f, int32_t layer,
				const gh__matrix *out, gh_error *error)
{
	size_t width = (size_t)f->k * gh_dtype_size(load->numerics->act);
	int64_t step = gh__piece_rows(f->k, f->n);
	char *plain = gh__malloc((size_t)f->n * width);
	uint8_t *codes = gh__malloc((size_t)(step * f->k));
	float *scales = gh__malloc((size_t)f->n * sizeof *scales);
	gh_status status;
	float absmax;

	if (plain == NULL || codes == NULL || scales == NULL) {
		status = gh__fail_nomem(error);
		goto out;
	}
	status = read_fused(load, f, layer, plain, &absmax, error);
	for (int64_t row = 0; row < f->n && status == GH_OK; row += step) {
		int64_t rows = least(step, f->n - row);

		gh__quantise_weight(codes, plain + (size_t)row * width, load->numerics->act,
				    (size_t)(rows * f->k), absmax / GH__E4M3_MAX);
		status = load->device->table->pack(load->device->self, f->kernel,
						   (void *)(uintptr_t)out->data, codes, row, rows,
						   error);
		if (status == GH_OK)
			status = gh__load_report(load->progress, 0, error);
	}
	if (status != GH_OK)
		goto out;
	for (int64_t i = 0; i < f->n; i++)
		scales[i] = absmax / GH__E4M3_MAX;
	status = set_scales(load, out, scales, 0, f->n, error);
out:
	gh__free(plain);
	gh__free(codes);
	gh__free(scales);
	return status;
}

/* ---- matrices that the checkpoint holds in e4m3 ---- */

static gh_status load_stored_part(const gh__load *load, const fused *f, const gh__part *p,
				  int32_t layer, const gh__matrix *out, gh_error *error)
{
	int64_t step = gh__piece_rows(f->k, p->rows.count);
	uint8_t *codes = gh__malloc((size_t)(step * f->k));
	float *scales = gh__malloc((size_t)p->rows.count * sizeof *scales);
	gh_status status = GH_OK;
	gh__tensor t;

	gh__tensor_describe(&t, load->desc, p->slot, layer);
	if (codes == NULL || scales == NULL)
		status = gh__fail_nomem(error);
	for (int64_t row = 0; row < p->rows.count && status == GH_OK; row += step) {
		int64_t rows = least(step, p->rows.count - row);
		gh_error bad = GH_ERROR_INIT;

		status = gh__reader_rows(load->reader, &t, p->rows.first + row, rows, codes, error);
		if (status != GH_OK)
			break;
		status = load->device->table->pack(load->device->self, f->kernel,
						   (void *)(uintptr_t)out->data, codes, p->at + row,
						   rows, &bad);
		if (status != GH_OK)
			gh__fail(error, status, "%s in %s: %s", t.name,
				 gh__reader_file(load->reader, &t), bad.text);
		else
			status = gh__load_report(load->progress, rows * f->k, error);
	}
	if (status == GH_OK)
		status = gh__reader_scales(load->reader, &t, p->rows.first, p->rows.count, scales,
					   error);
	if (status == GH_OK)
		status = set_scales(load, out, scales, p->at, p->rows.count, error);
	gh__free(codes);
	gh__free(scales);
	return status;
}

static gh_status load_matrix(const gh__load *load, const fused *f, int32_t layer,
			     const gh__matrix *out, gh_error *error)
{
	gh_status status = GH_OK;

	if (load->numerics->weight != GH_E4M3)
		return load_plain(load, f, layer, out, error);
	if (!load->desc->stored.e4m3)
		return load_quantised(load, f, layer, out, error);
	for (int i = 0; i < f->count && status == GH_OK; i++)
		status = load_stored_part(load, f, &f->parts[i], layer, out, error);
	return status;
}

/* ---- all of it ---- */

static gh_status load_ends(const gh__load *load, const gh__end_weights *ends, gh_error *error)
{
	const gh_plan *plan = load->plan;
	gh_status status = GH_OK;

	if (first_stage(plan)) {
		target to = { NULL, ends->embed, load->desc->shape.hidden };
		gh__part rows = { GH__SLOT_EMBED, plan->vocab, 0 };

		status = gh__piece_each(load, &rows, 0, upload_piece, &to, error);
	}
	if (last_stage(plan) && status == GH_OK) {
		fused head = head_of(load);

		status = load_vector(load, GH__SLOT_NORM, 0, ends->norm, error);
		if (status == GH_OK)
			status = load_plain(load, &head, 0, &ends->head, error);
	}
	return status;
}

static gh_status load_bias(const gh__load *load, int32_t layer, const gh__layer_weights *w,
			   gh_error *error)
{
	fused bias = qkv_of(load, true);
	target to = { NULL, w->qkv_bias, 1 };
	gh_status status = GH_OK;

	for (int i = 0; i < bias.count && status == GH_OK; i++)
		status = gh__piece_each(load, &bias.parts[i], layer, upload_piece, &to, error);
	return status;
}

static gh_status load_layer(const gh__load *load, int32_t layer, gh__layer_weights *w,
			    gh_error *error)
{
	const struct {
		gh__slot slot;
		const void *dst;
	} vectors[] = {
		{ GH__SLOT_INPUT_NORM, w->input_norm },
		{ GH__SLOT_POST_NORM, w->post_norm },
		{ GH__SLOT_Q_NORM, w->q_norm },
		{ GH__SLOT_K_NORM, w->k_norm },
	};
	const struct {
		fused f;
		const gh__matrix *out;
	} matrices[] = {
		{ qkv_of(load, false), &w->qkv },
		{ o_of(load), &w->o },
		{ gate_up_of(load), &w->gate_up },
		{ down_of(load), &w->down },
	};
	gh_status status = GH_OK;

	for (size_t i = 0; i < sizeof vectors / sizeof vectors[0] && status == GH_OK; i++)
		status = load_vector(load, vectors[i].slot, layer, vectors[i].dst, error);
	for (size_t i = 0; i < sizeof matrices / sizeof matrices[0] && status == GH_OK; i++)
		status = load_matrix(load, &matrices[i].f, layer, matrices[i].out, error);
	if (status == GH_OK && load->desc->arch->qkv_bias)
		status = load_bias(load, layer, w, error);
	if (status == GH_OK)
		status = gh__reader_kv_scales(load->reader, layer, &w->k_scale, &w->v_scale, error);
	return status;
}

int64_t gh__weights_work(const gh__model_desc *desc, const gh_plan *plan)
{
	const gh_plan_shape *s = &desc->shape;
	int64_t d = s->head_dim, inputs = s->hidden;
	int64_t qkv = (plan->heads.count + 2 * plan->kv_heads.count) * d;
	int64_t layer = inputs * (qkv + 2 * plan->intermediate.count + 2) +
			plan->hidden.count * (s->heads * d + s->intermediate);
	int64_t ends = (int64_t)first_stage(plan) + last_stage(plan);

	layer += desc->arch->qkv_bias ? qkv : 0;
	layer += desc->arch->qk_norm ? 2 * d : 0;
	return layer * plan->layers.count + ends * plan->vocab.count * inputs +
	       (last_stage(plan) ? inputs : 0);
}

static void resident_free(void *self)
{
	resident *r = self;

	gh__arena_free(&r->arena);
	gh__free(r->layer);
	gh__free(r);
}

static int64_t resident_bytes(const void *self)
{
	const resident *r = self;

	return (int64_t)r->arena.size;
}

static void resident_ends(const void *self, gh__end_weights *out)
{
	const resident *r = self;

	*out = r->ends;
}

static gh_status resident_layer(void *self, gh__device *on, int32_t layer, gh__layer_weights *out,
				gh_error *error)
{
	const resident *r = self;

	(void)on;
	if (layer < r->layers.first || layer >= r->layers.first + r->layers.count)
		return gh__fail(error, GH_EBUG, "layer: %d is not on this rank", layer);
	*out = r->layer[layer - r->layers.first];
	return GH_OK;
}

static const gh__weights_table resident_table = {
	.free = resident_free,
	.bytes = resident_bytes,
	.ends = resident_ends,
	.layer = resident_layer,
};

void gh__weights_free(gh__weights *weights)
{
	if (weights->table != NULL)
		weights->table->free(weights->self);
	*weights = (gh__weights){ NULL, NULL };
}

gh_status gh__weights_resident(gh__weights *out, const gh__load *load, gh_error *error)
{
	resident *r = gh__calloc(1, sizeof *r);
	gh_status status;

	if (r == NULL)
		return gh__fail_nomem(error);
	r->arena.device = load->device;
	r->layers = load->plan->layers;
	r->layer = gh__calloc((size_t)r->layers.count, sizeof *r->layer);
	if (r->layer == NULL) {
		status = gh__fail_nomem(error);
		goto fail;
	}
	lay_out(r, load);
	status = gh__arena_commit(&r->arena, error);
	if (status != GH_OK)
		goto fail;
	lay_out(r, load);
	status = load_ends(load, &r->ends, error);
	for (int64_t i = 0; i < r->layers.count && status == GH_OK; i++)
		status = load_layer(load, (int32_t)(r->layers.first + i), &r->layer[i], error);
	if (status != GH_OK)
		goto fail;
	*out = (gh__weights){ &resident_table, r };
	return GH_OK;
fail:
	resident_free(r);
	return status;
}
