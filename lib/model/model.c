#include "model/model.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "base/thread.h"

enum { MAGIC = 0x6d6f6465 };

/* ---- from options to what is to be loaded; gh_model_inspect() stops here ---- */

typedef struct intent {
	gh_model_options options;
	char *folder;
	gh__model_desc desc;
	gh__numerics numerics;
	gh_checkpoint *checkpoint; /* NULL: random numbers */
	int ranks;
} intent;

static gh_status check_options(const gh_model_options *o, gh_error *error)
{
	if (o->flags & ~GH_DEVICE_FLAGS)
		return gh__fail(error, GH_EINVAL, "flags: 0x%x has unknown bits", o->flags);
	if (o->load_format != GH_LOAD_AUTO && o->load_format != GH_LOAD_DUMMY)
		return gh__fail(error, GH_EINVAL, "load_format: %d is no gh_load_format",
				o->load_format);
	if (o->quantization < GH_QUANT_AUTO || o->quantization > GH_QUANT_FP8_W8A16)
		return gh__fail(error, GH_EINVAL, "quantization: %d is no gh_quantization",
				o->quantization);
	if (o->tensor_parallel < 0 || o->tensor_parallel > 1024)
		return gh__fail(error, GH_EINVAL, "tensor_parallel: %d is not between 0 and 1024",
				o->tensor_parallel);
	if (o->pipeline_parallel < 0 || o->pipeline_parallel > 1024)
		return gh__fail(error, GH_EINVAL, "pipeline_parallel: %d is not between 0 and 1024",
				o->pipeline_parallel);
	if (o->threads < 0 || o->threads > 1024)
		return gh__fail(error, GH_EINVAL, "threads: %d is not between 0 and 1024",
				o->threads);
	return GH_OK;
}

static const char *quantization_name(int32_t quantization)
{
	return quantization == GH_QUANT_NONE       ? "none"
	       : quantization == GH_QUANT_FP8_W8A8 ? "fp8-w8a8"
						   : "fp8-w8a16";
}

static gh_status decide_numerics(intent *in, gh_error *error)
{
	const gh_model_options *o = &in->options;
	gh__stored *stored = &in->desc.stored;
	int32_t quantization = o->quantization, act = o->dtype;

	if (quantization == GH_QUANT_AUTO)
		quantization = stored->quantization;
	if (stored->e4m3 && quantization == GH_QUANT_NONE)
		return gh__fail(
			error, GH_EINVAL,
			"Quantization method specified in the model config (%s) does not match "
			"the quantization method specified in the `quantization` argument (%s).",
			quantization_name(stored->quantization), quantization_name(quantization));
	if (o->load_format == GH_LOAD_DUMMY)
		*stored = (gh__stored){ .quantization = stored->quantization };
	if (act == GH_DTYPE_NONE)
		act = (int32_t)in->desc.dtype;
	return gh__numerics_make(&in->numerics, act, quantization, stored->scales, o->kv_dtype,
				 error);
}

static void intent_done(intent *in)
{
	gh_checkpoint_close(in->checkpoint);
	gh_free(in->folder);
}

static gh_status intend(intent *in, const char *model, const gh_model_options *options,
			gh_error *error)
{
	gh_hub_options hub = GH_HUB_OPTIONS_INIT;
	gh_plan plan;
	gh_status status;

	*in = (intent){ 0 };
	if (model == NULL) {
		gh__fail(error, GH_EINVAL, "model: a folder or a repository id expected");
		return GH_EINVAL;
	}
	status = gh__options_copy(&in->options, sizeof in->options, sizeof in->options, options,
				  error);
	if (status == GH_OK)
		status = check_options(&in->options, error);
	if (status != GH_OK)
		return status;
	if (in->options.tensor_parallel == 0)
		in->options.tensor_parallel = 1;
	if (in->options.pipeline_parallel == 0)
		in->options.pipeline_parallel = 1;
	in->ranks = in->options.tensor_parallel * in->options.pipeline_parallel;
	hub.cache = in->options.cache;
	hub.revision = in->options.revision;
	status = gh_hub_resolve(&in->folder, model, &hub, error);
	if (status == GH_OK)
		status = gh__model_desc_read(&in->desc, in->folder, in->options.overrides, error);
	if (status == GH_OK)
		status = decide_numerics(in, error);
	if (status == GH_OK)
		status = gh_plan_get(&plan, &in->desc.shape, in->options.tensor_parallel,
				     in->options.pipeline_parallel, 0, error);
	if (status == GH_OK && in->options.load_format == GH_LOAD_AUTO)
		status = gh_checkpoint_open(&in->checkpoint, in->folder, error);
	if (status == GH_OK && in->checkpoint != NULL)
		status = gh__tensors_check(&in->desc, in->checkpoint, error);
	return status;
}

