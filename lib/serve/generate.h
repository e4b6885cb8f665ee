#ifndef GH_SERVE_GENERATE_H
#define GH_SERVE_GENERATE_H

#include "serve/exchange.h"

/* A chat or completion request, from its body to the last byte of its answer. On a thread of the
 * crew; ends the exchange, sooner or later. */
void gh__generate(gh__exchange *x, gh__openai_kind kind);

#endif
