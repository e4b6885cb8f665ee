#ifndef GH_OPENAI_TOKENIZE_H
#define GH_OPENAI_TOKENIZE_H

#include "openai/request.h"

/* POST /tokenize and /detokenize: body to body. Takes as long as the text is. */
gh_status gh__openai_tokenize(gh__buf *out, const gh__openai_model *model, const char *body,
			      size_t len, gh__openai_error *error);
gh_status gh__openai_detokenize(gh__buf *out, const gh__openai_model *model, const char *body,
				size_t len, gh__openai_error *error);

#endif