static void describe(gh_model_info *out, const intent *in, const char *device, int64_t weight_bytes)
{
	const gh_plan_shape *s = &in->desc.shape;

	*out = (gh_model_info){
		.parameters = gh__model_parameters(&in->desc),
		.weight_bytes = weight_bytes,
		.hidden = s->hidden,
		.intermediate = s->intermediate,
		.layers = s->layers,
		.heads = s->heads,
		.kv_heads = s->kv_heads,
		.head_dim = s->head_dim,
		.vocab = (int32_t)s->vocab,
		.max_length = in->desc.max_length,
		.dtype = in->numerics.act,
		.quantization = in->numerics.quantization,
		.kv_dtype = in->numerics.kv,
		.tensor_parallel = in->options.tensor_parallel,
		.pipeline_parallel = in->options.pipeline_parallel,
	};
	for (int32_t i = 0; i < in->ranks; i++) {
		gh_plan plan;

		if (gh_plan_get(&plan, s, out->tensor_parallel, out->pipeline_parallel, i, NULL) ==
		    GH_OK)
			out->kv_bytes += 2 * plan.layers.count * plan.kv_heads.count * s->head_dim *
					 (int64_t)gh_dtype_size(in->numerics.kv);
	}
	snprintf(out->architecture, sizeof out->architecture, "%s", in->desc.arch->name);
	snprintf(out->numerics, sizeof out->numerics, "%s", in->numerics.name);
	snprintf(out->device, sizeof out->device, "%s", device);
	snprintf(out->folder, sizeof out->folder, "%s", in->folder);
}

/* Bytes of the weights without the padding of a device's packing. */
static int64_t plain_bytes(const intent *in)
{
	const gh_plan_shape *s = &in->desc.shape;
	int64_t act = (int64_t)gh_dtype_size(in->numerics.act);
	int64_t weight = (int64_t)gh_dtype_size(in->numerics.weight);
	int64_t bytes = 0;

	for (int slot = 0; slot < GH__SLOTS; slot++) {
		gh__tensor t;

		if (!gh__tensor_describe(&t, &in->desc, (gh__slot)slot, 0))
			continue;
		bytes += t.rows * t.columns * (t.matrix ? weight : act) *
			 (slot < GH__SLOT_LAYER ? 1 : s->layers);
		if (t.matrix && in->numerics.weight == GH_E4M3)
			bytes += t.rows * (int64_t)sizeof(float) * s->layers;
	}
	return bytes + (in->desc.tied ? s->vocab * s->hidden * act : 0);
}

gh_status gh_model_inspect(gh_model_info *out, const char *model, const gh_model_options *options,
			   gh_error *error)
{
	gh_device_options device = GH_DEVICE_OPTIONS_INIT;
	gh_device_info info;
	intent in;
	gh_status status = intend(&in, model, options, error);

	device.kind = in.options.device;
	if (status == GH_OK)
		status = gh_device_info_get(&info, &device, error);
	if (status == GH_OK)
		describe(out, &in, info.kind, plain_bytes(&in));
	intent_done(&in);
	return status;
}

/* ---- loading ---- */

/* The loading of one rank, on a thread of its own but for rank 0. */
typedef struct loader {
	gh_model *model;
	int rank;
	gh__reader reader;
	gh__comm *stage;
	gh__load_progress *progress;
	pthread_t thread;
	bool started;
	gh_status status;
	gh_error error;
} loader;

static int32_t part(int32_t count, int32_t index, int32_t parts)
{
	return count / parts + (index < count % parts ? 1 : 0);
}

gh_status gh__model_device(const gh_model *model, int rank, gh__device **out, gh_error *error)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	int32_t threads = part(model->threads, rank, model->ranks);
	int count;
	gh_status status = gh__device_count(&count, model->device, error);

	if (status != GH_OK)
		return status;
	options.kind = model->device;
	options.index = rank % count; /* ranks take turns where there are more of them */
	options.flags = model->device_flags;
	options.threads = threads > 0 ? threads : 1;
	return gh__device_open(out, &options, error);
}

