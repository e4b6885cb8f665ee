#include "model/pieces.h"

#include <float.h>

#include "base/alloc.h"
#include "base/error.h"
#include "device/quantise.h"

enum {
	PIECE = 4 << 20 /* bytes, about */,
	ELEMENT_MAX = 4 /* of what is read and of what is made */
};

int64_t gh__piece_rows(int64_t columns, int64_t rows)
{
	int64_t fit = PIECE / (columns * ELEMENT_MAX);

	return fit < 1 ? 1 : fit < rows ? fit : rows;
}

gh_status gh__load_report(gh__load_progress *p, int64_t elements, gh_error *error)
{
	bool cancelled;

	if (p->fn == NULL)
		return GH_OK;
	pthread_mutex_lock(&p->lock);
	p->done += elements;
	if (!p->cancelled)
		p->cancelled =
			p->fn((double)p->done / (double)p->total, "weights", p->userdata) != 0;
	cancelled = p->cancelled;
	pthread_mutex_unlock(&p->lock);
	return cancelled ? gh__fail(error, GH_ECANCELLED, "loading was cancelled") : GH_OK;
}

gh_status gh__piece_read(const gh__load *load, const gh__tensor *tensor, int64_t row, int64_t rows,
			 void *raw, void *dst, float *absmax, gh_error *error)
{
	gh_dtype stored = gh__reader_dtype(load->reader, tensor), act = load->numerics->act;
	size_t count = (size_t)(rows * tensor->columns);
	gh_status status;

	status = gh__reader_rows(load->reader, tensor, row, rows, stored == act ? dst : raw, error);
	if (status != GH_OK)
		return status;
	if (stored != act)
		gh__convert(dst, act, raw, stored, count);
	*absmax = gh__absmax(dst, act, count);
	if (!(*absmax <= FLT_MAX))
		return gh__fail(error, GH_ENUMERIC, "%s in %s: a value that is not finite as %s",
				tensor->name, gh__reader_file(load->reader, tensor),
				gh_dtype_name(act));
	return gh__load_report(load->progress, (int64_t)count, error);
}

gh_status gh__piece_each(const gh__load *load, const gh__part *part, int32_t layer,
			 gh__piece_fn *fn, void *arg, gh_error *error)
{
	gh_status status = GH_OK;
	int64_t step, rows;
	gh__tensor t;
	size_t room;
	char *raw;

	gh__tensor_describe(&t, load->desc, part->slot, layer);
	step = gh__piece_rows(t.columns, part->rows.count);
	room = (size_t)(step * t.columns) * ELEMENT_MAX;
	raw = gh__malloc(2 * room);
	if (raw == NULL)
		return gh__fail_nomem(error);
	for (int64_t i = 0; i < part->rows.count && status == GH_OK; i += rows) {
		float absmax;

		rows = part->rows.count - i < step ? part->rows.count - i : step;
		status = gh__piece_read(load, &t, part->rows.first + i, rows, raw, raw + room,
					&absmax, error);
		if (status == GH_OK)
			status = fn(arg, load, raw + room, part->at + i, rows, error);
	}
	gh__free(raw);
	return status;
}
