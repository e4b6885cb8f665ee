/*
 * The same from C++: handles in unique_ptr, an answer as a string.
 *
 *   c++ -std=c++17 embed.cpp $(pkg-config --cflags --libs gonkahost) -o embed
 *   ./embed HuggingFaceTB/SmolLM2-135M-Instruct "What is a tree?"
 */
#include <future>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

#include <gonkahost/gonkahost.h>

template <auto Free> struct Deleter {
	template <typename T> void operator()(T *object) const
	{
		Free(object);
	}
};
template <typename T, auto Free> using Handle = std::unique_ptr<T, Deleter<Free>>;

static void check(gh_status status, const gh_error &error)
{
	if (status != GH_OK)
		throw std::runtime_error(error.text);
}

struct Answer {
	std::string text;
	std::promise<void> done;
};

static void on_token(const gh_token_event *event, void *userdata)
{
	auto *answer = static_cast<Answer *>(userdata);

	answer->text.append(event->text, event->text_len);
	if (event->finish != GH_FINISH_NONE)
		answer->done.set_value();
}

static std::string ask(const char *name, const std::string &question)
{
	gh_error error = GH_ERROR_INIT;
	gh_model_options options = GH_MODEL_OPTIONS_INIT;
	gh_tokenizer *tokenizer = nullptr;
	gh_model *model = nullptr;
	gh_engine *engine = nullptr;
	char *folder = nullptr;
	int32_t *ids = nullptr;
	std::size_t count = 0;
	uint64_t request = 0;
	Answer answer;
	gh_sampling sampling;

	check(gh_hub_resolve(&folder, name, nullptr, &error), error);
	Handle<char, gh_free> own_folder(folder);
	check(gh_tokenizer_load(&tokenizer, folder, &error), error);
	Handle<gh_tokenizer, gh_tokenizer_free> own_tokenizer(tokenizer);
	options.quantization = GH_QUANT_FP8_W8A8;
	check(gh_model_create(&model, folder, &options, &error), error);
	Handle<gh_model, gh_model_free> own_model(model);
	check(gh_engine_create(&engine, model, tokenizer, nullptr, &error), error);
	Handle<gh_engine, gh_engine_free> own_engine(engine);

	check(gh_tokenizer_encode(tokenizer, question.data(), question.size(), GH_ENCODE_SPECIAL,
				  &ids, &count, &error),
	      error);
	Handle<int32_t, gh_free> own_ids(ids);
	gh_sampling_recommended(&sampling, model);
	sampling.max_tokens = 32;
	check(gh_engine_submit(engine, ids, count, &sampling, on_token, &answer, &request, &error),
	      error);
	answer.done.get_future().wait();
	return answer.text;
}

int main(int argc, char **argv)
try {
	if (argc != 3) {
		std::cerr << "usage: embed MODEL PROMPT\n";
		return 2;
	}
	std::cout << ask(argv[1], argv[2]) << '\n';
	return 0;
} catch (const std::exception &problem) {
	std::cerr << "embed: " << problem.what() << '\n';
	return 1;
}