static void load_rank(void *arg)
{
	loader *l = arg;
	gh__model_rank *rank = &l->model->rank[l->rank];
	gh__kernels kernels = { 0 };
	gh__load load = {
		.reader = &l->reader,
		.desc = &l->model->desc,
		.numerics = &l->model->numerics,
		.plan = &rank->plan,
		.device = rank->device,
		.kernels = &kernels,
		.comm = l->stage,
		.progress = l->progress,
	};

	l->status = gh__kernels_prepare(&kernels, rank->device, load.desc, load.numerics, load.plan,
					&l->error);
	if (l->status == GH_OK)
		l->status = gh__weights_resident(&rank->weights, &load, &l->error);
	/* They are read from other streams than the one that wrote them. */
	if (l->status == GH_OK)
		l->status = rank->device->table->synchronise(rank->device->self,
							     rank->device->stream, &l->error);
	gh__kernels_free(&kernels);
	if (l->status != GH_OK)
		gh__comm_abort(l->stage);
}

static gh_status verdict(const loader *loaders, int count, gh_error *error)
{
	const loader *failed = NULL;

	for (int i = 0; i < count; i++)
		if (loaders[i].status != GH_OK &&
		    (failed == NULL || failed->status == GH_ECANCELLED))
			failed = &loaders[i];
	if (failed != NULL && error != NULL && error->status == GH_OK)
		*error = failed->error;
	return failed != NULL ? failed->status : GH_OK;
}

static gh_status load_ranks(gh_model *m, const intent *in, gh_error *error)
{
	int tp = in->options.tensor_parallel;
	gh__load_progress progress = { .fn = in->options.progress,
				       .userdata = in->options.userdata,
				       .lock = PTHREAD_MUTEX_INITIALIZER };
	loader *loaders = gh__calloc((size_t)m->ranks, sizeof *loaders);
	gh__comm **comms = gh__calloc((size_t)m->ranks, sizeof(gh__comm *));
	gh_status status = GH_OK;

	if (loaders == NULL || comms == NULL) {
		status = gh__fail_nomem(error);
		goto out;
	}
	for (int i = 0; i < m->ranks && status == GH_OK; i += tp)
		status = gh__comm_create_local(comms + i, tp, error);
	if (status != GH_OK)
		goto out;
	for (int i = 0; i < m->ranks; i++) {
		progress.total += gh__weights_work(&m->desc, &m->rank[i].plan);
		loaders[i] = (loader){ .model = m,
				       .rank = i,
				       .reader = { &m->desc, in->checkpoint },
				       .stage = comms[i],
				       .progress = &progress };
	}
	for (int i = 1; i < m->ranks && status == GH_OK; i++) {
		status = gh__thread_start(&loaders[i].thread, "gh-load", load_rank, &loaders[i],
					  error);
		loaders[i].started = status == GH_OK;
	}
	if (status == GH_OK)
		load_rank(&loaders[0]);
	else
		for (int i = 0; i < m->ranks; i++)
			gh__comm_abort(comms[i]);
	for (int i = 1; i < m->ranks; i++)
		if (loaders[i].started)
			pthread_join(loaders[i].thread, NULL);
	if (status == GH_OK && !progress.cancelled)
		status = verdict(loaders, m->ranks, error);
	if (status == GH_OK) {
		progress.done = progress.total;
		status = gh__load_report(&progress, 0, error);
	}
out:
	for (int i = 0; i < m->ranks && comms != NULL; i++)
		gh__comm_free(comms[i]);
	gh__free(comms);
	gh__free(loaders);
	return status;
}

static gh_status prepare_ranks(gh_model *m, const intent *in, gh_error *error)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh_device_info info;
	gh_status status;

	options.kind = in->options.device;
	options.threads = in->options.threads;
	options.flags = in->options.flags;
	status = gh_device_info_get(&info, &options, error);
	if (status != GH_OK)
		return status;
	snprintf(m->device, sizeof m->device, "%s", info.kind);
	m->threads = info.threads;
	m->rank = gh__calloc((size_t)in->ranks, sizeof *m->rank);
	if (m->rank == NULL)
		return gh__fail_nomem(error);
	m->ranks = in->ranks;
	for (int i = 0; i < m->ranks && status == GH_OK; i++) {
		status = gh_plan_get(&m->rank[i].plan, &m->desc.shape, in->options.tensor_parallel,
				     in->options.pipeline_parallel, i, error);
		if (status == GH_OK)
			status = gh__model_device(m, i, &m->rank[i].device, error);
	}
	return status;
}

