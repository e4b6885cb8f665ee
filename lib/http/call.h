#ifndef GH_HTTP_CALL_H
#define GH_HTTP_CALL_H

#include <curl/curl.h>

#include "base/buf.h"
#include "http/client.h"

/*
 * Inside the client: one exchange. All of it belongs to the loop, but for what the client's lock
 * guards. Tickets that callers hold are numbers, never reused.
 */
typedef struct gh__call {
	uint64_t ticket;
	CURL *easy;
	struct curl_slist *headers;
	char *label; /* "POST http://...", for error texts */
	char failure[CURL_ERROR_SIZE];
	gh__buf body; /* collected */
	size_t heads; /* bytes of header lines, interim answers' and trailers included */
	int64_t idle_timeout;
	int64_t last_sign; /* of life: when a byte last went either way */
	curl_off_t moved;  /* bytes either way until then */
	bool begun, connected, paused, heads_over, interim;
	bool head_whole;  /* the latest answer's headers came to their end */
	gh_status reason; /* why we ended it ourselves */

	void (*on_header)(int status, const char *name, const char *value, void *userdata);
	bool (*on_data)(const void *data, size_t len, void *userdata);
	void (*on_done)(const gh__http_answer *answer, gh_status status, const gh_error *error,
			void *userdata);
	void *userdata;

	struct gh__call *above, *below; /* in the client's list of running ones */

	/* under the client's lock */
	bool cancel_wanted, resume_wanted, queued;
	struct gh__call *next_command, *next_known;
} gh__call;

gh_status gh__call_create(gh__call **out, const gh__http_call_options *options, gh_error *error);
void gh__call_free(gh__call *call);
/* code: what curl says of the exchange. Tells on_done. */
void gh__call_report(gh__call *call, CURLcode code);

#endif
