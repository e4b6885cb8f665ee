#include "device/handle.h"

#include "base/alloc.h"
#include "base/error.h"

/* The public face of a device: checks, and the table's functions. */

gh_status gh__device_of(gh__device **out, const gh_device *device, gh_error *error)
{
	if (device == NULL || device->magic != GH__DEVICE_MAGIC)
		return gh__fail(error, GH_EINVAL, "device: expected one that is open");
	*out = device->device;
	return GH_OK;
}

gh_status gh_device_open(gh_device **out, const gh_device_options *options, gh_error *error)
{
	gh_device *device;
	gh_status status;

	if (out == NULL)
		return gh__fail(error, GH_EINVAL, "out: NULL");
	device = gh__calloc(1, sizeof *device);
	if (device == NULL)
		return gh__fail_nomem(error);
	status = gh__device_open(&device->device, options, error);
	if (status != GH_OK) {
		gh__free(device);
		return status;
	}
	device->magic = GH__DEVICE_MAGIC;
	*out = device;
	return GH_OK;
}

void gh_device_close(gh_device *device)
{
	if (device == NULL || device->magic != GH__DEVICE_MAGIC)
		return;
	device->magic = 0;
	gh__device_close(device->device);
	gh__free(device);
}

const char *gh_device_kind(const gh_device *device)
{
	gh__device *inside;

	return gh__device_of(&inside, device, NULL) == GH_OK ? inside->table->kind : "";
}

gh_status gh_device_alloc(gh_device *device, gh_devptr *out, size_t size, gh_error *error)
{
	gh_error own = GH_ERROR_INIT;
	gh__device *inside;
	gh_status status = gh__device_of(&inside, device, error);

	if (status == GH_OK && out == NULL)
		status = gh__fail(error, GH_EINVAL, "out: NULL");
	if (status != GH_OK)
		return status;
	*out = (gh_devptr)inside->table->alloc(inside->self, size, &own);
	if (*out != 0)
		return GH_OK;
	return gh__fail_code(error, (gh_status)own.status, (gh_domain)own.domain, own.code, "%s",
			     own.text);
}

void gh_device_release(gh_device *device, gh_devptr memory)
{
	gh__device *inside;

	if (memory != 0 && gh__device_of(&inside, device, NULL) == GH_OK)
		inside->table->release(inside->self, gh__at(memory));
}

/* ---- copies ---- */

static gh_status check_copy(gh__device **inside, const gh_device *device, uintptr_t dst,
			    uintptr_t src, size_t size, gh_error *error)
{
	gh_status status = gh__device_of(inside, device, error);

	if (status == GH_OK && size > 0 && (dst == 0 || src == 0))
		return gh__fail(error, GH_EINVAL, "%s: NULL, expected %zu bytes",
				dst == 0 ? "dst" : "src", size);
	return status;
}

gh_status gh_device_upload(gh_device *device, gh_devptr dst, const void *src, size_t size,
			   gh_stream *stream, gh_error *error)
{
	gh__device *inside;
	gh_status status = check_copy(&inside, device, dst, (uintptr_t)src, size, error);

	if (status != GH_OK || size == 0)
		return status;
	return inside->table->upload(inside->self, gh__at(dst), src, size, stream, error);
}

gh_status gh_device_download(gh_device *device, void *dst, gh_devptr src, size_t size,
			     gh_stream *stream, gh_error *error)
{
	gh__device *inside;
	gh_status status = check_copy(&inside, device, (uintptr_t)dst, src, size, error);

	if (status == GH_OK && size > 0)
		status = inside->table->download(inside->self, dst, gh__at(src), size, stream,
						 error);
	if (status != GH_OK)
		return status;
	return inside->table->synchronise(inside->self, stream, error);
}

gh_status gh_device_copy(gh_device *device, gh_devptr dst, gh_devptr src, size_t size,
			 gh_stream *stream, gh_error *error)
{
	gh__device *inside;
	gh_status status = check_copy(&inside, device, dst, src, size, error);

	if (status != GH_OK || size == 0)
		return status;
	return inside->table->copy(inside->self, gh__at(dst), size, gh__at(src), size, size, 1,
				   stream, error);
}

gh_status gh_device_synchronise(gh_device *device, gh_stream *stream, gh_error *error)
{
	gh__device *inside;
	gh_status status = gh__device_of(&inside, device, error);

	if (status != GH_OK)
		return status;
	return inside->table->synchronise(inside->self, stream, error);
}

/* ---- events ---- */

struct gh_event {
	gh__device *device;
	gh__event *event;
};

gh_status gh_event_create(gh_event **out, gh_device *device, gh_error *error)
{
	gh_event *event;
	gh__device *inside;
	gh_status status = gh__device_of(&inside, device, error);

	if (status == GH_OK && out == NULL)
		status = gh__fail(error, GH_EINVAL, "out: NULL");
	if (status != GH_OK)
		return status;
	event = gh__calloc(1, sizeof *event);
	if (event == NULL)
		return gh__fail_nomem(error);
	event->device = inside;
	status = inside->table->event_create(inside->self, &event->event, error);
	if (status != GH_OK) {
		gh__free(event);
		return status;
	}
	*out = event;
	return GH_OK;
}

void gh_event_free(gh_event *event)
{
	if (event == NULL)
		return;
	event->device->table->event_free(event->device->self, event->event);
	gh__free(event);
}

gh_status gh_event_record(gh_event *event, gh_stream *stream, gh_error *error)
{
	if (event == NULL)
		return gh__fail(error, GH_EINVAL, "event: NULL");
	return event->device->table->event_record(event->device->self, event->event, stream, error);
}

gh_status gh_event_seconds(double *out, gh_event *begin, gh_event *end, gh_error *error)
{
	if (out == NULL || begin == NULL || end == NULL)
		return gh__fail(error, GH_EINVAL, "event: NULL");
	if (begin->device != end->device)
		return gh__fail(error, GH_EINVAL, "events: they are of two devices");
	return begin->device->table->event_seconds(begin->device->self, out, begin->event,
						   end->event, error);
}