/* How to generate, and where to stop. */
static gh_status read_generation(gh_model *m, const intent *in, gh_error *error)
{
	gh_status status = gh__generation_config_read(&m->generation, in->folder, error);
	bool own = m->generation.eos_count > 0;
	const int64_t *eos = own ? m->generation.eos : in->desc.eos;
	int count = own ? m->generation.eos_count : in->desc.eos_count;

	for (int i = 0; status == GH_OK && i < count; i++) {
		if (eos[i] >= 0 && eos[i] < in->desc.shape.vocab)
			m->eos[m->eos_count++] = (int32_t)eos[i];
	}
	return status;
}

gh_status gh_model_create(gh_model **out, const char *model, const gh_model_options *options,
			  gh_error *error)
{
	int64_t begin = gh__now(), bytes = 0;
	gh_model *m = NULL;
	intent in;
	gh_status status = intend(&in, model, options, error);

	if (status != GH_OK)
		goto out;
	m = gh__calloc(1, sizeof *m);
	if (m == NULL) {
		status = gh__fail_nomem(error);
		goto out;
	}
	m->magic = MAGIC;
	m->desc = in.desc;
	m->numerics = in.numerics;
	m->device_flags = in.options.flags;
	status = read_generation(m, &in, error);
	if (status == GH_OK)
		status = prepare_ranks(m, &in, error);
	if (status == GH_OK)
		status = load_ranks(m, &in, error);
	if (status != GH_OK)
		goto out;
	for (int i = 0; i < m->ranks; i++)
		bytes += m->rank[i].weights.table->bytes(m->rank[i].weights.self);
	describe(&m->info, &in, m->device, bytes);
	gh__info("model", "%s loaded: numerics %s, device %s, tp %d, pp %d, %.1f MiB in %.2f s",
		 m->info.architecture, m->info.numerics, m->device, m->info.tensor_parallel,
		 m->info.pipeline_parallel, (double)bytes / (1 << 20),
		 (double)(gh__now() - begin) / (double)GH__SECOND);
	*out = m;
	m = NULL;
out:
	gh_model_free(m);
	intent_done(&in);
	return status;
}

gh_status gh__model_assemble(gh_model **out, const gh__model_desc *desc,
			     const gh__numerics *numerics, const gh_device_options *device,
			     gh__make_weights_fn *make, void *userdata, gh_error *error)
{
	char nowhere[] = "";
	intent in = { .options = { .device = device->kind,
				   .threads = device->threads,
				   .flags = device->flags,
				   .tensor_parallel = 1,
				   .pipeline_parallel = 1 },
		      .folder = nowhere,
		      .desc = *desc,
		      .numerics = *numerics,
		      .ranks = 1 };
	gh_model *m = gh__calloc(1, sizeof *m);
	gh__load load = { 0 };
	gh_status status;

	if (m == NULL)
		return gh__fail_nomem(error);
	m->magic = MAGIC;
	m->desc = in.desc;
	m->numerics = in.numerics;
	m->device_flags = device->flags;
	status = prepare_ranks(m, &in, error);
	if (status == GH_OK) {
		load.desc = &m->desc;
		load.numerics = &m->numerics;
		load.plan = &m->rank[0].plan;
		load.device = m->rank[0].device;
		status = make(&m->rank[0].weights, &load, userdata, error);
	}
	if (status != GH_OK) {
		gh_model_free(m);
		return status;
	}
	describe(&m->info, &in, m->device,
		 m->rank[0].weights.table->bytes(m->rank[0].weights.self));
	*out = m;
	return GH_OK;
}

void gh_model_free(gh_model *model)
{
	if (model == NULL || model->magic != MAGIC)
		return;
	for (int i = 0; i < model->ranks; i++) {
		gh__weights_free(&model->rank[i].weights);
		if (model->rank[i].device != NULL)
			gh__device_close(model->rank[i].device);
	}
	model->magic = 0;
	gh__free(model->rank);
	gh__free(model);
}

void gh_model_info_get(const gh_model *model, gh_model_info *out)
{
	*out = model->info;
}

const gh__generation_config *gh__model_generation_config(const gh_model *model)
{
	return &model->generation;
}

const int32_t *gh__model_eos(const gh_model *model, int32_t *count)
{
	*count = model->eos_count;
	return model->eos;
}
